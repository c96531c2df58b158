"""Quantiles of a metric, such as the p90 of load time, with intervals from order statistics: no bootstrap, no density.

How many of n units lie below the quantile is binomial whatever the distribution, so that two order statistics whose
ranks that binomial gives enclose it: Conover (1999), "Practical nonparametric statistics", 3rd ed., section 3.2; David
& Nagaraja (2003), "Order statistics", section 7.1. Their distance also measures the standard error: Price & Bonett
(2002), "Distribution-free confidence intervals for difference and ratio of medians", Journal of Statistical Computation
and Simulation 72(2). It takes three look-ups in sorted values, which any engine answers:

    ranks = quantile_ranks(n, 0.9)                         # which order statistics to look up
    p90 = ranks.quantile(low=..., value=..., high=...)     # what was found there
    welch(p90_of_control.moments(), p90_of_variant.moments())

The quantile itself is the smallest value that at least the asked share of units do not exceed, an order statistic as
well (numpy's "inverted_cdf", type 1 of Hyndman & Fan 1996): engines that interpolate differ by less than one spacing.
Units must be independent: users, not their requests.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.arrays import Floats, aligned, check_alpha, counts, floats, refuse
from neonblue_lab.stats.distributions import binomial_at_most, normal_quantile
from neonblue_lab.stats.moments import Moments

_ROUNDING = 1e-12
"""Shares are binary fractions: 0.07 of 100 units are 7, not the 7.000000000000001 that would be rounded up to 8."""


@dataclass(frozen=True, eq=False)
class Quantile:
    """A quantile of each group of units, in units of the metric; NaN for a group without units.

    Attributes:
        n: number of units.
        value: the quantile.
        low: lower end of its interval, -inf where there are too few units below it to have one.
        high: upper end, inf likewise.
        standard_error: of the value; NaN where an end is infinite or both are the same value, as among ties.
    """

    n: Floats
    value: Floats
    low: Floats
    high: Floats
    standard_error: Floats

    def moments(self) -> Moments:
        """The quantile as if it were a mean of n units, so that `welch` compares it: difference and lift, with p-values
        and intervals by the normal approximation, which wants some 20 units on either side of the quantile."""
        return Moments(self.n, self.value, self.n * self.standard_error**2)


@dataclass(frozen=True, eq=False)
class QuantileRanks:
    """The order statistics that a quantile and its interval are, 1 for the smallest; NaN for a group without units.

    Attributes:
        n: number of units.
        low: rank of the lower end, 0 where there is none.
        value: rank of the quantile.
        high: rank of the upper end, n + 1 where there is none.
        coverage: probability that the interval holds the quantile: at least 1 - alpha, as ranks are whole numbers.
    """

    n: Floats
    low: Floats
    value: Floats
    high: Floats
    coverage: Floats

    def quantile(self, *, low: ArrayLike, value: ArrayLike, high: ArrayLike) -> Quantile:
        """The quantile, given the values found at the three ranks; at a rank that is none, whatever is given.

        Raises:
            BadInput: the values are not in order, or the shapes disagree.
        """
        n, low, value, high = aligned(n=self.n, low=low, value=value, high=high)
        low = np.where(self.low < 1, -np.inf, low)
        high = np.where(self.high > n, np.inf, high)
        refuse((low > value) | (value > high), "value", value, "it does not lie between the values at the other ranks")
        with np.errstate(invalid="ignore"):
            error = (high - low) / (2 * normal_quantile((1 + self.coverage) / 2))
        return Quantile(n, value, low, high, np.where(np.isfinite(error) & (error > 0), error, np.nan))


def quantile_ranks(n: ArrayLike, probability: ArrayLike, *, alpha: float = 0.05) -> QuantileRanks:
    """Ranks of a quantile and of the ends of its interval, with at most alpha / 2 beyond either.

    Args:
        n: number of units, whole numbers.
        probability: which quantile: 0.5 is the median, 0.9 the p90.
        alpha: 1 - coverage of the interval.

    Raises:
        BadInput: a count is negative, infinite or not whole, a probability or alpha does not lie between 0 and 1, or
            the shapes disagree.
    """
    check_alpha(alpha)
    n, share = aligned(n=n, probability=probability)
    counts("n", n)
    refuse(n % 1 > 0, "n", n, "a count is a whole number")
    refuse((share <= 0) | (share >= 1), "probability", share, "it must lie between 0 and 1")
    n = np.where(n == 0, np.nan, n)
    low = _rank_below(n, share, alpha)
    high = n + 1 - _rank_below(n, 1 - share, alpha)
    value = np.clip(np.ceil(n * share * (1 - _ROUNDING)), 1, n)
    coverage = _at_most(high - 1, n, share) - _at_most(low - 1, n, share)
    return QuantileRanks(n, low, value, high, coverage)


def quantile_of_sorted(values: ArrayLike, sizes: ArrayLike, probability: float, *, alpha: float = 0.05) -> Quantile:
    """Quantile of each of many groups whose values lie one after the other, each group sorted upwards.

    Args:
        values: of all units, 1-d.
        sizes: number of units of each group, shape (groups,).
        probability: which quantile.
        alpha: 1 - coverage of the intervals.

    Returns:
        A `Quantile` of shape (groups,).

    Raises:
        BadInput: the sizes do not add up to the number of values, a value is NaN or out of order, or as
            `quantile_ranks`.
    """
    values = floats("values", values)
    ranks = quantile_ranks(sizes, probability, alpha=alpha)
    sizes = floats("sizes", sizes).astype(np.int64)
    if values.ndim != 1 or sizes.ndim != 1 or sizes.sum() != values.size:
        raise BadInput(f"The sizes must add up to the number of values: {sizes.sum()} and {values.shape}.")
    refuse(np.isnan(values), "values", values, "a value that is not known has no rank: leave its unit out")
    starts = np.cumsum(sizes) - sizes
    falls = np.append(False, values[1:] < values[:-1])
    falls[starts[sizes > 0]] = False
    refuse(falls, "values", values, "it is smaller than the one before it: sort each group upwards")

    def at(rank: Floats) -> Floats:
        known = (rank >= 1) & (rank <= sizes)
        found = np.full(rank.shape, np.nan)
        found[known] = values[starts[known] + rank[known].astype(np.int64) - 1]
        return found

    return ranks.quantile(low=at(ranks.low), value=at(ranks.value), high=at(ranks.high))


def _rank_below(n: Floats, share: Floats, alpha: float) -> Floats:
    """The largest rank whose order statistic lies above the quantile with a probability of at most alpha / 2."""
    at_most, more = np.full(n.shape, -1.0), np.array(n)
    for _ in range(int(np.max(n, initial=0, where=~np.isnan(n)) + 1).bit_length()):
        middle = np.floor((at_most + more) / 2)
        rare = _at_most(middle, n, share) <= alpha / 2
        at_most = np.where(rare & (middle > at_most), middle, at_most)
        more = np.where(rare, more, middle)
    return more


def _at_most(successes: Floats, n: Floats, share: Floats) -> Floats:
    """P(X <= successes) of the binomial distribution, for any number of successes."""
    inside = binomial_at_most(np.clip(successes, 0, n - 1), n, share)
    return np.where(successes < 0, 0.0, np.where(successes >= n, 1.0, inside))
