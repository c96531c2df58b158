"""Mixtures of normal distributions, one in each row: what is believed of an effect once a prior has met its estimate."""

from dataclasses import dataclass

import numpy as np

from neonblue_lab.stats.arrays import Floats
from neonblue_lab.stats.distributions import normal_at_most, normal_quantile

_HALVINGS = 52
"""Of a quantile's bracket: what is left of it is beyond the digits of a float."""


@dataclass(frozen=True, eq=False)
class NormalMixtures:
    """Many mixtures of the same number of normals; the last axis of each array is the components.

    Attributes:
        weight: share of each component, adding up to 1 in each row.
        mean: mean of each component.
        sd: its standard deviation; 0 is a point mass.
    """

    weight: Floats
    mean: Floats
    sd: Floats

    def expected(self) -> Floats:
        """The mean of each mixture."""
        return np.asarray((self.weight * self.mean).sum(-1))

    def spread(self) -> Floats:
        """The standard deviation of each mixture."""
        away = self.mean - self.expected()[..., None]
        return np.asarray(np.sqrt((self.weight * (self.sd**2 + away**2)).sum(-1)))

    def at_most(self, value: Floats | float) -> Floats:
        """P(X <= value), a point mass at `value` included."""
        away = np.asarray(value)[..., None] - self.mean
        with np.errstate(divide="ignore", invalid="ignore"):
            below = np.where(self.sd > 0, normal_at_most(away / self.sd), away >= 0)
        return np.asarray((self.weight * below).sum(-1))

    def at_least(self, value: Floats | float) -> Floats:
        """P(X >= value), a point mass at `value` included: summed as a tail, never 1 - a share."""
        return NormalMixtures(self.weight, -self.mean, self.sd).at_most(-np.asarray(value))

    def false_sign(self) -> Floats:
        """The smaller of P(X <= 0) and P(X >= 0): how often the likelier sign is wrong, no effect at all included.

        Stephens (2017), "False discovery rates: a new deal", Biostatistics 18(2), eq. 2.6.
        """
        return np.minimum(self.at_most(0.0), self.at_least(0.0))

    def quantile(self, probability: float) -> Floats:
        """The smallest value that each mixture stays at or below with the given probability; NaN where one is NaN."""
        ends = self.mean + normal_quantile(probability) * self.sd
        absent = self.weight == 0
        low = np.nextafter(np.where(absent, np.inf, ends).min(-1), -np.inf)
        high = np.where(absent, -np.inf, ends).max(-1)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            enough = self.at_most(middle) >= probability
            high = np.where(enough, middle, high)
            low = np.where(enough, low, middle)
        # Halving only comes near a point mass, and an interval that ends at 0 must not seem to exclude it.
        reached = (self.sd == 0) & (low[..., None] < self.mean) & (self.mean <= high[..., None]) & ~absent
        found = np.where(reached.any(-1), np.where(reached, self.mean, -np.inf).max(-1), high)
        return np.where(np.isnan(self.expected()), np.nan, found)
