"""What is to be seen of a running replay: readings of each topic and each sink, handed to whatever displays them."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from neonblue_lab.lake.report import TopicProgress

RATE_SECONDS = 10.0


class Rate:
    """A count's growth per second over the last RATE_SECONDS."""

    def __init__(self, now: float, count: int) -> None:
        self._seen: deque[tuple[float, float]] = deque([(now, count)])

    def at(self, now: float, count: int) -> float:
        """The rate when the count stands at `count`; times may not go back."""
        self._seen.append((now, count))
        start = now - RATE_SECONDS
        while len(self._seen) > 2 and self._seen[1][0] <= start:
            self._seen.popleft()
        (since, before), (then, reached) = self._seen[0], self._seen[1]
        if since < start < then:  # what grew over a longer time is taken to have grown evenly
            since, before = start, before + (reached - before) * (start - since) / (then - since)
        return (count - before) / (now - since) if now > since else 0.0


@dataclass(frozen=True)
class TopicReading:
    """One topic now.

    Attributes:
        records: stored by this run.
        events: of these, events.
        expected: records that it set out to store; 0 while following.
        offsets: partition -> next offset.
        lag: partition -> records of the source that the lake does not hold yet, as far as known.
        newest: the latest broker timestamp among the records stored.
        commit_seconds: how long the last batch took to be stored.
        rate: records a second.
    """

    records: int
    expected: int
    events: int
    dead_letters: int
    duplicates: int
    offsets: Mapping[int, int]
    lag: Mapping[int, int]
    newest: datetime | None
    commit_seconds: float = 0.0
    rate: float = 0.0


@dataclass(frozen=True)
class SinkReading:
    """One sink now.

    Attributes:
        up: whether it took what it was last given.
        backlog: rows that the lake holds and the sink does not.
    """

    up: bool
    backlog: int


class Display(Protocol):
    """Shows the readings: called after each batch and, while following, whenever nothing came for a while."""

    def show(self, topics: Mapping[str, TopicReading], sinks: Mapping[str, SinkReading]) -> None: ...


class Watch:
    """Turns what a replay tells into readings, and hands them to the displays."""

    def __init__(self, displays: Sequence[Display], clock: Callable[[], float] = time.monotonic) -> None:
        self._displays = displays
        self._clock = clock
        self._rates: dict[str, Rate] = {}
        self._topics: dict[str, TopicReading] = {}
        self._sinks: dict[str, SinkReading] = {}

    def progressed(self, topic: str, progress: "TopicProgress") -> None:
        """A batch of `topic` is stored, or the topic begins."""
        self._rates.setdefault(topic, Rate(self._clock(), progress.records))
        self._topics[topic] = TopicReading(
            records=progress.records,
            expected=progress.expected,
            events=progress.events,
            dead_letters=progress.dead_letters,
            duplicates=progress.duplicates,
            offsets=dict(progress.partitions),
            lag=dict(progress.lag),
            newest=progress.newest,
            commit_seconds=progress.commit_seconds,
        )
        self.show()

    def delivered(self, sinks: Mapping[str, SinkReading]) -> None:
        """The sinks were given what the lake has, or refused it."""
        self._sinks = dict(sinks)

    def show(self) -> None:
        """Show the readings with the rates of this moment."""
        now = self._clock()
        for topic, reading in self._topics.items():
            self._topics[topic] = replace(reading, rate=self._rates[topic].at(now, reading.records))
        for display in self._displays:
            display.show(dict(self._topics), self._sinks)
