"""Running a replay or a follower with all that watches it: bars or lines, logs, metrics, delivery to sinks, signals."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from neonblue_lab.cli.logs import JsonProgress, Log, TextLines, TextLog, json_log
from neonblue_lab.cli.progress import live_lines, on_terminal, show_cursor, topic_bars
from neonblue_lab.cli.replay import LINGER_SECONDS
from neonblue_lab.cli.stopping import stopped_by_signals
from neonblue_lab.cli.watch import Display, SinkReading, Watch

if TYPE_CHECKING:
    from neonblue_lab.cli.replay import Asked
    from neonblue_lab.lab import Lab
    from neonblue_lab.lake.ingest import ReplayReport
    from neonblue_lab.sinks.report import Backlog, SyncReport


def run_bounded(lab: "Lab", asked: "Asked") -> "tuple[ReplayReport, SyncReport | None]":
    """Replay up to the source's end; then deliver everything, where asked."""
    with ExitStack() as stack:
        log = stack.enter_context(_log(asked))
        delivery = stack.enter_context(lab.deliverer()) if asked.sync else None
        displays = stack.enter_context(_displays(asked, log))
        watch = Watch(displays)
        report = lab.replay(
            asked.location,
            asked.topics or None,
            **_given(selection=asked.selection, accept_gap=asked.accept_gap or None, client=asked.client),
            on_progress=watch.progressed,
        )
        return report, delivery.run() if delivery else None


def _given(**x):
    return {n: v for n, v in x.items() if v is not None}


def run_live(lab: "Lab", asked: "Asked") -> "tuple[ReplayReport, SyncReport | None]":
    """Follow until a signal, or until the input ends; deliver what is due meanwhile and everything at the end, where asked."""
    with ExitStack() as stack:
        log = stack.enter_context(_log(asked))
        delivery = stack.enter_context(lab.deliverer()) if asked.sync else None
        metrics = [] if asked.metrics_port is None else [stack.enter_context(_metrics(asked.metrics_port, log))]
        stop = stack.enter_context(stopped_by_signals(lambda: _tell_stopping(log)))
        watch = Watch([*metrics, *stack.enter_context(_displays(asked, log))])

        def between() -> None:
            if delivery is not None:
                watch.delivered(sink_readings(delivery.run(flush=False), delivery.backlog()))
            watch.show()

        log.tell("info", "following", f"Following {asked.location}; Ctrl-C leaves in order.", source=asked.location)
        report = lab.follow(
            asked.location,
            asked.topics or None,
            stop=stop,
            linger=asked.linger or LINGER_SECONDS,
            group=asked.group,
            client=asked.client,
            accept_gap=asked.accept_gap,
            on_progress=watch.progressed,
            between=between,
        )
        return report, delivery.run() if delivery else None


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
def _displays(asked: "Asked", log: Log) -> Iterator[list[Display]]:
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


def _tell_stopping(log: Log) -> None:
    if on_terminal():
        show_cursor()
    log.tell("info", "stopping", "Finishing the batch; the same signal again leaves at once.")
