"""One topic of an archive in NDJSON files, plain or compressed: one record a line, offsets by counting lines."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import polars as pl
import pyarrow as pa

from neonblue_lab.errors import BadInput, Conflict
from neonblue_lab.events.records import RECORD_SCHEMA, Offsets, RecordBatch

COMPRESSIONS = {".ndjson": None, ".ndjson.gz": "gzip", ".ndjson.zst": "zstd"}
PARTITION = 0
BLOCK = 8 << 20


class NdjsonTopic:
    """The lines of `files`, in the order given, as one topic with one partition.

    A line without its newline is a record's value, whatever it holds; an empty line is a record with an empty value.
    A damaged file raises BadInput; lines added to a file after its lines were counted are left for the next reader.
    """

    def __init__(self, topic: str, files: Sequence[Path]) -> None:
        self._topic = topic
        self._files = files

    @cached_property
    def _file_ends(self) -> list[int]:
        """For each file, one past the offset of its last line."""
        return list(accumulate(_count_lines(path) for path in self._files))

    @property
    def beginnings(self) -> dict[int, int]:
        """{0: 0}, or nothing when there is no line."""
        return dict.fromkeys(self.ends, 0)

    @property
    def ends(self) -> dict[int, int]:
        """{0: number of lines}, or nothing when there is no line."""
        return {PARTITION: self._file_ends[-1]} if self._file_ends[-1] else {}

    def read(self, starts: Offsets, batch_records: int) -> Iterator[RecordBatch]:
        """Yield batches of at most `batch_records` records; files that lie below `starts` are not opened."""
        start = starts.get(PARTITION, 0)
        offset = 0
        for path, end in zip(self._files, self._file_ends, strict=True):
            if end <= start:
                offset = end
                continue
            for values in _lines(path, batch_records):
                first, keep = max(start, offset), values[max(0, start - offset) : end - offset]
                offset += len(values)
                if keep:
                    yield self._batch(keep, first)
                if offset >= end:
                    break
            if offset < end:
                raise Conflict(f"{path} became shorter while it was read: an archive's files do not change.")
            offset = end

    def _batch(self, values: list[bytes], first: int) -> RecordBatch:
        frame = pl.DataFrame(
            {"value": values, "offset": range(first, first + len(values))}, schema_overrides={"value": pl.Binary}
        ).with_columns(
            topic=pl.lit(self._topic),
            partition=pl.lit(PARTITION),
            timestamp=None,
            key=None,
            headers=None,
        )
        return RecordBatch(self._topic, frame.select(pl.col(name).cast(kind) for name, kind in RECORD_SCHEMA.items()))


def compression_of(path: Path) -> str | None:
    """The compression that a file name ending in one of COMPRESSIONS stands for."""
    return next(kind for ending, kind in COMPRESSIONS.items() if path.name.endswith(ending))


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with pa.input_stream(str(path), compression=compression_of(path), buffer_size=BLOCK) as stream:
            while block := stream.read(BLOCK):
                yield block
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"{path} cannot be read: {error}. Replace or remove it.") from error


def _count_lines(path: Path) -> int:
    lines, last = 0, b"\n"
    for block in _blocks(path):
        lines += block.count(b"\n")
        last = block[-1:]
    return lines + (last != b"\n")


def _lines(path: Path, batch_records: int) -> Iterator[list[bytes]]:
    """The lines of a file without their newlines, in lists of at most `batch_records`; the last needs no newline."""
    pending: list[bytes] = []
    rest: list[bytes] = []
    for block in _blocks(path):
        head, newline, tail = block.rpartition(b"\n")
        if not newline:
            rest.append(tail)
            continue
        pending += b"".join([*rest, head]).split(b"\n")
        rest = [tail]
        while len(pending) >= batch_records:
            yield pending[:batch_records]
            del pending[:batch_records]
    if last := b"".join(rest):
        pending.append(last)
    while pending:
        yield pending[:batch_records]
        del pending[:batch_records]
