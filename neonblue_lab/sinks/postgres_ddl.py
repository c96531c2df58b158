"""PostgreSQL's tables for what the lake sends, and the statements that put rows into them.

A table holds one row for each key: the one that the lake's readers see. Texts are compared byte by byte, as the lake does.
"""

from collections.abc import Collection, Iterator

import polars as pl
from polars.datatypes import DataTypeClass

from neonblue_lab.lake.tables import Table
from neonblue_lab.sinks.layout import LAKE_VERSION, layout_of, stored_schema

SCHEMA = "neonblue"
INCOMING = "pg_temp.incoming"

_JSON = frozenset({"properties", "row"})
_TYPES: dict[pl.DataType | DataTypeClass, str] = {
    pl.String(): 'text COLLATE "C"',
    pl.Boolean(): "boolean",
    pl.Int32(): "integer",
    pl.Int64(): "bigint",
    pl.Float64(): "double precision",
    pl.Date(): "date",
    pl.Datetime("us", "UTC"): "timestamptz",
}
# Other than by its key: a dashboard asks for one experiment, over time.
_INDEXES = {"events": ("experiment_id", "timestamp")}
_VIEWS = {
    "documents": f"""CREATE OR REPLACE VIEW {SCHEMA}.documents_current AS
        SELECT * FROM {SCHEMA}.documents WHERE (document_id, event_id) IN
            (SELECT DISTINCT ON (document_id) document_id, event_id FROM {SCHEMA}.documents
                ORDER BY document_id, updated_at DESC, event_id DESC)"""
}

CREATE_SCHEMA = f"""DO $$ BEGIN
    IF to_regnamespace('{SCHEMA}') IS NULL THEN CREATE SCHEMA {SCHEMA}; END IF;
END $$"""

CREATE_AS_JSONB = f"""CREATE OR REPLACE FUNCTION {SCHEMA}.as_jsonb(json text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$ BEGIN
    RETURN json::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN to_jsonb(json);
END $$"""
"""jsonb holds less than JSON says: no \\u0000, no lone surrogates, no number of a million digits. Of such a value it gets the
JSON text itself, as a string."""


def postgres_type(column: str, dtype: pl.DataType | DataTypeClass) -> str:
    """PostgreSQL's type for a lake column: JSON, lists and structs are jsonb."""
    return "jsonb" if is_json(column, dtype) else _TYPES[dtype]


def is_json(column: str, dtype: pl.DataType | DataTypeClass) -> bool:
    """Whether a lake column becomes jsonb."""
    return column in _JSON or isinstance(dtype, pl.List | pl.Struct)


def quoted(name: str) -> str:
    """A name as SQL spells it."""
    return '"' + name.replace('"', '""') + '"'


def create_table(table: str, described: Table) -> Iterator[str]:
    """The statements that make one table, its keys and indexes where they are missing."""
    layout = layout_of(table)
    columns = ", ".join(
        f"{quoted(column)} {postgres_type(column, dtype)}{'' if layout.nullable(column) else ' NOT NULL'}"
        for column, dtype in stored_schema(table, described.schema).items()
    )
    yield f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{table} ({columns}, UNIQUE NULLS NOT DISTINCT ({_names(layout.key)}))"
    if table in _INDEXES:
        yield f"CREATE INDEX IF NOT EXISTS {table}_read ON {SCHEMA}.{table} ({_names(_INDEXES[table])})"


def add_columns(table: str, described: Table, held: Collection[str]) -> Iterator[str]:
    """The statement that adds what a table made earlier lacks: the columns that are not in `held`."""
    missing = {column: dtype for column, dtype in stored_schema(table, described.schema).items() if column not in held}
    if missing:
        additions = (f"ADD COLUMN {quoted(column)} {postgres_type(column, dtype)}" for column, dtype in missing.items())
        yield f"ALTER TABLE {SCHEMA}.{table} {', '.join(additions)}"


def create_view(table: str) -> Iterator[str]:
    """The statement that makes `<table>_current`, where the table itself holds more than its latest rows."""
    if table in _VIEWS:
        yield _VIEWS[table]


def create_incoming(rows: pl.DataFrame) -> str:
    """The statement that makes the temporary table into which rows are copied. JSON is text there."""
    columns = ", ".join(
        f"{quoted(column)} {'text' if is_json(column, dtype) else _TYPES[dtype]}"
        for column, dtype in rows.schema.items()
    )
    return f"CREATE TEMPORARY TABLE incoming ({columns}) ON COMMIT DROP"


def copy_incoming(rows: pl.DataFrame) -> str:
    """The statement that takes CSV: an empty field is null, a quoted empty one is an empty text."""
    return f"COPY {INCOMING} ({_names(rows.columns)}) FROM STDIN (FORMAT csv)"


def merge_incoming(table: str, rows: pl.DataFrame) -> str:
    """The statement that brings the copied rows into a table: of rows with one key, the preferred one stays.

    Rows go in by key, so that two writers lock them in the same order.
    """
    layout = layout_of(table)
    values = ", ".join(_value(column, dtype) for column, dtype in rows.schema.items())
    order = [*map(quoted, layout.key), *(f"{quoted(c)}{' DESC' if down else ''}" for c, down in layout.prefer)]
    return f"""INSERT INTO {SCHEMA}.{table} AS held ({_names(rows.columns)})
        SELECT DISTINCT ON ({_names(layout.key)}) {values} FROM {INCOMING} ORDER BY {", ".join(order)}
        ON CONFLICT ({_names(layout.key)}) DO {_on_conflict(table, rows)}"""


def _value(column: str, dtype: pl.DataType | DataTypeClass) -> str:
    """A copied column as its type. A struct's JSON is the lab's own: none that jsonb refuses."""
    if isinstance(dtype, pl.Struct):
        return f"{quoted(column)}::jsonb"
    return f"{SCHEMA}.as_jsonb({quoted(column)})" if is_json(column, dtype) else quoted(column)


def _on_conflict(table: str, rows: pl.DataFrame) -> str:
    layout = layout_of(table)
    if not layout.prefer:
        return "NOTHING"
    changed = ", ".join(f"{quoted(c)} = excluded.{quoted(c)}" for c in rows.columns if c not in layout.key)
    first, second = (
        ", ".join(f"{(one, other)[down]}.{quoted(column)}" for column, down in layout.prefer)
        for one, other in (("excluded", "held"), ("held", "excluded"))
    )
    return f"UPDATE SET {changed} WHERE ({first}) < ({second})"


def lock(table: str) -> str:
    """The statement that lets one writer at a time replace a table's snapshot."""
    return f"LOCK TABLE {SCHEMA}.{table} IN SHARE ROW EXCLUSIVE MODE"


def newest_snapshot(table: str) -> str:
    """The query for the lake's version that a table shows."""
    return f"SELECT max({LAKE_VERSION}) FROM {SCHEMA}.{table}"


def remove_before(table: str) -> str:
    """The statement that removes the rows of snapshots before the given one."""
    return f"DELETE FROM {SCHEMA}.{table} WHERE {LAKE_VERSION} < %s"


def _names(columns: Collection[str]) -> str:
    return ", ".join(map(quoted, columns))
