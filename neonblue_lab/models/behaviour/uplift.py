"""For whom a variant does more than the control: doubly robust scores of an experiment's users, explained by a linear model.

The score of a user and a variant is an unbiased guess of what the variant would have done to that user (Robins, Rotnitzky and
Zhao 1994). Its mean is the effect on all; its regression on what was known before exposure says for whom the effect is larger,
with a valid interval and test (Semenova and Chernozhukov 2021, "Debiased machine learning of conditional average treatment
effects", section 3). Outcomes are predicted for users who were left out of the fit (cross-fitting).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.arrays import Floats, Integers

LEAST_USERS = 50
"""In each variant: fewer say nothing."""

LEAST_SHARE = 0.02
"""Of a stratum's users who got a variant: below it, the stratum cannot tell what the variant does (no overlap)."""

DEPENDENT = 0.001
"""p-value below which which variant a user got is taken to depend on their stratum."""

USERS_EACH = 100
"""Users of the smallest arm for each covariate, at least: with fewer, the test finds more than there is (measured by shuffling the
variants of simulated experiments)."""

LEAST_SUPPORT = 50
"""A covariate is used where so many users of each arm have another value than its most frequent one: fewer users, or such as
can be told apart by chance alone, would make the regression look surer than it is."""

_FOLDS, _RIDGE, _COLLINEAR = 5, 1.0, 0.05


@dataclass(frozen=True)
class Overlap:
    """Whether users of every kind could get every variant.

    Attributes:
        least_share: the smallest share of a variant within a stratum of at least LEAST_USERS.
        p_value: of the chi-squared test that variant and stratum are independent, as a random split makes them.
    """

    least_share: float
    p_value: float

    @property
    def holds(self) -> bool:
        return self.least_share >= LEAST_SHARE and not self.p_value < DEPENDENT


@dataclass(frozen=True, eq=False)
class Uplift:
    """What each variant does, beside the control: on all users and along what was known of them.

    Attributes:
        users: in each arm, the control first.
        control_mean: mean outcome of the control.
        effect, error: of each variant on all users, and its standard error.
        used: positions of the covariates that the effect may depend on: LEAST_SUPPORT, and not told by the others.
        centre, scale: mean and standard deviation of each of these.
        slopes: variants x (1 + used), the first being the effect at the centre.
        covariance: variants x (1 + used) x (1 + used), of the slopes, robust to unequal variances (HC3).
        p_value: that the effect is the same for all users, adjusted for the number of variants (Bonferroni).
        overlap: see Overlap.
        alpha: 1 - the joint coverage of a user's intervals over the variants.
    """

    users: tuple[int, ...]
    control_mean: float
    effect: Floats
    error: Floats
    used: Integers
    centre: Floats
    scale: Floats
    slopes: Floats
    covariance: Floats
    p_value: float
    overlap: Overlap
    alpha: float

    @property
    def varies(self) -> bool:
        """Whether the effect was seen to differ between users."""
        return self.p_value < self.alpha

    def of_all(self) -> tuple[Floats, Floats, Floats]:
        """Effect of each variant on all users, low, high."""
        return self.effect, self.effect - self._quantile * self.error, self.effect + self._quantile * self.error

    def of(self, covariates: Floats) -> tuple[Floats, Floats, Floats]:
        """Effect of each variant on users with these covariates (users x covariates): effect, low, high, each users x
        variants."""
        z = _design((covariates[:, self.used] - self.centre) / self.scale)
        effect = z @ self.slopes.T
        error = np.sqrt(np.maximum(np.einsum("ui,vij,uj->uv", z, self.covariance, z), 0))
        return effect, effect - self._quantile * error, effect + self._quantile * error

    @property
    def _quantile(self) -> float:
        return float(stats.norm.isf(self.alpha / 2 / max(len(self.effect), 1)))

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON; `of_dict` reads it back."""
        return {
            "users": list(self.users),
            "used": self.used.tolist(),
            "control_mean": self.control_mean,
            "p_value": self.p_value,
            "alpha": self.alpha,
            "overlap": {"least_share": self.overlap.least_share, "p_value": self.overlap.p_value},
            **{name: getattr(self, name).tolist() for name in _ARRAYS},
        }

    @classmethod
    def of_dict(cls, state: Mapping[str, Any]) -> "Uplift":
        """That of a `to_dict`."""
        return cls(
            users=tuple(state["users"]),
            used=np.array(state["used"], dtype=np.int64),
            control_mean=state["control_mean"],
            p_value=state["p_value"],
            alpha=state["alpha"],
            overlap=Overlap(**state["overlap"]),
            **{name: np.array(state[name], dtype=np.float64) for name in _ARRAYS},
        )


_ARRAYS = ("effect", "error", "centre", "scale", "slopes", "covariance")


def fit(
    covariates: Floats, arm: Integers, outcome: Floats, stratum: Integers, *, seed: int, alpha: float = 0.05
) -> Uplift:
    """Learn for whom each variant does how much.

    Args:
        covariates: users x covariates, known before exposure.
        arm: of each user, 0 the control, then the variants without a gap.
        outcome: of each user.
        stratum: the kind of user, for the overlap check and the chances of the arms; numbers from 0.
        seed: of the folds.
        alpha: see Uplift.

    Raises:
        BadInput: there is no variant, or an arm has fewer than LEAST_USERS users.
    """
    arms = int(arm.max(initial=0)) + 1
    counts = np.bincount(arm, minlength=arms)
    if arms < 2 or counts.min() < LEAST_USERS:
        raise BadInput(
            f"There are {', '.join(f'{n:,}' for n in counts)} users in the arms of this experiment: at least {LEAST_USERS} "
            "in the control and in each variant are needed to tell an uplift."
        )
    used = _usable(covariates, arm, arms)
    centre, scale = covariates[:, used].mean(axis=0), covariates[:, used].std(axis=0)
    standard = (covariates[:, used] - centre) / scale
    chance = _chances(arm, stratum, arms)
    predicted = _cross_fitted(standard, arm, outcome, arms, seed)
    shown = arm[:, None] == np.arange(arms)
    scores = predicted + shown / chance * (outcome[:, None] - predicted)
    gains = scores[:, 1:] - scores[:, :1]
    fits = [_regression(_design(standard), gains[:, variant]) for variant in range(arms - 1)]
    p_values = [p for _, _, p in fits]
    return Uplift(
        users=tuple(counts.tolist()),
        control_mean=float(scores[:, 0].mean()),
        effect=gains.mean(axis=0),
        error=gains.std(axis=0, ddof=1) / np.sqrt(len(gains)),
        used=used,
        centre=centre,
        scale=scale,
        slopes=np.stack([slopes for slopes, _, _ in fits]),
        covariance=np.stack([covariance for _, covariance, _ in fits]),
        p_value=min(1.0, min(p_values) * len(p_values)),
        overlap=overlap(arm, stratum, arms),
        alpha=alpha,
    )


def overlap(arm: Integers, stratum: Integers, arms: int) -> Overlap:
    """How the arms are spread over the strata; see Overlap."""
    table = _table(arm, stratum, arms)
    size = table.sum(axis=1)
    shares = table[size >= LEAST_USERS] / size[size >= LEAST_USERS, None]
    kept = table[size >= LEAST_USERS]
    p_value = float(stats.chi2_contingency(kept).pvalue) if len(kept) > 1 and kept.sum(axis=0).min() > 0 else 1.0
    return Overlap(least_share=float(shares.min(initial=1.0)), p_value=p_value)


def _table(arm: Integers, stratum: Integers, arms: int) -> Floats:
    strata = int(stratum.max(initial=0)) + 1
    return np.bincount(stratum * arms + arm, minlength=strata * arms).reshape(strata, arms).astype(np.float64)


def _chances(arm: Integers, stratum: Integers, arms: int) -> Floats:
    """The chance of each arm for each user: its share in their stratum, drawn to the share in all by LEAST_USERS users."""
    table = _table(arm, stratum, arms)
    everywhere = table.sum(axis=0) / table.sum()
    return np.asarray(((table + LEAST_USERS * everywhere) / (table.sum(axis=1, keepdims=True) + LEAST_USERS))[stratum])


def _usable(covariates: Floats, arm: Integers, arms: int) -> Integers:
    """Positions of the covariates with LEAST_SUPPORT in each arm that the ones before them do not tell, at most one for each
    USERS_EACH of the smallest arm."""
    kept: list[int] = []
    basis = np.ones((len(covariates), 1)) / np.sqrt(len(covariates))
    most = int(np.bincount(arm, minlength=arms).min()) // USERS_EACH
    for place in range(covariates.shape[1]):
        column = covariates[:, place]
        values, code = np.unique(column, return_inverse=True)
        other = code != np.bincount(code, minlength=values.size).argmax()
        if np.bincount(arm[other], minlength=arms).min() < LEAST_SUPPORT or len(kept) >= most:
            continue
        centred = column - column.mean()
        rest = centred - basis @ (basis.T @ centred)
        length = float(np.linalg.norm(rest))
        if length > _COLLINEAR * float(np.linalg.norm(centred)):
            kept.append(place)
            basis = np.hstack([basis, (rest / length)[:, None]])
    return np.array(kept, dtype=np.int64)


def _design(standard: Floats) -> Floats:
    return np.hstack([np.ones((len(standard), 1)), standard])


def _cross_fitted(x: Floats, arm: Integers, outcome: Floats, arms: int, seed: int) -> Floats:
    """Users x arms: the outcome that a ridge regression on the arm's users in the other folds expects."""
    fold = np.random.default_rng(seed).permutation(len(arm)) % _FOLDS
    predicted = np.empty((len(arm), arms))
    for left_out in range(_FOLDS):
        test = fold == left_out
        for one in range(arms):
            train = ~test & (arm == one)
            mean = x[train].mean(axis=0)
            centred = x[train] - mean
            gram = centred.T @ centred + _RIDGE * np.eye(x.shape[1])
            weights = np.linalg.solve(gram, centred.T @ (outcome[train] - outcome[train].mean()))
            predicted[test, one] = outcome[train].mean() + (x[test] - mean) @ weights
    return predicted


def _regression(z: Floats, y: Floats) -> tuple[Floats, Floats, float]:
    """Least squares of y on z, its first column being ones: slopes, their HC3 covariance (MacKinnon and White 1985), and the
    p-value (Wald, F) that all but the first are 0."""
    inverse = np.linalg.inv(z.T @ z)
    slopes = inverse @ (z.T @ y)
    leverage = np.einsum("ui,ij,uj->u", z, inverse, z)
    residual = (y - z @ slopes) / (1 - leverage)
    covariance = inverse @ (z.T * residual**2 @ z) @ inverse
    tested = z.shape[1] - 1
    if not tested:
        return slopes, covariance, 1.0
    wald = float(slopes[1:] @ np.linalg.solve(covariance[1:, 1:], slopes[1:]))
    return slopes, covariance, float(stats.f.sf(wald / tested, tested, len(y) - tested - 1))
