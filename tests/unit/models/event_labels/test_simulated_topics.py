"""On simulated topics, parsed as replay does: what the classifier and the trends make of all event types at once."""

import polars as pl
import pytest

from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.events.classification import LABELS, classify
from neonblue_lab.events.parsing import EventParser
from neonblue_lab.events.simulator import simulate
from neonblue_lab.models.event_labels import artifact as classifier_artifact
from neonblue_lab.models.event_labels.classifier import fit
from neonblue_lab.models.event_labels.evaluation import evaluate
from neonblue_lab.models.event_labels.report import HELD_OUT_USERS, UNSEEN_TYPES
from neonblue_lab.models.trends.trend import fit_trend


@pytest.fixture(scope="module")
def events():
    parser = EventParser()
    simulation = simulate(experiments=8, users=2_000, events=20_000, seed=5)
    return pl.concat(parser.parse(batch).events for batch in simulation.batches()).unique(
        "event_id", maintain_order=True
    )


@pytest.fixture(scope="module")
def report(events):
    return evaluate(events, classify(events), seed=5)


def test_events_of_known_types_are_told_by_their_content(report):
    seen = report.summary.filter(pl.col("protocol") == HELD_OUT_USERS)
    assert seen["accuracy"].min() > 0.97
    assert (seen["accuracy"] > seen["majority"]).all()


def test_on_unseen_types_the_topic_rule_is_the_better_guess_and_the_card_says_so(events, report, tmp_path):
    unseen = report.summary.filter(pl.col("protocol") == UNSEEN_TYPES)
    assert unseen["event_types"].to_list() == [events["event_type"].n_unique()] * len(LABELS)
    assert unseen["topic_rule"][0] == 1.0  # the data type is the topic's, by the table
    lost = unseen.filter(pl.col("accuracy_with_rule") <= pl.max_horizontal("topic_rule", "majority"))["label"].to_list()
    assert "data_type" in lost
    artifact = classifier_artifact.publish(
        ArtifactStore(tmp_path), fit(events, classify(events), seed=5), report, data_versions={}, seed=5
    )
    assert f"does not beat the better baseline for: {', '.join(lost)}." in artifact.card


def test_sessions_a_day_have_a_trend(events):
    days = (
        events.filter(pl.col("event_type") == "session_start")
        .group_by(timestamp=pl.col("timestamp").dt.truncate("1d"))
        .agg(value=pl.len())
    )
    model = fit_trend(days)
    assert (model.season, model.note) == (7, "")
    assert model.metrics["mase"] is not None
    assert model.forecast(14)["low"].min() >= 0
