"""One experiment in detail: its lifts over time and by segment, and how its units were split: where a split broke, whether an
effect wears off, whether segments differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import polars as pl

from neonblue_lab.insights.arms import pairs_of
from neonblue_lab.insights.evidence import TUNED_AT, moments_of
from neonblue_lab.metrics import parts
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.stats.always_valid import confidence_sequence
from neonblue_lab.stats.arrays import Floats
from neonblue_lab.stats.effects import Effects, log_lifts
from neonblue_lab.stats.multiplicity import holm
from neonblue_lab.stats.novelty import trend
from neonblue_lab.stats.ratio_diagnosis import broken_span, by_part
from neonblue_lab.stats.segments import interaction
from neonblue_lab.warehouse.warehouse import Warehouse

DIMENSIONS = ("device_type", "traffic_source", "user_segment")
"""Keys of `properties` that state a user's segment."""

BROKEN = 0.001
AGES = ((0.0, 1.0), (1.0, 3.0), (3.0, 7.0), (7.0, 15.0))
"""Windows of days since exposure over which an effect is followed, each twice as long as the one before: few do anything on
one late day."""

_SPLIT: dict[str, pl.DataType] = {"variant_id": pl.String(), "units": pl.Int64(), "allocation": pl.Float64()}
_LIFTS = ("lift", "lift_low", "lift_high")


@dataclass(frozen=True)
class Details:
    """Frames in the columns that the charts of `plots` take, and what follows from them in sentences.

    Attributes:
        over_time: metric, variant_id, day, lift, lift_low, lift_high, always_low, always_high: of all users who came in by the
            end of that day.
        splits_by_day: day, variant_id, units (new ones of that day), allocation. Empty without assignments.
        splits_by_segment: dimension, segment, variant_id, units, allocation.
        segments: dimension, segment, metric, variant_id, lift and its interval, shrunk, shrunk_low, shrunk_high,
            interaction_p (Cochran's Q over the dimension, Holm over the dimensions).
        by_age: metric, variant_id, day (the middle one of a window of AGES, counted from 1), lift, lift_low, lift_high.
        findings: sentences, the weightiest first.
    """

    over_time: pl.DataFrame
    splits_by_day: pl.DataFrame
    splits_by_segment: pl.DataFrame
    segments: pl.DataFrame
    by_age: pl.DataFrame
    findings: list[str]


def details(
    warehouse: Warehouse,
    metrics: Mapping[str, Metric],
    experiment_id: str,
    variants: pl.DataFrame,
    primary: str,
    *,
    dimensions: Sequence[str] = DIMENSIONS,
    tuned_at: float = TUNED_AT,
    alpha: float = 0.05,
) -> Details:
    """Look into one experiment.

    Args:
        warehouse: pinned data.
        metrics: definitions by name.
        experiment_id: which.
        variants: its defined variants: experiment_id, variant_id, position (0 is the control), allocation.
        primary: the metric whose effect is followed since exposure.
        dimensions: keys of `properties` to look at segments by.
        tuned_at: as of `evidence`.
        alpha: 1 - coverage.
    """
    one = [experiment_id]
    daily = parts.accumulated(parts.by_day(warehouse, metrics, one))
    cumulative = pl.concat([daily, parts.of_periods(warehouse, one)])
    over_time = _with_lifts(_pairs(cumulative, variants, "day"), alpha, tuned_at)
    days, by_segment = splits(warehouse, experiment_id, variants, dimensions=dimensions)
    several = by_segment["dimension"].unique(maintain_order=True)
    pairs = [
        _pairs(parts.by_segment(warehouse, metrics, one, name), variants, "segment").with_columns(
            dimension=pl.lit(name)
        )
        for name in several
    ]
    segments = _segments(pl.concat(pairs), alpha) if pairs else pl.DataFrame()
    ages = pl.DataFrame()
    if primary in metrics and metrics[primary].event is not None and metrics[primary].quantile is None:
        aged = parts.by_age(warehouse, metrics[primary], one, AGES)
        middle = {index: (since + 1 + until) / 2 for index, (since, until) in enumerate(AGES)}
        ages = _with_lifts(_pairs(aged, variants, "window"), alpha, tuned_at).with_columns(
            day=pl.col("window").replace_strict(middle, return_dtype=pl.Float64)
        )
    findings = [
        *where_broken(days, by_segment),
        *_novelty(ages, primary, alpha),
        *_differing(segments, primary, alpha),
    ]
    return Details(over_time, days, by_segment, segments, ages, findings)


def splits(
    warehouse: Warehouse, experiment_id: str, variants: pl.DataFrame, *, dimensions: Sequence[str] = DIMENSIONS
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """How units were split by day and by segment: `splits_by_day` and `splits_by_segment` of `Details`; a dimension of which
    all users are in one segment is left out."""
    one = [experiment_id]
    days = _split(parts.users_by_day(warehouse, one), variants, "day")
    found = [pl.DataFrame(schema={"segment": pl.String(), **_SPLIT, "dimension": pl.String()})]
    for dimension in dimensions:
        counted = parts.users_by_segment(warehouse, one, dimension)
        if counted["segment"].n_unique() > 1:
            found.append(_split(counted, variants, "segment").with_columns(dimension=pl.lit(dimension)))
    return days, pl.concat(found)


def _pairs(statistics: pl.DataFrame, variants: pl.DataFrame, part: str) -> pl.DataFrame:
    arms = statistics.join(variants, on=["experiment_id", "variant_id"], how="inner", maintain_order="left")
    return pairs_of(arms, within=[part]).sort("metric", "position", part)


def _lifts(pairs: pl.DataFrame) -> Effects:
    return log_lifts(moments_of(pairs, "_control"), moments_of(pairs, ""))


def _with_lifts(pairs: pl.DataFrame, alpha: float, tuned_at: float) -> pl.DataFrame:
    """Lifts with the interval to be read once and the one to be read any day, both on the log scale."""
    lift = _lifts(pairs)
    units = (pairs["n"] + pairs["n_control"]).cast(pl.Float64).to_numpy()
    half = _quantile(alpha) * lift.standard_error
    always = confidence_sequence(lift.estimate, lift.standard_error, units, tuned_at=tuned_at, alpha=alpha)
    ends = (lift.estimate, lift.estimate - half, lift.estimate + half, always.low, always.high)
    columns = zip((*_LIFTS, "always_low", "always_high"), ends, strict=True)
    return pairs.with_columns(pl.Series(name, np.expm1(values), nan_to_null=True) for name, values in columns)


def _segments(pairs: pl.DataFrame, alpha: float) -> pl.DataFrame:
    """Raw and shrunk lifts of segments, with a test of whether they differ, for each dimension, metric and variant."""
    lift, half = _lifts(pairs), _quantile(alpha)
    rows = pairs.select("dimension", "segment", "metric", "variant_id").with_columns(
        estimate=pl.Series(lift.estimate), error=pl.Series(lift.standard_error)
    )
    out = []
    for _, part in rows.group_by("dimension", "metric", "variant_id", maintain_order=True):
        estimate, error = part["estimate"].to_numpy(), part["error"].to_numpy()
        found = interaction(estimate, error, alpha=alpha)
        shrunk = found.segments
        numbers = {
            "lift": estimate,
            "lift_low": estimate - half * error,
            "lift_high": estimate + half * error,
            "shrunk": shrunk.effect,
            "shrunk_low": shrunk.low,
            "shrunk_high": shrunk.high,
        }
        out.append(
            part.drop("estimate", "error").with_columns(
                *(pl.Series(name, np.expm1(values), nan_to_null=True) for name, values in numbers.items()),
                interaction_p=pl.lit(float(found.test.p_value), pl.Float64).fill_nan(None),
            )
        )
    return _held_over_dimensions(pl.concat(out))


def _held_over_dimensions(segments: pl.DataFrame) -> pl.DataFrame:
    """Tests of interaction adjusted over the dimensions of each metric and variant (Holm)."""
    tests = segments.select("dimension", "metric", "variant_id", "interaction_p").unique(maintain_order=True)
    families = tests.select(pl.struct("metric", "variant_id").rank("dense") - 1).to_series()
    adjusted = holm(tests["interaction_p"].fill_null(float("nan")).to_numpy(), families.to_numpy())
    tests = tests.with_columns(interaction_p=pl.Series(adjusted, nan_to_null=True))
    return segments.drop("interaction_p").join(
        tests, on=["dimension", "metric", "variant_id"], how="left", maintain_order="left"
    )


def _split(counted: pl.DataFrame, variants: pl.DataFrame, part: str) -> pl.DataFrame:
    """Units of every defined variant in every part: a variant without a row in one got none there."""
    own = variants.join(counted, on="experiment_id", how="semi").select("variant_id", "position", "allocation")
    whole = counted.select(part).unique().sort(part).join(own, how="cross")
    found = whole.join(counted.select(part, "variant_id", "units"), on=[part, "variant_id"], how="left")
    return found.sort(part, "position").select(part, "variant_id", pl.col("units").fill_null(0), "allocation")


def _counts(split: pl.DataFrame, part: str) -> tuple[list[object], Floats, Floats]:
    """The parts, units of shape (parts, variants), and the variants' allocation."""
    names = split[part].unique(maintain_order=True).to_list()
    observed = split["units"].cast(pl.Float64).to_numpy().reshape(len(names), -1)
    allocation = split["allocation"].cast(pl.Float64).fill_null(float("nan")).to_numpy()[: observed.shape[1]]
    return names, observed, allocation


def where_broken(days: pl.DataFrame, by_segment: pl.DataFrame) -> list[str]:
    """Where units were not split as planned, in sentences; frames as of `splits`."""
    if days.is_empty() or days["allocation"].null_count():
        return []
    found = []
    names, observed, allocation = _counts(days, "day")
    span = broken_span(observed, allocation)
    if float(span.p_value) < BROKEN:
        first, last = int(span.first), int(span.last)
        when = f"on {names[first]}" if first == last else f"from {names[first]} to {names[last]}"
        throughout = last - first + 1 == len(names)
        found.append(
            f"The split differs from the plan {'throughout' if throughout else when}: {_listed(observed[first : last + 1].sum(0))} "
            f"units in the variants (scan over all spans of days, p = {float(span.p_value):.2g})."
        )
    alike = []
    for (dimension, *_), part in by_segment.group_by("dimension", maintain_order=True):
        names, observed, allocation = _counts(part, "segment")
        checked = by_part(observed, allocation)
        if not float(checked.overall.p_value) < BROKEN:
            continue
        if not float(checked.uneven.p_value) < BROKEN:
            alike.append(str(dimension))
            continue
        adjusted = holm(checked.part.p_value)
        for index in np.flatnonzero(adjusted < BROKEN):
            alone = " Without it the split is as planned." if checked.without.p_value[index] >= 0.05 else ""
            found.append(
                f"The split is broken for {dimension!s} {names[index]!s}: {_listed(observed[index])} units in the variants (p = "
                f"{adjusted[index]:.2g}, Holm over its segments).{alone}"
            )
    if alike:
        found.append(
            f"It is broken alike whatever the {' or '.join(alike)}: look for the cause where all users pass, in the assignment or "
            "in the logging of exposures."
        )
    return found


def _listed(units: Floats) -> str:
    return " : ".join(f"{count:,.0f}" for count in units)


def _novelty(ages: pl.DataFrame, primary: str, alpha: float) -> list[str]:
    """Whether the effect changes with the days since exposure."""
    found = []
    for (variant,), part in ages.group_by("variant_id", maintain_order=True) if ages.height else ():
        lift = _lifts(part)
        line = trend(part["day"].to_numpy(), lift.estimate, lift.standard_error, alpha=alpha)
        if float(line.p_value) < alpha:
            first, last = np.expm1(float(line.first)), np.expm1(float(line.last))
            word = "wears off" if abs(last) < abs(first) else "grows"
            found.append(
                f"The effect of {variant} on {primary} {word} with the days since exposure: {first:+.1%} on the first, {last:+.1%} "
                f"about day {part['day'][-1]:g} (p = {float(line.p_value):.2g}; line on the logarithm of the day)."
            )
    return found


def _differing(segments: pl.DataFrame, primary: str, alpha: float) -> list[str]:
    """Whether segments differ by more than noise."""
    if segments.is_empty():
        return []
    tests = (
        segments.filter(metric=primary).select("dimension", "variant_id", "interaction_p").unique(maintain_order=True)
    )
    found = []
    for dimension, variant, p_value in tests.iter_rows():
        if p_value is not None and p_value < alpha:
            found.append(
                f"The effect of {variant} on {primary} differs by {dimension} (Cochran's Q, p = {p_value:.2g}, Holm over the "
                "dimensions): read the shrunk lifts, not the raw ones."
            )
    if tests["interaction_p"].drop_nulls().len() and not found:
        found.append(
            f"No segment differs from the others by more than noise on {primary} ({', '.join(tests['dimension'].unique(maintain_order=True))})."
        )
    return found


def _quantile(alpha: float) -> float:
    return NormalDist().inv_cdf(1 - alpha / 2)
