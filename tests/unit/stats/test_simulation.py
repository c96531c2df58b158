"""Simulated experiments on given units err as often as the tests say, and find an effect as often as was planned."""

import numpy as np
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.stats import Moments, welch
from neonblue_lab.stats.power import Baseline, Design, power
from neonblue_lab.stats.simulation import simulate


@pytest.fixture(scope="module")
def units():
    rng = np.random.default_rng(11)
    before = rng.gamma(2.0, 3.0, 4000)
    return before, 0.8 * before + rng.gamma(2.0, 3.0, 4000)


def within_error(simulation, expected):
    """Four standard errors: wrong once in 16,000 runs, and the seed is fixed."""
    return abs(simulation.rate - expected) < 4 * np.sqrt(expected * (1 - expected) / simulation.p_values.size)


def test_nothing_is_found_at_the_rate_of_alpha(units):
    before, values = units
    assert within_error(simulate(values), 0.05)
    assert within_error(simulate(values, covariate=before, seed=1), 0.05)
    assert within_error(simulate(values, denominators=1 + before, design=Design(ratio=3.0, alpha=0.1)), 0.1)
    assert within_error(simulate(values, design=Design(alternative="less")), 0.05)


def test_heavy_tails_show():
    """One unit in 2,000 holds nearly all of the revenue: the test hardly ever rejects, and the simulation says so."""
    values = np.zeros(2000)
    values[0] = 1e6
    found = simulate(values, design=Design(ratio=1.0))
    assert found.rate < 0.01
    assert "not what it should be" in str(found)


@pytest.mark.parametrize("covaried", [False, True])
def test_an_effect_is_found_with_the_planned_power(units, covaried):
    before, values = units
    factor = 1 - np.corrcoef(before, values)[0, 1] ** 2 if covaried else 1.0
    baseline = Baseline.of_mean(values.mean(), values.var(ddof=1), variance_factor=factor)
    found = simulate(values, covariate=before if covaried else None, lift=0.04)
    assert found.effect == pytest.approx(0.04 * values.mean())
    assert within_error(found, float(power(baseline, effect=found.effect, n=values.size)))


def test_each_experiment_is_a_split_of_the_units():
    """The same split, drawn again, and tested from the units themselves."""
    values = np.random.default_rng(2).normal(1e6, 1.0, 500)
    found = simulate(values, experiments=50, seed=9)
    drawn = np.random.default_rng(9).random((50, 500), dtype=np.float32) < 0.5
    for i, variant in enumerate(drawn):
        arms = [Moments(len(rows), rows.mean(), rows.var(ddof=1)) for rows in (values[~variant], values[variant])]
        compared = welch(*arms)
        assert found.p_values[i] == pytest.approx(compared.p_value, rel=1e-6)
        assert found.differences[i] == pytest.approx(compared.difference, rel=1e-6)


def test_the_chunks_do_not_show(units, monkeypatch):
    _, values = units
    whole = simulate(values, experiments=30)
    monkeypatch.setattr("neonblue_lab.stats.simulation._CELLS", 4000 * 7)
    assert simulate(values, experiments=30).p_values == pytest.approx(whole.p_values)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: simulate([1.0, 2.0, 3.0]), "3 units"),
        (lambda: simulate([1.0, np.nan, 3.0, 4.0]), "values at index 1 is nan"),
        (lambda: simulate(np.ones(9), covariate=np.ones(8)), "covariate must be a 1-d array"),
        (lambda: simulate(np.ones(9), experiments=0), "experiments is 0"),
        (lambda: simulate(np.ones(9), design=Design(reading="pocock")), "'fixed'"),
    ],
)
def test_a_wrong_argument_is_named(wrong, says):
    with pytest.raises(BadInput, match=says):
        wrong()


def test_values_that_do_not_vary_leave_nothing_to_test():
    assert np.isnan(simulate(np.ones(20), experiments=10).p_values).all()
