"""Omnibus tests: does any variant of an experiment differ from any other? One p-value an experiment, many variants.

Where every variant is the same, one in twenty of these is below 0.05 however many variants there are, which does not
hold for the smallest of the comparisons with the control.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.stats.arrays import Floats, Groups, counts, refuse
from neonblue_lab.stats.chi_squared import ChiSquaredTest
from neonblue_lab.stats.distributions import f_tail
from neonblue_lab.stats.moments import Moments


@dataclass(frozen=True, eq=False)
class AnovaTest:
    """An analysis of variance of each experiment; arrays of shape (experiments,), NaN where there is nothing to test.

    Attributes:
        statistic: F.
        df_between: degrees of freedom of the numerator, variants - 1.
        df_within: degrees of freedom of the denominator, a real number.
        p_value: P(F >= statistic).
    """

    statistic: Floats
    df_between: Floats
    df_within: Floats
    p_value: Floats


def homogeneity(
    experiment_index: ArrayLike, n: ArrayLike, successes: ArrayLike, n_experiments: int | None = None
) -> ChiSquaredTest:
    """Pearson's chi-squared test that all variants of an experiment have the same proportion of successes.

    For two variants it is the square of the pooled two-proportion z-test.

    Args:
        experiment_index: experiment of each row (a row is a variant), integers from 0.
        n: units in each variant; a variant without units is left out.
        successes: units of those with a success.
        n_experiments: length of the answer; one more than the largest index unless given.

    Returns:
        A `ChiSquaredTest`, df = variants with units - 1. NaN for an experiment with fewer than two such variants, with
        successes in all units or in none, or with a number that is not known.

    Raises:
        BadInput: a count is negative or infinite, successes exceed units, an index is not valid, or lengths disagree.
    """
    experiments = Groups(experiment_index, n_experiments)
    n, successes = experiments.rows(n=n, successes=successes)
    counts("n", n)
    counts("successes", successes)
    refuse(successes > n, "successes", successes, "there cannot be more successes than units (n)")
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (experiments.total(successes) / experiments.total(n))[experiments.index]
        squares = (successes - n * share) ** 2 / (n * share * (1 - share))
    statistic = experiments.total(np.where(n == 0, 0.0, squares))
    return ChiSquaredTest.of(statistic, experiments.total(n != 0) - 1)


def welch_anova(experiment_index: ArrayLike, variants: Moments, n_experiments: int | None = None) -> AnovaTest:
    """Welch's analysis of variance: that all variants of an experiment have the same mean, whatever their variances.

    Welch (1951), "On the comparison of several mean values: an alternative approach", Biometrika 38(3/4). For two
    variants F is the square of the t of `welch`, with the same p-value.

    Args:
        experiment_index: experiment of each row (a row is a variant), integers from 0.
        variants: 1-d, one row a variant; a variant with n = 0 is left out.
        n_experiments: length of the answer; one more than the largest index unless given.

    Returns:
        An `AnovaTest`. NaN for an experiment with fewer than two variants with units, or with a variant of one unit, of
        no variance, or of a mean or variance that is not known: leaving that variant out would answer something else.

    Raises:
        BadInput: an index is not valid, or there is not one for each row.
    """
    experiments = Groups(experiment_index, n_experiments)
    n, mean, variance = experiments.rows(n=variants.n, mean=variants.mean, variance=variants.variance)
    present = n != 0
    k = experiments.total(present)
    with np.errstate(all="ignore"):
        weight = np.where(present, n / variance, 0.0)
        common = experiments.weighted_mean(weight, mean)
        relative = weight / experiments.total(weight)[experiments.index]
        between = experiments.total(np.where(present, weight * (mean - common[experiments.index]) ** 2, 0.0)) / (k - 1)
        unevenness = experiments.total(np.where(present, (1 - relative) ** 2 / (n - 1), 0.0)) / (k**2 - 1)
        statistic = between / (1 + 2 * (k - 2) * unevenness)
        df_within = 1 / (3 * unevenness)
    nothing = (k < 2) | ~np.isfinite(statistic)
    statistic, df_between, df_within = (np.where(nothing, np.nan, values) for values in (statistic, k - 1, df_within))
    return AnovaTest(statistic, df_between, df_within, f_tail(statistic, df_between, df_within))
