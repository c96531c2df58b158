"""The rows of a lane out of the lake: the same rows, in the same order, in the same parts, however often they are asked for."""

from collections import deque
from collections.abc import Iterator

import polars as pl

from neonblue_lab.lake.commits import Commit, DataFile, commits, newest_version, read_slices, snapshot, table_id
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import layout
from neonblue_lab.sinks.layout import layout_of
from neonblue_lab.sinks.ledger import Position, Stretch
from neonblue_lab.sinks.policy import Labeller, Policy, Route, fingerprint
from neonblue_lab.sinks.sink import Delivery

DELIVERY_ROWS = 100_000


class TableLog:
    """The commits of one table, read once each.

    Attributes:
        id: what tells the table from another in its place.
        newest: the newest version, as of `refresh`.
    """

    def __init__(self, lake: Lake, name: str) -> None:
        """Raises NotFound where the lake has no such table."""
        table = lake.open(name)
        self.id = table_id(table)
        self.newest = table.version()
        self._lake = lake
        self._name = name
        self._commits: dict[int, Commit] = {}

    def refresh(self) -> int:
        """Look for newer versions; returns the newest."""
        self.newest = newest_version(self._lake, self._name, self.newest)
        return self.newest

    def since(self, after: int, through: int | None = None) -> Iterator[Commit]:
        """The commits after version `after` up to `through` (the newest unless given).

        Raises:
            NotFound: the log of one of them is gone.
        """
        for version in range(after + 1, (self.newest if through is None else through) + 1):
            if version not in self._commits:
                self._commits[version] = next(commits(self._lake, self._name, version - 1, version))
            yield self._commits[version]

    def pending(self, position: Position) -> Iterator[Commit]:
        """The commits with rows that a lane at `position` lacks; of a table that is made anew each time, the last one."""
        since = self.since(-1 if position.through is None else position.through)
        if layout_of(self._name).is_snapshot:
            yield from deque((commit for commit in since if commit.files or commit.overwrite), maxlen=1)
        else:
            yield from (commit for commit in since if commit.files)

    def forget(self, through: int) -> None:
        """Let go of what is known of the commits up to a version."""
        self._commits = {version: commit for version, commit in self._commits.items() if version > through}


class Feed:
    """Cuts the tables of a lake into deliveries for lanes."""

    def __init__(self, lake: Lake, policy: Policy, labeller: Labeller) -> None:
        self._lake = lake
        self._policy = policy
        self._labeller = labeller

    def rows_of(self, route: Route, log: TableLog) -> str:
        """The fingerprint of what decides which rows are the lane's, and in which parts they come."""
        return fingerprint(self._policy, self._labeller, route, log.id, str(DELIVERY_ROWS))

    def next_stretch(self, position: Position, newest: int) -> Stretch:
        """What to deliver next to a lane that stands before version `newest`."""
        whole = position.through is None or layout_of(position.table).is_snapshot
        return Stretch(after=None if whole else position.through, through=newest)

    def deliveries(self, route: Route, log: TableLog, position: Position, stretch: Stretch) -> Iterator[Delivery]:
        """The lane's rows of a stretch. A table that is made anew each time comes as one delivery, empty or not; of others,
        at most DELIVERY_ROWS come at a time, and nothing where the lane has none.

        Raises:
            NotFound: a file or log of these versions is gone.
        """
        files = self._files(route.table, log, stretch)
        is_snapshot = layout_of(route.table).is_snapshot
        slices = self._slices(route, files)
        frames = [_together(route.table, slices)] if is_snapshot else _cut(slices, DELIVERY_ROWS)
        span = f"{'' if stretch.after is None else stretch.after}..{stretch.through}"
        for part, frame in enumerate(frames):
            token = f"{route.table}@{span}/{route.lane}/{part}/{position.rows}"
            yield Delivery(route.table, token, frame, stretch.through if is_snapshot else None)

    def _files(self, table: str, log: TableLog, stretch: Stretch) -> list[DataFile]:
        if stretch.after is None:
            return list(snapshot(self._lake, table, stretch.through))
        return [file for commit in log.since(stretch.after, stretch.through) for file in commit.files]

    def _slices(self, route: Route, files: list[DataFile]) -> Iterator[pl.DataFrame]:
        for file in files:
            for frame in read_slices(route.table, file):
                if route.table != "events":
                    yield frame
                else:
                    yield frame.filter(self._policy.lanes(self._labeller.label(frame)) == route.lane)


def _together(table: str, slices: Iterator[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=layout(table).schema), *slices])


def _cut(slices: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows in frames of `rows` rows; the last has what is left, and none is empty."""
    held: list[pl.DataFrame] = []
    waiting = 0
    for frame in slices:
        if frame.is_empty():
            continue
        held.append(frame)
        waiting += frame.height
        while waiting >= rows:
            whole = pl.concat(held)
            yield whole.head(rows)
            held, waiting = [whole.slice(rows)], waiting - rows
    if waiting:
        yield pl.concat(held)
