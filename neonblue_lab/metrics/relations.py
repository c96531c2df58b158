"""The relations that metrics are computed over, as Ibis expressions: who was exposed to what, and what they did afterwards."""

from collections.abc import Iterable
from typing import Protocol

import ibis
import ibis.expr.types as ir
import polars as pl
from ibis import _

from neonblue_lab.lake.tables import DERIVED


class Engine(Protocol):
    """What runs a query over the lake's tables: the warehouse, or ClickHouse with tables of these names."""

    @property
    def dialect(self) -> str:
        """The name of its SQL: `duckdb` or `clickhouse`."""
        ...

    def sql(self, query: str) -> pl.DataFrame:
        """The rows of one SELECT."""
        ...


def table(name: str) -> ir.Table:
    """A view of the warehouse, known by its columns alone: an expression over it compiles to any engine's SQL."""
    return ibis.table(ibis.Schema.from_polars(DERIVED[name].schema), name=name)


def run(warehouse: Engine, expression: ir.Table) -> pl.DataFrame:
    """The rows of an expression, computed by an engine."""
    return warehouse.sql(str(ibis.to_sql(expression, dialect=warehouse.dialect)))


def restrict(rows: ir.Table, experiments: Iterable[str] | None) -> ir.Table:
    """Only the rows of these experiments; all where none are named."""
    return rows if experiments is None else rows.filter(_.experiment_id.isin(list(experiments)))


def exposures(experiments: Iterable[str] | None = None) -> ir.Table:
    """First exposures of users to variants while the experiment ran: experiment_id, user_id, variant_id, first_exposed_at,
    ended_at (null where the experiment has no end). What is shown after the end is no part of it."""
    ends = table("experiments").select("experiment_id", "ended_at")
    joined = restrict(table("assignments"), experiments).left_join(ends, "experiment_id")
    during = joined.filter(_.ended_at.isnull() | (_.first_exposed_at <= _.ended_at))
    return during.select("experiment_id", "user_id", "variant_id", "first_exposed_at", "ended_at")


def exposed(experiments: Iterable[str] | None = None) -> ir.Table:
    """Users and their variant: experiment_id, user_id, variant_id, exposed_at (first exposure), ended_at (the experiment's
    end or null). Users seen in more than one variant of an experiment are left out of it."""
    by_user = exposures(experiments).group_by("experiment_id", "user_id")
    return (
        by_user.aggregate(
            variants=_.count(),
            variant_id=_.variant_id.min(),
            exposed_at=_.first_exposed_at.min(),
            ended_at=_.ended_at.max(),
        )
        .filter(_.variants == 1)
        .select("experiment_id", "user_id", "variant_id", "exposed_at", "ended_at")
    )


def outcomes(event_types: Iterable[str], experiments: Iterable[str] | None = None) -> ir.Table:
    """What exposed users did from their first exposure on, until the experiment's end where it has one: experiment_id,
    variant_id, user_id, event_type, value, happened_at. A user in several experiments appears once for each."""
    events = table("events").filter(_.event_type.isin(sorted(event_types)), _.user_id.notnull())
    events = events.select("user_id", "event_type", "value", happened_at="timestamp")
    joined = exposed(experiments).join(events, "user_id")
    within = joined.filter(_.happened_at >= _.exposed_at, _.ended_at.isnull() | (_.happened_at <= _.ended_at))
    return within.select("experiment_id", "variant_id", "user_id", "event_type", "value", "happened_at")
