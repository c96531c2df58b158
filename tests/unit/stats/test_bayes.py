"""Posterior chances and losses are those of numerical integration, of draws, and of the tests they must agree with."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.bayes import beta_posterior, normal_posterior
from neonblue_lab.stats.two_sample import two_proportions


class TestNormal:
    @given(
        st.floats(-5, 5),
        st.floats(0.05, 5),
        st.floats(-3, 3),
        st.floats(0.05, 5) | st.just(np.inf),
        st.floats(0.01, 0.5),
    )
    def test_is_the_integral_of_prior_times_likelihood(self, estimate, error, prior_mean, prior_sd, alpha):
        found = normal_posterior(estimate, error, prior_mean=prior_mean, prior_sd=prior_sd, alpha=alpha)
        centre = estimate if np.isinf(prior_sd) else prior_mean
        reach = np.sort([estimate, centre]) + np.array([-10, 10]) * min(error, prior_sd)
        effect = np.linspace(*reach, 200_001)
        prior = 0.0 if np.isinf(prior_sd) else scipy.stats.norm.logpdf(effect, prior_mean, prior_sd)
        density = scipy.special.softmax(prior + scipy.stats.norm.logpdf(effect, estimate, error))
        assert found.mean == pytest.approx((density * effect).sum(), abs=1e-6)
        assert found.sd == pytest.approx(np.sqrt((density * (effect - found.mean) ** 2).sum()), rel=1e-5)
        assert found.chance_to_beat == pytest.approx(density[effect > 0].sum(), abs=2e-4)
        assert found.expected_loss == pytest.approx((density * np.maximum(0, -effect)).sum(), abs=1e-6)
        assert found.expected_loss_of_control == pytest.approx((density * np.maximum(0, effect)).sum(), abs=1e-6)
        inside = density[(effect > found.low) & (effect < found.high)].sum()
        assert inside == pytest.approx(1 - alpha, abs=1e-3)

    def test_with_a_flat_prior_it_is_the_z_test(self):
        found = normal_posterior(0.03, 0.01)
        assert found.chance_to_beat == pytest.approx(1 - scipy.stats.norm.sf(3))
        assert [found.low, found.high] == pytest.approx(0.03 + 0.01 * scipy.stats.norm.isf(0.025) * np.array([-1, 1]))

    def test_a_sharp_prior_wins_over_little_data_without_losing_digits(self):
        found = normal_posterior(5.0, 1e6, prior_mean=0.01, prior_sd=1e-6)
        assert found.mean == pytest.approx(0.01, rel=1e-9)
        assert found.sd == pytest.approx(1e-6, rel=1e-9)

    def test_a_small_loss_is_a_tail_and_not_a_difference(self):
        """1.370e-90 at 20 and 1.545e-301 at 37 standard errors: 30-digit arithmetic."""
        found = normal_posterior([20.0, 37.0], 1.0)
        np.testing.assert_allclose(found.expected_loss, [1.37001249472957994e-90, 1.54519919051220245e-301], rtol=1e-11)
        np.testing.assert_allclose(found.expected_loss_of_control, [20, 37])

    def test_effects_drawn_from_the_prior_lie_in_its_interval(self):
        rng = np.random.default_rng(41)
        effect = rng.normal(0.01, 0.02, 40_000)
        found = normal_posterior(rng.normal(effect, 0.03), 0.03, prior_mean=0.01, prior_sd=0.02)
        assert ((found.low < effect) & (effect < found.high)).mean() == pytest.approx(0.95, abs=0.005)
        likely = found.chance_to_beat > 0.8
        assert (effect[likely] > 0).mean() == pytest.approx(found.chance_to_beat[likely].mean(), abs=0.015)
        assert np.maximum(0, -effect[likely]).mean() == pytest.approx(found.expected_loss[likely].mean(), rel=0.1)

    def test_without_data_there_is_no_answer_and_no_warning(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = normal_posterior([1.0, np.nan, np.inf, 1.0], [0.0, 1.0, 1.0, np.inf], prior_sd=0.5)
        for answer in (found.mean, found.sd, found.low, found.chance_to_beat, found.expected_loss):
            assert np.isnan(answer).all()


def integrated(n_control, successes_control, n_variant, successes_variant, a, b):
    """Chance to beat and expected loss by adaptive integration, told where the two posteriors are."""
    control = scipy.stats.beta(a + successes_control, b + n_control - successes_control)
    variant = scipy.stats.beta(a + successes_variant, b + n_variant - successes_variant)
    quantiles = [1e-9, 0.01, 0.25, 0.5, 0.75, 0.99, 1 - 1e-9]
    edges = np.unique(np.concatenate([[0, 1], control.ppf(quantiles), variant.ppf(quantiles)]))

    def integral(f):
        return sum(scipy.integrate.quad(f, *edge, epsabs=1e-12)[0] for edge in pairwise(edges))

    return integral(lambda x: control.pdf(x) * variant.sf(x)), integral(lambda x: variant.cdf(x) * control.sf(x))


class TestBeta:
    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.floats(0.5, 20), st.floats(0.5, 20))
    def test_is_the_integral_over_both_posteriors(self, seed, a, b):
        rng = np.random.default_rng(seed)
        n = np.floor(10 ** rng.uniform(0, 5, 2)).astype(int)
        successes = rng.binomial(n, rng.uniform(0, 1, 2))
        counts = n[0], successes[0], n[1], successes[1]
        found = beta_posterior(*counts, prior_successes=a, prior_failures=b)
        chance, loss = integrated(*counts, a, b)
        assert found.chance_to_beat == pytest.approx(chance, abs=1e-8)
        assert found.expected_loss == pytest.approx(loss, rel=1e-6, abs=1e-10)
        assert found.expected_loss_of_control - found.expected_loss == pytest.approx(found.mean, abs=1e-9)

    def test_exact_sums(self):
        """P(variant > control) and the loss as finite sums of beta functions, in 40-digit arithmetic."""
        found = beta_posterior([100, 5_000, 0, 3], [10, 500, 0, 1], [100, 5_000, 0, 30_000], [20, 200, 0, 3_000])
        np.testing.assert_allclose(
            found.chance_to_beat, [0.97517303315287, 4.236398e-33, 0.5, 0.052337259874302], rtol=1e-6
        )
        np.testing.assert_allclose(
            found.expected_loss, [0.000479359303997756, 0.0599760095961615, 1 / 6, 0.301782188688052], rtol=1e-9
        )

    def test_many_units_are_the_one_sided_test(self):
        rng = np.random.default_rng(42)
        n = rng.integers(200_000, 10**6, (2, 500))
        successes = rng.binomial(n, 0.1)
        found = beta_posterior(n[0], successes[0], n[1], successes[1])
        test = two_proportions(n[0], successes[0], n[1], successes[1])
        np.testing.assert_allclose(found.chance_to_beat, scipy.stats.norm.cdf(test.statistic), atol=2e-3)

    def test_billions_of_units_and_arms_of_very_different_size(self):
        found = beta_posterior([10**9, 10**9], [10**8, 10**8], [10**9, 20], [10**8 + 13_416, 2])
        assert found.chance_to_beat[0] == pytest.approx(scipy.stats.norm.cdf(1.0), abs=1e-4)
        # A control known exactly leaves the variant's posterior alone.
        assert found.chance_to_beat[1] == pytest.approx(scipy.stats.beta.sf(0.1, 3, 19), abs=1e-6)

    def test_none_and_all_converted_and_one_unit(self):
        found = beta_posterior([1, 50, 50, 1], [0, 0, 50, 0], [1, 50, 50, 1], [1, 0, 50, 0])
        # Of one unit each, by hand: densities 2 (1 - x) and 2 x.
        np.testing.assert_allclose(found.chance_to_beat, [5 / 6, 0.5, 0.5, 0.5], atol=1e-7)
        np.testing.assert_allclose(found.expected_loss[0], 1 / 30, rtol=1e-7)

    def test_unknown_counts_are_nan_and_empty_input_is_empty(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = beta_posterior([10, np.nan], [np.nan, 3], 10, 3)
            assert beta_posterior([], [], [], []).chance_to_beat.shape == (0,)
        assert np.isnan([found.mean, found.chance_to_beat, found.expected_loss, found.expected_loss_of_control]).all()

    def test_shapes_broadcast(self):
        found = beta_posterior(np.full((3, 1), 100), 10, [50, 60], [5, 9])
        assert found.chance_to_beat.shape == (3, 2)
        assert found.chance_to_beat[2, 1] == beta_posterior(100, 10, 60, 9).chance_to_beat


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: normal_posterior(1, -1), "standard_error at index 0 is -1"),
        (lambda: normal_posterior(1, 1, prior_sd=0), "prior_sd at index 0 is 0"),
        (lambda: normal_posterior(1, 1, prior_mean=np.nan), "prior_mean at index 0 is nan"),
        (lambda: normal_posterior(1, 1, alpha=2), "alpha is 2"),
        (
            lambda: beta_posterior(10, [3, 11], 10, 3),
            "successes_control at index 1 is 11: there cannot be more successes",
        ),
        (lambda: beta_posterior(10, 3, -1, 0), "n_variant at index 0 is -1"),
        (lambda: beta_posterior(10, 3, 10, 3, prior_failures=0), "prior_failures at index 0 is 0"),
    ],
)
def test_impossible_input_is_named(call, message):
    with pytest.raises(BadInput, match=message):
        call()
