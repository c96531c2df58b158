"""What stands behind a bar, and the lines of a follower."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from rich.console import Console

from neonblue_lab.cli.progress import LiveLines, bar_numbers
from neonblue_lab.cli.watch import SinkReading, TopicReading


def reading(records: int, expected: int, rate: float = 0.0, dead_letters: int = 0) -> TopicReading:
    return TopicReading(
        records=records,
        expected=expected,
        events=records,
        dead_letters=dead_letters,
        duplicates=0,
        offsets={0: records},
        lag={0: 7, 1: 5},
        newest=datetime.now(UTC),
        rate=rate,
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (reading(0, 1_000_000), "0/1M  lag 1M"),
        (reading(312_000, 1_000_000, 182_400.0), "312k/1M  182k/s  lag 688k  3.8 s left"),
        (reading(312_000, 1_000_000, 182_400.0, 12), "312k/1M  182k/s  lag 688k  3.8 s left  12 dead"),
        (reading(1_000_000, 1_000_000, 182_400.0), "1M/1M"),
    ],
)
def test_a_bar_says_records_rate_lag_time_left_and_dead_letters(given: TopicReading, said: str) -> None:
    assert bar_numbers(given) == said


def printed(lines: LiveLines) -> Iterator[str]:
    console = Console(file=io.StringIO(), width=80)
    console.print(lines.render())
    assert isinstance(console.file, io.StringIO)
    return (" ".join(line.split()) for line in console.file.getvalue().splitlines())


def test_a_follower_has_a_line_for_each_topic_and_sink() -> None:
    lines = LiveLines(started=0.0)
    lines.show(
        {"user_events[a]": reading(1_234, 0, 61.5, 1)},
        {"clickhouse": SinkReading(up=True, backlog=0), "postgres": SinkReading(up=False, backlog=120_400)},
    )
    topic, clickhouse, postgres, following = printed(lines)
    assert topic.startswith("user_events[a] 1,234 61.5/s lag 12 newest 0.")
    assert topic.endswith(" s old 1 dead letter")
    assert (clickhouse, postgres) == ("clickhouse up lag 0", "postgres down lag 120k")
    assert following.startswith("following for ")
