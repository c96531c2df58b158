"""Exactly-once replay: records of a source to the raw tables and from there to the derived ones.

Where a replay stands is written in the tables themselves: a commit carries, as a Delta application transaction, the next
offset of each partition that it moves (the *mark*). Rows and marks become visible in one atomic step, so a crash at any
instant leaves tables that say exactly what they hold. The order of a batch is fixed: raw first; then the derived tables to
which it adds rows; `events` last. What raw holds beyond the marks of `events` is therefore all that a crash can have left
undone, and what the other tables hold of it is told by their own marks.

`experiments` is made anew out of `events`, as late events and several topics may speak of the same experiment; its mark is
the version of `events` that it was made from.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from neonblue_lab.errors import Conflict, NotFound
from neonblue_lab.events.changes import ChangeParser, is_change_topic
from neonblue_lab.events.parsing import EventParser
from neonblue_lab.events.records import RECORD_SCHEMA, Offsets, RecordBatch, RecordSource
from neonblue_lab.events.schema import EVENT_SCHEMA, EXPERIMENT_LIFECYCLE
from neonblue_lab.lake.derive import (
    assignment_rows,
    dead_letter_rows,
    event_rows,
    experiment_rows,
    metric_total_rows,
)
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import RAW, layout, raw_table

CATCH_UP_RECORDS = 100_000
_BY_BATCH = ("dead_letters", "assignments", "metric_totals", "changes", "events")


@dataclass
class TopicProgress:
    """What a replay did to one topic.

    Attributes:
        records: records stored by this replay.
        expected: records that it set out to store, an upper bound where offsets have gaps.
        partitions: partition -> next offset after it.
    """

    records: int = 0
    expected: int = 0
    partitions: dict[int, int] = field(default_factory=dict)


@dataclass
class ReplayReport:
    """What a replay did: `records + caught_up == events + duplicates + changes + dead_letters + tombstones`.

    Attributes:
        records: raw records stored.
        valid: records that are events.
        events: distinct event ids that are new in the lake.
        changes: records that are changes to the experiment registry's tables.
        dead_letters: records kept aside with a reason.
        tombstones: records without a value.
        caught_up: records that an earlier, interrupted replay had stored and this one derived events from.
        topics: topic -> its progress.
    """

    records: int = 0
    valid: int = 0
    events: int = 0
    changes: int = 0
    dead_letters: int = 0
    tombstones: int = 0
    caught_up: int = 0
    topics: dict[str, TopicProgress] = field(default_factory=dict)

    @property
    def duplicates(self) -> int:
        """Valid records whose event id another record had before."""
        return self.valid - self.events

    def __str__(self) -> str:
        """What was done, in a line or two."""
        if self.nothing_to_do:
            return "Nothing to do: the lake already holds everything."
        finished = (
            f"{self.caught_up:,} records of an interrupted replay were finished first.\n" if self.caught_up else ""
        )
        return (
            f"{finished}{self.records:,} records -> {self.events:,} new events, {self.dead_letters:,} dead letters, "
            f"{self.duplicates:,} duplicates, {self.tombstones:,} tombstones."
        )

    @property
    def nothing_to_do(self) -> bool:
        """Whether the lake already held everything."""
        return self.records == 0 and self.caught_up == 0

    def to_dict(self) -> dict[str, Any]:
        """The report for machines: counts, and per topic the records and the next offset of each partition."""
        counts = ("records", "events", "duplicates", "changes", "dead_letters", "tombstones", "caught_up")
        topics = {
            topic: {"records": p.records, "partitions": {str(number): end for number, end in p.partitions.items()}}
            for topic, p in self.topics.items()
        }
        return {name: getattr(self, name) for name in counts} | {"topics": topics}


Progress = Callable[[str, TopicProgress], None]


def replay(
    lake: Lake, source: RecordSource, topics: Sequence[str] | None = None, *, on_progress: Progress | None = None
) -> ReplayReport:
    """Bring the lake up to the ends of a source's topics. Running it again adds nothing.

    Args:
        lake: where to; its tables are created when missing.
        source: where from; its ends were fixed when it was opened.
        topics: which, all of the source's unless named.
        on_progress: called with the topic and its progress at the start of each topic and after each batch.

    Returns:
        What was done.

    Raises:
        NotFound: the source has no such topic.
        Conflict: the source is not the log that the lake was filled from, or another replay is writing the same topic.
    """
    held = source.topics()
    wanted = list(dict.fromkeys(topics or held))
    for topic in wanted:
        if topic not in held:
            raise NotFound(f"{source.name} has no topic {topic}; it has {', '.join(held) or 'none'}.")
    lake.ensure_derived()
    before = lake.open("events").version()
    report = ReplayReport()
    parser = EventParser()
    replays = [_TopicReplay(lake, source, topic, parser, report, on_progress) for topic in wanted]
    for one in replays:
        one.check_source()
    for one in replays:
        one.run()
        _define_experiments(lake)
    if not report.nothing_to_do:
        report.events = _distinct_events(lake) - _distinct_events(lake, before)
    return report


def _distinct_events(lake: Lake, version: int | None = None) -> int:
    """Distinct event ids, counted by 64-bit hash."""
    ids = lake.scan("events", lake.open("events", version)).select(pl.col("event_id").hash().n_unique())
    return int(ids.collect(engine="streaming").item())


def _define_experiments(lake: Lake) -> None:
    """Make `experiments` anew where `events` or `changes` has moved on since."""
    while True:
        table, events, changes = lake.open("experiments"), lake.open("events"), lake.open("changes")
        made_from = {"events": events.version(), "changes": changes.version()}
        if made_from == {name: table.transaction_version(name) for name in made_from}:
            return
        lifecycle = lake.scan("events", events).select(*EVENT_SCHEMA)
        rows = experiment_rows(
            lifecycle.filter(pl.col("event_type").is_in(EXPERIMENT_LIFECYCLE)).collect(),
            lake.scan("changes", changes).filter(pl.col("source_table").is_in(["experiments", "variants"])).collect(),
        )
        try:
            lake.commit(table, rows, marks=made_from, mode="overwrite")
        except Conflict:  # another replay, of another topic, made it at the same moment
            continue
        return


class _Marks:
    """One table, and the next offsets of one topic as the table's log states them."""

    def __init__(self, lake: Lake, name: str, topic: str, partitions: Sequence[int]) -> None:
        self._lake = lake
        self._name = name
        self._topic = topic
        self.table = lake.ensure(name)
        self.next = {partition: self._stated(partition) for partition in partitions}

    def _stated(self, partition: int) -> int:
        return self.table.transaction_version(f"{self._topic}/{partition}") or 0

    def refresh(self) -> None:
        """Open the table's newest version. Raises Conflict where its marks are not what this replay found or wrote."""
        self.table.update_incremental()
        for partition, expected in self.next.items():
            if (stated := self._stated(partition)) != expected:
                raise Conflict(
                    f"{self.table.table_uri}: {self._topic}-{partition} is at offset {stated}, this replay had left it "
                    f"at {expected}: another replay writes the same topic. Nothing was doubled; run again when it is done."
                )

    def scan(self) -> pl.LazyFrame:
        """The table's rows, as last opened."""
        return self._lake.scan(self._name, self.table)

    def beyond(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of records that lie at or beyond the marks."""
        if frame.is_empty():
            return frame
        mark = pl.col("partition").replace_strict(self.next, default=0, return_dtype=pl.Int64)
        return frame.filter(pl.col("offset") >= mark)

    def commit(self, rows: pl.DataFrame, through: pl.DataFrame) -> None:
        """Write rows and move the marks past the records of `through`, in one atomic step."""
        self._write(rows, dict(through.group_by("partition").agg(pl.col("offset").max() + 1).iter_rows()))

    def move(self, ends: Offsets) -> None:
        """Move the marks without writing rows."""
        self._write(pl.DataFrame(schema=layout(self._name).schema), ends)

    def _write(self, rows: pl.DataFrame, ends: Offsets) -> None:
        moved = {partition: end for partition, end in ends.items() if end > self.next[partition]}
        marks = {f"{self._topic}/{partition}": end for partition, end in moved.items()}
        self._lake.commit(self.table, rows, marks=marks)
        self.next.update(moved)


class _TopicReplay:
    """One topic's way from a source through raw to the derived tables."""

    def __init__(
        self,
        lake: Lake,
        source: RecordSource,
        topic: str,
        parser: EventParser,
        report: ReplayReport,
        on_progress: Progress | None,
    ) -> None:
        self._lake, self._source, self._topic, self._parser = lake, source, topic, parser
        self._report, self._on_progress = report, on_progress
        self._changes = ChangeParser()
        self._ends = source.end_offsets(topic)
        partitions = sorted(self._ends)
        self._raw = _Marks(lake, raw_table(topic), topic, partitions)
        self._derived = {name: _Marks(lake, name, topic, partitions) for name in _BY_BATCH}
        self._progress = TopicProgress(partitions=self._raw.next)
        report.topics[topic] = self._progress

    def run(self) -> None:
        for batch in self._left_undone():
            self._report.caught_up += batch.frame.height
            self._derive(batch)
        self._progress.expected = sum(max(0, end - self._raw.next[p]) for p, end in self._ends.items())
        self._tell()
        for batch in self._new():
            self._store(batch)
            self._derive(batch)
            self._tell()
        self._pass_the_end()

    def _tell(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._topic, self._progress)

    def _left_undone(self) -> Iterator[RecordBatch]:
        """What raw holds beyond the marks of `events`: left by a replay that was interrupted."""
        for partition, end in self._raw.next.items():
            start = self._derived["events"].next[partition]
            if start < end:
                records = self._raw.scan().filter(pl.col("partition") == partition, pl.col("offset") >= start)
                offsets = records.select("offset").collect().to_series().sort()
                for first in range(0, offsets.len(), CATCH_UP_RECORDS):
                    part = offsets[first : first + CATCH_UP_RECORDS]
                    frame = records.filter(pl.col("offset").is_between(part[0], part[-1])).sort("offset").collect()
                    yield RecordBatch(self._topic, frame.select(*RECORD_SCHEMA))

    def check_source(self) -> None:
        """Raise Conflict unless the source is the log that the lake was filled from: it must reach at least as far, and the
        last record that the lake holds of each partition is read again and compared. Writes nothing."""
        for partition, end in self._ends.items():
            if end < self._raw.next[partition]:
                raise Conflict(
                    f"{self._source.name}: {self._topic}-{partition} ends at offset {end}, but the lake holds it up to "
                    f"{self._raw.next[partition]}: this is another log, or it was cut off. {_OTHER_LOG}"
                )
        beginnings = self._source.beginning_offsets(self._topic)
        held = self._last_records()
        left = {
            p: offset for p, offset in held.select("partition", "offset").iter_rows() if offset >= beginnings.get(p, 0)
        }
        for partition, offset in left.items():
            # The other partitions are read from their ends, that is not at all.
            for batch in self._source.read({self._topic: self._ends | {partition: offset}}):
                self._check_same_log(batch.frame, held)
                break

    def _new(self) -> Iterator[RecordBatch]:
        """Records from the marks on."""
        for batch in self._source.read({self._topic: self._raw.next}):
            frame = self._raw.beyond(batch.frame)
            if not frame.is_empty():
                yield RecordBatch(self._topic, frame)

    def _pass_the_end(self) -> None:
        """Move the marks past what a log ends with but does not show: transaction markers, records compacted away."""
        for marks in (self._raw, self._derived["events"]):
            if any(end > marks.next[partition] for partition, end in self._ends.items()):
                marks.refresh()
                marks.move(self._ends)

    def _last_records(self) -> pl.DataFrame:
        """The record with the highest offset that the lake holds of each partition."""
        raw = self._raw.scan()
        last = raw.group_by("partition").agg(pl.col("offset").max()).collect()
        if last.is_empty():
            return pl.DataFrame(schema=RECORD_SCHEMA)
        is_last = pl.any_horizontal(
            (pl.col("partition") == partition) & (pl.col("offset") == offset) for partition, offset in last.iter_rows()
        )
        return raw.filter(is_last).select(*RECORD_SCHEMA).collect()

    def _check_same_log(self, frame: pl.DataFrame, known: pl.DataFrame) -> None:
        both = frame.join(known, on=["partition", "offset"], how="inner", suffix="_held")
        times = [pl.col(name).dt.truncate("1ms") for name in ("timestamp", "timestamp_held")]  # all that Kafka keeps
        same = [times[0].eq_missing(times[1]), *(pl.col(n).eq_missing(pl.col(f"{n}_held")) for n in ("key", "value"))]
        for partition, offset in both.filter(~pl.all_horizontal(same)).select("partition", "offset").iter_rows():
            raise Conflict(
                f"{self._source.name}: {self._topic}-{partition}-{offset} is not the record that the lake holds under that "
                f"offset: this is another log. {_OTHER_LOG}"
            )

    def _store(self, batch: RecordBatch) -> None:
        now = datetime.now(UTC)
        rows = batch.frame.with_columns(
            ingested_at=pl.lit(now).cast(RAW.schema["ingested_at"]), ingest_date=pl.lit(now.date())
        ).select(*RAW.schema)
        self._raw.refresh()
        self._raw.commit(rows, batch.frame)
        self._report.records += rows.height
        self._progress.records += rows.height

    def _derive(self, batch: RecordBatch) -> None:
        if is_change_topic(self._topic):
            self._derive_changes(batch)
            return
        parsed = self._parser.parse(batch)
        self._report.valid += parsed.events.height
        self._report.dead_letters += parsed.rejects.height
        self._report.tombstones += parsed.tombstones
        self._add("dead_letters", batch, parsed.rejects, lambda rejects: dead_letter_rows(batch, rejects))
        self._add("assignments", batch, parsed.events, assignment_rows)
        self._add("metric_totals", batch, parsed.events, metric_total_rows)
        marks = self._derived["events"]
        marks.refresh()
        marks.commit(event_rows(marks.beyond(parsed.events)), batch.frame)

    def _derive_changes(self, batch: RecordBatch) -> None:
        parsed = self._changes.parse(batch)
        self._report.changes += parsed.changes.height
        self._report.dead_letters += parsed.rejects.height
        self._report.tombstones += parsed.tombstones + parsed.messages
        self._add("dead_letters", batch, parsed.rejects, lambda rejects: dead_letter_rows(batch, rejects))
        self._add("changes", batch, parsed.changes, lambda changes: changes)
        marks = self._derived["events"]
        marks.refresh()
        marks.commit(event_rows(pl.DataFrame(schema=EVENT_SCHEMA)), batch.frame)

    def _add(
        self, name: str, batch: RecordBatch, parsed: pl.DataFrame, rows_of: Callable[[pl.DataFrame], pl.DataFrame]
    ) -> None:
        marks = self._derived[name]
        rows = rows_of(marks.beyond(parsed))
        if not rows.is_empty():
            marks.refresh()
            marks.commit(rows, batch.frame)


_OTHER_LOG = (
    "Nothing was written. Replay another log into a data folder of its own (--home); of this one, only the end may grow: no file "
    "may change, and none may come before the last by name."
)
