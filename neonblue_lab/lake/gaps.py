"""Offsets that the lake will never hold because a user chose to go on without them: each is written down."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import polars as pl

from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import OWN

GAPS = "gaps"


@dataclass(frozen=True)
class Gap:
    """The offsets from `first` up to `next` (not included) of a partition."""

    topic: str
    partition: int
    first: int
    next: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition} offsets {self.first} to {self.next - 1} ({self.next - self.first:,})"


def write_down(lake: Lake, gaps: Iterable[Gap]) -> None:
    """Note gaps that were accepted; called before what lies behind them is stored."""
    now = datetime.now(UTC)
    rows = [asdict(gap) | {"accepted_at": now} for gap in gaps]
    if rows:
        lake.append(GAPS, pl.DataFrame(rows, schema=OWN[GAPS].schema))


def accepted_gaps(lake: Lake) -> pl.DataFrame:
    """Every gap once (topic, partition, first, next, accepted_at), in the order of offsets."""
    gap = ["topic", "partition", "first", "next"]
    return lake.read(GAPS).group_by(gap).agg(pl.col("accepted_at").min()).sort(gap)
