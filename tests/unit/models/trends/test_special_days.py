"""A holiday has an effect once it came twice, is shown, and comes again in the forecast."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.models.trends.trend import fit_trend

WEEKDAYS = np.array([1.0, 1.1, 1.05, 1.0, 0.95, 0.7, 0.65])
FOURTH = "Independence Day"


def _years(first, last):
    days = pl.date_range(first, last, interval="1d", eager=True)
    rng = np.random.default_rng(1)
    values = 500 * WEEKDAYS[days.dt.weekday().to_numpy() - 1] * np.exp(0.03 * rng.normal(size=len(days)))
    values[((days.dt.month() == 7) & (days.dt.day() == 4)).to_numpy()] *= 0.4
    return pl.DataFrame({"timestamp": days, "value": values})


def test_a_holiday_that_came_twice_comes_again():
    series = _years(date(2024, 6, 1), date(2026, 6, 28))
    model = fit_trend(series, country="US")
    effect = model.holidays.filter(holiday=FOURTH).row(0, named=True)
    assert (effect["seen"], effect["change"]) == (2, pytest.approx(-0.6, abs=0.05))
    forecast = model.forecast(10).with_columns(pl.col("timestamp").dt.date())
    fourth = forecast.filter(timestamp=date(2026, 7, 4))["mean"].item()
    # A Saturday.
    assert fourth == pytest.approx(500 * 0.7 * 0.4, rel=0.1)
    plain = fit_trend(series).forecast(10)["mean"].to_numpy()
    others = (forecast["timestamp"] != date(2026, 7, 4)).to_numpy()
    assert forecast["mean"].to_numpy()[others] == pytest.approx(plain[others], rel=0.05)


def test_a_holiday_that_came_once_has_no_effect():
    model = fit_trend(_years(date(2025, 6, 1), date(2026, 6, 28)), country="US")
    assert model.holidays.filter(holiday=FOURTH).is_empty()


def test_weeks_have_no_holidays():
    weeks = [date(2026, 1, 5) + timedelta(weeks=i) for i in range(30)]
    with pytest.raises(BadInput, match="Holidays are of days"):
        fit_trend(pl.DataFrame({"timestamp": weeks, "value": np.arange(30.0) % 5}), country="US")
