"""The policy is readable, leaves nothing out, agrees with the stated labels, and says what is wrong with a file."""

from pathlib import Path

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.events import classification
from neonblue_lab.events.classification import CHROMADB, LABEL_SCHEMA, Classification
from neonblue_lab.sinks.layout import LAYOUTS
from neonblue_lab.sinks.policy import (
    DEFAULT,
    DEFAULT_TEXT,
    RULES,
    STORES,
    TABLES,
    VOCABULARY,
    Labeller,
    fingerprint,
    load_policy,
)

ROUTES = {route.lane: route for route in DEFAULT.routes}


def lane_of(labels: Classification) -> str:
    return str(DEFAULT.lanes(pl.DataFrame([labels._asdict()], schema=LABEL_SCHEMA))[0])


@pytest.mark.parametrize(
    ("event_type", "labels"),
    [*classification.BY_EVENT_TYPE.items(), *classification.BY_TOPIC.items(), ("unknown", classification.UNKNOWN)],
)
def test_the_default_serves_each_class_as_its_labels_ask(event_type: str, labels: Classification) -> None:
    route = ROUTES[lane_of(labels)]
    assert set(labels.target_servers) - {CHROMADB} <= set(route.stores)
    urgency = ["real_time", "stream", "batch"]
    assert urgency.index(route.strategy) <= urgency.index(labels.processing_strategy)
    importance = ["high", "medium", "low"]
    assert importance.index(route.priority) <= importance.index(labels.priority)


words = {label: st.sampled_from(sorted(values)) for label, values in VOCABULARY.items()}
any_labels = st.builds(
    Classification, **words | {"target_servers": st.sets(st.sampled_from(classification.SERVERS)).map(tuple)}
)


@given(st.lists(any_labels, min_size=1, max_size=20))
def test_every_event_has_exactly_one_lane_and_it_is_the_first_that_agrees(labels: list[Classification]) -> None:
    frame = pl.DataFrame([row._asdict() for row in labels], schema=LABEL_SCHEMA)

    def agrees(when: dict[str, tuple[str, ...]], row: Classification) -> bool:
        values = {name: {v} if isinstance(v, str) else set(v) for name, v in row._asdict().items()}
        return all(values[label] & set(wanted) for label, wanted in when.items())

    expected = [next(r.lane for r in DEFAULT.routes if r.table == "events" and agrees(r.when, row)) for row in labels]
    assert DEFAULT.lanes(frame).to_list() == expected


def test_the_default_routes_every_table_that_stores_hold_to_stores_that_exist() -> None:
    assert set(TABLES) == set(LAYOUTS)
    assert {store for route in DEFAULT.routes for store in route.stores} == set(STORES)


def test_the_default_fits_on_a_screen() -> None:
    assert len(DEFAULT_TEXT.splitlines()) <= 28
    assert max(map(len, DEFAULT_TEXT.splitlines())) <= 120


def test_without_a_file_the_default_holds(tmp_path: Path) -> None:
    assert load_policy(tmp_path) == DEFAULT


def test_the_default_as_a_file_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "sinks.yaml").write_text(DEFAULT_TEXT)
    assert load_policy(tmp_path) == DEFAULT


def test_a_file_replaces_the_keys_that_it_states(tmp_path: Path) -> None:
    (tmp_path / "sinks.yaml").write_text("retention_days: {permanent: null, two_years: 100, ninety_days: 7}\n")
    policy = load_policy(tmp_path)
    assert policy.retention_days["two_years"] == 100
    assert policy.routes == DEFAULT.routes


def changed(lane: str, /, **values: object) -> str:
    """The default with one route changed."""
    document = yaml.safe_load(DEFAULT_TEXT)
    (route,) = [route for route in document["routes"] if route["lane"] == lane]
    route.update(values)
    return yaml.safe_dump(document)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("routes: [", "is not YAML"),
        ("- just a list", "any of the keys routes, retention_days"),
        ("sinks: 3", "sinks: Extra inputs"),
        ("stream_rows: 0", "stream_rows: Input should be greater"),
        (
            changed("bulk", primary="mysql"),
            r"routes\.5\.primary: Input should be 'postgres', 'clickhouse' or 'chromadb'",
        ),
        (changed("bulk", lane="current"), "lane current is there twice"),
        (changed("bulk", when={"priority": "low"}), "events, the last and no other must be without `when`"),
        (
            changed("decisive", when={"priority": "urgent"}),
            r"routes\.0: when: priority is never urgent; it is one of high",
        ),
        (changed("decisive", when={"colour": "red"}), "there is no label colour; the labels are data_type, priority"),
        (changed("changes", when={"priority": "low"}), "only events have labels, changes has none"),
        (changed("changes", table="documents"), "changes has none"),
        (changed("bulk", secondary=["clickhouse"]), "a store is named twice"),
        (changed("bulk", secondary=["chromadb"]), "takes the table experiments, and no other"),
        (changed("bulk", strategy="whenever"), r"routes\.5\.strategy"),
        (
            "retention_days: {permanent: null}",
            "retention_days: days, or null for ever, for each of ninety_days, permanent",
        ),
        ("retention_days: {permanent: 9, two_years: 1, ninety_days: 1}", "what is permanent is kept for ever"),
        ("retention_days: {permanent: null, two_years: 0, ninety_days: 90}", "two_years must be at least 1"),
    ],
)
def test_a_wrong_file_is_refused_by_name_and_key(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "sinks.yaml").write_text(text)
    with pytest.raises(BadInput, match=complaint) as refused:
        load_policy(tmp_path)
    assert str(tmp_path / "sinks.yaml") in str(refused.value)


def test_the_fingerprint_changes_with_what_decides_the_rows_and_with_nothing_else() -> None:
    def prints(text: str, labeller: Labeller = RULES, other: str = "table-1") -> dict[str, str]:
        policy = DEFAULT.model_validate(yaml.safe_load(text))
        return {route.lane: fingerprint(policy, labeller, route, other) for route in policy.routes}

    before = prints(DEFAULT_TEXT)
    assert prints(changed("decisive", strategy="batch", priority="low", primary="clickhouse", secondary=[])) == before
    narrower = prints(changed("current", when={"processing_strategy": "stream"}))
    assert {lane for lane in before if narrower[lane] != before[lane]} == {
        "current",
        "needed_everywhere",
        "measured",
        "bulk",
    }
    relabelled = prints(DEFAULT_TEXT, Labeller("classifier-7", RULES.label))
    assert {lane for lane in before if relabelled[lane] != before[lane]} == {
        route.lane for route in DEFAULT.routes if route.table == "events"
    }
    assert not set(prints(DEFAULT_TEXT, other="table-2").values()) & set(before.values())
