"""An experiment is what the latest event that carries each field says, in whatever order and batches the events came."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from neonblue_lab.events.changes import CHANGE_SCHEMA
from neonblue_lab.events.parsing import EventParser
from neonblue_lab.events.records import RECORD_SCHEMA, RecordBatch
from neonblue_lab.lake.derive import experiment_rows
from neonblue_lab.lake.tables import DERIVED

NO_CHANGES = pl.DataFrame(schema=CHANGE_SCHEMA)
START = datetime(2026, 3, 2, tzinfo=UTC)
TEXTS = ("name", "hypothesis", "experiment_type", "industry", "user_segment", "status", "primary_metric")
TIMES = ("started_at", "ended_at", "created_at")
KINDS = ("experiment_created", "experiment_updated", "experiment_started", "experiment_ended")


@cache
def parser() -> EventParser:
    return EventParser()


def events(documents: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """The parsed events of one partition, in the order given."""
    values = [json.dumps(document).encode() for document in documents]
    rows = {"topic": "t", "partition": 0, "offset": range(len(values)), "timestamp": None, "key": None, "value": values}
    parsed = parser().parse(RecordBatch("t", pl.DataFrame({**rows, "headers": None}, schema=RECORD_SCHEMA)))
    assert parsed.rejects.is_empty(), parsed.rejects
    return parsed.events


def plain(documents: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same, event by event, in plain Python."""
    once = list({document["event_id"]: document for document in reversed(documents)}.values())[::-1]
    once.sort(key=lambda document: documents.index(document))
    states: dict[str, dict[str, Any]] = {}
    for document in sorted(once, key=lambda document: document["timestamp"]):
        said = {name: said for name, said in (document.get("properties") or {}).items() if said is not None}
        states.setdefault(document["experiment_id"], {}).update(said | {"updated_at": document["timestamp"]})
    return states


def iso(minutes: int) -> str:
    return (START + timedelta(minutes=minutes)).isoformat()


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4)
VARIANT = st.fixed_dictionaries(
    {"variant_id": st.sampled_from("abc")},
    optional={"name": TEXT, "description": st.none(), "allocation": st.floats(0, 1)},
)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(TEXTS, st.none() | TEXT),
        **dict.fromkeys(TIMES, st.none() | st.integers(0, 9).map(iso)),
        "variants": st.lists(VARIANT, max_size=3, unique_by=lambda variant: variant["variant_id"]),
        "derived": st.lists(st.sampled_from(["timestamp", "name"]), max_size=2),
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "event_id": st.integers(0, 12).map("e{}".format),
        "event_type": st.sampled_from(KINDS),
        "timestamp": st.integers(0, 6).map(iso),
        "experiment_id": st.sampled_from("xyz"),
        "properties": st.none() | PROPERTIES,
    }
)


def told(value: Any) -> Any:
    """A value of a table in the form in which a document says it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return [{k: v for k, v in item.items() if v is not None} if isinstance(item, dict) else item for item in value]
    return value


@settings(max_examples=100)
@given(st.lists(DOCUMENTS, max_size=12))
def test_each_field_is_as_the_latest_event_says(documents: list[dict[str, Any]]) -> None:
    found = experiment_rows(events(documents), NO_CHANGES)
    assert dict(found.schema) == DERIVED["experiments"].schema
    states = plain(documents)
    assert found["experiment_id"].to_list() == sorted(states)
    for row in found.to_dicts():
        state = states[row["experiment_id"]]
        for variant in state.get("variants", []):
            variant.pop("description", None)
        assert {name: told(value) for name, value in row.items() if name != "experiment_id"} == {
            name: state.get(name) for name in row if name != "experiment_id"
        }


@settings(max_examples=50)
@given(st.lists(DOCUMENTS, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_arrival_of_the_rows_does_not_matter(documents: list[dict[str, Any]], random: Any) -> None:
    known = events(documents)
    order = list(range(known.height))
    random.shuffle(order)
    assert_frame_equal(experiment_rows(known[order], NO_CHANGES), experiment_rows(known, NO_CHANGES))
