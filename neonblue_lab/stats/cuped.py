"""CUPED: variance removed by regression on what the same units did before the experiment.

Deng, Xu, Kohavi & Walker (2013), "Improving the sensitivity of online controlled experiments by utilizing
pre-experiment data", WSDM, eq. 4; for ratios of means with the linearised values of `neonblue_lab.stats.ratio` in the
place of the units'.

Conventions:

- One coefficient theta for both arms of a pair, from the units of both taken as one sample (about their common means),
  as in tea-tasting and gbstats.
- Each arm's mean is adjusted to the covariate's mean over both arms. The lift that `welch` makes of them is therefore
  relative to the adjusted control mean, as in tea-tasting; gbstats divides by the mean as it was.
- That theta is an estimate costs no degree of freedom, as in both.
"""

import numpy as np

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.adjustment import Adjusted
from neonblue_lab.stats.arrays import Floats
from neonblue_lab.stats.joint import JointMoments, pooled
from neonblue_lab.stats.moments import Moments
from neonblue_lab.stats.ratio import covariance, linearised, ratio_and_gradient, variance

_CONSTANT = 1e-13
"""A covariate whose standard deviation is a smaller share of its mean is constant but for rounding: a coefficient on
that would be as large as it is meaningless."""


def adjusted(control: JointMoments, variant: JointMoments) -> Adjusted:
    """Both arms with y (or the ratio y / d) adjusted for x (or x / w), row by row; they broadcast against each other.

    A unit that was not there before the experiment has x = 0, or whatever else it cannot have from the experiment. A
    control compared with several variants has other adjusted moments in each comparison.

    Returns:
        An `Adjusted`. Its moments are NaN in a row with an empty arm or with a covariate that is not known. Where the
        covariate does not vary they are those of `linearised`, with a gain of 0.

    Raises:
        BadInput: there is no column x, the arms have other columns, or their shapes disagree.
    """
    both = pooled(control, variant)
    coefficient = _theta(both)
    centre, _ = ratio_and_gradient(both, "x", "w")
    return Adjusted.of(
        _regressed(control, coefficient, centre),
        _regressed(variant, coefficient, centre),
        before=(linearised(control), linearised(variant)),
    )


def theta(control: JointMoments, variant: JointMoments) -> Floats:
    """The coefficient that `adjusted` takes: covariance of value and covariate over the covariate's variance; 0 where
    there is none. Raises BadInput as `adjusted`."""
    return _theta(pooled(control, variant))


def _theta(both: JointMoments) -> Floats:
    if "x" not in both.columns:
        raise BadInput(f"CUPED needs a column x, the covariate: there are {', '.join(both.columns)}.")
    _, value = ratio_and_gradient(both, "y", "d")
    centre, covariate = ratio_and_gradient(both, "x", "w")
    spread = variance(both, covariate)
    with np.errstate(all="ignore"):
        constant = spread <= (_CONSTANT * centre) ** 2
        return np.where(constant, 0.0, covariance(both, value, covariate) / spread)


def _regressed(arm: JointMoments, coefficient: Floats, centre: Floats) -> Moments:
    """Moments of value - theta * (covariate - centre), each linearised about the arm's own means."""
    mean, value = ratio_and_gradient(arm, "y", "d")
    before, covariate = ratio_and_gradient(arm, "x", "w")
    with np.errstate(all="ignore"):
        residual = value - coefficient[..., None] * covariate
        return Moments(arm.n, mean - coefficient * (before - centre), variance(arm, residual))
