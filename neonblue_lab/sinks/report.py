"""What a run of deliveries did, lane by lane, and what is still to come."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["up_to_date", "waiting", "down", "busy", "failed", "left_out"]
"""Of a lane at a store. waiting: not due yet, by its strategy. down: the store failed. busy: another process feeds it.
failed: the lake cannot give what the store lacks. left_out: not configured, or not asked for."""

TROUBLES: tuple[State, ...] = ("down", "busy", "failed")

FALLBACK = "fallback"


@dataclass(frozen=True)
class StoreResult:
    """What a run did for one lane at one store.

    Attributes:
        store: the policy's word for it.
        state: how the lane stands there now.
        rows: delivered by this run.
        deliveries: in how many parts.
        through: the version of the table up to which the store has everything; None: nothing yet.
        message: why it is not up to date, or what was unusual; empty otherwise.
    """

    store: str
    state: State
    rows: int = 0
    deliveries: int = 0
    through: int | None = None
    message: str = ""


@dataclass(frozen=True)
class LaneResult:
    """What a run did for one lane.

    Attributes:
        lane, table: as in the policy.
        primary_result: at the store that the rows are looked for in.
        secondary_results: store -> at the others.
        routing_strategy: the lane's; `fallback` where the primary store is down and a secondary one has what it lacks. The
            lake keeps what the primary lacks until it is back.
    """

    lane: str
    table: str
    primary_result: StoreResult
    secondary_results: dict[str, StoreResult]
    routing_strategy: str

    @property
    def results(self) -> tuple[StoreResult, ...]:
        """At all stores, the primary one first."""
        return (self.primary_result, *self.secondary_results.values())


@dataclass(frozen=True)
class SyncReport:
    """What a run did.

    Attributes:
        lanes: in the policy's order.
        stores: store -> where it is, of those that were to be fed.
    """

    lanes: list[LaneResult] = field(default_factory=list)
    stores: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> dict[str, int]:
        """Store -> rows delivered to it."""
        return {store: sum(result.rows for result in self._of(store)) for store in self.stores}

    @property
    def nothing_to_do(self) -> bool:
        """Whether every store had everything already."""
        return self.ok and not any(self.rows.values())

    @property
    def ok(self) -> bool:
        """Whether no store failed or was taken."""
        return not any(result.state in TROUBLES for lane in self.lanes for result in lane.results)

    def troubles(self, state: State) -> dict[str, str]:
        """Store -> the message of its first lane in a state, of the stores that have one."""
        found = [result for lane in self.lanes for result in lane.results if result.state == state]
        return {result.store: result.message for result in reversed(found)}

    def __str__(self) -> str:
        """A line for each store."""
        if not self.stores:
            return "No store is configured: nothing was delivered."
        return "\n".join(self._line(store) for store in self.stores)

    def to_dict(self) -> dict[str, Any]:
        """The report for machines."""
        return {"ok": self.ok, "rows": self.rows, "stores": self.stores, "lanes": [asdict(lane) for lane in self.lanes]}

    def _line(self, store: str) -> str:
        results = self._of(store)
        said = f"{store} ({self.stores[store]}): {sum(r.rows for r in results):,} rows delivered"
        behind = [result for result in results if result.state in TROUBLES]
        if behind:
            return f"{said}; {len(behind)} of {len(results)} lanes are behind: {behind[0].message}"
        waiting = sum(result.state == "waiting" for result in results)
        return f"{said}; {waiting} lanes wait for more." if waiting else f"{said}; it has everything."

    def _of(self, store: str) -> list[StoreResult]:
        return [result for lane in self.lanes for result in lane.results if result.store == store]


@dataclass(frozen=True)
class Backlog:
    """What one lane still has to deliver to one store.

    Attributes:
        store, lane, table: as in the policy.
        commits: of the table, with rows that the store may lack.
        rows: in these commits, of all lanes together.
        oldest_seconds: since the first of them; None without any.
        retry_seconds: until the store, which failed, is tried again; 0 when nothing keeps it.
    """

    store: str
    lane: str
    table: str
    commits: int
    rows: int
    oldest_seconds: float | None
    retry_seconds: float = 0.0
