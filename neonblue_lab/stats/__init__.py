"""Statistics on arrays: every function takes all experiments at once, and counts, means and variances instead of rows.

A row that cannot be tested (too few units, no variance) is NaN in the answer; a number that cannot be (a negative
count, more successes than units) raises `BadInput` naming its index. Importing this package costs numpy alone.
"""

from neonblue_lab.stats.chi_squared import ChiSquaredTest
from neonblue_lab.stats.moments import Moments, combine, from_sums
from neonblue_lab.stats.multiplicity import benjamini_hochberg
from neonblue_lab.stats.omnibus import AnovaTest, homogeneity, welch_anova
from neonblue_lab.stats.sample_ratio import sample_ratio, sample_ratio_exact
from neonblue_lab.stats.two_sample import Comparison, two_proportions, welch

__all__ = [
    "AnovaTest",
    "ChiSquaredTest",
    "Comparison",
    "Moments",
    "benjamini_hochberg",
    "combine",
    "from_sums",
    "homogeneity",
    "sample_ratio",
    "sample_ratio_exact",
    "two_proportions",
    "welch",
    "welch_anova",
]
