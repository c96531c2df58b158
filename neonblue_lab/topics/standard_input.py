"""Following standard input: each line that is piped in is a record."""

import os
import select
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import pyarrow as pa

from neonblue_lab.errors import BadInput
from neonblue_lab.events.records import Position, RecordBatch
from neonblue_lab.topics.batching import BATCH_RECORDS, Batching, check_batch_records
from neonblue_lab.topics.ndjson_topic import PARTITION, LineSplitter, line_records

PIECE = 1 << 20
WAIT_SECONDS = 0.2


class StandardInput:
    """A reader of lines until the input ends (a LiveSource): one topic, partition 0, offsets that go on from its position.

    A line without its newline is a record's value, byte for byte, without timestamp, key or headers. What was piped in once
    is not remembered: piped in again it is read as new records.

    Args:
        topics: the one topic that the lines belong to.
        batch_records: the most records of a batch.
        descriptor: the file descriptor to read.

    Raises:
        BadInput: there is not exactly one topic.
    """

    def __init__(
        self, topics: Sequence[str], batch_records: int = BATCH_RECORDS, descriptor: int | None = None
    ) -> None:
        check_batch_records(batch_records)
        if len(topics) != 1:
            raise BadInput(f"Standard input (-) is read as one topic: name one with --topics, not {len(topics)}.")
        self._batch_records = batch_records
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        self._end = 0

    @property
    def name(self) -> str:
        return "-"

    def end_offsets(self, topic: str) -> dict[int, int]:
        """{0: one past the last line that was read}."""
        return {PARTITION: self._end}

    def follow(
        self, topics: Sequence[str], position: Position, *, stop: threading.Event, linger: float
    ) -> Iterator[RecordBatch | None]:
        """Yield the lines as they come, until the input ends. When `stop` is set what was read is still handed over."""
        (topic,) = topics
        self._end = position(topic, PARTITION) or 0
        batching, splitter = Batching(topic, self._batch_records), LineSplitter()
        ended, quiet_since, due = False, time.monotonic(), None
        while not ended and not stop.is_set():
            piece = self._piece(min(linger, WAIT_SECONDS))
            ended = piece == b""
            found = splitter.last() if ended else splitter.add(piece) if piece else None
            if found is not None:
                for batch in self._batches(batching, topic, found):
                    yield batch
                    quiet_since, due = time.monotonic(), None
                if due is None:
                    due = time.monotonic() + linger
            if due is not None and time.monotonic() >= due:
                yield from batching.rest()
                quiet_since, due = time.monotonic(), None
            if time.monotonic() - quiet_since >= linger:
                yield None
                quiet_since = time.monotonic()
        yield from batching.rest()

    def _piece(self, seconds: float) -> bytes | None:
        """What can be read now, empty at the end of the input; None when there is nothing for `seconds`."""
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        return os.read(self._descriptor, PIECE) if ready else None

    def _batches(self, batching: Batching, topic: str, lines: pa.LargeBinaryArray) -> Iterator[RecordBatch]:
        records = line_records(topic, lines, self._end)
        self._end += records.height
        yield from batching.add(records)
