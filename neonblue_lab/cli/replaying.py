"""Running a replay or a follower with all that watches it: bars or lines, logs, metrics, delivery to sinks, signals."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from neonblue_lab.cli.asked import LINGER_SECONDS
from neonblue_lab.cli.housekeeping import Housekeeping
from neonblue_lab.cli.logs import JsonProgress, Log, TextLines, TextLog, json_log
from neonblue_lab.cli.progress import live_lines, on_terminal, show_cursor, topic_bars
from neonblue_lab.cli.stopping import stopped_by_signals
from neonblue_lab.cli.watch import Display, SinkReading, Watch

if TYPE_CHECKING:
    from neonblue_lab.cli.asked import Asked
    from neonblue_lab.lab import Lab
    from neonblue_lab.lake.report import ReplayReport
    from neonblue_lab.sinks.report import Backlog, SyncReport


Outcome = tuple["ReplayReport", "SyncReport | None"]


def run(lab: "Lab", asked: "Asked") -> Outcome:
    """Replay or follow, and deliver where asked. Returns what was stored, and what was delivered."""
    with _log(asked) as log:
        with ExitStack() as stack:
            way = _follow if asked.live else _replay
            report, delivered = way(lab, asked, log, stack)
        _tell_end(log, report, delivered)
    return report, delivered


def _replay(lab: "Lab", asked: "Asked", log: Log, stack: ExitStack) -> Outcome:
    """Up to the source's end; then everything is delivered."""
    delivery = stack.enter_context(lab.deliverer()) if asked.sync else None
    watch = Watch(stack.enter_context(_displays(asked)))
    report = lab.replay(
        asked.location,
        asked.topics,
        selection=asked.selection,
        accept_gap=asked.accept_gap,
        client=asked.client,
        on_progress=watch.progressed,
    )
    return report, None if delivery is None else delivery.run()


def _follow(lab: "Lab", asked: "Asked", log: Log, stack: ExitStack) -> Outcome:
    """Until a signal, or until the input ends; meanwhile small files are merged and what is due is delivered, and everything
    at the end."""
    metrics = [] if asked.metrics_port is None else [stack.enter_context(_metrics(asked.metrics_port, log))]
    delivery = stack.enter_context(lab.deliverer()) if asked.sync else None
    stop = stack.enter_context(stopped_by_signals(lambda: _tell_stopping(log)))
    watch = Watch([*metrics, *stack.enter_context(_displays(asked))])
    keep_house = Housekeeping(lab.lake)

    def between() -> None:
        if merged := keep_house():
            log.tell("info", "compacted", "", **merged.to_dict())
        if delivery is not None:
            watch.delivered(sink_readings(delivery.run(flush=False), delivery.backlog()))
        watch.show()

    _tell_start(log, asked)
    report = lab.follow(
        asked.location,
        asked.topics,
        stop=stop,
        linger=asked.linger or LINGER_SECONDS,
        group=asked.group,
        client=asked.client,
        accept_gap=asked.accept_gap,
        on_progress=watch.progressed,
        between=between,
    )
    if delivery is None:
        return report, None
    delivered = delivery.run()
    watch.delivered(sink_readings(delivered, delivery.backlog()))
    watch.show()
    return report, delivered


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


def _tell_start(log: Log, asked: "Asked") -> None:
    topics = ", ".join(asked.topics or ["all topics"])
    told = f"Following {topics} of {asked.location}; Ctrl-C leaves in order." if asked.follow else ""
    log.tell("info", "following", told, source=asked.location, topics=asked.topics)


def _tell_end(log: Log, report: "ReplayReport", delivered: "SyncReport | None") -> None:
    """For a machine that reads the log alone: what a person reads on stdout."""
    synced = {} if delivered is None else {"sync": {"ok": delivered.ok, "rows": delivered.rows}}
    log.tell("info", "finished", "", **report.to_dict(), **synced)


def _tell_stopping(log: Log) -> None:
    if on_terminal():
        show_cursor()
    log.tell("info", "stopping", "Finishing the batch; the same signal again leaves at once.")
