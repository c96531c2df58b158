"""Many tests at once: p-values adjusted so that a threshold bounds the family's or the discoveries' share of errors.

`holm` bounds the chance of even one false rejection: for the few metrics that a decision rests on. `benjamini_hochberg`
bounds the expected share of false rejections among all: for a programme or a page of segments. `benjamini_yekutieli`
does so under any dependence, at the price of a factor that grows as the log of the number of tests.
"""

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.arrays import Floats, Groups, Integers, floats, refuse


def holm(p_values: ArrayLike, groups: ArrayLike | None = None) -> Floats:
    """P-values adjusted by Holm (1979), "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6.

    Rejecting what is adjusted to at most alpha keeps the probability of any false rejection at alpha or below, however
    the tests depend on each other.

    Args:
        p_values: 1-d. A NaN is a test that was not made: it stays NaN and does not count.
        groups: integers from 0, one a test; the adjustment is made within each. All are one family unless given.

    Returns:
        Adjusted p-values in the order of `p_values`, each between its p-value and 1.

    Raises:
        BadInput: a p-value is outside 0 to 1, a group is not valid, or the shapes disagree.
    """
    ranked = _Ranked(p_values, groups)
    left = ranked.size - ranked.rank + 1
    return ranked.placed(_highest_up_to(np.minimum(ranked.p * left, 1.0), ranked.family))


def benjamini_hochberg(p_values: ArrayLike, groups: ArrayLike | None = None) -> Floats:
    """P-values adjusted by Benjamini & Hochberg (1995), "Controlling the false discovery rate", JRSS B 57(1).

    Rejecting what is adjusted to at most q keeps the expected share of false rejections at q or below, where the tests
    are independent or positively dependent, as comparisons with a common control are.

    Args, returns and raises as `holm`.
    """
    ranked = _Ranked(p_values, groups)
    stepped = np.minimum(ranked.p * (ranked.size / ranked.rank), 1.0)
    return ranked.placed(_lowest_from(stepped, ranked.family))


def benjamini_yekutieli(p_values: ArrayLike, groups: ArrayLike | None = None) -> Floats:
    """P-values adjusted by Benjamini & Yekutieli (2001), "The control of the false discovery rate in multiple testing
    under dependency", Annals of Statistics 29(4), theorem 1.3: those of `benjamini_hochberg` times 1 + 1/2 + ... + 1/m
    before they are cut at 1.

    Rejecting what is adjusted to at most q keeps the expected share of false rejections at q or below however the tests
    depend on each other, metrics that move against one another included.

    Args, returns and raises as `holm`.
    """
    ranked = _Ranked(p_values, groups)
    harmonic = np.cumsum(1 / np.arange(1, ranked.size.max(initial=1) + 1))
    stepped = np.minimum(ranked.p * (ranked.size * harmonic[ranked.size - 1] / ranked.rank), 1.0)
    return ranked.placed(_lowest_from(stepped, ranked.family))


class _Ranked:
    """The tests that were made, ordered by family and within it by p-value.

    Attributes, each of shape (tests made,):
        p: the p-values.
        family: the family of each.
        rank: the place of each in its family, from 1.
        size: the number of tests made in its family.
    """

    def __init__(self, p_values: ArrayLike, groups: ArrayLike | None) -> None:
        p = floats("p_values", p_values)
        if p.ndim != 1:
            raise BadInput(f"p_values must be a 1-d array: got shape {p.shape}.")
        refuse((p < 0) | (p > 1), "p_values", p, "a p-value lies between 0 and 1")
        families = Groups(np.zeros(p.size, dtype=np.int64) if groups is None else groups)
        families.rows(p_values=p)

        made = np.flatnonzero(~np.isnan(p))
        self._shape = p.shape
        self._order = made[np.lexsort((p[made], families.index[made]))]
        self.p: Floats = p[self._order]
        self.family: Integers = families.index[self._order]
        sizes = np.bincount(self.family, minlength=families.size)
        start = np.cumsum(sizes) - sizes
        self.rank: Integers = np.arange(self.p.size) - start[self.family] + 1
        self.size: Integers = sizes[self.family]

    def placed(self, adjusted: Floats) -> Floats:
        """`adjusted`, one for each test made, in the order that the p-values came in."""
        answer = np.full(self._shape, np.nan)
        answer[self._order] = adjusted
        return answer


def _highest_up_to(values: Floats, family: Integers) -> Floats:
    """The largest value of the family up to each, in all families by one running maximum: values are replaced by their
    place in order, and a later family's places all lie above an earlier one's."""
    by_value = np.argsort(values, kind="stable")
    place = np.empty(values.size, dtype=np.int64)
    place[by_value] = np.arange(values.size)
    highest = np.maximum.accumulate(place + family * values.size)
    return np.asarray(values[by_value[highest - family * values.size]])


def _lowest_from(values: Floats, family: Integers) -> Floats:
    """The smallest value of the family from each on."""
    return -_highest_up_to(-values[::-1], family.max(initial=0) - family[::-1])[::-1]
