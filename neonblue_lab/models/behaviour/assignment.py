"""Which variant of an experiment is better for a user, and why: from the experiment's uplift, with honest retreats."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from neonblue_lab.models.behaviour.uplift import LEAST_SHARE, Uplift
from neonblue_lab.stats.arrays import Floats, Integers

OUTCOME_DAYS = 14
"""A conversion counts if it comes within so many days after the first exposure."""


@dataclass(frozen=True)
class Recommendation:
    """A variant for a user, and why.

    Attributes:
        effect: beside the control, low, high: None where the control is recommended.
        personalised: whether it rests on what is known of the user.
        overlap: whether users of every kind could get every variant; None where the experiment told nothing.
    """

    variant: str
    effect: tuple[float, float, float] | None
    personalised: bool
    overlap: bool | None
    basis: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ExperimentUplift:
    """What an experiment taught of whom a variant helps.

    Attributes:
        variants: the control first.
        uplift: None where too few users or none that converted were seen.
        why: a sentence, where there is no uplift.
    """

    experiment_id: str
    variants: tuple[str, ...]
    uplift: Uplift | None
    why: str

    @property
    def personal(self) -> bool:
        """Whether what is known of a user may change the recommendation."""
        return self.uplift is not None and self.uplift.varies and self.uplift.overlap.holds

    def recommend(self, covariates: Floats | None) -> Recommendation:
        """A variant for a user.

        Args:
            covariates: of the user; None where hardly anything is known of them.
        """
        uplift = self.uplift
        if uplift is None:
            return Recommendation(self.variants[0], None, False, None, (self.why, "The control is the safe choice."))
        said = [_evidence(uplift)]
        if not uplift.overlap.holds:
            said.append(_no_overlap(uplift))
        elif not uplift.varies:
            said.append(
                f"Whom a variant helps more was not seen to depend on what is known of users (p = {uplift.p_value:.2g}): "
                "the recommendation is the same for all."
            )
        elif covariates is None:
            said.append("The effect differs between users, but hardly anything is known of this one.")
        else:
            place, effect = _best(*(numbers[0] for numbers in uplift.of(covariates[None])))
            if place is not None and effect is not None:
                differs = f"The effect differs between users (p = {uplift.p_value:.2g})"
                if place == 0:
                    said.append(f"{differs}: for users like this one every variant does harm.")
                else:
                    said.append(f"{differs}: for users like this one it is {_points(effect)}.")
                return Recommendation(self.variants[place], effect if place else None, True, True, tuple(said))
            said.append(
                "For users like this one the interval of the uplift contains 0: what holds for all users decides."
            )
        return self._for_all(uplift, said)

    def _for_all(self, uplift: Uplift, said: list[str]) -> Recommendation:
        place, effect = _best(*uplift.of_all())
        if place is None or effect is None:
            largest = int(np.argmax(uplift.effect))
            effects = tuple(float(numbers[largest]) for numbers in uplift.of_all())
            said.append(
                f"No difference seen: {self.variants[largest + 1]} adds {_points(effects)}, so the control stays."
            )
            return Recommendation(self.variants[0], None, False, uplift.overlap.holds, tuple(said))
        if place == 0:
            said.append("On all users every variant does harm: the control stays.")
            return Recommendation(self.variants[0], None, False, uplift.overlap.holds, tuple(said))
        said.append(f"On all users {self.variants[place]} adds {_points(effect)}.")
        return Recommendation(self.variants[place], effect, False, uplift.overlap.holds, tuple(said))

    def recommended(self, covariates: Floats) -> Integers:
        """Positions in `variants`, one a row of covariates: what `recommend` would say of users who are known."""
        place = np.full(len(covariates), self.variants.index(self.recommend(None).variant), dtype=np.int64)
        if self.uplift is None or not self.personal:
            return place
        effect, low, high = self.uplift.of(covariates)
        best = np.where(low > 0, effect, -np.inf)
        helped = low.max(axis=1) > 0
        place = np.where(helped, best.argmax(axis=1) + 1, place)
        return np.where((high < 0).all(axis=1), 0, place)

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON; `of_dict` reads it back."""
        return {
            "experiment_id": self.experiment_id,
            "variants": list(self.variants),
            "uplift": None if self.uplift is None else self.uplift.to_dict(),
            "why": self.why,
        }

    @classmethod
    def of_dict(cls, state: Mapping[str, Any]) -> "ExperimentUplift":
        """That of a `to_dict`."""
        uplift = state["uplift"]
        return cls(
            state["experiment_id"],
            tuple(state["variants"]),
            None if uplift is None else Uplift.of_dict(uplift),
            state["why"],
        )


UPLIFTS = (
    {"experiment_id": pl.String, "variant_id": pl.String, "users": pl.Int64}
    | dict.fromkeys(("control_mean", "uplift", "low", "high", "p_same_for_all", "least_share"), pl.Float64)
    | {"effect_varies": pl.Boolean, "overlap": pl.Boolean, "why": pl.String}
)


def table(uplifts: Mapping[str, ExperimentUplift]) -> pl.DataFrame:
    """One row a variant beside its control, in columns of UPLIFTS; an experiment that told nothing has one row, with why."""
    rows: list[dict[str, Any]] = []
    for one in uplifts.values():
        if one.uplift is None:
            rows.append({"experiment_id": one.experiment_id, "why": one.why})
            continue
        effect, low, high = one.uplift.of_all()
        rows += [
            {
                "experiment_id": one.experiment_id,
                "variant_id": variant,
                "users": one.uplift.users[0] + one.uplift.users[place + 1],
                "control_mean": one.uplift.control_mean,
                "uplift": effect[place],
                "low": low[place],
                "high": high[place],
                "p_same_for_all": one.uplift.p_value,
                "least_share": one.uplift.overlap.least_share,
                "effect_varies": one.uplift.varies,
                "overlap": one.uplift.overlap.holds,
            }
            for place, variant in enumerate(one.variants[1:])
        ]
    return pl.DataFrame(rows, schema=UPLIFTS)


def _best(effect: Floats, low: Floats, high: Floats) -> tuple[int | None, tuple[float, float, float] | None]:
    """The arm whose effect is surely above 0, the largest of these; 0 where all are surely below; None where neither."""
    if (low > 0).any():
        place = int(np.where(low > 0, effect, -np.inf).argmax())
        return place + 1, (float(effect[place]), float(low[place]), float(high[place]))
    if (high < 0).all():
        return 0, (0.0, 0.0, 0.0)
    return None, None


def _points(effect: tuple[float, ...]) -> str:
    value, low, high = (100 * number for number in effect)
    return f"{value:+.1f} percentage points of converting users (95 % interval {low:+.1f} to {high:+.1f})"


def _evidence(uplift: Uplift) -> str:
    return (
        f"Learned from {sum(uplift.users):,} users of this experiment, of whom the control converted "
        f"{uplift.control_mean:.1%} within {OUTCOME_DAYS} days."
    )


def _no_overlap(uplift: Uplift) -> str:
    if uplift.overlap.least_share < LEAST_SHARE:
        return (
            f"Some kinds of users hardly got some variant (least share {uplift.overlap.least_share:.1%}): no recommendation "
            "for single users rests on this experiment."
        )
    return (
        f"Which variant users got depends on what kind they are (p = {uplift.overlap.p_value:.2g}), as a random split does not: "
        "no recommendation for single users rests on this experiment."
    )
