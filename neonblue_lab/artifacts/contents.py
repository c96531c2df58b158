"""What may lie in an artifact's folder: plain files without pickles, each known by its hash."""

import hashlib
import os
import pickletools
import zipfile
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from stat import S_ISREG

import numpy as np

from neonblue_lab.artifacts.manifest import CARD, MANIFEST, FileRecord
from neonblue_lab.errors import BadInput

PICKLE_SUFFIXES = (".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth")
READ_ONLY = 0o444
# What a pickle needs to import a name or to call it (pickletools.opcodes); without these it is data and nothing else.
_ACTING = {
    "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX",
    "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID",
}  # fmt: skip


def walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every entry below `folder` that is not a folder, as (path below it with `/`, entry); links are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                for below, inner in walk(Path(entry.path)):
                    yield f"{entry.name}/{below}", inner
            else:
                yield entry.name, entry


def record(path: Path) -> FileRecord:
    """Hash and size of one file, which is not followed when it is a link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileRecord(sha256=digest, size=file.tell())


def records(folder: Path) -> dict[str, FileRecord]:
    """Path below `folder` -> hash and size of every file, sorted by path."""
    return {below: record(folder / below) for below in sorted(below for below, _ in walk(folder))}


def make_read_only(folder: Path) -> None:
    """Take the write permission from every file, so that an accidental write fails."""
    for _, entry in walk(folder):
        os.chmod(entry.path, READ_ONLY)


def refuse_unsafe(folder: Path, *, plain_pickles: Iterable[str] = ()) -> None:
    """Check what a publisher wrote into `folder`, before it is published.

    Args:
        folder: what the publisher filled.
        plain_pickles: patterns (fnmatch, of paths below the folder) of files that a library keeps as pickles of plain
            data. They may stay if no instruction in them imports or calls anything.

    Raises:
        BadInput: the folder is empty, holds a file that the store writes itself, anything but regular files
            (links, pipes), a name that is not UTF-8, or a pickle in any guise: by suffix, by content, inside a zip,
            or as a NumPy array of objects.
    """
    patterns = tuple(plain_pickles)
    found = False
    for below, entry in walk(folder):
        found = True
        _refuse_entry(below, entry)
        path = Path(entry.path)
        if any(fnmatchcase(below, pattern) for pattern in patterns):
            _refuse_acting_pickle(below, path)
        else:
            _refuse_pickle(below, path)
    if not found:
        raise BadInput("The publisher wrote no file: an artifact needs at least one.")


def _refuse_entry(below: str, entry: os.DirEntry[str]) -> None:
    if below in (MANIFEST, CARD):
        raise BadInput(f"{below} is written by the store itself: pass its content to publish() instead.")
    try:
        below.encode()
    except UnicodeEncodeError:
        raise BadInput(f"The file name {below!r} is not UTF-8: rename the file.") from None
    status = entry.stat(follow_symlinks=False)
    if not S_ISREG(status.st_mode):
        raise BadInput(f"{below} is a link, pipe or device; an artifact holds regular files only: copy the content.")
    if status.st_nlink > 1:
        raise BadInput(f"{below} is a hard link: a write to its other name would change it here too. Copy the content.")


def _refuse_pickle(below: str, path: Path) -> None:
    advice = "unpickling runs code. Keep weights as skops, safetensors, npz of numbers, JSON or Parquet"
    if path.suffix.lower() in PICKLE_SUFFIXES or _looks_pickled(path):
        raise BadInput(
            f"{below} is a pickle, and {advice}; a library's own file of plain data can be named in plain_pickles."
        )
    if path.suffix.lower() in (".npy", ".npz"):
        _refuse_object_arrays(below, path, advice)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.lower().endswith(PICKLE_SUFFIXES):
                    raise BadInput(f"{below} holds the pickle {member}, and {advice}.")


def _looks_pickled(path: Path) -> bool:
    """Pickles of protocol 2 and later begin with PROTO and the protocol's number, and end with STOP."""
    with path.open("rb") as file:
        head = file.read(2)
        if len(head) < 2 or head[0] != 0x80 or not 2 <= head[1] <= 5:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read() == b"."


def _refuse_object_arrays(below: str, path: Path, advice: str) -> None:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                for member in loaded.files:
                    loaded[member]
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f"{below} cannot be loaded with allow_pickle=False ({error}), and {advice}.") from error


def _refuse_acting_pickle(below: str, path: Path) -> None:
    try:
        for opcode, _, _ in pickletools.genops(path.read_bytes()):
            if opcode.name in _ACTING:
                raise BadInput(f"{below} is not plain data: its instruction {opcode.name} can run code when read.")
    except ValueError as error:
        raise BadInput(f"{below} is named as a plain pickle but is none: {error}.") from error
