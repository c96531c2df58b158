"""What an adjustment of the two arms answers: their moments with less variance, and how much less."""

from typing import NamedTuple, Self

import numpy as np

from neonblue_lab.stats.arrays import Floats
from neonblue_lab.stats.moments import Moments


class Adjusted(NamedTuple):
    """The two arms of each row after an adjustment, as `welch` takes them.

    Attributes:
        control: adjusted moments of the control, one for each variant that it is compared with.
        variant: adjusted moments of the variant.
        gain: share of the difference's variance that the adjustment removed, at most 1: with 0.3, 70 % of the units
            give the same interval. Below 0 where the adjustment did harm; NaN where there was no variance.
    """

    control: Moments
    variant: Moments
    gain: Floats

    @classmethod
    def of(cls, control: Moments, variant: Moments, *, before: tuple[Moments, Moments]) -> Self:
        """With the gain over the two arms as they were before."""
        with np.errstate(all="ignore"):
            plain = sum(arm.variance / arm.n for arm in before)
            gain = 1 - (control.variance / control.n + variant.variance / variant.n) / plain
        return cls(control, variant, np.where(np.isfinite(gain), gain, np.nan))
