"""Metrics to sufficient statistics: count, mean and variance of every experiment x metric x variant in one query each for
what is computed from events and for what arrives as aggregates. Written in Ibis, so that any engine can run it.

Variances come from centred sums only; a raw sum of squares would lose every digit at a mean of 1e9.
"""

from collections.abc import Iterable, Mapping

import ibis
import ibis.expr.types as ir
import polars as pl
from ibis import _

from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.metrics.relations import exposed, outcomes, restrict, run, table
from neonblue_lab.warehouse.warehouse import Warehouse

STATISTICS_SCHEMA: dict[str, pl.DataType] = {
    "experiment_id": pl.String(),
    "metric": pl.String(),
    "kind": pl.String(),
    "variant_id": pl.String(),
    "n": pl.Int64(),
    "mean": pl.Float64(),
    "variance": pl.Float64(),
}
"""One row for each experiment x metric x variant. `variance` is the sample variance (n - 1), null where it is not known."""


def collect(
    warehouse: Warehouse, metrics: Mapping[str, Metric], experiments: Iterable[str] | None = None
) -> pl.DataFrame:
    """Sufficient statistics of all metrics.

    Args:
        warehouse: where to ask.
        metrics: definitions by name. Aggregates of a metric without a definition are taken as their topic states them.
        experiments: ids to restrict to; all unless given.

    Returns:
        Columns of STATISTICS_SCHEMA, sorted. A metric of which an experiment has aggregates is not computed from
        events a second time for that experiment.
    """
    wanted = None if experiments is None else list(experiments)
    totals = run(warehouse, total_statistics(wanted))
    defined = pl.DataFrame(
        {"metric": list(metrics), "defined": [m.kind for m in metrics.values()]},
        schema={"metric": pl.String, "defined": pl.String},
    )
    totals = totals.join(defined, on="metric", how="left").with_columns(kind=pl.coalesce("defined", "kind"))
    frames = [totals.select(pl.col(name).cast(dtype) for name, dtype in STATISTICS_SCHEMA.items())]
    if computed := [metric for metric in metrics.values() if metric.event is not None]:
        wide = run(warehouse, event_statistics(computed, wanted))
        from_events = pl.concat([_of_metric(wide, metric) for metric in computed])
        frames.append(from_events.join(totals, on=["experiment_id", "metric"], how="anti"))
    return pl.concat(frames).sort("experiment_id", "metric", "variant_id")


def crossovers(warehouse: Warehouse, experiments: Iterable[str] | None = None) -> pl.DataFrame:
    """Users seen in more than one variant of an experiment (columns experiment_id, users). No statistic counts them."""
    assignments = restrict(table("assignments"), experiments)
    variants = assignments.group_by("experiment_id", "user_id").aggregate(variants=_.count())
    return run(warehouse, variants.filter(_.variants > 1).group_by("experiment_id").aggregate(users=_.count()))


def _of_metric(wide: pl.DataFrame, metric: Metric) -> pl.DataFrame:
    """One metric's rows out of the wide result. The users without an event are merged in as zeros, after Chan, Golub and
    LeVeque (1983), "Algorithms for Computing the Sample Variance", eq. 2.1: a group of n - k zeros joins one of k values."""
    n, k = pl.col("n"), pl.col(f"{metric.name}_k").fill_null(0)
    mean, variance = pl.col(f"{metric.name}_mean").fill_null(0.0), pl.col(f"{metric.name}_variance").fill_null(0.0)
    centred = variance * (k - 1).clip(lower_bound=0) + mean.pow(2) * k * (n - k) / n
    return wide.select(
        "experiment_id",
        metric=pl.lit(metric.name),
        kind=pl.lit(metric.kind),
        variant_id="variant_id",
        n=n.cast(pl.Int64),
        mean=mean * k / n,
        variance=pl.when(n > 1).then(centred / (n - 1)),
    )


def event_statistics(metrics: Iterable[Metric], wanted: Iterable[str] | None = None) -> ir.Table:
    """For each experiment x variant: `n` exposed users and, for each metric, the number `<metric>_k` of them with an event
    from first exposure on (until the experiment's end, where it has one), and mean and variance over those k.

    Users seen in more than one variant are left out.
    """
    metrics = list(metrics)
    users = outcomes({m.event for m in metrics if m.event}, wanted)
    users = users.group_by("experiment_id", "variant_id", "user_id").aggregate(
        **{metric.name: _per_user(metric) for metric in metrics}
    )
    summaries = {
        f"{metric.name}_{suffix}": aggregate
        for metric in metrics
        for suffix, aggregate in (
            ("k", _[metric.name].count()),
            ("mean", _[metric.name].mean()),
            ("variance", _[metric.name].var(how="sample")),
        )
    }
    summary = users.group_by("experiment_id", "variant_id").aggregate(**summaries)
    sizes = exposed(wanted).group_by("experiment_id", "variant_id").aggregate(n=_.count())
    return sizes.left_join(summary, ["experiment_id", "variant_id"]).select(
        "experiment_id", "variant_id", "n", *summaries
    )


def _per_user(metric: Metric) -> ir.Value:
    """A user's value of a metric; null for a user without such an event."""
    such = _.event_type == metric.event
    if metric.kind == "proportion":
        return such.any().ifelse(1.0, ibis.null("float64"))
    if metric.of == "count":
        return such.sum().nullif(0).cast("float64")
    return _.value.sum(where=such)


def total_statistics(wanted: Iterable[str] | None = None) -> ir.Table:
    """Statistics from aggregates without a segment. Of totals with the same start of period the latest end holds the
    others (running totals); different starts are disjoint periods and are merged after Chan, Golub and LeVeque (1983)."""
    key = ["experiment_id", "metric", "variant_id"]
    rows = restrict(table("metric_totals"), wanted).filter(_.segment.isnull())
    latest = ibis.row_number().over(
        group_by=[*key, "period_start"], order_by=[ibis.desc("period_end"), ibis.desc("as_of")]
    )
    periods = rows.mutate(rank=latest).filter(_.rank == 0, _.n > 0)
    group = ibis.window(group_by=key)
    size = _.n.sum().over(group)
    centred = periods.mutate(size=size).mutate(overall=(_.mean * (_.n / _.size)).sum().over(group))
    return (
        centred.group_by(key)
        .aggregate(
            kind=_.kind.max(),
            unknown=_.variance.isnull().sum(),
            centred=(_.variance * (_.n - 1) + _.n * (_.mean - _.overall) * (_.mean - _.overall)).sum(),
            mean=_.overall.max(),
            n=_.n.sum(),
        )
        .select(
            *key,
            "kind",
            "n",
            "mean",
            variance=((_.unknown == 0) & (_.n > 1)).ifelse(_.centred / (_.n - 1), ibis.null("float64")),
        )
    )
