"""Files of a table put in place of others, in one commit that no second one of its kind can overtake."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from neonblue_lab.errors import Conflict
from neonblue_lab.files import exclusive
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import layout
from neonblue_lab.lake.writing import write_file

MADE_ANEW = ("experiments",)
"""Tables whose writer replaces all rows: their files are few, and a replacement of them beside its own would bring rows back."""

_LOCK = ".upkeep.lock"
# Delta checks replacements against replacements only where rows change: two of the same files would both stand, and their
# rows be there twice. Two commits that carry the same application transaction exclude each other.
_FENCE = "upkeep"


@dataclass(frozen=True)
class Part:
    """A Parquet file of a table.

    Attributes:
        path: below the table's folder.
        bytes, rows: its size.
        values: partition column -> value as text (None: null); these columns are not in the file.
        written: when, in milliseconds since 1970.
        earliest: the smallest value of the time column that was asked for; None where the log does not say.
    """

    path: str
    bytes: int
    rows: int
    values: Mapping[str, str | None]
    written: int
    earliest: datetime | None = None


def alone(lake: Lake) -> AbstractContextManager[None]:
    """Hold the lake's upkeep: one process at a time. Whoever reads and whoever appends goes on meanwhile.

    Raises:
        Conflict: on entering, another process holds it.
    """
    return exclusive(lake.path / _LOCK, wait=False)


def parts(name: str, table: DeltaTable, *, time_column: str | None = None) -> list[Part]:
    """The files of a table as opened, in the order in which they were written. Reads the log alone."""
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    by = layout(name).partition_by
    found = []
    for row in actions.iter_rows(named=True):
        value = row.get(f"partition.{by}")
        found.append(
            Part(
                path=unquote(row["path"]),
                bytes=row["size_bytes"],
                rows=row["num_records"],
                values={} if by is None else {by: None if value is None else str(value)},
                written=row["modification_time"],
                earliest=row.get(f"min.{time_column}"),
            )
        )
    return sorted(found, key=lambda part: (part.written, part.path))


def scan(lake: Lake, name: str, chosen: Sequence[Part]) -> pl.LazyFrame:
    """The rows of files, one file after the other, without the columns that lie in the folders' names."""
    described = layout(name)
    stored = {column: kind for column, kind in described.schema.items() if column != described.partition_by}
    paths = [lake.path / name / part.path for part in chosen]
    return pl.scan_parquet(paths, schema=stored, missing_columns="insert", hive_partitioning=False, glob=False)


def write(lake: Lake, name: str, rows: pl.LazyFrame, values: Mapping[str, str | None]) -> AddAction:
    """Write rows that the table holds already into a new file of it. It counts once `put_in_place` has named it."""
    return replace(write_file(lake.path / name, rows, values), data_change=False)


def put_in_place(lake: Lake, name: str, table: DeltaTable, new: Sequence[AddAction], old: Sequence[Part]) -> None:
    """Commit `new` files in place of `old` ones, on top of whatever was appended since `table` was opened.

    Args:
        lake, name, table: the table, as opened when its files were looked at.
        new: files that `write` wrote.
        old: files that are then no longer part of the newest version. They stay on the disk for earlier ones.

    Raises:
        Conflict: some of `old` were replaced or removed meanwhile. Nothing was changed, and `new` were deleted.
    """
    now = time.time_ns() // 1_000_000
    # Not marked as a change of data, also where rows go: such a mark makes every append fail that is under way.
    removed = [RemoveAction(p.path, False, now, size=p.bytes, partition_values=dict(p.values)) for p in old]
    fence = (table.transaction_version(_FENCE) or 0) + 1
    by = layout(name).partition_by
    try:
        table.create_write_transaction(
            [*new, *removed],
            mode="append",
            schema=table.schema(),
            partition_by=[by] if by else [],
            commit_properties=CommitProperties(app_transactions=[Transaction(_FENCE, fence)]),
        )
    except CommitFailedError as error:
        for file in new:
            (lake.path / name / file.path).unlink()
        raise Conflict(
            f"Table {name}: its files were replaced by another process at the same moment ({error})."
        ) from error
    table.update_incremental()
