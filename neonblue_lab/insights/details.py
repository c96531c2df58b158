"""One experiment in detail: its lifts over time and by segment, and how its units were split: where a split broke, whether an
effect wears off, whether segments differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import polars as pl

from neonblue_lab.insights.arms import pairs_of
from neonblue_lab.insights.evidence import TUNED_AT, moments_of
from neonblue_lab.insights.fading import AGES, MIDDLE, by_age
from neonblue_lab.insights.scorecard import SAMPLE_RATIO_ALPHA
from neonblue_lab.metrics import parts
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.stats.always_valid import confidence_sequence
from neonblue_lab.stats.arrays import Floats, Integers
from neonblue_lab.stats.effects import Effects, log_lifts
from neonblue_lab.stats.multiplicity import holm
from neonblue_lab.stats.novelty import trend
from neonblue_lab.stats.ratio_diagnosis import broken_span, by_part
from neonblue_lab.stats.segments import interaction
from neonblue_lab.warehouse.warehouse import Warehouse

DIMENSIONS = ("device_type", "traffic_source", "user_segment")
"""Keys of `properties` that state a user's segment."""

_SOUND = 0.05
"""A part with a larger one is not said to."""

_LIFT: dict[str, pl.DataType] = dict.fromkeys(("lift", "lift_low", "lift_high"), pl.Float64())
_ALWAYS: dict[str, pl.DataType] = dict.fromkeys(("always_low", "always_high"), pl.Float64())
_SHRUNK: dict[str, pl.DataType] = dict.fromkeys(("shrunk", "shrunk_low", "shrunk_high"), pl.Float64())
_SPLIT: dict[str, pl.DataType] = {"variant_id": pl.String(), "units": pl.Int64(), "allocation": pl.Float64()}
_OF_VARIANT: dict[str, pl.DataType] = {"metric": pl.String(), "variant_id": pl.String()}
_OF_SEGMENT: dict[str, pl.DataType] = {"dimension": pl.String(), "segment": pl.String()}

OVER_TIME_SCHEMA: dict[str, pl.DataType] = {**_OF_VARIANT, "day": pl.Date(), **_LIFT, **_ALWAYS}
SPLITS_BY_DAY_SCHEMA: dict[str, pl.DataType] = {"day": pl.Date(), **_SPLIT}
SPLITS_BY_SEGMENT_SCHEMA: dict[str, pl.DataType] = {**_OF_SEGMENT, **_SPLIT}
SEGMENTS_SCHEMA: dict[str, pl.DataType] = {
    **_OF_SEGMENT,
    **_OF_VARIANT,
    **_LIFT,
    **_SHRUNK,
    "interaction_p": pl.Float64(),
}
BY_AGE_SCHEMA: dict[str, pl.DataType] = {**_OF_VARIANT, "day": pl.Float64(), **_LIFT}

_LISTED = 6
"""Of how many variants a sentence lists the units."""


@dataclass(frozen=True)
class Details:
    """Frames in the columns that the charts of `plots` take, and what follows from them in sentences.

    A metric of which the experiment has aggregates is taken from them alone, as in the readout. Lifts are null where there is
    none, such as of a control without any conversion yet.

    Attributes:
        over_time: OVER_TIME_SCHEMA: lifts of all users who came in by the end of each day, with the interval to be read once
            and the one to be read any day.
        splits_by_day: SPLITS_BY_DAY_SCHEMA: new units of each day in each variant, and the share meant for it. Empty without
            assignments.
        splits_by_segment: SPLITS_BY_SEGMENT_SCHEMA.
        segments: SEGMENTS_SCHEMA: raw and shrunk lifts by segment; `interaction_p` is that of Cochran's Q over the segments
            of the dimension, adjusted over the dimensions and variants of the metric (Holm).
        by_age: BY_AGE_SCHEMA: of the primary metric; `day` is the middle one of a window of AGES, counted from 1.
        findings: sentences, the weightiest first.
    """

    over_time: pl.DataFrame
    splits_by_day: pl.DataFrame
    splits_by_segment: pl.DataFrame
    segments: pl.DataFrame
    by_age: pl.DataFrame
    findings: list[str]

    @property
    def splits_by_first_dimension(self) -> pl.DataFrame | None:
        """`splits_by_segment` of one dimension alone; None where users state none."""
        of_first = self.splits_by_segment.filter(pl.col("dimension") == pl.col("dimension").first())
        return None if of_first.is_empty() else of_first


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
    computed = _computed(warehouse, metrics, experiment_id)
    daily = parts.accumulated(parts.by_day(warehouse, computed, one))
    kinds = {name: metric.kind for name, metric in metrics.items()}
    periods = parts.of_periods(warehouse, one).with_columns(
        kind=pl.col("metric").replace_strict(kinds, default=pl.col("kind"), return_dtype=pl.String)
    )
    over_time = _with_lifts(_pairs(pl.concat([daily, periods]), variants, "day"), alpha, tuned_at)
    days, by_segment = splits(warehouse, experiment_id, variants, dimensions=dimensions)
    segments = pl.DataFrame(schema=SEGMENTS_SCHEMA)
    for name in by_segment["dimension"].unique(maintain_order=True):
        found = parts.by_segment(warehouse, computed, one, name)
        segments.vstack(_segments(_pairs(found, variants, "segment"), name, alpha), in_place=True)
    segments = _adjusted_over_dimensions(segments)
    ages = pl.DataFrame(schema=BY_AGE_SCHEMA)
    novelty = []
    if primary in computed:
        aged = _pairs(parts.by_age(warehouse, computed[primary], one, AGES), variants, "window")
        ages = _with_lifts(aged, alpha, tuned_at).with_columns(
            day=pl.col("window").replace_strict(dict(enumerate(MIDDLE)), return_dtype=pl.Float64)
        )
        novelty = _novelty(aged, primary, alpha)
    # Effects of a split that is broken are not to be read.
    broken = where_broken(days, by_segment)
    return Details(
        over_time.select(*OVER_TIME_SCHEMA),
        days,
        by_segment,
        segments,
        ages.select(*BY_AGE_SCHEMA),
        broken or [*novelty, *_differing(segments, primary, alpha)],
    )


def splits(
    warehouse: Warehouse, experiment_id: str, variants: pl.DataFrame, *, dimensions: Sequence[str] = DIMENSIONS
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """How units were split by day and by segment: `splits_by_day` and `splits_by_segment` of `Details`; a dimension of which
    all users are in one segment is left out."""
    one = [experiment_id]
    days = _split(parts.users_by_day(warehouse, one), variants, "day")
    found = [pl.DataFrame(schema=SPLITS_BY_SEGMENT_SCHEMA)]
    for dimension in dimensions:
        counted = parts.users_by_segment(warehouse, one, dimension)
        if counted["segment"].n_unique() > 1:
            split = _split(counted, variants, "segment").with_columns(dimension=pl.lit(dimension))
            found.append(split.select(*SPLITS_BY_SEGMENT_SCHEMA))
    return days, pl.concat(found)


def _computed(warehouse: Warehouse, metrics: Mapping[str, Metric], experiment_id: str) -> dict[str, Metric]:
    """Metrics that have means of users' numbers from events, without those of which the experiment has aggregates."""
    arrived = warehouse.sql(
        "SELECT DISTINCT metric FROM metric_totals WHERE experiment_id = $1 AND segment IS NULL", [experiment_id]
    )
    return {
        name: metric
        for name, metric in metrics.items()
        if metric.event is not None and metric.quantile is None and name not in set(arrived["metric"])
    }


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
    columns = zip((*_LIFT, *_ALWAYS), ends, strict=True)
    return pairs.with_columns(pl.Series(name, np.expm1(values), nan_to_null=True) for name, values in columns)


def _segments(pairs: pl.DataFrame, dimension: str, alpha: float) -> pl.DataFrame:
    """Raw and shrunk lifts of one dimension's segments, with a test of whether they differ, for each metric and variant."""
    lift, half = _lifts(pairs), _quantile(alpha)
    estimate, error = lift.estimate, lift.standard_error
    row, column = _places(pairs, ("metric", "variant_id"), "segment")
    found = interaction(_wide(estimate, row, column), _wide(error, row, column), alpha=alpha)
    shrunk = (values[row, column] for values in (found.segments.effect, found.segments.low, found.segments.high))
    numbers = dict(
        zip((*_LIFT, *_SHRUNK), (estimate, estimate - half * error, estimate + half * error, *shrunk), strict=True)
    )
    return pairs.select(
        pl.lit(dimension).alias("dimension"),
        "segment",
        *_OF_VARIANT,
        *(pl.Series(name, np.expm1(values), nan_to_null=True) for name, values in numbers.items()),
        pl.Series("interaction_p", found.test.p_value[row], nan_to_null=True),
    )


def _places(frame: pl.DataFrame, rows: Sequence[str], column: str) -> tuple[Integers, Integers]:
    """Where each row of a long frame stands in a wide one."""
    ranked = frame.select(row=pl.struct(*rows).rank("dense"), column=pl.col(column).rank("dense")).cast(pl.Int64) - 1
    return ranked["row"].to_numpy(), ranked["column"].to_numpy()


def _wide(values: Floats, row: Integers, column: Integers) -> Floats:
    """Long to wide, NaN where there is nothing."""
    out = np.full((row.max(initial=-1) + 1, column.max(initial=-1) + 1), np.nan)
    out[row, column] = values
    return out


def _adjusted_over_dimensions(segments: pl.DataFrame) -> pl.DataFrame:
    """Tests of interaction adjusted over the dimensions and variants of each metric (Holm)."""
    key = ["dimension", *_OF_VARIANT]
    tests = segments.select(*key, "interaction_p").unique(maintain_order=True)
    families = (tests["metric"].rank("dense") - 1).to_numpy()
    adjusted = holm(tests["interaction_p"].fill_null(float("nan")).to_numpy(), families)
    tests = tests.with_columns(interaction_p=pl.Series(adjusted, nan_to_null=True))
    return segments.drop("interaction_p").join(tests, on=key, how="left", maintain_order="left")


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
    if float(span.p_value) < SAMPLE_RATIO_ALPHA:
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
        if float(checked.overall.p_value) < SAMPLE_RATIO_ALPHA and not float(checked.uneven.p_value) < _SOUND:
            alike.append(str(dimension))
            continue
        adjusted = holm(checked.part.p_value)
        for index in np.flatnonzero(adjusted < SAMPLE_RATIO_ALPHA):
            alone = " Without it the split is as planned." if checked.without.p_value[index] >= _SOUND else ""
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
    left_out = "" if len(units) <= _LISTED else f" : ... ({len(units) - _LISTED:,} more)"
    return " : ".join(f"{count:,.0f}" for count in units[:_LISTED]) + left_out


def _novelty(aged: pl.DataFrame, primary: str, alpha: float) -> list[str]:
    """Of which variants the effect changes with the days since exposure (Holm over them)."""
    keys, wide = by_age(aged)
    if keys.is_empty():
        return []
    variants = keys["variant_id"].to_list()
    days = np.array(MIDDLE)
    line = trend(days, wide.estimate, wide.standard_error, alpha=alpha)
    adjusted = holm(line.p_value)
    found = []
    for index in np.flatnonzero(adjusted < alpha):
        followed = days[wide.known[index]]
        first, last = np.expm1(line.first[index]), np.expm1(line.last[index])
        word = "wears off" if abs(last) < abs(first) else "grows" if first * last > 0 else "turns round"
        found.append(
            f"The effect of {variants[index]} on {primary} {word} with the days since exposure: {first:+.1%} about day "
            f"{followed[0]:g}, {last:+.1%} about day {followed[-1]:g} (p = {adjusted[index]:.2g}; line on the logarithm of "
            "the day)."
        )
    return found


def _differing(segments: pl.DataFrame, primary: str, alpha: float) -> list[str]:
    """Whether segments differ by more than noise."""
    tests = (
        segments.filter(metric=primary).select("dimension", "variant_id", "interaction_p").unique(maintain_order=True)
    )
    found = []
    for dimension, variant, p_value in tests.iter_rows():
        if p_value is not None and p_value < alpha:
            found.append(
                f"The effect of {variant} on {primary} differs by {dimension} (Cochran's Q, p = {p_value:.2g}, Holm over all "
                "that were tested): read the shrunk lifts, not the raw ones."
            )
    if tests["interaction_p"].drop_nulls().len() and not found:
        found.append(
            f"No segment differs from the others by more than noise on {primary} ({', '.join(tests['dimension'].unique(maintain_order=True))})."
        )
    return found


def _quantile(alpha: float) -> float:
    return NormalDist().inv_cdf(1 - alpha / 2)
