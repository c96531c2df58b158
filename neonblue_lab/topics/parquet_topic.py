"""One topic of an archive that lies in Parquet files: its offsets by row group, and its records from any offset."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from neonblue_lab.errors import BadInput
from neonblue_lab.events.records import RECORD_SCHEMA, Offsets, RecordBatch

REQUIRED = ("partition", "offset", "value")
"""Columns that every file must have; `topic` is the folder's name, and the others are null where a file lacks them."""

NAIVE = (pl.Datetime("us"), pl.Datetime("ms"), pl.Datetime("ns"))
"""Timestamps without a time zone: read as UTC."""


@dataclass(frozen=True)
class RowGroup:
    """Where a row group lies, and the first and last offset that it holds of each partition."""

    file: Path
    index: int
    offsets: dict[int, tuple[int, int]]


class ParquetTopic:
    """The records of `files`, in the order given, as one topic.

    A file that is not Parquet, lacks a column, or whose offsets do not ascend within a partition raises BadInput.
    """

    def __init__(self, topic: str, files: Sequence[Path]) -> None:
        self._topic = topic
        self._files = files

    @cached_property
    def row_groups(self) -> list[RowGroup]:
        """All row groups in reading order; made from file footers, and from two columns where those do not suffice."""
        groups: list[RowGroup] = []
        last: dict[int, int] = {}
        for path in self._files:
            with _opened(path) as file:
                for index in range(file.metadata.num_row_groups):
                    offsets = _offsets_of(path, file, index)
                    for partition, (low, high) in offsets.items():
                        if low <= last.get(partition, -1):
                            raise _not_ascending(path, self._topic, partition, low)
                        last[partition] = high
                    groups.append(RowGroup(path, index, offsets))
        return groups

    @property
    def beginnings(self) -> dict[int, int]:
        """Partition -> its first offset."""
        return {p: low for group in reversed(self.row_groups) for p, (low, _) in group.offsets.items()}

    @property
    def ends(self) -> dict[int, int]:
        """Partition -> one past its last offset."""
        return {p: high + 1 for group in self.row_groups for p, (_, high) in group.offsets.items()}

    def read(self, starts: Offsets, batch_records: int) -> Iterator[RecordBatch]:
        """Yield batches of at most `batch_records` records; row groups that lie below `starts` are not read."""
        last: dict[int, int] = {}
        wanted = (g for g in self.row_groups if any(high >= starts.get(p, 0) for p, (_, high) in g.offsets.items()))
        for path, groups in groupby(wanted, key=attrgetter("file")):
            with _opened(path) as file:
                columns = [name for name in RECORD_SCHEMA if name in file.schema_arrow.names]
                batches = file.iter_batches(batch_records, row_groups=[g.index for g in groups], columns=columns)
                for batch in _surviving(path, batches):
                    frame = self._records(path, batch)
                    self._check_ascending(path, frame, last)
                    frame = frame.filter(_at_or_after(starts)) if starts else frame
                    if frame.height:
                        yield RecordBatch(self._topic, frame)

    def _records(self, path: Path, batch: pa.RecordBatch) -> pl.DataFrame:
        """Bring a batch to RECORD_SCHEMA: casts only where no information can be lost, nulls for absent columns."""
        frame = pl.DataFrame(pl.from_arrow(batch))
        columns = []
        for name, kind in RECORD_SCHEMA.items():
            if name == "topic" and name in frame.columns:
                named = frame["topic"].drop_nulls().unique().to_list()
                if named not in ([], [self._topic]):
                    raise BadInput(f"{path}: its column topic says {named}, but its folder is {self._topic!r}.")
            if name == "topic":
                columns.append(pl.lit(self._topic).alias(name))
            elif name not in frame.columns:
                columns.append(pl.lit(None, dtype=kind).alias(name))
            elif name == "timestamp" and frame.schema[name] in (
                pl.Datetime("us"),
                pl.Datetime("ms"),
                pl.Datetime("ns"),
            ):
                columns.append(pl.col(name).dt.replace_time_zone("UTC").cast(kind))
            else:
                columns.append(pl.col(name).cast(kind))
        try:
            return frame.select(columns)
        except pl.exceptions.PolarsError as error:
            found = {name: str(kind) for name, kind in frame.schema.items()}
            reason = str(error).partition("\n")[0]
            raise BadInput(f"{path}: its columns are not those of a record ({reason}); it has {found}.") from error

    def _check_ascending(self, path: Path, frame: pl.DataFrame, last: dict[int, int]) -> None:
        partitions, offsets = frame["partition"].to_numpy(), frame["offset"].to_numpy()
        for partition in np.unique(partitions).tolist():
            own = offsets[partitions == partition]
            previous = np.concatenate(([last.get(partition, -1)], own[:-1]))
            wrong = np.flatnonzero(own <= previous)
            if wrong.size:
                raise _not_ascending(path, self._topic, partition, int(own[wrong[0]]))
            last[partition] = int(own[-1])


def _opened(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path, memory_map=True)
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"{path} cannot be read as Parquet: {error}. Replace or remove it.") from error
    missing = [name for name in REQUIRED if name not in file.schema_arrow.names]
    if missing:
        raise BadInput(
            f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}: "
            f"an archive file has the columns {', '.join(RECORD_SCHEMA)}."
        )
    return file


def _surviving(path: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches, with a damaged page turned into a sentence that names the file."""
    try:
        yield from batches
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"{path} is damaged: {error}. Replace it.") from error


def _offsets_of(path: Path, file: pq.ParquetFile, index: int) -> dict[int, tuple[int, int]]:
    """First and last offset by partition of one row group: from its statistics when it holds a single partition."""
    group = file.metadata.row_group(index)
    if not group.num_rows:
        return {}
    columns = {group.column(i).path_in_schema: group.column(i).statistics for i in range(group.num_columns)}
    partition, offset = columns["partition"], columns["offset"]
    known = all(s is not None and s.has_min_max and s.null_count == 0 for s in (partition, offset))
    if known and partition.min == partition.max:
        return {int(partition.min): (int(offset.min), int(offset.max))}
    try:
        frame = pl.DataFrame(pl.from_arrow(file.read_row_group(index, columns=["partition", "offset"])))
        frame = frame.cast({"partition": pl.Int32, "offset": pl.Int64})
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise BadInput(f"{path}: the columns partition and offset cannot be read: {error}.") from error
    if frame.null_count().row(0) != (0, 0):
        raise BadInput(f"{path} has records without a partition or an offset (row group {index}).")
    ranges = frame.group_by("partition").agg(low=pl.col("offset").min(), high=pl.col("offset").max())
    return {p: (low, high) for p, low, high in ranges.sort("partition").iter_rows()}


def _at_or_after(starts: Offsets) -> pl.Expr:
    start = pl.col("partition").replace_strict(dict(starts), default=0, return_dtype=pl.Int64)
    return pl.col("offset") >= start


def _not_ascending(path: Path, topic: str, partition: int, offset: int) -> BadInput:
    return BadInput(
        f"{path}: offsets do not ascend at {topic}-{partition}-{offset}: a partition's offsets must rise from record "
        "to record and from file to file (files are read in the order of their names)."
    )
