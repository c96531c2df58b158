"""An effect and its standard error: the two numbers that pooling over experiments, segments or days starts from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neonblue_lab.stats.arrays import Floats, aligned, refuse
from neonblue_lab.stats.moments import Moments


@dataclass(frozen=True, eq=False)
class Effects:
    """Estimated effects, each approximately normal about its truth. Give anything that broadcasts.

    Attributes:
        estimate: the effect, in any one unit (a difference, a lift, a log lift); NaN where it is not known.
        standard_error: of the estimate, in the same unit; NaN where it is not known.

    Raises:
        BadInput: a standard error is negative, an estimate is infinite, or the shapes disagree.
    """

    estimate: Floats
    standard_error: Floats

    def __init__(self, estimate: ArrayLike, standard_error: ArrayLike) -> None:
        estimate, standard_error = aligned(estimate=estimate, standard_error=standard_error)
        refuse(np.isinf(estimate), "estimate", estimate, "an effect is finite")
        refuse(standard_error < 0, "standard_error", standard_error, "a standard error is not negative")
        object.__setattr__(self, "estimate", np.array(estimate))
        object.__setattr__(self, "standard_error", np.array(standard_error))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Where there is an estimate and a finite standard error above 0: nothing else can be weighed."""
        usable = np.isfinite(self.standard_error) & (self.standard_error > 0)
        return np.asarray(usable & ~np.isnan(self.estimate))


def differences(control: Moments, variant: Moments) -> Effects:
    """Variant mean - control mean, with the unpooled standard error of `welch`.

    Raises:
        BadInput: the shapes disagree.
    """
    with np.errstate(all="ignore"):
        return Effects(
            variant.mean - control.mean, np.sqrt(control.variance / control.n + variant.variance / variant.n)
        )


def log_lifts(control: Moments, variant: Moments) -> Effects:
    """Log of variant mean / control mean, with its standard error by the delta method.

    The scale on which lifts pool: a doubling and a halving are equally far from nothing, and the estimate is near
    normal where the lift itself is skewed. `numpy.expm1` leads back to the lift.

    Returns:
        Effects; NaN where a mean is 0 or the two are not of one sign.

    Raises:
        BadInput: the shapes disagree.
    """
    with np.errstate(all="ignore"):
        ratio = variant.mean / control.mean
        squared = control.variance / (control.n * control.mean**2) + variant.variance / (variant.n * variant.mean**2)
        positive = np.isfinite(ratio) & (ratio > 0)
        return Effects(np.log(np.where(positive, ratio, np.nan)), np.sqrt(np.where(positive, squared, np.nan)))
