"""What a classifier cannot know from events of known types, learned by leaving out one event type after another.

Each type's events are labelled from the kinds of all other types. That tells how much to make of the evidence, what a
confidence is worth on a type that was never seen, and from which confidence on to answer at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neonblue_lab.events.classification import LABELS
from neonblue_lab.models.event_labels.kinds import Floats, Kinds, Mask, incidence
from neonblue_lab.models.training.calibration import Temperature

TARGET_PRECISION = 0.9
"""The share of answers on unseen event types that is to be right; without it a classifier abstains."""
FEWEST_TYPES = 3
"""Event types, at least, on whose answers a threshold is founded."""
SMOOTHING = (0.003, 0.01, 0.03, 0.1)
SHARPNESS = (0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Tuning:
    """How evidence becomes an answer.

    Attributes:
        smoothing, sharpness: see `Kinds.evidence` and `Kinds.posterior`.
        temperatures: label -> what makes its probabilities those of an unseen type.
        thresholds: label -> the confidence from which on it is answered; None: never, as no confidence was right in
            TARGET_PRECISION of the cases.
    """

    smoothing: float
    sharpness: float
    temperatures: Mapping[str, Temperature]
    thresholds: Mapping[str, float | None]


DEFAULT = Tuning(SMOOTHING[1], SHARPNESS[1], {}, dict.fromkeys(LABELS))
"""For events of a single type, from which nothing can be left out: raw probabilities, and no answers."""


@dataclass(frozen=True)
class Evidence:
    """Documents of known labels, and how they fit all kinds: what all tunings of the same events share.

    Attributes:
        kinds: of these documents.
        held: see `kinds.incidence`.
        by_smoothing: smoothing -> documents x kinds.
        event_types: of each document.
        actual: label -> value of each document.
        weights: of each document; each event type adds up to 1.
    """

    kinds: Kinds
    held: Any
    by_smoothing: Mapping[float, Floats]
    event_types: NDArray[np.str_]
    actual: Mapping[str, NDArray[np.str_]]
    weights: Floats

    @classmethod
    def of(cls, examples: pl.DataFrame, kinds: Kinds) -> "Evidence":
        """Evidence of examples (see `kinds.profile`) for kinds."""
        held = incidence(examples["document"], kinds.tokens)
        return cls(
            kinds=kinds,
            held=held,
            by_smoothing={smoothing: kinds.evidence(held, smoothing) for smoothing in SMOOTHING},
            event_types=examples["event_type"].to_numpy().astype(str),
            actual={label: examples[label].to_numpy().astype(str) for label in LABELS},
            weights=examples.select(pl.col("weight") / pl.col("weight").sum().over("event_type"))
            .to_series()
            .to_numpy(),
        )

    def parted(self, *event_types: str) -> tuple["Evidence", "Evidence"]:
        """The documents of all other event types, and those of the types named; both without the kinds of the latter."""
        kept = ~np.isin(self.kinds.event_types, event_types)
        of_them = np.isin(self.event_types, event_types)
        return self._part(~of_them, kept), self._part(of_them, kept)

    def familiarity(self) -> Floats:
        """Of each document with the kinds of all other event types than its own."""
        found = np.empty(len(self.event_types))
        for event_type in np.unique(self.event_types):
            rows = np.flatnonzero(self.event_types == event_type)
            found[rows] = self.kinds.only(self.kinds.event_types != event_type).familiarity(self.held[rows])
        return found

    def _part(self, rows: Mask, kept: Mask) -> "Evidence":
        return Evidence(
            kinds=self.kinds.only(kept),
            held=self.held[np.flatnonzero(rows)],
            by_smoothing={smoothing: found[np.ix_(rows, kept)] for smoothing, found in self.by_smoothing.items()},
            event_types=self.event_types[rows],
            actual={label: values[rows] for label, values in self.actual.items()},
            weights=self.weights[rows],
        )


def tune(evidence: Evidence) -> Tuning:
    """Choose by leaving each event type out.

    Smoothing and sharpness are those with the most labels right, each event type counting once, the probability given to
    what is right deciding between equals; a temperature is fitted to each label; a threshold is the lowest confidence at and
    above which TARGET_PRECISION of the answers were right, on FEWEST_TYPES types at least.
    """
    kinds, weights = evidence.kinds, evidence.weights
    own = evidence.event_types[:, None] == kinds.event_types[None]
    if own.all(axis=1).any():
        return DEFAULT
    familiarity = evidence.familiarity()
    best, posterior = (-1.0, -1.0), np.empty(0)
    for one_smoothing, one_sharpness in product(SMOOTHING, SHARPNESS):
        tried = kinds.posterior(evidence.by_smoothing[one_smoothing], familiarity, one_sharpness, own)
        if (reached := _rightness(evidence, tried)) > best:
            best, posterior, smoothing, sharpness = reached, tried, one_smoothing, one_sharpness
    temperatures: dict[str, Temperature] = {}
    thresholds: dict[str, float | None] = dict.fromkeys(LABELS)
    for label in LABELS:
        told_apart = ((~own) @ kinds.members(label) > 0).sum(axis=1) > 1
        if not told_apart.any():
            continue
        stated, weight = kinds.stated(posterior, label)[told_apart], weights[told_apart]
        position = np.searchsorted(kinds.values(label), evidence.actual[label][told_apart])
        temperatures[label] = Temperature.fit(stated, position, weight)
        calibrated = temperatures[label].apply(stated)
        right = calibrated.argmax(axis=1) == position
        thresholds[label] = threshold(calibrated.max(axis=1), right, weight, evidence.event_types[told_apart])
    return Tuning(smoothing, sharpness, temperatures, thresholds)


def threshold(confidence: Floats, right: Mask, weights: Floats, event_types: NDArray[np.str_]) -> float | None:
    """The lowest confidence at and above which TARGET_PRECISION of the answers are right, on FEWEST_TYPES event types at
    least; None if there is none."""
    order = np.argsort(-confidence, kind="stable")
    precision = np.cumsum((weights * right)[order]) / np.cumsum(weights[order])
    first = np.unique(event_types[order], return_index=True)[1]
    types = np.searchsorted(np.sort(first), np.arange(len(order)), side="right")
    last_of_equals = np.append(np.diff(confidence[order]) < 0, True)
    good = np.flatnonzero((precision >= TARGET_PRECISION) & (types >= FEWEST_TYPES) & last_of_equals)
    return float(confidence[order][good[-1]]) if len(good) else None


def _rightness(evidence: Evidence, posterior: Floats) -> tuple[float, float]:
    """The share of labels that are right, and the mean probability of what is right."""
    right, belief = [], []
    for label in LABELS:
        stated = evidence.kinds.stated(posterior, label)
        position = np.searchsorted(evidence.kinds.values(label), evidence.actual[label])
        right.append(np.average(stated.argmax(axis=1) == position, weights=evidence.weights))
        belief.append(np.average(stated[np.arange(len(stated)), position], weights=evidence.weights))
    return round(float(np.mean(right)), 6), float(np.mean(belief))
