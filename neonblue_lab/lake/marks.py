"""Where a replay stands, as the tables' own logs state it: the next offset of each partition that a table has taken in."""

from collections.abc import Iterable, Mapping

import polars as pl

from neonblue_lab.errors import Conflict
from neonblue_lab.events.records import Offsets
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import layout


class Marks:
    """One table, and the next offsets of one topic in it.

    A partition that the table has nothing of stands at 0.

    Args:
        shared: several followers write the same topic, each the partitions that their group gives it: what another has
            moved is taken over instead of being refused.
    """

    def __init__(
        self, lake: Lake, name: str, topic: str, partitions: Iterable[int] = (), *, shared: bool = False
    ) -> None:
        self._lake, self._name, self._topic, self._shared = lake, name, topic, shared
        self.table = lake.ensure(name)
        self.next: dict[int, int] = {}
        self.take_up(partitions)

    def take_up(self, partitions: Iterable[int]) -> None:
        """Know these partitions from now on."""
        for partition in partitions:
            if partition not in self.next:
                self.next[partition] = self.stated(partition) or 0

    def stated(self, partition: int) -> int | None:
        """The next offset by the table's log as last opened; None where it never had a record of the partition."""
        number: int | None = self.table.transaction_version(f"{self._topic}/{partition}")
        return number

    def refresh(self) -> None:
        """Open the table's newest version.

        Raises:
            Conflict: its marks are not what this replay found or wrote, and they are not shared.
        """
        self.table.update_incremental()
        for partition, expected in self.next.items():
            stated = self.stated(partition) or 0
            if stated != expected and not self._shared:
                raise Conflict(
                    f"{self.table.table_uri}: {self._topic}-{partition} is at offset {stated}, this replay had left it "
                    f"at {expected}: another replay writes the same topic. Nothing was doubled; run again when it is done."
                )
            self.next[partition] = stated

    def scan(self) -> pl.LazyFrame:
        """The table's rows, as last opened."""
        return self._lake.scan(self._name, self.table)

    def scan_offsets(self, partition: int, low: int, high: int) -> pl.LazyFrame:
        """Its rows of a partition with offsets from `low` to `high`, out of the files that can hold any."""
        can_hold = (pl.col("max.offset") >= low) & (pl.col("min.offset") <= high)
        rows = self._lake.scan(self._name, self.table, can_hold)
        return rows.filter(pl.col("partition") == partition, pl.col("offset").is_between(low, high))

    def covers(self, frame: pl.DataFrame) -> bool:
        """Whether a mark lies beyond a record of `frame`: the table has that one already."""
        if frame.is_empty():
            return False
        first = frame.group_by("partition").agg(pl.col("offset").min())
        return any(offset < self.next.get(partition, 0) for partition, offset in first.iter_rows())

    def beyond(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of records that lie at or beyond the marks."""
        if not self.covers(frame):
            return frame
        mark = pl.col("partition").replace_strict(self.next, default=0, return_dtype=pl.Int64)
        return frame.filter(pl.col("offset") >= mark)

    def commit(self, rows: pl.DataFrame, ends: Offsets) -> None:
        """Write rows and move the marks to `ends`, in one atomic step.

        Raises:
            Conflict: another replay moved one of them at this moment. Nothing was written.
        """
        moved = self.moved(ends)
        marks = {f"{self._topic}/{partition}": end for partition, end in moved.items()}
        self._lake.commit(self.table, rows, marks=marks)
        self.next.update(moved)

    def move(self, ends: Offsets) -> None:
        """Move the marks without writing rows."""
        self.commit(pl.DataFrame(schema=layout(self._name).schema), ends)

    def moved(self, ends: Offsets) -> dict[int, int]:
        """Those of `ends` that lie beyond the marks, or are the first ones of their partitions, be they 0."""
        return {p: end for p, end in ends.items() if end > self.next[p] or self.stated(p) is None}


def ends_of(frame: pl.DataFrame) -> Mapping[int, int]:
    """Partition -> one past the last offset of its records."""
    return dict(frame.group_by("partition").agg(pl.col("offset").max() + 1).iter_rows())
