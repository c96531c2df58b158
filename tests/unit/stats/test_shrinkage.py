"""The programme prior: its fit is the best there is, and what it shrinks is nearer to the truth, covered, and calibrated."""

import json

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.effects import Effects, differences, log_lifts
from neonblue_lab.stats.moments import Moments
from neonblue_lab.stats.normal_mixtures import NormalMixtures
from neonblue_lab.stats.shrinkage import ProgrammePrior, fit
from neonblue_lab.stats.two_sample import welch

seeds = st.integers(0, 2**32 - 1)
KNOWN = ProgrammePrior(np.array([0.6, 0.3, 0.1]), np.zeros(3), np.array([0.0, 0.05, 0.2]), 100, 0.0)


def programme(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulated truths, half of them 0 and the others heavy-tailed, with estimates and their errors."""
    truth = np.where(rng.random(size) < 0.5, 0.0, 0.1 * rng.standard_t(4, size))
    error = rng.uniform(0.02, 0.3, size)
    return truth, truth + error * rng.normal(size=size), error


# --- mixtures ---------------------------------------------------------------------------------------------------------


@given(seeds)
def test_quantiles_and_tails_of_a_mixture_belong_together(seed):
    rng = np.random.default_rng(seed)
    weight = rng.dirichlet(np.ones(4), 7)
    mixture = NormalMixtures(weight, rng.normal(size=(7, 4)), rng.uniform(0.01, 2, (7, 4)))
    for probability in (0.001, 0.025, 0.5, 0.999):
        assert mixture.at_most(mixture.quantile(probability)) == pytest.approx(np.full(7, probability), rel=1e-9)
    one = NormalMixtures(np.ones(1), np.array([0.3]), np.array([2.0]))
    assert one.quantile(0.9) == pytest.approx(scipy.stats.norm.ppf(0.9, 0.3, 2), rel=1e-12)
    assert one.at_least(40.0) == pytest.approx(scipy.stats.norm.sf(40, 0.3, 2), rel=1e-9)


def test_an_interval_that_ends_in_a_point_mass_ends_there_exactly():
    mixture = NormalMixtures(np.array([0.5, 0.5]), np.array([0.0, 1.0]), np.array([0.0, 0.1]))
    assert mixture.quantile(0.025) == mixture.quantile(0.5) == 0
    assert mixture.at_most(0.0) == pytest.approx(0.5)
    assert mixture.at_least(0.0) == pytest.approx(1)
    assert mixture.false_sign() == pytest.approx(0.5)


# --- effects ----------------------------------------------------------------------------------------------------------


def test_errors_of_effects_are_those_of_the_intervals_beside_them():
    rng = np.random.default_rng(1)
    n, mean, variance = rng.integers(1e8, 1e9, (2, 30)), rng.uniform(1, 9, (2, 30)), rng.uniform(1, 9, (2, 30))
    control, variant = (Moments(n[i], mean[i], variance[i]) for i in (0, 1))
    two, log = welch(control, variant), welch(control, variant, lift_scale="log")
    absolute, relative = differences(control, variant), log_lifts(control, variant)
    assert absolute.estimate == pytest.approx(two.difference)
    assert 2 * 1.959964 * absolute.standard_error == pytest.approx(two.difference_high - two.difference_low, rel=1e-6)
    assert np.expm1(relative.estimate) == pytest.approx(two.lift)
    ends = relative.estimate + 1.959964 * relative.standard_error
    assert np.expm1(ends) == pytest.approx(log.lift_high, rel=1e-6)


def test_effects_that_cannot_be_weighed_are_not_known():
    nothing = log_lifts(Moments([9, 9, 9, 0], [0, 1, 1, 1], [1, 1, 0, 1]), Moments(9, [1, -1, 1, 1], [1, 1, 0, 1]))
    assert not nothing.known.any()
    assert Effects([1, np.nan, 1, 1], [1, 1, 0, np.inf]).known.tolist() == [True, False, False, False]
    with pytest.raises(BadInput, match="standard_error at index 1 is -2: a standard error is not negative"):
        Effects([1, 1], [1, -2])
    with pytest.raises(BadInput, match="estimate at index 0 is inf: an effect is finite"):
        Effects([np.inf, 1], 1)


# --- the fit ----------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(seeds, st.integers(3, 400))
def test_no_other_shares_are_likelier(seed, size):
    """Moving share to any spread, of the grid or not far beyond it, gains less than 1e-6 of log-likelihood an estimate."""
    _, estimate, error = programme(np.random.default_rng(seed), size)
    prior = fit(estimate, error)
    variance = prior.sd**2 + error[:, None] ** 2
    mixed = scipy.stats.norm.pdf(estimate[:, None], 0, np.sqrt(variance)) @ prior.weight
    assert np.log(mixed).sum() == pytest.approx(prior.log_likelihood)
    for sd in prior.sd.max() / np.sqrt(2) ** np.arange(12) if prior.sd.max() > 0 else [0.0]:
        other = scipy.stats.norm.pdf(estimate, 0, np.hypot(sd, error))
        assert np.mean(other / mixed) - 1 < 1e-6
    assert np.mean(scipy.stats.norm.pdf(estimate, 0, error) / mixed) - 1 < 1e-6


def test_the_shares_are_those_of_a_general_optimiser():
    _, estimate, error = programme(np.random.default_rng(4), 300)
    prior = fit(estimate, error)
    density = scipy.stats.norm.pdf(estimate[:, None], 0, np.sqrt(prior.sd**2 + error[:, None] ** 2))
    found = scipy.optimize.minimize(
        lambda weight: -np.log(density @ weight).mean(),
        np.full(prior.sd.size, 1 / prior.sd.size),
        bounds=[(1e-9, 1)] * prior.sd.size,
        constraints={"type": "eq", "fun": lambda weight: weight.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert -found.fun * 300 <= prior.log_likelihood + 1e-5
    assert found.x == pytest.approx(prior.weight, abs=0.01)


def test_a_programme_without_effects_shrinks_everything_to_nothing():
    rng = np.random.default_rng(5)
    error = rng.uniform(0.1, 0.3, 2_000)
    shrunk = (prior := fit(error * rng.normal(size=2_000), error)).shrink(0.4, 0.2)
    assert prior.spread < 0.02
    assert abs(shrunk.effect) < 0.02
    assert shrunk.false_sign_rate > 0.4


# --- what it says of truths -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "size"), [("scale-mixture", 2_000), ("normal", 2_000), ("normal", 10)])
def test_shrunk_effects_of_new_experiments_are_nearer_to_the_truth_and_covered(family, size):
    rng = np.random.default_rng(6)
    squares, covered = [], []
    for _ in range(20_000 // (2_000 + size)):
        _, estimate, error = programme(rng, size)
        truth, estimate_new, error_new = programme(rng, 2_000)
        shrunk = fit(estimate, error, family=family).shrink(estimate_new, error_new)
        squares.append([np.mean((estimate_new - truth) ** 2), np.mean((shrunk.effect - truth) ** 2)])
        covered.append(np.mean((shrunk.low <= truth) & (truth <= shrunk.high)))
    raw, better = np.sqrt(np.mean(squares, 0))
    assert better < (0.45 if size > 10 else 0.55) * raw
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01 if size > 10 else 0.02)


def test_winners_are_corrected_however_they_were_picked():
    rng = np.random.default_rng(7)
    truth, estimate, error = programme(rng, 10_000)
    shrunk = fit(estimate, error).shrink(estimate, error)
    for picked in (estimate > 1.96 * error, estimate > np.quantile(estimate, 0.95)):
        assert estimate[picked].mean() > 1.3 * truth[picked].mean()
        assert shrunk.effect[picked].mean() == pytest.approx(truth[picked].mean(), rel=0.07)


def test_false_sign_rates_are_the_rates_of_false_signs():
    rng = np.random.default_rng(8)
    error = rng.uniform(0.02, 0.3, 15_000)
    truth = np.where(rng.random(15_000) < 0.5, 0.0, 0.15 * rng.normal(size=15_000))
    estimate = truth + error * rng.normal(size=15_000)
    shrunk = fit(estimate, error).shrink(estimate, error)
    false = np.sign(shrunk.effect) != np.sign(truth)
    for low, high in ((0, 0.05), (0.05, 0.2), (0.2, 0.4), (0.4, 1)):
        among = (shrunk.false_sign_rate >= low) & (shrunk.false_sign_rate < high)
        assert among.sum() > 300
        assert false[among].mean() == pytest.approx(shrunk.false_sign_rate[among].mean(), abs=0.04)


def test_a_normal_prior_is_textbook_shrinkage():
    prior = ProgrammePrior(np.ones(1), np.array([0.02]), np.array([0.03]), 50, 0.0)
    shrunk = prior.shrink([0.1, np.nan, 0.1, 0.1], [0.04, 1, 0, np.nan])
    assert shrunk.effect[0] == pytest.approx((0.03**2 * 0.1 + 0.04**2 * 0.02) / 0.05**2)
    assert shrunk.sd[0] == pytest.approx(0.03 * 0.04 / 0.05)
    assert shrunk.high[0] - shrunk.low[0] == pytest.approx(2 * 1.959964 * shrunk.sd[0])
    for values in (shrunk.effect, shrunk.sd, shrunk.low, shrunk.high, shrunk.false_sign_rate):
        assert np.isnan(values[1:]).all()


@given(st.floats(-50, 50), st.floats(1e-6, 1e6))
def test_an_effect_is_never_moved_away_from_0_nor_past_it(estimate, error):
    shrunk = KNOWN.shrink(estimate, error)
    assert abs(shrunk.effect) <= abs(estimate) * (1 + 1e-12)
    assert shrunk.effect * estimate >= 0
    assert shrunk.low <= shrunk.high
    assert 0 <= shrunk.false_sign_rate <= 1


# --- kept, and refused ------------------------------------------------------------------------------------------------


def test_a_prior_comes_back_from_json():
    again = ProgrammePrior.from_dict(json.loads(json.dumps(KNOWN.to_dict())))
    assert again.to_dict() == KNOWN.to_dict()
    assert again.share_without_effect == 0.6
    assert again.spread == pytest.approx(np.sqrt(0.3 * 0.05**2 + 0.1 * 0.2**2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": [0.5, 0.3, 0.1]}, "add up to 0.9: they must add up to 1"),
        ({"weight": [1.2, -0.3, 0.1]}, "weight at index 1 is -0.3: a share is not negative"),
        ({"sd": [0.0, -1.0, 1.0]}, "sd at index 1 is -1"),
        ({"mean": [0.0, float("nan"), 1.0]}, "mean at index 1 is nan"),
        ({"mean": [0.0]}, r"got shapes \(3,\), \(1,\) and \(3,\)"),
        ({"seed": 1}, "A programme prior is weight, mean, sd"),
    ],
)
def test_what_is_no_prior_is_refused(change, message):
    with pytest.raises(BadInput, match=message):
        ProgrammePrior.from_dict(KNOWN.to_dict() | change)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(BadInput, match="2 of 4 effects have an estimate and a standard error above 0"):
        fit([1, 2, np.nan, 3], [1, 1, 1, 0])
    with pytest.raises(BadInput, match="family is 'cauchy'"):
        fit([1, 2, 3], 1, family="cauchy")
    with pytest.raises(BadInput, match=r"alpha is 1\.5"):
        KNOWN.shrink(1, 1, alpha=1.5)
