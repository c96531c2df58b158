"""What lift is to be expected before anything was measured: the programme's prior, tilted by what is known of the variant."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neonblue_lab.stats.distributions import normal_at_most, normal_quantile
from neonblue_lab.stats.shrinkage import ProgrammePrior

Floats = NDArray[np.float64]

ASSUMED_SPREAD = 0.1
"""Standard deviation of log lifts that is assumed, not learned, where no prior can be: nine lifts of ten within 18 %."""

_POINTS = 400  # of each component: quantiles, so that moments and tails are right to three digits


@dataclass(frozen=True, eq=False)
class Lifts:
    """Log lifts that may be true, each with its weight.

    Attributes:
        gain: log lifts in the direction of improvement.
        weight: adding up to 1.
        sign: -1 where less of the metric is better.
    """

    gain: Floats
    weight: Floats
    sign: int = 1

    @classmethod
    def of(cls, prior: ProgrammePrior | None, sign: int = 1) -> Self:
        """The prior of log lifts as points; a normal of ASSUMED_SPREAD about 0 where there is none."""
        if prior is None:
            prior = ProgrammePrior(np.ones(1), np.zeros(1), np.array([ASSUMED_SPREAD]), 0, 0.0)
        middle = (np.arange(_POINTS) + 0.5) / _POINTS
        unit = np.array([normal_quantile(share) for share in middle])
        points = prior.mean[:, None] + prior.sd[:, None] * unit
        weight = np.repeat(prior.weight / _POINTS, _POINTS)
        return cls(sign * points.ravel(), weight / weight.sum(), sign)

    @property
    def chance_to_beat(self) -> float:
        """Probability of a gain; no effect at all counts half."""
        return float(self.weight[self.gain > 0].sum() + self.weight[self.gain == 0].sum() / 2)

    def tilted(self, log_odds: float) -> "Lifts":
        """The same sizes of effects, the odds of a gain against a loss multiplied by exp(log_odds)."""
        weight = self.weight * np.exp(np.sign(self.gain) * log_odds / 2)
        return Lifts(self.gain, weight / weight.sum(), self.sign)

    def expected(self) -> float:
        """Relative change of the metric at the mean log lift, as shrunk lifts are told everywhere."""
        return float(np.expm1(self.weight @ (self.sign * self.gain)))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Relative changes between which the true one lies with this probability, tails equal."""
        lift = self.sign * self.gain
        order = np.argsort(lift)
        below = np.cumsum(self.weight[order]) - self.weight[order] / 2
        low, high = np.interp([(1 - level) / 2, (1 + level) / 2], below, lift[order])
        return float(np.expm1(low)), float(np.expm1(high))

    def assurance(self, standard_error: float, *, alpha: float = 0.05) -> tuple[float, float]:
        """Probability that a two-sided test of the log lift will call it a win, and that it will call it a loss, over all
        lifts that may be true (O'Hagan, Stevens and Campbell 2005, "Assurance in clinical trial design")."""
        away, critical = self.gain / standard_error, normal_quantile(1 - alpha / 2)
        win = self.weight @ normal_at_most(away - critical)
        return float(win), float(self.weight @ normal_at_most(-away - critical))
