"""Each event has one set of labels by rule, and what no rule knows is kept."""

import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.events.classification import BY_EVENT_TYPE, BY_TOPIC, LABEL_SCHEMA, SERVERS, classify
from neonblue_lab.events.records import TOPICS
from neonblue_lab.events.schema import EXPERIMENT_LIFECYCLE, EXPOSURE, METRIC_TOTAL

ALLOWED = {
    "data_type": {"experiment", "user_behavior", "analytics"},
    "priority": {"high", "medium", "low"},
    "processing_strategy": {"real_time", "stream", "batch"},
    "retention_policy": {"permanent", "two_years", "ninety_days"},
}


def _events(*pairs: tuple[str | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema={"event_type": pl.String, "topic": pl.String}, orient="row")


def test_labels_come_in_the_order_of_the_events_and_with_the_declared_schema():
    labels = classify(_events(("purchase", "analytics_events"), ("click", "user_events"), ("purchase", "other")))
    assert dict(labels.schema) == LABEL_SCHEMA
    assert labels["data_type"].to_list() == ["analytics", "user_behavior", "analytics"]
    assert labels["target_servers"].to_list() == [
        ["postgres", "clickhouse"],
        ["clickhouse"],
        ["postgres", "clickhouse"],
    ]


def test_a_type_without_a_rule_takes_the_default_of_its_topic():
    labels = classify(_events(("wishlist", "user_events"), (None, "experiments_events")))
    assert labels["data_type"].to_list() == ["user_behavior", "experiment"]


def test_what_nothing_knows_is_kept_everywhere_for_ever_and_without_hurry():
    label = classify(_events(("wishlist", "billing"), (None, None))).rows(named=True)
    assert label[0] == label[1]
    assert label[0]["target_servers"] == list(SERVERS)
    assert label[0]["retention_policy"] == "permanent"
    assert label[0]["processing_strategy"] == "batch"


def test_every_rule_uses_the_vocabulary_and_names_a_store():
    for rule in (*BY_EVENT_TYPE.values(), *BY_TOPIC.values()):
        for label, values in ALLOWED.items():
            assert getattr(rule, label) in values
        assert rule.target_servers
        assert set(rule.target_servers) <= set(SERVERS)


def test_every_topic_and_every_type_that_the_schema_knows_has_a_rule():
    assert set(BY_TOPIC) == set(TOPICS)
    assert {EXPOSURE, METRIC_TOTAL, *EXPERIMENT_LIFECYCLE} <= set(BY_EVENT_TYPE)


def test_no_events_give_no_labels():
    assert classify(_events()).height == 0
    assert dict(classify(_events()).schema) == LABEL_SCHEMA


def test_a_missing_column_is_named():
    with pytest.raises(BadInput, match="topic"):
        classify(pl.DataFrame({"event_type": ["click"]}))
