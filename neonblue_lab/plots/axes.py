"""Axes that read the same in every chart: counts, percentages and UTC time."""

import math

import polars as pl
from altair import Axis

_DAYS_OF_MONTH_TICKS = 200


def counts() -> Axis:
    """0, 500, 1.5k, 2M."""
    return Axis(tickCount=6, tickMinStep=1, labelExpr="datum.value == 0 ? '0' : format(datum.value, '~s')")


def numbers() -> Axis:
    """0.05, 1.8, 250, 1.5k."""
    return Axis(tickCount=6, labelExpr="format(datum.value, abs(datum.value) < 1000 ? ',~r' : '~s')")


def percent() -> Axis:
    """0%, 20%, ..., 100%."""
    return Axis(format=".0%", tickCount=5)


def time(times: pl.Series) -> Axis:
    """Days or, for long spans, months, of a UTC scale; the year stands below the first label and below each January.

    Args:
        times: what the axis shows; decides how fine its labels are.
    """
    first, last = times.min(), times.max()
    days = (last - first).total_seconds() / 86_400  # type: ignore[operator, union-attr]
    label = "%-d %b %H:%M" if 0 < days <= 2 else "%-d %b"
    ticks: int | dict[str, str | int] = 8
    if days > _DAYS_OF_MONTH_TICKS:
        months = next((months for months in (1, 2, 3, 6) if days / 30.4 / months <= 12), 12)
        label, ticks = "%b", {"interval": "month", "step": months}
    year = "datum.index == 0 || utcdayofyear(datum.value) == 1 ? utcFormat(datum.value, '%Y') : ''"
    return Axis(
        grid=False,
        tickCount=ticks,
        labelExpr=f"[utcFormat(datum.value, '{label}'), {year}]",
        labelOverlap="greedy",
    )


def days(times: pl.Series, *, labels: int) -> Axis:
    """At most `labels` days of a UTC scale, evenly apart, the first one with its year: for small pictures."""
    whole = times.dt.truncate("1d").unique().sort()
    apart = math.ceil(((whole[-1] - whole[0]).days + 1) / labels)
    shown = pl.datetime_range(whole[0], whole[-1], f"{apart}d", eager=True)
    label = "[utcFormat(datum.value, '%-d %b'), datum.index == 0 ? utcFormat(datum.value, '%Y') : '']"
    return Axis(grid=False, values=shown.dt.epoch("ms").to_list(), labelExpr=label)
