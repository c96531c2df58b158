"""Always-valid intervals agree with published ones, and keep their error rate under daily looks where others do not."""

import warnings

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.always_valid import confidence_sequence, critical_value, mixture_sprt

seeds = st.integers(0, 2**32 - 1)
DAYS = 28


def relative(control, variant):
    """Lift, its standard error by the delta method, and units, of (mean, variance, n) of each arm."""
    (mean, variance, n), (mean_variant, variance_variant, n_variant) = control, variant
    squares = (variance_variant / n_variant + (mean_variant / mean) ** 2 * variance / n) / mean**2
    return mean_variant / mean - 1, np.sqrt(squares), n + n_variant


def proportion(successes, n):
    return successes / n, successes / n * (1 - successes / n), n


def from_sums(total, squares, n):
    return total / n, (squares - total**2 / n) / (n - 1), n


class TestPublishedNumbers:
    def test_the_asymptotic_sequence_of_a_lift(self, oracle):
        case = oracle("sequential", "asymptotic_confidence_sequence")
        control, variant = (proportion(case[arm]["successes"], case[arm]["n"]) for arm in ("control", "variant"))
        found = confidence_sequence(*relative(control, variant), tuned_at=5_000)
        assert found.estimate == pytest.approx(case["relative"], abs=0.5e-5)
        assert [found.low, found.high] == pytest.approx(case["ci95"], abs=0.5e-5)

    def test_two_more_of_another_implementation(self):
        """PostHog's products/experiments golden values, of its own code and two-sided as here."""
        mean = confidence_sequence(
            *relative(from_sums(1400.0, 52_000.0, 3_000), from_sums(2500.0, 135_000.0, 3_500)), tuned_at=1_000
        )
        assert [mean.low, mean.high] == pytest.approx([-0.53230, 1.59353], abs=0.5e-5)
        assert mean.p_value == 1
        share = confidence_sequence(*relative(proportion(1450, 3_050), proportion(2600, 3_500)), tuned_at=5_000)
        assert [share.low, share.high] == pytest.approx([0.46064, 0.66448], abs=0.5e-5)
        assert share.p_value == pytest.approx(6e-56, rel=0.1)


@given(st.floats(-6, 6), st.floats(1e-6, 1e6), st.floats(1, 1e7), st.floats(1, 1e6), st.floats(0.001, 0.2))
def test_p_value_is_the_inverse_of_a_normal_mixture_of_likelihood_ratios(z, error, n, tuned_at, alpha):
    """By integration: the likelihood of the estimate under effects spread normally about 0, over that under none."""
    found = confidence_sequence(z * error, error, n, tuned_at=tuned_at, alpha=alpha)
    information = (-2 * np.log(alpha) + np.log(1 - 2 * np.log(alpha))) * n / tuned_at
    spread = np.sqrt(1 + information)
    mixture = scipy.stats.norm.pdf(z, scale=spread) / scipy.stats.norm.pdf(z)
    assert found.p_value == pytest.approx(min(1.0, 1 / mixture), rel=1e-9)
    if abs(found.p_value / alpha - 1) > 1e-6:
        assert (found.p_value < alpha) == (found.low > 0 or found.high < 0)


def test_the_reach_is_least_near_the_tuning_and_scales_with_it():
    n = np.geomspace(10, 1e7, 2_001)
    # What is least is the reach over the square root of n against that of other tunings at the same n.
    at = np.array([critical_value(5_000, tuned_at=tuned) for tuned in n])
    assert n[at.argmin()] == pytest.approx(5_000, rel=0.25)
    np.testing.assert_allclose(critical_value(n, tuned_at=500), critical_value(10 * n, tuned_at=5_000), rtol=1e-12)
    assert (critical_value(n, tuned_at=5_000) > scipy.stats.norm.isf(0.025)).all()
    np.testing.assert_allclose(critical_value([500, 5_000, 50_000], tuned_at=5_000), [3.86, 3.04, 3.24], atol=0.005)


class TestTwentyEightDailyLooks:
    def test_proportions(self):
        """4,000 simulated experiments without an effect, 1,000 units a day of which 5 % convert."""
        rng = np.random.default_rng(11)
        arms = rng.multinomial(1_000, [0.025, 0.475, 0.025, 0.475], (4_000, DAYS)).cumsum(axis=1)
        control, variant = arms[..., 0], arms[..., 2]
        n_control, n_variant = control + arms[..., 1], variant + arms[..., 3]
        p_control, p_variant = control / n_control, variant / n_variant
        error = np.sqrt(p_control * (1 - p_control) / n_control + p_variant * (1 - p_variant) / n_variant)
        difference, n = p_variant - p_control, n_control + n_variant

        fixed = np.abs(difference / error) > scipy.stats.norm.isf(0.025)
        assert fixed[:, -1].mean() == pytest.approx(0.05, abs=0.01)
        assert fixed.any(axis=1).mean() > 0.25
        for days in (1, 7, 28):
            asymptotic = confidence_sequence(difference, error, n, tuned_at=1_000 * days)
            assert (asymptotic.p_value <= 0.05).any(axis=1).mean() <= 0.05
        exact = mixture_sprt(control, variant, tuned_at=350)
        assert (exact.p_value <= 0.05).any(axis=1).mean() <= 0.05
        assert ((exact.low > 0) | (exact.high < 0)).any(axis=1).mean() <= 0.05

    def test_heavy_tailed_means(self):
        """2,000 simulated experiments without an effect, 20 lognormal values (skewness 33) a day and arm."""
        values = np.random.default_rng(12).lognormal(0, 1.5, (2, 2_000, DAYS, 20))
        n = 20 * np.arange(1, DAYS + 1)
        mean = values.sum(axis=-1).cumsum(axis=-1) / n
        variance = ((values**2).sum(axis=-1).cumsum(axis=-1) - n * mean**2) / (n - 1)
        difference, error = mean[1] - mean[0], np.sqrt((variance[0] + variance[1]) / n)
        assert (np.abs(difference / error) > scipy.stats.norm.isf(0.025)).any(axis=1).mean() > 0.15
        for tuned_at in (40, 1_120):
            found = confidence_sequence(difference, error, 2 * n, tuned_at=tuned_at)
            assert (found.p_value <= 0.05).any(axis=1).mean() <= 0.05

    def test_all_intervals_hold_the_true_lift_together_and_an_effect_is_found(self):
        """3,000 simulated experiments of an allocation of 70 : 30, rates of 4 % and 5 % that both halve at weekends."""
        rng = np.random.default_rng(13)
        weekday = np.where(np.arange(DAYS) % 7 < 5, 1.0, 0.5)
        control = rng.binomial(rng.binomial(2_000, 0.7, (3_000, DAYS)), 0.04 * weekday).cumsum(axis=1)
        variant = rng.binomial(rng.binomial(2_000, 0.3, (3_000, DAYS)), 0.05 * weekday).cumsum(axis=1)
        found = mixture_sprt(control, variant, share=0.3, tuned_at=1_000)
        held = (found.low < 0.25) & (found.high > 0.25)
        assert held.all(axis=1).mean() >= 0.95
        assert (found.p_value <= 0.05).any(axis=1).mean() > 0.8
        assert found.estimate[:, -1].mean() == pytest.approx(0.25, abs=0.01)


class TestMixtureSprt:
    @given(st.integers(0, 300), st.integers(0, 300), st.floats(0.05, 0.95), st.floats(10, 1e5))
    def test_p_value_is_the_inverse_of_a_beta_binomial_over_a_binomial(self, control, variant, share, tuned_at):
        found = mixture_sprt(control, variant, share=share, tuned_at=tuned_at)
        prior = tuned_at / scipy.optimize.brentq(lambda u: u - np.log1p(u) + 2 * np.log(0.05), 1, 100)
        n = control + variant
        theirs = scipy.stats.betabinom.logpmf(variant, n, prior * share, prior * (1 - share))
        evidence = theirs - scipy.stats.binom.logpmf(variant, n, share)
        assert np.log(found.p_value) == pytest.approx(min(0.0, -evidence), rel=1e-7, abs=1e-7)
        if abs(found.p_value / 0.05 - 1) > 1e-6:
            assert (found.p_value < 0.05) == bool(found.low > 0 or found.high < 0)

    def test_first_successes(self):
        found = mixture_sprt([0, 0, 3], [0, 4, 0], tuned_at=100)
        np.testing.assert_array_equal(found.estimate, [np.nan, np.inf, -1])
        assert found.p_value[0] == 1
        np.testing.assert_array_equal(found.low[[0, 2]], [-1, -1])
        np.testing.assert_array_equal(found.high[[0, 1]], [np.inf, np.inf])
        assert found.low[1] < 0 < found.high[2]

    def test_hundreds_of_millions(self):
        found = mixture_sprt(300_000_000, 300_300_000, tuned_at=1e8)
        assert 0 < found.low < found.estimate < found.high
        assert found.estimate == pytest.approx(0.001)
        reach = critical_value(6e8, tuned_at=1e8) * np.sqrt(2 / 3e8)
        assert [found.low, found.high] == pytest.approx([0.001 - reach, 0.001 + reach], rel=0.01)


def test_what_cannot_be_tested_is_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = confidence_sequence([1.0, np.nan, np.inf, 1, 1], [0.0, 1, 1, np.inf, 1], [9, 9, 9, 9, 0], tuned_at=100)
        sprt = mixture_sprt([np.nan, 4], [3, np.nan], tuned_at=100)
    for answer in (found, sprt):
        assert np.isnan([answer.low, answer.high, answer.p_value]).all()


def test_a_difference_beyond_floating_point_is_sure():
    assert confidence_sequence(1.0, 1e-200, 100, tuned_at=100).p_value == 0
    assert confidence_sequence(1e9, 1.0, 100, tuned_at=100).low == pytest.approx(1e9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: confidence_sequence(1, [1, -1], 9, tuned_at=9), r"standard_error at index 1 is -1"),
        (lambda: confidence_sequence(1, 1, -9, tuned_at=9), r"n at index 0 is -9"),
        (lambda: confidence_sequence(1, 1, 9, tuned_at=0), r"tuned_at at index 0 is 0"),
        (lambda: confidence_sequence(1, 1, 9, tuned_at=9, alpha=1), r"alpha is 1"),
        (lambda: confidence_sequence([1, 2], [1, 2, 3], 9, tuned_at=9), r"difference \(2,\), standard_error \(3,\)"),
        (lambda: mixture_sprt(1, -2, tuned_at=9), r"successes_variant at index 0 is -2"),
        (lambda: mixture_sprt(1, 2, share=1, tuned_at=9), r"share at index 0 is 1"),
        (lambda: critical_value(9, tuned_at=np.inf), r"tuned_at at index 0 is inf"),
    ],
)
def test_impossible_input_is_named(call, message):
    with pytest.raises(BadInput, match=message):
        call()
