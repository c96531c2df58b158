"""Files that survive a power cut and other writers: flushed writes, replacement in one step, locks."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neonblue_lab.errors import Conflict


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder`, and `folder` itself, children first."""
    for parent, _, files in os.walk(folder, topdown=False):
        for file in files:
            sync(Path(parent, file))
        sync(Path(parent))


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` in place of `path` in one step: a reader sees the old bytes or the new ones, never a mixture.

    The caller holds a lock: one writer at a time.
    """
    aside = path.with_name(f".{path.name}.new")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync(path.parent)


@contextmanager
def exclusive(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock file `path` (made when missing) alone.

    Raises:
        Conflict: somebody else holds it, and `wait` is false.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"{path} is locked: another process is at work here. Try again when it is done.") from error
        yield
    finally:
        os.close(descriptor)
