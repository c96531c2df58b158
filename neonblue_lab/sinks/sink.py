"""What every store that is fed from the lake can do: the protocol of sinks, and what goes through it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from neonblue_lab.lake.tables import Table


@dataclass(frozen=True)
class Delivery:
    """Rows of one lake table on their way to a sink.

    Attributes:
        table: the lake table's name: events, experiments, assignments, metric_totals, changes, documents.
        token: names these very rows: the same token always comes with identical rows in identical order.
        frame: the lake table's columns, the partition column included; at most 100,000 rows, but for a snapshot.
        snapshot: the lake's version of a table that the lake overwrites (`experiments`), None for all others. The frame is
            then the whole table: rows of earlier snapshots that are not in it are gone.
    """

    table: str
    token: str
    frame: pl.DataFrame
    snapshot: int | None = None


@dataclass(frozen=True)
class Health:
    """Whether a store answers now.

    Attributes:
        ok: it answered.
        latency_ms: how long the answer took, in milliseconds; None where there was none.
        message: what answered, or why nothing did.
    """

    ok: bool
    latency_ms: float | None
    message: str


class Sink(Protocol):
    """A store outside the lake. Nothing connects before it is needed: a sink whose store is down can be opened."""

    @property
    def name(self) -> str:
        """The store's kind, as policies and metrics call it: clickhouse, postgres."""

    @property
    def address(self) -> str:
        """Where it is, as messages say it: without user, password and options."""

    def prepare(self, tables: Mapping[str, Table]) -> None:
        """Make what is missing: database, tables, columns, views. Whatever is there stays.

        Raises:
            BadInput: a table that sinks have no place for, or a refusal by the store.
            Unavailable: the store does not answer.
        """

    def write(self, delivery: Delivery) -> None:
        """Store the rows, durably by the store's own standard when it returns. The same delivery twice is stored once.

        Raises:
            BadInput: the store refuses the rows.
            Unavailable: the store does not answer. Whether the rows arrived is not known: deliver them again.
        """

    def health(self) -> Health:
        """Ask the store now; never raises."""

    def close(self) -> None:
        """Give back connections. A closed sink is not used again."""
