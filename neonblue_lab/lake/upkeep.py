"""The lake's files kept few and needed: small ones are merged, those that no version needs any more are deleted.

No row changes by it. Readers, replays and followers go on meanwhile.
"""

import os
import time
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson

from neonblue_lab.errors import BadInput, Conflict, Corrupt
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.rewriting import MADE_ANEW, Part, alone, parts, put_in_place, scan, write

TARGET_BYTES = 128 * 2**20
WINDOW = timedelta(days=7)
SHORTEST_WINDOW = timedelta(hours=1)
"""A writer may take so long between writing a file and the commit that names it."""


@dataclass(frozen=True)
class TableCompaction:
    """What was merged in a table.

    Attributes:
        files_before, files_after, bytes_before, bytes_after: of the table's newest version, before and after.
        merged: files that were put together.
        rows: rows in them.
    """

    table: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    merged: int
    rows: int


@dataclass(frozen=True)
class CompactionReport:
    """What a compaction did.

    Attributes:
        tables: those of which files were merged.
        skipped: sentences about what was left for the next time, because another process was at work there.
    """

    tables: tuple[TableCompaction, ...]
    skipped: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report for machines."""
        return asdict(self)

    def __str__(self) -> str:
        """What was done, a line for each table."""
        lines = [
            f"{t.table}: {t.files_before:,} -> {t.files_after:,} files, {_size(t.bytes_before)} -> {_size(t.bytes_after)} "
            f"({t.rows:,} rows merged from {t.merged:,} files)."
            for t in self.tables
        ]
        return "\n".join([*lines, *self.skipped]) or "Nothing to merge."


def compact(
    lake: Lake, names: Iterable[str] | None = None, *, target_bytes: int = TARGET_BYTES, min_files: int = 2
) -> CompactionReport:
    """Merge small files of tables. Where there is nothing to merge, only the newest part of each log is read.

    Rows keep the order in which they were written, and application transactions stay as they are. Of a table that grows
    by small files, each row is written anew about log2(`target_bytes` / (`min_files` x the size of a small file)) times.

    Args:
        lake: whose tables.
        names: which; all unless named.
        target_bytes: files of this size and more are left alone, and merged ones get no larger.
        min_files: in a partition of a table, merge no fewer files at once.

    Returns:
        What was done. A table that another process rewrites at the same moment is skipped, and a lake that another
        process is keeping up is left to it.

    Raises:
        BadInput: `target_bytes` or `min_files` is too small to mean anything.
        NotFound: there is no such table.
    """
    if target_bytes < 1 or min_files < 2:
        raise BadInput(f"Merging {min_files} files into one of {target_bytes} bytes: take at least 2 files and 1 byte.")
    wanted = [name for name in (lake.names() if names is None else names) if name not in MADE_ANEW]
    done: list[TableCompaction] = []
    skipped: list[str] = []
    if not wanted:
        return CompactionReport((), ())
    try:
        with alone(lake):
            for name in wanted:
                merged = _compact_table(lake, name, target_bytes, min_files, skipped)
                done.extend([merged] if merged else [])
    except Conflict as conflict:
        skipped.append(f"Nothing was merged: {conflict}")
    return CompactionReport(tuple(done), tuple(skipped))


def _compact_table(
    lake: Lake, name: str, target_bytes: int, min_files: int, skipped: list[str]
) -> TableCompaction | None:
    """What was merged in one table, None for nothing; where another writer was first, `skipped` gets a sentence."""
    table = lake.open(name)
    before = parts(name, table)
    merged: list[Part] = []
    for groups in _commits(mergeable(before, target_bytes, min_files), target_bytes):
        old = [part for group in groups for part in group]
        new = [write(lake, name, scan(lake, name, group), group[0].values) for group in groups]
        written = sum(orjson.loads(file.stats)["numRecords"] for file in new)
        if written != (expected := sum(part.rows for part in old)):
            raise Corrupt(
                f"Table {name}: {len(old)} files should hold {expected:,} rows by its log, and hold {written:,}."
            )
        try:
            put_in_place(lake, name, table, new, old)
        except Conflict as conflict:
            skipped.append(f"{conflict} Its small files are left for the next time.")
            break
        merged += old
    if not merged:
        return None
    after = parts(name, table)
    return TableCompaction(
        table=name,
        files_before=len(before),
        files_after=len(after),
        bytes_before=sum(part.bytes for part in before),
        bytes_after=sum(part.bytes for part in after),
        merged=len(merged),
        rows=sum(part.rows for part in merged),
    )


def mergeable(files: Sequence[Part], target_bytes: int, min_files: int) -> Iterator[list[Part]]:
    """Groups of files worth merging, each of one partition and in the order written.

    A file is merged only with others that together are at least as large as it is: whatever the order in which small files
    come, a row is written anew no more often than the sizes double.
    """
    partitions: dict[tuple[str | None, ...], list[Part]] = {}
    for file in files:
        if file.bytes < target_bytes:
            partitions.setdefault(tuple(file.values.values()), []).append(file)
    for small in partitions.values():
        by_size = sorted(small, key=lambda file: file.bytes)
        below = accumulate((file.bytes for file in by_size), initial=0)
        worth = max(
            (n for n, (file, sum_) in enumerate(zip(by_size, below, strict=False), 1) if file.bytes <= sum_), default=0
        )
        if worth >= min_files:
            chosen = set(map(id, by_size[:worth]))
            yield from _filled([file for file in small if id(file) in chosen], target_bytes)


def _filled(files: Sequence[Part], target_bytes: int) -> Iterator[list[Part]]:
    """Consecutive files together up to the target; what would stay alone is left out."""
    group: list[Part] = []
    for file in files:
        if group and sum(f.bytes for f in group) + file.bytes > target_bytes:
            if len(group) > 1:
                yield group
            group = []
        group.append(file)
    if len(group) > 1:
        yield group


def _commits(groups: Iterable[list[Part]], target_bytes: int) -> Iterator[list[list[Part]]]:
    """Groups that go into one commit: few commits, and none that much work hangs on."""
    several: list[list[Part]] = []
    for group in groups:
        several.append(group)
        if sum(file.bytes for g in several for file in g) >= target_bytes:
            yield several
            several = []
    if several:
        yield several


@dataclass(frozen=True)
class TableVacuum:
    """What is not needed of a table any more.

    Attributes:
        files, bytes: what was deleted, or would be.
        orphans: how many of these files no commit ever named: what writers left that were killed.
        kept_files, kept_bytes: what is not part of the newest version, and was kept for the window or for a version named.
    """

    table: str
    files: int
    bytes: int
    orphans: int
    kept_files: int
    kept_bytes: int


@dataclass(frozen=True)
class VacuumReport:
    """What a vacuum deleted.

    Attributes:
        tables: those that have files which are not part of their newest version.
        notes: sentences about versions that were to be kept and are not there.
        dry_run: whether nothing was deleted.
    """

    tables: tuple[TableVacuum, ...]
    notes: tuple[str, ...]
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """The report for machines."""
        return asdict(self)

    def __str__(self) -> str:
        """What was deleted, or would be, a line for each table."""
        verb = "to delete" if self.dry_run else "deleted"
        lines = [
            f"{t.table}: {t.files:,} files ({_size(t.bytes)}) {verb}, {t.orphans:,} of them left by writers that died; "
            f"{t.kept_files:,} older files ({_size(t.kept_bytes)}) kept."
            for t in self.tables
        ]
        return "\n".join([*(lines or ["Nothing to delete."]), *self.notes])


def vacuum(
    lake: Lake, *, keep: Mapping[str, Collection[int]], window: timedelta = WINDOW, dry_run: bool = False
) -> VacuumReport:
    """Delete the files that no version needs which anybody may still read.

    Those stay which are part of the newest version, of a version in `keep`, or of one that was the newest at any time within
    the window, and those that were written within it. Nothing is committed: versions stay as they are.

    Args:
        lake: whose tables.
        keep: table -> versions that must stay readable.
        window: how long what was replaced stays, at least SHORTEST_WINDOW.
        dry_run: delete nothing, only say what would go.

    Raises:
        BadInput: the window is too short.
        Conflict: another process keeps up the lake.
        Corrupt: a table's log has gaps, so that nobody can tell what its versions need. Nothing of it was deleted.
    """
    if window < SHORTEST_WINDOW:
        raise BadInput(
            f"A window of {window} could delete what a writer is about to commit: take {SHORTEST_WINDOW} or more."
        )
    before = time.time() - window.total_seconds()
    names = lake.names()
    notes = [f"There is no table {name}, of which versions were to be kept." for name in sorted(set(keep) - set(names))]
    tables = []
    if names:
        with alone(lake):
            for name in names:
                found = _vacuum_table(lake, name, keep.get(name, ()), before, dry_run, notes)
                if found.files or found.kept_files:
                    tables.append(found)
    return VacuumReport(tuple(tables), tuple(notes), dry_run)


def _vacuum_table(
    lake: Lake, name: str, keep: Collection[int], before: float, dry_run: bool, notes: list[str]
) -> TableVacuum:
    folder = lake.path / name
    on_disk = dict(_data_files(folder))  # looked at before the log, so that no file is named after the log was read
    log = _Log.read(folder)
    if unknown := sorted(version for version in keep if version > log.newest):
        notes.append(f"{name} has no version {', '.join(map(str, unknown))}: the newest is {log.newest}.")
    needed = log.needed(keep, before)
    old = {path: file for path, file in on_disk.items() if path not in log.current}
    gone = {path: file for path, file in old.items() if path not in needed and file.st_mtime < before}
    if not dry_run:
        for path in gone:
            (folder / path).unlink()
    return TableVacuum(
        table=name,
        files=len(gone),
        bytes=sum(file.st_size for file in gone.values()),
        orphans=len(gone.keys() - log.named),
        kept_files=len(old) - len(gone),
        kept_bytes=sum(file.st_size for path, file in old.items() if path not in gone),
    )


def _data_files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The Parquet files of a table, by their paths below its folder."""
    for parent, folders, files in os.walk(folder):
        if "_delta_log" in folders:
            folders.remove("_delta_log")
        for file in files:
            if file.endswith(".parquet"):
                path = Path(parent, file)
                yield path.relative_to(folder).as_posix(), path.stat()


@dataclass(frozen=True)
class _Log:
    """When each file of a table came and went.

    Attributes:
        newest: the newest version.
        current: the files of that version.
        gone: file, the version that added it, the version that removed it, and when that was written.
    """

    newest: int
    current: frozenset[str]
    gone: tuple[tuple[str, int, int, float], ...]

    @classmethod
    def read(cls, folder: Path) -> "_Log":
        """The whole log of the table in `folder`."""
        commits = sorted(
            path for path in (folder / "_delta_log").iterdir() if path.stem.isdigit() and path.suffix == ".json"
        )
        since: dict[str, int] = {}
        gone = []
        for version, commit in enumerate(commits):
            if int(commit.stem) != version:
                raise Corrupt(f"{folder}: the log of version {version} is missing. Nothing of this table was deleted.")
            written = commit.stat().st_mtime
            for line in commit.read_bytes().splitlines():
                if line.startswith(b'{"add"'):
                    since[unquote(orjson.loads(line)["add"]["path"])] = version
                elif line.startswith(b'{"remove"'):
                    path = unquote(orjson.loads(line)["remove"]["path"])
                    if (added := since.pop(path, None)) is None:
                        raise Corrupt(
                            f"{folder}: version {version} removes {path}, which was not there. Nothing was deleted."
                        )
                    gone.append((path, added, version, written))
        return cls(len(commits) - 1, frozenset(since), tuple(gone))

    @property
    def named(self) -> frozenset[str]:
        """Every file that a commit ever named."""
        return self.current | {path for path, *_ in self.gone}

    def needed(self, keep: Collection[int], since: float) -> set[str]:
        """The files of the versions in `keep` and of each that was the newest at any time since then."""
        kept = sorted(keep)

        def is_kept(added: int, removed: int) -> bool:
            first = bisect_left(kept, added)
            return first < len(kept) and kept[first] < removed

        held = {path for path, added, removed, when in self.gone if when >= since or is_kept(added, removed)}
        return held | self.current


def _size(number: int) -> str:
    return f"{number / 1e6:,.1f} MB"
