"""Many tests at once: p-values adjusted so that a threshold bounds the share of false discoveries."""

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.arrays import Floats, Groups, floats, refuse


def benjamini_hochberg(p_values: ArrayLike, groups: ArrayLike | None = None) -> Floats:
    """P-values adjusted by Benjamini & Hochberg (1995), "Controlling the false discovery rate", JRSS B 57(1).

    Rejecting what is adjusted to at most q keeps the expected share of false rejections at q or below, where the tests
    are independent or positively dependent, as comparisons with a common control are.

    Args:
        p_values: 1-d. A NaN is a test that was not made: it stays NaN and does not count.
        groups: integers from 0, one a test; the adjustment is made within each. All are one family unless given.

    Returns:
        Adjusted p-values in the order of `p_values`, each between its p-value and 1.

    Raises:
        BadInput: a p-value is outside 0 to 1, a group is not valid, or the shapes disagree.
    """
    p = floats("p_values", p_values)
    if p.ndim != 1:
        raise BadInput(f"p_values must be a 1-d array: got shape {p.shape}.")
    refuse((p < 0) | (p > 1), "p_values", p, "a p-value lies between 0 and 1")
    families = Groups(np.zeros(p.size, dtype=np.int64) if groups is None else groups)
    families.rows(p_values=p)

    made = np.flatnonzero(~np.isnan(p))
    order = made[np.lexsort((p[made], families.index[made]))]
    family, ordered = families.index[order], p[order]
    size = np.bincount(family, minlength=families.size)
    start = np.cumsum(size) - size
    rank = np.arange(order.size) - start[family] + 1
    stepped = np.minimum(ordered * (size[family] / rank), 1.0)

    # The smallest value at or above each rank, in all families by one running minimum: values are replaced by their
    # place in order, and an earlier family's places all lie below a later one's.
    by_value = np.argsort(stepped, kind="stable")
    place = np.empty(order.size, dtype=np.int64)
    place[by_value] = np.arange(order.size)
    lowest = np.minimum.accumulate((place + family * order.size)[::-1])[::-1]
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = stepped[by_value[lowest - family * order.size]]
    return adjusted
