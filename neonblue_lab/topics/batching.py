"""Gathering the records of a topic into batches that are bounded in records and in bytes."""

from collections.abc import Iterator

import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.events.records import RecordBatch

BATCH_RECORDS = 100_000
BATCH_BYTES = 64 << 20
"""The most bytes of values in a batch, unless a single value is larger: memory stays bounded whatever records hold."""
UNSEEN_VALUE_BYTES = BATCH_BYTES // 10_000
"""How large values are thought to be before any was seen."""
MANY_CHUNKS = 16


def check_batch_records(batch_records: int) -> None:
    """Raise BadInput unless a batch may have at least one record."""
    if batch_records < 1:
        raise BadInput(f"batch_records is {batch_records}: a batch has at least one record.")


class Batching:
    """Takes the frames of one topic as they come and gives them back, in order, as batches that are as full as they may be."""

    def __init__(self, topic: str, batch_records: int) -> None:
        self._topic = topic
        self._most = batch_records
        self._frames: list[pl.DataFrame] = []
        self._records = self._bytes = 0
        self._value_bytes = UNSEEN_VALUE_BYTES

    @property
    def waiting(self) -> int:
        """How many records wait for their batch to be full."""
        return self._records

    @property
    def room(self) -> int:
        """How many more records to ask for: as many as fill the waiting batch if they are like those that came last."""
        return max(1, min(self._most - self._records, (BATCH_BYTES - self._bytes) // self._value_bytes))

    def add(self, frame: pl.DataFrame) -> Iterator[RecordBatch]:
        """Take a frame and yield the batches that it fills."""
        if frame.height:
            self._value_bytes = 1 + _value_bytes(frame) // frame.height
        while frame.height:
            fitting, size = self._fitting(frame)
            if fitting:
                self._frames.append(frame[:fitting])
                self._records += fitting
                self._bytes += size
                frame = frame[fitting:]
            if frame.height or self._records == self._most or self._bytes >= BATCH_BYTES:
                yield from self.rest()

    def rest(self) -> Iterator[RecordBatch]:
        """Yield what waits as a batch, if anything does."""
        if self._frames:
            frame = pl.concat(self._frames, rechunk=len(self._frames) > MANY_CHUNKS)
            self._frames, self._records, self._bytes = [], 0, 0
            yield RecordBatch(self._topic, frame)

    def drop(self, partitions: set[int]) -> None:
        """Forget what waits of some partitions."""
        kept = [frame.filter(~pl.col("partition").is_in(list(partitions))) for frame in self._frames]
        self._frames = [frame for frame in kept if frame.height]
        self._records = sum(frame.height for frame in self._frames)
        self._bytes = sum(_value_bytes(frame) for frame in self._frames)

    def _fitting(self, frame: pl.DataFrame) -> tuple[int, int]:
        """How many of the frame's first records the waiting batch can take, and the bytes of their values."""
        head = frame[: self._most - self._records]
        size = _value_bytes(head)
        if self._bytes + size <= BATCH_BYTES:
            return head.height, size
        sizes = head["value"].bin.size().cast(pl.Int64).fill_null(0).cum_sum()
        fitting = int((sizes <= BATCH_BYTES - self._bytes).sum()) or (0 if self._frames else 1)
        return fitting, int(sizes[fitting - 1]) if fitting else 0


def _value_bytes(frame: pl.DataFrame) -> int:
    return int(frame["value"].bin.size().cast(pl.Int64).sum())
