"""Evidence against stated shares: the Dirichlet mixture of multinomials, valid at every look at counts that grow.

The evidence after n units is the likelihood of their counts under shares drawn from a Dirichlet prior centred on the
stated ones, over their likelihood under the stated ones. It is a martingale of mean 1 while the stated shares are true,
so that by Ville's inequality it ever reaches 1 / alpha with a probability of at most alpha, whatever the number of
looks, the order in which the units came and the batches they came in: Lindon & Malek (2022), "Anytime-valid inference
for multinomial count data", NeurIPS. Nothing of it is asymptotic.
"""

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.stats.arrays import Floats, Groups, floats, refuse

_FARTHEST = 100.0
"""Log odds beyond which a share is not told from 0 or 1."""


def tuned(tuned_at: ArrayLike) -> Floats:
    """`tuned_at` as float64. Raises BadInput where it is not a number above 0."""
    sizes = floats("tuned_at", tuned_at)
    refuse(~((sizes > 0) & np.isfinite(sizes)), "tuned_at", sizes, "it must be a number of units above 0")
    return sizes


def concentration(tuned_at: Floats, alpha: float, dimensions: ArrayLike = 1) -> Floats:
    """Units that the prior weighs as much as, for the evidence to reach 1 / alpha soonest at `tuned_at` units.

    After n units under a prior of k, chi-squared has to reach about (1 + 1 / u) (2 log(1 / alpha) + d log(1 + u)), with
    u = n / k and d dimensions: one less than there are shares. It is least where d (u - log(1 + u)) = 2 log(1 / alpha),
    which Newton's method finds from above.
    """
    needed = -2 * np.log(alpha) / np.asarray(dimensions, dtype=np.float64)
    u = needed + 2 * np.sqrt(needed) + 1
    for _ in range(10):
        u = u - (u - np.log1p(u) - needed) * (1 + u) / u
    return np.asarray(tuned_at / u)


def log_evidence(rows: Groups, counts: Floats, shares: Floats, prior: Floats) -> Floats:
    """Log evidence against the stated shares in each group of rows, shape (groups,).

    Args:
        rows: the group of each row.
        counts: units counted in each row; in a row whose share is 0 they must be 0.
        shares: stated share of each row, of sum 1 in each group.
        prior: weight of the prior of each group, in units.
    """
    from scipy.special import gammaln, xlogy

    weights = shares * prior[rows.index]
    with np.errstate(all="ignore"):
        each = gammaln(weights + counts) - gammaln(weights) - xlogy(counts, shares)
    total = rows.total(counts)
    return np.asarray(gammaln(prior) - gammaln(prior + total) + rows.total(np.where(shares == 0, 0.0, each)))


def share_bounds(count: Floats, n: Floats, prior: Floats, alpha: float) -> tuple[Floats, Floats]:
    """The shares that `count` out of `n` units do not speak against with an evidence of 1 / alpha: lowest and highest.

    Each share is tested with a prior centred on itself. A confidence sequence: all looks' intervals hold the true share
    together with a probability of at least 1 - alpha. NaN where a number is not known.

    Args:
        count: units in the one part.
        n: units in both; 0 for an interval from 0 to 1.
        prior: weight of the prior in units.
        alpha: 1 - coverage.
    """
    lowest = _lowest_share(count, n, prior, alpha)
    return lowest, 1 - _lowest_share(n - count, n, prior, alpha)


def _lowest_share(count: Floats, n: Floats, prior: Floats, alpha: float) -> Floats:
    """0 with up to one unit: the prior about a share near 0 lets the first unit be of either part."""
    from scipy.optimize.elementwise import find_root
    from scipy.special import expit, gammaln, log_expit, logit

    def over_threshold(log_odds: Floats, count: Floats, rest: Floats, prior: Floats, total: Floats) -> Floats:
        a, b = prior * expit(log_odds), prior * expit(-log_odds)
        mixture = gammaln(a + count) - gammaln(a) + gammaln(b + rest) - gammaln(b) + total
        return np.asarray(mixture - count * log_expit(log_odds) - rest * log_expit(-log_odds))

    bounded = count >= 2
    answer = np.where(np.isnan(count + n + prior), np.nan, 0.0)
    count, n, prior = count[bounded], n[bounded], prior[bounded]
    inside = np.minimum(logit(count / n), _FARTHEST)
    given = count, n - count, prior, gammaln(prior) - gammaln(prior + n) + np.log(alpha)
    answer[bounded] = expit(find_root(over_threshold, (np.full(inside.shape, -_FARTHEST), inside), args=given).x)
    return answer
