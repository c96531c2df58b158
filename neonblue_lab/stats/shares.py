"""The interval of a share."""

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.stats.arrays import Floats, aligned
from neonblue_lab.stats.distributions import normal_quantile


def wilson(successes: ArrayLike, n: ArrayLike, *, alpha: float = 0.05) -> tuple[Floats, Floats]:
    """Low and high end of the interval of a share (Wilson 1927, "Probable inference", JASA 22(158)); 0 to 1 where n is 0.

    Successes need not be whole: those of soft outcomes are not.
    """
    successes, n = aligned(successes=successes, n=n)
    squared = normal_quantile(1 - alpha / 2) ** 2
    centre = (successes + squared / 2) / (n + squared)
    known = np.maximum(n, 1)
    half = np.sqrt(squared * (successes * (1 - successes / known) + squared / 4)) / (n + squared)
    return np.where(successes > 0, centre - half, 0.0), np.where(successes < n, centre + half, 1.0)
