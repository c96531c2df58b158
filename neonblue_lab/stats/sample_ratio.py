"""Sample-ratio check: were the units split among the variants as the experiment's allocation says?

A mismatch means that units were lost or misplaced on the way, and that the comparison of the variants cannot be
trusted: Fabijan et al. (2019), "Diagnosing sample ratio mismatch in online controlled experiments", KDD. As every
experiment is checked, and a real defect is seldom subtle, the usual threshold is p < 0.001.
"""

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.stats.arrays import Floats, Groups, aligned, counts, refuse
from neonblue_lab.stats.chi_squared import ChiSquaredTest
from neonblue_lab.stats.distributions import binomial_at_most, binomial_log_probability, binomial_more_than

_EQUALLY_LIKELY = 1e-7
"""Two counts whose log-probabilities differ by less are as likely as each other: rounding must not part them."""


def sample_ratio(
    experiment_index: ArrayLike, observed: ArrayLike, allocation: ArrayLike, n_experiments: int | None = None
) -> ChiSquaredTest:
    """Pearson's chi-squared test of observed counts against the allocation, for many experiments at once.

    Rows are variants; `experiment_index` says whose. An approximation that wants five expected units in each variant:
    see `sample_ratio_exact` for two small variants.

    Args:
        experiment_index: experiment of each row, integers from 0.
        observed: units counted in each variant.
        allocation: share of units meant for each variant, in any unit: normalised within the experiment. Ones mean an
            equal split.
        n_experiments: length of the answer; one more than the largest index unless given.

    Returns:
        A `ChiSquaredTest`, df = variants with an allocation - 1. NaN for an experiment with fewer than two such
        variants, without units, or with a number that is not known. Units in a variant that should get none cannot be
        chance: an infinite statistic and p = 0, however many variants have an allocation.

    Raises:
        BadInput: a count or an allocation is negative or infinite, an index is not valid, or lengths disagree.
    """
    experiments = Groups(experiment_index, n_experiments)
    observed, allocation = experiments.rows(observed=observed, allocation=allocation)
    counts("observed", observed)
    refuse(
        (allocation < 0) | np.isinf(allocation), "allocation", allocation, "a share of units is finite and not negative"
    )
    with np.errstate(all="ignore"):
        units_a_share = experiments.total(observed) / experiments.total(allocation)
        expected = allocation * units_a_share[experiments.index]
        squares = (observed - expected) ** 2 / expected
    statistic = experiments.total(np.where((allocation == 0) & (observed == 0), 0.0, squares))
    return ChiSquaredTest.of(statistic, experiments.total(allocation != 0) - 1)


def sample_ratio_exact(observed: ArrayLike, n: ArrayLike, share: ArrayLike = 0.5) -> Floats:
    """Exact two-sided binomial p-value of `observed` out of `n` units in a variant that should get `share` of them.

    For two variants whose counts are too small for `sample_ratio`. Sums the probabilities of all counts that are no
    likelier than the observed one (the convention of R's binom.test and scipy's binomtest).

    Args:
        observed: units in the one variant, whole numbers.
        n: units in both, whole numbers.
        share: the variant's allocation, between 0 and 1.

    Returns:
        p-values of the shape that the arguments broadcast to; NaN where an argument is not known, 1 where n is 0.

    Raises:
        BadInput: a count is negative or not whole, observed exceeds n, or a share does not lie between 0 and 1.
    """
    observed, n, share = aligned(observed=observed, n=n, share=share)
    for name, count in (("observed", observed), ("n", n)):
        counts(name, count)
        refuse(count % 1 > 0, name, count, "a count is a whole number")
    refuse(observed > n, "observed", observed, "it cannot exceed n")
    refuse((share <= 0) | (share >= 1), "share", share, "it must lie between 0 and 1")

    # Seen from the variant that got fewer units than expected, the likelier counts end at some `far` above the mean.
    below = observed <= n * share
    few = np.where(below, observed, n - observed)
    share = np.where(below, share, 1 - share)
    bound = binomial_log_probability(few, n, share) + _EQUALLY_LIKELY
    likely, far = np.ceil(n * share) - 1, n + 1
    for _ in range(int(np.max(n, initial=0, where=~np.isnan(n))).bit_length() + 1):
        middle = np.floor((likely + far) / 2)
        rare = binomial_log_probability(np.minimum(middle, n), n, share) <= bound
        far = np.where(rare, middle, far)
        likely = np.where(rare, likely, middle)
    upper = np.where(far > n, 0.0, binomial_more_than(far - 1, n, share))
    p_value = np.minimum(binomial_at_most(few, n, share) + upper, 1.0)
    return np.where(few == n * share, 1.0, p_value)
