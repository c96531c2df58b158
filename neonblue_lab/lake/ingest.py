"""Exactly-once replay: records of a source to the raw tables and from there to the derived ones.

Where a replay stands is written in the tables themselves: a commit carries, as a Delta application transaction, the next
offset of each partition that it moves (the *mark*). Rows and marks become visible in one atomic step, so a crash at any
instant leaves tables that say exactly what they hold (see `topic_replay`).

Three threads share the work: one reads records, one reads what they say, this one stores both.
"""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from threading import Event

import polars as pl

from neonblue_lab.errors import Conflict
from neonblue_lab.events.enrichment import BY_RULE, Enricher
from neonblue_lab.events.records import LiveSource, OffsetsGone, RecordBatch, RecordSource
from neonblue_lab.lake.ahead import ahead
from neonblue_lab.lake.experiment_fold import fold_experiments, restore_lifecycle
from neonblue_lab.lake.gaps import Gap, write_down
from neonblue_lab.lake.interpretation import Interpretation, Interpreter
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.letters import finish_revival
from neonblue_lab.lake.plan import ReplayPlan, check_gaps, chosen_topics, gone, held_offsets, plan_topic, with_sizes
from neonblue_lab.lake.report import Progress, ReplayReport
from neonblue_lab.lake.topic_replay import TopicReplay

Bounds = Callable[[RecordSource, str, dict[int, int | None]], tuple[dict[int, int], dict[int, int]]]
"""Source, topic, partition -> next offset that the lake lacks (None: it has nothing) -> first offsets to read, and those to
stop before."""

_COUNTED_AT_ONCE = 4_000_000


def plan(
    lake: Lake,
    source: RecordSource,
    topics: Sequence[str] | None = None,
    *,
    bounds: Bounds | None = None,
    accept_gap: bool = False,
    sizes: bool = False,
    shared: bool = False,
) -> ReplayPlan:
    """What `replay` would read, with `sizes` also how much. Writes nothing.

    Others may be writing a `shared` topic: where the lake is further than the ends, these have become old since the source
    was opened.

    Raises:
        NotFound, BadInput, Conflict: as of `replay`.
    """
    found = []
    for topic in chosen_topics(source, topics):
        ends = source.end_offsets(topic)
        held = held_offsets(lake, topic, list(ends))
        if shared:
            held = {p: mark if mark is None else min(mark, ends[p]) for p, mark in held.items()}
        found += plan_topic(source, topic, held, bounds(source, topic, held) if bounds else None)
    if not accept_gap:
        check_gaps(source.name, found)
    return ReplayPlan(tuple(with_sizes(source, found) if sizes else found))


def replay(
    lake: Lake,
    source: RecordSource,
    topics: Sequence[str] | None = None,
    *,
    bounds: Bounds | None = None,
    accept_gap: bool = False,
    enricher: Enricher = BY_RULE,
    on_progress: Progress | None = None,
) -> ReplayReport:
    """Bring the lake up to the ends of a source's topics. Running it again adds nothing.

    Args:
        lake: where to; its tables are created when missing.
        source: where from; its ends were fixed when it was opened.
        topics: which, all of the source's unless named.
        bounds: what to read of each topic; everything that is new unless given.
        accept_gap: pass over records that the source no longer has, or that were not asked for, and write the gap down.
        enricher: says what the events mean. It may be called by two threads at once.
        on_progress: called at the start of each topic and after each batch.

    Returns:
        What was done.

    Raises:
        NotFound: the source has no such topic.
        Conflict: the source is not the log that the lake was filled from; records were deleted from it before they were read
            (and not `accept_gap`); or another replay is writing the same topic.
        BadInput: what was asked for would leave a hole in the lake (and not `accept_gap`).
    """
    wanted = chosen_topics(source, topics)
    planned = plan(lake, source, wanted, bounds=bounds, accept_gap=accept_gap)
    _make_ready(lake, enricher)
    before = lake.open("events").version()
    report = ReplayReport()
    interpreter = Interpreter(enricher)
    replays = {topic: TopicReplay(lake, topic, interpreter, report) for topic in wanted}
    for one in replays.values():
        one.check_same_log(source)
    write_down(lake, planned.gaps)
    report.skipped = sum(gap.next - gap.first for gap in planned.gaps)
    for topic, one in replays.items():
        parts = planned.of(topic)
        one.take_up(part.partition for part in parts)
        starts, ends = {p.partition: p.first for p in parts}, {p.partition: p.stop for p in parts}
        one.progress.expected = sum(part.records for part in parts)
        one.lags(ends)
        _tell(on_progress, topic, one)
        if one.progress.expected:
            for read in _pipeline(source.read({topic: starts}, {topic: ends}), enricher):
                if read is not None:
                    one.take(read)
                    one.lags(ends)
                    _tell(on_progress, topic, one)
        one.move({p.partition: p.stop for p in parts if p.records or p.gap or p.begins})
        fold_experiments(lake)
    if not report.nothing_to_do:
        report.events = _new_events(lake, before)
    return report


def follow(
    lake: Lake,
    live: LiveSource,
    topics: Sequence[str],
    *,
    stop: Event,
    linger: float = 1.0,
    log: RecordSource | None = None,
    shared: bool = False,
    accept_gap: bool = False,
    enricher: Enricher = BY_RULE,
    on_progress: Progress | None = None,
    between: Callable[[], None] | None = None,
) -> ReplayReport:
    """Take records into the lake as they arrive, until `stop` is set or the input ends; the batch at hand is finished first.

    Args:
        live: where from; each partition from where the lake is.
        topics: which.
        linger: seconds until a batch that is not full is stored.
        log: the same records, opened with their ends, to compare what the lake holds with; None where they are read once.
        shared: other followers of one group take partitions of the same topics: what they stored counts as stored.
        accept_gap, enricher, on_progress: as of `replay`.
        between: called after each batch, and every `linger` seconds without one.

    Returns:
        What was done; `events` counts an id once a batch.

    Raises:
        NotFound, Conflict: as of `replay`.
    """
    _make_ready(lake, enricher)
    report = ReplayReport()
    interpreter = Interpreter(enricher)
    replays = {topic: TopicReplay(lake, topic, interpreter, report, shared=shared) for topic in topics}
    if log is not None:
        planned = plan(lake, log, topics, accept_gap=accept_gap, shared=shared)
        for topic, one in replays.items():
            one.check_same_log(log)
            one.take_up(log.end_offsets(topic))
        write_down(lake, planned.gaps)
        report.skipped = sum(gap.next - gap.first for gap in planned.gaps)
        for topic, one in replays.items():
            one.move({part.partition: part.first for part in planned.of(topic) if part.gap or part.begins})
    fold_experiments(lake)
    for topic, one in replays.items():
        _tell(on_progress, topic, one)

    def position(topic: str, partition: int) -> int | None:
        return held_offsets(lake, topic, [partition])[partition]

    while True:
        try:
            for read in _pipeline(live.follow(topics, position, stop=stop, linger=linger), enricher):
                if read is not None:
                    _take_live(lake, live, replays[read.batch.topic], read, on_progress)
                if between is not None:
                    between()
            break
        except OffsetsGone as lost:
            held = held_offsets(lake, lost.topic, [lost.partition])[lost.partition]
            gap = Gap(lost.topic, lost.partition, min(held or lost.first, lost.first), lost.next)
            if not accept_gap:
                raise Conflict(gone(live.name, [gap])) from lost
            write_down(lake, [gap])
            report.skipped += gap.next - gap.first
            replays[gap.topic].move({gap.partition: gap.next})
    report.events = sum(one.progress.events for one in replays.values())
    return report


def _make_ready(lake: Lake, enricher: Enricher) -> None:
    lake.ensure_derived()
    restore_lifecycle(lake)
    finish_revival(lake, enricher)


def _take_live(
    lake: Lake, live: LiveSource, one: TopicReplay, read: Interpretation, on_progress: Progress | None
) -> None:
    one.take(read)
    ends = live.end_offsets(read.batch.topic)
    one.lags(ends)
    one.progress.expected = one.progress.records + sum(one.progress.lag.values())
    if "lifecycle" in read.rows or "changes" in read.rows:
        fold_experiments(lake)
    _tell(on_progress, read.batch.topic, one)


def _tell(on_progress: Progress | None, topic: str, one: TopicReplay) -> None:
    if on_progress is not None:
        on_progress(topic, one.progress)


def _pipeline(batches: Iterator[RecordBatch | None], enricher: Enricher) -> Generator[Interpretation | None]:
    """Batches and what they say; those that come next are read and interpreted meanwhile."""

    def interpreted(records: Generator[RecordBatch | None]) -> Iterator[Interpretation | None]:
        interpreter = Interpreter(enricher)
        with closing(records):
            for batch in records:
                yield None if batch is None else interpreter.interpret(batch)

    with closing(ahead(interpreted(ahead(batches)))) as reading:
        yield from reading


def _new_events(lake: Lake, before: int) -> int:
    """Event ids that `events` has gained since version `before`, an id counting once a day of event time.

    Only days that were added to are looked at; ids are counted by 64-bit hash, in passes of bounded memory.
    """
    old, new = lake.open("events", before), lake.open("events")
    known = set(old.file_uris())
    actions = pl.DataFrame(new.get_add_actions(flatten=True))
    added = actions.filter(~pl.Series(new.file_uris()).is_in(list(known))) if len(actions) else actions
    if added.is_empty():
        return 0
    days = added["partition.event_date"].unique().to_list()
    touched = actions.filter(pl.col("partition.event_date").is_in(days))
    passes = math.ceil(touched["num_records"].sum() / _COUNTED_AT_ONCE)

    def distinct(table: str, version: int) -> int:
        rows = lake.scan(table, lake.open(table, version), pl.col("partition.event_date").is_in(days))
        ids = rows.select(id=pl.struct("event_id", "event_date").hash())
        counts = (
            ids.filter(pl.col("id") % passes == one).select(pl.col("id").n_unique()).collect(engine="streaming").item()
            for one in range(passes)
        )
        return sum(counts)

    return distinct("events", new.version()) - distinct("events", before)
