"""A small neural network that guesses the next action from the last two actions and all recent ones, fading with age.

One hidden layer of rectified units with dropout (Srivastava et al. 2014), softmax over the vocabulary, trained by Adam
(Kingma & Ba 2015) with a step that falls to 0. What a count of histories cannot do: use that two actions are alike.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neonblue_lab.models.behaviour.sequences import Sequences
from neonblue_lab.stats.arrays import Integers

Singles = NDArray[np.float32]

UNITS = 128
"""Hidden units."""
WINDOW = 20
"""How many actions back are seen."""
FADE = 0.8
"""What an action counts for against the one after it."""
EPOCHS, BATCH, STEP, DROPOUT, DECAY = 12, 512, 0.003, 0.5, 1e-6
"""Passes over the targets, targets a step, size of the first step, share of units left out, pull of weights to 0."""
FEWEST_STEPS, MOST_STEPS = 200, 8_000
"""Bounds of the training, so that it learns from few targets and ends in a minute or two with many."""


class ContextNetwork:
    """Two layers of weights.

    Attributes:
        size: actions in the vocabulary.
    """

    def __init__(self, weights: tuple[Singles, Singles, Singles, Singles]) -> None:
        self._weights = weights
        self.size = int(weights[3].size)

    @classmethod
    def fit(cls, contexts: Sequences, targets: Integers, size: int, *, seed: int) -> "ContextNetwork":
        """Learn to tell known targets from their contexts."""
        random = np.random.default_rng(seed)
        popularity = np.log(np.bincount(targets, minlength=size) + 1.0)
        weights = [
            random.normal(scale=0.1, size=(_columns(size), UNITS)).astype(np.float32),
            np.zeros(UNITS, dtype=np.float32),
            random.normal(scale=0.1, size=(UNITS, size)).astype(np.float32),
            (popularity - popularity.max(initial=0.0)).astype(np.float32),
        ]
        steps = int(np.clip(EPOCHS * targets.size // BATCH, FEWEST_STEPS, MOST_STEPS)) if targets.size else 0
        adam = _Adam(weights)
        rows = _shuffled(targets.size, steps, random)
        for step in range(steps):
            batch = next(rows)
            gradients = _gradients(weights, _inputs(contexts.take(batch), size), targets[batch], random)
            adam.step(gradients, STEP * (1 - step / steps))
        return cls((weights[0], weights[1], weights[2], weights[3]))

    def log_probabilities(self, contexts: Sequences) -> Singles:
        """Log-probability of each action after each context, contexts x size."""
        first, first_bias, second, second_bias = self._weights
        hidden = np.maximum(_inputs(contexts, self.size) @ first + first_bias, 0)
        return log_softmax(hidden @ second + second_bias)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All state, for `from_arrays`."""
        return dict(zip(_NAMES, self._weights, strict=True))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "ContextNetwork":
        """The network that `to_arrays` described."""
        first, first_bias, second, second_bias = (arrays[name] for name in _NAMES)
        return cls((first, first_bias, second, second_bias))


_NAMES = ("first", "first_bias", "second", "second_bias")


def log_softmax(scores: Singles) -> Singles:
    """Scores moved, row by row, to logarithms of probabilities that sum to 1."""
    lowered = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(lowered - np.log(np.exp(lowered).sum(axis=1, keepdims=True)))


def _columns(size: int) -> int:
    return 3 * size + 4


def _inputs(contexts: Sequences, size: int) -> sparse.csr_array:
    """What the network sees: the last action, the one before (or start, or unknown), and the sum of the fading ones."""
    everyone = np.arange(len(contexts))
    rows, columns, values = [], [], []
    for back in range(1, WINDOW + 1):
        action = contexts.ago(back, before=size)
        if back <= 2:
            rows.append(everyone)
            columns.append((back - 1) * (size + 2) + action + 1)
            values.append(np.ones(everyone.size, dtype=np.float32))
        known = np.flatnonzero((action >= 0) & (action < size))
        rows.append(known)
        columns.append(2 * (size + 2) + action[known])
        values.append(np.full(known.size, FADE ** (back - 1), dtype=np.float32))
    place = (np.concatenate(rows), np.concatenate(columns))
    return sparse.coo_array((np.concatenate(values), place), shape=(everyone.size, _columns(size))).tocsr()


def _shuffled(targets: int, steps: int, random: np.random.Generator) -> Iterator[Integers]:
    """Positions of each step's targets: all come once before any comes again."""
    passes = -(-steps * BATCH // targets) if targets else 0
    order = np.concatenate([random.permutation(targets) for _ in range(passes)] or [np.empty(0, dtype=np.int64)])
    return (order[start : start + BATCH] for start in range(0, order.size, BATCH))


def _gradients(
    weights: list[Singles], inputs: sparse.csr_array, targets: Integers, random: np.random.Generator
) -> list[Singles]:
    first, first_bias, second, second_bias = weights
    hidden = np.maximum(inputs @ first + first_bias, 0)
    kept = (random.random(hidden.shape, dtype=np.float32) >= DROPOUT).astype(np.float32) / (1 - DROPOUT)
    hidden *= kept
    wrong = np.exp(log_softmax(hidden @ second + second_bias))
    wrong[np.arange(targets.size), targets] -= 1
    wrong /= targets.size
    back = (wrong @ second.T) * kept * (hidden > 0)
    return [inputs.T @ back + DECAY * first, back.sum(axis=0), hidden.T @ wrong, wrong.sum(axis=0)]


class _Adam:
    """Adam with the constants of its paper; changes the weights in place."""

    def __init__(self, weights: list[Singles]) -> None:
        self._weights = weights
        self._mean = [np.zeros_like(part) for part in weights]
        self._square = [np.zeros_like(part) for part in weights]
        self._steps = 0

    def step(self, gradients: list[Singles], size: float) -> None:
        self._steps += 1
        to_mean, to_square = 1 - 0.9**self._steps, 1 - 0.999**self._steps
        for weight, mean, square, gradient in zip(self._weights, self._mean, self._square, gradients, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient * gradient - square)
            weight -= np.float32(size / to_mean) * mean / (np.sqrt(square / np.float32(to_square)) + np.float32(1e-8))
