"""How long to leave a store alone after it failed: twice as long after each failure, up to a limit, and never quite equally."""

import random
from collections.abc import Callable

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 300.0


class Backoff:
    """When to try again."""

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float] = random.random) -> None:
        """`clock` gives seconds, `jitter` a number from 0 to 1."""
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._failed_at = 0.0
        self._pause = 0.0

    @property
    def remaining(self) -> float:
        """Seconds until the next attempt, 0 when it is due. A clock that went back makes it due."""
        passed = self._clock() - self._failed_at
        return max(0.0, self._pause - passed) if passed >= 0 else 0.0

    def failed(self) -> None:
        """Wait from now on, longer than the last time."""
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(self._failures, 60))
        self._failures += 1
        self._failed_at = self._clock()
        self._pause = longest * (0.5 + 0.5 * self._jitter())

    def succeeded(self) -> None:
        """Forget the failures."""
        self._failures = 0
        self._pause = 0.0
