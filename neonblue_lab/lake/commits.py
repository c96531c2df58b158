"""What each commit of a table added: the table as a log of changes, for whoever follows it by version.

A commit is one file `_delta_log/<version>.json` that never changes, and the Parquet files that it names do not either: rows
read from here are the same, in the same order, however often and whenever they are read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
import polars as pl
from deltalake import DeltaTable

from neonblue_lab.errors import Conflict, NotFound
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import layout

SLICE_ROWS = 100_000


@dataclass(frozen=True)
class DataFile:
    """A Parquet file of a table.

    Attributes:
        path: absolute.
        rows: how many it holds.
        partition: partition column -> value as text (None: null); these columns are not in the file.
    """

    path: Path
    rows: int
    partition: Mapping[str, str | None]


@dataclass(frozen=True)
class Commit:
    """One commit of a table.

    Attributes:
        version: the version that it made.
        committed_at: seconds since 1970, by the clock of the process that wrote it.
        files: those that it added, in the log's order; without those of a compaction, whose rows were there before.
        rows: rows in `files`.
        data_change: whether rows came or went; a compaction or a bare mark changes none.
        overwrite: whether rows went that were there before.
        removes: whether files of earlier versions are no longer part of the table.
    """

    version: int
    committed_at: float
    files: tuple[DataFile, ...]
    rows: int
    data_change: bool
    overwrite: bool
    removes: bool


def newest_version(lake: Lake, name: str, known: int) -> int:
    """The newest version of a table of which version `known` is there. Costs one look at the folder per new version."""
    while _log_file(lake, name, known + 1).exists():
        known += 1
    return known


def commits(lake: Lake, name: str, after: int, through: int | None = None) -> Iterator[Commit]:
    """The commits of a table with versions after `after` up to `through` (the newest unless given), ascending.

    Raises:
        NotFound: no such table, or the log of one of these versions is not there.
        Conflict: the table has not even reached `after`: it is not the one that it was.
    """
    if through is None:
        through = lake.open(name).version()
        if through < after:
            raise Conflict(
                f"Table {name} in {lake.path} is at version {through}, and was at {after} before: it was made anew or put "
                "back to an earlier state."
            )
    for version in range(after + 1, through + 1):
        yield _read_commit(lake, name, version)


def snapshot(lake: Lake, name: str, version: int) -> tuple[DataFile, ...]:
    """The files that make up a version of a table, in an order that depends on nothing but the version.

    Raises:
        NotFound: no such table or version.
    """
    actions = pl.DataFrame(lake.open(name, version).get_add_actions(flatten=True))
    if actions.is_empty():
        return ()
    partition_by = layout(name).partition_by
    return tuple(
        _data_file(lake, name, row["path"], row["num_records"], _partition_of(row, partition_by))
        for row in actions.sort("path").iter_rows(named=True)
    )


def read_slices(name: str, file: DataFile) -> Iterator[pl.DataFrame]:
    """The rows of a file of table `name` in the table's columns, in order, at most SLICE_ROWS at a time.

    Raises:
        NotFound: the file is gone.
    """
    schema = layout(name).schema
    stored = {column: kind for column, kind in schema.items() if column not in file.partition}
    rows = pl.scan_parquet(file.path, schema=stored, missing_columns="insert", hive_partitioning=False, glob=False)
    rows = rows.with_columns(
        pl.lit(_typed(value, schema[column]), schema[column]).alias(column) for column, value in file.partition.items()
    ).select(*schema)
    start = 0
    while True:
        try:
            part = rows.slice(start, SLICE_ROWS).collect()
        except FileNotFoundError as error:
            raise NotFound(
                f"A file of table {name} is gone: {file.path}. A vacuum removed it before it was read."
            ) from error
        if not part.is_empty():
            yield part
        if part.height < SLICE_ROWS:
            return
        start += SLICE_ROWS


def table_id(table: DeltaTable) -> str:
    """What tells this table from another that is made in its place."""
    return str(table.metadata().id)


def _typed(value: str | None, kind: pl.DataType) -> str | date | None:
    """The value of a partition column, of which the log has the text. The lake divides tables by dates and texts."""
    return date.fromisoformat(value) if value is not None and kind == pl.Date else value


def _log_file(lake: Lake, name: str, version: int) -> Path:
    return lake.path / name / "_delta_log" / f"{version:020}.json"


def _read_commit(lake: Lake, name: str, version: int) -> Commit:
    path = _log_file(lake, name, version)
    try:
        actions = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        written = path.stat().st_mtime
    except FileNotFoundError as error:
        raise NotFound(f"The log of version {version} of table {name} is not there: {path}.") from error
    information: dict[str, Any] = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
    added = [action["add"] for action in actions if "add" in action]
    removed = [action["remove"] for action in actions if "remove" in action]
    overwrite = any(action["dataChange"] for action in removed)
    # What a deletion writes are rows that stay: they were added before.
    new = [] if information.get("operation") == "DELETE" else [action for action in added if action["dataChange"]]
    files = tuple(
        _data_file(lake, name, a["path"], orjson.loads(a["stats"])["numRecords"], a["partitionValues"]) for a in new
    )
    return Commit(
        version=version,
        committed_at=information["timestamp"] / 1000 if "timestamp" in information else written,
        files=files,
        rows=sum(file.rows for file in files),
        data_change=overwrite or any(action["dataChange"] for action in added),
        overwrite=overwrite,
        removes=bool(removed),
    )


def _data_file(lake: Lake, name: str, path: str, rows: int, partition: Mapping[str, str | None]) -> DataFile:
    return DataFile((lake.path / name).absolute() / unquote(path), rows, dict(partition))


def _partition_of(row: Mapping[str, Any], partition_by: str | None) -> dict[str, str | None]:
    if partition_by is None:
        return {}
    value = row[f"partition.{partition_by}"]
    return {partition_by: None if value is None else str(value)}
