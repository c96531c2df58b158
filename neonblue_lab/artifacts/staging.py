"""Private folders to write in before publishing; one left by a killed process is swept away by the next publisher.

A folder's owner holds a file lock (flock) on its `lock` file for as long as it lives; the system lets go of the lock
when the process ends, however it ends. So a folder whose lock can be taken belongs to nobody. No clock and no process
number decides, hence a slow publisher is never swept away.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".staging-"
_LOCK = "lock"
_CONTENT = "content"


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """An empty folder below `parent`, to be filled and then renamed away; what is left of it at the end is removed."""
    folder, lock = _claim(parent)
    try:
        content = folder / _CONTENT
        content.mkdir()
        yield content
    finally:
        _remove(folder)
        os.close(lock)


def sweep(parent: Path) -> None:
    """Remove the staging folders below `parent` whose owners no longer live."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            # Its owner was killed before locking, or is about to lock: then it notices, and takes another.
            with suppress(OSError):  # Locked or removed by now.
                folder.rmdir()
            continue
        except PermissionError:
            continue  # Another user's: theirs to remove.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _in_place(lock):
                _remove(folder)
        except BlockingIOError:
            pass  # Its owner lives.
        finally:
            os.close(lock)


def _claim(parent: Path) -> tuple[Path, int]:
    """Make a staging folder and lock it; again with another name if a sweeper came in between."""
    while True:
        folder = parent / f"{PREFIX}{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _in_place(lock):
            return folder, lock
        os.close(lock)


def _in_place(lock: int) -> bool:
    """Whether the lock file, now locked, was not removed by another process while it was being opened and locked."""
    return os.fstat(lock).st_nlink > 0


def _remove(folder: Path) -> None:
    """Remove a folder whose lock is held; the lock file goes last, so that a kill in between leaves it sweepable."""
    if (folder / _CONTENT).exists():
        shutil.rmtree(folder / _CONTENT)
    (folder / _LOCK).unlink()
    with suppress(FileNotFoundError):
        folder.rmdir()
