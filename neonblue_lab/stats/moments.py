"""Sufficient statistics of a mean: count, mean and variance, and how those of disjoint groups of units add up.

Always centred. A variance from raw sums of squares loses as many digits as the mean is larger than the spread, twice:
at mean 1e9 and standard deviation 1 nothing is left of it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.stats.arrays import Floats, Groups, aligned, counts, refuse


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and sample variance of many groups of units. Give anything that broadcasts; it is kept as float64.

    Attributes:
        n: number of units; NaN where it is not known.
        mean: mean over the units; NaN where n is 0.
        variance: sample variance (divided by n - 1), in squared units of the mean; NaN where n is below 2.

    Raises:
        BadInput: a count is negative or infinite, a variance is negative, or the shapes disagree.
    """

    n: Floats
    mean: Floats
    variance: Floats

    def __init__(self, n: ArrayLike, mean: ArrayLike, variance: ArrayLike) -> None:
        n, mean, variance = aligned(n=n, mean=mean, variance=variance)
        counts("n", n)
        refuse(variance < 0, "variance", variance, "a variance is not negative")
        object.__setattr__(self, "n", np.array(n))
        object.__setattr__(self, "mean", np.where(n == 0, np.nan, mean))
        object.__setattr__(self, "variance", np.where(n < 2, np.nan, variance))


def combine(moments: Moments, groups: ArrayLike, n_groups: int | None = None) -> Moments:
    """Moments of the union of disjoint groups of units: row i of `moments` goes into `groups[i]`.

    The pairwise formula of Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance", The American
    Statistician 37(3), eq. 2.1, for any number of parts at once: squares within the parts plus squares of the parts'
    means about the common mean. Rows with n = 0 change nothing; a row whose mean is not known makes its group's mean
    and variance NaN, one whose variance is not known its group's variance.

    Args:
        moments: 1-d, one row a part.
        groups: integers from 0, one a row.
        n_groups: how many groups there are; one more than the largest of `groups` unless given.

    Returns:
        Moments of shape (n_groups,); a group without rows has n = 0.

    Raises:
        BadInput: a group is negative or not below `n_groups`, or there is not one for each row.
    """
    parts = Groups(groups, n_groups)
    n, mean, variance = parts.rows(n=moments.n, mean=moments.mean, variance=moments.variance)
    total = parts.total(n)
    common = parts.weighted_mean(n, mean)
    with np.errstate(all="ignore"):
        squares = (mean - common[parts.index]) ** 2
    return Moments(total, common, covariance_of_union(parts, n, total, variance, squares))


def covariance_of_union(parts: Groups, n: Floats, total: Floats, covariance: Floats, products: Floats) -> Floats:
    """Sample covariance of two columns over the union of the parts, shape (groups,); NaN with fewer than 2 units.

    Args:
        parts: the group that each part goes into.
        n: number of units of each part.
        total: number of units of each group.
        covariance: sample covariance within each part; not looked at where n is below 2.
        products: product of the two distances of each part's means from its group's; not looked at where n is 0.
    """
    with np.errstate(all="ignore"):
        within = np.where(n > 1, (n - 1) * covariance, 0.0)
        between = np.where(n > 0, n * products, 0.0)
        return np.where(total > 1, parts.total(within + between) / (total - 1), np.nan)


def from_sums(n: ArrayLike, total: ArrayLike, total_squares: ArrayLike) -> Moments:
    """Moments from sums that another system kept: sum of the values and sum of their squares.

    For published sufficient statistics only: where the mean is large beside the spread, the variance has lost its
    digits before it gets here.

    Raises:
        BadInput: a count is negative or infinite, or the squares are smaller than the sums allow.
    """
    n, total, total_squares = aligned(n=n, total=total, total_squares=total_squares)
    counts("n", n)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / n
        squares_about_mean = total_squares - total * mean
        # What long sums lose to rounding is no error of theirs; more is.
        impossible = squares_about_mean < -1e-9 * np.abs(total_squares)
        refuse(impossible, "total_squares", total_squares, "it cannot be smaller than total ** 2 / n")
        return Moments(n, mean, np.maximum(squares_about_mean, 0.0) / (n - 1))
