"""The statistics of an experiment's parts: users by the day on which they came in, and by segment."""

from collections.abc import Iterable, Mapping, Sequence

import ibis
import ibis.expr.types as ir
import numpy as np
import polars as pl
from ibis import _

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.metrics.expressions import Field
from neonblue_lab.metrics.joint import joint_moments, second_moment
from neonblue_lab.metrics.properties import Reader
from neonblue_lab.metrics.relations import Engine, exposed, restrict, run, table
from neonblue_lab.metrics.statistics import STATISTICS_SCHEMA, collect, conform, joint, of_moments
from neonblue_lab.metrics.values import columns, user_values
from neonblue_lab.stats.joint import JointMoments, pooled
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
        dimension: the key of `properties` that states a user's segment, such as `device_type`: what the earliest event of
            the user that has it states (of several at one moment the smallest). NOT_STATED where none does.
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


def users_of(warehouse: Engine, metric: Metric, experiment_id: str, variant_id: str) -> pl.DataFrame:
    """One variant's users with their numbers: user_id and the metric's columns out of y, d, x, w; users who do not count are
    left out.

    Raises:
        BadInput: the metric arrives as aggregates, or is a quantile.
        NotFound: there are no such users.
    """
    if metric.event is None or metric.quantile is not None:
        kind = "is a quantile" if metric.quantile is not None else "arrives as aggregates"
        raise BadInput(f"Metric {metric.name} {kind}: it has no number for each user that could be added up.")
    values = user_values({"0": metric}, [experiment_id], warehouse.dialect).filter(_.variant_id == variant_id)
    named = run(warehouse, values).rename({f"{column}_0": column for column in columns(metric)})
    found = named.drop("experiment_id", "variant_id").drop_nulls().sort("user_id")
    if found.is_empty():
        raise NotFound(
            f"Variant {variant_id} of experiment {experiment_id} has no users with a number of {metric.name}."
        )
    return found


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
    """Metrics that arrive as aggregates, all units up to the last end of a period on each day: columns of STATISTICS_SCHEMA
    and `day` (UTC); a period that ends at midnight belongs to the day before. Of totals with the same start the latest end by
    then counts; different starts are disjoint periods. Totals without a period are left out."""
    rows = restrict(table("metric_totals"), experiments)
    rows = rows.filter(_.segment.isnull(), _.period_start.notnull(), _.period_end.notnull())
    key, period = ["experiment_id", "metric", "variant_id"], ["period_start", "period_end"]
    rank = ibis.row_number().over(group_by=[*key, *period], order_by=[ibis.desc("as_of"), "event_id"])
    newest = run(warehouse, rows.mutate(rank=rank).filter(_.rank == 0).drop("rank"))
    newest = newest.with_columns(ends=(pl.col("period_end") - pl.duration(microseconds=1)).dt.date())
    upto = newest.join(newest.select(*key, day="ends").unique(), on=key).filter(pl.col("ends") <= pl.col("day"))
    latest = upto.sort("period_end").unique([*key, "day", "period_start"], keep="last").sort(*key, "day")
    if latest.is_empty():
        return pl.DataFrame(schema=STATISTICS_SCHEMA | {"day": pl.Date()})
    groups = latest.select(pl.struct(*key, "day").rle_id()).to_series()
    whole = combine(Moments(latest["n"], latest["mean"], latest["variance"]), groups)
    found = latest.group_by(*key, "day", maintain_order=True).agg(pl.col("kind").first())
    found = found.with_columns(n=pl.Series(whole.n), mean=pl.Series(whole.mean), variance=pl.Series(whole.variance))
    return conform(found).hstack([found["day"]])


def accumulated(daily: pl.DataFrame) -> pl.DataFrame:
    """All users who came in by the end of each day on which any did, out of `by_day`, in its columns."""
    frames = [daily.clear()]
    for measured in (("y",), ("y", "x"), ("y", "d"), ("y", "d", "x", "w")):
        absent = [pl.col(f"mean_{c}").is_null() for c in ("d", "x", "w") if c not in measured]
        present = [pl.col(f"mean_{c}").is_not_null() for c in measured]
        frames += _running(daily.filter(*absent, *present, pl.col("n") > 0), measured)
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
    users = exposed(wanted).select("experiment_id", "user_id")
    events = table("events").filter(_.user_id.notnull(), _.properties.notnull()).semi_join(users, "user_id")
    part = Reader(events, dialect).read(Field((dimension,), "text"))
    stated = events.select("user_id", "timestamp", part=part).filter(_.part.notnull())
    earliest = stated.group_by("user_id").aggregate(timestamp=_.timestamp.min())
    first = stated.join(earliest, ["user_id", "timestamp"]).group_by("user_id").aggregate(part=_.part.min())
    return users.left_join(first, "user_id").select("experiment_id", "user_id", part=_.part.coalesce(NOT_STATED))


def _running(daily: pl.DataFrame, measured: tuple[str, ...]) -> list[pl.DataFrame]:
    """A frame for each day: every arm so far of the metrics that have users of that day. Folded day by day, as the days of
    all days would be as many rows as the square of them."""
    arms = daily.select(*_TELL_APART).unique(maintain_order=True).with_row_index("arm")
    k = len(measured)
    n, mean, covariance = np.zeros(arms.height), np.full((arms.height, k), np.nan), np.full((arms.height, k, k), np.nan)
    frames = []
    for (day,), today in daily.join(arms, on=_TELL_APART).sort("day").group_by("day", maintain_order=True):
        rows = today["arm"].to_numpy()
        whole = pooled(JointMoments(measured, n[rows], mean[rows], covariance[rows]), joint(today, measured))
        n[rows], mean[rows], covariance[rows] = whole.n, whole.mean, whole.covariance
        there = arms.filter(pl.Series(n > 0)).join(today, on=["experiment_id", "metric"], how="semi")
        rows = there["arm"].to_numpy()
        so_far = JointMoments(measured, n[rows], mean[rows], covariance[rows])
        frames.append(conform(_with_numbers(there, so_far)).with_columns(day=pl.lit(day, pl.Date)))
    return frames


def _with_numbers(arms: pl.DataFrame, whole: JointMoments) -> pl.DataFrame:
    moments = linearised(whole)
    numbers = {"n": whole.n, "mean": moments.mean, "variance": moments.variance}
    for i, first in enumerate(whole.columns):
        numbers[f"mean_{first}"] = whole.mean[:, i]
        for j, second in enumerate(whole.columns[i:], i):
            numbers[second_moment(first, second)] = whole.covariance[:, i, j]
    return arms.with_columns(pl.Series(name, values) for name, values in numbers.items())
