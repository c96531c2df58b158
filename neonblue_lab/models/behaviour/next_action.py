"""The next action of a session: a Markov chain and a small network, weighed together into calibrated probabilities.

The chain knows what exactly happened before, the network what is alike. Their logarithms are added with weights, and
with a weight by how long ago an action was last seen in the session (people seldom return at once, and how seldom
differs from shop to shop); a softmax makes probabilities of the sum. The weights are the likeliest for sessions that
neither part has learned from, so that their size is also the temperature that calibrates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from neonblue_lab.errors import BadInput
from neonblue_lab.models.behaviour.markov import Markov, Smoothing
from neonblue_lab.models.behaviour.network import WINDOW, ContextNetwork, Singles, log_softmax
from neonblue_lab.models.behaviour.sequences import Sequences, encode
from neonblue_lab.models.training.threads import one_thread
from neonblue_lab.stats.arrays import Floats, Integers

AGES = (1, 2, 3, 4, 6, 11)
"""Where the classes of how many actions ago an action was last seen begin; class 0 is: not in the last WINDOW."""
AT_ONCE = 4_000_000
"""Probabilities worked on at a time, to bound memory."""
MOST_TUNING = 20_000
"""Targets that weights are fitted on, at most: there are few weights."""


@dataclass(frozen=True, eq=False)
class Blend:
    """How the parts are weighed.

    Attributes:
        smoothing: of the chain.
        chain: weight of the chain's log-probability.
        network: weight of the network's.
        seen: added for an action by the class of AGES in which it was last seen; 0 for class 0.
        tuned_on: how many targets these were chosen on, none of which the parts had learned from; 0: not chosen, and
            taken as they usually turn out.
    """

    smoothing: Smoothing
    chain: float
    network: float
    seen: Floats
    tuned_on: int

    def __str__(self) -> str:
        seen = ", ".join(f"{weight:+.2f}" for weight in self.seen[1:])
        return (
            f"order {self.smoothing.order}, discount {self.smoothing.discount:g}, pseudo-counts "
            f"{self.smoothing.pseudo_counts:g}; weights: chain {self.chain:.2f}, network {self.network:.2f}, last seen "
            f"{', '.join(map(str, AGES))} or more actions ago {seen}; chosen on {self.tuned_on:,} targets"
        )


class NextAction:
    """Predicts the next action of sessions.

    Attributes:
        vocabulary: the actions; codes are places in it.
        markov: the chain.
        network: the network.
        blend: how the two are weighed.
    """

    def __init__(self, vocabulary: Sequence[str], markov: Markov, network: ContextNetwork, blend: Blend) -> None:
        self.vocabulary = tuple(vocabulary)
        self.blend = blend
        self.markov = markov
        self.network = network

    @classmethod
    def fit(
        cls, sequences: Sequences, vocabulary: Sequence[str], *, tuning_share: float = 0.1, seed: int = 0
    ) -> "NextAction":
        """Learn from sessions.

        Args:
            sequences: the oldest session first: the weights are chosen on the last of them with parts that have
                learned from those before, then the parts learn from all.
            vocabulary: the actions, at least one.
            tuning_share: share of the sessions that the weights are chosen on, 0 to below 1.
            seed: of the network.

        Raises:
            BadInput: the vocabulary is empty or names an action twice, a code is not in it, no action is known, or
                the share is out of range.
        """
        size = len(vocabulary)
        if not size or len(set(vocabulary)) < size:
            raise BadInput(f"The vocabulary of {size} actions must name at least one, and each once.")
        if not 0 <= tuning_share < 1:
            raise BadInput(f"tuning_share is {tuning_share}: it must be at least 0 and below 1.")
        _check(sequences, size)
        kept = len(sequences) - round(tuning_share * len(sequences))
        targets = _known(sequences)
        if not targets[1].size:
            raise BadInput("There is no known action in these sequences: nothing can be learned from them.")
        with one_thread():
            blend = _tuned(sequences.take(slice(0, kept)), sequences.take(slice(kept, None)), size, seed)
            return cls(vocabulary, Markov.fit(*targets, size), ContextNetwork.fit(*targets, size, seed=seed), blend)

    def probabilities(self, contexts: Sequences) -> Floats:
        """Probability of each action coming next, contexts x vocabulary; each row sums to 1.

        An empty context is the start of a session.

        Raises:
            BadInput: a code is not in the vocabulary.
        """
        size = len(self.vocabulary)
        _check(contexts, size)
        chances = np.empty((len(contexts), size))
        for rows in _blocks(len(contexts), size):
            chances[rows] = self._chances(contexts.take(rows))
        return chances

    def predict(self, contexts: Sequences, k: int = 20) -> tuple[Integers, Floats]:
        """Codes and probabilities of the k likeliest next actions, the likeliest first: contexts x k each.

        k is at most the size of the vocabulary.

        Raises:
            BadInput: k is below 1, or a code is not in the vocabulary.
        """
        if k < 1:
            raise BadInput(f"k is {k}: ask for at least one action.")
        size = len(self.vocabulary)
        k = min(k, size)
        _check(contexts, size)
        codes, chances = np.empty((len(contexts), k), dtype=np.int64), np.empty((len(contexts), k))
        for rows in _blocks(len(contexts), size):
            chance = self._chances(contexts.take(rows))
            best = np.argpartition(-chance, k - 1, axis=1)[:, :k]
            order = np.argsort(-np.take_along_axis(chance, best, axis=1), axis=1, kind="stable")
            codes[rows] = np.take_along_axis(best, order, axis=1)
            chances[rows] = np.take_along_axis(chance, codes[rows], axis=1)
        return codes, chances

    def likely(self, context: Sequence[str]) -> tuple[str, float]:
        """The likeliest action after these, and its probability. Actions outside the vocabulary count as unknown."""
        codes, chances = self.predict(Sequences.of([encode(list(context), self.vocabulary)]), k=1)
        return self.vocabulary[int(codes[0, 0])], float(chances[0, 0])

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All state, for `from_arrays`: no pickled objects, as `np.savez` writes it."""
        blend, smoothing = self.blend, self.blend.smoothing
        return {
            "vocabulary": np.array(self.vocabulary, dtype=np.str_),
            "smoothing": np.array([smoothing.order, smoothing.discount, smoothing.pseudo_counts]),
            "weights": np.array([blend.chain, blend.network, *blend.seen]),
            "tuned_on": np.array(blend.tuned_on),
            **{f"markov/{name}": part for name, part in self.markov.to_arrays().items()},
            **{f"network/{name}": part for name, part in self.network.to_arrays().items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "NextAction":
        """The model that `to_arrays` described."""
        order, discount, pseudo_counts = arrays["smoothing"].tolist()
        weights = arrays["weights"]
        blend = Blend(
            smoothing=Smoothing(int(order), discount, pseudo_counts),
            chain=float(weights[0]),
            network=float(weights[1]),
            seen=weights[2:],
            tuned_on=int(arrays["tuned_on"]),
        )
        return cls(
            arrays["vocabulary"].tolist(),
            Markov.from_arrays(_under("markov/", arrays)),
            ContextNetwork.from_arrays(_under("network/", arrays)),
            blend,
        )

    def _chances(self, contexts: Sequences) -> Floats:
        size, blend = len(self.vocabulary), self.blend
        scores = _scores(
            np.log(self.markov.probabilities(contexts, blend.smoothing)),
            self.network.log_probabilities(contexts),
            _last_seen(contexts, size),
            np.array([blend.chain, blend.network, *blend.seen]),
        )
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(chances / chances.sum(axis=1, keepdims=True))


def _tuned(learn: Sequences, held_out: Sequences, size: int, seed: int) -> Blend:
    """The likeliest weights for held-out sessions, of parts that have learned from others."""
    learned, (contexts, targets) = _known(learn), _known(held_out)
    if targets.size > MOST_TUNING:
        drawn = np.sort(np.random.default_rng(seed).choice(targets.size, MOST_TUNING, replace=False))
        contexts, targets = contexts.take(drawn), targets[drawn]
    markov = Markov.fit(*learned, size)
    smoothing = markov.best_smoothing(contexts, targets)
    weights = np.array([0.5, 0.5, *np.zeros(len(AGES) + 1)])
    if targets.size and learned[1].size:
        chain = np.log(markov.probabilities(contexts, smoothing)).astype(np.float32)
        network = ContextNetwork.fit(*learned, size, seed=seed).log_probabilities(contexts)
        weights = _likeliest(chain, network, _last_seen(contexts, size), targets, weights)
    return Blend(smoothing, float(weights[0]), float(weights[1]), weights[2:], int(targets.size))


def _likeliest(chain: Singles, network: Singles, seen: NDArray[np.int8], targets: Integers, usual: Floats) -> Floats:
    """Weights that make the targets likeliest, held near the usual ones by a normal prior of standard deviation 1."""
    at = np.arange(targets.size)
    observed = np.array(
        [
            chain[at, targets].sum(),
            network[at, targets].sum(),
            *np.bincount(seen[at, targets], minlength=usual.size - 2),
        ],
        dtype=np.float64,
    )

    def loss(weights: Floats) -> tuple[float, Floats]:
        log_chance = log_softmax(_scores(chain, network, seen, weights).astype(np.float32))
        chance = np.exp(log_chance)
        by_class = np.bincount(seen.ravel(), chance.ravel(), minlength=usual.size - 2)
        expected = np.array([np.vdot(chance, chain), np.vdot(chance, network), *by_class])
        away = weights - usual
        slope = expected - observed + away
        slope[2] = 0.0
        return float(-log_chance[at, targets].sum(dtype=np.float64) + away @ away / 2), slope

    return np.asarray(minimize(loss, usual, jac=True, method="L-BFGS-B", options={"maxiter": 100}).x)


def _scores(chain: NDArray[Any], network: Singles, seen: NDArray[np.int8], weights: Floats) -> NDArray[Any]:
    return np.asarray(chain * weights[0] + network * weights[1] + weights[2:][seen])


def _last_seen(contexts: Sequences, size: int) -> NDArray[np.int8]:
    """The class of AGES in which each action was last seen in each context, contexts x size."""
    seen = np.zeros((len(contexts), size), dtype=np.int8)
    for back in range(WINDOW, 0, -1):
        action = contexts.ago(back, before=size)
        known = np.flatnonzero((action >= 0) & (action < size))
        seen[known, action[known]] = np.searchsorted(AGES, back, side="right")
    return seen


def _known(sequences: Sequences) -> tuple[Sequences, Integers]:
    contexts, targets = sequences.targets()
    known = targets >= 0
    return contexts.take(known), targets[known]


def _check(sequences: Sequences, size: int) -> None:
    if len(sequences) and sequences.values.max(initial=-1) >= size:
        raise BadInput(f"A code is {sequences.values.max()}, and the vocabulary has {size} actions: 0 to {size - 1}.")


def _blocks(rows: int, size: int) -> list[slice]:
    step = max(1, AT_ONCE // size)
    return [slice(start, start + step) for start in range(0, rows, step)]


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
