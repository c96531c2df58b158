"""Whether stated probabilities come true, and what makes them: Platt, isotonic and temperature scaling."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from neonblue_lab.errors import BadInput
from neonblue_lab.models.training.scores import mean_score, squared_errors
from neonblue_lab.models.training.splits import Keys, grouped_folds
from neonblue_lab.stats.shares import wilson

Floats = NDArray[np.float64]

_EDGE = 1e-9  # probabilities of 0 and 1 have no logit


def reliability(
    p: ArrayLike, y: ArrayLike, *, bins: int = 10, by: Literal["quantile", "width"] = "quantile"
) -> pl.DataFrame:
    """What was stated beside what came true, in groups of like statements.

    Args:
        p: stated probabilities.
        y: outcomes, 0..1.
        bins: groups, at most; equal statements are never parted.
        by: groups of about equally many rows ("quantile"), or equal parts of the scale ("width").

    Returns:
        A row a group, ascending: predicted (mean), observed (mean), low and high (Wilson's 95 % interval of observed),
        count. Calibrated probabilities have `predicted` within the interval in about 19 groups of 20.

    Raises:
        BadInput: a probability outside 0..1, no rows, or different lengths.
    """
    stated, happened = _checked(p, y)
    if by == "quantile":
        edges = np.unique(np.quantile(stated, np.linspace(0, 1, bins + 1)[1:-1]))
    else:
        edges = np.linspace(0, 1, bins + 1)[1:-1]
    group = np.searchsorted(edges, stated, side="right")
    count = np.bincount(group, minlength=len(edges) + 1).astype(np.float64)
    kept = count > 0
    count = count[kept]
    predicted = np.bincount(group, stated, len(edges) + 1)[kept] / count
    observed = np.bincount(group, happened, len(edges) + 1)[kept] / count
    low, high = wilson(observed * count, count)
    return pl.DataFrame(
        {"predicted": predicted, "observed": observed, "low": low, "high": high, "count": count.astype(np.int64)}
    )


def expected_calibration_error(
    p: ArrayLike, y: ArrayLike, *, bins: int = 10, by: Literal["quantile", "width"] = "quantile"
) -> float:
    """Mean distance between what was stated and what came true, over the groups of `reliability`, by their counts."""
    groups = reliability(p, y, bins=bins, by=by)
    gaps = (groups["predicted"] - groups["observed"]).abs()
    return float(np.average(gaps.to_numpy(), weights=groups["count"].to_numpy()))


class Calibrator(Protocol):
    """A monotone function of stated probabilities, fitted on rows that the model did not learn from."""

    kind: ClassVar[str]

    def apply(self, p: ArrayLike) -> Floats: ...

    def to_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Platt:
    """p -> 1 / (1 + exp(-(slope * logit(p) + intercept))), Platt (1999); slope >= 0."""

    kind: ClassVar[str] = "platt"
    slope: float
    intercept: float

    @classmethod
    def fit(cls, p: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """By maximum likelihood with Platt's targets, which keep the slope finite where the classes part cleanly."""
        from scipy.optimize import minimize

        stated, happened = _checked(p, y)
        weight = _weights(weights, stated)
        logit = _logit(stated)
        positive, negative = float((weight * happened).sum()), float((weight * (1 - happened)).sum())
        target = happened * (positive + 1) / (positive + 2) + (1 - happened) / (negative + 2)

        def loss(parameters: Floats) -> tuple[float, Floats]:
            score = parameters[0] * logit + parameters[1]
            error = weight * (_sigmoid(score) - target) / weight.sum()
            value = float((weight * (np.logaddexp(0, score) - target * score)).sum() / weight.sum())
            return value, np.array([error @ logit, error.sum()])

        found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)])
        return cls(slope=float(found.x[0]), intercept=float(found.x[1]))

    def apply(self, p: ArrayLike) -> Floats:
        """Calibrated probabilities."""
        return _sigmoid(self.slope * _logit(_probabilities(p)) + self.intercept)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` makes the same calibrator of; JSON."""
        return {"kind": self.kind, "slope": self.slope, "intercept": self.intercept}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The calibrator of a `to_dict`."""
        return cls(slope=float(state["slope"]), intercept=float(state["intercept"]))


@dataclass(frozen=True)
class Isotonic:
    """A rising function through the fitted points, straight between them (Zadrozny and Elkan 2002).

    It never states 0 or 1: no fewer than `floor` = 1 / (n + 2), as n rows cannot tell more.
    """

    kind: ClassVar[str] = "isotonic"
    stated: Floats
    calibrated: Floats
    floor: float

    @classmethod
    def fit(cls, p: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """By pooling adjacent violators."""
        from sklearn.isotonic import IsotonicRegression

        stated, happened = _checked(p, y)
        fitted = IsotonicRegression(y_min=0, y_max=1).fit(stated, happened, _weights(weights, stated))
        return cls(
            stated=np.asarray(fitted.X_thresholds_, dtype=np.float64),
            calibrated=np.asarray(fitted.y_thresholds_, dtype=np.float64),
            floor=1 / (len(stated) + 2),
        )

    def apply(self, p: ArrayLike) -> Floats:
        """Calibrated probabilities."""
        calibrated = np.interp(_probabilities(p), self.stated, self.calibrated)
        return np.asarray(np.clip(calibrated, self.floor, 1 - self.floor))

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` makes the same calibrator of; JSON."""
        return {
            "kind": self.kind,
            "stated": self.stated.tolist(),
            "calibrated": self.calibrated.tolist(),
            "floor": self.floor,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The calibrator of a `to_dict`."""
        return cls(
            stated=np.asarray(state["stated"], dtype=np.float64),
            calibrated=np.asarray(state["calibrated"], dtype=np.float64),
            floor=float(state["floor"]),
        )


@dataclass(frozen=True)
class Temperature:
    """logit(p) / temperature, or for n x classes softmax(log(p) / temperature) (Guo et al. 2017, equation 9).

    Above 1 it makes statements more modest, below 1 bolder; it never changes which outcome is the likelier one, and
    `apply(1 - p)` is `1 - apply(p)`.
    """

    kind: ClassVar[str] = "temperature"
    temperature: float

    @classmethod
    def fit(cls, p: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """By maximum likelihood; `y` holds outcomes (0..1) or, for n x classes, positions of classes."""
        from scipy.optimize import minimize_scalar
        from scipy.special import logsumexp

        stated = np.asarray(p, dtype=np.float64)
        weight = _weights(weights, stated[:, 0] if stated.ndim == 2 else stated)
        if stated.ndim == 2:
            chosen = np.asarray(y, dtype=np.int64)
            logs = np.log(np.clip(stated, _EDGE, 1))

            def losses(inverse: float) -> Floats:
                return np.asarray(logsumexp(logs * inverse, axis=1) - logs[np.arange(len(logs)), chosen] * inverse)
        else:
            stated, happened = _checked(p, y)
            logit = _logit(stated)

            def losses(inverse: float) -> Floats:
                return np.asarray(np.logaddexp(0, logit * inverse) - happened * logit * inverse)

        found = minimize_scalar(lambda log: float(np.average(losses(np.exp(-log)), weights=weight)), bounds=(-4, 4))
        return cls(temperature=float(np.exp(found.x)))

    def apply(self, p: ArrayLike) -> Floats:
        """Calibrated probabilities, of the shape of `p`."""
        stated = _probabilities(p)
        if stated.ndim < 2:
            return _sigmoid(_logit(stated) / self.temperature)
        powers = np.clip(stated, _EDGE, 1) ** (1 / self.temperature)
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` makes the same calibrator of; JSON."""
        return {"kind": self.kind, "temperature": self.temperature}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The calibrator of a `to_dict`."""
        return cls(temperature=float(state["temperature"]))


_KINDS = {kind.kind: kind for kind in (Platt, Isotonic, Temperature)}


def calibrator_from_dict(state: Mapping[str, Any]) -> Platt | Isotonic | Temperature:
    """The calibrator, of whichever kind, of a `to_dict`.

    Raises:
        BadInput: a kind that is not known.
    """
    kind = _KINDS.get(state.get("kind", ""))
    if kind is None:
        raise BadInput(f"No calibrator is of the kind {state.get('kind')!r}: it is one of {', '.join(_KINDS)}.")
    return kind.from_dict(state)


def best_calibrator(
    p: ArrayLike, y: ArrayLike, groups: Keys | None, seed: int, *, folds: int = 5
) -> Platt | Isotonic | Temperature | None:
    """The kind of calibrator that lowers the Brier score most on rows that it was not fitted on, fitted on all.

    Args:
        p: probabilities stated of rows that the model did not learn from.
        y: outcomes, 0..1.
        groups: rows of one group are never parted between fitting and measuring; each row is alone where it is None.
        seed: of the folds and of the intervals.
        folds: of the comparison.

    Returns:
        None where no kind lowers it by more than chance would (95 % interval of the difference): leave `p` alone.

    Raises:
        BadInput: a probability outside 0..1, different lengths, or too few groups for the folds.
    """
    stated, happened = _checked(p, y)
    group = np.arange(len(stated)) if groups is None else groups
    splits = grouped_folds(group, folds=folds, seed=seed)
    best: Callable[..., Platt | Isotonic | Temperature] | None = None
    least = 0.0
    for kind in _KINDS.values():
        calibrated = np.empty_like(stated)
        for split in splits:
            calibrated[split.test] = kind.fit(stated[split.train], happened[split.train]).apply(stated[split.test])
        difference = mean_score(
            squared_errors(happened, calibrated) - squared_errors(happened, stated), group, seed=seed
        )
        if difference.high < 0 and difference.value < least:
            best, least = kind.fit, difference.value
    return None if best is None else best(stated, happened)


def _logit(p: Floats) -> Floats:
    inside = np.clip(p, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


def _probabilities(p: ArrayLike) -> Floats:
    stated = np.asarray(p, dtype=np.float64)
    if not ((stated >= 0) & (stated <= 1)).all():
        raise BadInput("Stated probabilities must lie between 0 and 1, none missing.")
    return stated


def _checked(p: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    stated, happened = _probabilities(p), np.asarray(y, dtype=np.float64)
    if stated.shape != happened.shape or not stated.size:
        raise BadInput(f"{stated.shape} probabilities and {happened.shape} outcomes do not belong together.")
    return stated, happened


def _weights(weights: ArrayLike | None, like: Floats) -> Floats:
    return np.ones_like(like) if weights is None else np.asarray(weights, dtype=np.float64)
