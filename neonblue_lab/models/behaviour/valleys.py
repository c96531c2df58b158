"""Is there a valley between two neighbouring clusters, or was one heap cut in two?

k-means cuts anything into k pieces, and cuts an even cloud along its long side alike each time: neither a good fit nor
a stable one says that there are groups. A valley does: on the line through two centroids, a place with fewer rows than
a place on its left and a place on its right. The three places are chosen on the rows that the centroids were found
with, and counted on others: if the density had one top, the middle one would hold at least as many as the lower of its
two shoulders, so that exact binomial tests against *both* shoulders reject at most as often as they say.

Rows are those whose foot on the border between the two lies in the face that their cells share: without this, cells
that bulge behind a narrow face would look like a valley in an even cloud of more than one dimension.
"""

from itertools import combinations

import numpy as np
from scipy.stats import binom

from neonblue_lab.stats.arrays import Floats, Integers

BINS = 8
"""Places between two centroids."""
REACH = 2
"""Length of the line that is looked at, in distances between the two centroids; the border is in its middle."""
AT_ONCE = 5_000
"""Rows worked on at a time, to bound memory."""


def valley_p_value(chosen_on: Floats, counted_on: Floats, centroids: Floats) -> float:
    """The largest p-value of "no valley" over all neighbouring pairs: small where every pair has a valley between.

    Two centroids are neighbours when none other is nearer to the point half way between them.

    Args:
        chosen_on: rows x dimensions, may be those that the centroids were found with.
        counted_on: other rows.
        centroids: k x dimensions, k at least 2.
    """
    p_values = [
        _no_valley(_along(chosen_on, centroids, pair), _along(counted_on, centroids, pair))
        for pair in combinations(range(len(centroids)), 2)
        if _neighbours(centroids, pair)
    ]
    return max(p_values)


def _neighbours(centroids: Floats, pair: tuple[int, int]) -> bool:
    first, second = pair
    distance = ((centroids - (centroids[first] + centroids[second]) / 2) ** 2).sum(axis=1)
    return bool(distance[first] <= np.delete(distance, pair).min(initial=np.inf) * (1 + 1e-9))


def _along(rows: Floats, centroids: Floats, pair: tuple[int, int]) -> Integers:
    """Counts of rows by place on the line through the two, REACH * BINS places."""
    first, second = pair
    middle = (centroids[first] + centroids[second]) / 2
    length = np.linalg.norm(centroids[second] - centroids[first])
    axis = (centroids[second] - centroids[first]) / length
    others = np.delete(centroids, pair, axis=0) - middle
    edges = np.linspace(-REACH / 2, REACH / 2, REACH * BINS + 1)
    counts = np.zeros(edges.size - 1, dtype=np.int64)
    for start in range(0, len(rows), AT_ONCE):
        away = rows[start : start + AT_ONCE] - middle
        along = away @ axis
        foot = away - along[:, None] * axis
        # squared distances from the foot, each less the foot's own square
        nearest = ((others**2).sum(axis=1) - 2 * foot @ others.T).min(axis=1, initial=np.inf)
        counts += np.histogram(along[nearest >= length**2 / 4] / length, edges)[0]
    return counts


def _no_valley(chosen_on: Integers, counted_on: Integers) -> float:
    """The p-value at the deepest valley of the first counts, whose bottom lies between the two centroids."""
    end = (chosen_on.size - BINS) // 2
    best, places = -np.inf, (0, 0, 0)
    for bottom in range(end, end + BINS):
        left, right = int(chosen_on[:bottom].argmax()), bottom + 1 + int(chosen_on[bottom + 1 :].argmax())
        lower = min(chosen_on[left], chosen_on[right])
        depth = (lower - chosen_on[bottom]) / np.sqrt(max(lower + chosen_on[bottom], 1))
        if depth > best:
            best, places = depth, (left, bottom, right)
    left, bottom, right = places
    inside, shoulders = counted_on[bottom], counted_on[[left, right]]
    return float(binom.cdf(inside, inside + shoulders, 0.5).max())
