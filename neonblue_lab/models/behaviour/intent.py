"""The probability that a user converts: a logistic regression on what is known of them, calibrated where that helps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neonblue_lab.errors import BadInput
from neonblue_lab.events.journey_stages import STAGES
from neonblue_lab.models.behaviour.features import Matrix
from neonblue_lab.models.behaviour.sessions import Steps
from neonblue_lab.models.behaviour.snapshots import Snapshots, honest_split
from neonblue_lab.models.training.calibration import (
    Isotonic,
    Platt,
    Temperature,
    best_calibrator,
    calibrator_from_dict,
    expected_calibration_error,
    reliability,
)
from neonblue_lab.models.training.leaks import duplicates
from neonblue_lab.models.training.scores import Score, auc, bootstrap, log_losses, mean_score, squared_errors
from neonblue_lab.models.training.splits import grouped_folds
from neonblue_lab.models.training.threads import one_thread
from neonblue_lab.stats.arrays import Floats, Integers

LEAST = 50
"""Conversions, and moments without one, that are needed to learn from."""

MODEL, BASE_RATE, STAGE_TABLE = "model", "base rate", "stage alone"
AT_A_STEP = "_at_a_step"
"""After a question: of those moments alone at which the user was just doing something, where it was asked at others, too: it is
easy to tell that somebody who was not seen for weeks will not convert."""

SCORES = {"question": pl.String, "model": pl.String, "metric": pl.String} | dict.fromkeys(
    ("value", "low", "high"), pl.Float64
)


@dataclass(frozen=True, eq=False)
class IntentModel:
    """A fitted model of one question.

    Attributes:
        names: of the features.
        centre, scale: of each, to standardise it.
        weights, bias: of the standardised features.
        calibrator: of its probabilities; None where none helped.
        base_rate: share of the moments that a conversion came of.
    """

    names: tuple[str, ...]
    centre: Matrix
    scale: Matrix
    weights: Matrix
    bias: float
    calibrator: Platt | Isotonic | Temperature | None
    base_rate: float

    def probability(self, features: Matrix) -> Floats:
        """The probability of a conversion for each row of `features`: rows x names, or the first of the names where the
        others are 0."""
        # Standardisation is folded into the weights: no copy of the features. Feature after feature, as a product of matrices
        # rounds a row by what lies beside it: whoever is asked about alone would get another answer.
        weights = self.weights / self.scale
        logit = np.full(len(features), self.bias - float(self.centre @ weights), dtype=np.float32)
        for weight, feature in zip(weights, features.T, strict=False):
            logit += weight * feature
        raw = 1 / (1 + np.exp(-logit.astype(np.float64)))
        return raw if self.calibrator is None else self.calibrator.apply(raw)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Its numbers; with `to_dict` all that `of` needs."""
        return {"centre": self.centre, "scale": self.scale, "weights": self.weights}

    def to_dict(self) -> dict[str, Any]:
        """Its other facts; JSON."""
        return {
            "names": list(self.names),
            "bias": self.bias,
            "calibrator": None if self.calibrator is None else self.calibrator.to_dict(),
            "base_rate": self.base_rate,
        }

    @classmethod
    def of(cls, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> "IntentModel":
        """The model of `to_dict` and `to_arrays`."""
        calibrator = state["calibrator"]
        return cls(
            names=tuple(state["names"]),
            centre=arrays["centre"],
            scale=arrays["scale"],
            weights=arrays["weights"],
            bias=state["bias"],
            calibrator=None if calibrator is None else calibrator_from_dict(calibrator),
            base_rate=state["base_rate"],
        )


@dataclass(frozen=True, eq=False)
class IntentReport:
    """How far an intent can be believed: on later moments of users that the tested model knew nothing of.

    Attributes:
        scores: question (also with AT_A_STEP), model (MODEL and its baselines BASE_RATE, STAGE_TABLE), metric (brier, log_loss, auc), value, low,
            high (95 % intervals, users drawn whole).
        reliability: as of `training.calibration.reliability`, of MODEL.
        held_out: row (the moment's position), stated (what MODEL said).
        facts: train, test (moments), duplicates (test rows that equal a training row), calibration_error.
    """

    scores: pl.DataFrame
    reliability: pl.DataFrame
    held_out: pl.DataFrame
    facts: Mapping[str, float]


class TooFew(BadInput):
    """There is too little to learn an intent from: not an error of whoever asked, but a fact about the data."""


def check_enough(snapshots: Snapshots) -> None:
    """Raise TooFew unless LEAST moments were followed by a conversion, and LEAST were not, and they are of LEAST users."""
    conversions, users = int(snapshots.converts.sum()), np.unique(snapshots.user).size
    if min(conversions, len(snapshots) - conversions, users) < LEAST:
        raise TooFew(
            f"Of {len(snapshots):,} moments of {users:,} users {conversions:,} were followed by a conversion: too few to learn "
            f"from. At least {LEAST} with and {LEAST} without one, of {LEAST} users, are needed among the earlier moments and, of "
            "other users, among the later ones."
        )


def fit(snapshots: Snapshots, *, seed: int) -> IntentModel:
    """Fit a model to moments; its calibrator is chosen on predictions for users that were left out in turn.

    Raises:
        TooFew: see `check_enough`.
    """
    check_enough(snapshots)
    out_of_fold = np.empty(len(snapshots))
    for split in grouped_folds(snapshots.user, folds=5, seed=seed):
        part = _fit(snapshots.take(split.train))
        out_of_fold[split.test] = part.probability(snapshots.features[split.test])
    model = _fit(snapshots)
    calibrator = best_calibrator(out_of_fold, snapshots.converts, snapshots.user, seed)
    return IntentModel(model.names, model.centre, model.scale, model.weights, model.bias, calibrator, model.base_rate)


def evaluate(snapshots: Snapshots, steps: Steps, *, seed: int) -> IntentReport:
    """Fit to earlier moments, test on later ones of other users, beside two baselines.

    Raises:
        TooFew: see `check_enough`; it holds for the moments learned from and for those tested on.
    """
    check_enough(snapshots)
    split = honest_split(snapshots, steps, seed=seed)
    train, test = snapshots.take(split.train), snapshots.take(split.test)
    check_enough(train)
    check_enough(test)
    happened = test.converts.astype(np.float64)
    stated = {
        MODEL: fit(train, seed=seed).probability(test.features),
        STAGE_TABLE: stage_rates(train)[test.stage],
        BASE_RATE: np.full(len(test), train.converts.mean()),
    }
    parts = {test.question: np.arange(len(test))}
    at_a_step = np.flatnonzero(steps.time[test.step] == test.time)
    if 0 < at_a_step.size < len(test):
        parts[f"{test.question}{AT_A_STEP}"] = at_a_step
    rows = [
        {"question": part, "model": name, "metric": metric, "value": s.value, "low": s.low, "high": s.high}
        for part, of in parts.items()
        for name, p in stated.items()
        for metric, s in _scores(happened[of], p[of], test.user[of], seed).items()
    ]
    return IntentReport(
        scores=pl.DataFrame(rows, schema=SCORES),
        reliability=reliability(stated[MODEL], happened),
        held_out=pl.DataFrame({"row": split.test, "stated": stated[MODEL]}),
        facts={
            "train": len(train),
            "test": len(test),
            "duplicates": duplicates(split, snapshots.features),
            "calibration_error": expected_calibration_error(stated[MODEL], happened),
        },
    )


def stage_rates(snapshots: Snapshots) -> Floats:
    """Share of moments in each stage that a conversion came of (drawn to the share of all by one moment's weight); the last
    entry, also found at -1, is of moments without a stage."""
    count = np.bincount(snapshots.stage % (len(STAGES) + 1), minlength=len(STAGES) + 1)
    came = np.bincount(snapshots.stage % (len(STAGES) + 1), snapshots.converts, minlength=len(STAGES) + 1)
    return np.asarray((came + snapshots.converts.mean()) / (count + 1))


DRIVERS = {"question": pl.String, "feature": pl.String, "weight": pl.Float64}


def drivers(question: str, model: IntentModel, *, most: int = 8) -> pl.DataFrame:
    """What moves a probability most: columns of DRIVERS, `weight` being the change of the log odds by one standard deviation of
    the feature."""
    frame = pl.DataFrame({"feature": model.names, "weight": model.weights.astype(np.float64)})
    strongest = frame.sort(pl.col("weight").abs(), "feature", descending=[True, False]).head(most)
    return strongest.select(question=pl.lit(question), feature="feature", weight="weight")


def _scores(happened: Floats, stated: Floats, user: Integers, seed: int) -> dict[str, Score]:
    return {
        "brier": mean_score(squared_errors(happened, stated), user, seed=seed),
        "log_loss": mean_score(log_losses(happened, stated), user, seed=seed),
        "auc": bootstrap(auc, happened, stated, groups=user, resamples=200, seed=seed),
    }


def _fit(snapshots: Snapshots) -> IntentModel:
    from sklearn.linear_model import LogisticRegression

    centre = snapshots.features.mean(axis=0, dtype=np.float64)
    scale = snapshots.features.std(axis=0, dtype=np.float64)
    scale = np.where(scale > 1e-6, scale, 1.0)
    with one_thread():
        fitted = LogisticRegression(C=1.0, max_iter=500).fit((snapshots.features - centre) / scale, snapshots.converts)
    return IntentModel(
        names=snapshots.names,
        centre=centre.astype(np.float32),
        scale=scale.astype(np.float32),
        weights=fitted.coef_[0].astype(np.float32),
        bias=float(fitted.intercept_[0]),
        calibrator=None,
        base_rate=float(snapshots.converts.mean()),
    )
