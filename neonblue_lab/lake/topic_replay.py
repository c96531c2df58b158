"""One topic's way into the lake: raw first, then the derived tables, each record once.

The order of a batch is fixed: raw; then the derived tables to which it adds rows; `events` last. What raw holds beyond the
marks of `events` is therefore all that a crash can have left undone, and what the other tables hold of it is told by their
own marks.
"""

import random
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import polars as pl

from neonblue_lab.errors import Conflict
from neonblue_lab.events.records import RECORD_SCHEMA, Offsets, RecordBatch, RecordSource
from neonblue_lab.lake.interpretation import BY_BATCH, Interpretation, Interpreter
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.marks import Marks, ends_of
from neonblue_lab.lake.plan import OTHER_LOG
from neonblue_lab.lake.report import ReplayReport, TopicProgress
from neonblue_lab.lake.tables import RAW, raw_table

CATCH_UP_RECORDS = 100_000
_LAST = "events"


class TopicReplay:
    """Takes a topic's batches into the lake, and counts them in a report.

    Args:
        shared: other followers of the same group write the topic too.
    """

    def __init__(
        self, lake: Lake, topic: str, interpreter: Interpreter, report: ReplayReport, *, shared: bool = False
    ) -> None:
        self._lake, self._topic, self._interpreter, self._report, self._shared = (
            lake,
            topic,
            interpreter,
            report,
            shared,
        )
        self._raw = Marks(lake, raw_table(topic), topic, shared=shared)
        self._derived = {name: Marks(lake, name, topic, shared=shared) for name in BY_BATCH}
        self.progress = report.topics.setdefault(topic, TopicProgress(partitions=self._raw.next))

    def take_up(self, partitions: Iterable[int]) -> None:
        """Know these partitions from now on, and finish what an interrupted replay left undone of them."""
        new = [partition for partition in partitions if partition not in self._raw.next]
        for marks in (self._raw, *self._derived.values()):
            marks.take_up(new)
        if new:
            self._catch_up(new)

    def check_same_log(self, source: RecordSource) -> None:
        """Raise Conflict unless the source is the log that the lake was filled from: the last record that the lake holds of
        each partition, where the source still has it, is read again and compared. Writes nothing."""
        beginnings, ends = source.beginning_offsets(self._topic), source.end_offsets(self._topic)
        held = self._last_records(ends)
        last = {p: o for p, o in held.select("partition", "offset").iter_rows() if beginnings.get(p, 0) <= o < ends[p]}
        if not last:
            return
        starts = {self._topic: ends | last}  # the other partitions are read from their ends, that is not at all
        for batch in source.read(starts, {self._topic: ends | {p: offset + 1 for p, offset in last.items()}}):
            self._check_equal(source.name, batch.frame, held)

    def take(self, read: Interpretation) -> None:
        """Store a batch and what it says.

        Raises:
            Conflict: another replay wrote the same topic meanwhile, and the topic is not shared.
        """
        self.take_up(read.batch.frame["partition"].unique())
        started = time.monotonic()
        while True:
            try:
                self._raw.refresh()
                frame = self._raw.beyond(read.batch.frame)
                before = dict(self._raw.next)
                if not frame.is_empty():
                    self._raw.commit(_raw_rows(frame), ends_of(frame))
                break
            except Conflict:
                if not self._shared:
                    raise
                time.sleep(random.uniform(0.01, 0.1))  # gives the other follower a moment
        if frame.is_empty():
            return
        self._count(frame)
        try:
            if self._shared and self._is_behind(before):
                raise Conflict(f"{self._topic}: another follower has still to derive what it stored.")
            self._derive(read)
        except Conflict:
            if not self._shared:
                raise
            self._catch_up(ends_of(frame))
        self.progress.commit_seconds = time.monotonic() - started

    def move(self, ends: Offsets) -> None:
        """Move on to `ends` without records: past what a log has but does not show (transaction markers, records compacted
        away), and past gaps that were accepted."""
        for marks in (self._raw, self._derived[_LAST]):
            marks.take_up(ends)
            if marks.moved(ends):
                marks.refresh()
                marks.move(ends)

    def lags(self, ends: Offsets) -> None:
        """Note how far the topic is behind these ends."""
        self.progress.lag = {p: max(0, end - self._raw.next.get(p, 0)) for p, end in ends.items()}

    def _derive(self, read: Interpretation) -> None:
        ends = ends_of(read.batch.frame)
        for name in BY_BATCH:
            marks = self._derived[name]
            if name not in read.rows:
                continue
            marks.refresh()
            rest = read.beyond(marks.beyond) if marks.covers(read.batch.frame) else read
            if name in rest.rows:
                marks.commit(rest.rows[name], ends)
        report, progress = self._report, self.progress
        report.valid += read.events.height
        report.changes += read.changes.height
        report.dead_letters += read.rejects.height
        report.tombstones += read.silent
        progress.events += read.rows["events"].height
        progress.duplicates += read.events.height - read.rows["events"].height
        progress.dead_letters += read.rejects.height

    def _catch_up(self, partitions: Iterable[int]) -> None:
        """Derive what raw holds beyond the marks of `events`: left by a replay that was interrupted, or that is at it."""
        partitions = list(partitions)
        while True:
            try:
                for marks in (self._raw, *self._derived.values()):
                    if self._shared:
                        marks.refresh()
                for batch in self._left_undone(partitions):
                    self._derive(self._interpreter.interpret(batch))
                    self._report.caught_up += batch.frame.height
                return
            except Conflict:
                if not self._shared:
                    raise
                time.sleep(random.uniform(0.01, 0.1))  # gives the other follower a moment

    def _left_undone(self, partitions: Iterable[int]) -> Iterator[RecordBatch]:
        for partition in partitions:
            start, end = self._derived[_LAST].next[partition], self._raw.next[partition]
            if start >= end:
                continue
            records = self._raw.scan_offsets(partition, start, end - 1)
            offsets = records.select("offset").collect().to_series().sort()
            for first in range(0, offsets.len(), CATCH_UP_RECORDS):
                part = offsets[first : first + CATCH_UP_RECORDS]
                wanted = self._raw.scan_offsets(partition, part[0], part[-1])
                yield RecordBatch(self._topic, wanted.sort("offset").select(*RECORD_SCHEMA).collect())

    def _is_behind(self, stored: Offsets) -> bool:
        """Whether `events` lacks something of what raw held before this batch."""
        last = self._derived[_LAST]
        last.refresh()
        return any(last.next[partition] < end for partition, end in stored.items())

    def _count(self, frame: pl.DataFrame) -> None:
        self._report.records += frame.height
        self.progress.records += frame.height
        newest = frame["timestamp"].max()
        if isinstance(newest, datetime):
            self.progress.newest = max(newest, self.progress.newest or newest)

    def _last_records(self, partitions: Iterable[int]) -> pl.DataFrame:
        """The record with the highest offset that the lake holds of each partition."""
        found = [pl.DataFrame(schema=RECORD_SCHEMA)]
        for partition in partitions:
            if not (end := self._raw.stated(partition)):
                continue
            last = self._raw.scan_offsets(partition, end - 1, end - 1).select(*RECORD_SCHEMA).collect()
            if last.is_empty():  # the log ends with something that it does not show
                rows = self._raw.scan().filter(pl.col("partition") == partition)
                offset = rows.select(pl.col("offset").max()).collect().item()
                last = rows.filter(pl.col("offset").eq_missing(offset)).select(*RECORD_SCHEMA).collect()
            found.append(last)
        return pl.concat(found)

    def _check_equal(self, name: str, frame: pl.DataFrame, held: pl.DataFrame) -> None:
        both = frame.join(held, on=["partition", "offset"], how="inner", suffix="_held")
        times = [pl.col(name).dt.truncate("1ms") for name in ("timestamp", "timestamp_held")]  # all that Kafka keeps
        same = [times[0].eq_missing(times[1]), *(pl.col(n).eq_missing(pl.col(f"{n}_held")) for n in ("key", "value"))]
        for partition, offset in both.filter(~pl.all_horizontal(same)).select("partition", "offset").iter_rows():
            raise Conflict(
                f"{name}: {self._topic}-{partition}-{offset} is not the record that the lake holds under that offset: "
                f"this is another log. {OTHER_LOG}"
            )


def _raw_rows(frame: pl.DataFrame) -> pl.DataFrame:
    now = datetime.now(UTC)
    return frame.with_columns(
        ingested_at=pl.lit(now).cast(RAW.schema["ingested_at"]), ingest_date=pl.lit(now.date())
    ).select(*RAW.schema)
