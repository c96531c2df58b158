"""A route to one of its stores: where it stands, what it lacks, and the deliveries that bring it up to date."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from neonblue_lab.errors import Conflict, NotFound
from neonblue_lab.lake.commits import Commit
from neonblue_lab.sinks.feed import Feed, TableLog
from neonblue_lab.sinks.ledger import Position
from neonblue_lab.sinks.outlet import Outlet, Store
from neonblue_lab.sinks.policy import Route
from neonblue_lab.sinks.sink import Delivery, Sink


class Index(Store, Protocol):
    """A store that is not fed by rows but made anew as a whole when its table has moved."""

    def through(self) -> int | None:
        """The version of the table that it shows; None: none yet."""

    def rebuild(self) -> int:
        """Make it anew of the newest version. Returns how many rows it now holds. Raises NeonBlueError where it cannot."""


@dataclass
class Tally:
    """What a run did for a lane: rows and deliveries that the store took, what went wrong in the lake, what was unusual."""

    rows: int = 0
    deliveries: int = 0
    failure: str = ""
    remark: str = ""


class Lane(Protocol):
    """A route to one store, during a run.

    Attributes:
        route: of the policy.
        outlet: the store.
        log: the commits of the route's table.
        inline: whether it is delivered while records arrive, or only when everything is.
        tally: what was done so far.
    """

    route: Route
    outlet: Outlet
    log: TableLog
    inline: bool
    tally: Tally

    @property
    def position(self) -> Position:
        """Where it stands."""

    def deliver(self, through: int) -> Iterator[int]:
        """Bring the store up to version `through` of the table; yields the rows after each delivery.

        Raises:
            StoreFailed: the store did not take a delivery.
            NotFound, Conflict: the lake does not have what the store lacks.
        """


def pending(lane: Lane) -> Iterator[Commit]:
    """The commits with rows that the store may lack, the oldest first.

    Raises:
        NotFound: the log of one of them is gone.
    """
    return lane.log.pending(lane.position)


class IndexLane:
    """A route to a store that is made anew as a whole."""

    inline = False

    def __init__(self, route: Route, outlet: Outlet, log: TableLog, index: Index) -> None:
        self.route, self.outlet, self.log = route, outlet, log
        self.tally = Tally()
        self._index = index

    @property
    def position(self) -> Position:
        return Position(table=self.route.table, rows="", through=self._index.through())

    def deliver(self, through: int) -> Iterator[int]:
        if any(pending(self)):
            yield self.outlet.attempt(self.route.lane, self._index.rebuild)


class SinkLane:
    """A route to a store that takes rows."""

    inline = True

    def __init__(
        self, route: Route, outlet: Outlet, log: TableLog, sink: Sink, feed: Feed, prepare: Callable[[], None]
    ) -> None:
        """`prepare` is called before each write, and makes the store ready where that is not done yet."""
        self.route, self.outlet, self.log = route, outlet, log
        self.tally = Tally()
        self._sink = sink
        self._feed = feed
        self._prepare = prepare
        self._rows = feed.rows_of(route, log)

    @property
    def position(self) -> Position:
        return self.outlet.ledger.position(self.route.lane, self.route.table, self._rows)

    def deliver(self, through: int) -> Iterator[int]:
        if (self.position.through or 0) > through:
            raise Conflict(
                f"{self.route.table} is at version {through} in the lake, and {self.outlet.store.address} had version "
                f"{self.position.through} of it: the lake was put back to an earlier state. `neonblue sync --anew` delivers "
                "what it holds now."
            )
        try:
            yield from self._deliver(through)
        except NotFound as gone:
            # A snapshot of what the lake holds now has every row that it still has, whatever is gone of the way there.
            self.outlet.ledger.record(self.route.lane, Position(table=self.route.table, rows=self._rows))
            self.tally.remark = f"{gone} Everything was delivered anew."
            yield from self._deliver(through)

    def _deliver(self, through: int) -> Iterator[int]:
        ledger, lane = self.outlet.ledger, self.route.lane
        while (position := self.position).through is None or position.through < through:
            if position.through is not None and position.under_way is None and not any(pending(self)):
                ledger.note(lane, position.at(through))
                return
            stretch = position.under_way or self._feed.next_stretch(position, through)
            deliveries = self._feed.deliveries(self.route, self.log, position, stretch)
            left = islice(deliveries, position.parts, None)
            rows = 0
            delivery = next(left, None)
            if delivery is not None and position.under_way is None:
                position = position.begun(stretch)
                ledger.record(lane, position)
            while delivery is not None:
                rows = self._write(delivery)
                delivery = next(left, None)
                if delivery is not None:
                    position = position.acknowledged()
                    ledger.record(lane, position)
                    yield rows
            if position.under_way is None:
                ledger.note(lane, position.at(stretch.through))
            else:
                ledger.record(lane, position.at(stretch.through))
                yield rows

    def _write(self, delivery: Delivery) -> int:
        def write() -> int:
            self._prepare()
            self._sink.write(delivery)
            return delivery.frame.height

        return self.outlet.attempt(self.route.lane, write)
