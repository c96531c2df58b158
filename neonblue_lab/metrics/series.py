"""Metrics over time: one value a day for each experiment and for the programme as a whole."""

from collections.abc import Iterable, Mapping

import ibis
import ibis.expr.types as ir
import polars as pl
from ibis import _

from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.metrics.relations import outcomes, restrict, run, table
from neonblue_lab.warehouse.warehouse import Warehouse

PROGRAMME = "programme"
"""Stands in the place of an experiment's id for all of them together."""

SERIES_SCHEMA: dict[str, pl.DataType] = {
    "experiment_id": pl.String(),
    "metric": pl.String(),
    "timestamp": pl.Datetime("us", "UTC"),
    "value": pl.Float64(),
}


def daily_series(
    warehouse: Warehouse, metrics: Mapping[str, Metric], experiments: Iterable[str] | None = None
) -> pl.DataFrame:
    """Metrics by day (UTC), in the columns of SERIES_SCHEMA, sorted.

    A metric of events gives the daily total that it is made of, under a name of its own (`daily_total`): the number of
    events, or the sum of their values where that is what the metric adds up; for an experiment those of its exposed users
    after exposure, for the programme all of them. A metric of aggregates keeps its name and is the mean over the units of the
    periods (a week at most) that start on that day. Aggregates that state no period count, for the programme alone, on the
    day on which their experiment started. The last day is left out where its data ends before
    20:00: half a day is no day.

    Args:
        warehouse: where to ask.
        metrics: definitions by name.
        experiments: ids to give series of, beside the programme's; all unless given.
    """
    wanted = None if experiments is None else list(experiments)
    frames = [run(warehouse, expression) for expression in (_of_periods(wanted), _of_starts())]
    if computed := [metric for metric in metrics.values() if metric.event is not None]:
        last_event = warehouse.sql("SELECT max(timestamp) AS last FROM events").item()
        for metric in computed:
            events = table("events").filter(_.event_type == metric.event)
            everyone = events.mutate(experiment_id=ibis.literal(PROGRAMME), happened_at=_.timestamp)
            for rows in (everyone, outcomes([str(metric.event)], wanted)):
                frames.append(_whole_days(run(warehouse, _daily_total(rows, metric)), last_event))
    series = pl.concat([f.select(pl.col(n).cast(t) for n, t in SERIES_SCHEMA.items()) for f in frames])
    return series.unique(["experiment_id", "metric", "timestamp"], keep="first").sort(*list(SERIES_SCHEMA)[:3])


def daily_total(metric: Metric) -> str:
    """What the series of a metric of events is called, such as `conversion_count_per_day`: it is a total, and neither the
    share nor the mean per user that the metric itself is."""
    return f"{metric.event}_{'value' if metric.of == 'value' else 'count'}_per_day"


def _daily_total(rows: ir.Table, metric: Metric) -> ir.Table:
    total = _.value.sum() if metric.of == "value" else _.count()
    daily = rows.mutate(timestamp=_.happened_at.truncate("D")).group_by("experiment_id", "timestamp")
    return daily.aggregate(value=total.cast("float64"), metric=ibis.literal(daily_total(metric)))


def _whole_days(series: pl.DataFrame, last_event: object) -> pl.DataFrame:
    return series.filter((pl.col("timestamp") + pl.duration(hours=20)) <= pl.lit(last_event))


def _of_periods(wanted: list[str] | None) -> ir.Table:
    """Units-weighted means by the day on which a period of at most a week starts, by experiment and for the programme.
    Running totals, of which many share a start, are no periods of their own."""
    starts = ibis.window(group_by=["experiment_id", "variant_id", "metric", "period_start"])
    totals = (
        table("metric_totals").filter(_.segment.isnull(), _.period_start.notnull()).mutate(ends=_.count().over(starts))
    )
    periods = totals.filter(_.ends == 1, _.n > 0, _.period_end <= _.period_start + ibis.interval(days=7))
    everyone = periods.mutate(experiment_id=ibis.literal(PROGRAMME))
    return _weighted(restrict(periods, wanted).union(everyone).mutate(timestamp=_.period_start.truncate("D")))


def _of_starts() -> ir.Table:
    """Units-weighted means by the day on which experiments started, for totals that state no period."""
    totals = table("metric_totals").filter(_.segment.isnull(), _.n > 0, _.period_start.isnull())
    started = table("experiments").filter(_.started_at.notnull()).select("experiment_id", "started_at")
    joined = totals.join(started, "experiment_id").mutate(timestamp=_.started_at.truncate("D"))
    return _weighted(joined.mutate(experiment_id=ibis.literal(PROGRAMME)))


def _weighted(rows: ir.Table) -> ir.Table:
    daily = rows.group_by("experiment_id", "metric", "timestamp")
    return daily.aggregate(value=(_.mean * _.n).sum() / _.n.sum())
