"""Progress on stderr where that is a terminal: bars for what has an end, live lines for what has none."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from neonblue_lab.cli.watch import Display, SinkReading, TopicReading
from neonblue_lab.cli.wording import brief, counted, lasting

if TYPE_CHECKING:
    from rich.console import Group
    from rich.progress import Progress, TaskID

_BAR_WIDTH = 10
"""So that a line with all its numbers fits 80 columns."""


@contextmanager
def counter(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """One bar that is advanced by counts."""
    from rich.progress import MofNCompleteColumn, TimeElapsedColumn, TimeRemainingColumn

    with _bars(MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()) as bars:
        task = bars.add_task(what, total=total)
        yield lambda count: bars.advance(task, count)


@contextmanager
def topic_bars() -> Iterator[Display]:
    """One bar a topic: records of those expected, rate, lag, time left, dead letters."""
    from rich.progress import TextColumn

    with _bars(TextColumn("{task.fields[numbers]}", markup=False)) as bars:
        yield _TopicBars(bars)


@contextmanager
def live_lines() -> Iterator[Display]:
    """One line a topic: records, rate, lag, age of the newest event, dead letters; and one a sink."""
    from rich.console import Console
    from rich.live import Live

    lines = LiveLines(time.monotonic())
    console = Console(stderr=True)
    with Live(get_renderable=lines.render, console=console, transient=True, refresh_per_second=4):
        yield lines


def show_cursor() -> None:
    """Give the cursor back that a live display hides: what ends the process next may not come back to do so."""
    sys.stderr.write("\x1b[?25h")
    sys.stderr.flush()


def on_terminal() -> bool:
    """Whether a person is looking at stderr."""
    from rich.console import Console

    return Console(stderr=True).is_terminal


def _bars(*numbers: Any) -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=_BAR_WIDTH), *numbers)
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


class _TopicBars:
    def __init__(self, bars: "Progress") -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def show(self, topics: Mapping[str, TopicReading], sinks: Mapping[str, SinkReading]) -> None:
        for topic, reading in topics.items():
            if topic not in self._tasks:
                self._tasks[topic] = self._bars.add_task(topic, total=reading.expected, numbers="")
            numbers = bar_numbers(reading)
            self._bars.update(self._tasks[topic], completed=reading.records, total=reading.expected, numbers=numbers)


def bar_numbers(reading: TopicReading) -> str:
    """What stands behind a topic's bar."""
    left = max(reading.expected - reading.records, 0)
    parts = [f"{brief(reading.records)}/{brief(reading.expected)}"]
    if left and reading.rate:
        parts.append(f"{brief(reading.rate)}/s")
    if left:
        parts.append(f"lag {brief(left)}")
    if left and reading.rate:
        parts.append(f"{lasting(left / reading.rate)} left")
    if reading.dead_letters:
        parts.append(f"{brief(reading.dead_letters)} dead")
    return "  ".join(parts)


class LiveLines:
    """The lines that `live_lines` shows; `started` by the monotonic clock."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._topics: Mapping[str, TopicReading] = {}
        self._sinks: Mapping[str, SinkReading] = {}

    def show(self, topics: Mapping[str, TopicReading], sinks: Mapping[str, SinkReading]) -> None:
        """Show these from now on."""
        self._topics, self._sinks = topics, sinks

    def render(self) -> "Group":
        """The lines as of now; called by the display's own thread."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        for _ in range(4):
            table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True)
        now = datetime.now(UTC)
        for topic, reading in self._topics.items():
            age = "" if reading.newest is None else f"newest {lasting((now - reading.newest).total_seconds())} old"
            table.add_row(
                Text(topic),
                f"{reading.records:,}",
                f"{brief(reading.rate)}/s",
                f"lag {brief(sum(reading.lag.values()))}",
                age,
                Text(counted(reading.dead_letters, "dead letter"), "red") if reading.dead_letters else "",
            )
        for sink, state in self._sinks.items():
            told = Text("up", "green") if state.up else Text("down", "red")
            table.add_row(Text(sink), told, "", f"lag {brief(state.backlog)}", "", "")
        return Group(table, Text(f"following for {lasting(time.monotonic() - self._started)}", "dim"))
