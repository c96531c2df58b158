"""A lake of a few rows, written straight into its tables."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import polars as pl
import pytest

from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import DERIVED

Row = Mapping[str, Any]
LakeOf = Callable[..., Lake]


def frame(table: str, rows: Iterable[Row]) -> pl.DataFrame:
    """Rows in a table's columns; what a row does not state is null."""
    return pl.DataFrame(
        [dict.fromkeys(DERIVED[table].schema) | dict(row) for row in rows], schema=DERIVED[table].schema
    )


@pytest.fixture(scope="session")
def lake_of(tmp_path_factory: pytest.TempPathFactory) -> LakeOf:
    """`lake_of(events=[...], assignments=[...], ...)`: a new lake of these rows. Events get ids and offsets in their order
    unless they state them."""

    def make(**tables: Iterable[Row]) -> Lake:
        lake = Lake(tmp_path_factory.mktemp("lake"))
        lake.ensure_derived()
        for name, given in tables.items():
            rows = [dict(row) for row in given]
            if name == "events":
                for i, row in enumerate(rows):
                    defaults = {"event_id": f"e{i}", "topic": "user_events", "partition": 0, "offset": i}
                    rows[i] = defaults | {"event_date": row["timestamp"].date()} | row
            if rows:
                lake.append(name, frame(name, rows))
        return lake

    return make
