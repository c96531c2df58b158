"""How many files a compaction would merge."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from neonblue_lab.lake.rewriting import MADE_ANEW, parts
from neonblue_lab.lake.upkeep import TARGET_BYTES, mergeable

if TYPE_CHECKING:
    from neonblue_lab.lake.lake import Lake

MIN_FILES = 2


def mergeable_files(lake: "Lake", names: Iterable[str] | None = None) -> dict[str, int]:
    """Table -> files that `lake.upkeep.compact` would put together, of the tables that have some. Reads the logs alone.

    Raises:
        NotFound: there is no such table.
    """
    found = {}
    for name in lake.names() if names is None else names:
        if name not in MADE_ANEW:
            groups = mergeable(parts(name, lake.open(name)), TARGET_BYTES, MIN_FILES)
            if files := sum(len(group) for group in groups):
                found[name] = files
    return found
