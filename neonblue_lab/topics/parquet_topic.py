"""One topic of an archive that lies in Parquet files: its offsets by row group, and its records in any range."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from neonblue_lab.errors import BadInput
from neonblue_lab.events.records import RECORD_SCHEMA, Offsets, RecordBatch
from neonblue_lab.topics.batching import BATCH_BYTES, Batching
from neonblue_lab.topics.ranges import Range

REQUIRED = ("partition", "offset", "value")
"""Columns that every file must have; `topic` is the folder's name, and the others are null where a file lacks them."""

NAIVE = (pl.Datetime("us"), pl.Datetime("ms"), pl.Datetime("ns"))
"""Timestamps without a time zone: read as UTC."""


@dataclass(frozen=True)
class RowGroup:
    """Where a row group lies, and the first and last offset that it holds of each partition."""

    file: Path
    index: int
    offsets: dict[int, Range]
    record_bytes: int

    def within(self, ranges: Mapping[int, Range]) -> bool | None:
        """Whether all of its records lie in `ranges`; None when none of them does."""
        wanted = [(ranges[p], low, high) for p, (low, high) in self.offsets.items() if p in ranges]
        if not any(low < end and high >= start for (start, end), low, high in wanted):
            return None
        return len(wanted) == len(self.offsets) and all(
            start <= low and high < end for (start, end), low, high in wanted
        )


class ParquetTopic:
    """The records of `files`, in the order given, as one topic.

    A file that is not Parquet, lacks a column, or whose offsets do not ascend within a partition raises BadInput.
    """

    def __init__(self, topic: str, files: Sequence[Path], before: Offsets | None = None) -> None:
        """`before`: the ends of the files that come before these."""
        self._topic = topic
        self.files = files
        self._before = before or {}

    @cached_property
    def row_groups(self) -> list[RowGroup]:
        """All row groups in reading order; made from file footers, and from two columns where those do not suffice."""
        groups: list[RowGroup] = []
        last = {partition: end - 1 for partition, end in self._before.items()}
        for path in self.files:
            with _opened(path) as file:
                for index in range(file.metadata.num_row_groups):
                    offsets = _offsets_of(path, file, index)
                    for partition, (low, high) in offsets.items():
                        if low <= last.get(partition, -1):
                            raise _not_ascending(path, self._topic, partition, low)
                        last[partition] = high
                    group = file.metadata.row_group(index)
                    groups.append(RowGroup(path, index, offsets, group.total_byte_size // max(1, group.num_rows)))
        return groups

    @property
    def beginnings(self) -> dict[int, int]:
        """Partition -> its first offset."""
        return {p: low for group in reversed(self.row_groups) for p, (low, _) in group.offsets.items()}

    @property
    def ends(self) -> dict[int, int]:
        """Partition -> one past its last offset."""
        return {p: high + 1 for group in self.row_groups for p, (_, high) in group.offsets.items()}

    def offsets_at(self, moment: datetime) -> dict[int, int]:
        """Partition -> the first offset whose timestamp is at or after `moment`; the end where there is none."""
        found: dict[int, int] = {}
        for group in self.row_groups:
            if not group.offsets.keys() <= found.keys():
                with _opened(group.file) as file:
                    found = _first_at(group, file, moment) | found
        return self.ends | found

    def read(self, ranges: Mapping[int, Range], batch_records: int) -> Iterator[RecordBatch]:
        """Yield the records in `ranges`; row groups that lie outside are not read."""
        last: dict[int, int] = {}
        batching = Batching(self._topic, batch_records)
        wanted = [(group, whole) for group in self.row_groups if (whole := group.within(ranges)) is not None]
        for (path, whole), groups in groupby(wanted, key=lambda one: (one[0].file, one[1])):
            for frame in self._frames(path, [group for group, _ in groups], batch_records):
                self._check_ascending(path, frame, last)
                yield from batching.add(frame if whole else frame.filter(_in(ranges)))
        yield from batching.rest()

    def _frames(self, path: Path, groups: Sequence[RowGroup], batch_records: int) -> Iterator[pl.DataFrame]:
        # As many rows at a time as hold BATCH_BYTES: a batch is decoded before its values can be measured.
        rows = max(1, min(batch_records, *(BATCH_BYTES // max(1, group.record_bytes) for group in groups)))
        with _opened(path) as file:
            columns = [name for name in RECORD_SCHEMA if name in file.schema_arrow.names]
            batches = file.iter_batches(rows, row_groups=[group.index for group in groups], columns=columns)
            for batch in _surviving(path, batches):
                yield self._records(path, batch)

    def _records(self, path: Path, batch: pa.RecordBatch) -> pl.DataFrame:
        """Bring a batch to RECORD_SCHEMA: casts only where no information can be lost, nulls for absent columns."""
        if "topic" in batch.schema.names:
            named = batch["topic"].unique().drop_null().to_pylist()
            if named not in ([], [self._topic]):
                raise BadInput(f"{path}: its column topic says {named}, but its folder is {self._topic!r}.")
            batch = batch.drop_columns(["topic"])
        frame = pl.DataFrame(pl.from_arrow(batch))
        columns = []
        for name, kind in RECORD_SCHEMA.items():
            found = frame.schema.get(name)
            if name == "topic":
                columns.append(pl.lit(self._topic).alias(name))
            elif found is None:
                columns.append(pl.lit(None, dtype=kind).alias(name))
            elif name == "timestamp" and found in NAIVE:
                columns.append(pl.col(name).dt.replace_time_zone("UTC").cast(kind))
            else:
                columns.append(pl.col(name) if found == kind else pl.col(name).cast(kind))
        try:
            return frame.select(columns)
        except pl.exceptions.PolarsError as error:
            schema = {name: str(kind) for name, kind in frame.schema.items()}
            reason = str(error).partition("\n")[0]
            raise BadInput(f"{path}: its columns are not those of a record ({reason}); it has {schema}.") from error

    def _check_ascending(self, path: Path, frame: pl.DataFrame, last: dict[int, int]) -> None:
        partitions, offsets = frame["partition"].to_numpy(), frame["offset"].to_numpy()
        if (partitions != partitions[0]).any():
            order = np.argsort(partitions, kind="stable")
            partitions, offsets = partitions[order], offsets[order]
        firsts = np.concatenate(([0], np.flatnonzero(partitions[1:] != partitions[:-1]) + 1))
        before = np.concatenate(([-1], offsets[:-1]))
        before[firsts] = [last.get(partition, -1) for partition in partitions[firsts].tolist()]
        wrong = np.flatnonzero(offsets <= before)
        if wrong.size:
            raise _not_ascending(path, self._topic, int(partitions[wrong[0]]), int(offsets[wrong[0]]))
        lasts = np.append(firsts[1:], len(offsets)) - 1
        last.update(zip(partitions[lasts].tolist(), offsets[lasts].tolist(), strict=True))


def _opened(path: Path) -> pq.ParquetFile:
    try:
        metadata = pq.read_metadata(path)
        named = ["topic"] if "topic" in metadata.schema.to_arrow_schema().names else []
        # Neither mapped nor read ahead: both would keep what was read of the file until its end.
        file = pq.ParquetFile(path, metadata=metadata, pre_buffer=False, read_dictionary=named)
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


def _offsets_of(path: Path, file: pq.ParquetFile, index: int) -> dict[int, Range]:
    """First and last offset by partition of one row group: from its statistics when it holds a single partition."""
    if not file.metadata.row_group(index).num_rows:
        return {}
    partition, offset = _statistics(file, index, "partition"), _statistics(file, index, "offset")
    if partition is not None and offset is not None and partition.min == partition.max:
        return {int(partition.min): (int(offset.min), int(offset.max))}
    frame = _columns(path, file, index, {"partition": pl.Int32(), "offset": pl.Int64()})
    if frame.null_count().row(0) != (0, 0):
        raise BadInput(f"{path} has records without a partition or an offset (row group {index}).")
    found = frame.group_by("partition").agg(low=pl.col("offset").min(), high=pl.col("offset").max())
    return {p: (low, high) for p, low, high in found.sort("partition").iter_rows()}


def _first_at(group: RowGroup, file: pq.ParquetFile, moment: datetime) -> dict[int, int]:
    """Partition -> the first offset at or after `moment` in one row group, for the partitions that have one there."""
    statistics = _statistics(file, group.index, "timestamp") if "timestamp" in file.schema_arrow.names else None
    if statistics is not None and isinstance(statistics.max, datetime) and _utc(statistics.max) < moment:
        return {}
    kinds = {"partition": pl.Int32(), "offset": pl.Int64(), "timestamp": RECORD_SCHEMA["timestamp"]}
    if "timestamp" not in file.schema_arrow.names:
        raise _timeless(group.file)
    frame = _columns(group.file, file, group.index, kinds)
    if frame["timestamp"].null_count():
        raise _timeless(group.file)
    late = frame.filter(pl.col("timestamp") >= moment).group_by("partition").agg(pl.col("offset").min())
    return dict(late.iter_rows())


def _statistics(file: pq.ParquetFile, index: int, column: str) -> pq.Statistics | None:
    """The statistics of one column of a row group, when they say all: least, greatest, and that no value is null."""
    group = file.metadata.row_group(index)
    found = next(c for i in range(group.num_columns) if (c := group.column(i)).path_in_schema == column).statistics
    return found if found is not None and found.has_min_max and found.null_count == 0 else None


def _columns(path: Path, file: pq.ParquetFile, index: int, kinds: Mapping[str, pl.DataType]) -> pl.DataFrame:
    try:
        frame = pl.DataFrame(pl.from_arrow(file.read_row_group(index, columns=list(kinds))))
        if frame.schema.get("timestamp") in NAIVE:
            frame = frame.with_columns(pl.col("timestamp").dt.replace_time_zone("UTC"))
        return frame.select(pl.col(name).cast(kind) for name, kind in kinds.items())
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise BadInput(f"{path}: the columns {', '.join(kinds)} cannot be read: {error}.") from error


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _in(ranges: Mapping[int, Range]) -> pl.Expr:
    bounds = [
        pl.col("partition").replace_strict({p: r[i] for p, r in ranges.items()}, default=0, return_dtype=pl.Int64)
        for i in (0, 1)
    ]
    return (pl.col("offset") >= bounds[0]) & (pl.col("offset") < bounds[1])


def _timeless(path: Path) -> BadInput:
    return BadInput(f"{path} has records without a timestamp: they cannot be chosen by time. Choose them by offset.")


def _not_ascending(path: Path, topic: str, partition: int, offset: int) -> BadInput:
    return BadInput(
        f"{path}: offsets do not ascend at {topic}-{partition}-{offset}: a partition's offsets must rise from record "
        "to record and from file to file (files are read in the order of their names)."
    )
