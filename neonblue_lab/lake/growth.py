"""Tables that are older than some of their columns: what they lack is added, and files written before are known by name."""

from collections.abc import Iterable
from pathlib import Path

import orjson
import polars as pl
from deltalake import DeltaTable, Schema

from neonblue_lab.lake.tables import Table

_FIRST = "_delta_log/00000000000000000000.json"


def delta_schema(columns: dict[str, pl.DataType]) -> Schema:
    """Columns as Delta's log describes them."""
    return Schema.from_arrow(pl.DataFrame(schema=columns).to_arrow().schema)


def missing_columns(table: DeltaTable, described: Table) -> dict[str, pl.DataType]:
    """The columns that a table should have and lacks as opened. Reads nothing."""
    held = {field.name for field in table.schema().fields}
    return {name: kind for name, kind in described.schema.items() if name not in held}


def add_columns(table: DeltaTable, columns: dict[str, pl.DataType]) -> None:
    """Add columns in one commit. Rows that are there have nulls in them, and no file is written anew.

    Raises:
        CommitFailedError: another process changed the table's columns at the same moment.
    """
    table.alter.add_columns(delta_schema(columns).fields)
    table.update_incremental()


def lacking(folder: Path, described: Table, files: Iterable[str]) -> dict[str, frozenset[str]]:
    """Of a table's Parquet files, those that lack columns because they were written before it had them.

    Only of a table that has grown are files looked at: the end of each.

    Args:
        folder: the table's.
        described: its columns.
        files: absolute paths.

    Returns:
        Path -> the columns that it lacks.
    """
    stored = described.schema.keys() - {described.partition_by}
    if stored <= _first_columns(folder):
        return {}
    found = {file: frozenset(stored - pl.read_parquet_schema(file).keys()) for file in files}
    return {file: columns for file, columns in found.items() if columns}


def _first_columns(folder: Path) -> set[str]:
    """The columns with which a table was created."""
    actions = (orjson.loads(line) for line in (folder / _FIRST).read_bytes().splitlines())
    described = next(action["metaData"]["schemaString"] for action in actions if "metaData" in action)
    return {field["name"] for field in orjson.loads(described)["fields"]}
