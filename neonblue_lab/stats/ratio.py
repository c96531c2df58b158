"""Ratio of means: sum of y over sum of d, such as orders a session, where the unit that was randomised is the user.

The sessions of one user are not independent, so that their own variance understates the error. The delta method takes
the variance over users instead: Deng, Knoblich & Lu (2018), "Applying the delta method in metric analytics", KDD,
section 4, on cluster randomization.
"""

import numpy as np

from neonblue_lab.stats.arrays import Floats
from neonblue_lab.stats.joint import JointMoments
from neonblue_lab.stats.moments import Moments

_ROUNDING = 1e-12
"""A variance that is a smaller share of what it is the difference of is none: its digits are lost."""


def linearised(joint: JointMoments) -> Moments:
    """The ratio mean(y) / mean(d) as if it were a mean of n units, so that `welch` takes it.

    The unit's value is R + (y - R d) / mean(d) with R the ratio: its mean is R, and its sample variance
    (var(y) - 2 R cov(y, d) + R^2 var(d)) / mean(d)^2. Without a column d it is the mean of y itself.

    The tests and intervals made of it are asymptotic: the arm's mean of d must lie many standard errors from 0.

    Returns:
        Moments of the shape of `joint`; a ratio whose mean(d) is 0 is NaN.
    """
    value, gradient = ratio_and_gradient(joint, "y", "d")
    return Moments(joint.n, value, variance(joint, gradient))


def ratio_and_gradient(joint: JointMoments, numerator: str, denominator: str) -> tuple[Floats, Floats]:
    """The ratio of two columns' means, shape (...), and its derivative by the mean of each column, shape (..., k).

    Without the denominator's column it is the mean of the numerator's, as if all denominators were 1.
    """
    top = joint.columns.index(numerator)
    gradient = np.zeros(joint.mean.shape)
    if denominator not in joint.columns:
        gradient[..., top] = 1.0
        return joint.mean[..., top], gradient
    bottom = joint.columns.index(denominator)
    base = np.where(joint.mean[..., bottom] == 0, np.nan, joint.mean[..., bottom])
    with np.errstate(all="ignore"):
        ratio = joint.mean[..., top] / base
        gradient[..., top] = 1 / base
        gradient[..., bottom] = -ratio / base
    return ratio, gradient


def covariance(joint: JointMoments, first: Floats, second: Floats) -> Floats:
    """Covariance of two linear combinations of the columns, given their coefficients, shapes (..., k): shape (...)."""
    return np.asarray(_terms(joint, first, second).sum(axis=(-2, -1)))


def variance(joint: JointMoments, coefficients: Floats) -> Floats:
    """Variance of a linear combination of the columns; 0 where the terms cancel but for rounding."""
    terms = _terms(joint, coefficients, coefficients)
    total = terms.sum(axis=(-2, -1))
    return np.where(total <= _ROUNDING * np.abs(terms).sum(axis=(-2, -1)), 0.0, total)


def _terms(joint: JointMoments, first: Floats, second: Floats) -> Floats:
    """What each pair of columns adds to a covariance; 0, and not NaN, of a column that takes no part."""
    with np.errstate(all="ignore"):
        weights = first[..., :, None] * second[..., None, :]
        return np.where(weights == 0, 0.0, weights * joint.covariance)
