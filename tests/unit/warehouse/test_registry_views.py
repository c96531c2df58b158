"""The warehouse shows the registry's tables as its database holds them."""

import json
from datetime import UTC, datetime
from typing import Any

from neonblue_lab.warehouse.warehouse import Warehouse
from tests.unit.conftest import LakeOf

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def change(table: str, op: str, offset: int, key: dict[str, Any], **row: Any) -> dict[str, Any]:
    """A change; its position grows with its offset."""
    return {
        "source_table": table,
        "op": op,
        "key": json.dumps(key),
        "row": json.dumps(key | row),
        "position": offset * 10,
        "committed_at": NOON,
        "topic": f"p.public.{table}",
        "partition": 0,
        "offset": offset,
    }


def test_users_are_the_current_rows_with_their_other_columns(lake_of: LakeOf) -> None:
    changes = [
        change("users", "c", 0, {"user_id": 1}, country="DE", created_at="2026-03-02T12:00:00Z", plan=None),
        change("users", "u", 1, {"user_id": 1}, country="FR", created_at="2026-03-02T12:00:00Z", plan=None),
        change("users", "c", 2, {"user_id": 2}),
        change("users", "d", 3, {"user_id": 2}),
    ]
    warehouse = Warehouse(lake_of(changes=changes))
    [(user_id, created_at, attributes)] = warehouse.sql("SELECT user_id, created_at, attributes FROM users").rows()
    assert (user_id, created_at, json.loads(attributes)) == ("1", NOON, {"country": "FR", "plan": None})


def test_row_history_says_from_where_to_where_a_row_was_so(lake_of: LakeOf) -> None:
    changes = [
        change("users", "c", 1, {"user_id": 1}, country="DE"),
        change("users", "u", 2, {"user_id": 1}, country="FR"),
        change("users", "d", 3, {"user_id": 1}),
        change("variants", "c", 1, {"experiment_id": "a", "variant_id": "b"}),
    ]
    columns = "source_table, json_extract_string(row, '$.country') AS country, position, position_end"
    rows = Warehouse(lake_of(changes=changes)).sql(f"SELECT {columns} FROM row_history ORDER BY ALL").rows()
    assert rows == [("users", "DE", 10, 20), ("users", "FR", 20, 30), ("variants", None, 10, None)]


def test_assignments_are_exposures_where_there_are_any(lake_of: LakeOf) -> None:
    exposed = {"experiment_id": "a", "user_id": "1", "variant_id": "b", "first_exposed_at": NOON}
    changes = [
        change("assignments", "c", 0, {"experiment_id": "a", "user_id": 2}, variant_id="b", assigned_at=1772452800000),
        change("assignments", "c", 1, {"experiment_id": "b", "user_id": 2}, variant_id="b", assigned_at=1772452800000),
        change("assignments", "u", 2, {"experiment_id": "b", "user_id": 2}, variant_id="c", assigned_at=1772452800000),
    ]
    rows = Warehouse(lake_of(assignments=[exposed, exposed], changes=changes)).sql(
        "SELECT * FROM assignments ORDER BY ALL"
    )
    assert rows.rows() == [("a", "1", "b", NOON), ("b", "2", "c", NOON)]


def test_variants_are_those_of_the_experiments(lake_of: LakeOf) -> None:
    variants = [{"variant_id": name, "name": name.upper(), "description": None, "allocation": 0.5} for name in "ab"]
    lake = lake_of(experiments=[{"experiment_id": "x", "variants": variants}, {"experiment_id": "y"}])
    rows = Warehouse(lake).sql(
        "SELECT experiment_id, variant_id, name, description, allocation FROM variants ORDER BY ALL"
    )
    assert rows.rows() == [("x", "a", "A", None, 0.5), ("x", "b", "B", None, 0.5)]


def test_without_changes_the_views_are_empty(lake_of: LakeOf) -> None:
    warehouse = Warehouse(lake_of())
    counts = [warehouse.sql(f"SELECT count(*) FROM {view}").item() for view in ("users", "variants", "row_history")]
    assert counts == [0, 0, 0]
