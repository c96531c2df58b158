"""Metrics as a scraper of this machine reads them."""

import socket
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from neonblue_lab.cli.telemetry import Metrics, metrics_server
from neonblue_lab.cli.watch import SinkReading, TopicReading
from neonblue_lab.errors import BadInput

READING = TopicReading(
    records=1200,
    expected=0,
    events=1190,
    dead_letters=7,
    duplicates=3,
    offsets={0: 700, 1: 500},
    lag={0: 4, 1: 0},
    newest=datetime(2026, 1, 5, tzinfo=UTC),
    commit_seconds=0.07,
)


def scraped(address: str) -> dict[tuple[str, str], float]:
    """(Sample's name, its label values) -> value."""
    with urllib.request.urlopen(address, timeout=10) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {
        (s.name, "/".join(s.labels[name] for name in ("sink", "topic", "partition") if name in s.labels)): s.value
        for family in families
        for s in family.samples
    }


def test_what_was_shown_last_is_what_is_scraped() -> None:
    metrics = Metrics(clock=lambda: 1_000.0)
    with metrics_server(0, metrics) as address:
        assert address.startswith("http://127.0.0.1:")
        assert scraped(address) == {}

        metrics.show(
            {"user_events": READING}, {"clickhouse": SinkReading(up=True, backlog=0), "postgres": SinkReading(False, 9)}
        )

        found = {key: value for key, value in scraped(address).items() if "commit_seconds" not in key[0]}
        assert found == {
            ("neonblue_records_total", "user_events"): 1200,
            ("neonblue_events_total", "user_events"): 1190,
            ("neonblue_dead_letters_total", "user_events"): 7,
            ("neonblue_duplicates_total", "user_events"): 3,
            ("neonblue_lag_records", "user_events/0"): 4,
            ("neonblue_lag_records", "user_events/1"): 0,
            ("neonblue_last_commit_timestamp_seconds", "user_events"): 1000,
            ("neonblue_newest_event_timestamp_seconds", "user_events"): datetime(2026, 1, 5, tzinfo=UTC).timestamp(),
            ("neonblue_sink_up", "clickhouse"): 1,
            ("neonblue_sink_up", "postgres"): 0,
            ("neonblue_sink_backlog_rows", "clickhouse"): 0,
            ("neonblue_sink_backlog_rows", "postgres"): 9,
        }
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the system says it
        scraped(address)


def test_the_last_commit_moves_only_when_records_come() -> None:
    now = [10.0]
    metrics = Metrics(clock=lambda: now[0])
    metrics.show({"user_events": READING}, {})
    now[0] = 20.0
    metrics.show({"user_events": READING}, {})
    with metrics_server(0, metrics) as address:
        assert scraped(address)["neonblue_last_commit_timestamp_seconds", "user_events"] == 10


def test_each_batch_counts_in_the_commit_times() -> None:
    metrics = Metrics()
    for records, seconds in ((100, 0.02), (100, 0.02), (200, 0.3)):  # the second time, nothing had come
        metrics.show({"user_events": replace(READING, records=records, commit_seconds=seconds)}, {})
    with metrics_server(0, metrics) as address, urllib.request.urlopen(address, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    assert 'neonblue_commit_seconds_bucket{le="0.025",topic="user_events"} 1.0' in lines
    assert 'neonblue_commit_seconds_bucket{le="0.5",topic="user_events"} 2.0' in lines
    assert 'neonblue_commit_seconds_count{topic="user_events"} 2.0' in lines
    assert 'neonblue_commit_seconds_sum{topic="user_events"} 0.32' in lines


def test_a_port_in_use_is_refused_in_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(BadInput, match=rf"--metrics-port {port}: the port is in use on 127\.0\.0\.1"),
            metrics_server(port, Metrics()),
        ):
            pytest.fail("it started")
