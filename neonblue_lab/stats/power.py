"""How many units a test needs, which effect it could find with those it has, and how surely.

Power is that of the test of the difference of two arms (`two_sample.welch`, `two_sample.two_proportions`) at the
variances that were planned with: noncentral t with Welch's degrees of freedom, in both tails where the test is
two-sided. It is the same for every kind of metric once its `Baseline` says what one unit contributes to the variance:

- mean: the variance of the values;
- proportion: p (1 - p), in the variant at the share that the effect makes of it;
- ratio of means: the variance of its linearised values (`Baseline.of_moments(ratio.linearised(joint))`);
- quantile, or anything else whose estimate is about normal: n times its squared standard error (`of_estimate`);
- with CUPED: any of them with `variance_factor` = 1 - gain, the share of the variance that it leaves.

A non-inferiority test at a margin is the one-sided test of the effect plus the margin: plan it with `alternative`
"greater" and `effect` = expected difference + margin.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.alpha_spending import Spending, boundaries
from neonblue_lab.stats.always_valid import critical_value
from neonblue_lab.stats.arrays import Floats, aligned, check_alpha, check_option, counts, floats, refuse
from neonblue_lab.stats.crossing import survival
from neonblue_lab.stats.distributions import noncentral_t_tail, t_quantile
from neonblue_lab.stats.moments import Moments
from neonblue_lab.stats.two_sample import Alternative, welch_df

Reading = Literal["fixed", "always-valid", "obrien-fleming", "pocock"]

_FEWEST = 2 - 1e-9
"""Units of an arm that has a variance, less what rounding may take of two."""
_WIDENINGS = 60
"""How often a search looks four times farther: what is not found by then is not there."""
_PRECISION = 1e-12
"""Relative, of what a search finds."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """A metric without the change: its value, and what one unit contributes to the variance of an estimate of it.

    Attributes:
        value: of the control, in units of the metric.
        variance: of one unit: the squared standard error of an arm's estimate is variance / n.
        variance_factor: share of it that is left after variance reduction, 1 - gain.
        proportion: whether the variance follows from the value, as p (1 - p) does.
    """

    value: Floats
    variance: Floats
    variance_factor: Floats
    proportion: bool = False

    @classmethod
    def of_mean(cls, value: ArrayLike, variance: ArrayLike, *, variance_factor: ArrayLike = 1.0) -> Self:
        """A mean over units, or anything that is treated as one; the variant has the same variance.

        Raises:
            BadInput: a variance or a factor is negative, or the shapes disagree.
        """
        value, variance, factor = aligned(value=value, variance=variance, variance_factor=variance_factor)
        refuse(variance < 0, "variance", variance, "a variance is not negative")
        refuse(factor < 0, "variance_factor", factor, "it is the share of the variance that is left, 1 - gain")
        return cls(value, variance, factor)

    @classmethod
    def of_proportion(cls, share: ArrayLike, *, variance_factor: ArrayLike = 1.0) -> Self:
        """A share of units.

        Raises:
            BadInput: a share lies outside 0 to 1, a factor is negative, or the shapes disagree.
        """
        share = floats("share", share)
        refuse((share < 0) | (share > 1), "share", share, "a share lies between 0 and 1")
        mean = cls.of_mean(share, share * (1 - share), variance_factor=variance_factor)
        return cls(mean.value, mean.variance, mean.variance_factor, proportion=True)

    @classmethod
    def of_moments(cls, moments: Moments, *, variance_factor: ArrayLike = 1.0) -> Self:
        """What past data says of a mean, or, linearised, of a ratio of means."""
        return cls.of_mean(moments.mean, moments.variance, variance_factor=variance_factor)

    @classmethod
    def of_estimate(cls, value: ArrayLike, standard_error: ArrayLike, n: ArrayLike) -> Self:
        """Any estimate that is about normal, such as a quantile, from its standard error among `n` past units.

        Raises:
            BadInput: a standard error or a count is negative, or the shapes disagree.
        """
        value, standard_error, n = aligned(value=value, standard_error=standard_error, n=n)
        refuse(standard_error < 0, "standard_error", standard_error, "it is not negative")
        counts("n", n)
        return cls.of_mean(value, n * standard_error**2)


@dataclass(frozen=True, kw_only=True)
class Design:
    """How the units are split, and how the test will be read.

    Attributes:
        alpha: rate of false alarms that is accepted; divided by the number of comparisons where several variants have
            the control in common (Bonferroni).
        alternative: "two-sided", or the one direction that the test looks in.
        ratio: units of the variant for each unit of the control; 1 is an equal split.
        reading: "fixed": once, at the end; "always-valid": by the asymptotic confidence sequence of
            `always_valid.confidence_sequence`; "obrien-fleming", "pocock": by the alpha-spending boundaries of
            `alpha_spending.boundaries`. All but the first are two-sided.
        looks: how often it is read, evenly spaced, the last time at the end. A test that is read once, "always-valid",
            counts no earlier look that would have found the effect, which makes its power a lower bound.
        tuned_at: number of units at which the confidence sequence is tightest; the planned end unless given.

    Raises:
        BadInput: an option has no such value, or does not fit the reading.
    """

    alpha: float = 0.05
    alternative: Alternative = "two-sided"
    ratio: float = 1.0
    reading: Reading = "fixed"
    looks: int = 1
    tuned_at: float | None = None

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_option("alternative", self.alternative, Alternative)
        check_option("reading", self.reading, Reading)
        if not 0 < self.ratio < np.inf:
            raise BadInput(f"ratio is {self.ratio}: units of the variant for each of the control, more than 0.")
        if self.looks < 1:
            raise BadInput(f"looks is {self.looks}: a test is read at least once.")
        if self.reading == "fixed" and self.looks > 1:
            raise BadInput("A test that is read by a fixed horizon has one look: more of them need another reading.")
        if self.reading != "fixed" and self.alternative != "two-sided":
            raise BadInput(f"The reading {self.reading!r} is two-sided: plan it with alternative='two-sided'.")
        if self.tuned_at is not None and (self.reading != "always-valid" or not self.tuned_at > 0):
            raise BadInput(f"tuned_at is {self.tuned_at}: a number of units, for the reading 'always-valid' alone.")


@dataclass(frozen=True, eq=False)
class SampleSize:
    """Whole units that reach the power asked for; infinite where no number does, NaN where something is not known.

    Attributes:
        control: units of the control.
        variant: units of the variant.
    """

    control: Floats
    variant: Floats

    @property
    def total(self) -> Floats:
        """Units of both arms."""
        return self.control + self.variant


FIXED = Design()


def power(baseline: Baseline, *, effect: ArrayLike, n: ArrayLike, design: Design = FIXED) -> Floats:
    """Probability that the test finds `effect`.

    Args:
        baseline: the metric without the change.
        effect: true difference of variant and control, in units of the metric (lift x `baseline.value`).
        n: units of both arms together.
        design: how they are split and the test is read.

    Returns:
        Power, of the shape that the arguments broadcast to; NaN with fewer than 2 units in an arm or without variance.

    Raises:
        BadInput: a count is negative, a share with the effect leaves 0 to 1, or the shapes disagree.
    """
    value, variance, factor, effect, n = _aligned(baseline, effect=effect, n=n)
    counts("n", n)
    _possible(baseline, value, effect)
    return _power(n, effect, value, variance, factor, baseline.proportion, design)


def sample_size(baseline: Baseline, *, effect: ArrayLike, power: float = 0.8, design: Design = FIXED) -> SampleSize:
    """The fewest units with which the test finds `effect` with the given power.

    Args:
        baseline: the metric without the change.
        effect: true difference of variant and control, in units of the metric.
        power: probability of finding it.
        design: how the units are split and the test is read.

    Raises:
        BadInput: power does not lie between alpha and 1, a share with the effect leaves 0 to 1, or the shapes disagree.
    """
    _check_power(power, design)
    value, variance, factor, effect = _aligned(baseline, effect=effect)
    _possible(baseline, value, effect)

    def excess(log_n: Floats, effect: Floats, value: Floats, variance: Floats, factor: Floats) -> Floats:
        return _power(np.exp(log_n), effect, value, variance, factor, baseline.proportion, design) - power

    towards = {"two-sided": np.abs(effect), "greater": effect, "less": -effect}[design.alternative]
    sought = towards > 0
    fewest = np.full(np.count_nonzero(sought), np.log(2 * (1 + max(design.ratio, 1 / design.ratio))))
    total = np.where(towards <= 0, np.inf, np.nan)
    row = tuple(array[sought] for array in (effect, value, variance, factor))
    total[sought] = np.exp(_first(excess, fewest, np.full(fewest.shape, np.log(4.0)), row))
    return SampleSize(_whole(total / (1 + design.ratio)), _whole(total * design.ratio / (1 + design.ratio)))


def minimum_effect(baseline: Baseline, *, n: ArrayLike, power: float = 0.8, design: Design = FIXED) -> Floats:
    """The smallest effect that the test finds with the given power: its minimum detectable effect.

    Args:
        baseline: the metric without the change.
        n: units of both arms together.
        power: probability of finding it.
        design: how the units are split and the test is read.

    Returns:
        A difference in units of the metric, positive unless the test looks for less; NaN where no effect is found with
        that power (a share that would leave 0 to 1), with fewer than 2 units in an arm, or without variance.

    Raises:
        BadInput: power does not lie between alpha and 1, a count is negative, or the shapes disagree.
    """
    _check_power(power, design)
    value, variance, factor, n = _aligned(baseline, n=n)
    counts("n", n)
    sign = -1.0 if design.alternative == "less" else 1.0
    room = np.full(n.shape, np.inf)
    if baseline.proportion:
        room = value if sign < 0 else 1 - value

    def excess(size: Floats, n: Floats, value: Floats, variance: Floats, factor: Floats, room: Floats) -> Floats:
        effect = sign * np.minimum(size, room)
        return _power(n, effect, value, variance, factor, baseline.proportion, design) - power

    with np.errstate(all="ignore"):
        start = np.sqrt(np.maximum(variance, 1 / n) * factor / n)
    return sign * _first(excess, np.zeros(n.shape), start, (n, value, variance, factor, room))


def allocation(standard_deviations: ArrayLike, costs: ArrayLike = 1.0) -> Floats:
    """Shares of the units that make the comparisons of all variants with one control most precise together.

    Minimises the sum of the squared standard errors of the differences at a given total cost: the share of a variant is
    proportional to its standard deviation, that of the control to its own times the square root of the number of
    variants (Dunnett 1955, "A multiple comparison procedure for comparing several treatments with a control", JASA
    50(272), for equal variances), each divided by the square root of the cost (Cochran 1977, "Sampling
    techniques", section 5.5).

    Args:
        standard_deviations: of one unit in each arm, the control first; arms along the last axis, at least two.
        costs: of one unit in each arm, in any unit.

    Returns:
        Shares that sum to 1 along the last axis.

    Raises:
        BadInput: fewer than two arms, a standard deviation that is negative, a cost that is not positive, or the shapes
            disagree.
    """
    deviation, cost = aligned(standard_deviations=standard_deviations, costs=costs)
    if deviation.ndim == 0 or deviation.shape[-1] < 2:
        raise BadInput(f"An allocation is of two arms or more, along the last axis: got shape {deviation.shape}.")
    refuse(deviation < 0, "standard_deviations", deviation, "a standard deviation is not negative")
    refuse(cost <= 0, "costs", cost, "a cost is more than 0")
    weight = deviation / np.sqrt(cost)
    weight[..., 0] *= np.sqrt(deviation.shape[-1] - 1)
    with np.errstate(invalid="ignore"):
        return np.asarray(weight / weight.sum(axis=-1, keepdims=True))


def _aligned(baseline: Baseline, **named: ArrayLike) -> tuple[Floats, ...]:
    return aligned(value=baseline.value, variance=baseline.variance, variance_factor=baseline.variance_factor, **named)


def _possible(baseline: Baseline, value: Floats, effect: Floats) -> None:
    if baseline.proportion:
        with np.errstate(invalid="ignore"):
            outside = (value + effect < 0) | (value + effect > 1)
        refuse(outside, "effect", effect, "added to the share of the control it must lie between 0 and 1")


def _check_power(power: float, design: Design) -> None:
    if not design.alpha < power < 1:
        raise BadInput(f"power is {power}: it must lie between alpha, {design.alpha}, and 1.")


def _power(
    n: Floats, effect: Floats, value: Floats, variance: Floats, factor: Floats, proportion: bool, design: Design
) -> Floats:
    """Power of each row; all arrays of one shape."""
    control, variant = n / (1 + design.ratio), n * design.ratio / (1 + design.ratio)
    with np.errstate(all="ignore"):
        changed = (value + effect) * (1 - value - effect) if proportion else variance
        error_control, error_variant = factor * variance / control, factor * np.maximum(changed, 0.0) / variant
        squared_error = error_control + error_variant
        testable = (control > _FEWEST) & (variant > _FEWEST) & (squared_error > 0) & np.isfinite(squared_error)
        shift = effect / np.sqrt(np.where(testable, squared_error, np.nan))
        if design.reading != "fixed":
            return 1 - survival(_boundaries(design, n), _looks(design), shift)[..., -1]
        df = welch_df(error_control, control, error_variant, variant)
        if design.alternative == "two-sided":
            critical = t_quantile(1 - design.alpha / 2, df)
            size = np.abs(shift)
            return noncentral_t_tail(critical, df, size) + noncentral_t_tail(critical, df, -size)
        towards = shift if design.alternative == "greater" else -shift
        return noncentral_t_tail(t_quantile(1 - design.alpha, df), df, towards)


def _looks(design: Design) -> Floats:
    """Share of the units that have come by each look."""
    return np.arange(1, design.looks + 1) / design.looks


def _boundaries(design: Design, n: Floats) -> Floats:
    """|z| beyond which each look decides, shape (..., looks)."""
    share = _looks(design)
    if design.reading == "always-valid":
        if design.tuned_at is None:
            return np.broadcast_to(critical_value(share, tuned_at=1.0, alpha=design.alpha), (*n.shape, design.looks))
        return critical_value(n[..., None] * share, tuned_at=design.tuned_at, alpha=design.alpha)
    kind: Spending = "pocock" if design.reading == "pocock" else "obrien-fleming"
    return np.broadcast_to(_spending(design.looks, design.alpha, kind), (*n.shape, design.looks))


@cache
def _spending(looks: int, alpha: float, kind: Spending) -> Floats:
    return boundaries(np.arange(1, looks + 1) / looks, alpha, kind).z


def _first(excess: Callable[..., Floats], low: Floats, width: Floats, row: tuple[Floats, ...]) -> Floats:
    """Where `excess`, which rises, reaches 0 above `low`: `low` if it has there, NaN if it never does.

    Args:
        excess: of x and the arrays of `row`, element by element.
        low: where the search begins.
        width: how far it looks first; four times as far each time that it was not far enough.
        row: what else `excess` takes.
    """
    from scipy.optimize import elementwise

    shape, low, row = low.shape, low.ravel(), tuple(array.ravel() for array in row)
    high = low + np.broadcast_to(width, shape).ravel()
    below = excess(low, *row)
    short = excess(high, *row) < 0
    for _ in range(_WIDENINGS):
        if not short.any():
            break
        high = np.where(short, low + 4 * (high - low), high)
        short[short] = excess(high[short], *(array[short] for array in row)) < 0
    sought = (below < 0) & ~short & np.isfinite(high)
    answer = np.where(below >= 0, low, np.nan)
    if sought.any():
        bracket = (low[sought], high[sought])
        rows = tuple(array[sought] for array in row)
        answer[sought] = elementwise.find_root(excess, bracket, args=rows, tolerances={"xrtol": _PRECISION}).x
    return answer.reshape(shape)


def _whole(units: Floats) -> Floats:
    """Rounded up, but not for what is rounding itself."""
    return np.ceil(units * (1 - 1e-12))
