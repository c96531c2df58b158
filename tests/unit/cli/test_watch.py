"""Readings and rates of a running replay."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.cli.watch import Rate, SinkReading, TopicReading, Watch
from neonblue_lab.lake.report import TopicProgress


def test_a_rate_is_of_the_last_seconds_only() -> None:
    rate = Rate(0.0, 0)
    assert rate.at(0.0, 0) == 0
    assert rate.at(2.0, 1000) == 500
    assert [rate.at(float(second), 1000) for second in (4, 8)] == [250, 125]
    assert rate.at(30.0, 1000) == 0
    assert rate.at(31.0, 1500) == pytest.approx(50)


@given(st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 10_000)), min_size=1))
def test_a_rate_lies_between_the_slowest_and_the_fastest_step(steps: list[tuple[float, int]]) -> None:
    rate, now, count = Rate(0.0, 0), 0.0, 0
    slopes = []
    for elapsed, more in steps:
        now, count = now + elapsed, count + more
        slopes.append(more / elapsed)
        assert min(slopes) * 0.999 - 1e-6 <= rate.at(now, count) <= max(slopes) * 1.001 + 1e-6


class Noted:
    def __init__(self) -> None:
        self.topics: Mapping[str, TopicReading] = {}
        self.sinks: Mapping[str, SinkReading] = {}

    def show(self, topics: Mapping[str, TopicReading], sinks: Mapping[str, SinkReading]) -> None:
        self.topics, self.sinks = topics, sinks


def test_a_display_is_shown_what_the_replay_tells() -> None:
    now = [0.0]
    noted = Noted()
    watch = Watch([noted], clock=lambda: now[0])
    progress = TopicProgress(expected=1000, partitions={0: 0, 1: 0})
    watch.progressed("user_events", progress)
    now[0] = 2.0
    progress.records, progress.dead_letters, progress.partitions = 800, 3, {0: 500, 1: 300}
    progress.newest = datetime(2026, 1, 5, tzinfo=UTC)
    watch.progressed("user_events", progress)

    reading = noted.topics["user_events"]
    assert (reading.records, reading.expected, reading.dead_letters) == (800, 1000, 3)
    assert (reading.offsets, reading.newest) == ({0: 500, 1: 300}, datetime(2026, 1, 5, tzinfo=UTC))
    assert reading.rate == 400

    now[0] = 30.0
    watch.delivered({"clickhouse": SinkReading(up=False, backlog=12)})
    watch.show()
    assert noted.topics["user_events"].rate == 0
    assert noted.sinks == {"clickhouse": SinkReading(up=False, backlog=12)}
