"""Always-valid inference: intervals and p-values that may be looked at every day and acted on at any look.

The chance that any of the looks' intervals misses the truth, or any p-value of an effect of 0 falls to alpha, is at
most alpha. So the smallest p-value and the overlap of the intervals over the looks made are valid too.

- `confidence_sequence` takes any estimate with a standard error: difference or lift of means, ratios, CUPED-adjusted.
  It is asymptotic: valid once the estimate is about normal at the first look that is acted on. The mixture sequential
  probability ratio test (mSPRT) of Johari, Koomen, Pekelis & Walsh (2022), "Always valid inference", Operations
  Research 70(3), is the same statistic, their mixture's variance being rho ** 2 * n * s.e. ** 2 here.
- `mixture_sprt` takes conversions, and is exact from the first one on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.stats.arrays import Floats, Groups, aligned, check_alpha, counts, refuse
from neonblue_lab.stats.dirichlet import concentration, log_evidence, share_bounds, tuned


@dataclass(frozen=True, eq=False)
class AlwaysValid:
    """An estimate at each look with its always-valid interval and p-value; arrays of the shape of the inputs.

    Attributes:
        estimate: of the effect, in the units that it came in (a lift is a share: 0.02 is +2 %).
        low: lower end of the look's interval of the (1 - alpha) confidence sequence.
        high: upper end of it.
        p_value: always-valid, of the effect being 0; at most alpha exactly where the interval excludes 0.
    """

    estimate: Floats
    low: Floats
    high: Floats
    p_value: Floats


def confidence_sequence(
    difference: ArrayLike, standard_error: ArrayLike, n: ArrayLike, *, tuned_at: ArrayLike, alpha: float = 0.05
) -> AlwaysValid:
    """Asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), "Time-uniform central
    limit theory and asymptotic confidence sequences", Annals of Statistics 52(6): a normal mixture (arXiv 2103.06476v7,
    eq. 9, two-sided, with the rho of eq. 161), as gbstats has it.

    Args:
        difference: estimate of the effect at each look, of all units so far: a difference, or a lift.
        standard_error: of the estimate, as a fixed-horizon test would have it.
        n: units in both arms at each look; only n / tuned_at matters.
        tuned_at: n for which the interval is to be narrowest, fixed in advance: where a decision is hoped for. One
            number or one a row. Ten times off widens the interval by 7 to 27 %.
        alpha: 1 - coverage of all looks together. The p-value depends on it through the tuning: compare it with this.

    Returns:
        An `AlwaysValid`; interval and p-value NaN in a row whose standard error is 0 or anything is not finite.

    Raises:
        BadInput: a standard error or count is negative, tuned_at is not above 0, alpha does not lie between 0 and 1, or
            the shapes disagree.
    """
    check_alpha(alpha)
    difference, standard_error, n, tuned_at = aligned(
        difference=difference, standard_error=standard_error, n=n, tuned_at=tuned(tuned_at)
    )
    counts("n", n)
    refuse(standard_error < 0, "standard_error", standard_error, "a standard error is not negative")
    testable = np.isfinite(difference) & np.isfinite(standard_error) & (standard_error > 0) & (n > 0)
    error = np.where(testable, standard_error, np.nan)
    half = critical_value(n, tuned_at=tuned_at, alpha=alpha) * error
    information = _growth(alpha) * n / tuned_at
    with np.errstate(all="ignore"):
        squares = (difference / error) ** 2
        log_p_value = (np.log1p(information) - squares * information / (1 + information)) / 2
    return AlwaysValid(difference, difference - half, difference + half, np.exp(np.minimum(log_p_value, 0.0)))


def critical_value(n: ArrayLike, *, tuned_at: ArrayLike, alpha: float = 0.05) -> Floats:
    """How many standard errors the interval of `confidence_sequence` reaches to either side with n units.

    A fixed-horizon one reaches 1.96 at alpha = 0.05, this one 3.04 at n = tuned_at, 3.86 at a tenth and 3.24 at ten
    times it. The square of their ratio is how many times the units a sequential design needs to be as narrow.

    Raises:
        BadInput: a count is negative, tuned_at is not above 0, or alpha does not lie between 0 and 1.
    """
    check_alpha(alpha)
    n, tuned_at = aligned(n=n, tuned_at=tuned(tuned_at))
    counts("n", n)
    information = _growth(alpha) * n / tuned_at
    with np.errstate(all="ignore"):
        reach = np.sqrt((1 + 1 / information) * (np.log1p(information) - 2 * np.log(alpha)))
    return np.where(n > 0, reach, np.nan)


def _growth(alpha: float) -> float:
    """n rho ** 2 at the n that the interval is tuned to: Waudby-Smith et al. (arXiv 2103.06476v7), eq. 161."""
    return float(-2 * np.log(alpha) + np.log(1 - 2 * np.log(alpha)))


def mixture_sprt(
    successes_control: ArrayLike,
    successes_variant: ArrayLike,
    *,
    share: ArrayLike = 0.5,
    tuned_at: ArrayLike,
    alpha: float = 0.05,
) -> AlwaysValid:
    """Exact mixture sequential probability ratio test of the lift of a proportion, from the successes alone.

    Where units are allocated at random, a unit with a success is the variant's with probability
    share * p_variant / (share * p_variant + (1 - share) * p_control): `share` itself without an effect. The successes'
    split is tested and turned into a lift, by the Dirichlet mixture of Lindon & Malek (2022), "Anytime-valid inference
    for multinomial count data", NeurIPS (their inhomogeneous Bernoulli process). It is exact from the first success on,
    and also where the rates of both arms rise and fall together by hour and weekday.

    Its interval is wider than one that knows the units by a factor of up to 1 / sqrt(1 - p): nothing at conversion
    rates of a few per cent, 1.4 at a half. A sample-ratio mismatch is an effect to it: check that first.

    Args:
        successes_control: successes of the control since the start.
        successes_variant: successes of the variant since the start.
        share: allocation of the variant out of both arms, between 0 and 1: 0.5 for an equal split.
        tuned_at: successes of both arms together at which the interval is to be narrowest, fixed in advance.
        alpha: 1 - coverage of all looks together.

    Returns:
        An `AlwaysValid` of the lift p_variant / p_control - 1. Without successes its interval is -1 to infinity, its
        p-value 1 and its estimate NaN; without successes in the control the estimate is infinite. NaN where a number is
        not known.

    Raises:
        BadInput: a count is negative, share or alpha does not lie between 0 and 1, tuned_at is not above 0, or the
            shapes disagree.
    """
    check_alpha(alpha)
    control, variant, share, prior = aligned(
        successes_control=successes_control,
        successes_variant=successes_variant,
        share=share,
        tuned_at=concentration(tuned(tuned_at), alpha),
    )
    counts("successes_control", control)
    counts("successes_variant", variant)
    refuse((share <= 0) | (share >= 1), "share", share, "it must lie between 0 and 1")

    rows = Groups(np.tile(np.arange(share.size), 2), share.size)
    evidence = log_evidence(
        rows,
        np.concatenate([control.ravel(), variant.ravel()]),
        np.concatenate([1 - share.ravel(), share.ravel()]),
        prior.ravel(),
    ).reshape(share.shape)
    low, high = share_bounds(variant, control + variant, prior, alpha)
    with np.errstate(all="ignore"):
        odds = (1 - share) / share
        return AlwaysValid(
            estimate=odds * variant / control - 1,
            low=odds * low / (1 - low) - 1,
            high=odds * high / (1 - high) - 1,
            p_value=np.exp(np.minimum(-evidence, 0.0)),
        )
