"""What a follower does for its lake now and then: it makes many small files, and merges them itself."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from neonblue_lab.lake.upkeep import CompactionReport, compact

if TYPE_CHECKING:
    from neonblue_lab.lake.lake import Lake

EVERY_SECONDS = 60.0
MIN_FILES = 32
"""Fewer small files of a partition are left alone: merging them every time would write the same rows again and again."""


class Housekeeping:
    """Merges small files when it is called and the last time is EVERY_SECONDS ago."""

    def __init__(self, lake: "Lake", clock: Callable[[], float] = time.monotonic) -> None:
        self._lake, self._clock, self._last = lake, clock, clock()

    def __call__(self) -> CompactionReport | None:
        """What was merged; None where it is not time, or there was nothing to merge."""
        if self._clock() - self._last < EVERY_SECONDS:
            return None
        report = compact(self._lake, min_files=MIN_FILES)
        self._last = self._clock()
        return report if report.tables else None
