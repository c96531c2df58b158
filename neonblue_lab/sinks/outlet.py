"""A store while it is fed: left alone for a while after each failure, and every attempt timed and told."""

import time
from collections.abc import Callable
from typing import Protocol

from neonblue_lab.errors import NeonBlueError
from neonblue_lab.sinks.backoff import Backoff
from neonblue_lab.sinks.ledger import Ledger
from neonblue_lab.sinks.sink import Health

Observer = Callable[[str, str, int, float, bool], None]
"""Called after each delivery with the store, the lane, the rows, how many seconds it took, and whether it succeeded."""


class Store(Protocol):
    """What sinks and indexes have in common."""

    @property
    def name(self) -> str:
        """The policy's word for it."""

    @property
    def address(self) -> str:
        """Where it is, as messages say it."""

    def health(self) -> Health:
        """Ask it now; never raises."""

    def close(self) -> None:
        """Let go of it."""


class StoreFailed(Exception):
    """A store failed just now; why is in `Outlet.failure`."""


class Outlet:
    """One store, with what this process knows of it.

    Attributes:
        store: itself.
        ledger: what it has had.
        backoff: when to try it again.
        failure: why it failed the last time; empty after a success.
    """

    def __init__(self, store: Store, ledger: Ledger, backoff: Backoff, observer: Observer | None) -> None:
        self.store = store
        self.ledger = ledger
        self.backoff = backoff
        self.failure = ""
        self._observer = observer

    def attempt(self, lane: str, action: Callable[[], int]) -> int:
        """Do something with the store for a lane; `action` returns for how many rows, and so does this.

        Raises:
            StoreFailed: the store did not take it. It is left alone for a while.
        """
        started = time.monotonic()
        try:
            rows = action()
        except NeonBlueError as error:
            self.backoff.failed()
            self.failure = str(error)
            self._tell(lane, 0, started, ok=False)
            raise StoreFailed from error
        self.backoff.succeeded()
        self.failure = ""
        self._tell(lane, rows, started, ok=True)
        return rows

    def _tell(self, lane: str, rows: int, started: float, *, ok: bool) -> None:
        if self._observer is not None:
            self._observer(self.store.name, lane, rows, time.monotonic() - started, ok)
