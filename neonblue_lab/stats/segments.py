"""Segments: does the effect differ between them, and how large is it in each, so that a segment's story is not noise?

Among ten segments one looks like a discovery by chance. The interaction test asks of all at once whether anything
differs; the effects in segments are drawn towards the common one as far as their differences can be noise.
Segments must not share units: one call a dimension (device, country), each with its own rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.stats.arrays import Floats, check_alpha
from neonblue_lab.stats.chi_squared import ChiSquaredTest
from neonblue_lab.stats.effects import Effects
from neonblue_lab.stats.random_effects import random_effects
from neonblue_lab.stats.shrinkage import Shrunk


@dataclass(frozen=True, eq=False)
class Interaction:
    """Segments of each experiment; arrays of the rows' shape, and of (..., segments) in `segments`.

    Attributes:
        test: Cochran's Q, that the effect is the same in all segments.
        excess: I squared, the share of the estimates' differences that noise does not explain, 0 to 1.
        effect: the effect common to all segments, each weighted by its precision as if it were the same in all.
        spread: posterior mean of the standard deviation of true effects between segments.
        segments: the effect in each segment, shrunk towards the others.
    """

    test: ChiSquaredTest
    excess: Floats
    effect: Floats
    spread: Floats
    segments: Shrunk


def interaction(estimates: ArrayLike, standard_errors: ArrayLike, *, alpha: float = 0.05) -> Interaction:
    """Test whether effects differ between segments, and shrink them, for many experiments at once.

    The test is Cochran's Q (1954), "The combination of estimates from different experiments", Biometrics 10(1); the
    excess is that of Higgins & Thompson (2002), "Quantifying heterogeneity in a meta-analysis", Statistics in Medicine
    21(11). Effects are shrunk by `random_effects`: the spread between segments is averaged over, never taken to be 0
    because so few segments cannot show it. Simulated with four segments, shrinking halves the squared error where they
    are alike and adds 7 % to it where they differ by five standard errors; 95 % intervals then cover 93 %.

    Args:
        estimates: effect in each segment, segments along the last axis, in any one unit. A segment whose estimate or
            error is not known does not count, so that experiments may have different numbers of them.
        standard_errors: of the estimates; broadcasts against them.
        alpha: 1 - coverage of the segments' intervals.

    Returns:
        An `Interaction`; NaN in a row with fewer than two known segments.

    Raises:
        BadInput: a standard error is negative, an estimate is infinite, the shapes disagree, or alpha does not lie
            between 0 and 1.
    """
    check_alpha(alpha)
    effects = Effects(np.atleast_1d(estimates), np.atleast_1d(standard_errors))
    known, segments = effects.known, effects.known.sum(-1)
    with np.errstate(all="ignore"):
        precision = np.where(known, 1 / effects.standard_error**2, 0.0)
        estimate = np.where(known, effects.estimate, 0.0)
        effect = np.where(segments > 1, (precision * estimate).sum(-1) / precision.sum(-1), np.nan)
        statistic = (precision * (estimate - effect[..., None]) ** 2).sum(-1)
        test = ChiSquaredTest.of(statistic, segments - 1.0)
        excess = np.where(statistic > 0, np.maximum(1 - test.df / statistic, 0.0), 0 * statistic)
    alike = random_effects(effects)
    each = alike.of_each(effects)
    return Interaction(
        test=test,
        excess=excess,
        effect=effect,
        spread=np.asarray((alike.weight * alike.spread).sum(-1)),
        segments=Shrunk.of(each, alpha),
    )
