"""What every forecaster leaves behind: a few numbers that continue a series without the library that found them.

h = 1, 2, ... steps after the last value, on the scale that was modelled, a state says

    level + slope * (damping + ... + damping^h) + deviation * decay^h + seasonal[(h - 1) mod season]
"""

from dataclasses import dataclass

import numpy as np

from neonblue_lab.models.trends.scale import Scale
from neonblue_lab.models.trends.series import Floats


def drift(damping: float | Floats, horizon: int) -> Floats:
    """How far a slope of 1 has carried after 1 to `horizon` steps, on the last axis."""
    steps: Floats = np.cumsum(np.power(np.asarray(damping)[..., None], np.arange(horizon) + 1.0), axis=-1)
    return steps


@dataclass(frozen=True)
class State:
    """All that a forecast needs (see the module's formula).

    Attributes:
        level: where the series stands.
        slope, damping: of its trend, a step.
        deviation, decay: what is left of the last deviation from the level, and how much of it stays, a step.
        seasonal: additions of the steps after the last value, again and again.
    """

    level: float
    slope: float = 0.0
    damping: float = 1.0
    deviation: float = 0.0
    decay: float = 0.0
    seasonal: tuple[float, ...] = (0.0,)

    def forecast(self, horizon: int) -> Floats:
        """The next `horizon` values."""
        steps = np.arange(horizon)
        path: Floats = (
            self.level
            + self.slope * drift(self.damping, horizon)
            + self.deviation * self.decay ** (steps + 1.0)
            + np.asarray(self.seasonal)[steps % len(self.seasonal)]
        )
        return path


@dataclass(frozen=True)
class Member:
    """One forecaster of a combination.

    Attributes:
        name: what it is, in words.
        scale: on which it was modelled.
        state: of it, after the whole series.
    """

    name: str
    scale: Scale
    state: State

    def forecast(self, horizon: int) -> Floats:
        """The next `horizon` values on the series' own scale."""
        return self.scale.back(self.state.forecast(horizon))


def combined(members: tuple[Member, ...], horizon: int) -> Floats:
    """The median of the members at each step, on the series' own scale."""
    median: Floats = np.median([member.forecast(horizon) for member in members], axis=0)
    return median
