"""Rolling-origin back-test: what each forecaster would have said at past times, and how wrong it would have been.

The choice of forecasters, the width of their intervals and the figures that are reported all come from here, because the
intervals that decompositions derive from their own assumptions cover far less than they promise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from neonblue_lab.models.trends import profiles
from neonblue_lab.models.trends.forecasters import NAMES, SEASONAL_NAIVE, Parameters, fit_all, seasonal_naive
from neonblue_lab.models.trends.scale import Scale
from neonblue_lab.models.trends.series import Floats
from neonblue_lab.models.trends.shifts import Shift, find, removed
from neonblue_lab.models.trends.special_days import SpecialDays, lifted
from neonblue_lab.models.trends.state import Member

ORIGINS = 14
COMBINED = 12
"""Forecasters whose median is the forecast."""
OF_A_FAMILY = 4
"""At most so many of them differ in their level alone."""
REFIT = 7
"""At every seventh origin the optimisers of statsmodels look for new parameters; those of the last time serve in between."""
COMBINATION = "combination"


@dataclass(frozen=True)
class Backtest:
    """Forecasts from past origins beside what came.

    Attributes:
        origins: number of values that each forecast had seen; shape (origins,).
        actual: what came, on the series' own scale, NaN where nothing did, it was filled in, or the level shifted between
            origin and target; shape (origins, horizon).
        names, families: of the candidates; shape (candidates,).
        forecasts: on the series' own scale; shape (candidates, origins, horizon).
        naive: those of the seasonal naive forecast; shape (origins, horizon).
        member: candidate -> what it leaves behind after the whole series.
        shifts: level shifts seen from the end of the series, on the modelling scale.
        failed: forecaster -> why it is not among the candidates; one that fails anywhere is out altogether.
    """

    origins: np.ndarray
    actual: Floats
    names: list[str]
    families: np.ndarray
    forecasts: Floats
    naive: Floats
    member: Callable[[int], Member]
    shifts: tuple[Shift, ...]
    failed: dict[str, str]

    @property
    def targets(self) -> np.ndarray:
        """The number of the value that each forecast is about; shape (origins, horizon)."""
        return self.origins[:, None] + np.arange(self.actual.shape[1])

    def errors(self) -> Floats:
        """Mean absolute error at each origin; shape (candidates, origins), NaN where nothing is known."""
        return _mean_known(np.abs(self.forecasts - self.actual))

    def choice(self, errors: Floats) -> list[int]:
        """The 12 candidates with the least mean absolute error, at most four of a family, the best of statsmodels always
        among them: profiles are so many that it would seldom have a seat, and a median gains by what is unlike the rest.

        Args:
            errors: of the origins that count; shape (candidates, origins).
        """
        scores = errors[:, ~np.isnan(errors[0])].mean(axis=1)
        best_first = np.argsort(scores, kind="stable").tolist()
        chosen = [candidate for candidate in best_first if self.names[candidate] in NAMES][:1]
        met: dict[int, int] = {}
        for candidate in best_first:
            if candidate in chosen:
                continue
            family = int(self.families[candidate])
            if met.get(family, 0) < OF_A_FAMILY:
                met[family] = met.get(family, 0) + 1
                chosen.append(candidate)
            if len(chosen) == COMBINED:
                break
        return chosen

    def without_itself(self) -> Floats:
        """At each origin the forecasts of what is best at the *other* origins, those that look at the same values left out.

        What choosing costs is thereby counted; the errors of the best ones themselves would flatter. Where no other origin
        is left, all but the origin itself count. On the series' own scale; shape (origins, horizon).
        """
        errors = self.errors()
        path = np.empty_like(self.actual)
        for row, origin in enumerate(self.origins):
            others = np.abs(self.origins - origin) >= self.actual.shape[1]
            if not (others & ~np.isnan(errors[0])).any():
                others = np.arange(len(self.origins)) != row
            if not (others & ~np.isnan(errors[0])).any():
                others[:] = True
            path[row] = np.median(self.forecasts[self.choice(errors[:, others]), row], axis=0)
        return path


def backtest(
    values: Floats,
    observed: np.ndarray,
    *,
    seasons: tuple[int, ...],
    horizon: int,
    scale: Scale,
    special: SpecialDays | None,
    naive_only: bool,
) -> Backtest:
    """Forecast `horizon` steps from up to 14 past origins, from what was known there.

    The last origin is the last from which a whole horizon is known, the others lie half a horizon apart before it (closer,
    where the series is short), none before `first_origin`. Where there is none, every value after the first season is an
    origin, tried on what is left.

    Args:
        values: without gaps, on the series' own scale.
        observed: False where a value was filled in: it is seen by forecasters but not counted.
        seasons: steps in each, the shortest first; (1,): none.
        horizon: steps ahead.
        scale: on which to model.
        special: holidays, to be taken out before and put back after.
        naive_only: nothing but the seasonal naive forecast is tried.
    """
    origins = _origins(len(values), seasons, horizon)
    ends = [*origins.tolist(), len(values)]
    scaled = scale.forward(values)
    additions = np.zeros((len(ends), horizon))
    rows = []
    for row, end in enumerate(ends):
        past = scaled[:end]
        if special is not None:
            effects = special.effects(end)
            past = scale.forward(lifted(values[:end], -special.additions(effects, 0, end), scale))
            additions[row] = special.additions(effects, end, horizon)
        rows.append(past)
    shifts = find(rows[-1], seasons)
    actual = _actual(np.where(observed, values, np.nan), origins, horizon, shifts)
    repeated = [Member(SEASONAL_NAIVE, scale, seasonal_naive(past, seasons[0])) for past in rows]
    naive = np.stack([lifted(m.forecast(horizon), additions[i], scale) for i, m in enumerate(repeated[:-1])])
    if naive_only:
        candidates = [_Named([SEASONAL_NAIVE], [SEASONAL_NAIVE], naive[None], partial(_only, repeated[-1]))]
        failed: dict[str, str] = {}
    else:
        views = {"": rows}
        if shifts:
            views = {"": rows, ", level shifts taken out": [removed(past, find(past, seasons)) for past in rows]}
        candidates, failed = _of_statsmodels(next(reversed(views.values())), seasons, horizon, scale)
        for suffix, view in views.items():
            candidates += _of_profiles(view, seasons, horizon, scale, suffix)
        if scale.unit is not None:
            plain = scale.plain
            for suffix, view in views.items():
                back = [scale.back(past) for past in view]
                candidates += _of_profiles(back, seasons, horizon, plain, f"{suffix}, plain scale")
    families = [family for part in candidates for family in part.families]
    codes = {family: code for code, family in enumerate(dict.fromkeys(families))}
    starts = np.cumsum([0, *(len(part.families) for part in candidates)])

    def member(candidate: int) -> Member:
        part = int(np.searchsorted(starts, candidate, side="right")) - 1
        return candidates[part].member(candidate - int(starts[part]))

    return Backtest(
        origins=origins,
        actual=actual,
        names=[name for part in candidates for name in part.names],
        families=np.array([codes[family] for family in families]),
        forecasts=lifted(np.concatenate([part.forecasts for part in candidates]), additions[:-1], scale),
        naive=naive,
        member=member,
        shifts=shifts,
        failed=failed,
    )


def first_origin(seasons: tuple[int, ...]) -> int:
    """The fewest values that every forecaster can be fitted to: two of the longest season, and 10 more than a season."""
    return max(2 * seasons[-1], 10 + 2 * (seasons[0] // 2))


@dataclass(frozen=True)
class _Named:
    """Candidates with their forecasts from past origins on the series' own scale (holidays not put back)."""

    names: list[str]
    families: list[str]
    forecasts: Floats
    member: Callable[[int], Member]


def _of_profiles(rows: list[Floats], seasons: tuple[int, ...], horizon: int, scale: Scale, suffix: str) -> list[_Named]:
    past = profiles.Past.of(rows, profiles.width(seasons))
    found = []
    for batch in profiles.batches(past, seasons):
        families = [family + suffix for family in batch.families]

        def member(candidate: int, batch: profiles.Batch = batch, families: list[str] = families) -> Member:
            return Member(families[candidate], scale, batch.state(candidate, -1))

        found.append(_Named(families, families, scale.back(batch.forecast(horizon)[:, :-1]), member))
    return found


def _of_statsmodels(
    rows: list[Floats], seasons: tuple[int, ...], horizon: int, scale: Scale
) -> tuple[list[_Named], dict[str, str]]:
    known: Parameters = {}
    fits = []
    for row, past in enumerate(rows):
        last = row == len(rows) - 1
        fits.append(fit_all(past, seasons, {} if last or row % REFIT == 0 else known))
        known = fits[-1].parameters
    failed = {name: reason for fit in reversed(fits) for name, reason in fit.failed.items()}
    found = []
    for name in fits[-1].states:
        if name in failed:
            continue
        path = np.stack([scale.back(fit.states[name].forecast(horizon)) for fit in fits[:-1]])
        found.append(_Named([name], [name], path[None], partial(_only, Member(name, scale, fits[-1].states[name]))))
    return found, failed


def _only(member: Member, candidate: int) -> Member:
    return member


def _actual(known: Floats, origins: np.ndarray, horizon: int, shifts: tuple[Shift, ...]) -> Floats:
    actual = np.full((len(origins), horizon), np.nan)
    for row, origin in enumerate(origins):
        after = known[origin : origin + horizon]
        actual[row, : len(after)] = after
    for shift in shifts:
        targets = origins[:, None] + np.arange(horizon)
        unforeseen = (origins[:, None] <= shift.position) & (targets >= shift.position)
        if not np.isnan(np.where(unforeseen, np.nan, actual)).all():
            actual[unforeseen] = np.nan
    return actual


def _origins(count: int, seasons: tuple[int, ...], horizon: int) -> np.ndarray:
    last, first = count - horizon, first_origin(seasons)
    if last < first:
        return np.arange(seasons[0], count)
    spacing = max(1, horizon // 2)
    if (last - first) // spacing + 1 >= ORIGINS:
        return last - spacing * np.arange(ORIGINS)[::-1]
    return np.unique(np.linspace(first, last, ORIGINS).astype(int))


def _mean_known(errors: Floats) -> Floats:
    known = ~np.isnan(errors)
    count = known.sum(axis=-1)
    mean: Floats = np.where(known, errors, 0.0).sum(axis=-1) / np.where(count > 0, count, np.nan)
    return mean


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
