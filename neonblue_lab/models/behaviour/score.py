"""One number from 0 to 100 for how engaged a user is, by a formula that a person can check.

    score = 100 * (0.5 * intent + 0.3 * activity + 0.2 * freshness)

- intent: the share of the moments learned from at which a conversion within the days was less likely than now;
- activity: the share of those moments at which fewer steps of the user were known;
- freshness: halves with every HALF_LIFE days since the user's last step.

Where no intent could be learned, activity and freshness share its weight as they share theirs: 60 to 40. What a score is worth,
`bands` tells: the share of held-out moments in each fifth of the scale that a conversion came of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from neonblue_lab.models.training.calibration import reliability
from neonblue_lab.stats.arrays import Floats

INTENT, ACTIVITY, FRESHNESS = 0.5, 0.3, 0.2
HALF_LIFE = 7.0
"""Days."""

_POINTS = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class Scoring:
    """What a user is compared with.

    Attributes:
        intent: the percentiles (101) of the probabilities at the moments learned from; None where no intent was learned.
        steps: those of the numbers of steps known.
    """

    intent: Floats | None
    steps: Floats

    @classmethod
    def of(cls, probability: Floats | None, steps: ArrayLike) -> "Scoring":
        """From the moments learned from."""
        return cls(
            intent=None if probability is None else np.quantile(probability, _POINTS),
            steps=np.quantile(np.asarray(steps, dtype=np.float64), _POINTS),
        )

    def score(self, probability: Floats | None, steps: ArrayLike, days_since: ArrayLike) -> Floats:
        """The score of each user.

        Args:
            probability: of a conversion within the days; not looked at where no intent was learned.
            steps: known of each, whole numbers.
            days_since: their last one.
        """
        activity: Floats = self._activity[np.clip(np.asarray(steps, dtype=np.int64), 0, self._activity.size - 1)]
        freshness: Floats = 0.5 ** (np.asarray(days_since, dtype=np.float64) / HALF_LIFE)
        rest: Floats = ACTIVITY * activity + FRESHNESS * freshness
        if self.intent is None or probability is None:
            return 100 * rest / (ACTIVITY + FRESHNESS)
        return 100 * (INTENT * _rank(self.intent, probability) + rest)

    @cached_property
    def _activity(self) -> Floats:
        """The rank of each number of steps; more of them than the last have its rank."""
        return _rank(self.steps, np.arange(int(self.steps[-1]) + 2, dtype=np.float64))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All of it, for `from_arrays`."""
        return {"steps": self.steps} | ({} if self.intent is None else {"intent": self.intent})

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Scoring":
        """That of a `to_arrays`."""
        return cls(intent=arrays.get("intent"), steps=arrays["steps"])


BANDS = dict.fromkeys(("score", "converted", "low", "high"), pl.Float64) | {"moments": pl.Int64}
"""Columns of `bands`."""


def bands(score: Floats, converts: ArrayLike) -> pl.DataFrame:
    """What scores are worth, by fifths of the scale: score (mean), converted (share), low, high (95 %), moments."""
    found = reliability(np.clip(score / 100, 0, 1), converts, bins=5, by="width")
    return found.select(score=100 * pl.col("predicted"), converted="observed", low="low", high="high", moments="count")


def _rank(percentiles: Floats, values: Floats) -> Floats:
    """Where values lie among those that the percentiles are of, 0 to 1; equal ones in the middle of their place."""
    below = np.searchsorted(percentiles, values, side="left")
    equal = np.flatnonzero(percentiles[np.minimum(below, percentiles.size - 1)] == values)
    upto = below.copy()
    upto[equal] = np.searchsorted(percentiles, values[equal], side="right")
    return np.asarray((below + upto) / 2 / percentiles.size)
