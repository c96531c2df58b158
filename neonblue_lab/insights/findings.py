"""Sentences that follow from a table of measures: where a number is highest, how it changed, what to look at next."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from neonblue_lab.insights.measures import Dimension, Measure
from neonblue_lab.stats.two_sample import two_proportions

ENOUGH = 100
"""A ratio is compared between groups only where it is divided by at least so many (users, sessions, purchases)."""
UNKNOWN = 0.2
"""A share of events above this that no dimension can place is worth a warning."""
ALPHA = 0.05

Numbers = Mapping[str, Any]


def insights(
    measures: Sequence[Measure],
    splits: Sequence[Dimension],
    groups: pl.DataFrame,
    overall: Numbers,
    weeks: tuple[Numbers, Numbers] | None,
) -> list[str]:
    """Sentences about each measure: its change from week to week, and the groups where it is highest and lowest.

    Args:
        measures: those asked for.
        splits: the dimensions of `groups`.
        groups: one row for each group, columns named like dimensions and measures, the bases of ratios included.
        overall: measure -> number over all groups.
        weeks: the same for the last complete week and the one before.
    """
    seen = [measure for measure in measures if overall[measure.name]]
    empty = [measure.name for measure in measures if measure not in seen]
    nothing = [f"Nothing in this period to compute {', '.join(empty)} from."] if empty else []
    changes = [_change(measure, *weeks) for measure in seen] if weeks else []
    extremes = [_extremes(measure, splits, groups, overall) for measure in seen] if splits else []
    return [sentence for sentence in [*nothing, *changes, *extremes] if sentence]


def recommendations(
    measures: Sequence[Measure], splits: Sequence[Dimension], groups: pl.DataFrame, overall: Numbers
) -> list[str]:
    """What to look at next, each with the number that says so."""
    found = []
    levels = {split.level for split in splits}
    if any(measure.name == "conversion_rate" for measure in measures) and levels & {"session", "user"}:
        found += _weakest(splits, groups, overall)
    found += [sentence for split in splits if (sentence := _unplaced(split, groups))]
    if "experiment" in levels:
        found.append(
            "These numbers describe; whether a variant made the difference is what `analyze_experiment_performance` tests."
        )
    return found


def _change(measure: Measure, last: Numbers, before: Numbers) -> str | None:
    value, earlier = last[measure.name], before[measure.name]
    if value is None or earlier is None:
        return None
    sentence = f"{measure.name} was {_shown(value, measure)} in the week of {last['week']}, {_shown(earlier, measure)} the week before"
    return f"{sentence} ({value / earlier - 1:+.1%})." if earlier else f"{sentence}."


def _extremes(measure: Measure, splits: Sequence[Dimension], groups: pl.DataFrame, overall: Numbers) -> str | None:
    """Where a measure is highest and lowest. The first and the last day or week may be cut short and do not count."""
    times = [split.name for split in splits if split.level == "time"]
    known = groups.filter(
        pl.col(measure.name).is_not_null(),
        *(pl.col(split.name).is_not_null() for split in splits),
        *(pl.col(name).is_between(pl.col(name).min(), pl.col(name).max(), closed="none") for name in times),
    )
    if measure.per:
        known = known.filter(pl.col(measure.per) >= ENOUGH)
    if known.height < 2:
        return None
    ordered = known.sort(measure.name, *(split.name for split in splits), descending=[True, *[False] * len(splits)])
    top, bottom = ordered.row(0, named=True), ordered.row(-1, named=True)
    cut = "".join(f", the first and the last {name} left out" for name in times)
    if top[measure.name] == bottom[measure.name]:
        return f"{measure.name} is the same, {_shown(top[measure.name], measure)}, in all {known.height:,} groups{cut}."
    high = f"{measure.name} is highest for {_label(top, splits)}, {_shown(top[measure.name], measure)}"
    low = f"lowest for {_label(bottom, splits)}, {_shown(bottom[measure.name], measure)}"
    if measure.per:
        among = f" (among {known.height:,} groups with at least {ENOUGH} {measure.per}{cut})"
        return f"{high}, and {low}{among}; overall it is {_shown(overall[measure.name], measure)}."
    share = (
        ""
        if overall[measure.name] <= 0
        else f" ({top[measure.name] / overall[measure.name]:.1%} of all {_shown(overall[measure.name], measure)})"
    )
    return f"{high}{share}, and {low}{cut}."


def _weakest(splits: Sequence[Dimension], groups: pl.DataFrame, overall: Numbers) -> list[str]:
    """The group that converts least, where chance does not explain it: tested against all other users, with the p-value
    multiplied by the number of groups (Bonferroni). Said only where each user is in one group, so that there are others."""
    if groups["users"].sum() != overall["users"]:
        return []
    sized = groups.filter(pl.col("users") >= ENOUGH, *(pl.col(split.name).is_not_null() for split in splits))
    if sized.height < 2:
        return []
    worst = sized.sort("conversion_rate").row(0, named=True)
    users, converted = worst["users"], round(worst["conversion_rate"] * worst["users"])
    all_users, all_converted = overall["users"], round(overall["conversion_rate"] * overall["users"])
    test = two_proportions(all_users - users, all_converted - converted, users, converted)
    if (
        not float(np.asarray(test.p_value)) * sized.height < ALPHA
        or worst["conversion_rate"] >= overall["conversion_rate"]
    ):
        return []
    gap = round((overall["conversion_rate"] - worst["conversion_rate"]) * users)
    return [
        f"Look at {_label(worst, splits)}: {worst['conversion_rate']:.2%} of its {users:,} users convert, against "
        f"{overall['conversion_rate']:.2%} overall, which chance does not explain. At the overall rate {gap:,} more of them "
        "would have converted."
    ]


def _unplaced(split: Dimension, groups: pl.DataFrame) -> str | None:
    if "events" not in groups.columns or split.level not in ("session", "user"):
        return None
    missing = groups.select(pl.col("events").filter(pl.col(split.name).is_null()).sum() / pl.col("events").sum()).item()
    if not missing > UNKNOWN:
        return None
    return f"{missing:.0%} of the events cannot be placed by {split.name}: record it with every {split.level}."


def _label(row: Numbers, splits: Sequence[Dimension]) -> str:
    return ", ".join(f"{split.name} {row[split.name]}" for split in splits)


def _shown(value: float, measure: Measure) -> str:
    if measure.unit == "share":
        return f"{value:.2%}"
    if measure.unit == "seconds":
        return f"{value:,.1f} s"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}"
