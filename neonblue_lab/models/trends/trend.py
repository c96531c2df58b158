"""Where a metric is going: the forecaster that did best on the series' own past, its intervals made of its errors
there.

What never was negative is never forecast below 0: it is modelled on a logarithmic scale (see `scale`).
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.models.training.threads import one_thread
from neonblue_lab.models.trends.backtest import (
    Backtest,
    Width,
    backtest,
    first_origin,
    naive_scale,
    out_of_sample_coverage,
    smape,
)
from neonblue_lab.models.trends.forecasters import NAMES, SEASONAL_NAIVE, State, combine, members
from neonblue_lab.models.trends.scale import Scale
from neonblue_lab.models.trends.series import RegularSeries, default_horizon, default_season, regular_series

BACKTEST_SCHEMA: dict[str, pl.DataType] = {"horizon": pl.Int64(), "model": pl.String(), "error": pl.Float64()}


@dataclass(frozen=True)
class TrendModel:
    """A fitted trend.

    Attributes:
        series: the values it was fitted to.
        season: steps in a season; 1: none.
        horizon: how many steps ahead it was tried. Beyond, intervals widen by the form that was fitted up to here.
        model: the forecaster that was chosen, of `forecasters.NAMES`.
        states: all that it needs to forecast, by forecaster.
        scale: on which it was modelled.
        width: of its 95 % intervals.
        backtest: horizon (steps ahead), model, error (mean absolute error on the metric's own scale): every forecaster
            that was tried, on the same past origins.
        metrics: what is to be expected of it, None where the series cannot tell. `mase`, `smape`: of the choice, made
            at each origin without that origin; `naive_mase`: of the seasonal naive forecast at the same origins (below
            it, choosing paid off); `coverage`: of 95 % intervals calibrated on earlier times alone, at later times.
        note: what a reader should know of this series, in sentences; empty if nothing.
    """

    series: RegularSeries
    season: int
    horizon: int
    model: str
    states: dict[str, State]
    scale: Scale
    width: Width
    backtest: pl.DataFrame
    metrics: dict[str, float | None]
    note: str

    def forecast(self, horizon: int) -> pl.DataFrame:
        """Forecast the next `horizon` steps.

        Returns:
            timestamp, mean (the point forecast; where the scale is logarithmic it is nearer the median of what may
            come), low, high (95 % interval of a single step). Never below 0 for a series that never was.

        Raises:
            BadInput: fewer than 1 step, or further ahead than the series reaches back (than the horizon tried, if
                more).
        """
        limit = max(len(self.series), self.horizon)
        if not 1 <= horizon <= limit:
            raise BadInput(
                f"Cannot forecast {horizon} steps of {_words(self.series.step)}: "
                f"a series of {len(self.series)} values can be continued by 1 to {limit}."
            )
        middle = combine(self.model, self.states, horizon)
        width = self.width.at(horizon)
        return pl.DataFrame(
            {
                "timestamp": self.series.times(len(self.series), horizon),
                "mean": self.scale.back(middle),
                "low": self.scale.back(middle - width),
                "high": self.scale.back(middle + width),
            }
        )

    def steps(self, ahead: timedelta) -> int:
        """How many steps reach at least `ahead` of the last value."""
        return max(1, -(-ahead // self.series.step))


def fit_trend(series: pl.DataFrame, *, season: int | None = None, horizon: int | None = None) -> TrendModel:
    """Fit a trend to one metric of one subject. Nothing in it is random.

    Args:
        series: timestamp (date or datetime) and value, in any order; one row for each hour, day, week or other step,
            which is inferred. A gap (a missing row or a null) takes the value one season earlier, else later, else is
            interpolated; it is not counted in the back-test.
        season: steps in a season. None: 24 of hours, 7 of days, 52 of weeks where the series holds two years, else
            none.
        horizon: how many steps ahead it is tried, as far as the series allows. None: 48 hours, 14 days, 8 weeks or 8
            other steps.

    Returns:
        The model. A series of fewer than two seasons and a horizon is continued by its last season or value, and `note`
        says so.

    Raises:
        BadInput: fewer than 3 values, a time twice, irregular times, values that are not finite, or options below 1.
    """
    for name, value in (("season", season), ("horizon", horizon)):
        if value is not None and value < 1:
            raise BadInput(f"{name} {value} of a trend: it is a number of steps, 1 or more.")
    regular = regular_series(series, season=season)
    season = season or default_season(regular.step, len(regular))
    horizon = horizon or default_horizon(regular.step)
    notes = []
    filled = int((~regular.observed).sum())
    if filled:
        notes.append(
            f"{filled} of {len(regular)} values were missing and filled in from the season before or the neighbours."
        )
    names: tuple[str, ...] = NAMES
    if len(regular) <= season + 1:
        season = 1
    if np.ptp(regular.values) == 0:
        names, season = (SEASONAL_NAIVE,), 1
        notes.append("Every value is the same: the forecast repeats it, and the interval has no width.")
    elif len(regular) < max(2 * season + horizon, first_origin(season) + horizon // 2):
        names = (SEASONAL_NAIVE,)
        what = f"last season of {season}" if season > 1 else "last value"
        notes.append(
            f"{len(regular)} values are too few to choose a model on, trying it {horizon} steps ahead: "
            f"the {what} is repeated. Believe the interval more than the line."
        )
    else:
        horizon = min(horizon, len(regular) - first_origin(season))
    scale = Scale.of(regular.values)
    with one_thread():
        trial = backtest(regular.values, regular.observed, season=season, horizon=horizon, scale=scale, names=names)
    notes += [f"Not tried: {reason}" for reason in trial.failed.values()]
    chosen = trial.best()
    return TrendModel(
        series=regular,
        season=season,
        horizon=horizon,
        model=chosen,
        states={member: trial.states[member] for member in members(chosen)},
        scale=scale,
        width=Width.calibrate(trial.residuals(chosen), trial.targets),
        backtest=_error_by_step(trial),
        metrics=_metrics(trial, naive_scale(regular.values, season)),
        note=" ".join(notes),
    )


def _error_by_step(trial: Backtest) -> pl.DataFrame:
    rows = [
        {"horizon": step + 1, "model": name, "error": float(np.nanmean(errors[:, step]))}
        for name in trial.forecasts
        for errors in (trial.errors(name),)
        for step in range(errors.shape[1])
        if not np.isnan(errors[:, step]).all()
    ]
    return pl.DataFrame(rows, schema=BACKTEST_SCHEMA)


def _metrics(trial: Backtest, scale: float | None) -> dict[str, float | None]:
    expected = trial.choice_without_itself()
    errors = np.abs(trial.actual - trial.scale.back(expected))
    return {
        "mase": None if scale is None else float(np.nanmean(errors)) / scale,
        "smape": smape(trial.actual, trial.scale.back(expected)),
        "naive_mase": None if scale is None else float(np.nanmean(trial.errors(SEASONAL_NAIVE))) / scale,
        "coverage": out_of_sample_coverage(trial.scale.forward(trial.actual) - expected, trial.targets),
    }


def _words(step: timedelta) -> str:
    days = step / timedelta(days=1)
    return f"{days:g} day(s)" if days >= 1 else f"{step / timedelta(hours=1):g} hour(s)"
