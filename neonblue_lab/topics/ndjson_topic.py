"""One topic of an archive in NDJSON files, plain or compressed: one record a line, offsets by counting lines."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from neonblue_lab.errors import BadInput, Conflict
from neonblue_lab.events.records import RECORD_SCHEMA, Offsets, RecordBatch
from neonblue_lab.topics.batching import Batching
from neonblue_lab.topics.ranges import Range

COMPRESSIONS = {".ndjson": None, ".ndjson.gz": "gzip", ".ndjson.zst": "zstd"}
PARTITION = 0
BLOCK = 8 << 20
NEWLINE = b"\n"


class NdjsonTopic:
    """The lines of `files`, in the order given, as one topic with one partition.

    A line without its newline is a record's value, whatever it holds; an empty line is a record with an empty value.
    A damaged file raises BadInput; lines added to a file after its lines were counted are left for the next reader.
    """

    def __init__(self, topic: str, files: Sequence[Path], before: Offsets | None = None) -> None:
        """`before`: the ends of the files that come before these."""
        self._topic = topic
        self.files = files
        self._first = (before or {}).get(PARTITION, 0)

    @cached_property
    def _file_ends(self) -> list[int]:
        """For each file, one past the offset of its last line."""
        return list(accumulate((_count_lines(path) for path in self.files), initial=self._first))[1:]

    @property
    def beginnings(self) -> dict[int, int]:
        """Partition 0 -> the offset of the first line; nothing when there is no line."""
        return dict.fromkeys(self.ends, self._first)

    @property
    def ends(self) -> dict[int, int]:
        """Partition 0 -> one past the offset of the last line; nothing when there is no line."""
        return {PARTITION: self._file_ends[-1]} if self._file_ends[-1] > self._first else {}

    def offsets_at(self, moment: datetime) -> dict[int, int]:
        """Raises BadInput: a line has no timestamp of a broker's."""
        raise BadInput(f"{self.files[0].parent}: lines have no timestamps to be chosen by. Choose them by offset.")

    def read(self, ranges: Mapping[int, Range], batch_records: int) -> Iterator[RecordBatch]:
        """Yield the records in `ranges`; files that lie outside are not opened."""
        start, stop = ranges.get(PARTITION, (0, 0))
        batching = Batching(self._topic, batch_records)
        offset = self._first
        for path, file_end in zip(self.files, self._file_ends, strict=True):
            if offset >= stop:
                break
            if file_end > start:
                end = min(file_end, stop)
                for values in _lines(blocks(path)):
                    wanted = values[max(0, start - offset) : end - offset]
                    yield from batching.add(line_records(self._topic, wanted, max(start, offset)))
                    offset += len(values)
                    if offset >= end:
                        break
                if offset < end:
                    raise Conflict(f"{path} became shorter while it was read: an archive's files do not change.")
            offset = file_end
        yield from batching.rest()


def compression_of(path: Path) -> str | None:
    """The compression that a file name ending in one of COMPRESSIONS stands for."""
    return next(kind for ending, kind in COMPRESSIONS.items() if path.name.endswith(ending))


def blocks(path: Path) -> Iterator[bytes]:
    """The decompressed bytes of a file, BLOCK at a time. Raises BadInput where it is damaged."""
    try:
        with pa.input_stream(str(path), compression=compression_of(path), buffer_size=BLOCK) as stream:
            while block := stream.read(BLOCK):
                yield block
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"{path} cannot be read: {error}. Replace or remove it.") from error


class LineSplitter:
    """Cuts a stream of bytes into its lines, wherever the pieces end that it comes in."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def add(self, piece: bytes) -> pa.LargeBinaryArray | None:
        """The lines that end in this piece, without their newlines."""
        head, newline, tail = piece.rpartition(NEWLINE)
        found = _split(b"".join([*self._rest, head])) if newline else None
        self._rest = [tail] if newline else [*self._rest, tail]
        return found

    def last(self) -> pa.LargeBinaryArray | None:
        """The last line, which has no newline, if there is one."""
        rest = b"".join(self._rest)
        return _split(rest) if rest else None


def _lines(blocks: Iterator[bytes]) -> Iterator[pa.LargeBinaryArray]:
    splitter = LineSplitter()
    for block in blocks:
        if (found := splitter.add(block)) is not None:
            yield found
    if (last := splitter.last()) is not None:
        yield last


def line_records(topic: str, values: pa.LargeBinaryArray, first: int) -> pl.DataFrame:
    """Lines as columns of RECORD_SCHEMA, with offsets from `first`."""
    frame = pl.DataFrame({"value": pl.from_arrow(values), "offset": np.arange(first, first + len(values))})
    given = {
        "topic": pl.lit(topic),
        "partition": pl.lit(PARTITION),
        "offset": pl.col("offset"),
        "value": pl.col("value"),
    }
    return frame.select(given.get(name, pl.lit(None)).cast(kind).alias(name) for name, kind in RECORD_SCHEMA.items())


def _split(text: bytes) -> pa.LargeBinaryArray:
    return pc.split_pattern(pa.array([text], pa.large_binary()), NEWLINE).values


def _count_lines(path: Path) -> int:
    count, last = 0, NEWLINE
    for block in blocks(path):
        count += int(np.count_nonzero(np.frombuffer(block, np.uint8) == NEWLINE[0]))
        last = block[-1:]
    return count + (last != NEWLINE)
