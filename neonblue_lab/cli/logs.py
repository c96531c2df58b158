"""What a replay says while it runs, on stderr: sentences for a person, or one JSON object a line for a machine."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from neonblue_lab.cli.watch import SinkReading, TopicReading
from neonblue_lab.cli.wording import brief, counted, lasting

Level = Literal["info", "warning", "error"]
JSON_SECONDS = 1.0
TEXT_SECONDS = 10.0
_Readings = tuple[Mapping[str, TopicReading], Mapping[str, SinkReading]]


class Log(Protocol):
    """Where things that happen are told."""

    def tell(self, level: Level, event: str, message: str, **fields: Any) -> None:
        """Tell that something happened: `message` for a person (none: she sees it elsewhere), the rest for a machine."""


class TextLog:
    """Sentences on stderr."""

    def tell(self, level: Level, event: str, message: str, **fields: Any) -> None:
        if message:
            _write(message)


class JsonLog:
    """One JSON object a line on stderr: `ts`, `level`, `event`, and what belongs to the event."""

    def tell(self, level: Level, event: str, message: str, **fields: Any) -> None:
        write_line(level, event, message, **fields)


def write_line(level: str, event: str, message: str, **fields: Any) -> None:
    """Write one JSON object as a line on stderr."""
    import orjson

    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    document = {"ts": now, "level": level, "event": event} | ({"message": message} if message else {}) | fields
    line = orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)
    _write(line.decode())


def _write(line: str) -> None:
    """One write, so that lines of several threads do not mix."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class _Libraries(logging.Handler):
    """What libraries log, as lines of the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        write_line(record.levelname.lower(), "library", record.getMessage(), logger=record.name)


@contextmanager
def json_log() -> Iterator[JsonLog]:
    """While the block runs, warnings of libraries are JSON lines too: nothing else is on stderr."""
    handler = _Libraries(logging.WARNING)
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield JsonLog()
    finally:
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(handler)


class JsonProgress:
    """A JSON line for each topic and sink, each second at most; one more at the end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._due = _Due(JSON_SECONDS, clock)
        self._last: _Readings = ({}, {})
        self._written: _Readings = ({}, {})

    def show(self, topics: Mapping[str, TopicReading], sinks: Mapping[str, SinkReading]) -> None:
        self._last = topics, sinks
        if self._due():
            self._write()

    def finish(self) -> None:
        """Write what has changed since the last lines."""
        self._write()

    def _write(self) -> None:
        (topics, sinks), (topics_before, sinks_before) = self._last, self._written
        for topic, reading in topics.items():
            before = topics_before.get(topic)
            if before is None or before.offsets != reading.offsets:
                write_line("info", "progress", topic_line(topic, reading), topic=topic, **_fields(reading))
        for sink, state in sinks.items():
            if state != sinks_before.get(sink):
                level = "info" if state.up else "warning"
                write_line(level, "sink", sink_line(sink, state), sink=sink, up=state.up, backlog=state.backlog)
        self._written = self._last


class TextLines:
    """For a follower whose stderr is no terminal: every ten seconds a line for each topic and sink."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._due = _Due(TEXT_SECONDS, clock)

    def show(self, topics: Mapping[str, TopicReading], sinks: Mapping[str, SinkReading]) -> None:
        if self._due():
            lines = [topic_line(topic, reading) for topic, reading in topics.items()]
            lines += [sink_line(sink, state) for sink, state in sinks.items()]
            _write("\n".join(lines))


class _Due:
    """True when the last time was long enough ago; the first time counts as the start."""

    def __init__(self, every: float, clock: Callable[[], float]) -> None:
        self._every, self._clock, self._last = every, clock, clock()

    def __call__(self) -> bool:
        if self._clock() - self._last < self._every:
            return False
        self._last = self._clock()
        return True


def topic_line(topic: str, reading: TopicReading) -> str:
    """One topic in a line."""
    parts = [
        counted(reading.records, "record"),
        f"{brief(reading.rate)}/s",
        f"lag {brief(sum(reading.lag.values()))}",
        counted(reading.dead_letters, "dead letter"),
    ]
    if reading.newest is not None:
        parts.append(f"newest event {lasting((datetime.now(UTC) - reading.newest).total_seconds())} old")
    return f"{topic}: {', '.join(parts)}"


def sink_line(sink: str, state: SinkReading) -> str:
    """One sink in a line."""
    return f"{sink}: {'up' if state.up else 'down'}, {counted(state.backlog, 'row')} behind"


def _fields(reading: TopicReading) -> dict[str, Any]:
    return {
        "offsets": reading.offsets,
        "records": reading.records,
        "expected": reading.expected or None,
        "rate": round(reading.rate, 1),
        "lag": sum(reading.lag.values()),
        "dead_letters": reading.dead_letters,
        "duplicates": reading.duplicates,
        "newest": reading.newest,
    }
