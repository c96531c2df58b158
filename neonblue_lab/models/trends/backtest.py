"""Rolling-origin back-test: what each forecaster would have said at past times, and how wrong it would have been.

The choice of a forecaster, the width of its intervals and the figures that are reported all come from here, because the
intervals that decompositions derive from their own assumptions cover far less than they promise.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import nnls
from scipy.special import stdtrit

from neonblue_lab.models.trends.forecasters import FitFailed, State, combine, fit, members
from neonblue_lab.models.trends.scale import Scale
from neonblue_lab.models.trends.series import Floats

ORIGINS = 12
COVERAGE = 0.95
FEWEST_FOR_QUANTILE = 19
"""Distinct times below which no empirical quantile can bound 95 % (1 / (1 - 0.95) - 1)."""


@dataclass(frozen=True)
class Backtest:
    """Forecasts from past origins beside what came.

    Attributes:
        origins: number of values that each forecast had seen; shape (origins,).
        actual: what came, on the series' own scale, NaN where nothing did or it was filled in; shape (origins,
            horizon).
        forecasts: forecaster -> its point forecasts, on the modelling scale; shape (origins, horizon) each.
        states: fitted forecaster -> its state after the whole series.
        failed: forecaster -> why it is not among them; one that fails anywhere is out altogether.
        scale: between the two scales.
    """

    origins: np.ndarray
    actual: Floats
    forecasts: dict[str, Floats]
    states: dict[str, State]
    failed: dict[str, str]
    scale: Scale

    @property
    def targets(self) -> np.ndarray:
        """The number of the value that each forecast is about; shape (origins, horizon)."""
        return self.origins[:, None] + np.arange(self.actual.shape[1])

    def errors(self, name: str) -> Floats:
        """Absolute errors on the series' own scale; shape (origins, horizon)."""
        return np.abs(self.actual - self.scale.back(self.forecasts[name]))

    def residuals(self, name: str) -> Floats:
        """Actual minus forecast on the modelling scale; shape (origins, horizon)."""
        return self.scale.forward(self.actual) - self.forecasts[name]

    def best(self) -> str:
        """The forecaster with the least mean absolute error; of equals the simplest."""
        return min(self.forecasts, key=lambda name: float(np.nanmean(self.errors(name))))

    def choice_without_itself(self) -> Floats:
        """At each origin the forecasts of what is best at the *other* origins.

        What choosing costs is thereby counted; the errors of the best one itself would flatter. On the modelling scale;
        shape (origins, horizon).
        """
        names = list(self.forecasts)
        errors = np.stack([self.errors(name) for name in names])
        sums, counts = np.nansum(errors, axis=2), np.sum(~np.isnan(errors), axis=2)
        others = (sums.sum(axis=1, keepdims=True) - sums) / np.maximum(counts.sum(axis=1, keepdims=True) - counts, 1)
        forecasts = np.stack([self.forecasts[name] for name in names])
        chosen: Floats = forecasts[others.argmin(axis=0), np.arange(len(self.origins))]
        return chosen


def backtest(
    values: Floats, observed: np.ndarray, *, season: int, horizon: int, scale: Scale, names: Iterable[str]
) -> Backtest:
    """Forecast `horizon` steps from up to 12 past origins, refitting at each.

    Origins lie evenly from the middle of the series (but not before `first_origin`) to the last from which a whole
    horizon is known. Where there is none, every value after the first season is an origin, tried on what is left.

    Args:
        values: without gaps, on the series' own scale.
        observed: False where a value was filled in: it is seen by forecasters but not counted.
        season: steps in a season; 1: none.
        horizon: steps ahead.
        scale: on which to model.
        names: the forecasters.
    """
    origins = _origins(len(values), season, horizon)
    known = np.where(observed, values, np.nan)
    actual = np.full((len(origins), horizon), np.nan)
    for row, origin in enumerate(origins):
        after = known[origin : origin + horizon]
        actual[row, : len(after)] = after
    scaled = scale.forward(values)
    ends = [*origins, len(values)]
    fitted: dict[str, list[State]] = {}
    forecasts, failed = {}, {}
    for name in names:
        missing = [member for member in members(name) if member in failed]
        if missing:
            failed[name] = f"{name} needs {', '.join(missing)}, which failed."
            continue
        try:
            fitted |= {m: [fit(m, scaled[:end], season) for end in ends] for m in members(name) if m not in fitted}
        except FitFailed as error:
            failed[name] = str(error)
            continue
        forecasts[name] = np.stack(
            [
                combine(name, {member: fitted[member][row] for member in members(name)}, horizon)
                for row in range(len(origins))
            ]
        )
    states = {name: at_ends[-1] for name, at_ends in fitted.items()}
    return Backtest(origins, actual, forecasts, states, failed, scale)


def first_origin(season: int) -> int:
    """The fewest values that every forecaster can be fitted to: two seasons, and 10 once each end loses half of one."""
    return max(2 * season, 10 + 2 * (season // 2))


def _origins(count: int, season: int, horizon: int) -> np.ndarray:
    last = count - horizon
    first = first_origin(season)
    if last < first:
        return np.arange(season, count)
    first = min(max(first, count // 2), last)
    return np.unique(np.linspace(first, last, ORIGINS).astype(int))


@dataclass(frozen=True)
class Width:
    """The half-width of a 95 % interval, on the modelling scale: quantile * sqrt(constant + growth * h), h steps ahead.

    The form is that of errors which add noise (constant) to a random walk (growth); it extends beyond the horizon
    tried.
    """

    constant: float
    growth: float
    quantile: float

    @classmethod
    def calibrate(cls, residuals: Floats, targets: np.ndarray) -> Self:
        """Fit the form to squared residuals by horizon, then take the conformal quantile of residuals in its units.

        Split-conformal (Lei et al. 2018, J. Amer. Statist. Assoc. 113, section 2.2) with the number of distinct times
        in place of the number of residuals, as forecasts of the same time are wrong together. Below 19 distinct times
        no quantile is known and Student's t with as many degrees of freedom is used.

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
        if times < FEWEST_FOR_QUANTILE:
            quantile = float(stdtrit(times, (1 + COVERAGE) / 2))
        else:
            quantile = float(np.quantile(scores, min(1.0, (times + 1) * COVERAGE / times)))
        return cls(float(constant), float(growth), quantile)

    def at(self, horizon: int) -> Floats:
        """For 1 to `horizon` steps ahead."""
        width: Floats = self.quantile * np.sqrt(self.constant + self.growth * (np.arange(horizon) + 1.0))
        return width


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


def naive_scale(values: Floats, season: int) -> float | None:
    """The denominator of MASE: mean absolute difference one season apart (Hyndman & Koehler 2006, Int. J. Forecasting
    22(4)).

    None where it is 0 or the series is no longer than a season.
    """
    if len(values) <= season:
        return None
    return float(np.abs(values[season:] - values[:-season]).mean()) or None


def smape(actual: Floats, forecast: Floats) -> float | None:
    """Symmetric mean absolute percentage error, 0 to 200: mean of 200 |a - f| / (|a| + |f|), 0 where both are 0.

    Makridakis (1993), Int. J. Forecasting 9(4), as in the M4 competition. NaN pairs do not count; None without any.
    """
    sums = np.abs(actual) + np.abs(forecast)
    errors = 200 * np.divide(np.abs(actual - forecast), sums, out=np.zeros_like(sums), where=sums != 0)
    errors = errors[~np.isnan(sums)]
    return float(errors.mean()) if len(errors) else None
