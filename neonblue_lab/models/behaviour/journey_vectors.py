"""Vectors of journeys: two users are alike when their actions go together in other users' journeys.

Positive pointwise mutual information of actions within a journey, with smoothed context counts, cut down by a singular
value decomposition (Levy, Goldberg & Dagan 2015, "Improving distributional similarity with lessons learned from word
embeddings", TACL 3; eigenvalue power 0). A journey is the mean of its actions, common ones weighing less, without the
direction that all journeys share (Arora, Liang & Ma 2017, "A simple but tough-to-beat baseline for sentence
embeddings"). A bag of actions sees only equal actions; this sees that two journeys went through the same shelf.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from neonblue_lab.errors import BadInput
from neonblue_lab.models.behaviour.sequences import Sequences
from neonblue_lab.models.training.threads import one_thread
from neonblue_lab.stats.arrays import Floats, Integers

TOGETHER = 30
"""Actions at most this far apart in a journey go together."""
CONTEXT_POWER = 0.75
"""Flattens how common an action is as company, so that rare company counts for less."""
RARE = 0.01
"""An action of this share of all weighs half of one that is never seen."""
AT_ONCE = 20_000_000
"""Cosines worked on at a time, to bound memory."""


class PmiSvd:
    """Vectors of actions, and of journeys as their means.

    Attributes:
        actions: a vector for each action, actions x dimensions.
    """

    def __init__(self, actions: Floats, weights: Floats, shared: Floats) -> None:
        self.actions = actions
        self._weights = weights
        self._shared = shared

    @property
    def dimensions(self) -> int:
        """Of a vector: as asked for, or as many as there are actions."""
        return int(self.actions.shape[1])

    @classmethod
    def fit(
        cls,
        sequences: Sequences,
        vocabulary_size: int,
        *,
        dimensions: int = 64,
        together: int = TOGETHER,
        seed: int = 0,
    ) -> "PmiSvd":
        """Learn from journeys.

        Args:
            sequences: one a journey, codes below `vocabulary_size`.
            vocabulary_size: actions that there are.
            dimensions: of a vector, at most.
            together: actions at most this far apart go together.
            seed: of the decomposition.

        Raises:
            BadInput: a code is not in the vocabulary, or there are no actions or dimensions.
        """
        if vocabulary_size < 1 or dimensions < 1:
            raise BadInput(f"{vocabulary_size} actions in {dimensions} dimensions: there must be at least one of each.")
        codes, owner = _known(sequences, vocabulary_size)
        information = _positive_information(codes, owner, vocabulary_size, together)
        from sklearn.utils.extmath import randomized_svd  # slow to import, and needed to learn only

        wanted = min(dimensions, vocabulary_size)
        with one_thread():
            vectors, strengths, _ = randomized_svd(information, wanted, random_state=seed)
        vectors = np.asarray(vectors * (strengths > 1e-9 * strengths.max(initial=1.0)), dtype=np.float64)
        weights = RARE / (RARE + np.bincount(codes, minlength=vocabulary_size) / max(codes.size, 1))
        journeys = cls(vectors, weights, np.zeros(wanted)).embed(sequences)
        return cls(vectors, weights, journeys.sum(axis=0) / max(len(sequences), 1))

    def embed(self, sequences: Sequences) -> Floats:
        """A vector of norm 1 for each journey, journeys x dimensions; of zeros where no action of it is known.

        Raises:
            BadInput: a code is not in the vocabulary.
        """
        size = self._weights.size
        codes, owner = _known(sequences, size)
        bags = sparse.coo_array((self._weights[codes], (owner, codes)), shape=(len(sequences), size)).tocsr()
        vectors = _unit(bags @ self.actions)
        return _unit(np.where(vectors.any(axis=1, keepdims=True), vectors - self._shared, 0.0))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All state, for `from_arrays`."""
        return {"actions": self.actions, "weights": self._weights, "shared": self._shared}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "PmiSvd":
        """The model that `to_arrays` described."""
        return cls(arrays["actions"], arrays["weights"], arrays["shared"])


def similar(
    vectors: Floats, query: Floats, k: int = 10, *, without: ArrayLike | None = None
) -> tuple[Integers, Floats]:
    """The rows of `vectors` nearest to each row of `query`, by cosine, the nearest first.

    Args:
        vectors: of norm 1, rows x dimensions.
        query: of norm 1, queries x dimensions.
        k: how many; fewer come back where there are fewer rows.
        without: for each query, a row that is not to be found (its own, say).

    Returns:
        Row positions and cosines, queries x k each.

    Raises:
        BadInput: k is below 1, or `without` is not one row a query.
    """
    if k < 1:
        raise BadInput(f"k is {k}: ask for at least one.")
    left_out = None if without is None else np.asarray(without, dtype=np.int64)
    if left_out is not None and left_out.shape != (len(query),):
        raise BadInput(f"`without` names one row for each of {len(query)} queries: got shape {left_out.shape}.")
    k = min(k, len(vectors) - (left_out is not None))
    if k < 1:
        return np.empty((len(query), 0), dtype=np.int64), np.empty((len(query), 0))
    rows, cosines = np.empty((len(query), k), dtype=np.int64), np.empty((len(query), k))
    step = max(1, AT_ONCE // len(vectors))
    for start in range(0, len(query), step):
        part = slice(start, start + step)
        cosine = query[part] @ vectors.T
        if left_out is not None:
            cosine[np.arange(len(cosine)), left_out[part]] = -np.inf
        best = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(cosine, best, axis=1), axis=1, kind="stable")
        rows[part] = np.take_along_axis(best, order, axis=1)
        cosines[part] = np.take_along_axis(cosine, rows[part], axis=1)
    return rows, cosines


def other_half_ranks(first: Floats, second: Floats) -> Floats:
    """Where each journey's second half stands among all second halves, by cosine to its first half.

    A vector that tells journeys apart puts it first; chance puts it in the middle. Equal cosines share their mean rank.

    Args:
        first: vectors of first halves, journeys x dimensions.
        second: vectors of the same journeys' second halves.
    """
    if first.shape != second.shape:
        raise BadInput(f"Each journey has two halves: got vectors of shape {first.shape} and {second.shape}.")
    ranks = np.empty(len(first))
    step = max(1, AT_ONCE // max(len(first), 1))
    for start in range(0, len(first), step):
        cosine = first[start : start + step] @ second.T
        own = cosine[np.arange(len(cosine)), start + np.arange(len(cosine))][:, None]
        ranks[start : start + step] = (cosine > own).sum(axis=1) + ((cosine == own).sum(axis=1) + 1) / 2
    return ranks


def _positive_information(
    codes: Integers, owner: Integers, size: int, apart_at_most: int = TOGETHER
) -> sparse.csr_array:
    """How much oftener than by chance each two actions are in each other's company, in log units, 0 where not."""
    together = sparse.csr_array((size, size), dtype=np.float64)
    for apart in range(1, min(apart_at_most, codes.size - 1) + 1):
        same = np.flatnonzero(owner[apart:] == owner[:-apart])
        if not same.size:
            break
        ones = np.ones(same.size)
        together += sparse.coo_array((ones, (codes[same], codes[same + apart])), shape=(size, size)).tocsr()
    pairs = (together + together.T).tocoo()
    total = np.asarray(pairs.sum(axis=1)).ravel()
    company = total**CONTEXT_POWER
    expected = total[pairs.row] * company[pairs.col] / max(company.sum(), 1.0)
    information = np.maximum(np.log(pairs.data / expected), 0.0)
    return sparse.coo_array((information, (pairs.row, pairs.col)), shape=(size, size)).tocsr()


def _known(sequences: Sequences, size: int) -> tuple[Integers, Integers]:
    codes, owner = sequences.flat()
    if codes.max(initial=-1) >= size:
        raise BadInput(f"A code is {codes.max()}, and the vocabulary has {size} actions: 0 to {size - 1}.")
    return codes[codes >= 0], owner[codes >= 0]


def _unit(vectors: NDArray[Any]) -> Floats:
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norm > 0, norm, 1.0), dtype=np.float64)
