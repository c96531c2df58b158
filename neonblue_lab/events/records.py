"""A raw record as it lies in a topic, and the two protocols that readers of topics follow: bounded, and for ever."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import polars as pl

from neonblue_lab.errors import Conflict

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

    def offsets_at(self, topic: str, moment: datetime) -> dict[int, int]:
        """Partition -> the first offset whose timestamp is at or after `moment`; the end where there is none.

        Raises BadInput where records have no timestamps.
        """

    def stored_bytes(self, topic: str) -> dict[int, int]:
        """Partition -> about how many bytes its records take where they lie, as compressed there; a partition whose size
        cannot be learned is left out."""

    def read(self, starts: Mapping[str, Offsets], ends: Mapping[str, Offsets] | None = None) -> Iterator[RecordBatch]:
        """Yield every record of the topics in `starts` from the given offsets (a partition not named: from its beginning)
        up to the fixed ends, or to those of `ends` that lie before them. Each call reads anew."""


Position = Callable[[str, int], int | None]
"""Topic, partition -> the offset that is to be read next; None: the first one that is there."""


class LiveSource(Protocol):
    """A reader of topics that goes on for ever, or until its input ends."""

    @property
    def name(self) -> str:
        """What messages call it: a folder, `kafka://host:port`, or `-`."""

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> one past the last offset, as newly as it is known: for lag."""

    def follow(
        self, topics: Sequence[str], position: Position, *, stop: threading.Event, linger: float
    ) -> Iterator[RecordBatch | None]:
        """Yield batches as records arrive: a batch when it is full, or `linger` seconds after its first record; None
        whenever `linger` seconds have passed without one, which is the caller's chance for upkeep.

        `position` says where a partition starts, each time it is taken up: at the start, when it is added to its topic,
        and when the group gives it to this reader. Ends soon after `stop` is set, or when the input ends.

        Raises:
            NotFound: a topic is not there.
            OffsetsGone: records between the position and the first one still there were deleted.
        """


class OffsetsGone(Conflict):
    """Records that were to be read next are no longer there.

    Attributes:
        topic, partition: where.
        first: the first offset that is gone.
        next: the first one that is still there: `next - first` offsets are lost to this reader.
    """

    def __init__(self, message: str, *, topic: str, partition: int, first: int, next: int) -> None:
        super().__init__(message)
        self.topic, self.partition, self.first, self.next = topic, partition, first, next
