"""The forecasters of statsmodels, and the naive one. Each leaves a `State` behind, so that a forecast needs no library.

Most take the seasons out first (MSTL: Bandara, Hyndman & Bergmeir 2021, arXiv:2107.13462; STL: Cleveland et al. 1990,
J. Official Statistics 6(1)), continue what is left, and add the last season back.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from neonblue_lab.errors import NeonBlueError
from neonblue_lab.models.trends.series import Floats
from neonblue_lab.models.trends.state import State

SEASONAL_NAIVE = "seasonal naive"
STL_ETS, STL_AR, STL_THETA, STL_UC, ETS = (
    "stl + damped ets",
    "stl + ar(1)",
    "stl + theta",
    "stl + local level and ar(1)",
    "seasonal ets",
)
NAMES = (STL_ETS, STL_AR, STL_THETA, STL_UC, ETS)
"""The forecasters of statsmodels."""

LONGEST_ETS_SEASON = 24
"""Beyond it a seasonal ETS has more states than a series of a few seasons can tell apart."""
MOST_VALUES = 1500
"""How far back the forecasters look: their cost grows with it, and what is long ago tells them little."""

MOST_COMPONENT_VALUES = 300
"""The same for unobserved components, whose likelihood is dear."""

Parameters = Mapping[str, Floats]
"""Forecaster -> what its optimiser found, to be used again on a longer past."""


class FitFailed(NeonBlueError):
    """A forecaster could not be fitted to a series. The back-test drops it and says so."""


@dataclass(frozen=True)
class Fits:
    """Of one past: name -> state, what the optimisers found, and name -> why there is none."""

    states: dict[str, State]
    parameters: dict[str, Floats]
    failed: dict[str, str]


def seasonal_naive(values: Floats, season: int) -> State:
    """The last season again; without a season the last value."""
    return State(0.0, seasonal=tuple(values[-season:].tolist()))


def fit_all(values: Floats, seasons: tuple[int, ...], known: Parameters) -> Fits:
    """Fit the forecasters of statsmodels to one past.

    Args:
        values: on the scale to be modelled.
        seasons: steps in each, the shortest first; (1,): none. Of those longer than half of the past nothing is taken out.
        known: parameters found on an earlier past, which are then kept; without them the optimiser looks.
    """
    values = values[-MOST_VALUES:]
    states, parameters, failed = {}, {}, {}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rest, seasonal = decomposed(values, seasons)
        for name in NAMES:
            if name == ETS and not 1 < seasons[0] <= LONGEST_ETS_SEASON:
                continue
            try:
                with _convergence_required(name):
                    if name == ETS:
                        state, parameters[name] = _ets(values, seasons[0], known.get(name))
                    else:
                        bare, parameters[name] = _OF_REST[name](rest, known.get(name))
                        state = State(bare.level, bare.slope, bare.damping, bare.deviation, bare.decay, seasonal)
            except FitFailed as error:
                failed[name] = str(error)
                continue
            numbers = [state.level, state.slope, state.damping, state.deviation, state.decay, *state.seasonal]
            if np.isfinite(numbers).all():
                states[name] = state
            else:
                failed[name] = f"{name} gave a state that is not finite."
    return Fits(states, parameters, failed)


def decomposed(values: Floats, seasons: tuple[int, ...]) -> tuple[Floats, tuple[float, ...]]:
    """What is left of the values without their seasons, and the seasonal additions of the steps to come.

    Loess is computed at some points and interpolated between them, which changes little and takes a fiftieth of the time.
    """
    from statsmodels.tsa.seasonal import MSTL

    usable = [season for season in seasons if season > 1 and 2 * season < len(values)]
    if not usable:
        return values, (0.0,)
    jumps = {"trend_jump": max(1, usable[-1] // 10), "low_pass_jump": max(1, usable[-1] // 10)}
    found = MSTL(values, periods=tuple(usable), iterate=1, stl_kwargs={"seasonal_jump": 5, **jumps}).fit()
    parts = np.asarray(found.seasonal).reshape(len(values), len(usable))
    steps = np.arange(usable[-1])
    ahead = sum(parts[-season:, i][steps % season] for i, season in enumerate(usable))
    return values - parts.sum(axis=1), tuple(np.asarray(ahead).tolist())


def _damped_ets(values: Floats, known: Floats | None) -> tuple[State, Floats]:
    """ETS(A,Ad,N). Hyndman et al. (2008), Forecasting with Exponential Smoothing."""
    result, parameters = _smoothed(values, known)
    return _trend_of(result), parameters


def _ets(values: Floats, season: int, known: Floats | None) -> tuple[State, Floats]:
    """ETS(A,Ad,A)."""
    result, parameters = _smoothed(values, known, seasonal="add", seasonal_periods=season)
    bare = _trend_of(result)
    effects = np.asarray(result.forecast(season)) - bare.forecast(season)
    return State(bare.level, bare.slope, bare.damping, seasonal=tuple(effects.tolist())), parameters


def _smoothed(values: Floats, known: Floats | None, **seasonal: Any) -> tuple[Any, Floats]:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    model = ETSModel(values, error="add", trend="add", damped_trend=True, initialization_method="heuristic", **seasonal)
    if known is not None:
        return model.smooth(known), known
    result = model.fit(disp=False)
    return result, np.asarray(result.params)


def _trend_of(result: Any) -> State:
    damping = float(result.params[result.model.param_names.index("damping_trend")])
    return State(float(result.level[-1]), float(result.slope[-1]), damping)


def _ar(values: Floats, known: Floats | None) -> tuple[State, Floats]:
    """An autoregression of order 1 around a mean. Its least squares are no search, and found anew on every past."""
    from statsmodels.tsa.ar_model import AutoReg

    constant, share = (float(p) for p in AutoReg(values, 1, trend="c").fit().params)
    if not abs(share) < 1:  # no mean to which it returns: a random walk
        return State(float(values[-1])), np.array([constant, share])
    mean = constant / (1 - share)
    return State(mean, deviation=float(values[-1]) - mean, decay=share), np.array([constant, share])


def _theta(values: Floats, known: Floats | None) -> tuple[State, Floats]:
    """The theta method: smoothing plus half the linear trend.

    Assimakopoulos & Nikolopoulos (2000), Int. J. Forecasting 16(4); in the form of Hyndman & Billah (2003), 19(2).
    """
    from statsmodels.tsa.forecasting.theta import ThetaModel

    result = ThetaModel(values, period=1, deseasonalize=False).fit()
    parts = result.forecast_components(1)
    slope = float(result.params["b0"]) / 2
    level = float(parts["ses"].iloc[0]) + float(parts["trend"].iloc[0]) / 2 - slope
    return State(level, slope), np.asarray(result.params)


def _uc(values: Floats, known: Floats | None) -> tuple[State, Floats]:
    """Unobserved components: a wandering level and a deviation that fades. Harvey (1989), ch. 2."""
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    values = values[-MOST_COMPONENT_VALUES:]
    model = UnobservedComponents(values, "llevel", autoregressive=1)
    parameters = np.asarray(model.fit(disp=False, maxiter=200).params) if known is None else known
    level, deviation = (float(part) for part in model.filter(parameters).filtered_state[:, -1])
    return State(level, deviation=deviation, decay=float(parameters[model.param_names.index("ar.L1")])), parameters


@contextmanager
def _convergence_required(name: str) -> Iterator[None]:
    """Within it, statsmodels' warning that an optimiser did not converge is a FitFailed; other warnings stay warnings.

    Its arithmetic may overflow at the bounds of a parameter, and divides 0 by 0 in unused statistics of a series matched
    without error: what counts is that the state is finite, which is checked.
    """
    from statsmodels.tools.sm_exceptions import ConvergenceWarning, SingularMatrixWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            # Of a series matched without error nothing is left to regress on: any coefficient continues it.
            warnings.simplefilter("ignore", SingularMatrixWarning)
            warnings.filterwarnings("ignore", message="Non-(stationary|invertible) starting", category=UserWarning)
            yield
    except (ConvergenceWarning, np.linalg.LinAlgError) as error:
        raise FitFailed(f"{name} did not converge: {error}") from error


_OF_REST: dict[str, Callable[[Floats, Floats | None], tuple[State, Floats]]] = {
    STL_ETS: _damped_ets,
    STL_AR: _ar,
    STL_THETA: _theta,
    STL_UC: _uc,
}
