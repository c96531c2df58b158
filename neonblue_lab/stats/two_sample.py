"""Variant against control: Welch's test of two means, of two proportions and of non-inferiority, and the lift.

Conventions, the same in all tests:

- The variances of the two arms are never pooled, and the reference distribution is Student's t with the degrees of
  freedom of Welch (1947), "The generalization of 'Student's' problem when several different population variances are
  involved", Biometrika 34(1/2), eq. 28 with Satterthwaite's approximation.
- Each interval is the inversion of the test beside it: the interval of the difference excludes 0 exactly where
  `p_value` is below alpha, that of the lift exactly where `p_value_relative` is.
- The lift is difference / control mean: of -0.05 on a control mean of 0.50, -10 %. Where the control mean is negative
  its sign is therefore the opposite of the difference's.
- Tests are two-sided unless an `alternative` says otherwise. It speaks of the means: "greater" asks whether the
  variant's is above the control's. A one-sided interval has its whole alpha at one end and is open at the other, as in
  scipy and tea-tasting. Where the control mean is negative, that is the other end for the lift.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.stats.arrays import Floats, aligned, check_alpha, check_option, counts, floats, refuse
from neonblue_lab.stats.distributions import t_at_least, t_quantile, t_two_sided
from neonblue_lab.stats.moments import Moments

LiftScale = Literal["linear", "log", "fieller"]
Alternative = Literal["two-sided", "greater", "less"]
Better = Literal["higher", "lower"]
MarginOf = Literal["lift", "difference"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison of variant with control in each row; all arrays have the shape that the inputs broadcast to.

    Attributes:
        difference: variant mean - control mean, in units of the metric.
        difference_low: lower end of the (1 - alpha) interval of the difference.
        difference_high: upper end of it.
        lift: difference / control mean, as a share (0.02 is +2 %); NaN where the control mean is 0.
        lift_low: lower end of the (1 - alpha) interval of the lift.
        lift_high: upper end of it.
        statistic: difference / its standard error.
        df: degrees of freedom of the test of the difference.
        p_value: of the absolute difference being 0.
        p_value_relative: of the lift being 0, on the scale asked for. By the delta method it is not equal to `p_value`,
            and on the linear scale far from it where the lift is large and uncertain; by Fieller's it is `p_value`.
    """

    difference: Floats
    difference_low: Floats
    difference_high: Floats
    lift: Floats
    lift_low: Floats
    lift_high: Floats
    statistic: Floats
    df: Floats
    p_value: Floats
    p_value_relative: Floats


@dataclass(frozen=True, eq=False)
class NonInferiority:
    """A test of non-inferiority in each row; all arrays have the shape that the inputs broadcast to.

    Attributes:
        improvement: how much better the variant is, above 0 where it is better: the difference, or the difference as a
            share of the control mean's size, as the margin is.
        improvement_low: lower end of its one-sided (1 - alpha) interval: what can be ruled out is anything worse.
            Above -margin exactly where `p_value` is below alpha, as long as the interval is bounded.
        statistic: of the variant being worse by exactly the margin.
        df: degrees of freedom of it.
        p_value: one-sided, of the variant being worse by the margin or more: small where it is not inferior.
    """

    improvement: Floats
    improvement_low: Floats
    statistic: Floats
    df: Floats
    p_value: Floats


def welch(
    control: Moments,
    variant: Moments,
    *,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    lift_scale: LiftScale = "linear",
) -> Comparison:
    """Welch's test of two means.

    Args:
        control: count, mean and sample variance of the control.
        variant: the same of the variant; broadcasts against the control.
        alpha: 1 - coverage of the intervals.
        alternative: "two-sided"; "greater", of the variant's mean being above the control's; "less", below.
        lift_scale: how the interval and test of the lift are made.
            "linear": lift +- t * s.e. by the delta method (Deng, Knoblich & Lu 2018, "Applying the delta method in
            metric analytics", KDD, section 3.1) with the degrees of freedom of the difference. Defined for any means
            but a control's of 0; lopsided where the control mean is few standard errors from 0.
            "log": the log of the ratio of the means likewise, with Welch's degrees of freedom of the relative
            variances. Never below -100 %, and NaN where the two means are not of one sign. Simulated with 45 successes
            in the control's 3,000 and a true lift of +50 %, the interval misses the truth as often on either side
            (2.7 % and 2.4 %, against 5.0 % and 0.5 %) and excludes 0 as often as that of the difference (57 %,
            against 36 %).
            "fieller": every lift that a test of variant mean = (1 + lift) * control mean does not reject, with the
            degrees of freedom of the difference: Fieller (1954), "Some problems in interval estimation", JRSS B 16(2),
            section 3. Needs no control mean far from 0, and is the whole line, -inf to inf, where the control mean
            cannot be told from 0: then the data bound no lift, and the interval excludes 0 nowhere.

    Returns:
        A `Comparison`. Its tests and intervals are NaN in a row with fewer than 2 units in an arm, with no variance in
        either arm, or with an input that is not known; the difference and the lift are there as long as the means are.

    Raises:
        BadInput: the shapes disagree, alpha does not lie between 0 and 1, or an option is none of those above.
    """
    check_alpha(alpha)
    check_option("alternative", alternative, Alternative)
    check_option("lift_scale", lift_scale, LiftScale)
    arms = _Arms.of(control, variant)
    direction = _DIRECTIONS[alternative]
    confidence = 1 - alpha if direction else 1 - alpha / 2
    with np.errstate(all="ignore"):
        difference = arms.mean_variant - arms.mean_control
        df = welch_df(arms.error_control, arms.n_control, arms.error_variant, arms.n_variant)
        quantile = t_quantile(confidence, df)
        error, statistic, p_value = _test(difference, arms.error_control + arms.error_variant, df, direction)
        difference_low, difference_high = _interval(difference, quantile * error, direction)

        base = np.where(arms.mean_control == 0, np.nan, arms.mean_control)
        lift, ratio = difference / base, arms.mean_variant / base
        lift_direction = direction * np.sign(base) if direction else direction
        relative_control, relative_variant = arms.error_control / base**2, arms.error_variant / base**2
        if lift_scale == "linear":
            squared_error = relative_variant + ratio**2 * relative_control
            lift_error, _, p_value_relative = _test(lift, squared_error, df, lift_direction)
            lift_low, lift_high = _interval(lift, quantile * lift_error, lift_direction)
        elif lift_scale == "log":
            log_ratio = np.log(np.where(ratio > 0, ratio, np.nan))
            of_variant = arms.error_variant / arms.mean_variant**2
            log_df = welch_df(relative_control, arms.n_control, of_variant, arms.n_variant)
            log_error, _, p_value_relative = _test(log_ratio, relative_control + of_variant, log_df, lift_direction)
            log_low, log_high = _interval(log_ratio, t_quantile(confidence, log_df) * log_error, lift_direction)
            lift_low, lift_high = np.expm1(log_low), np.expm1(log_high)
        else:
            p_value_relative = np.where(np.isnan(base), np.nan, p_value)
            centre, half = _fieller(lift, ratio, relative_control, relative_variant, quantile)
            lift_low, lift_high = _interval(centre, np.where(np.isnan(p_value), np.nan, half), lift_direction)
    return Comparison(
        difference=difference,
        difference_low=difference_low,
        difference_high=difference_high,
        lift=lift,
        lift_low=lift_low,
        lift_high=lift_high,
        statistic=statistic,
        df=df,
        p_value=p_value,
        p_value_relative=p_value_relative,
    )


def noninferiority(
    control: Moments,
    variant: Moments,
    *,
    margin: ArrayLike,
    better: Better = "higher",
    margin_of: MarginOf = "lift",
    alpha: float = 0.05,
) -> NonInferiority:
    """Test that the variant is not worse than the control by a margin or more: what a guardrail metric asks.

    Welch's one-sided test of the contrast variant mean - (1 -+ margin) * control mean, or of the difference +- margin.
    A relative margin needs no delta method: the contrast is linear in the means, its degrees of freedom are Welch's of
    it, and `improvement_low` is Fieller's with these (see `welch`).

    Args:
        control: count, mean and sample variance of the control.
        variant: the same of the variant; broadcasts against the control.
        margin: the smallest deterioration that matters, not negative; with "lift", as a share of the control mean's
            size (0.02 is 2 %). Broadcasts against the arms. 0 makes it a test of superiority.
        better: whether a "higher" or a "lower" mean is better.
        margin_of: "lift", or "difference" for a margin in units of the metric.
        alpha: level of the one-sided test. Trials that report two-sided 95 % intervals take 0.025.

    Returns:
        A `NonInferiority`, NaN where `welch` is.

    Raises:
        BadInput: a margin is negative or infinite, the shapes disagree, alpha does not lie between 0 and 1, or an
            option is none of those above.
    """
    check_alpha(alpha)
    check_option("better", better, Better)
    check_option("margin_of", margin_of, MarginOf)
    margin = floats("margin", margin)
    refuse((margin < 0) | np.isinf(margin), "margin", margin, "a margin is finite and not negative")
    arms = _Arms.of(control, variant)
    margin, _ = aligned(margin=margin, arms=arms.n_control)
    relative = margin_of == "lift"
    with np.errstate(all="ignore"):
        unit = np.where(arms.mean_control == 0, np.nan, arms.mean_control) if relative else np.ones(())
        upward = np.sign(unit) if better == "higher" else -np.sign(unit)
        share = 1 - upward * margin if relative else np.ones(margin.shape)
        error_control, error_variant = arms.error_control / unit**2, arms.error_variant / unit**2
        lift = (arms.mean_variant - arms.mean_control) / unit
        improvement = upward * lift

        df = welch_df(share**2 * error_control, arms.n_control, error_variant, arms.n_variant)
        error, statistic, p_value = _test(improvement + margin, share**2 * error_control + error_variant, df, 1.0)
        quantile = t_quantile(1 - alpha, df)
        if relative:
            centre, half = _fieller(lift, arms.mean_variant / unit, error_control, error_variant, quantile)
            low = upward * centre - np.where(np.isnan(p_value), np.nan, half)
        else:
            low = improvement - quantile * error
    return NonInferiority(
        improvement=np.broadcast_to(improvement, statistic.shape),
        improvement_low=low,
        statistic=statistic,
        df=df,
        p_value=p_value,
    )


def two_proportions(
    n_control: ArrayLike,
    successes_control: ArrayLike,
    n_variant: ArrayLike,
    successes_variant: ArrayLike,
    *,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    lift_scale: LiftScale = "linear",
) -> Comparison:
    """Test of two proportions: Wald's, with unpooled variances p (1 - p) / n and Welch's degrees of freedom.

    Unpooled, so that the p-value and the interval of the difference agree; the pooled test (`homogeneity`, for any
    number of arms) gives 0.03169 where this one gives 0.03168, for 10 % against 10.93 % of 10,000 units each.
    Student's t hardly differs from the normal there, and keeps the level of small tests: enumerated for 0.2 in both
    arms of 30, a test at 0.05 rejects 0.050 with it and 0.060 without. It is most liberal where arms are small and
    uneven: 0.060 for 0.1 in arms of 100 and 400.

    Args:
        n_control: units in the control.
        successes_control: units of those with a success.
        n_variant: units in the variant.
        successes_variant: units of those with a success.
        alpha: 1 - coverage of the intervals.
        alternative: as in `welch`.
        lift_scale: as in `welch`.

    Returns:
        A `Comparison`. Its tests and intervals are NaN in a row with fewer than 2 units in an arm, or where each arm
        is all successes or all failures: then the estimated variance of the difference is 0 and Wald's test says
        nothing.

    Raises:
        BadInput: a count is negative or infinite, successes exceed units, the shapes disagree, or an option is none
            that `welch` takes.
    """
    n_control, successes_control, n_variant, successes_variant = aligned(
        n_control=n_control,
        successes_control=successes_control,
        n_variant=n_variant,
        successes_variant=successes_variant,
    )
    control = _bernoulli("control", n_control, successes_control)
    variant = _bernoulli("variant", n_variant, successes_variant)
    return welch(control, variant, alpha=alpha, alternative=alternative, lift_scale=lift_scale)


_ROUNDING = 4 * np.finfo(np.float64).eps
"""A standard error that is a smaller share of the means comes of their last digits: the metric does not vary."""

_DIRECTIONS = {"two-sided": 0.0, "greater": 1.0, "less": -1.0}


@dataclass(frozen=True, eq=False)
class _Arms:
    """Both arms in one shape, with the squared standard errors of their means; those are NaN, which makes the row's
    tests NaN, with fewer than 2 units, anything that is not finite, or no variance in either arm."""

    n_control: Floats
    mean_control: Floats
    error_control: Floats
    n_variant: Floats
    mean_variant: Floats
    error_variant: Floats

    @classmethod
    def of(cls, control: Moments, variant: Moments) -> Self:
        n_control, mean_control, variance_control, n_variant, mean_variant, variance_variant = aligned(
            n_control=control.n,
            mean_control=control.mean,
            variance_control=control.variance,
            n_variant=variant.n,
            mean_variant=variant.mean,
            variance_variant=variant.variance,
        )
        error_control = _squared_error(n_control, mean_control, variance_control)
        error_variant = _squared_error(n_variant, mean_variant, variance_variant)
        with np.errstate(all="ignore"):
            rounding = _ROUNDING * np.maximum(np.abs(mean_control), np.abs(mean_variant))
            constant = error_control + error_variant <= rounding**2
        error_control, error_variant = (np.where(constant, np.nan, error) for error in (error_control, error_variant))
        return cls(n_control, mean_control, error_control, n_variant, mean_variant, error_variant)


def _bernoulli(arm: str, n: Floats, successes: Floats) -> Moments:
    """An arm with p (1 - p) in the place of the sample variance, as Wald's test has it."""
    counts(f"n_{arm}", n)
    counts(f"successes_{arm}", successes)
    refuse(successes > n, f"successes_{arm}", successes, f"there cannot be more successes than units (n_{arm})")
    with np.errstate(divide="ignore", invalid="ignore"):
        share = successes / n
    return Moments(n, share, share * (1 - share))


def _squared_error(n: Floats, mean: Floats, variance: Floats) -> Floats:
    with np.errstate(all="ignore"):
        error = variance / n
    return np.where((n >= 2) & np.isfinite(mean) & np.isfinite(error), error, np.nan)


def welch_df(error_control: Floats, n_control: Floats, error_variant: Floats, n_variant: Floats) -> Floats:
    """Welch-Satterthwaite, on the control's share of the squared standard error: its squares cannot underflow."""
    share = error_control / (error_control + error_variant)
    return 1 / (share**2 / (n_control - 1) + (1 - share) ** 2 / (n_variant - 1))


def _test(
    estimate: Floats, squared_error: Floats, df: Floats, direction: Floats | float
) -> tuple[Floats, Floats, Floats]:
    """The estimate's standard error, its t statistic, and the p-value of its being 0: two-sided where `direction` is 0,
    else against its being above (1) or below (-1)."""
    error = np.sqrt(squared_error)
    statistic = estimate / error
    if not np.any(direction):
        return error, statistic, t_two_sided(statistic, df)
    return error, statistic, t_at_least(direction * statistic, df)


def _interval(estimate: Floats, half: Floats, direction: Floats | float) -> tuple[Floats, Floats]:
    """estimate +- half, open at the end that a one-sided test of that direction leaves open."""
    open_end = np.where(np.isnan(half), np.nan, np.inf)
    return np.where(direction < 0, -open_end, estimate - half), np.where(direction > 0, open_end, estimate + half)


def _fieller(
    lift: Floats, ratio: Floats, relative_control: Floats, relative_variant: Floats, quantile: Floats
) -> tuple[Floats, Floats]:
    """Centre and half width of Fieller's interval of the lift, given the arms' squared errors over the squared control
    mean. The width is infinite where the control mean lies within `quantile` standard errors of 0."""
    g = quantile**2 * relative_control
    half = quantile * np.sqrt(relative_variant * (1 - g) + ratio**2 * relative_control) / (1 - g)
    return np.where(g < 1, (lift + g) / (1 - g), lift), np.where(g < 1, half, np.inf)
