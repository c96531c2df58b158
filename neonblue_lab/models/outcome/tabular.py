"""How likely a configured experiment is to win, end flat or lose: base rates, and logistic regression where it beats them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from neonblue_lab.metrics.outcome import WIN
from neonblue_lab.models.outcome.history import CATEGORIES, NUMBERS, OUTCOMES, outcome_codes
from neonblue_lab.models.training.calibration import Temperature
from neonblue_lab.models.training.scores import log_losses
from neonblue_lab.models.training.splits import IntArray, grouped_folds
from neonblue_lab.models.training.threads import one_thread

Floats = NDArray[np.float64]

STRENGTHS = (0.003, 0.03, 0.3)
"""Inverse penalties among which the training rows choose."""

_FEWEST_OF_A_CATEGORY = 3
_PRIOR = 0.5
"""Added to each outcome's count (Jeffreys), so that what has not happened yet is not called impossible."""


def base_rates(counts: ArrayLike) -> Floats:
    """Probability of each of OUTCOMES, from how often each happened: what a sceptic would answer to every question."""
    raised = np.asarray(counts, dtype=np.float64) + _PRIOR
    return np.asarray(raised / raised.sum())


def counted(codes: IntArray) -> IntArray:
    """How often each of OUTCOMES happened."""
    return np.bincount(codes, minlength=len(OUTCOMES))


@dataclass(frozen=True, eq=False)
class Encoder:
    """Features as numbers: a column for each category seen often enough, and standardised numbers.

    A category that was seen less often, or never, has zeros in its columns: it gets what is usual.
    """

    categories: Mapping[str, tuple[str, ...]]
    centre: Floats
    scale: Floats

    @classmethod
    def fit(cls, rows: pl.DataFrame) -> Self:
        """What the columns are, from rows with the columns of FEATURES."""
        categories = {}
        for name in CATEGORIES:
            counted = rows[name].drop_nulls().rename("value").value_counts(name="rows")
            often = counted.filter(pl.col("rows") >= _FEWEST_OF_A_CATEGORY)["value"].sort().to_list()
            categories[name] = tuple(often)
        numbers = cls._numbers(rows)
        return cls(categories, numbers.mean(axis=0), np.maximum(numbers.std(axis=0), 1e-9))

    def transform(self, rows: pl.DataFrame) -> Floats:
        """rows x columns."""
        parts = [
            (rows[name].to_numpy()[:, None] == np.array(seen, dtype=object)).astype(np.float64)
            for name, seen in self.categories.items()
        ]
        standard = (self._numbers(rows) - self.centre) / self.scale
        return np.hstack([*parts, np.clip(standard, -4, 4)])

    @property
    def names(self) -> list[str]:
        """What each column says."""
        return [f"{name} = {value}" for name, seen in self.categories.items() for value in seen] + list(NUMBERS)

    @staticmethod
    def _numbers(rows: pl.DataFrame) -> Floats:
        # Lengths and counts act by their ratios: twice as long is one step, wherever it starts.
        return np.asarray(np.log1p(rows.select(NUMBERS).to_numpy().astype(np.float64)))


@dataclass(frozen=True, eq=False)
class TabularModel:
    """Multinomial logistic regression on what is known before an experiment runs.

    Its intercepts are not penalised: of an experiment that is like all others it says the base rates.

    Attributes:
        encoder: features to columns.
        weights: columns x outcomes.
        intercepts: of the outcomes.
        temperature: makes its probabilities come true (fitted on rows that it had not learned from); 1 where nothing helped.
        strength: inverse penalty, chosen on the training rows.
    """

    encoder: Encoder
    weights: Floats
    intercepts: Floats
    temperature: float
    strength: float

    @classmethod
    def fit(cls, rows: pl.DataFrame, groups: IntArray, *, seed: int) -> Self:
        """Learn from history; penalty and temperature by folds of the same rows, groups whole.

        Args:
            rows: columns of HISTORY_SCHEMA, with two outcomes at least.
            groups: rows of one group show the same.
            seed: of the folds.
        """
        codes = outcome_codes(rows["outcome"])
        folds = grouped_folds(groups, folds=3, seed=seed)
        losses, held_out = {}, {}
        for strength in STRENGTHS:
            stated = np.empty((rows.height, len(OUTCOMES)))
            for fold in folds:
                stated[fold.test] = cls._fitted(rows[fold.train], strength).probabilities(rows[fold.test])
            losses[strength], held_out[strength] = float(log_losses(codes, stated).mean()), stated
        strength = min(STRENGTHS, key=lambda choice: losses[choice])
        temperature = Temperature.fit(held_out[strength], codes)
        calmer = float(log_losses(codes, temperature.apply(held_out[strength])).mean()) < losses[strength]
        return cls._fitted(rows, strength, temperature.temperature if calmer else 1.0)

    @classmethod
    def _fitted(cls, rows: pl.DataFrame, strength: float, temperature: float = 1.0) -> Self:
        from sklearn.linear_model import LogisticRegression

        encoder, codes = Encoder.fit(rows), outcome_codes(rows["outcome"])
        columns = encoder.transform(rows)
        weights = np.zeros((columns.shape[1], len(OUTCOMES)))
        intercepts = np.log(base_rates(counted(codes)))
        present = np.unique(codes)
        if len(present) > 1:
            with one_thread():
                fitted = LogisticRegression(C=strength, max_iter=2000).fit(columns, codes)
            coefficients, offsets = fitted.coef_, fitted.intercept_
            if len(present) == 2:  # scikit-learn keeps one row for two classes
                coefficients, offsets = np.vstack([-coefficients, coefficients]) / 2, np.r_[-offsets, offsets] / 2
            weights[:, present] = coefficients.T
            # An outcome that never happened keeps its base rate beside those that did.
            share = base_rates(counted(codes))[present].sum()
            average = np.exp(columns @ weights[:, present] + offsets).sum(axis=1).mean()
            intercepts[present] = offsets + np.log(share / average)
        return cls(encoder, weights, intercepts, temperature, strength)

    def probabilities(self, rows: pl.DataFrame) -> Floats:
        """Probability of each of OUTCOMES: rows x outcomes."""
        score = (self.encoder.transform(rows) @ self.weights + self.intercepts) / self.temperature
        powers = np.exp(score - score.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def reasons(self, row: pl.DataFrame, *, outcome: str = WIN, limit: int = 5) -> pl.DataFrame:
        """What about one experiment speaks for an outcome, or against it: feature, contribution (log odds against the mean of
        the outcomes), the weightiest first."""
        position = OUTCOMES.index(outcome)
        pull = (self.weights[:, position] - self.weights.mean(axis=1)) * self.encoder.transform(row)[0]
        frame = pl.DataFrame({"feature": self.encoder.names, "contribution": pull / self.temperature})
        return frame.sort(pl.col("contribution").abs(), descending=True).filter(pl.col("contribution") != 0).head(limit)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` makes the same model of; JSON."""
        return {
            "categories": {name: list(seen) for name, seen in self.encoder.categories.items()},
            "centre": self.encoder.centre.tolist(),
            "scale": self.encoder.scale.tolist(),
            "weights": self.weights.tolist(),
            "intercepts": self.intercepts.tolist(),
            "temperature": self.temperature,
            "strength": self.strength,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The model of a `to_dict`."""
        categories = {name: tuple(seen) for name, seen in state["categories"].items()}
        encoder = Encoder(categories, np.array(state["centre"]), np.array(state["scale"]))
        width = len(encoder.names)
        return cls(
            encoder=encoder,
            weights=np.array(state["weights"], dtype=np.float64).reshape(width, len(OUTCOMES)),
            intercepts=np.array(state["intercepts"]),
            temperature=state["temperature"],
            strength=state["strength"],
        )
