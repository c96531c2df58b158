"""Where a metric is going: the median of the forecasters that did best on the series' own past, its intervals made of the
errors there.

What never was negative is never forecast below 0 (see `scale`).
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.events.records import TIMESTAMP
from neonblue_lab.models.training.threads import one_thread
from neonblue_lab.models.trends.backtest import (
    COMBINATION,
    Backtest,
    backtest,
    first_origin,
    naive_scale,
    smape,
)
from neonblue_lab.models.trends.forecasters import NAMES, SEASONAL_NAIVE
from neonblue_lab.models.trends.intervals import Width, out_of_sample_coverage
from neonblue_lab.models.trends.scale import Scale
from neonblue_lab.models.trends.series import (
    Floats,
    RegularSeries,
    default_horizon,
    default_seasons,
    regular_series,
)
from neonblue_lab.models.trends.special_days import Effect, lifted, special_days
from neonblue_lab.models.trends.state import Member, combined

BACKTEST_SCHEMA: dict[str, pl.DataType] = {"horizon": pl.Int64(), "model": pl.String(), "error": pl.Float64()}
SHIFTS_SCHEMA: dict[str, pl.DataType] = {"timestamp": TIMESTAMP, "before": pl.Float64(), "after": pl.Float64()}
HOLIDAYS_SCHEMA: dict[str, pl.DataType] = {"holiday": pl.String(), "change": pl.Float64(), "seen": pl.Int64()}


@dataclass(frozen=True)
class TrendModel:
    """A fitted trend.

    Attributes:
        series: the values it was fitted to.
        seasons: steps in each season, the shortest first; (1,): none.
        horizon: how many steps ahead it was tried. Beyond, intervals widen by the form that was fitted up to here.
        members: the forecasters whose median is the forecast; each with all that it needs.
        scale: on which intervals are symmetric.
        width: of its 95 % intervals.
        backtest: horizon (steps ahead), model, error (mean absolute error on the metric's own scale), on the same past
            origins: the combination as it was chosen without each origin, the seasonal naive forecast, and each forecaster
            of statsmodels.
        metrics: what is to be expected of it, None where the series cannot tell. `mase`, `smape`: of the combination, chosen
            at each origin without it; `naive_mase`: of the seasonal naive forecast at the same origins (below it, choosing
            paid off); `coverage`: of 95 % intervals calibrated on earlier times alone, at later times.
        shifts: level shifts in the past: timestamp (of the first value after), before, after (median levels).
        holidays: those that came at least twice: holiday, change (relative, of a day of median height), seen.
        holidays_ahead: steps ahead -> what the holiday then adds on its scale (`special_days.holiday_scale`).
        note: what a reader should know of this series, in sentences; empty if nothing.
    """

    series: RegularSeries
    seasons: tuple[int, ...]
    horizon: int
    members: tuple[Member, ...]
    scale: Scale
    width: Width
    backtest: pl.DataFrame
    metrics: dict[str, float | None]
    shifts: pl.DataFrame
    holidays: pl.DataFrame
    holidays_ahead: dict[int, float]
    note: str

    @property
    def season(self) -> int:
        """Steps in the shortest season; 1: none."""
        return self.seasons[0]

    @property
    def model(self) -> str:
        """What forecasts, in a word: the combination, or the only member."""
        return COMBINATION if len(self.members) > 1 else self.members[0].name

    @property
    def statsmodels_members(self) -> int:
        """How many of the members are forecasters of statsmodels."""
        return sum(member.name in NAMES for member in self.members)

    def forecast(self, horizon: int) -> pl.DataFrame:
        """Forecast the next `horizon` steps.

        Returns:
            timestamp, mean (the point forecast; where the scale is logarithmic it is nearer the median of what may
            come), low, high (95 % interval of a single step). Never below 0 for a series that never was.

        Raises:
            BadInput: fewer than 1 step, or further ahead than the series reaches back (than the horizon tried, if
                more).
        """
        limit = _limit(self.series, self.horizon)
        if not 1 <= horizon <= limit:
            raise BadInput(
                f"Cannot forecast {horizon} steps of {_words(self.series.step)}: "
                f"a series of {len(self.series)} values can be continued by 1 to {limit}."
            )
        added = np.array([self.holidays_ahead.get(step, 0.0) for step in range(1, horizon + 1)])
        middle = self.scale.forward(lifted(combined(self.members, horizon), added, self.scale))
        width = self.width.at(horizon)
        return pl.DataFrame(
            {
                "timestamp": self.series.times(len(self.series), horizon),
                "mean": self.scale.back(middle),
                "low": self.scale.back(middle - width),
                "high": self.scale.back(middle + width),
            }
        )

    @property
    def profile(self) -> pl.DataFrame:
        """What a season looks like: timestamp (of each step of the longest season, from the end of the series on), share (of
        the season's mean, the median over the members; trend and fading deviations left out). No rows without a season, or
        where the mean is not above 0.
        """
        longest = self.seasons[-1]
        calm = [replace(m, state=replace(m.state, slope=0.0, deviation=0.0)).forecast(longest) for m in self.members]
        shares = [path / path.mean() for path in calm if longest > 1 and path.mean() > 0]
        schema = {"timestamp": TIMESTAMP, "share": pl.Float64()}
        if not shares:
            return pl.DataFrame(schema=schema)
        times = self.series.times(len(self.series), longest)
        return pl.DataFrame({"timestamp": times, "share": np.median(shares, axis=0)}, schema=schema)

    def steps(self, ahead: timedelta) -> int:
        """How many steps reach at least `ahead` of the last value."""
        return max(1, -(-ahead // self.series.step))


def fit_trend(
    series: pl.DataFrame,
    *,
    seasons: tuple[int, ...] | None = None,
    horizon: int | None = None,
    country: str | None = None,
) -> TrendModel:
    """Fit a trend to one metric of one subject. Nothing in it is random.

    Args:
        series: timestamp (date or datetime) and value, in any order; one row for each hour, day, week or other step,
            which is inferred. A gap (a missing row or a null) takes the value one season earlier, else later, else is
            interpolated; it is not counted in the back-test.
        seasons: steps in each season, the shortest first, each a multiple of the one before; one that is not met twice is
            left out. None: by `default_seasons` (a day and a week of hours, a week and a year of days, a year of weeks).
        horizon: how many steps ahead it is tried, as far as the series allows. None: 48 hours, 14 days, 8 weeks or 8
            other steps.
        country: whose holidays are taken into account (ISO 3166 code, such as US); None: none.

    Returns:
        The model. A series of fewer than two seasons and a horizon is continued by its last season or value, and `note`
        says so.

    Raises:
        BadInput: fewer than 3 values, a time twice, irregular times, values that are not finite, options below 1, seasons
            that are not multiples, an unknown country.
    """
    _check(seasons, horizon)
    regular = regular_series(series, seasons=seasons)
    seasons = seasons or default_seasons(regular.step, len(regular))
    horizon = horizon or default_horizon(regular.step)
    values = regular.values
    notes = []
    filled = int((~regular.observed).sum())
    if filled:
        notes.append(
            f"{filled} of {len(regular)} values were missing and filled in from the season before or the neighbours."
        )
    naive_only = False
    seasons = tuple(s for s in seasons if s == seasons[0] or len(regular) >= 2 * s + horizon)
    if len(regular) <= seasons[0] + 1:
        seasons = (1,)
    if np.ptp(values) == 0:
        naive_only, seasons = True, (1,)
        notes.append("Every value is the same: the forecast repeats it, and the interval has no width.")
    elif len(regular) < max(2 * seasons[0] + horizon, first_origin(seasons) + horizon // 2):
        naive_only, seasons = True, seasons[:1]
        what = f"last season of {seasons[0]}" if seasons[0] > 1 else "last value"
        notes.append(
            f"{len(regular)} values are too few to choose a model on, trying it {horizon} steps ahead: "
            f"the {what} is repeated. Believe the interval more than the line."
        )
    else:
        horizon = min(horizon, len(regular) - first_origin(seasons))
    scale = Scale.of(values)
    special = None
    if country is not None:
        special = special_days(regular, scale, country, _limit(regular, horizon))
    with one_thread():
        trial = backtest(
            values,
            regular.observed,
            seasons=seasons,
            horizon=horizon,
            scale=scale,
            special=special,
            naive_only=naive_only,
        )
    notes += [f"Not tried: {reason}" for reason in trial.failed.values()]
    chosen = trial.choice(trial.errors())
    unseen = trial.without_itself()
    residuals = scale.forward(trial.actual) - scale.forward(unseen)
    effects = special.effects(len(regular)) if special else ()
    ahead = special.additions(effects, len(regular), _limit(regular, horizon)) if special else np.zeros(0)
    shifts = pl.DataFrame(
        {
            "timestamp": [regular.start + regular.step * shift.position for shift in trial.shifts],
            "before": scale.back(np.array([shift.before for shift in trial.shifts])),
            "after": scale.back(np.array([shift.after for shift in trial.shifts])),
        },
        schema=SHIFTS_SCHEMA,
    )
    notes += [
        f"The level shifted on {at:%Y-%m-%d}, from about {before:,.4g} to {after:,.4g}: what came before it tells the "
        "shape of the season alone."
        for at, before, after in shifts.iter_rows()
    ]
    return TrendModel(
        series=regular,
        seasons=seasons,
        horizon=horizon,
        members=tuple(trial.member(candidate) for candidate in chosen),
        scale=scale,
        width=Width.calibrate(residuals, trial.targets),
        backtest=_error_by_step(trial, unseen),
        metrics=_metrics(trial, unseen, residuals, naive_scale(values, seasons[0])),
        shifts=shifts,
        holidays=_holiday_frame(effects, float(np.median(values)), scale),
        holidays_ahead={int(step) + 1: float(ahead[step]) for step in np.flatnonzero(ahead)},
        note=" ".join(notes),
    )


def _holiday_frame(effects: tuple[Effect, ...], usual: float, scale: Scale) -> pl.DataFrame:
    """Of each holiday the change relative to a day as high as usual; null where that is not above 0."""
    added = np.array([effect.effect for effect in effects])
    changes = lifted(np.full(len(effects), usual), added, scale) / usual - 1 if usual > 0 else None
    return pl.DataFrame(
        {"holiday": [e.name for e in effects], "change": changes, "seen": [e.seen for e in effects]},
        schema=HOLIDAYS_SCHEMA,
    )


def _check(seasons: tuple[int, ...] | None, horizon: int | None) -> None:
    if horizon is not None and horizon < 1:
        raise BadInput(f"horizon {horizon} of a trend: it is a number of steps, 1 or more.")
    if seasons is None:
        return
    if not seasons or min(seasons) < 1:
        raise BadInput(f"seasons {seasons} of a trend: each is a number of steps, 1 or more.")
    for short, long in pairwise(seasons):
        if long <= short or long % short:
            raise BadInput(
                f"seasons {seasons} of a trend: {long} is not a multiple of {short}, the shortest come first."
            )


def _limit(series: RegularSeries, horizon: int) -> int:
    return max(len(series), horizon)


def _error_by_step(trial: Backtest, unseen: Floats) -> pl.DataFrame:
    paths = {SEASONAL_NAIVE: trial.naive}
    if len(trial.names) > 1:
        paths |= {name: trial.forecasts[i] for i, name in enumerate(trial.names) if name in NAMES}
        paths[COMBINATION] = unseen
    rows = []
    for name, path in paths.items():
        errors = np.abs(trial.actual - path)
        known = np.flatnonzero(~np.isnan(errors).all(axis=0))
        rows += [
            {"horizon": int(step) + 1, "model": name, "error": float(np.nanmean(errors[:, step]))} for step in known
        ]
    return pl.DataFrame(rows, schema=BACKTEST_SCHEMA)


def _metrics(trial: Backtest, unseen: Floats, residuals: Floats, scale: float | None) -> dict[str, float | None]:
    return {
        "mase": None if scale is None else float(np.nanmean(np.abs(trial.actual - unseen))) / scale,
        "smape": smape(trial.actual, unseen),
        "naive_mase": None if scale is None else float(np.nanmean(np.abs(trial.actual - trial.naive))) / scale,
        "coverage": out_of_sample_coverage(residuals, trial.targets),
    }


def _words(step: timedelta) -> str:
    days = step / timedelta(days=1)
    return f"{days:g} day(s)" if days >= 1 else f"{step / timedelta(hours=1):g} hour(s)"
