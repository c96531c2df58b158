"""The effect by days since exposure: equal to weighted least squares, at its level, and in the right direction."""

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.novelty import trend

DAYS = np.arange(1, 29)


@given(st.integers(0, 2**32 - 1))
def test_the_line_is_statsmodels_weighted_least_squares(seed):
    rng = np.random.default_rng(seed)
    estimate, error = rng.normal(size=(3, 28)) + 1e3, rng.uniform(0.1, 2, (3, 28))
    found = trend(DAYS, estimate, error)
    for row in range(3):
        design = sm.add_constant(np.log2(DAYS))
        line = sm.WLS(estimate[row], design, 1 / error[row] ** 2).fit(cov_type="fixed scale")
        assert found.slope[row] == pytest.approx(line.params[1], rel=1e-6, abs=1e-9)
        assert (found.slope_high - found.slope_low)[row] == pytest.approx(2 * 1.959964 * line.bse[1], rel=1e-6)
        assert found.p_value[row] == pytest.approx(line.pvalues[1], rel=1e-5)
        last = line.get_prediction(design[-1:])
        assert found.last[row] == pytest.approx(last.predicted_mean[0])
        assert (found.last_high - found.last_low)[row] == pytest.approx(2 * 1.959964 * last.se_mean[0], rel=1e-6)
        misfit = (((estimate[row] - line.fittedvalues) / error[row]) ** 2).sum()
        assert found.misfit_p_value[row] == pytest.approx(scipy.stats.chi2.sf(misfit, 26), rel=1e-6)


def test_a_flat_effect_is_a_trend_in_one_of_twenty():
    rng = np.random.default_rng(1)
    error = rng.uniform(0.5, 2, (20_000, 28))
    found = trend(DAYS, 3 + error * rng.normal(size=error.shape), error)
    assert (found.p_value < 0.05).mean() == pytest.approx(0.05, abs=0.0065)
    assert (found.misfit_p_value < 0.05).mean() == pytest.approx(0.05, abs=0.0065)
    assert ((found.last_low <= 3) & (found.last_high >= 3)).mean() == pytest.approx(0.95, abs=0.0065)


def test_users_who_come_again_make_the_trend_test_careful():
    rng = np.random.default_rng(2)
    noise = np.sqrt(0.5) * (rng.normal(size=(20_000, 28)) + rng.normal(size=(20_000, 1)))
    assert (trend(DAYS, noise, 1.0).p_value < 0.05).mean() == pytest.approx(0.006, abs=0.002)


def test_novelty_fades_and_primacy_grows():
    fades, grows = (trend(DAYS, 1 + step * np.log2(DAYS), 0.1) for step in (-0.2, 0.2))
    assert (fades.slope, grows.slope) == (pytest.approx(-0.2), pytest.approx(0.2))
    assert fades.p_value == grows.p_value < 1e-6
    assert (fades.first, fades.last) == (pytest.approx(1), pytest.approx(1 - 0.2 * np.log2(28)))
    assert fades.slope_high < 0 < grows.slope_low
    assert fades.misfit_p_value == pytest.approx(1)


def test_days_that_are_not_known_do_not_count():
    estimate = np.array([[1.0, 9, 2, 4], [1, 2, np.nan, np.nan], [1, 2, 3, 4]])
    error = np.array([[1.0, np.nan, 1, 2], [1, 1, 1, 1], [0, 0, 1, 1]])
    found, without = trend([1, 2, 3, 4], estimate, error), trend([1, 3, 4], [1, 2, 4], [1, 1, 2])
    assert found.slope[0] == pytest.approx(without.slope)
    assert found.last_high[0] == pytest.approx(without.last_high)
    for values in (found.slope, found.p_value, found.first, found.last, found.misfit_p_value):
        assert np.isnan(values[1:]).all()
    assert np.isnan(trend([2, 2, 2], [1, 2, 3], 1).slope)


def test_days_are_counted_from_1():
    with pytest.raises(BadInput, match="days at index 0 is 0: days since exposure are counted from 1"):
        trend([0, 1, 2], [1, 2, 3], 1)
    with pytest.raises(BadInput, match="one shape"):
        trend([1, 2], [1, 2, 3], 1)
