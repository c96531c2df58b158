"""Feeds every store from the lake, lane by lane: what matters most first, nothing lost, nothing doubled.

The lake is the queue. A store lacks what the commits after its ledger's position added; that is sent in deliveries of up to
100,000 rows, however many commits they span: the larger a backlog, the fuller its deliveries. After each delivery of a lane,
lanes of higher priority are brought up to date first. A store that fails is left alone for a while, longer each time; the
others go on, and it gets what it lacks once it is back.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from neonblue_lab.errors import Conflict, NeonBlueError, NotFound
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import TABLES
from neonblue_lab.sinks.backoff import Backoff
from neonblue_lab.sinks.feed import Feed, TableLog
from neonblue_lab.sinks.lanes import Index, IndexLane, Lane, SinkLane, pending
from neonblue_lab.sinks.ledger import Ledger
from neonblue_lab.sinks.outlet import Observer, Outlet, Store, StoreFailed
from neonblue_lab.sinks.policy import RULES, Labeller, Policy, Route
from neonblue_lab.sinks.report import FALLBACK, TROUBLES, Backlog, LaneResult, State, StoreResult, SyncReport
from neonblue_lab.sinks.sink import Health, Sink


class Deliverer:
    """Feeds stores from a lake. One run at a time; other processes may run theirs, each store is fed by one at once."""

    def __init__(
        self,
        lake: Lake,
        sinks: Iterable[Sink],
        policy: Policy,
        folder: Path,
        *,
        indexes: Iterable[Index] = (),
        labeller: Labeller = RULES,
        clock: Callable[[], float] = time.time,
        observer: Observer | None = None,
    ) -> None:
        """Connect nothing yet.

        Args:
            lake: to feed from.
            sinks: stores that take rows; those of the policy that are not among them are left out.
            policy: which store gets what.
            folder: of the ledgers.
            indexes: stores that are made anew as a whole.
            labeller: what says of which class an event is.
            clock: seconds since 1970.
            observer: is told of each delivery.
        """
        self._lake = lake
        self._policy = policy
        self._feed = Feed(lake, policy, labeller)
        self._clock = clock
        self._sinks = {sink.name: sink for sink in sinks}
        self._indexes = {index.name: index for index in indexes}
        stores: list[Store] = [*self._sinks.values(), *self._indexes.values()]
        self._outlets = {
            store.name: Outlet(store, Ledger(folder, store.name, store.address), Backoff(clock), observer)
            for store in stores
        }
        self._prepared: set[str] = set()
        self._logs: dict[str, TableLog] = {}

    def run(self, *, flush: bool = True, anew: bool = False) -> SyncReport:
        """Deliver what is due.

        Args:
            flush: everything is due; else what the strategies of the lanes say: real_time lanes at once, stream and batch
                lanes when the policy says that enough rows wait, or for long enough. An index waits for a flush.
            anew: take it that the stores have nothing, as after one was restored or emptied.

        Returns:
            How each lane stands at each of its stores. A store that fails, or that another process feeds at this moment, is
            no error here; the report says so.
        """
        with ExitStack() as stack:
            busy = {}
            for store, outlet in self._outlets.items():
                try:
                    stack.enter_context(outlet.ledger.held())
                except Conflict as conflict:
                    busy[store] = f"Another process feeds {outlet.store.address} at this moment. {conflict}"
                    continue
                if anew and store in self._sinks:
                    outlet.ledger.forget()
            lanes = self._lanes(without=busy)
            run = _Run(lanes, self._policy, self._clock, flush=flush)
            run.deliver()
            report = self._report(run, busy)
            self._forget_what_all_have(lanes)
            return report

    def backlog(self) -> list[Backlog]:
        """What each lane still has to deliver to each store, as of now and without asking the stores."""
        found = []
        for lane in self._lanes():
            commits = list(pending(lane))
            found.append(
                Backlog(
                    store=lane.outlet.store.name,
                    lane=lane.route.lane,
                    table=lane.route.table,
                    commits=len(commits),
                    rows=sum(commit.rows for commit in commits),
                    oldest_seconds=max(0.0, self._clock() - commits[0].committed_at) if commits else None,
                    retry_seconds=lane.outlet.backoff.remaining,
                )
            )
        return found

    def health(self) -> dict[str, Health]:
        """Store -> whether it answers now."""
        return {store: outlet.store.health() for store, outlet in self._outlets.items()}

    def close(self) -> None:
        """Close the stores."""
        for outlet in self._outlets.values():
            outlet.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lanes(self, without: Mapping[str, str] = MappingProxyType({})) -> list[Lane]:
        """The lanes whose table the lake has, the most urgent first; the primary store before the others."""
        routes = sorted(self._policy.routes, key=lambda route: route.rank)
        ways = [(route, store) for route in routes for store in route.stores if store not in without]
        return [lane for route, store in ways if (lane := self._lane(route, store)) is not None]

    def _lane(self, route: Route, store: str) -> Lane | None:
        log = self._log(route.table) if store in self._outlets else None
        if log is None:
            return None
        outlet = self._outlets[store]
        if store in self._indexes:
            return IndexLane(route, outlet, log, self._indexes[store])
        return SinkLane(route, outlet, log, self._sinks[store], self._feed, lambda: self._prepare(store))

    def _log(self, table: str) -> TableLog | None:
        if table not in self._logs:
            try:
                self._logs[table] = TableLog(self._lake, table)
            except NotFound:  # nothing of it was replayed yet
                return None
        self._logs[table].refresh()
        return self._logs[table]

    def _forget_what_all_have(self, lanes: Sequence[Lane]) -> None:
        stand: dict[str, int] = {}
        for lane in lanes:
            if not lane.tally.failure:
                through = lane.position.through
                stand[lane.route.table] = min(
                    stand.get(lane.route.table, lane.log.newest), -1 if through is None else through
                )
        for table, through in stand.items():
            self._logs[table].forget(through)

    def _prepare(self, store: str) -> None:
        if store not in self._prepared or self._outlets[store].failure:
            routed = {route.table for route in self._policy.of_store(store)}
            self._sinks[store].prepare({name: table for name, table in TABLES.items() if name in routed})
            self._prepared.add(store)

    def _report(self, run: "_Run", busy: Mapping[str, str]) -> SyncReport:
        def result(route: Route, store: str) -> StoreResult:
            if store in busy:
                return StoreResult(store, "busy", message=busy[store])
            if store not in self._outlets:
                return StoreResult(store, "left_out", message="not configured, or not asked for")
            return run.result(route, store)

        lanes = []
        for route in self._policy.routes:
            primary, *secondary = (result(route, store) for store in route.stores)
            falls_back = primary.state in TROUBLES and any(r.state == "up_to_date" for r in secondary)
            lanes.append(
                LaneResult(
                    lane=route.lane,
                    table=route.table,
                    primary_result=primary,
                    secondary_results={r.store: r for r in secondary},
                    routing_strategy=FALLBACK if falls_back else route.strategy,
                )
            )
        return SyncReport(lanes, {store: outlet.store.address for store, outlet in self._outlets.items()})


class _Run:
    """One pass over the lanes."""

    def __init__(self, lanes: Sequence[Lane], policy: Policy, clock: Callable[[], float], *, flush: bool) -> None:
        self._lanes = lanes
        self._policy = policy
        self._clock = clock
        self._flush = flush

    def deliver(self) -> None:
        """Bring every lane that is due up to date."""
        for lane in self._lanes:
            self._bring(lane, [other for other in self._lanes if other.route.rank < lane.route.rank])

    def result(self, route: Route, store: str) -> StoreResult:
        """How a lane stands at a store after the run."""
        lane = next((lane for lane in self._lanes if lane.route is route and lane.outlet.store.name == store), None)
        if lane is None:
            return StoreResult(store, "up_to_date", message=f"the lake has no {route.table} yet")
        state, message = self._state(lane)
        through = None if state == "failed" else lane.position.through
        return StoreResult(store, state, lane.tally.rows, lane.tally.deliveries, through, message)

    def _bring(self, lane: Lane, more_urgent: Sequence[Lane]) -> None:
        """Deliver up to the newest version as of now; after each delivery, do the same for what is more urgent."""
        through = lane.log.refresh()
        try:
            if lane.outlet.backoff.remaining or not self._due(lane):
                return
            for rows in lane.deliver(through):
                lane.tally.rows += rows
                lane.tally.deliveries += 1
                for other in more_urgent:
                    self._bring(other, ())
                if lane.outlet.backoff.remaining:  # something more urgent found that the store is down
                    return
        except StoreFailed:
            return
        except NeonBlueError as error:
            lane.tally.failure = str(error)

    def _due(self, lane: Lane) -> bool:
        if self._flush:
            return True
        if not lane.inline:
            return False
        policy = self._policy
        match lane.route.strategy:
            case "real_time":
                return True
            case "stream":
                enough = sum(commit.rows for commit in pending(lane)) >= policy.stream_rows
                return enough or self._waits(lane, policy.stream_seconds)
            case "batch":
                return self._waits(lane, policy.batch_seconds)

    def _waits(self, lane: Lane, seconds: float) -> bool:
        oldest = next(pending(lane), None)
        # A clock that went back says nothing: what seems to come from the future is delivered.
        return oldest is not None and not 0 <= self._clock() - oldest.committed_at < seconds

    def _state(self, lane: Lane) -> tuple[State, str]:
        if lane.tally.failure:
            return "failed", lane.tally.failure
        try:
            if not any(pending(lane)):
                return "up_to_date", lane.tally.remark
        except NeonBlueError as error:
            return "failed", str(error)
        if lane.outlet.failure:
            return "down", f"{lane.outlet.failure} Next attempt in {lane.outlet.backoff.remaining:.0f} s."
        return "waiting", "more came meanwhile" if self._flush else f"not due yet: {lane.route.strategy}"
