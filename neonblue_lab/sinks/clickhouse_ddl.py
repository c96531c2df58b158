"""ClickHouse's tables and views for what the lake sends: their SQL, for one server or for a cluster.

Every table may hold a row more than once until ClickHouse merges; a view `<table>_current` gives what the lake's readers
see. On a cluster the rows lie in `<table>_local` on each shard, and `<table>` is the door to all of them.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl
from polars.datatypes import DataTypeClass

from neonblue_lab.lake.tables import Table
from neonblue_lab.sinks.layout import LAKE_VERSION, layout_of, stored_schema

REMEMBERED_INSERTS = 1_000
"""How many deliveries back a server without replicas recognises one by its token. Replicated tables have a default."""

# Few distinct values in many rows.
_LOW_CARDINALITY = frozenset(
    {"event_type", "topic", "experiment_id", "variant_id", "status", "experiment_type", "industry", "user_segment"}
    | {"kind", "metric", "segment", "source_table", "op"}
)
_LONG_TEXTS = frozenset({"properties", "row", "text"})
_SCALARS: dict[pl.DataType | DataTypeClass, str] = {
    pl.String(): "String",
    pl.Boolean(): "Bool",
    pl.Int32(): "Int32",
    pl.Int64(): "Int64",
    pl.Float64(): "Float64",
    pl.Date(): "Date32",
}


@dataclass(frozen=True)
class _Place:
    """How one table lies in ClickHouse.

    Attributes:
        engine: of the MergeTree family, without `Replicated`.
        order_by: the sort key. Rows that agree in it are one row.
        shard_by: an integer of columns in which rows that are one row always agree, so that they meet on one shard.
        current: the query behind the view; `{columns}` and `{table}` are filled in.
        partition_by: an expression, or None.
        own: columns that the lake does not have: name -> type and default.
        types: column -> type, where it is not what the lake's type says.
    """

    engine: str
    order_by: tuple[str, ...]
    shard_by: str
    current: str = "SELECT {columns} FROM {table} FINAL"
    partition_by: str | None = None
    own: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)


# The first record of an event id counts. ReplacingMergeTree keeps the highest version: arrival, turned around.
_EARLIEST_ARRIVAL = "UInt128 MATERIALIZED bitNot(bitOr(bitShiftLeft(toUInt128(`partition`), 64), toUInt128(`offset`)))"

_PLACES = {
    # A dashboard asks for one experiment and some types of events: they come first. `event_id` alone would make each such
    # question a scan of everything. `timestamp` stays out: a producer that sends an event again may stamp it again, and
    # the copy must meet the first one. FINAL merges over the months, so that the copy may even lie in another one. An id that
    # a producer gave to events of two experiments or two types stays two rows here; of one in two topics, either stays.
    "events": _Place(
        engine="ReplacingMergeTree(arrival)",
        order_by=("experiment_id", "event_type", "event_id"),
        shard_by="cityHash64(event_id)",
        partition_by="toYYYYMM(timestamp)",
        own={"arrival": _EARLIEST_ARRIVAL},
    ),
    "experiments": _Place(
        engine=f"ReplacingMergeTree({LAKE_VERSION})",
        order_by=("experiment_id",),
        shard_by="cityHash64(experiment_id)",
        current=f"SELECT {{columns}} FROM {{table}} FINAL WHERE {LAKE_VERSION} = (SELECT max({LAKE_VERSION}) FROM {{table}})",
    ),
    # The earliest exposure wins whatever comes when: merging takes the minimum, which no repetition changes.
    "assignments": _Place(
        engine="AggregatingMergeTree",
        order_by=("experiment_id", "user_id", "variant_id"),
        shard_by="cityHash64(experiment_id, user_id)",
        types={"first_exposed_at": "SimpleAggregateFunction(min, DateTime64(6, 'UTC'))"},
    ),
    # Every statement stays, as in the lake: of two at the same moment the lake's readers take the smaller event id, which
    # no version column of a ReplacingMergeTree could say.
    "metric_totals": _Place(
        engine="ReplacingMergeTree",
        order_by=(*layout_of("metric_totals").key, "as_of", "event_id"),
        shard_by="cityHash64(experiment_id)",
        current="""SELECT {columns} FROM {table} FINAL ORDER BY as_of DESC, event_id
            LIMIT 1 BY experiment_id, variant_id, metric, segment, period_start, period_end""",
    ),
    "changes": _Place(
        engine="ReplacingMergeTree",
        order_by=("source_table", "topic", "partition", "offset"),
        shard_by="cityHash64(topic, `partition`, `offset`)",
    ),
    "documents": _Place(
        engine="ReplacingMergeTree",
        order_by=("document_id", "event_id", "chunk_id"),
        shard_by="cityHash64(document_id)",
        current="""SELECT {columns} FROM {table} FINAL WHERE (document_id, updated_at, event_id) GLOBAL IN
            (SELECT document_id, max((updated_at, event_id)).1, max((updated_at, event_id)).2 FROM {table} GROUP BY document_id)""",
    ),
}


def clickhouse_type(dtype: pl.DataType | DataTypeClass, *, nullable: bool) -> str:
    """ClickHouse's type for a lake column. A list or struct is never null there: null is empty, or all nulls."""
    match dtype:
        case pl.List():
            return f"Array({clickhouse_type(dtype.inner, nullable=True)})"
        case pl.Struct():
            fields = (f"{quoted(field.name)} {clickhouse_type(field.dtype, nullable=True)}" for field in dtype.fields)
            return f"Tuple({', '.join(fields)})"
        case pl.Datetime():
            name = f"DateTime64(6, '{dtype.time_zone}')"
        case _:
            name = _SCALARS[dtype]
    return f"Nullable({name})" if nullable else name


def quoted(name: str) -> str:
    """A name as SQL spells it."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def text(value: str) -> str:
    """A text as SQL spells it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@dataclass(frozen=True)
class ClickHouseDdl:
    """The statements for one database.

    Attributes:
        database: where the tables lie.
        cluster: its name in the server's configuration; None for a single server.
    """

    database: str
    cluster: str | None = None

    def name(self, table: str) -> str:
        """The table that is written to and read from, in SQL."""
        return f"{quoted(self.database)}.{quoted(table)}"

    def create_database(self) -> str:
        return f"CREATE DATABASE IF NOT EXISTS {quoted(self.database)}{self._on_cluster}"

    def create_table(self, table: str, described: Table) -> Iterator[str]:
        """The statements that make one table where it is missing."""
        columns = ",\n    ".join(self._columns(table, described).values())
        place = _PLACES[table]
        order_by = ", ".join(map(quoted, place.order_by))
        partition_by = f"\nPARTITION BY {place.partition_by}" if place.partition_by else ""
        yield (
            f"CREATE TABLE IF NOT EXISTS {self._stored(table)}{self._on_cluster}\n(\n    {columns}\n)\n"
            f"ENGINE = {'Replicated' if self.cluster else ''}{place.engine}{partition_by}\nORDER BY ({order_by})"
            f"{self._settings(table)}"
        )
        if self.cluster:
            yield (
                f"CREATE TABLE IF NOT EXISTS {self.name(table)}{self._on_cluster} AS {self._stored(table)}\n"
                f"ENGINE = Distributed({text(self.cluster)}, {text(self.database)}, {text(f'{table}_local')}, {place.shard_by})"
            )

    def add_columns(self, table: str, described: Table, held: Collection[str]) -> Iterator[str]:
        """The statements that add what a table made earlier lacks: the columns that are not in `held`."""
        added = [definition for name, definition in self._columns(table, described).items() if name not in held]
        if added:
            additions = ", ".join(f"ADD COLUMN IF NOT EXISTS {definition}" for definition in added)
            for name in dict.fromkeys((self._stored(table), self.name(table))):
                yield f"ALTER TABLE {name}{self._on_cluster} {additions}"

    def create_view(self, table: str, described: Table) -> str:
        """The statement that makes `<table>_current`, or makes it anew."""
        columns = ", ".join(map(quoted, described.schema))
        query = _PLACES[table].current.format(columns=columns, table=self.name(table))
        return f"CREATE OR REPLACE VIEW {self.name(f'{table}_current')}{self._on_cluster} AS\n{query}"

    def empty(self, table: str) -> str:
        """The statement that removes a table's rows."""
        return f"TRUNCATE TABLE {self._stored(table)}{self._on_cluster}"

    @property
    def _on_cluster(self) -> str:
        return f" ON CLUSTER {quoted(self.cluster)}" if self.cluster else ""

    def _stored(self, table: str) -> str:
        return self.name(f"{table}_local" if self.cluster else table)

    def _columns(self, table: str, described: Table) -> dict[str, str]:
        """Column -> its definition."""
        layout, place, definitions = layout_of(table), _PLACES[table], dict[str, str]()
        for column, dtype in stored_schema(table, described.schema).items():
            kind = place.types.get(column) or clickhouse_type(dtype, nullable=layout.nullable(column))
            if column in _LOW_CARDINALITY:
                kind = f"LowCardinality({kind})"
            codec = " CODEC(ZSTD(1))" if column in _LONG_TEXTS else ""
            definitions[column] = f"{quoted(column)} {kind}{codec}"
        return definitions | {column: f"{quoted(column)} {definition}" for column, definition in place.own.items()}

    def _settings(self, table: str) -> str:
        layout, settings = layout_of(table), []
        if any(layout.nullable(column) for column in _PLACES[table].order_by):
            settings.append("allow_nullable_key = 1")
        if not self.cluster:
            settings.append(f"non_replicated_deduplication_window = {REMEMBERED_INSERTS}")
        return f"\nSETTINGS {', '.join(settings)}" if settings else ""
