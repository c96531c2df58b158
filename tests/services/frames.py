"""Records made for a test, as a frame and as a source that gives it: what an archive would hold."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from neonblue_lab.events.records import RECORD_SCHEMA, Offsets, RecordBatch

MOMENT = datetime(2026, 3, 2, 10, 0, 0, 123000, tzinfo=UTC)
PARTITIONS = 3


class FrameSource:
    """A source of the records of one frame, from the beginning."""

    def __init__(self, topic: str, frame: pl.DataFrame, batch_records: int = 1_000) -> None:
        self._topic = topic
        self._frame = frame
        self._batch_records = batch_records
        self.name = "frame"

    def topics(self) -> list[str]:
        return [self._topic]

    def beginning_offsets(self, topic: str) -> dict[int, int]:
        return dict(self._frame.group_by("partition").agg(pl.col("offset").min()).iter_rows())

    def end_offsets(self, topic: str) -> dict[int, int]:
        return dict(self._frame.group_by("partition").agg(pl.col("offset").max() + 1).iter_rows())

    def offsets_at(self, topic: str, moment: datetime) -> dict[int, int]:
        late = self._frame.filter(pl.col("timestamp") >= moment)
        return self.end_offsets(topic) | dict(late.group_by("partition").agg(pl.col("offset").min()).iter_rows())

    def read(self, starts: Mapping[str, Offsets], ends: Mapping[str, Offsets] | None = None) -> Iterator[RecordBatch]:
        for frame in self._frame.iter_slices(self._batch_records):
            yield RecordBatch(self._topic, frame)


def records_frame(topic: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Columns of RECORD_SCHEMA; what a row does not name is null."""
    return pl.DataFrame([{"topic": topic, "headers": None} | row for row in rows], schema=RECORD_SCHEMA)


def numbered(topic: str, count: int, value: Callable[[int], bytes] = lambda i: b"value %d" % i) -> pl.DataFrame:
    """`count` records over three partitions, offsets from 0 in each, a millisecond apart."""
    return records_frame(
        topic,
        [
            {
                "partition": i % PARTITIONS,
                "offset": i // PARTITIONS,
                "timestamp": MOMENT + timedelta(milliseconds=i),
                "key": b"user %d" % (i % 7),
                "value": value(i),
            }
            for i in range(count)
        ],
    )
