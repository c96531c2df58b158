"""Tails and quantiles of the reference distributions, computed as tails: never 1 - cdf, which is 0 beyond 1e-16.

scipy.special is imported at the first call: it takes longer to load than everything here takes to run.
"""

import numpy as np

from neonblue_lab.stats.arrays import Floats


def t_two_sided(statistic: Floats, df: Floats) -> Floats:
    """P(|T| >= |statistic|) of Student's t with `df` degrees of freedom (a real number)."""
    from scipy.special import stdtr

    return np.asarray(2 * stdtr(df, -np.abs(statistic)))


def t_quantile(probability: float, df: Floats) -> Floats:
    """The value that Student's t with `df` degrees of freedom stays below with the given probability."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(df, probability))


def chi_squared_tail(statistic: Floats, df: Floats) -> Floats:
    """P(X >= statistic) of the chi-squared distribution."""
    from scipy.special import chdtrc

    return np.asarray(chdtrc(df, statistic))


def f_tail(statistic: Floats, df_between: Floats, df_within: Floats) -> Floats:
    """P(F >= statistic) of Fisher's F distribution."""
    from scipy.special import fdtrc

    return np.asarray(fdtrc(df_between, df_within, statistic))


def binomial_log_probability(successes: Floats, n: Floats, share: Floats) -> Floats:
    """log P(X = successes) of the binomial distribution, 0 < share < 1."""
    from scipy.special import gammaln, xlog1py, xlogy

    choices = gammaln(n + 1) - gammaln(successes + 1) - gammaln(n - successes + 1)
    return np.asarray(choices + xlogy(successes, share) + xlog1py(n - successes, -share))


def binomial_at_most(successes: Floats, n: Floats, share: Floats) -> Floats:
    """P(X <= successes) of the binomial distribution, successes < n."""
    from scipy.special import betainc

    return np.asarray(betainc(n - successes, successes + 1, 1 - share))


def binomial_more_than(successes: Floats, n: Floats, share: Floats) -> Floats:
    """P(X > successes) of the binomial distribution, successes < n."""
    from scipy.special import betainc

    return np.asarray(betainc(successes + 1, n - successes, share))
