"""Each member's stored numbers forecast what statsmodels, or the plain definition of a profile, forecasts."""

import numpy as np
import pytest

from neonblue_lab.models.trends import profiles
from neonblue_lab.models.trends.backtest import backtest
from neonblue_lab.models.trends.forecasters import ETS, NAMES, STL_ETS, STL_THETA, STL_UC, decomposed, fit_all
from neonblue_lab.models.trends.scale import Scale

HORIZON = 25


@pytest.fixture(scope="module")
def values():
    steps = np.arange(80)
    return np.sin(steps * 2 * np.pi / 7) + 0.02 * steps + np.random.default_rng(1).normal(size=80) / 5


def test_states_forecast_what_statsmodels_forecasts(values):
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel
    from statsmodels.tsa.forecasting.theta import ThetaModel
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    fits = fit_all(values, (7,), {})
    rest, seasonal = decomposed(values, (7,))
    cycle = np.resize(seasonal, HORIZON)
    damped = {"trend": "add", "damped_trend": True, "initialization_method": "heuristic"}
    expected = {
        STL_ETS: ETSModel(rest, **damped).fit(disp=False).forecast(HORIZON) + cycle,
        ETS: ETSModel(values, **damped, seasonal="add", seasonal_periods=7).fit(disp=False).forecast(HORIZON),
        STL_THETA: ThetaModel(rest, period=1, deseasonalize=False).fit().forecast(HORIZON).to_numpy() + cycle,
    }
    if STL_UC in fits.states:
        model = UnobservedComponents(rest, "llevel", autoregressive=1)
        expected[STL_UC] = model.filter(fits.parameters[STL_UC]).forecast(HORIZON) + cycle
    for name, path in expected.items():
        assert fits.states[name].forecast(HORIZON) == pytest.approx(path, abs=1e-8), name


def test_known_parameters_are_kept(values):
    early = fit_all(values[:60], (7,), {})
    late = fit_all(values, (7,), early.parameters)
    assert late.parameters[STL_ETS].tolist() == early.parameters[STL_ETS].tolist()
    assert late.states[STL_ETS] != early.states[STL_ETS]


def test_a_seasonal_mean_is_the_mean_of_the_last_seasons(values):
    past = profiles.Past.of([values[:50], values], profiles.width((7,)))
    paths = {}
    for batch in profiles.batches(past, (7,)):
        if batch.slope.any() or batch.deviation.any():
            continue
        for candidate, family in enumerate(batch.families):
            paths.setdefault(family, []).append(batch.forecast(14)[candidate])
    wanted = np.stack([np.resize(v[-21:].reshape(3, 7).mean(axis=0), 14) for v in (values[:50], values)])
    assert any(np.allclose(path, wanted) for path in paths["season 7, mean of 3"])


def test_no_candidate_sees_what_comes_after_its_origin(values):
    options = {"seasons": (7,), "horizon": 14, "special": None, "naive_only": False}
    observed = np.ones(80, dtype=bool)
    scale = Scale(None, positive=False)
    one = backtest(values, observed, **options, scale=scale)
    changed = values.copy()
    changed[one.origins[3] :] = np.random.default_rng(2).normal(size=80 - one.origins[3])
    other = backtest(changed, observed, **options, scale=scale)
    common = [name for name in one.names if name in NAMES and name in other.names]
    assert len(common) >= 3
    for name in common:
        rows = [trial.forecasts[trial.names.index(name), :4] for trial in (one, other)]
        assert np.array_equal(*rows)
    assert np.array_equal(one.forecasts[-50:, :4], other.forecasts[-50:, :4])


def test_a_member_goes_on_from_what_its_candidate_forecast(values):
    trial = backtest(
        values,
        np.ones(80, dtype=bool),
        seasons=(7,),
        horizon=14,
        scale=Scale.of(values + 5),
        special=None,
        naive_only=False,
    )
    chosen = trial.choice(trial.errors())
    assert len(chosen) == 12
    assert sum(trial.names[candidate] in NAMES for candidate in chosen) >= 1
    for candidate in chosen:
        assert trial.member(candidate).name == trial.names[candidate]
        assert np.isfinite(trial.member(candidate).forecast(30)).all()
