"""Novelty and primacy: does the effect change with the time since a user first met the variant?

A change that is liked because it is new fades, one that has to be learnt grows; either way the mean over an
experiment's days is not what will be had for good. Both start fast and slow down, so that the effect is taken as a
straight line in the logarithm of the day.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.stats.arrays import Floats, aligned, check_alpha, refuse
from neonblue_lab.stats.distributions import chi_squared_tail, normal_at_most, normal_quantile
from neonblue_lab.stats.effects import Effects


@dataclass(frozen=True, eq=False)
class Trend:
    """The effect by days since exposure, in each row; NaN where there are fewer than three known days.

    Attributes:
        slope: change of the effect each time the days double, in its unit.
        slope_low: lower end of the (1 - alpha) interval of the slope.
        slope_high: upper end of it.
        p_value: two-sided, of the slope being 0.
        first: effect on the first known day, on the line.
        last: effect on the last known day, on the line: nearest to what will be had for good.
        last_low: lower end of the (1 - alpha) interval of the effect on the last day.
        last_high: upper end of it.
        misfit_p_value: that the days lie about the line as their errors say. Small: another shape, an odd day, or
            errors that are too small.
    """

    slope: Floats
    slope_low: Floats
    slope_high: Floats
    p_value: Floats
    first: Floats
    last: Floats
    last_low: Floats
    last_high: Floats
    misfit_p_value: Floats


def trend(days: ArrayLike, estimates: ArrayLike, standard_errors: ArrayLike, *, alpha: float = 0.05) -> Trend:
    """Fit the effect against the logarithm of the day since exposure, for many experiments at once.

    Weighted least squares with known errors. Days are taken as independent, which they are where each is of other
    users. Where the same users come again, their days go up and down together; if all days do so alike, errors that
    ignore it are too large for the slope, so that the test errs on the safe side (simulated with correlation 0.5: a
    test at 0.05 rejects 0.006 of flat lines), and too small for the effect on a day, so that its interval is too short.

    Args:
        days: days since first exposure, 1 for the first; along the last axis, broadcasts against the estimates.
        estimates: effect on each day, in any one unit; a day whose estimate or error is not known does not count.
        standard_errors: of the estimates.
        alpha: 1 - coverage of the intervals.

    Raises:
        BadInput: a known day is below 1 or infinite, a standard error is negative, an estimate is infinite, the shapes
            disagree, or alpha does not lie between 0 and 1.
    """
    check_alpha(alpha)
    effects = Effects(np.atleast_1d(estimates), np.atleast_1d(standard_errors))
    days, _ = aligned(days=days, estimates=effects.estimate)
    refuse((days < 1) | np.isinf(days), "days", days, "days since exposure are counted from 1")
    known = effects.known & ~np.isnan(days)
    enough = (known.sum(-1) > 2) & (np.where(known, days, -np.inf).max(-1) > np.where(known, days, np.inf).min(-1))

    with np.errstate(all="ignore"):
        weight = np.where(known, 1 / effects.standard_error**2, 0.0)
        estimate, doubling = np.where(known, effects.estimate, 0.0), np.where(known, np.log2(days), 0.0)
        information = np.where(enough, weight.sum(-1), np.nan)
        middle = (weight * doubling).sum(-1) / information
        level = (weight * estimate).sum(-1) / information
        away = doubling - middle[..., None]
        leverage = (weight * away**2).sum(-1)
        slope = (weight * away * (estimate - level[..., None])).sum(-1) / leverage
        left = estimate - level[..., None] - slope[..., None] * away
        misfit = (weight * left**2).sum(-1)

        quantile, slope_error = normal_quantile(1 - alpha / 2), 1 / np.sqrt(leverage)
        to_first = np.where(known, doubling, np.inf).min(-1) - middle
        to_last = np.where(known, doubling, -np.inf).max(-1) - middle
        last = level + slope * to_last
        last_half = quantile * np.sqrt(1 / information + (to_last * slope_error) ** 2)
        return Trend(
            slope=slope,
            slope_low=slope - quantile * slope_error,
            slope_high=slope + quantile * slope_error,
            p_value=2 * normal_at_most(-np.abs(slope / slope_error)),
            first=level + slope * to_first,
            last=last,
            last_low=last - last_half,
            last_high=last + last_half,
            misfit_p_value=chi_squared_tail(misfit, np.where(enough, known.sum(-1) - 2.0, np.nan)),
        )
