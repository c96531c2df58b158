"""Post-stratification: the arms compared within strata known before the experiment, such as country or platform.

Chance gives the arms other mixes of strata; weighting each stratum by its share of all units takes that out of the
difference and its variance. Miratrix, Sekhon & Yu (2013), "Adjusting treatment effect estimates by post-stratification
in randomized experiments", JRSS B 75(2). The variance is the sum over the strata of Neyman's, given the units that each
stratum has in each arm; the whole is regression on treatment, strata and their products with HC2 errors.
"""

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.stats.adjustment import Adjusted
from neonblue_lab.stats.arrays import Floats, Groups, Integers
from neonblue_lab.stats.moments import Moments, combine


def poststratified(control: Moments, variant: Moments, groups: ArrayLike, n_groups: int | None = None) -> Adjusted:
    """Both arms of each comparison, weighted to the strata's shares of its units in the two arms together.

    A stratum with fewer than 2 units in an arm cannot be compared within itself: its units join those of the
    comparison's smallest stratum that can, and where there is none, all units are one stratum. Which strata join is
    decided by counts alone, never by the metric. The degrees of freedom that `welch` takes are those of the arms' units,
    which is near enough where most strata have many.

    Args:
        control: 1-d, one row a stratum of a comparison.
        variant: the same strata of the variant.
        groups: the comparison that each row belongs to, integers from 0.
        n_groups: how many comparisons there are; one more than the largest of `groups` unless given.

    Returns:
        An `Adjusted` of shape (n_groups,): n is the arm's number of units, and variance / n the squared standard error
        of its weighted mean. The gain is over the same comparison without strata. An arm with fewer than 2 units in
        all, or with a count that is not known, has no variance.

    Raises:
        BadInput: a group is negative or not below `n_groups`, or the rows of the three are not as many.
    """
    comparisons = Groups(groups, n_groups)
    n_control, n_variant = comparisons.rows(n_of_the_control=control.n, n_of_the_variant=variant.n)
    stratum = _joined(comparisons, n_control, n_variant)
    of_stratum = np.zeros(stratum.size, dtype=np.int64)
    of_stratum[stratum] = comparisons.index
    arms = [combine(arm, stratum, stratum.size) for arm in (control, variant)]
    units = arms[0].n + arms[1].n
    within = Groups(of_stratum, comparisons.size)
    adjusted = [_weighted(arm, units, within) for arm in arms]
    plain = [combine(arm, comparisons.index, comparisons.size) for arm in (control, variant)]
    return Adjusted.of(adjusted[0], adjusted[1], before=(plain[0], plain[1]))


def _joined(comparisons: Groups, n_control: Floats, n_variant: Floats) -> Integers:
    """The row that stands for each row's stratum: itself, or the one that a stratum too thin to compare joins."""
    thin = ~((n_control >= 2) & (n_variant >= 2))
    order = np.lexsort((n_control + n_variant, thin, comparisons.index))
    own = np.arange(order.size)
    first = np.zeros(comparisons.size, dtype=np.int64)
    # The last assignment stands: in reverse order, that of the comparison's smallest stratum that is not thin.
    first[comparisons.index[order[::-1]]] = order[::-1]
    return np.where(thin, first[comparisons.index], own)


def _weighted(arm: Moments, units: Floats, within: Groups) -> Moments:
    """The arm's moments with its strata weighted by `units`; a stratum without units counts for nothing."""
    n = within.total(arm.n)
    with np.errstate(all="ignore"):
        share = units / within.total(units)[within.index]
        squared_error = within.total(np.where(units == 0, 0.0, share**2 * arm.variance / arm.n))
        return Moments(n, within.weighted_mean(units, arm.mean), squared_error * n)
