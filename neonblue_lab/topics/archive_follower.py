"""Following an archive: its files, and then every file that is added to it."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neonblue_lab.errors import Conflict, NotFound
from neonblue_lab.events.records import Position, RecordBatch
from neonblue_lab.topics.archive import files_topic, record_files
from neonblue_lab.topics.batching import BATCH_RECORDS, check_batch_records
from neonblue_lab.topics.ranges import ranges_to_read


@dataclass
class _Known:
    """What is known of a topic: its files, and the first and one past the last offset of each partition."""

    files: list[Path] = field(default_factory=list)
    beginnings: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)


class ArchiveFollower:
    """A reader of an archive folder that waits for more files (a LiveSource).

    A file that is added sorts after those that are there, and is complete when it appears: it is written under a name that
    starts with a dot and then renamed, as `write_archive` does it.

    Args:
        path: the archive's folder.
        topics: the topics that will be followed; each has a folder, which may still be empty.
        batch_records: the most records of a batch.

    Raises:
        NotFound: a topic has no folder.
    """

    def __init__(self, path: Path, topics: Iterable[str], batch_records: int = BATCH_RECORDS) -> None:
        check_batch_records(batch_records)
        self._path = path
        self._batch_records = batch_records
        self._known = {topic: _Known() for topic in topics}
        for topic in self._known:
            if not (path / topic).is_dir():
                raise NotFound(f"{path} has no topic {topic!r}: there is no folder {path / topic}.")

    @property
    def name(self) -> str:
        return str(self._path)

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> one past its last offset, in the files that were found so far."""
        return dict(self._known[topic].ends)

    def follow(
        self, topics: Sequence[str], position: Position, *, stop: threading.Event, linger: float
    ) -> Iterator[RecordBatch | None]:
        """Yield the records of files that are there and of those that appear; None when there were none for `linger` seconds.

        Raises:
            OffsetsGone: the first files of a topic, which were not read yet, are gone.
            Conflict: a position lies beyond the end; or a file appeared before others, or went away, while following.
            BadInput: a file cannot be read.
        """
        for topic in topics:
            self._known[topic] = _Known()
        while not stop.is_set():
            quiet = True
            for topic in topics:
                for batch in self._new(topic, position):
                    quiet = False
                    yield batch
                    if stop.is_set():
                        return
            if quiet:
                yield None
                stop.wait(linger)

    def _new(self, topic: str, position: Position) -> Iterator[RecordBatch]:
        known = self._known[topic]
        files = record_files(self._path / topic)
        before = len(known.files)
        if files[:before] != known.files:
            moved = min(set(files).symmetric_difference(known.files))
            raise Conflict(
                f"{moved} was {'put before files that were read' if moved in files else 'removed'} while the archive was "
                "followed: files are only added to the end of an archive, and offsets would no longer be those read before."
            )
        if len(files) == before:
            return
        added = files_topic(topic, files[before:], known.ends)
        starts = {p: known.ends[p] if p in known.ends else position(topic, p) or 0 for p in added.ends}
        ranges = ranges_to_read(self.name, topic, starts, None, added.beginnings | known.beginnings, added.ends)
        known.files, known.ends = files, known.ends | added.ends
        known.beginnings = added.beginnings | known.beginnings
        yield from added.read(ranges, self._batch_records)
