"""Tails and quantiles of the reference distributions, computed as tails: never 1 - cdf, which is 0 beyond 1e-16.

scipy.special is imported at the first call: it takes longer to load than everything here takes to run.
"""

from typing import overload

import numpy as np

from neonblue_lab.stats.arrays import Floats


def normal_at_most(value: Floats) -> Floats:
    """P(Z <= value) of the standard normal; of a mirrored value, the upper tail."""
    from scipy.special import ndtr

    return np.asarray(ndtr(value))


@overload
def normal_quantile(probability: float) -> float: ...
@overload
def normal_quantile(probability: Floats) -> Floats: ...
def normal_quantile(probability: float | Floats) -> float | Floats:
    """The value that the standard normal stays below with the given probability."""
    from scipy.special import ndtri

    value = ndtri(probability)
    return float(value) if isinstance(probability, float) else np.asarray(value)


def normal_loss(value: Floats) -> Floats:
    """E[max(0, -X)] of X normal with mean `value` and variance 1; as a tail where it is one, never as a difference."""
    from scipy.special import erfcx

    density = np.exp(-(value**2) / 2) / np.sqrt(2 * np.pi)
    above = density * (1 - np.sqrt(np.pi / 2) * np.abs(value) * erfcx(np.abs(value) / np.sqrt(2)))
    return np.asarray(np.where(value < 0, above - value, above))


def beta_log_odds(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of log(X / (1 - X)) of the beta distribution with parameters a and b."""
    from scipy.special import digamma, zeta

    return np.asarray(digamma(a) - digamma(b)), np.sqrt(zeta(2, a) + zeta(2, b))


def beta_at_most(log_odds: Floats, a: Floats, b: Floats) -> Floats:
    """P(log(X / (1 - X)) <= log_odds) of the beta distribution with parameters a and b."""
    from scipy.special import betainc, expit

    return np.asarray(betainc(a, b, expit(log_odds)))


def log_share(log_odds: Floats) -> Floats:
    """log of the share that has these log odds."""
    from scipy.special import log_expit

    return np.asarray(log_expit(log_odds))


def t_two_sided(statistic: Floats, df: Floats) -> Floats:
    """P(|T| >= |statistic|) of Student's t with `df` degrees of freedom (a real number)."""
    from scipy.special import stdtr

    return np.asarray(2 * stdtr(df, -np.abs(statistic)))


def t_at_least(statistic: Floats, df: Floats) -> Floats:
    """P(T >= statistic) of Student's t with `df` degrees of freedom (a real number)."""
    from scipy.special import stdtr

    return np.asarray(stdtr(df, -statistic))


def t_quantile(probability: float, df: Floats) -> Floats:
    """The value that Student's t with `df` degrees of freedom stays below with the given probability.

    From 2,000 degrees of freedom on by the expansion in 1 / df of Abramowitz & Stegun (1964), 26.7.5: 30 times as fast,
    and the same to 1e-12 for a probability of 1e-6 or more on either side.
    """
    from scipy.special import ndtri, stdtrit

    z = float(ndtri(probability))
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    df = np.asarray(df)
    with np.errstate(divide="ignore", invalid="ignore"):
        quantile = np.asarray(z + (first + (second + (third + fourth / df) / df) / df) / df)
    few = ~(df >= 2_000)
    quantile[few] = stdtrit(df[few], probability)
    return quantile


def noncentral_t_tail(statistic: Floats, df: Floats, shift: Floats) -> Floats:
    """P(T > statistic) of noncentral t, statistic >= 0; `shift` is the noncentrality.

    From 10 million degrees of freedom on that of the shifted normal, which differs by less than 1e-7: the series of the
    noncentral distribution gives up there.
    """
    from scipy.special import nctdtr, ndtr

    below = nctdtr(df, np.abs(shift), np.where(shift < 0, -statistic, statistic))
    # It is NaN, too, where the tail is less than 1e-16, which is nothing beside the other tail.
    below = np.where(np.isnan(below) & ~np.isnan(statistic + df + shift), 0.0, below)
    return np.asarray(np.where(df < 1e7, np.where(shift < 0, below, 1 - below), ndtr(shift - statistic)))


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
