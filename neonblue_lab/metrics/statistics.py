"""Metrics to sufficient statistics: count, mean and variance of every experiment x metric x variant, and the joint moments
that ratios and covariates need. Written in Ibis, so that any engine can run it.
"""

from collections.abc import Iterable, Mapping
from itertools import combinations_with_replacement

import ibis
import ibis.expr.types as ir
import numpy as np
import polars as pl
from ibis import _

from neonblue_lab.errors import BadInput
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.metrics.joint import joint_moments, moment_names, second_moment
from neonblue_lab.metrics.ranks import neighbourhoods, read_quantile
from neonblue_lab.metrics.relations import Engine, exposed, exposures, restrict, run, table
from neonblue_lab.metrics.values import columns, user_values
from neonblue_lab.stats.arrays import Floats
from neonblue_lab.stats.joint import JointMoments
from neonblue_lab.stats.moments import Moments, combine
from neonblue_lab.stats.ratio import linearised

STATISTICS_SCHEMA: dict[str, pl.DataType] = {
    "experiment_id": pl.String(),
    "metric": pl.String(),
    "kind": pl.String(),
    "variant_id": pl.String(),
    "n": pl.Int64(),
    "mean": pl.Float64(),
    "variance": pl.Float64(),
    **dict.fromkeys(moment_names(), pl.Float64()),
    **dict.fromkeys(("low", "high", "spacing_se"), pl.Float64()),
}
"""One row for each experiment x metric x variant.

- `mean` is null where n is 0: of a ratio it is the ratio, of a quantile the quantile.
- `variance` is that of one user (n - 1), so that variance / n is the squared standard error of `mean`: of a ratio by the
  delta method, of a quantile n times its squared `spacing_se`. Null where it is not known.
- `mean_y` to `cov_xw`: sample moments of a user's numbers. y is the value or numerator, d the denominator of a ratio, x and
  w are both before exposure. Null where a metric has no such column.
- `low`, `high`, `spacing_se`: of a quantile, the 95 % interval and the standard error by order statistics (`stats.quantiles`);
  null where there are too few users, and the last where both ends are one value.
"""


def collect(warehouse: Engine, metrics: Mapping[str, Metric], experiments: Iterable[str] | None = None) -> pl.DataFrame:
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
    totals = conform(
        totals.with_columns(
            kind=pl.col("metric").replace_strict(kinds, default=pl.col("kind"), return_dtype=pl.String),
            mean_y="mean",
            var_y="variance",
        )
    )
    frames = [totals]
    computed = {name: metric for name, metric in metrics.items() if metric.event is not None}
    for relation in _relations(computed, wanted, warehouse.dialect):
        from_events = _long(run(warehouse, relation), computed)
        frames.append(from_events.join(totals, on=["experiment_id", "metric"], how="anti"))
    return pl.concat(frames).sort("experiment_id", "metric", "variant_id")


def statistics_sql(metric: Metric, *, dialect: str = "duckdb", experiments: Iterable[str] | None = None) -> str:
    """The query by which a metric is computed from events, in an engine's SQL (`duckdb` or `clickhouse`).

    Raises:
        BadInput: the metric only arrives as aggregates, or the engine is not known.
    """
    if metric.event is None:
        raise BadInput(f"Metric {metric.name} is not computed: it arrives as aggregates (topic experiment_metrics).")
    wanted = None if experiments is None else list(experiments)
    [relation] = _relations({metric.name: metric}, wanted, dialect)
    return str(ibis.to_sql(relation, dialect=dialect))


def users(warehouse: Engine, experiments: Iterable[str] | None = None) -> pl.DataFrame:
    """Exposed users of each variant, those seen in more than one left out: experiment_id, variant_id, users."""
    return run(warehouse, exposed(experiments).group_by("experiment_id", "variant_id").aggregate(users=_.count()))


def crossovers(warehouse: Engine, experiments: Iterable[str] | None = None) -> pl.DataFrame:
    """Users seen in more than one variant of an experiment (columns experiment_id, users). No statistic counts them."""
    variants = exposures(experiments).group_by("experiment_id", "user_id").aggregate(variants=_.count())
    return run(warehouse, variants.filter(_.variants > 1).group_by("experiment_id").aggregate(users=_.count()))


def _relations(metrics: Mapping[str, Metric], wanted: list[str] | None, dialect: str) -> list[ir.Table]:
    """The queries of metrics that are computed from events: one for all moments, one for all quantiles. The i-th metric's
    columns have the suffix i."""
    numbered = {str(i): metric for i, metric in enumerate(metrics.values())}
    means = {i: metric for i, metric in numbered.items() if metric.quantile is None}
    ranked = {i: metric for i, metric in numbered.items() if metric.quantile is not None}
    by, relations = ["experiment_id", "variant_id"], []
    if means:
        values = user_values(means, wanted, dialect)
        relations.append(joint_moments(values, by, {i: columns(metric) for i, metric in means.items()}))
    if ranked:
        values = user_values(ranked, wanted, dialect)
        relations.append(
            neighbourhoods(values, by, {i: metric.quantile for i, metric in ranked.items() if metric.quantile})
        )
    return relations


def _long(wide: pl.DataFrame, metrics: Mapping[str, Metric]) -> pl.DataFrame:
    """The result of one of `_relations` in the columns of STATISTICS_SCHEMA, one row for each metric."""
    return pl.concat(
        of_moments(wide, str(i), metric.name, metric.kind, columns(metric))
        if metric.quantile is None
        else of_ranks(wide, str(i), metric.name, metric.quantile)
        for i, metric in enumerate(metrics.values())
        if f"n_{i}" in wide.columns
    )


def of_moments(wide: pl.DataFrame, suffix: str, name: str, kind: str, measured: tuple[str, ...]) -> pl.DataFrame:
    """One metric's rows in the columns of STATISTICS_SCHEMA, out of what `joint_moments` returned.

    Args:
        wide: with experiment_id, variant_id and the metric's columns.
        suffix: of the metric's columns in it.
        name: of the metric.
        kind: of the metric.
        measured: which of y, d, x, w it has.
    """
    numbers = {c: _floats(wide[f"{c}_{suffix}"]) for c in ("n", *moment_names(measured))}
    moments = linearised(_joint(numbers, tuple(column for column in measured if column in ("y", "d"))))
    return _rows(wide, name, kind, numbers | {"mean": moments.mean, "variance": moments.variance})


def of_ranks(wide: pl.DataFrame, suffix: str, name: str, quantile: float) -> pl.DataFrame:
    """One quantile's rows in the columns of STATISTICS_SCHEMA, out of what `neighbourhoods` returned; see `of_moments`."""
    found = read_quantile(wide, suffix, quantile)
    moments = found.moments()
    numbers = {"n": _floats(wide[f"n_{suffix}"]), "mean": moments.mean, "variance": moments.variance}
    numbers |= {"low": found.low, "high": found.high, "spacing_se": found.standard_error}
    return _rows(wide, name, "quantile", {c: np.where(np.isfinite(v), v, np.nan) for c, v in numbers.items()})


def joint(statistics: pl.DataFrame, measured: tuple[str, ...]) -> JointMoments:
    """Joint moments, shape (rows,), of the columns `measured` (out of y, d, x, w) of frames such as `collect` returns."""
    return _joint({c: _floats(statistics[c]) for c in ("n", *moment_names(measured))}, measured)


def _joint(numbers: Mapping[str, Floats], measured: tuple[str, ...]) -> JointMoments:
    means = {column: numbers[f"mean_{column}"] for column in measured}
    pairs = combinations_with_replacement(measured, 2)
    return JointMoments.of(numbers["n"], means, {a + b: numbers[second_moment(a, b)] for a, b in pairs})


def _floats(column: pl.Series) -> Floats:
    """Null as NaN."""
    return column.to_numpy().astype(np.float64)


def _rows(wide: pl.DataFrame, name: str, kind: str, numbers: Mapping[str, Floats]) -> pl.DataFrame:
    """One metric's rows in the columns of STATISTICS_SCHEMA; null where there is no such number, or NaN."""
    texts = {"experiment_id": wide["experiment_id"], "variant_id": wide["variant_id"]}
    texts |= {
        "metric": pl.Series([name] * wide.height, dtype=pl.String),
        "kind": pl.Series([kind] * wide.height, dtype=pl.String),
    }
    none = np.full(wide.height, np.nan)
    return pl.DataFrame(
        {
            column: texts[column]
            if column in texts
            else pl.Series(numbers.get(column, none), nan_to_null=True).cast(dtype)
            for column, dtype in STATISTICS_SCHEMA.items()
        }
    )


def conform(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns of STATISTICS_SCHEMA, null where the frame has no such column."""
    return frame.select(
        (pl.col(name).fill_nan(None) if dtype == pl.Float64 else pl.col(name)).cast(dtype)
        if name in frame.columns
        else pl.lit(None, dtype).alias(name)
        for name, dtype in STATISTICS_SCHEMA.items()
    )


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
    """Count, mean and variance over all periods of each experiment x metric x variant, and its kind. Where totals of a
    metric disagree on their kind, they are means, which shares are too."""
    key = ["experiment_id", "metric", "variant_id"]
    periods = periods.sort(key).with_columns(kind=pl.col("kind").min().over("experiment_id", "metric"))
    groups = periods.select(pl.struct(key).rle_id()).to_series()
    moments = combine(Moments(periods["n"], periods["mean"], periods["variance"]), groups)
    merged = periods.group_by(key, maintain_order=True).agg(pl.col("kind").first())
    return merged.with_columns(
        n=pl.Series(moments.n).cast(pl.Int64),
        mean=pl.Series(moments.mean),
        variance=pl.Series(moments.variance),
    )
