"""The statistics of an experiment's parts: users by the day on which they came in, and by segment."""

from collections.abc import Iterable, Mapping, Sequence

import ibis
import ibis.expr.types as ir
import polars as pl
from ibis import _

from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.metrics.expressions import Field
from neonblue_lab.metrics.joint import joint_moments
from neonblue_lab.metrics.properties import Reader
from neonblue_lab.metrics.relations import Engine, exposed, restrict, run, table
from neonblue_lab.metrics.statistics import STATISTICS_SCHEMA, collect, joint, of_moments
from neonblue_lab.metrics.values import columns, user_values
from neonblue_lab.stats import joint as joint_statistics
from neonblue_lab.stats.moments import Moments, combine
from neonblue_lab.stats.ratio import linearised

NOT_STATED = "(not stated)"
"""The segment of users of whom no event states one."""

_TELL_APART = ("experiment_id", "metric", "kind", "variant_id")


def by_day(warehouse: Engine, metrics: Mapping[str, Metric], experiments: Iterable[str]) -> pl.DataFrame:
    """Statistics of the users who were first exposed on each day (UTC): columns of STATISTICS_SCHEMA and `day`.

    What a user did later counts on the day on which the user came in. Quantiles and metrics that arrive as aggregates are
    not among them: `of_periods` has the latter.
    """
    wanted = list(experiments)
    days = exposed(wanted).select("experiment_id", "user_id", part=_.exposed_at.truncate("D"))
    found = _by_part(warehouse, metrics, wanted, days)
    return found.with_columns(day=pl.col("part").dt.date()).drop("part")


def by_segment(
    warehouse: Engine, metrics: Mapping[str, Metric], experiments: Iterable[str], dimension: str
) -> pl.DataFrame:
    """Statistics by segment: columns of STATISTICS_SCHEMA and `segment`.

    Args:
        warehouse: where to ask.
        metrics: definitions by name; quantiles and metrics that arrive as aggregates are left out.
        experiments: ids.
        dimension: the key of `properties` that states a user's segment, such as `device_type`: the first that any event of
            the user states. NOT_STATED where none does.
    """
    wanted = list(experiments)
    return _by_part(warehouse, metrics, wanted, _segments(warehouse.dialect, wanted, dimension)).rename(
        {"part": "segment"}
    )


def by_age(
    warehouse: Engine, metric: Metric, experiments: Iterable[str], windows: Sequence[tuple[float, float]]
) -> pl.DataFrame:
    """A metric of what users did in each window of days since their first exposure, such as (1, 3) for the second and third
    24 hours: columns of STATISTICS_SCHEMA and `window`, its index. A user counts in those that were over when the experiment
    or the data ended."""
    cut = {
        f"{i}": metric.model_copy(update={"name": f"{i}", "window": window, "covariate_days": None})
        for i, window in enumerate(windows)
    }
    found = collect(warehouse, cut, experiments).filter(pl.col("metric").is_in(list(cut)))
    return found.with_columns(window=pl.col("metric").cast(pl.Int64), metric=pl.lit(metric.name))


def users_by_day(warehouse: Engine, experiments: Iterable[str]) -> pl.DataFrame:
    """Users first exposed to each variant on each day (UTC): experiment_id, variant_id, day, units."""
    by = exposed(experiments).mutate(day=_.exposed_at.truncate("D")).group_by("experiment_id", "variant_id", "day")
    return run(warehouse, by.aggregate(units=_.count())).with_columns(pl.col("day").dt.date())


def users_by_segment(warehouse: Engine, experiments: Iterable[str], dimension: str) -> pl.DataFrame:
    """Exposed users of each variant in each segment: experiment_id, variant_id, segment, units."""
    wanted = list(experiments)
    placed = exposed(wanted).join(_segments(warehouse.dialect, wanted, dimension), ["experiment_id", "user_id"])
    return run(warehouse, placed.group_by("experiment_id", "variant_id", segment=_.part).aggregate(units=_.count()))


def of_periods(warehouse: Engine, experiments: Iterable[str]) -> pl.DataFrame:
    """Metrics that arrive as aggregates, all units up to each moment at which one of their periods ends: columns of
    STATISTICS_SCHEMA and `day`, the last one (UTC) before that moment. Of totals with the same start the latest end by then counts;
    different starts are disjoint periods. Totals without a period are left out."""
    rows = restrict(table("metric_totals"), experiments)
    rows = rows.filter(_.segment.isnull(), _.period_start.notnull(), _.period_end.notnull())
    key, period = ["experiment_id", "metric", "variant_id"], ["period_start", "period_end"]
    rank = ibis.row_number().over(group_by=[*key, *period], order_by=ibis.desc("as_of"))
    newest = run(warehouse, rows.mutate(rank=rank).filter(_.rank == 0).drop("rank"))
    ends = newest.select(*key, until="period_end").unique()
    upto = newest.join(ends, on=key).filter(pl.col("period_end") <= pl.col("until"))
    latest = upto.sort("period_end").unique([*key, "until", "period_start"], keep="last").sort(*key, "until")
    if latest.is_empty():
        return pl.DataFrame(schema=STATISTICS_SCHEMA | {"day": pl.Date()})
    groups = latest.select(pl.struct(*key, "until").rle_id()).to_series()
    whole = combine(Moments(latest["n"], latest["mean"], latest["variance"]), groups)
    found = latest.group_by(*key, "until", maintain_order=True).agg(pl.col("kind").first())
    found = found.with_columns(
        n=pl.Series(whole.n).cast(pl.Int64),
        mean=pl.Series(whole.mean).fill_nan(None),
        variance=pl.Series(whole.variance).fill_nan(None),
        day=(pl.col("until") - pl.duration(microseconds=1)).dt.date(),
    )
    missing = [name for name in STATISTICS_SCHEMA if name not in found.columns]
    return found.with_columns(pl.lit(None, STATISTICS_SCHEMA[name]).alias(name) for name in missing).select(
        *STATISTICS_SCHEMA, "day"
    )


def accumulated(daily: pl.DataFrame) -> pl.DataFrame:
    """All users who came in by the end of each day, out of `by_day`, in its columns."""
    days = daily.select("experiment_id", "metric", until="day").unique()
    upto = daily.join(days, on=["experiment_id", "metric"]).filter(pl.col("day") <= pl.col("until"))
    frames = []
    for measured in (("y",), ("y", "x"), ("y", "d"), ("y", "d", "x", "w")):
        absent = [pl.col(f"mean_{c}").is_null() for c in ("d", "x", "w") if c not in measured]
        present = [pl.col(f"mean_{c}").is_not_null() for c in measured]
        part = upto.filter(*absent, *present, pl.col("n") > 0).sort(*_TELL_APART, "until")
        if part.height:
            frames.append(_combined(part, measured))
    if not frames:
        return daily.clear()
    return pl.concat(frames).sort(*_TELL_APART, "day")


def _by_part(warehouse: Engine, metrics: Mapping[str, Metric], wanted: Sequence[str], parts: ir.Table) -> pl.DataFrame:
    computed = {name: m for name, m in metrics.items() if m.event is not None and m.quantile is None}
    numbered = {str(i): metric for i, metric in enumerate(computed.values())}
    if not numbered:
        return pl.DataFrame(schema=STATISTICS_SCHEMA | {"part": run(warehouse, parts.limit(0)).schema["part"]})
    values = user_values(numbered, wanted, warehouse.dialect).join(parts, ["experiment_id", "user_id"])
    relation = joint_moments(
        values, ["experiment_id", "variant_id", "part"], {i: columns(metric) for i, metric in numbered.items()}
    )
    wide = run(warehouse, relation)
    return pl.concat(
        of_moments(wide, i, metric.name, metric.kind, columns(metric)).hstack([wide["part"]])
        for i, metric in numbered.items()
    ).sort("experiment_id", "metric", "variant_id", "part")


def _segments(dialect: str, wanted: Sequence[str], dimension: str) -> ir.Table:
    """experiment_id, user_id and `part` of every exposed user."""
    events = table("events").filter(_.user_id.notnull(), _.properties.notnull())
    stated = events.select("user_id", "timestamp", part=Reader(events, dialect).read(Field((dimension,), "text")))
    first = stated.filter(_.part.notnull()).group_by("user_id").aggregate(part=_.part.argmin(_.timestamp))
    users = exposed(wanted).select("experiment_id", "user_id").left_join(first, "user_id")
    return users.select("experiment_id", "user_id", part=_.part.coalesce(NOT_STATED))


def _combined(part: pl.DataFrame, measured: tuple[str, ...]) -> pl.DataFrame:
    groups = part.select(pl.struct(*_TELL_APART, "until").rle_id()).to_series()
    whole = joint_statistics.combine(joint(part, measured), groups.to_numpy())
    moments = linearised(whole)
    key = part.select(*_TELL_APART, day="until").unique(maintain_order=True)
    numbers = {"n": whole.n, "mean": moments.mean, "variance": moments.variance}
    for i, first in enumerate(measured):
        numbers[f"mean_{first}"] = whole.mean[:, i]
        for j, second in enumerate(measured[i:], i):
            name = f"var_{first}" if i == j else f"cov_{first}{second}"
            numbers[name] = whole.covariance[:, i, j]
    found = key.with_columns(
        pl.Series(name, values, nan_to_null=True).cast(STATISTICS_SCHEMA[name]) for name, values in numbers.items()
    )
    missing = [name for name in STATISTICS_SCHEMA if name not in found.columns]
    return found.with_columns(pl.lit(None, STATISTICS_SCHEMA[name]).alias(name) for name in missing).select(
        *STATISTICS_SCHEMA, "day"
    )
