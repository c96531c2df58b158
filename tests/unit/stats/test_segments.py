"""Segments: published heterogeneity, shrinkage equal to direct integration, and a test that keeps its level."""

import itertools

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import statsmodels.stats.meta_analysis as meta
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.effects import Effects
from neonblue_lab.stats.random_effects import random_effects
from neonblue_lab.stats.segments import interaction

SCHOOLS = [28, 8, -3, 7, -1, 1, 18, 12], [15, 10, 16, 11, 9, 11, 10, 18]
"""Rubin (1981), "Estimation in parallel randomized experiments": effects of coaching in eight schools, and their errors."""

BCG = np.array(
    [
        [4, 119, 11, 128],
        [6, 300, 29, 274],
        [3, 228, 11, 209],
        [62, 13536, 248, 12619],
        [33, 5036, 47, 5761],
        [180, 1361, 372, 1079],
        [8, 2537, 10, 619],
        [505, 87886, 499, 87892],
        [29, 7470, 45, 7232],
        [17, 1699, 65, 1600],
        [186, 50448, 141, 27197],
        [5, 2493, 3, 2338],
        [27, 16886, 29, 17825],
    ]
)
"""Colditz et al. (1994): tuberculosis in 13 trials of a vaccine: ill and not, vaccinated and not."""


def test_the_published_heterogeneity_of_thirteen_trials():
    ill, well, ill_control, well_control = BCG.T
    estimate = np.log(ill / (ill + well)) - np.log(ill_control / (ill_control + well_control))
    error = np.sqrt(1 / ill - 1 / (ill + well) + 1 / ill_control - 1 / (ill_control + well_control))
    found = interaction(estimate, error)
    assert found.test.statistic == pytest.approx(152.233, abs=5e-4)
    assert found.test.df == 12
    assert found.excess == pytest.approx(0.9212, abs=5e-5)
    # The spread by restricted likelihood is published as 0.560 (tau squared 0.3132).
    assert found.spread == pytest.approx(0.56, abs=0.1)


def test_eight_schools_do_not_differ_and_are_drawn_together():
    found = interaction(*SCHOOLS)
    assert found.effect == pytest.approx(7.69, abs=0.005)
    assert found.test.p_value == pytest.approx(scipy.stats.chi2.sf(found.test.statistic, 7))
    assert found.test.p_value > 0.5
    assert found.excess == 0
    assert 0 < found.segments.effect.min() < found.segments.effect.max() < 15


@given(st.integers(0, 2**32 - 1))
def test_cochrans_q_is_statsmodels(seed):
    rng = np.random.default_rng(seed)
    estimate, error = rng.normal(size=(5, 6)), rng.uniform(0.1, 2, (5, 6))
    found = interaction(estimate, error)
    for row in range(5):
        theirs = meta.combine_effects(estimate[row], error[row] ** 2)
        assert found.test.statistic[row] == pytest.approx(theirs.q)
        assert found.effect[row] == pytest.approx(theirs.mean_effect_fe)
        assert found.excess[row] == pytest.approx(max(theirs.i2, 0), abs=1e-12)


@pytest.mark.parametrize(
    ("estimate", "error"), [SCHOOLS, ([0.3, -0.2], [0.1, 0.2]), ([0.1, 0.11, 0.09, 2.0], [0.01, 0.02, 0.01, 0.05])]
)
def test_shrunk_segments_are_those_of_direct_integration(estimate, error):
    y, v = np.array(estimate, float), np.array(error, float) ** 2
    typical = len(v) / (1 / v).sum()

    def integrand(tau, of):
        w = 1 / (v + tau**2)
        mean = (w * y).sum() / w.sum()
        density = np.exp(-0.5 * (w * (y - mean) ** 2).sum()) * np.sqrt(w.prod() / w.sum())
        pull = v / (v + tau**2)
        moment = [1.0, tau, *(pull * mean + (1 - pull) * y)][of]
        return moment * density * 2 * tau * typical / (typical + tau**2) ** 2

    pieces = [0, *(np.sqrt(typical) * np.array([0.3, 1, 3, 10, 30, 100, 300, 1e3, 1e5]))]

    def integral(of):
        return sum(
            scipy.integrate.quad(integrand, a, b, (of,), epsabs=0, epsrel=1e-10)[0]
            for a, b in itertools.pairwise(pieces)
        )

    whole = integral(0)
    found = interaction(estimate, error)
    assert found.segments.effect == pytest.approx([integral(i + 2) / whole for i in range(len(y))], rel=2e-3, abs=2e-3)
    assert found.spread == pytest.approx(integral(1) / whole, rel=0.02)


def test_one_in_twenty_experiments_without_interaction_is_below_005():
    rng = np.random.default_rng(2)
    error = rng.uniform(0.1, 0.5, (10_000, 5))
    found = interaction(0.3 + error * rng.normal(size=error.shape), error)
    assert (found.test.p_value < 0.05).mean() == pytest.approx(0.05, abs=0.009)


@pytest.mark.parametrize(("spread", "error_left"), [(0.0, 0.5), (0.1, 0.6), (0.3, 0.9), (1.0, 1.1)])
def test_shrunk_segments_are_nearer_to_the_truth_and_covered(spread, error_left):
    """Four segments: where they differ by far more than the noise, there is nothing to be gained, and little is lost."""
    rng = np.random.default_rng(3)
    error = rng.uniform(0.1, 0.5, (2_000, 4))
    truth = 0.3 + spread * rng.normal(size=error.shape)
    estimate = truth + error * rng.normal(size=error.shape)
    found = interaction(estimate, error).segments
    assert np.mean((found.effect - truth) ** 2) < error_left * np.mean((estimate - truth) ** 2)
    assert 0.92 < np.mean((found.low <= truth) & (truth <= found.high)) < 0.985


def test_many_effects_outweigh_the_prior_of_the_spread():
    rng = np.random.default_rng(4)
    error = rng.uniform(0.1, 0.5, 50_000)
    found = random_effects(Effects(1e6 + 0.2 * rng.normal(size=50_000) + error * rng.normal(size=50_000), error))
    assert (found.weight * found.spread).sum() == pytest.approx(0.2, abs=0.005)
    assert found.of_mean().expected() == pytest.approx(1e6, abs=0.01)
    assert found.of_another().spread() == pytest.approx(0.2, abs=0.005)
    assert ((found.weight > 1e-4).sum() > 20).all()


def test_unknown_segments_do_not_count_and_one_alone_is_nothing():
    estimate = [[1, 2, 4, np.nan], [1, np.nan, np.nan, 3], [np.nan, 5, np.nan, 7]]
    error = [[1, 1, 2, 1], [1, 1, 1, 0], [1, 1, 1, np.nan]]
    found = interaction(estimate, error)
    three = interaction([1, 2, 4], [1, 1, 2])
    assert found.test.statistic[0] == pytest.approx(three.test.statistic)
    assert found.segments.effect[0, :3] == pytest.approx(three.segments.effect)
    assert np.isnan(found.segments.effect[0, 3])
    for values in (found.test.p_value, found.effect, found.spread, found.excess):
        assert np.isnan(values[1:]).all()
    assert np.isnan(found.segments.high[1:]).all()


def test_what_is_no_effect_is_refused():
    with pytest.raises(BadInput, match="standard_error at index 1 is -1"):
        interaction([1, 2], [1, -1])
    with pytest.raises(BadInput, match="alpha is 0"):
        interaction([1, 2], [1, 1], alpha=0)
