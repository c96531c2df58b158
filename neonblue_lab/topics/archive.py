"""An archive of topics, a folder `DIR/<topic>/*.parquet` or `*.ndjson[.gz|.zst]`: reading and writing it."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from neonblue_lab.errors import BadInput, Conflict, NotFound
from neonblue_lab.events.records import RECORD_SCHEMA, Offsets, RecordBatch
from neonblue_lab.topics.batching import BATCH_RECORDS, check_batch_records
from neonblue_lab.topics.ndjson_topic import COMPRESSIONS, NdjsonTopic
from neonblue_lab.topics.parquet_topic import ParquetTopic
from neonblue_lab.topics.ranges import ranges_to_read

ROW_GROUP = 100_000
PARQUET = ".parquet"


class ArchiveSource:
    """A bounded reader of an archive folder (a RecordSource): the list of files is fixed when it is opened.

    Files of a topic are read in the order of their names. Parquet files have the columns of RECORD_SCHEMA, of which
    topic, timestamp, key and headers may be absent; other columns are not read. An NDJSON line is one record's value,
    byte for byte: partition 0, offset = line number over the topic's files, no timestamp, key or headers.

    Raises:
        BadInput: the folder holds no topic, a topic mixes Parquet and NDJSON, or a file cannot be read as records.
    """

    def __init__(self, path: str | os.PathLike[str], batch_records: int = BATCH_RECORDS) -> None:
        check_batch_records(batch_records)
        self._path = Path(path)
        self._batch_records = batch_records
        if not self._path.is_dir():
            raise BadInput(f"{self._path} is not a folder: an archive is a folder DIR/<topic>/*.parquet (or *.ndjson).")
        opened = {folder.name: _open_topic(folder) for folder in sorted(self._path.iterdir()) if folder.is_dir()}
        self._topics = {name: topic for name, topic in opened.items() if topic is not None}
        if not self._topics:
            raise BadInput(f"{self._path} holds no topic: expected {self._path}/<topic>/*.parquet (or *.ndjson).")

    @property
    def name(self) -> str:
        return str(self._path)

    def topics(self) -> list[str]:
        """The topics it holds, sorted."""
        return list(self._topics)

    def beginning_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> the first offset that the archive holds."""
        return self._topic(topic).beginnings

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> one past the last offset."""
        return self._topic(topic).ends

    def offsets_at(self, topic: str, moment: datetime) -> dict[int, int]:
        """Partition -> the first offset whose timestamp is at or after `moment`; the end where there is none.

        Raises BadInput where records have no timestamps, as lines have none.
        """
        return self._topic(topic).offsets_at(moment)

    def stored_bytes(self, topic: str) -> dict[int, int]:
        """Partition -> its share, by offsets, of the bytes of the topic's files."""
        source = self._topic(topic)
        offsets = {partition: end - source.beginnings[partition] for partition, end in source.ends.items()}
        total = sum(file.stat().st_size for file in source.files)
        return {partition: total * count // sum(offsets.values()) for partition, count in offsets.items()}

    def read(self, starts: Mapping[str, Offsets], ends: Mapping[str, Offsets] | None = None) -> Iterator[RecordBatch]:
        """Yield the records of the topics in `starts` from the given offsets to the ends, one topic after the other.

        Raises:
            NotFound: a topic is not in the archive.
            OffsetsGone: an offset lies below the first record of its partition: a part of the archive was removed.
            Conflict: an offset lies beyond the end: the archive is not the one that the reader's offsets come from.
        """
        ranges = {}
        for topic, offsets in starts.items():
            source = self._topic(topic)
            limits = None if ends is None else ends.get(topic)
            ranges[topic] = ranges_to_read(self.name, topic, offsets, limits, source.beginnings, source.ends)
        for topic, wanted in ranges.items():
            yield from self._topic(topic).read(wanted, self._batch_records)

    def _topic(self, topic: str) -> ParquetTopic | NdjsonTopic:
        if topic not in self._topics:
            raise NotFound(f"{self._path} has no topic {topic!r}; it has: {', '.join(self._topics)}.")
        return self._topics[topic]


def write_archive(path: str | os.PathLike[str], batches: Iterable[RecordBatch]) -> dict[str, int]:
    """Write record batches as a new Parquet part of each topic and return the number of records written per topic.

    A topic folder that already holds records is continued: offsets are shifted to go on from the end of each partition,
    as producing to a topic would. Parts appear under their names when all batches are written; the same batches into
    an empty folder give the same bytes.

    Raises:
        BadInput: a topic folder holds NDJSON, or files whose names sort after the next part.
        Conflict: another writer made the same part in the meantime.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is not a folder: an archive is written to a folder.")
    parts: dict[str, _Part] = {}
    try:
        for batch in batches:
            if batch.topic not in parts:
                parts[batch.topic] = _Part(folder / batch.topic)
            parts[batch.topic].append(batch.frame)
        for part in parts.values():
            part.finish()
        return {topic: part.publish() for topic, part in parts.items()}
    finally:
        for part in parts.values():
            part.discard()


class _Part:
    """A part file being written under a temporary name, in row groups of ROW_GROUP records."""

    def __init__(self, folder: Path) -> None:
        existing = _open_topic(folder) if folder.is_dir() else None
        if isinstance(existing, NdjsonTopic):
            raise BadInput(f"{folder} holds NDJSON files: records can be added only to Parquet. Choose another folder.")
        names = sorted(file.name for file in folder.glob(f"*{PARQUET}")) if existing else []
        self._file = folder / f"part-{len(names):05d}{PARQUET}"
        if names and self._file.name <= names[-1]:
            raise BadInput(f"{folder / names[-1]} sorts after {self._file.name}, the next part: rename it first.")
        self._ends = existing.ends if existing else {}
        folder.mkdir(parents=True, exist_ok=True)
        self._temporary = folder / f".{self._file.name}.{os.getpid()}.tmp"
        self._writer = pq.ParquetWriter(
            self._temporary,
            ARROW_SCHEMA,
            compression="zstd",
            use_dictionary=["topic", "partition", "key"],
            write_statistics=["partition", "offset", "timestamp"],
        )
        self._waiting: list[pl.DataFrame] = []
        self._records = 0

    def append(self, frame: pl.DataFrame) -> None:
        base = pl.col("partition").replace_strict(self._ends, default=0, return_dtype=pl.Int64) if self._ends else 0
        self._waiting.append(frame.select(*RECORD_SCHEMA).with_columns(offset=pl.col("offset") + base))
        self._records += frame.height
        while sum(waiting.height for waiting in self._waiting) >= ROW_GROUP:
            rows = pl.concat(self._waiting)
            self._write(rows[:ROW_GROUP])
            self._waiting = [rows[ROW_GROUP:]]

    def finish(self) -> None:
        """Write what is left and bring the file to the disk, still under its temporary name."""
        rows = pl.concat(self._waiting)
        if rows.height:
            self._write(rows)
        self._writer.close()
        with self._temporary.open("rb") as file:
            os.fsync(file.fileno())
        if self._file.exists():
            raise Conflict(f"{self._file} was made by another writer meanwhile: write again to continue after it.")

    def publish(self) -> int:
        """Give the file its name; a part without records is dropped. Returns the number of records."""
        if self._file.exists():
            raise Conflict(
                f"{self._file} was made by another writer in the meantime: write again to continue after it."
            )
        if self._records:
            self._temporary.rename(self._file)
        return self._records

    def discard(self) -> None:
        """Remove the temporary file, if it still has that name."""
        self._writer.close()
        self._temporary.unlink(missing_ok=True)

    def _write(self, rows: pl.DataFrame) -> None:
        self._writer.write_table(rows.to_arrow().cast(ARROW_SCHEMA), row_group_size=ROW_GROUP)


ARROW_SCHEMA = pa.schema(
    [
        pa.field("topic", pa.string()),
        pa.field("partition", pa.int32()),
        pa.field("offset", pa.int64()),
        pa.field("timestamp", pa.timestamp("us", "UTC")),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.list_(pa.struct([pa.field("key", pa.string()), pa.field("value", pa.binary())]))),
    ]
)
"""RECORD_SCHEMA as it is written."""


def record_files(folder: Path) -> list[Path]:
    """The record files of a topic's folder, sorted; names starting with . or _ are not looked at.

    Raises BadInput where the folder mixes kinds.
    """
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith((".", "_")))
    parquet = [file for file in files if file.name.endswith(PARQUET)]
    ndjson = [file for file in files if file.name.endswith(tuple(COMPRESSIONS))]
    if parquet and ndjson:
        raise BadInput(
            f"{folder} mixes Parquet and NDJSON ({parquet[0].name}, {ndjson[0].name}): offsets would be ambiguous. "
            "Keep one kind in a topic's folder."
        )
    return parquet or ndjson


def files_topic(name: str, files: Sequence[Path], before: Offsets | None = None) -> ParquetTopic | NdjsonTopic:
    """The topic in `files`, which are of one kind and at least one; `before`: the ends of the files that come before."""
    kind = ParquetTopic if files[0].name.endswith(PARQUET) else NdjsonTopic
    return kind(name, files, before)


def _open_topic(folder: Path) -> ParquetTopic | NdjsonTopic | None:
    files = record_files(folder)
    return files_topic(folder.name, files) if files else None
