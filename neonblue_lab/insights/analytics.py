"""Named measures by named dimensions over a period, with what follows from the numbers in words."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
from pydantic import BaseModel

from neonblue_lab.errors import BadInput
from neonblue_lab.insights import findings
from neonblue_lab.insights.measures import DIMENSIONS, MEASURES, Dimension, Measure, Unit, choose, slice_sql
from neonblue_lab.warehouse.warehouse import Warehouse

Cell = str | int | float | date | None


class Week(BaseModel):
    """A measure in the last complete week (Monday to Sunday, UTC) and in the one before.

    Attributes:
        monday: first day of the last complete week.
        value: in that week.
        before: in the week before it.
        change: value / before - 1; None where `before` is 0 or not known.
    """

    monday: date
    value: int | float | None
    before: int | float | None
    change: float | None


class Total(BaseModel):
    """One measure over the whole period.

    Attributes:
        week: None where the period does not hold two complete weeks.
    """

    metric: str
    description: str
    unit: Unit
    value: int | float | None
    week: Week | None


class AnalyticsAnswer(BaseModel):
    """What was asked for, over one pinned version of the data.

    Attributes:
        data_version: the pinned versions of the lake's tables.
        metrics: name -> meaning, of each number in `rows`. Beside a ratio stands what it is divided by.
        dimensions: name -> meaning, of each way that `rows` are split.
        since, until: the period asked for, [since, until); None is open.
        first_event, last_event: the period that the data covers within it; None without events.
        rows: one for each group; times ascend, else the first metric descends. A dimension is None where nothing states it.
        total_rows: how many groups there are.
        truncated: `rows` holds only the first of them (of the latest times).
        totals: each metric over the whole period.
        insights: sentences that follow from the numbers.
        recommendations: what to look at next, with the reason.
    """

    data_version: str
    metrics: dict[str, str]
    dimensions: dict[str, str]
    since: datetime | None
    until: datetime | None
    first_event: datetime | None
    last_event: datetime | None
    rows: list[dict[str, Cell]]
    total_rows: int
    truncated: bool
    totals: list[Total]
    insights: list[str]
    recommendations: list[str]


def analytics(
    warehouse: Warehouse,
    *,
    metrics: Sequence[str],
    dimensions: Sequence[str] = (),
    since: date | datetime | None = None,
    until: date | datetime | None = None,
    limit: int = 200,
) -> AnalyticsAnswer:
    """Measure the events of a period.

    Args:
        warehouse: pinned data.
        metrics: names of `measures.MEASURES`.
        dimensions: names of `measures.DIMENSIONS`; none gives one row.
        since: first moment; a date is its midnight, and a time without a zone is in UTC.
        until: first moment after the period, likewise.
        limit: at most so many rows; the sentences are about all of them.

    Raises:
        BadInput: an unknown name (the message lists the known ones), a combination that would mean nothing, an empty
            period, or a limit below 1.
    """
    asked, splits = choose(metrics, dimensions)
    start, end = _moment(since), _moment(until)
    if start and end and start >= end:
        raise BadInput(f"The period from {since} up to {until} is empty: `since` must lie before `until`.")
    if limit < 1:
        raise BadInput(f"limit is {limit}: it must be at least 1.")
    measures = _with_bases(asked)
    period = [start, end]
    groups = warehouse.sql(_grouped(measures, splits), period)
    overall, *weekly = warehouse.sql(_overall(measures), period).to_dicts()
    if overall["last_event"] is None:
        insights, advice, weeks = ["The lake holds no events of this period."], [], None
    else:
        weeks = _last_two_weeks(weekly, overall, start)
        insights = findings.insights(asked, splits, groups, overall, weeks)
        advice = findings.recommendations(asked, splits, groups, overall)
    shown = _arranged(groups, splits, limit)
    return AnalyticsAnswer(
        data_version=warehouse.data_version,
        metrics={measure.name: measure.description for measure in measures},
        dimensions={split.name: split.description for split in splits},
        since=start,
        until=end,
        first_event=overall["first_event"],
        last_event=overall["last_event"],
        rows=shown.to_dicts(),
        total_rows=groups.height,
        truncated=groups.height > shown.height,
        totals=[_total(measure, overall, weeks) for measure in asked],
        insights=insights,
        recommendations=advice,
    )


def _moment(given: date | datetime | None) -> datetime | None:
    if given is None:
        return None
    if not isinstance(given, datetime):
        return _midnight(given)
    return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _with_bases(measures: Sequence[Measure]) -> list[Measure]:
    """The measures, and what their ratios are divided by."""
    bases = [MEASURES[measure.per] for measure in measures if measure.per]
    return list(dict.fromkeys([*measures, *bases]))


def _columns(measures: Sequence[Measure]) -> list[str]:
    return [f"{measure.sql} AS {measure.name}" for measure in measures]


def _grouped(measures: Sequence[Measure], splits: Sequence[Dimension]) -> str:
    names = [split.name for split in splits]
    times = [f"{split.name} DESC" for split in splits if split.level == "time"]
    order = [*times, f"{measures[0].name} DESC NULLS LAST", *names]
    grouping = f"GROUP BY {', '.join(names)}" if names else ""
    return f"{slice_sql(splits)} SELECT {', '.join([*names, *_columns(measures)])} FROM slice {grouping} ORDER BY {', '.join(order)}"


def _overall(measures: Sequence[Measure]) -> str:
    """The measures for each week, and in the row without a week over the whole period."""
    names = [*_columns(measures), "min(timestamp) AS first_event", "max(timestamp) AS last_event"]
    weekly = slice_sql([DIMENSIONS["week"]])
    return f"{weekly} SELECT week, {', '.join(names)} FROM slice GROUP BY GROUPING SETS ((week), ()) ORDER BY week NULLS FIRST"


def _arranged(groups: pl.DataFrame, splits: Sequence[Dimension], limit: int) -> pl.DataFrame:
    """The first `limit` groups, times ascending."""
    times = [split.name for split in splits if split.level == "time"]
    shown = groups.head(limit)
    return shown.sort(times, maintain_order=True) if times else shown


def _total(measure: Measure, overall: Mapping[str, Any], weeks: tuple[dict[str, Any], dict[str, Any]] | None) -> Total:
    return Total(
        metric=measure.name,
        description=measure.description,
        unit=measure.unit,
        value=overall[measure.name],
        week=None if weeks is None else _week(measure, *weeks),
    )


def _week(measure: Measure, last: Mapping[str, Any], before: Mapping[str, Any]) -> Week:
    value, earlier = last[measure.name], before[measure.name]
    change = value / earlier - 1 if value is not None and earlier else None
    return Week(monday=last["week"], value=value, before=earlier, change=change)


def _last_two_weeks(
    weekly: Sequence[dict[str, Any]], overall: Mapping[str, Any], since: datetime | None
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The last complete week and the one before it, which is complete too; None where there are no such two.

    A week is complete when the period includes its Monday from midnight on, the data begins no later than on that day, and
    it reaches the last hour of the Sunday.
    """
    first, last = overall["first_event"], overall["last_event"]
    complete = {
        week["week"]: week
        for week in weekly
        if first.date() <= week["week"]
        and (since is None or since <= _midnight(week["week"]))
        and last >= _midnight(week["week"] + timedelta(days=7)) - timedelta(hours=1)
    }
    if not complete:
        return None
    monday = max(complete)
    before = complete.get(monday - timedelta(days=7))
    return None if before is None else (complete[monday], before)
