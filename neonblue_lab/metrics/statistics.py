"""Metrics to sufficient statistics: count, mean and variance of every experiment x metric x variant, by one query for what
is computed from events and one for what arrives as aggregates. Written in Ibis, so that any engine can run it.

Variances come from centred sums only; a raw sum of squares would lose every digit at a mean of 1e9.
"""

from collections.abc import Iterable, Mapping

import ibis
import ibis.expr.types as ir
import polars as pl
from ibis import _

from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.metrics.relations import exposed, exposures, outcomes, restrict, run, table
from neonblue_lab.stats.moments import Moments, combine
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
"""One row for each experiment x metric x variant. `mean` is null where n is 0; `variance` is the sample variance (n - 1),
null where it is not known."""


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
    totals = _merged(run(warehouse, latest_totals(wanted)))
    kinds = {name: metric.kind for name, metric in metrics.items()}
    totals = totals.with_columns(
        kind=pl.col("metric").replace_strict(kinds, default=pl.col("kind"), return_dtype=pl.String)
    )
    frames = [totals]
    if computed := [metric for metric in metrics.values() if metric.event is not None]:
        wide = run(warehouse, event_statistics(computed, wanted))
        from_events = pl.concat([_of_metric(wide, i, metric) for i, metric in enumerate(computed)])
        frames.append(from_events.join(totals, on=["experiment_id", "metric"], how="anti"))
    return pl.concat(frames).sort("experiment_id", "metric", "variant_id")


def users(warehouse: Warehouse, experiments: Iterable[str] | None = None) -> pl.DataFrame:
    """Exposed users of each variant, those seen in more than one left out: experiment_id, variant_id, users."""
    return run(warehouse, exposed(experiments).group_by("experiment_id", "variant_id").aggregate(users=_.count()))


def crossovers(warehouse: Warehouse, experiments: Iterable[str] | None = None) -> pl.DataFrame:
    """Users seen in more than one variant of an experiment (columns experiment_id, users). No statistic counts them."""
    variants = exposures(experiments).group_by("experiment_id", "user_id").aggregate(variants=_.count())
    return run(warehouse, variants.filter(_.variants > 1).group_by("experiment_id").aggregate(users=_.count()))


def _of_metric(wide: pl.DataFrame, index: int, metric: Metric) -> pl.DataFrame:
    """One metric's rows out of the wide result. The users without an event are merged in as zeros, after Chan, Golub and
    LeVeque (1983), "Algorithms for Computing the Sample Variance", eq. 2.1: a group of n - k zeros joins one of k values."""
    n, k = pl.col("n"), pl.col(f"k_{index}").fill_null(0)
    mean, variance = pl.col(f"mean_{index}").fill_null(0.0), pl.col(f"variance_{index}").fill_null(0.0)
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
    """For each experiment x variant: `n` exposed users and, for the i-th metric, the number `k_<i>` of them with an event
    from first exposure on (until the experiment's end, where it has one), and `mean_<i>` and `variance_<i>` over those k.

    Users seen in more than one variant are left out.
    """
    metrics = list(metrics)
    by_user = outcomes({m.event for m in metrics if m.event}, wanted).group_by("experiment_id", "variant_id", "user_id")
    values = by_user.aggregate(**{f"value_{i}": _per_user(metric) for i, metric in enumerate(metrics)})
    summaries = {
        name: aggregate
        for i in range(len(metrics))
        for name, aggregate in (
            (f"k_{i}", _[f"value_{i}"].count()),
            (f"mean_{i}", _[f"value_{i}"].mean()),
            (f"variance_{i}", _[f"value_{i}"].var(how="sample")),
        )
    }
    summary = values.group_by("experiment_id", "variant_id").aggregate(**summaries)
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


def latest_totals(wanted: Iterable[str] | None = None) -> ir.Table:
    """Aggregates without a segment, those that hold others left out: experiment_id, metric, variant_id, kind, n, mean,
    variance. Of totals with the same start of period the latest end counts (running totals); different starts are disjoint
    periods."""
    key = ["experiment_id", "metric", "variant_id"]
    rows = restrict(table("metric_totals"), wanted).filter(_.segment.isnull())
    rank = ibis.row_number().over(
        group_by=[*key, "period_start"], order_by=[ibis.desc("period_end"), ibis.desc("as_of")]
    )
    return rows.mutate(rank=rank).filter(_.rank == 0).select(*key, "kind", "n", "mean", "variance")


def _merged(periods: pl.DataFrame) -> pl.DataFrame:
    """Statistics over all periods of each experiment x metric x variant, in the columns of STATISTICS_SCHEMA. Where totals
    of a metric disagree on their kind, they are means, which shares are too."""
    key = ["experiment_id", "metric", "variant_id"]
    periods = periods.sort(key).with_columns(kind=pl.col("kind").min().over("experiment_id", "metric"))
    groups = periods.select(pl.struct(key).rle_id()).to_series()
    moments = combine(Moments(periods["n"], periods["mean"], periods["variance"]), groups)
    merged = periods.group_by(key, maintain_order=True).agg(pl.col("kind").first())
    return merged.with_columns(
        n=pl.Series(moments.n).cast(pl.Int64),
        mean=pl.Series(moments.mean, nan_to_null=True),
        variance=pl.Series(moments.variance, nan_to_null=True),
    ).select(pl.col(name).cast(dtype) for name, dtype in STATISTICS_SCHEMA.items())
