"""A log of records in memory, as a bounded source and as one that is followed: for tests of what the lake does with it."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from neonblue_lab.errors import Conflict
from neonblue_lab.events.records import RECORD_SCHEMA, Offsets, OffsetsGone, Position, RecordBatch

MOMENT = datetime(2026, 3, 2, 10, tzinfo=UTC)
Record = tuple[int, int, bytes | None]
"""Partition, offset, value."""


class Log:
    """A source of records in memory, in the order given; ends and beginnings follow from them unless they are stated."""

    name = "log"

    def __init__(
        self,
        topics: Mapping[str, Sequence[Record]],
        batch_records: int = 4,
        ends: Offsets | None = None,
        beginnings: Offsets | None = None,
    ) -> None:
        self._frames = {topic: as_frame(topic, records) for topic, records in topics.items()}
        self._batch_records, self._ends, self._beginnings = batch_records, ends, beginnings

    def topics(self) -> list[str]:
        return sorted(self._frames)

    def beginning_offsets(self, topic: str) -> dict[int, int]:
        lowest = dict(self._frames[topic].group_by("partition").agg(pl.col("offset").min()).iter_rows())
        return dict.fromkeys(self.end_offsets(topic), 0) | lowest | dict(self._beginnings or {})

    def end_offsets(self, topic: str) -> dict[int, int]:
        ends = dict(self._frames[topic].group_by("partition").agg(pl.col("offset").max() + 1).iter_rows())
        return ends | dict(self._ends or {})

    def stored_bytes(self, topic: str) -> dict[int, int]:
        sizes = self._frames[topic].group_by("partition").agg(pl.col("value").bin.size().sum())
        return dict(sizes.iter_rows())

    def offsets_at(self, topic: str, moment: datetime) -> dict[int, int]:
        later = self._frames[topic].filter(pl.col("timestamp") >= moment)
        return self.end_offsets(topic) | dict(later.group_by("partition").agg(pl.col("offset").min()).iter_rows())

    def read(self, starts: Mapping[str, Offsets], ends: Mapping[str, Offsets] | None = None) -> Iterator[RecordBatch]:
        for topic, offsets in starts.items():
            for partition, start in offsets.items():
                if 0 < start < (beginning := self.beginning_offsets(topic)[partition]):
                    raise Conflict(f"{topic}-{partition}: from {start}, but begins at {beginning}")
            start = pl.col("partition").replace_strict(dict(offsets), default=0, return_dtype=pl.Int64)
            stops = dict((ends or {}).get(topic, {}))
            stop = pl.col("partition").replace_strict(stops, default=2**62, return_dtype=pl.Int64)
            wanted = self._frames[topic].filter(pl.col("offset") >= start, pl.col("offset") < stop)
            for frame in wanted.iter_slices(self._batch_records):
                yield RecordBatch(topic, frame)


class LiveLog:
    """A log whose batches arrive one by one; it ends after the last, as standard input does.

    Args:
        arrivals: topic and records of each batch; None where a while passes without one.
    """

    name = "live log"

    def __init__(self, arrivals: Sequence[tuple[str, Sequence[Record]] | None]) -> None:
        self._arrivals = list(arrivals)

    def end_offsets(self, topic: str) -> dict[int, int]:
        ends: dict[int, int] = {}
        for arrival in self._arrivals:
            for partition, offset, _ in arrival[1] if arrival and arrival[0] == topic else ():
                ends[partition] = max(ends.get(partition, 0), offset + 1)
        return ends

    def follow(
        self, topics: Sequence[str], position: Position, *, stop: threading.Event, linger: float
    ) -> Iterator[RecordBatch | None]:
        taken: dict[tuple[str, int], int] = {}
        for arrival in self._arrivals:
            if stop.is_set():
                return
            if arrival is None:
                yield None
                continue
            topic, records = arrival
            for partition in {record[0] for record in records}:
                taken.setdefault((topic, partition), position(topic, partition) or 0)
            fresh = [record for record in records if record[1] >= taken[topic, record[0]]]
            for partition, offset, _ in fresh:
                if offset > taken[topic, partition]:
                    raise OffsetsGone(
                        "gone", topic=topic, partition=partition, first=taken[topic, partition], next=offset
                    )
                taken[topic, partition] = offset + 1
            if fresh:
                yield RecordBatch(topic, as_frame(topic, fresh))


def as_frame(topic: str, records: Sequence[Record]) -> pl.DataFrame:
    """Records as a frame of RECORD_SCHEMA: a second and a header told from the offset, a key now and then."""
    rows = [
        {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "timestamp": MOMENT + timedelta(milliseconds=offset),
            "key": None if offset % 3 else b"key %d" % partition,
            "value": value,
            "headers": [{"key": "n", "value": b"%d" % offset}] if offset % 2 else None,
        }
        for partition, offset, value in records
    ]
    return pl.DataFrame(rows, schema=RECORD_SCHEMA)
