"""Where calls from many threads share one lab: each works on one version of the data, and each begins with the newest."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from neonblue_lab.lab import Lab


class Desk:
    """One lab for all callers.

    A call that finds newer data in the lake waits for the calls that still work on the former version, then everybody goes
    on with the newer one. Promoted artifacts are looked up anew by the lab itself, whenever one is used.
    """

    def __init__(self, home: str | os.PathLike[str] | None) -> None:
        self._lab = Lab.open(home)
        self._changed = Condition()
        self._working = 0

    @contextmanager
    def lab(self) -> Iterator[Lab]:
        """The lab, for one call: its data stays the same until the call is over."""
        with self._changed:
            while self._working and not self._lab.warehouse.is_newest():
                self._changed.wait()
            if not self._working:
                self._lab.refresh()
            self._working += 1
        try:
            yield self._lab
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()
