"""Statistics on arrays: every function takes all experiments at once, and counts, means and variances instead of rows.

A row that cannot be tested (too few units, no variance) is NaN in the answer; a number that cannot be (a negative
count, more successes than units) raises `BadInput` naming its index. Importing this package costs numpy alone.
"""

from neonblue_lab.stats.adjustment import Adjusted
from neonblue_lab.stats.alpha_spending import Boundaries, boundaries
from neonblue_lab.stats.always_valid import AlwaysValid, confidence_sequence, critical_value, mixture_sprt
from neonblue_lab.stats.bayes import BetaPosterior, NormalPosterior, beta_posterior, normal_posterior
from neonblue_lab.stats.chi_squared import ChiSquaredTest
from neonblue_lab.stats.effects import Effects, differences, log_lifts
from neonblue_lab.stats.joint import JointMoments
from neonblue_lab.stats.moments import Moments, combine, from_sums
from neonblue_lab.stats.multiplicity import benjamini_hochberg, benjamini_yekutieli, holm
from neonblue_lab.stats.novelty import Trend, trend
from neonblue_lab.stats.omnibus import AnovaTest, homogeneity, welch_anova
from neonblue_lab.stats.poststratification import poststratified
from neonblue_lab.stats.power import Baseline, Design, SampleSize, allocation, minimum_effect, sample_size
from neonblue_lab.stats.quantiles import Quantile, QuantileRanks, quantile_of_sorted, quantile_ranks
from neonblue_lab.stats.ratio import linearised
from neonblue_lab.stats.ratio_diagnosis import BrokenSpan, RatioByPart, broken_span, by_part
from neonblue_lab.stats.sample_ratio import sample_ratio, sample_ratio_exact
from neonblue_lab.stats.segments import Interaction, interaction
from neonblue_lab.stats.sequential_ratio import SequentialRatio, sequential_sample_ratio, sequential_share
from neonblue_lab.stats.shrinkage import ProgrammePrior, Shrunk
from neonblue_lab.stats.shrinkage import fit as fit_programme
from neonblue_lab.stats.simulation import Simulation, simulate
from neonblue_lab.stats.two_sample import Comparison, NonInferiority, noninferiority, two_proportions, welch

__all__ = [
    "Adjusted",
    "AlwaysValid",
    "AnovaTest",
    "Baseline",
    "BetaPosterior",
    "Boundaries",
    "BrokenSpan",
    "ChiSquaredTest",
    "Comparison",
    "Design",
    "Effects",
    "Interaction",
    "JointMoments",
    "Moments",
    "NonInferiority",
    "NormalPosterior",
    "ProgrammePrior",
    "Quantile",
    "QuantileRanks",
    "RatioByPart",
    "SampleSize",
    "SequentialRatio",
    "Shrunk",
    "Simulation",
    "Trend",
    "allocation",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "beta_posterior",
    "boundaries",
    "broken_span",
    "by_part",
    "combine",
    "confidence_sequence",
    "critical_value",
    "differences",
    "fit_programme",
    "from_sums",
    "holm",
    "homogeneity",
    "interaction",
    "linearised",
    "log_lifts",
    "minimum_effect",
    "mixture_sprt",
    "noninferiority",
    "normal_posterior",
    "poststratified",
    "quantile_of_sorted",
    "quantile_ranks",
    "sample_ratio",
    "sample_ratio_exact",
    "sample_size",
    "sequential_sample_ratio",
    "sequential_share",
    "simulate",
    "trend",
    "two_proportions",
    "welch",
    "welch_anova",
]
