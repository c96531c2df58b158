"""A trend forecasts as statsmodels does, covers what it promises, and says so when a series is too short to know."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from neonblue_lab.errors import BadInput
from neonblue_lab.models.trends.backtest import COMBINATION, naive_scale, smape
from neonblue_lab.models.trends.forecasters import NAMES, SEASONAL_NAIVE
from neonblue_lab.models.trends.intervals import Width
from neonblue_lab.models.trends.scale import Scale
from neonblue_lab.models.trends.series import DAY, WEEK
from neonblue_lab.models.trends.trend import fit_trend

START = datetime(2026, 1, 5, tzinfo=UTC)
WEEKDAYS = np.array([1.0, 1.1, 1.05, 1.0, 0.95, 0.7, 0.65])


def _series(values, step=DAY):
    return pl.DataFrame({"timestamp": [START + step * i for i in range(len(values))], "value": values})


def _weekly(count, rng, *, level=200.0, noise=0.08):
    days = np.arange(count)
    return level * WEEKDAYS[days % 7] * (1 + 0.003 * days) * np.exp(noise * rng.normal(size=count))


def test_intervals_of_weekly_series_cover_95_percent():
    rng = np.random.default_rng(2026)
    hits, shares, better = [], [], []
    for _ in range(30):
        truth = _weekly(74, rng)
        forecast = fit_trend(_series(truth[:60])).forecast(14)
        inside = (truth[60:] >= forecast["low"].to_numpy()) & (truth[60:] <= forecast["high"].to_numpy())
        hits.append(inside[rng.integers(14)])
        shares.append(inside.mean())
        better.append(
            np.abs(truth[60:] - forecast["mean"].to_numpy()).mean()
            < np.abs(truth[60:] - np.tile(truth[53:60], 2)).mean()
        )
    assert binomtest(sum(hits), len(hits), 0.95).pvalue > 0.01
    # Wider than needed rather than narrower: for noise alone, neighbouring errors are worth more than they are counted.
    assert 0.95 - 3 * np.std(shares) / math.sqrt(len(shares)) < np.mean(shares) < 0.99
    assert binomtest(sum(better), len(better), 0.5, alternative="greater").pvalue < 0.01


def test_counts_near_zero_are_never_forecast_below_zero():
    rng = np.random.default_rng(3)
    counts = rng.poisson(1.2 * WEEKDAYS[np.arange(70) % 7] * np.linspace(1.5, 0.1, 70))
    forecast = fit_trend(_series(counts)).forecast(60)
    assert forecast.select(pl.min_horizontal("mean", "low", "high").min()).item() >= 0
    assert (forecast["low"] <= forecast["mean"]).all()
    assert (forecast["mean"] <= forecast["high"]).all()


def test_a_metric_that_may_be_negative_is_modelled_as_it_is():
    rng = np.random.default_rng(4)
    values = -5 + WEEKDAYS[np.arange(70) % 7] + 0.2 * rng.normal(size=70)
    model = fit_trend(_series(values))
    assert model.scale == Scale(None, positive=False)
    assert model.forecast(7)["high"].max() < 0


@settings(max_examples=8, deadline=None)
@given(st.floats(1e-3, 1e6))
def test_the_unit_of_measurement_does_not_matter(factor):
    values = _weekly(20, np.random.default_rng(5))
    one, other = fit_trend(_series(values)).forecast(5), fit_trend(_series(values * factor)).forecast(5)
    for column in ("mean", "low", "high"):
        assert other[column].to_numpy() == pytest.approx(one[column].to_numpy() * factor, rel=1e-6)


def test_forecasts_begin_one_step_after_the_last_value_in_its_step():
    model = fit_trend(_series(_weekly(60, np.random.default_rng(6))))
    forecast = model.forecast(3)
    assert forecast["timestamp"].to_list() == [START + DAY * day for day in (60, 61, 62)]
    assert model.steps(timedelta(days=10)) == 10
    weekly = fit_trend(_series(np.random.default_rng(6).normal(50, 5, size=30), WEEK))
    assert (weekly.season, weekly.horizon, weekly.steps(timedelta(days=10))) == (1, 8, 2)


def test_the_backtest_shows_every_forecaster_beside_the_naive_one():
    model = fit_trend(_series(_weekly(90, np.random.default_rng(7))))
    table = model.backtest.pivot("model", index="horizon", values="error")
    assert table.height == 14
    assert set(table.columns) >= {"horizon", SEASONAL_NAIVE, COMBINATION}
    assert set(table.columns) & set(NAMES)
    assert model.metrics["mase"] < model.metrics["naive_mase"]


@pytest.mark.parametrize(
    ("count", "season", "said"),
    [(3, 1, "last value"), (8, 1, "last value"), (9, 7, "last season of 7"), (27, 7, "last season of 7")],
)
def test_a_short_series_repeats_its_end_and_says_so(count, season, said):
    values = _weekly(count, np.random.default_rng(8))
    model = fit_trend(_series(values))
    assert (model.model, model.season) == (SEASONAL_NAIVE, season)
    assert f"{count} values are too few" in model.note
    assert said in model.note
    forecast = model.forecast(10)
    assert forecast["mean"].to_numpy() == pytest.approx(np.resize(values[-season:], 10))
    assert (forecast["low"] < forecast["mean"]).all()


def test_one_more_value_than_short_is_enough_to_choose():
    model = fit_trend(_series(_weekly(28, np.random.default_rng(9))))
    assert model.note == ""
    assert model.model == COMBINATION
    assert model.horizon == model.backtest["horizon"].max() == 12
    assert model.forecast(14).height == 14


def test_a_gap_is_filled_counted_and_told():
    values = _weekly(60, np.random.default_rng(10))
    series = _series(values).filter(~pl.col("timestamp").is_in([START + DAY * day for day in (20, 33, 34)]))
    model = fit_trend(series)
    assert model.note.startswith("3 of 60 values were missing")
    assert model.series.values[33] == values[26]


def test_a_constant_series_is_repeated_without_width():
    model = fit_trend(_series([4.0] * 40))
    assert model.forecast(3).select("mean", "low", "high").rows() == [(4.0, 4.0, 4.0)] * 3
    assert "Every value is the same" in model.note
    assert model.metrics["mase"] is None


def test_nothing_is_random():
    series = _series(_weekly(60, np.random.default_rng(12)))
    assert (
        fit_trend(series).forecast(14).equals(fit_trend(series.sample(fraction=1, shuffle=True, seed=1)).forecast(14))
    )


def test_intervals_of_a_random_walk_widen_and_those_of_noise_do_not():
    rng = np.random.default_rng(13)
    targets = np.arange(400)[:, None] + np.arange(10)
    noise = Width.calibrate(rng.normal(size=(400, 10)), targets)
    walk = Width.calibrate(np.cumsum(rng.normal(size=(400, 10)), axis=1), targets)
    assert noise.at(10) == pytest.approx(np.full(10, 1.96), rel=0.1)
    assert walk.at(10) == pytest.approx(1.96 * np.sqrt(np.arange(1, 11)), rel=0.12)


def test_accuracy_measures_follow_their_definitions():
    assert naive_scale(np.array([1.0, 2.0, 4.0, 8.0]), 1) == pytest.approx(7 / 3)
    assert naive_scale(np.array([3.0, 3.0, 3.0]), 1) is None
    assert smape(np.array([100.0, 0.0]), np.array([50.0, 0.0])) == pytest.approx(200 / 3 / 2)


@pytest.mark.parametrize("horizon", [0, -1, 61])
def test_a_horizon_that_makes_no_sense_is_refused(horizon):
    model = fit_trend(_series(_weekly(60, np.random.default_rng(14))))
    with pytest.raises(BadInput, match="1 to 60"):
        model.forecast(horizon)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seasons": (0,)}, "seasons"),
        ({"seasons": ()}, "seasons"),
        ({"horizon": 0}, "horizon"),
        ({"seasons": (7, 30)}, "30 is not a multiple of 7"),
        ({"country": "Atlantis"}, "No calendar"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(BadInput, match=message):
        fit_trend(_series([1.0, 2.0] * 10), **options)
