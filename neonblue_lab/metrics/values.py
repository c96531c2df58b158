"""What each exposed user's events come down to: one row for each user of each experiment, one number for each metric."""

from collections.abc import Iterable, Mapping
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis import _

from neonblue_lab.metrics.definitions import SHARES, Measure, Metric
from neonblue_lab.metrics.expressions import parse_condition, parse_number
from neonblue_lab.metrics.properties import Reader
from neonblue_lab.metrics.ranks import order_statistic
from neonblue_lab.metrics.relations import exposed, table


def columns(metric: Metric) -> tuple[str, ...]:
    """Which columns of `joint.COLUMNS` a metric has: y, the denominator d, the covariates x and w."""
    own = ("y", "d") if metric.per is not None else ("y",)
    return own if metric.covariate_days is None else (*own, *("x", "w")[: len(own)])


def user_values(metrics: Mapping[str, Metric], wanted: Iterable[str] | None, dialect: str) -> ir.Table:
    """Exposed users' numbers: experiment_id, variant_id, user_id and, for each metric, its `columns` with its suffix.

    Users seen in more than one variant are left out. Null for a user who is not counted: one whose window is not over when
    the experiment or the data ends, or, of a quantile over users `with_event`, one without.

    Args:
        metrics: suffix -> metric that is computed from events.
        wanted: experiments to restrict to; all where None.
        dialect: the engine that will run it.
    """
    kinds = {m.event for metric in metrics.values() for m in (metric, metric.per) if m is not None and m.event}
    events = table("events").filter(_.event_type.isin(sorted(kinds)), _.user_id.notnull())
    events = events.select("user_id", "event_type", "value", "properties", happened_at="timestamp")
    joined = exposed(wanted).left_join(events, "user_id")
    numbers = {
        f"{column}_{suffix}": number
        for suffix, metric in metrics.items()
        for column, number in _numbers(joined, metric, dialect).items()
    }
    by_user = joined.group_by("experiment_id", "variant_id", "user_id").aggregate(
        exposed_at=_.exposed_at.min(), ended_at=_.ended_at.max(), **numbers
    )
    values = _of_finished_windows(by_user, metrics)
    return _capped(values, metrics).select("experiment_id", "variant_id", "user_id", *numbers)


def _numbers(joined: ir.Table, metric: Metric, dialect: str) -> dict[str, Any]:
    """A metric's columns as aggregates of a user's events."""
    since, now = joined.exposed_at, joined.happened_at
    first, last = (0.0, None) if metric.window is None else metric.window
    during = (now >= since + _days(first)) & (joined.ended_at.isnull() | (now <= joined.ended_at))
    if last is not None:
        during &= now < since + _days(last)
    parts: dict[str, tuple[Measure, Any]] = {"y": (metric, during)}
    if metric.per is not None:
        parts["d"] = (metric.per, during)
    if metric.covariate_days is not None:
        before = (now >= since - _days(metric.covariate_days)) & (now < since)
        parts |= {after: (measure, before) for after, (measure, _during) in zip("xw", parts.values(), strict=False)}
    return {column: _number(joined, metric, *part, dialect) for column, part in parts.items()}


def _number(joined: ir.Table, metric: Metric, measure: Measure, within: Any, dialect: str) -> Any:
    """A user's number; 0 without an event."""
    reader = Reader(joined, dialect)
    such = (joined.event_type == measure.event) & within
    if measure.where is not None:
        such &= reader.read(parse_condition(measure.where))
    such = such.fill_null(False)
    count = such.ifelse(1, 0).sum()
    if metric.kind in SHARES:
        return (count > 0).ifelse(1.0, 0.0)
    if measure.of in (None, "count"):
        number = count.cast("float64")
    else:
        of_event = reader.read(parse_number(str(measure.of)))
        # Without a condition inside, no engine has a say in what an aggregate of no rows is.
        number = getattr(such.ifelse(of_event, ibis.null("float64")), measure.per_user)()
    if metric.users == "with_event":
        return (count > 0).ifelse(number, ibis.null("float64"))
    return number.coalesce(0.0)


def _of_finished_windows(by_user: ir.Table, metrics: Mapping[str, Metric]) -> ir.Table:
    """Null in the place of the numbers of users whose window is not over."""
    windows = {suffix: metric.window[1] for suffix, metric in metrics.items() if metric.window is not None}
    if not windows:
        return by_user
    observed = by_user.cross_join(table("events").aggregate(data_end=_.timestamp.max()))
    observed = observed.mutate(
        seen_until=(observed.ended_at.notnull() & (observed.ended_at < observed.data_end)).ifelse(
            observed.ended_at, observed.data_end
        )
    )
    kept = {
        name: (observed.exposed_at + _days(days) <= observed.seen_until).ifelse(observed[name], ibis.null("float64"))
        for suffix, days in windows.items()
        for name in (f"{column}_{suffix}" for column in columns(metrics[suffix]))
    }
    return observed.mutate(**kept)


def _capped(values: ir.Table, metrics: Mapping[str, Metric]) -> ir.Table:
    """Numbers above a cap replaced by it, in the covariate as in what it stands for."""
    fixed: dict[str, Any] = {}
    of_all: dict[str, Any] = {}
    for suffix, metric in metrics.items():
        for column, measure in (("y", metric), ("d", metric.per)):
            if measure is None:
                continue
            if measure.cap is not None:
                fixed[f"{column}_{suffix}"] = measure.cap
            if measure.cap_percentile is not None:
                of_all[f"{column}_{suffix}"] = order_statistic(
                    values[f"{column}_{suffix}"], measure.cap_percentile / 100
                )
    if of_all:
        caps = values.group_by("experiment_id").aggregate(**{f"cap_{name}": cap for name, cap in of_all.items()})
        values = values.join(caps, "experiment_id")
    limits = {name: ibis.literal(cap, "float64") for name, cap in fixed.items()}
    limits |= {name: values[f"cap_{name}"] for name in of_all}
    limits |= {
        before: limit
        for name, limit in limits.items()
        if (before := {"y": "x", "d": "w"}[name[0]] + name[1:]) in values.columns
    }
    return values.mutate(**{name: (values[name] > limit).ifelse(limit, values[name]) for name, limit in limits.items()})


def _days(days: float) -> Any:
    """An interval, to the second."""
    return ibis.interval(seconds=round(days * 86_400))
