"""A raw record as it lies in a topic, and the protocol that every reader of topics follows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import polars as pl

EXPERIMENTS_EVENTS = "experiments_events"
USER_EVENTS = "user_events"
ANALYTICS_EVENTS = "analytics_events"
EXPERIMENT_METRICS = "experiment_metrics"
TOPICS = (EXPERIMENTS_EVENTS, USER_EVENTS, ANALYTICS_EVENTS, EXPERIMENT_METRICS)

TIMESTAMP = pl.Datetime("us", "UTC")
HEADERS = pl.List(pl.Struct({"key": pl.String, "value": pl.Binary}))
RECORD_SCHEMA: dict[str, pl.DataType] = {
    "topic": pl.String(),
    "partition": pl.Int32(),
    "offset": pl.Int64(),
    "timestamp": TIMESTAMP,
    "key": pl.Binary(),
    "value": pl.Binary(),
    "headers": HEADERS,
}
"""A record byte for byte. `timestamp` is the broker's, null where a source has none; a null `value` is a tombstone."""

Offsets = Mapping[int, int]
"""Partition -> offset. As a start: the first offset to read. As an end: one past the last record."""


@dataclass(frozen=True)
class RecordBatch:
    """Consecutive records of one topic.

    Attributes:
        topic: the topic's name.
        frame: columns of RECORD_SCHEMA; offsets ascend within each partition.
    """

    topic: str
    frame: pl.DataFrame


class RecordSource(Protocol):
    """A reader of topics whose ends are fixed when it is opened: a bounded replay."""

    @property
    def name(self) -> str:
        """What messages call it: a folder, or `kafka://host:port`."""

    def topics(self) -> list[str]:
        """The topics it holds, sorted."""

    def beginning_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> the first offset that the source still has, as of opening."""

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> one past the last offset, as of opening."""

    def read(self, starts: Mapping[str, Offsets]) -> Iterator[RecordBatch]:
        """Yield every record of the topics in `starts` from the given offsets (a partition not named: from its beginning)
        up to the fixed ends. Each call reads anew."""
