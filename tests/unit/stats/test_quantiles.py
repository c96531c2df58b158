"""Quantiles from order statistics agree with numpy and scipy, and their intervals and tests keep their promises."""

import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.stats import quantile_of_sorted, quantile_ranks, welch

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=500)
@given(n=st.integers(1, 3_000), share=st.floats(0.01, 0.99), alpha=st.sampled_from([0.01, 0.05, 0.2]))
def test_ranks_leave_at_most_half_of_alpha_beyond_either_end_and_could_not_be_closer(n, share, alpha):
    found = quantile_ranks(n, share, alpha=alpha)
    below = scipy.stats.binom(n, share)
    low, high = int(found.low), int(found.high)
    assert low == 0 or below.cdf(low - 1) <= alpha / 2 * (1 + 1e-9)
    assert low == n or below.cdf(low) > alpha / 2 * (1 - 1e-9)
    assert high == n + 1 or below.sf(high - 1) <= alpha / 2 * (1 + 1e-9)
    assert high == 1 or below.sf(high - 2) > alpha / 2 * (1 - 1e-9)
    assert found.coverage == pytest.approx(below.cdf(high - 1) - below.cdf(low - 1), rel=1e-9)
    assert found.coverage >= 1 - alpha - 1e-9


@settings(max_examples=500)
@given(seed=seeds, share=st.sampled_from([0.1, 0.5, 0.9]))
def test_is_numpys_quantile_with_the_interval_of_scipys_quantile_test(seed, share):
    rng = np.random.default_rng(seed)
    values = np.sort(rng.lognormal(0, 2, rng.integers(3, 400)))
    ours = quantile_of_sorted(values, [values.size], share)
    interval = scipy.stats.quantile_test(values, q=0, p=share).confidence_interval(0.95)
    assert ours.value == np.quantile(values, share, method="inverted_cdf")
    theirs = [interval.low, interval.high]
    np.testing.assert_array_equal([ours.low[0], ours.high[0]], np.where(np.isnan(theirs), [-np.inf, np.inf], theirs))


def test_shares_are_no_binary_fractions():
    assert quantile_ranks(100, 0.07).value == 7
    np.testing.assert_array_equal(quantile_ranks(np.arange(1, 2_001) * 100, 0.57).value, np.arange(1, 2_001) * 57)


def simulated(rng, repeats, n, share, draw):
    values = np.sort(draw(rng, (repeats, n)), axis=1)
    return quantile_of_sorted(values.ravel(), np.full(repeats, n), share)


def heavy(rng, shape):
    """Pareto with no variance."""
    return rng.pareto(1.5, shape)


def skewed(rng, shape):
    return rng.lognormal(0, 1, shape)


class TestTruth:
    @pytest.mark.parametrize(("n", "share"), [(60, 0.5), (400, 0.9), (2_000, 0.95)])
    @pytest.mark.parametrize("draw", [heavy, skewed])
    def test_intervals_cover_and_a_a_tests_keep_their_level(self, n, share, draw):
        rng = np.random.default_rng(41)
        repeats = 2_000
        control, variant = (simulated(rng, repeats, n, share, draw) for _ in range(2))
        truth = {heavy: scipy.stats.lomax(1.5), skewed: scipy.stats.lognorm(1)}[draw].ppf(share)
        error = 4 * np.sqrt(0.05 * 0.95 / repeats)
        assert ((control.low <= truth) & (truth <= control.high)).mean() >= 0.95 - error
        found = welch(control.moments(), variant.moments())
        assert (found.p_value < 0.05).mean() < 0.05 + error
        assert (found.p_value < 0.05).mean() > 0.02
        assert control.standard_error.mean() == pytest.approx(control.value.std(), rel=0.15)

    def test_a_difference_is_found(self):
        rng = np.random.default_rng(42)
        control, variant = (
            simulated(rng, 500, 2_000, 0.9, skewed),
            simulated(rng, 500, 2_000, 0.9, lambda *a: 1.2 * skewed(*a)),
        )
        truth = scipy.stats.lognorm(1).ppf(0.9)
        found = welch(control.moments(), variant.moments())
        covered = (found.difference_low < 0.2 * truth) & (found.difference_high > 0.2 * truth)
        assert covered.mean() == pytest.approx(0.95, abs=0.04)
        assert ((found.lift_low < 0.2) & (found.lift_high > 0.2)).mean() == pytest.approx(0.95, abs=0.04)


class TestInvariants:
    @given(seed=seeds)
    def test_any_rising_scale_carries_quantile_and_interval_along(self, seed):
        rng = np.random.default_rng(seed)
        values = np.sort(rng.normal(0, 1, 300))
        plain, other = quantile_of_sorted(values, [300], 0.7), quantile_of_sorted(np.exp(values), [300], 0.7)
        for name in ("low", "value", "high"):
            np.testing.assert_array_equal(getattr(other, name), np.exp(getattr(plain, name)))

    @given(seed=seeds)
    def test_a_group_does_not_depend_on_the_others(self, seed):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(0, 60, 12)
        parts = [np.sort(rng.normal(1e9, 1, size)) for size in sizes]
        together = quantile_of_sorted(np.concatenate(parts), sizes, 0.5)
        for row, part in enumerate(parts):
            alone = quantile_of_sorted(part, [part.size], 0.5)
            for name in ("n", "low", "value", "high", "standard_error"):
                np.testing.assert_array_equal(getattr(together, name)[row], getattr(alone, name)[0])

    def test_ten_million_units_and_thousands_of_arms(self):
        found = quantile_ranks(10_000_000, [0.5, 0.9, 0.999])
        half = 1.96 * np.sqrt(10_000_000 * found.value / 1e7 * (1 - found.value / 1e7))
        np.testing.assert_allclose(found.value - found.low, half, atol=2)
        np.testing.assert_allclose(found.high - found.value, half, atol=2)
        assert quantile_ranks(np.arange(5_000), 0.9).low.shape == (5_000,)


class TestDegenerate:
    def test_few_units_have_open_ends_and_no_test(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = quantile_of_sorted([1.0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6], [0, 1, 5, 6], 0.5)
            p = welch(found.moments(), found.moments()).p_value
        np.testing.assert_array_equal(found.value, [np.nan, 1, 3, 3])
        np.testing.assert_array_equal(found.low, [np.nan, -np.inf, -np.inf, 1])
        np.testing.assert_array_equal(found.high, [np.nan, np.inf, np.inf, 6])
        np.testing.assert_array_equal(~np.isnan(p), [False, False, False, True])

    def test_ties_have_an_interval_and_no_test(self):
        found = quantile_of_sorted(np.zeros(500), [500], 0.9)
        assert found.low == found.value == found.high == 0
        assert np.isnan(found.standard_error)
        assert np.isnan(welch(found.moments(), found.moments()).p_value)

    def test_infinite_values_may_lie_beyond_the_interval(self):
        values = np.sort(np.append(np.random.default_rng(1).normal(size=200), [-np.inf, np.inf]))
        assert np.isfinite(quantile_of_sorted(values, [202], 0.5).standard_error)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([2.0, 1.0, 3.0], [3]), "values at index 1 is 1: it is smaller than the one before it"),
            (([1.0, np.nan], [2]), "values at index 1 is nan: a value that is not known has no rank"),
            (([1.0, 2.0], [3]), r"must add up to the number of values: 3 and \(2,\)"),
            (([1.0, 2.0], [4, -2]), "n at index 1 is -2"),
            (([1.0, 2.0], [1.5, 0.5]), r"n at index 0 is 1\.5: a count is a whole number"),
        ],
    )
    def test_impossible_values(self, arguments, message):
        with pytest.raises(BadInput, match=message):
            quantile_of_sorted(*arguments, 0.5)

    def test_impossible_options(self):
        with pytest.raises(BadInput, match="probability at index 1 is 1: it must lie between 0 and 1"):
            quantile_ranks(5, [0.5, 1.0])
        with pytest.raises(BadInput, match="alpha is 0"):
            quantile_ranks(5, 0.5, alpha=0)
        with pytest.raises(BadInput, match="value at index 0 is 5: it does not lie between"):
            quantile_ranks(100, 0.5).quantile(low=1, value=5, high=4)
