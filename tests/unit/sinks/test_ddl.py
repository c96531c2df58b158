"""Every column of every lake table has a type in both stores, and null is possible only where the lake has nulls."""

import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.lake.tables import DERIVED
from neonblue_lab.sinks import postgres_ddl
from neonblue_lab.sinks.clickhouse_ddl import ClickHouseDdl, clickhouse_type
from neonblue_lab.sinks.layout import LAYOUTS, layout_of, stored_schema


@pytest.mark.parametrize(
    ("dtype", "nullable", "expected"),
    [
        (pl.String(), False, "String"),
        (pl.String, True, "Nullable(String)"),
        (pl.Datetime("us", "UTC"), False, "DateTime64(6, 'UTC')"),
        (pl.Date(), True, "Nullable(Date32)"),
        (pl.Int32(), False, "Int32"),
        (pl.Boolean(), False, "Bool"),
        (pl.List(pl.String), True, "Array(Nullable(String))"),
        (
            pl.List(pl.Struct({"variant_id": pl.String, "allocation": pl.Float64})),
            True,
            "Array(Tuple(`variant_id` Nullable(String), `allocation` Nullable(Float64)))",
        ),
    ],
)
def test_clickhouse_types(dtype: pl.DataType, nullable: bool, expected: str) -> None:
    assert clickhouse_type(dtype, nullable=nullable) == expected


@pytest.mark.parametrize("table", LAYOUTS)
def test_every_column_has_a_place_in_both(table: str) -> None:
    described = DERIVED[table]
    [in_clickhouse] = ClickHouseDdl("d").create_table(table, described)
    in_postgres = next(iter(postgres_ddl.create_table(table, described)))
    for column in stored_schema(table, described.schema):
        assert f"    `{column}` " in in_clickhouse
        assert f'"{column}" ' in in_postgres


@pytest.mark.parametrize("table", LAYOUTS)
def test_a_layout_speaks_of_columns_that_are_there(table: str) -> None:
    layout = layout_of(table)
    columns = set(stored_schema(table, DERIVED[table].schema))
    assert {*layout.key, *layout.filled, *(column for column, _ in layout.prefer)} <= columns
    assert set(layout.nullable_key) <= set(layout.key)
    assert not any(layout.nullable(column) for column, _ in layout.prefer)


def test_columns_that_are_there_are_not_added_again() -> None:
    described = DERIVED["assignments"]
    held = set(described.schema)
    assert list(ClickHouseDdl("d").add_columns("assignments", described, held)) == []
    assert list(postgres_ddl.add_columns("assignments", described, held)) == []
    [added] = (ClickHouseDdl("d", "c").add_columns("metric_totals", DERIVED["metric_totals"], set()),)
    assert "ADD COLUMN IF NOT EXISTS `n` Nullable(Int64)" in next(iter(added))


def test_a_table_that_stores_do_not_hold() -> None:
    with pytest.raises(BadInput, match="no place for the table dead_letters; they hold events, "):
        layout_of("dead_letters")
