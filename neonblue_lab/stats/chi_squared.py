"""What a chi-squared test of each experiment answers."""

from dataclasses import dataclass

import numpy as np

from neonblue_lab.stats.arrays import Floats
from neonblue_lab.stats.distributions import chi_squared_tail


@dataclass(frozen=True, eq=False)
class ChiSquaredTest:
    """A chi-squared test of each experiment; arrays of shape (experiments,), NaN where there is nothing to test.

    Attributes:
        statistic: Pearson's chi-squared.
        df: degrees of freedom.
        p_value: P(chi-squared >= statistic).
    """

    statistic: Floats
    df: Floats
    p_value: Floats

    @classmethod
    def of(cls, statistic: Floats, df: Floats) -> "ChiSquaredTest":
        """The test of the given statistics: all NaN where df is below 1 or the statistic is NaN, and p = 0 where it is
        infinite, which nothing but the impossible is."""
        impossible = np.isinf(statistic)
        nothing = np.isnan(statistic) | ((df < 1) & ~impossible)
        statistic, df = np.where(nothing, np.nan, statistic), np.where(nothing, np.nan, df)
        return cls(statistic, df, np.where(impossible, 0.0, chi_squared_tail(statistic, df)))
