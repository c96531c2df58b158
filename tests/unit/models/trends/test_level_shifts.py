"""A level shift is found where it is, on what was known by then; a series without one seldom has one found."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from neonblue_lab.models.trends.shifts import find, removed
from neonblue_lab.models.trends.trend import fit_trend

WEEKDAYS = np.log([1.0, 1.1, 1.05, 1.0, 0.95, 0.7, 0.65])
START = datetime(2026, 1, 5, tzinfo=UTC)


def _noise(rng, count=200, spread=0.08):
    return 5 + WEEKDAYS[np.arange(count) % 7] + spread * rng.normal(size=count)


@pytest.mark.parametrize("size", [0.5, -0.5])
def test_a_planted_shift_is_dated_and_sized(size):
    rng = np.random.default_rng(1)
    found = exact = 0
    for _ in range(40):
        values = _noise(rng)
        place = int(rng.integers(60, 140))
        values[place:] += size
        for shift in find(values, (7,)):
            found += 1
            exact += abs(shift.position - place) <= 2
            assert shift.size == pytest.approx(size, abs=0.15)
            assert removed(values, (shift,))[:60].mean() == pytest.approx(values[140:].mean(), abs=0.15)
    assert 36 <= found <= 40
    assert exact >= 36


def test_what_has_not_happened_yet_is_not_found():
    values = _noise(np.random.default_rng(2))
    values[120:] += 0.5
    assert find(values[:120], (7,)) == ()
    assert find(values[:150], (7,))[0].position == pytest.approx(120, abs=3)


def test_a_bump_that_is_undone_is_no_shift():
    values = _noise(np.random.default_rng(3))
    values[80:100] += 0.6
    assert find(values, (7,)) == ()


def test_series_without_a_shift_seldom_have_one_found():
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(100):
        noise = rng.normal(size=(2, 200))
        autoregression = np.zeros(200)
        for step in range(1, 200):
            autoregression[step] = 0.5 * autoregression[step - 1] + noise[0, step]
        for values in (_noise(rng), autoregression, np.cumsum(noise[1])):
            found += len(find(values, (7,))) > 0
    assert found <= 12  # 4 % of 300


def test_the_level_after_the_shift_is_what_is_forecast_and_the_note_names_it():
    rng = np.random.default_rng(5)
    values = np.exp(_noise(rng, 120))
    values[90:] *= 2
    model = fit_trend(pl.DataFrame({"timestamp": [START + timedelta(days=i) for i in range(120)], "value": values}))
    assert abs((model.shifts["timestamp"][0] - START).days - 90) <= 2
    assert model.shifts["after"][0] / model.shifts["before"][0] == pytest.approx(2, rel=0.15)
    assert f"The level shifted on {model.shifts['timestamp'][0]:%Y-%m-%d}" in model.note
    assert model.forecast(7)["mean"].mean() == pytest.approx(2 * np.exp(5 + WEEKDAYS).mean(), rel=0.1)
