"""An experiment is as the registry's tables hold it; what they do not say, events do."""

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl

from neonblue_lab.events.changes import CHANGE_SCHEMA
from neonblue_lab.events.schema import EVENT_SCHEMA
from neonblue_lab.lake.derive import experiment_rows
from neonblue_lab.lake.tables import DERIVED

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 3, 12, tzinfo=UTC)


def told(experiment_id: str, **properties: Any) -> dict[str, Any]:
    """An event that defines an experiment."""
    return {"event_type": "experiment_created", "experiment_id": experiment_id, "timestamp": NOON} | {
        "properties": json.dumps(properties)
    }


def change(op: str, table: str = "experiments", **row: Any) -> dict[str, Any]:
    """A change of a row by its ids."""
    key = {name: row[name] for name in ("experiment_id", "variant_id") if name in row}
    return {"op": op, "source_table": table, "key": json.dumps(key) if key else None, "row": json.dumps(row)}


def experiments(events: list[dict[str, Any]], changes: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows of `experiments`, by id, with the changes in this order."""
    arrived = {"topic": "experiments_events", "partition": 0}
    lifecycle = [
        dict.fromkeys(EVENT_SCHEMA) | arrived | {"event_id": f"e{i}", "offset": i} | event
        for i, event in enumerate(events)
    ]
    placed = [
        dict.fromkeys(CHANGE_SCHEMA)
        | {"topic": "p", "partition": 0, "offset": i, "position": i, "committed_at": LATER}
        | one
        for i, one in enumerate(changes)
    ]
    rows = experiment_rows(pl.DataFrame(lifecycle, schema=EVENT_SCHEMA), pl.DataFrame(placed, schema=CHANGE_SCHEMA))
    assert dict(rows.schema) == DERIVED["experiments"].schema
    assert rows["experiment_id"].is_sorted()
    return {row["experiment_id"]: row for row in rows.to_dicts()}


def variant_ids(experiment: dict[str, Any]) -> list[str]:
    return [variant["variant_id"] for variant in experiment["variants"]]


def test_a_column_of_the_registry_wins_null_or_not() -> None:
    found = experiments(
        [told("a", name="event's", hypothesis="kept", status="running", ended_at="2026-03-09T00:00:00Z")],
        [
            change("c", experiment_id="a", name="old", status="draft"),
            change("u", experiment_id="a", name="new", status=None, ended_at=1772755200000000, owner="extra"),
        ],
    )["a"]
    assert (found["name"], found["hypothesis"], found["status"]) == ("new", "kept", None)
    assert found["ended_at"] == datetime(2026, 3, 6, tzinfo=UTC)
    assert found["updated_at"] == LATER


def test_an_experiment_of_the_registry_alone_is_there() -> None:
    found = experiments([told("a", name="A")], [change("r", experiment_id="b", name="B")])
    assert {key: row["name"] for key, row in found.items()} == {"a": "A", "b": "B"}
    assert found["a"]["updated_at"] == NOON


def test_what_is_gone_from_the_registry_is_gone() -> None:
    everywhere = [told(name, name=name) for name in ("deleted", "renamed", "truncated", "only_events")]
    changes = [
        change("c", experiment_id="deleted"),
        change("c", experiment_id="renamed"),
        change("d", experiment_id="deleted"),
        change("d", experiment_id="renamed") | {"position": 9},
        change("c", experiment_id="new_name") | {"position": 9},
    ]
    assert set(experiments(everywhere, changes)) == {"new_name", "truncated", "only_events"}
    truncate = {"op": "t", "source_table": "experiments", "position": 8}
    assert set(experiments(everywhere, [change("c", experiment_id="truncated"), truncate, *changes[3:]])) == {
        "new_name",
        "deleted",
        "renamed",
        "only_events",
    }


def test_variants_are_the_registrys_in_its_order_once_it_had_any() -> None:
    of_events = {"variants": [{"variant_id": "x"}]}
    found = experiments(
        [told("a", **of_events), told("b", **of_events), told("c", **of_events)],
        [
            change("c", "variants", experiment_id="a", variant_id="b", position=2, allocation="0.25"),
            change(
                "c", "variants", experiment_id="a", variant_id="control", position=10, allocation=0.75, name="Control"
            ),
            change("c", "variants", experiment_id="a", variant_id="gone", position=1),
            change("d", "variants", experiment_id="a", variant_id="gone"),
            change("c", "variants", experiment_id="b", variant_id="gone"),
            change("d", "variants", experiment_id="b", variant_id="gone"),
        ],
    )
    assert found["a"]["variants"] == [
        {"variant_id": "b", "name": None, "description": None, "allocation": 0.25},
        {"variant_id": "control", "name": "Control", "description": None, "allocation": 0.75},
    ]
    assert (variant_ids(found["b"]), variant_ids(found["c"])) == ([], ["x"])
