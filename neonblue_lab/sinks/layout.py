"""How each lake table lies in a store: what identifies a row, what is never null, and which of several rows counts."""

from dataclasses import dataclass

import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.sinks.sink import Delivery

LAKE_VERSION = "lake_version"
"""The column that stores add to a table of which the lake sends snapshots: the lake's version of the row."""


@dataclass(frozen=True)
class Layout:
    """One table's rows.

    Attributes:
        key: the columns that identify a row.
        filled: the other columns that are never null. Of the key, `nullable_key` may be.
        nullable_key: columns of the key that may be null; two nulls are the same.
        prefer: of rows with one key, the first in this order counts: (column, whether descending). Empty where rows
            with one key are equal.
    """

    key: tuple[str, ...]
    filled: tuple[str, ...] = ()
    nullable_key: tuple[str, ...] = ()
    prefer: tuple[tuple[str, bool], ...] = ()

    @property
    def is_snapshot(self) -> bool:
        """Whether each delivery is the whole table."""
        return any(column == LAKE_VERSION for column, _ in self.prefer)

    def nullable(self, column: str) -> bool:
        """Whether a column can be null."""
        return column in self.nullable_key or column not in self.key + self.filled


LAYOUTS: dict[str, Layout] = {
    "events": Layout(
        key=("event_id",),
        filled=("event_type", "topic", "timestamp", "partition", "offset", "event_date"),
        prefer=(("topic", False), ("partition", False), ("offset", False)),
    ),
    "experiments": Layout(key=("experiment_id",), filled=(LAKE_VERSION,), prefer=((LAKE_VERSION, True),)),
    "assignments": Layout(
        key=("experiment_id", "user_id", "variant_id"),
        filled=("first_exposed_at",),
        prefer=(("first_exposed_at", False),),
    ),
    "metric_totals": Layout(
        key=("experiment_id", "variant_id", "metric", "segment", "period_start", "period_end"),
        filled=("as_of", "event_id"),
        nullable_key=("metric", "segment", "period_start", "period_end"),
        prefer=(("as_of", True), ("event_id", False)),
    ),
    "changes": Layout(key=("topic", "partition", "offset"), filled=("source_table", "op", "position", "snapshot")),
    "documents": Layout(key=("document_id", "event_id", "chunk_id"), filled=("updated_at",)),
}
"""Lake table -> how it lies in a store. What counts is what the lake's readers see: the first record of an event id, the
earliest exposure, the latest total. `changes` are every change, once. Tables that are not here stay in the lake."""


def layout_of(table: str) -> Layout:
    """How a lake table lies in a store.

    Raises:
        BadInput: no store holds such a table.
    """
    if table not in LAYOUTS:
        raise BadInput(f"Stores have no place for the table {table}; they hold {', '.join(LAYOUTS)}.")
    return LAYOUTS[table]


def stored_schema(table: str, schema: dict[str, pl.DataType]) -> dict[str, pl.DataType]:
    """The columns of a lake table as a store holds them."""
    return {**schema, LAKE_VERSION: pl.Int64()} if layout_of(table).is_snapshot else schema


def stored_rows(delivery: Delivery) -> pl.DataFrame:
    """The rows of a delivery in the columns that a store holds.

    Raises:
        BadInput: no store holds such a table, or a snapshot's version is missing.
    """
    if not layout_of(delivery.table).is_snapshot:
        return delivery.frame
    if delivery.snapshot is None:
        raise BadInput(f"Delivery {delivery.token} of {delivery.table} does not say which version of the table it is.")
    return delivery.frame.with_columns(pl.lit(delivery.snapshot, pl.Int64).alias(LAKE_VERSION))
