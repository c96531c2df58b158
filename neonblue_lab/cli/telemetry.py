"""Prometheus metrics of a running follower, on a loopback port."""

import errno
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Histogram, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from neonblue_lab.cli.watch import SinkReading, TopicReading
from neonblue_lab.errors import BadInput

HOST = "127.0.0.1"
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COUNTS: tuple[tuple[str, str, Callable[[TopicReading], int]], ...] = (
    ("records", "Records stored.", lambda reading: reading.records),
    ("events", "Events that are new in the lake.", lambda reading: reading.events),
    ("duplicates", "Records whose event id another record had before.", lambda reading: reading.duplicates),
    ("dead_letters", "Records kept aside with a reason.", lambda reading: reading.dead_letters),
)


class Metrics(Collector):
    """The readings that were last shown, as metric families when they are scraped."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._topics: Mapping[str, TopicReading] = {}
        self._sinks: Mapping[str, SinkReading] = {}
        self._committed: dict[str, float] = {}
        self._seconds = Histogram(
            "neonblue_commit_seconds",
            "How long a batch takes to be stored.",
            ["topic"],
            registry=None,
            buckets=_BUCKETS,
        )

    def show(self, topics: Mapping[str, TopicReading], sinks: Mapping[str, SinkReading]) -> None:
        for topic, reading in topics.items():
            if reading.records > (self._topics[topic].records if topic in self._topics else 0):
                self._committed[topic] = self._clock()
                self._seconds.labels(topic).observe(reading.commit_seconds)
        self._topics, self._sinks = topics, sinks

    def collect(self) -> Iterator[Metric]:
        topics, sinks = self._topics, self._sinks
        for name, what, count in _COUNTS:
            counter = CounterMetricFamily(f"neonblue_{name}", what, labels=["topic"])
            for topic, reading in topics.items():
                counter.add_metric([topic], count(reading))
            yield counter
        lag = GaugeMetricFamily("neonblue_lag_records", "Records not held yet.", labels=["topic", "partition"])
        newest = GaugeMetricFamily("neonblue_newest_event_timestamp_seconds", "The newest event.", labels=["topic"])
        for topic, reading in topics.items():
            for partition, records in reading.lag.items():
                lag.add_metric([topic, str(partition)], records)
            if reading.newest is not None:
                newest.add_metric([topic], reading.newest.timestamp())
        committed = GaugeMetricFamily("neonblue_last_commit_timestamp_seconds", "The last commit.", labels=["topic"])
        for topic, moment in self._committed.copy().items():
            committed.add_metric([topic], moment)
        up = GaugeMetricFamily("neonblue_sink_up", "1 where the sink took what it was last given.", labels=["sink"])
        backlog = GaugeMetricFamily("neonblue_sink_backlog_rows", "Rows not delivered yet.", labels=["sink"])
        for sink, state in sinks.items():
            up.add_metric([sink], state.up)
            backlog.add_metric([sink], state.backlog)
        yield from self._seconds.collect()
        yield from (lag, newest, committed, up, backlog)


@contextmanager
def metrics_server(port: int, metrics: Metrics) -> Iterator[str]:
    """Serve `metrics` to this machine alone while the block runs; yields the address to scrape.

    Args:
        port: 0 takes a free one.

    Raises:
        BadInput: the port is in use, or not for this user.
    """
    registry = CollectorRegistry()
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, HOST, registry)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        why = "is in use" if error.errno == errno.EADDRINUSE else "is not for this user to take"
        raise BadInput(
            f"--metrics-port {port}: the port {why} on {HOST}. Nothing was replayed; choose another."
        ) from error
    try:
        yield f"http://{HOST}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
