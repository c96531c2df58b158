"""Variable-order Markov chain: what followed the last one, two, three actions, each order backing off to the one below.

Interpolated absolute discounting (Chen & Goodman 1999, "An empirical study of smoothing techniques for language
modeling", section 2.7) with pseudo-counts k, which give Dirichlet smoothing where the discount is 0:

    P(x | h) = (max(c(h, x) - D, 0) + (k + D * kinds(h)) * P(x | h')) / (c(h) + k)

where h' is h without its oldest action, and kinds(h) is how many different actions followed h.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neonblue_lab.models.behaviour.sequences import Sequences
from neonblue_lab.stats.arrays import Floats, Integers

ORDER = 3
"""The longest history that is counted."""


@dataclass(frozen=True)
class Smoothing:
    """How far what was counted is trusted.

    Attributes:
        order: how many actions back are looked at; 0 is popularity.
        discount: taken off each count, 0 to 1.
        pseudo_counts: how many observations the shorter history is worth.
    """

    order: int
    discount: float
    pseudo_counts: float


GRID = tuple(Smoothing(*choice) for choice in product((1, 2, 3), (0.0, 0.5, 0.75), (8.0, 32.0, 128.0)))
"""The smoothings that `best_smoothing` tries."""


@dataclass(frozen=True, eq=False)
class _Histories:
    """Histories of one length: their keys, in order, and how often each action followed (histories x actions)."""

    keys: Integers
    counts: sparse.csr_array


class Markov:
    """Counts of what followed each history of up to ORDER actions. A session's start is part of a history.

    Attributes:
        size: actions in the vocabulary.
    """

    def __init__(self, size: int, popularity: Floats, histories: tuple[_Histories, ...]) -> None:
        self.size = size
        self._popularity = popularity
        self._histories = histories

    @classmethod
    def fit(cls, contexts: Sequences, targets: Integers, size: int) -> "Markov":
        """Count known targets after their contexts."""
        above: Integers = np.zeros(len(contexts), dtype=np.int64)
        histories = []
        for back in range(1, ORDER + 1):
            keys, above = np.unique(_extended(above, contexts, back, size), return_inverse=True)
            counts = sparse.coo_array((np.ones(targets.size), (above, targets)), shape=(keys.size, size)).tocsr()
            histories.append(_Histories(keys, counts))
        return cls(size, np.bincount(targets, minlength=size).astype(np.float64), tuple(histories))

    def probabilities(self, contexts: Sequences, smoothing: Smoothing) -> Floats:
        """Probability of each action after each context, contexts x size; each row sums to 1."""
        chance = np.repeat(((self._popularity + 0.5) / (self._popularity + 0.5).sum())[None], len(contexts), axis=0)
        found: Integers = np.zeros(len(contexts), dtype=np.int64)
        rows: Integers = np.arange(len(contexts))
        for back, histories in enumerate(self._histories[: smoothing.order], start=1):
            if not histories.keys.size:
                break
            keys = _extended(found, contexts.take(rows), back, self.size)
            found = np.minimum(np.searchsorted(histories.keys, keys), histories.keys.size - 1)
            known = histories.keys[found] == keys
            found, rows = found[known], rows[known]
            count = histories.counts[found].toarray()
            kept = np.maximum(count - smoothing.discount, 0.0)
            total = count.sum(axis=1, keepdims=True)
            left = total - kept.sum(axis=1, keepdims=True) + smoothing.pseudo_counts
            chance[rows] = (kept + left * chance[rows]) / (total + smoothing.pseudo_counts)
        return chance

    def best_smoothing(self, contexts: Sequences, targets: Integers, grid: Sequence[Smoothing] = GRID) -> Smoothing:
        """The smoothing that makes these targets, which were not counted, likeliest; the first without any."""
        at = np.arange(targets.size)
        likelihood = [np.log(self.probabilities(contexts, choice)[at, targets]).sum() for choice in grid]
        return grid[int(np.argmax(likelihood))]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All state, for `from_arrays`."""
        arrays: dict[str, NDArray[Any]] = {"popularity": self._popularity}
        for back, histories in enumerate(self._histories, start=1):
            arrays |= {
                f"keys_{back}": histories.keys,
                f"counts_{back}": histories.counts.data,
                f"actions_{back}": histories.counts.indices,
                f"rows_{back}": histories.counts.indptr,
            }
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Markov":
        """The chain that `to_arrays` described."""
        size = arrays["popularity"].size
        histories = []
        for back in range(1, ORDER + 1):
            keys = arrays[f"keys_{back}"]
            parts = (arrays[f"counts_{back}"], arrays[f"actions_{back}"], arrays[f"rows_{back}"])
            histories.append(_Histories(keys, sparse.csr_array(parts, shape=(keys.size, size))))
        return cls(size, arrays["popularity"], tuple(histories))


def _extended(history: Integers, contexts: Sequences, back: int, size: int) -> Integers:
    """A key for each history made one action longer: the shorter one's row, and the older action, start or unknown."""
    return history * (size + 2) + contexts.ago(back, before=size) + 1
