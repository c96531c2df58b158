"""A few forecasters of unlike character. Each leaves the same small state behind, so that a forecast needs no library.

After fitting, all of them forecast h = 1, 2, ... steps ahead by

    level + slope * (damping + damping^2 + ... + damping^h) + seasonal[(h - 1) mod season]

which is what is stored: numbers, not objects.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from neonblue_lab.errors import NeonBlueError
from neonblue_lab.models.trends.series import Floats

SEASONAL_NAIVE, SEASONAL_MEAN, THETA, ETS, COMBINATION = (
    "seasonal naive",
    "seasonal mean",
    "theta",
    "ets",
    "combination",
)
MEMBERS = (SEASONAL_MEAN, THETA, ETS)
"""The forecasters of which the combination takes the median."""
NAMES = (SEASONAL_NAIVE, SEASONAL_MEAN, THETA, ETS, COMBINATION)
"""All, the simplest first."""
MEAN_SEASONS = 4


class FitFailed(NeonBlueError):
    """A forecaster could not be fitted to a series. The back-test drops it and says so."""


@dataclass(frozen=True)
class State:
    """All that a forecast needs (see the module's formula)."""

    level: float
    slope: float
    damping: float
    seasonal: tuple[float, ...]

    def forecast(self, horizon: int) -> Floats:
        """The next `horizon` values."""
        steps = np.arange(horizon)
        drift = self.slope * np.cumsum(self.damping ** (steps + 1.0))
        path: Floats = self.level + drift + np.asarray(self.seasonal)[steps % len(self.seasonal)]
        return path


def members(name: str) -> tuple[str, ...]:
    """The forecasters that must be fitted for `name`: itself, or those that it combines."""
    return MEMBERS if name == COMBINATION else (name,)


def fit(name: str, values: Floats, season: int) -> State:
    """Fit one forecaster (not the combination: fit its members).

    Args:
        name: of NAMES.
        values: on the scale to be modelled.
        season: steps in a season; 1: none.

    Raises:
        FitFailed: the optimiser did not converge, or its answer is not finite.
    """
    state = _FIT[name](values, season)
    if not np.isfinite([state.level, state.slope, state.damping, *state.seasonal]).all():
        raise FitFailed(f"{name} gave a state that is not finite.")
    return state


def combine(name: str, states: Mapping[str, State], horizon: int) -> Floats:
    """The forecast of `name` from the states of its members: the median at each step."""
    return np.median([states[member].forecast(horizon) for member in members(name)], axis=0)


def _seasonal_naive(values: Floats, season: int) -> State:
    """The last season again; without a season the last value."""
    return State(0.0, 0.0, 1.0, tuple(values[-season:].tolist()))


def _seasonal_mean(values: Floats, season: int) -> State:
    """The mean of the last four seasons at each place in the season; without a season the mean of the last four
    values."""
    seasons = min(MEAN_SEASONS, len(values) // season)
    return State(0.0, 0.0, 1.0, tuple(values[-seasons * season :].reshape(seasons, season).mean(axis=0).tolist()))


def _theta(values: Floats, season: int) -> State:
    """The theta method: smoothing plus half the linear trend, additive season where a test finds one.

    Assimakopoulos & Nikolopoulos (2000), Int. J. Forecasting 16(4); in the form of Hyndman & Billah (2003), 19(2).
    """
    from statsmodels.tsa.forecasting.theta import ThetaModel

    with _convergence_required(THETA):
        result = ThetaModel(values, period=season, deseasonalize=season > 1, method="additive").fit()
    parts = result.forecast_components(max(season, 2))
    slope = float(result.params["b0"]) / 2
    return State(
        level=float(parts["ses"].iloc[0]) + float(parts["trend"].iloc[0]) / 2 - slope,
        slope=slope,
        damping=1.0,
        seasonal=tuple(parts["seasonal"].tolist()) if season > 1 else (0.0,),
    )


def _ets(values: Floats, season: int) -> State:
    """ETS(A,Ad,A): damped additive trend, additive season. Hyndman et al. (2008), Forecasting with Exponential
    Smoothing."""
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    seasonal = {"seasonal": "add", "seasonal_periods": season} if season > 1 else {}
    with _convergence_required(ETS):
        result = ETSModel(
            values, error="add", trend="add", damped_trend=True, initialization_method="heuristic", **seasonal
        ).fit(disp=False)
    bare = State(
        float(result.level[-1]),
        float(result.slope[-1]),
        float(result.params[result.model.param_names.index("damping_trend")]),
        (0.0,),
    )
    effects = np.asarray(result.forecast(season)) - bare.forecast(season)
    return State(bare.level, bare.slope, bare.damping, tuple(effects.tolist()))


@contextmanager
def _convergence_required(name: str) -> Iterator[None]:
    """Within it, statsmodels' warning that an optimiser did not converge is a FitFailed; other warnings stay warnings.

    Its arithmetic may overflow at the bounds of a parameter, and divides 0 by 0 in unused statistics of a series
    matched
    without error: what counts is that the state is finite, which is checked.
    """
    from statsmodels.tools.sm_exceptions import ConvergenceWarning

    try:
        with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            warnings.simplefilter("error", ConvergenceWarning)
            yield
    except (ConvergenceWarning, np.linalg.LinAlgError) as error:
        raise FitFailed(f"{name} did not converge: {error}") from error


_FIT: dict[str, Callable[[Floats, int], State]] = {
    SEASONAL_NAIVE: _seasonal_naive,
    SEASONAL_MEAN: _seasonal_mean,
    THETA: _theta,
    ETS: _ets,
}
