"""How wide an interval must be: conformal quantiles of the errors that were made on the past."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import nnls
from scipy.special import ndtri, stdtrit

from neonblue_lab.models.trends.series import Floats

COVERAGE = 0.95
FEWEST_FOR_QUANTILE = 19
"""Distinct times below which no empirical quantile can bound 95 % (1 / (1 - 0.95) - 1)."""


@dataclass(frozen=True)
class Width:
    """The half-width of a 95 % interval, on the modelling scale: quantile * sqrt(constant + growth * h), h steps ahead.

    The form is that of errors which add noise (constant) to a random walk (growth); it extends beyond the horizon tried.
    """

    constant: float
    growth: float
    quantile: float

    @classmethod
    def calibrate(cls, residuals: Floats, targets: np.ndarray) -> Self:
        """Fit the form to squared residuals by horizon, then take the conformal quantile of residuals in its units.

        Split-conformal (Lei et al. 2018, J. Amer. Statist. Assoc. 113, section 2.2) with the number of distinct times
        in place of the number of residuals, as forecasts of the same time are wrong together. As those of neighbouring
        times are too, times are worth fewer: as many as an autoregression of order 1 with the residuals' correlation
        leaves (Bartlett 1946); for so few the quantile grows by Student's t over the normal one. Below 19 distinct times
        no quantile is known, and Student's t itself is used.

        Args:
            residuals: shape (origins, horizon), NaN where unknown.
            targets: the number of the value that each is about, same shape.
        """
        known = ~np.isnan(residuals)
        steps = np.flatnonzero(known.any(axis=0))
        weights = np.sqrt(known.sum(axis=0)[steps])
        squares = np.nansum(residuals[:, steps] ** 2, axis=0) / known.sum(axis=0)[steps]
        form = np.column_stack([np.ones(len(steps)), steps + 1.0])
        (constant, growth), _ = nnls(form * weights[:, None], squares * weights)
        units = np.sqrt(constant + growth * (np.arange(residuals.shape[1]) + 1.0))
        if constant + growth == 0:
            return cls(0.0, 0.0, 0.0)
        scores = np.abs(residuals / units)[known]
        times = len(np.unique(targets[known]))
        quantile = float(stdtrit(_worth(residuals / units, times), (1 + COVERAGE) / 2))
        if times >= FEWEST_FOR_QUANTILE:
            known_quantile = float(np.quantile(scores, min(1.0, (times + 1) * COVERAGE / times)))
            quantile *= known_quantile / float(ndtri((1 + COVERAGE) / 2))
        return cls(float(constant), float(growth), quantile)

    def at(self, horizon: int) -> Floats:
        """For 1 to `horizon` steps ahead."""
        width: Floats = self.quantile * np.sqrt(self.constant + self.growth * (np.arange(horizon) + 1.0))
        return width


def _worth(scores: Floats, times: int) -> float:
    """How many independent errors so many times are worth, 2 at least."""
    pairs = scores[:, 1:] * scores[:, :-1]
    if np.isnan(pairs).all():
        return max(2.0, float(times))
    correlation = float(np.clip(np.nanmean(pairs) / np.nanmean(scores**2), 0.0, 0.999))
    return max(2.0, times * (1 - correlation) / (1 + correlation))


def out_of_sample_coverage(residuals: Floats, targets: np.ndarray) -> float | None:
    """The share of residuals about later times within an interval calibrated on those about earlier times alone.

    Both parts hold about half of the residuals, and no time is in both. None when a part is empty.
    """
    known = ~np.isnan(residuals)
    middle = np.median(targets[known])
    earlier, later = known & (targets < middle), known & (targets >= middle)
    if not earlier.any() or not later.any():
        return None
    width = Width.calibrate(np.where(earlier, residuals, np.nan), targets).at(residuals.shape[1])
    return float((np.abs(residuals) <= width)[later].mean())
