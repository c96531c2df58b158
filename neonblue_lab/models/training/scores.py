"""Scores of predictions, each with the interval that its rows, or whole groups of them, allow."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neonblue_lab.errors import BadInput
from neonblue_lab.models.training.splits import Keys, codes

Floats = NDArray[np.float64]

_CHUNK = 4_000_000  # resampled numbers held at a time
_MOST_UNDEFINED = 0.1


@dataclass(frozen=True)
class Score:
    """A score and the interval that resampling gives it.

    Attributes:
        value: on all rows.
        low, high: of the interval; NaN where it could not be told.
        n: rows.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def accuracy(actual: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Share of rows predicted right; of their weight, if weights are given."""
    right = np.asarray(actual) == np.asarray(predicted)
    return float(np.average(right, weights=None if weights is None else np.asarray(weights, dtype=np.float64)))


def macro_f1(actual: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean of the F1 of each label that occurs, actual or predicted: a rare one counts as much as a frequent one."""
    actual_, predicted_ = np.asarray(actual), np.asarray(predicted)
    weight = np.ones(len(actual_)) if weights is None else np.asarray(weights, dtype=np.float64)
    labels, code = np.unique(np.concatenate([actual_, predicted_]), return_inverse=True)
    truth, guess = code[: len(actual_)], code[len(actual_) :]
    hit = np.bincount(truth, weight * (truth == guess), len(labels))
    both = np.bincount(truth, weight, len(labels)) + np.bincount(guess, weight, len(labels))
    return float(np.mean(np.divide(2 * hit, both, out=np.zeros(len(labels)), where=both > 0)))


def auc(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the ROC curve: the chance that a positive row is ranked above a negative one, ties counting half.

    `y` may be soft: a row of 0.3 is 0.3 of a positive and 0.7 of a negative. NaN where one kind is missing.
    """
    truth, score = _pair(y, p)
    weight = np.ones_like(truth) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0]) if len(order) else np.array([], dtype=np.int64)
    positive = np.add.reduceat((weight * truth)[order], starts)
    negative = np.add.reduceat((weight * (1 - truth))[order], starts)
    pairs = positive.sum() * negative.sum()
    if pairs <= 0:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs)


def squared_errors(y: ArrayLike, p: ArrayLike) -> Floats:
    """(p - y)^2 of each row; `y` in 0..1. Its mean is the Brier score."""
    truth, stated = _pair(y, p)
    return (stated - truth) ** 2


def brier(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean squared error of stated probabilities: 0 is perfect, 0.25 is what always saying 0.5 gets."""
    return float(np.average(squared_errors(y, p), weights=None if weights is None else np.asarray(weights)))


def log_losses(y: ArrayLike, p: ArrayLike) -> Floats:
    """-log of the probability that was given to what happened, of each row.

    Args:
        y: with probabilities of one event its outcomes, 0..1; with one column a class the position of the class.
        p: probabilities, n or n x classes; taken as at least the smallest step of a float from 0 and 1.
    """
    stated = np.asarray(p, dtype=np.float64)
    step = np.finfo(np.float64).eps
    if stated.ndim == 2:
        chosen = stated[np.arange(len(stated)), np.asarray(y, dtype=np.int64)]
        return np.asarray(-np.log(np.clip(chosen, step, 1 - step)))
    truth, stated = _pair(y, stated)
    stated = np.clip(stated, step, 1 - step)
    return np.asarray(-(truth * np.log(stated) + (1 - truth) * np.log1p(-stated)))


def log_loss(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean of `log_losses`, in nats."""
    return float(np.average(log_losses(y, p), weights=None if weights is None else np.asarray(weights)))


def pinball(y: ArrayLike, forecast: ArrayLike, quantile: float) -> float:
    """Mean pinball loss of a forecast of a quantile (0..1): least where that share of the values lies below it."""
    truth, stated = _pair(y, forecast)
    gap = truth - stated
    return float(np.mean(np.maximum(quantile * gap, (quantile - 1) * gap)))


def recalls(hits: ArrayLike, k: int, relevant: ArrayLike = 1) -> Floats:
    """Of each row, the share of what is relevant to it that stands among its first k answers.

    Args:
        hits: n x answers, true where the answer of that rank is relevant.
        k: how many answers count.
        relevant: how many answers are relevant to each row.
    """
    found = np.asarray(hits, dtype=bool)[:, :k].sum(axis=1)
    return np.asarray(found / np.asarray(relevant, dtype=np.float64))


def recall_at(hits: ArrayLike, k: int, relevant: ArrayLike = 1) -> float:
    """Mean of `recalls`."""
    return float(recalls(hits, k, relevant).mean())


def reciprocal_ranks(hits: ArrayLike, k: int) -> Floats:
    """Of each row, 1 / rank of its first relevant answer; 0 where none of the first k is."""
    first = np.asarray(hits, dtype=bool)[:, :k]
    return np.where(first.any(axis=1), 1.0 / (first.argmax(axis=1) + 1), 0.0)


def mrr_at(hits: ArrayLike, k: int) -> float:
    """Mean of `reciprocal_ranks`."""
    return float(reciprocal_ranks(hits, k).mean())


def bootstrap(
    statistic: Callable[..., float],
    *columns: ArrayLike,
    groups: Keys | None = None,
    resamples: int = 1000,
    seed: int,
    level: float = 0.95,
) -> Score:
    """A score with its percentile bootstrap interval (Efron and Tibshirani 1993, section 13.3).

    Where the score is a mean of rows, `mean_score` gives the same at once.

    Args:
        statistic: of the columns, resampled alike.
        columns: one entry a row.
        groups: rows of one group are drawn together; each row alone unless given.
        resamples: draws.
        seed: of the draws.
        level: of the interval.

    Raises:
        BadInput: no rows, or columns of different lengths.
    """
    arrays = [np.asarray(column) for column in columns]
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1 or not min(lengths):
        raise BadInput(f"bootstrap() needs columns of one length above 0, not {sorted(lengths)}.")
    rows = lengths.pop()
    group = np.arange(rows) if groups is None else codes(groups)
    sizes = np.bincount(group)
    in_order, starts = np.argsort(group, kind="stable"), np.cumsum(sizes) - sizes
    rng = np.random.default_rng(seed)
    values = np.empty(resamples)
    for position in range(resamples):
        drawn = rng.integers(len(sizes), size=len(sizes))
        chosen = in_order[_ranges(starts[drawn], sizes[drawn])]
        values[position] = statistic(*(array[chosen] for array in arrays))
    return _score(float(statistic(*arrays)), values, rows, level)


def mean_score(
    values: ArrayLike, groups: Keys | None = None, *, resamples: int = 1000, seed: int, level: float = 0.95
) -> Score:
    """The mean of one value a row with its bootstrap interval, groups drawn whole, without a Python loop over resamples.

    Args:
        values: `squared_errors`, `recalls`, right or wrong, ...
        groups, resamples, seed, level: as for `bootstrap`.

    Raises:
        BadInput: no rows.
    """
    row_values = np.asarray(values, dtype=np.float64)
    if not len(row_values):
        raise BadInput("mean_score() needs at least one row.")
    group = np.arange(len(row_values)) if groups is None else codes(groups)
    sizes, sums = np.bincount(group).astype(np.float64), np.bincount(group, row_values)
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // len(sizes))
    means = []
    for start in range(0, resamples, chunk):
        drawn = rng.integers(len(sizes), size=(min(chunk, resamples - start), len(sizes)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return _score(float(row_values.mean()), np.concatenate(means), len(row_values), level)


def _score(value: float, resampled: Floats, rows: int, level: float) -> Score:
    """Resamples in which the score is undefined (an AUC of one class) are left out, unless they are too many."""
    defined = resampled[np.isfinite(resampled)]
    if len(defined) < (1 - _MOST_UNDEFINED) * len(resampled):
        return Score(value, float("nan"), float("nan"), rows)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Score(value, float(low), float(high), rows)


def _ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1, ..., start + size - 1 of each pair, one after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1]) + np.repeat(starts - ends + sizes, sizes)


def _pair(y: ArrayLike, p: ArrayLike) -> tuple[Floats, Floats]:
    truth, stated = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if truth.shape != stated.shape:
        raise BadInput(
            f"Outcomes of shape {truth.shape} and predictions of shape {stated.shape} do not belong together."
        )
    return truth, stated
