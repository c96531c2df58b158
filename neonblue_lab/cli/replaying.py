"""Running a replay or a follower with all that watches it: bars or lines, logs, metrics, delivery to sinks, signals."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from neonblue_lab.cli.logs import JsonProgress, Log, TextLines, TextLog, json_log
from neonblue_lab.cli.progress import live_lines, on_terminal, show_cursor, topic_bars
from neonblue_lab.cli.replay import LINGER_SECONDS
from neonblue_lab.cli.stopping import stopped_by_signals
from neonblue_lab.cli.watch import Display, SinkReading, Watch
from neonblue_lab.events.records import RecordSource
from neonblue_lab.lake.ingest import follow, plan, replay
from neonblue_lab.topics.selection import resolve
from neonblue_lab.topics.sources import open_live, open_source

if TYPE_CHECKING:
    from neonblue_lab.cli.replay import Asked
    from neonblue_lab.lab import Lab
    from neonblue_lab.lake.ingest import Bounds
    from neonblue_lab.lake.plan import ReplayPlan
    from neonblue_lab.lake.report import ReplayReport
    from neonblue_lab.sinks.report import Backlog, SyncReport


def dry_run(lab: "Lab", asked: "Asked") -> "ReplayPlan":
    """What `run_bounded` would read. Writes nothing."""
    source = open_source(asked.location, topics=asked.topics or None, client=asked.client)
    return plan(lab.lake, source, asked.topics, bounds=_bounds(asked), accept_gap=asked.accept_gap)


def run_bounded(lab: "Lab", asked: "Asked") -> "tuple[ReplayReport, SyncReport | None]":
    """Replay up to the source's end; then deliver everything, where asked."""
    with ExitStack() as stack:
        log = stack.enter_context(_log(asked))
        delivery = stack.enter_context(lab.deliverer()) if asked.sync else None
        watch = Watch(stack.enter_context(_displays(asked)))
        report = replay(
            lab.lake,
            open_source(asked.location, topics=asked.topics or None, client=asked.client),
            asked.topics,
            bounds=_bounds(asked),
            accept_gap=asked.accept_gap,
            on_progress=watch.progressed,
        )
        delivered = delivery.run() if delivery else None
        stack.callback(_tell_end, log, report, delivered)
    return report, delivered


def run_live(lab: "Lab", asked: "Asked") -> "tuple[ReplayReport, SyncReport | None]":
    """Follow until a signal, or until the input ends; deliver what is due meanwhile and everything at the end, where asked."""
    with ExitStack() as stack:
        log = stack.enter_context(_log(asked))
        metrics = [] if asked.metrics_port is None else [stack.enter_context(_metrics(asked.metrics_port, log))]
        delivery = stack.enter_context(lab.deliverer()) if asked.sync else None
        stop = stack.enter_context(stopped_by_signals(lambda: _tell_stopping(log)))
        known = (
            None if asked.from_stdin else open_source(asked.location, topics=asked.topics or None, client=asked.client)
        )
        topics = asked.topics or tuple(known.topics() if known else ())
        live = open_live(asked.location, topics=topics, client=asked.client, group=asked.group)
        watch = Watch([*metrics, *stack.enter_context(_displays(asked))])

        def between() -> None:
            if delivery is not None:
                watch.delivered(sink_readings(delivery.run(flush=False), delivery.backlog()))
            watch.show()

        _tell_start(log, asked, topics)
        report = follow(
            lab.lake,
            live,
            topics,
            stop=stop,
            linger=asked.linger or LINGER_SECONDS,
            log=known,
            shared=asked.group is not None,
            accept_gap=asked.accept_gap,
            on_progress=watch.progressed,
            between=between,
        )
        delivered = delivery.run() if delivery else None
        if delivery is not None and delivered is not None:
            watch.delivered(sink_readings(delivered, delivery.backlog()))
            watch.show()
        stack.callback(_tell_end, log, report, delivered)
    return report, delivered


def _bounds(asked: "Asked") -> "Bounds | None":
    selection = asked.selection
    if selection is None:
        return None

    def bounds(source: RecordSource, topic: str, held: dict[int, int | None]) -> tuple[dict[int, int], dict[int, int]]:
        return resolve(source, topic, selection, {p: offset for p, offset in held.items() if offset is not None})

    return bounds


def sink_readings(report: "SyncReport", backlog: "list[Backlog]") -> dict[str, SinkReading]:
    """Store -> whether it is up, and the rows of the lake's commits that it may lack: a commit counts once, whatever lanes
    it is waiting in."""
    behind: dict[tuple[str, str], int] = {}
    for entry in backlog:
        key = entry.store, entry.table
        behind[key] = max(behind.get(key, 0), entry.rows)
    down = report.troubles("down").keys() | report.troubles("failed").keys()
    return {
        word: SinkReading(
            up=word not in down, backlog=sum(rows for (store, _), rows in behind.items() if store == word)
        )
        for word in report.stores
    }


@contextmanager
def _log(asked: "Asked") -> Iterator[Log]:
    if asked.log_format == "text":
        yield TextLog()
    else:
        with json_log() as log:
            yield log


@contextmanager
def _displays(asked: "Asked") -> Iterator[list[Display]]:
    if asked.log_format == "json":
        lines = JsonProgress()
        yield [lines]
        lines.finish()
    elif on_terminal():
        with live_lines() if asked.live else topic_bars() as display:
            yield [display]
    else:
        yield [TextLines()] if asked.live else []


@contextmanager
def _metrics(port: int, log: Log) -> Iterator[Display]:
    from neonblue_lab.cli.telemetry import Metrics, metrics_server

    metrics = Metrics()
    with metrics_server(port, metrics) as address:
        log.tell("info", "metrics", f"Metrics: {address}", address=address)
        yield metrics


def _tell_start(log: Log, asked: "Asked", topics: Sequence[str]) -> None:
    told = f"Following {', '.join(topics)} of {asked.location}; Ctrl-C leaves in order." if asked.follow else ""
    log.tell("info", "following", told, source=asked.location, topics=topics)


def _tell_end(log: Log, report: "ReplayReport", delivered: "SyncReport | None") -> None:
    """For a machine that reads the log alone: what a person reads on stdout."""
    synced = {} if delivered is None else {"sync": {"ok": delivered.ok, "rows": delivered.rows}}
    log.tell("info", "finished", "", **report.to_dict(), **synced)


def _tell_stopping(log: Log) -> None:
    if on_terminal():
        show_cursor()
    log.tell("info", "stopping", "Finishing the batch; the same signal again leaves at once.")
