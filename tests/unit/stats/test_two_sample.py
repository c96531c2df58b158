"""Welch's test and the test of two proportions agree with published numbers, three other libraries and the truth."""

import warnings

import numpy as np
import polars as pl
import pytest
import scipy.stats
import tea_tasting as tt
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep
from statsmodels.stats.proportion import test_proportions_2indep as proportions_2indep
from tea_tasting.aggr import Aggregates

from neonblue_lab.errors import BadInput
from neonblue_lab.stats import Comparison, Moments, from_sums, two_proportions, welch

seeds = st.integers(0, 2**32 - 1)


def moments_of(rows):
    return Moments(len(rows), np.mean(rows), np.var(rows, ddof=1))


def from_oracle(arm):
    return from_sums(arm["n"], arm["sum"], arm["sum_squares"])


def digits(number, published):
    """`number` is what was published, to the digits that were."""
    decimals = len(repr(published).split(".")[1])
    return float(number) == pytest.approx(published, abs=0.5000001 * 10.0**-decimals)


class TestPublishedNumbers:
    def test_welch_of_the_absolute_difference(self, oracle):
        case = oracle("two_sample", "welch_absolute")
        found = welch(from_oracle(case["control"]), from_oracle(case["variant"]))
        assert digits(found.difference, case["difference"])
        assert digits(found.difference_low, case["ci95"][0])
        assert digits(found.difference_high, case["ci95"][1])
        assert digits(found.p_value, case["p"])
        assert digits(found.p_value, 0.0201584026)

    def test_welch_of_the_lift_by_the_delta_method(self, oracle):
        data = oracle("two_sample", "welch_absolute")
        case = oracle("two_sample", "welch_relative_delta_method")
        found = welch(from_oracle(data["control"]), from_oracle(data["variant"]))
        assert digits(found.lift, case["relative"])
        assert digits(found.lift_low, case["ci95"][0])
        assert digits(found.lift_high, case["ci95"][1])
        assert digits(found.p_value_relative, case["p"])

    def test_lift_of_proportions(self, oracle):
        case = oracle("two_sample", "proportions_relative")
        control, variant = case["control"], case["variant"]
        found = two_proportions(control["n"], control["successes"], variant["n"], variant["successes"])
        assert digits(found.lift_low, case["ci95"][0])
        assert digits(found.lift_high, case["ci95"][1])
        assert digits(found.p_value_relative, case["p"])

    def test_mean_from_moments_with_the_lift_on_the_log_scale(self, oracle):
        case = oracle("two_sample", "mean_from_moments")
        found = welch(from_oracle(case["control"]), from_oracle(case["variant"]), lift_scale="log")
        assert digits(found.difference, case["difference"])
        assert digits(found.difference_low, case["ci95"][0])
        # The upper end as in tea-tasting's own tests/metrics/test_mean.py: the 0.134316911 of the reference file misses
        # it in the sixth digit, and with it the symmetry of the interval about the difference.
        assert digits(found.difference_high, 0.134317911)
        assert digits(found.difference_high, round(2 * case["difference"] - case["ci95"][0], 9))
        assert digits(found.lift_low, case["relative_ci95"][0])
        assert digits(found.lift_high, case["relative_ci95"][1])
        assert digits(found.p_value, case["p"])

    def test_the_landing_page_experiment(self, dataset):
        rows = pl.read_parquet(dataset("landing_page_ab.parquet"))
        agree = (pl.col("group") == "treatment") == (pl.col("landing_page") == "new_page")
        users = rows.filter(agree).unique("user_id", keep="first", maintain_order=True)
        arms = users.group_by("group").agg(pl.len(), pl.col("converted").sum()).sort("group")
        (n_control, n_variant), (converted_control, converted_variant) = arms["len"], arms["converted"]
        found = two_proportions(n_control, converted_control, n_variant, converted_variant)
        assert n_control + n_variant == 290_584
        assert digits(converted_control / n_control, 0.120386)
        assert digits(converted_variant / n_variant, 0.118808)
        assert digits(-found.statistic, 1.3109)
        assert digits(found.p_value, 0.1899)


class TestOtherLibraries:
    @settings(max_examples=500)
    @given(seeds)
    def test_welch_is_scipys(self, seed):
        rng = np.random.default_rng(seed)
        control = rng.normal(rng.normal(0, 10), rng.lognormal(), rng.integers(2, 60))
        variant = rng.normal(rng.normal(0, 10), rng.lognormal(), rng.integers(2, 60))
        theirs = scipy.stats.ttest_ind(variant, control, equal_var=False)
        interval = theirs.confidence_interval(0.9)
        ours = welch(moments_of(control), moments_of(variant), alpha=0.1)
        np.testing.assert_allclose(
            [ours.statistic, ours.df, ours.p_value, ours.difference_low, ours.difference_high],
            [theirs.statistic, theirs.df, theirs.pvalue, interval.low, interval.high],
            rtol=1e-9,
            atol=1e-12,
        )

    @settings(max_examples=500)
    @given(seeds)
    def test_the_log_scale_is_tea_tastings(self, seed):
        rng = np.random.default_rng(seed)
        n, mean, variance = rng.integers(2, 5_000, 2), rng.lognormal(0, 2, 2), rng.lognormal(0, 2, 2)
        arms = [Aggregates(int(n[i]), {"x": float(mean[i])}, {"x": float(variance[i])}) for i in range(2)]
        theirs = tt.Mean("x").analyze_aggregates(*arms)
        ours = welch(*(Moments(n[i], mean[i], variance[i]) for i in range(2)), lift_scale="log")
        np.testing.assert_allclose(
            [ours.difference, ours.difference_low, ours.difference_high, ours.statistic, ours.p_value],
            [
                theirs.effect_size,
                theirs.effect_size_ci_lower,
                theirs.effect_size_ci_upper,
                theirs.statistic,
                theirs.pvalue,
            ],
            rtol=1e-8,
        )
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(
                [ours.lift, ours.lift_low, ours.lift_high],
                [theirs.rel_effect_size, theirs.rel_effect_size_ci_lower, theirs.rel_effect_size_ci_upper],
                rtol=1e-8,
                atol=1e-12,
            )

    @settings(max_examples=500)
    @given(seeds)
    def test_two_proportions_is_statsmodels_wald_test_in_large_samples(self, seed):
        rng = np.random.default_rng(seed)
        n = rng.integers(500_000, 2_000_000, 2)
        successes = rng.binomial(n, rng.uniform(0.01, 0.9) + rng.normal(0, 0.0005, 2))
        theirs = proportions_2indep(successes[1], n[1], successes[0], n[0], compare="diff", method="wald")
        low, high = confint_proportions_2indep(successes[1], n[1], successes[0], n[0], compare="diff", method="wald")
        ours = two_proportions(n[0], successes[0], n[1], successes[1])
        assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-9)
        assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-4, abs=1e-6)
        assert ours.difference_low == pytest.approx(low, rel=1e-4, abs=1e-8)
        assert ours.difference_high == pytest.approx(high, rel=1e-4, abs=1e-8)


class TestTruth:
    def test_one_in_twenty_simulated_a_a_tests_is_significant(self):
        rng = np.random.default_rng(20_260_301)
        repeats = 20_000
        for n_control, n_variant, share in ((2_000, 2_000, 0.05), (500, 4_000, 0.3), (40, 50, 0.4)):
            found = two_proportions(
                n_control,
                rng.binomial(n_control, share, repeats),
                n_variant,
                rng.binomial(n_variant, share, repeats),
            )
            assert_rate(found.p_value < 0.05, 0.05, slack=0.004)
            assert_rate(found.p_value < 0.5, 0.5, slack=0.02)

        control = simulated_normal(rng, 30, 5, 3, repeats)
        variant = simulated_normal(rng, 12, 5, 1, repeats)
        found = welch(control, variant)
        assert_rate(found.p_value < 0.05, 0.05)
        assert scipy.stats.kstest(found.p_value, "uniform").pvalue > 0.001

    @pytest.mark.parametrize("scale", ["linear", "log"])
    @pytest.mark.parametrize("alpha", [0.05, 0.2])
    def test_intervals_cover_the_true_effects(self, scale, alpha):
        rng = np.random.default_rng(7)
        control = simulated_normal(rng, 3_000, 10, 20, 20_000)
        variant = simulated_normal(rng, 2_000, 11, 30, 20_000)
        found = welch(control, variant, alpha=alpha, lift_scale=scale)
        assert_rate((found.difference_low < 1) & (found.difference_high > 1), 1 - alpha)
        assert_rate((found.lift_low < 0.1) & (found.lift_high > 0.1), 1 - alpha, slack=0.002)

    def test_a_lift_on_few_successes_is_even_handed_on_the_log_scale_alone(self):
        rng = np.random.default_rng(12)
        control, variant = rng.binomial(3_000, 0.015, 20_000), rng.binomial(3_000, 0.0225, 20_000)
        linear, log = (two_proportions(3_000, control, 3_000, variant, lift_scale=scale) for scale in ("linear", "log"))
        assert_rate(log.lift_low > 0.5, 0.025, slack=0.003)
        assert_rate(log.lift_high < 0.5, 0.025, slack=0.003)
        assert ((log.p_value_relative < 0.05) == (log.p_value < 0.05)).mean() > 0.98
        # What the docstring warns of: nearly all of its misses on one side.
        assert (linear.lift_high < 0.5).mean() > 5 * (linear.lift_low > 0.5).mean()

    @pytest.mark.parametrize(
        ("n_control", "n_variant", "share"), [(10, 10, 0.3), (30, 30, 0.2), (28, 30, 0.5), (100, 100, 0.05)]
    )
    def test_small_tests_of_proportions_keep_their_level(self, n_control, n_variant, share):
        """The level is exact: each possible outcome counts with its probability."""
        successes_control, successes_variant = np.meshgrid(
            np.arange(n_control + 1), np.arange(n_variant + 1), indexing="ij"
        )
        probability = scipy.stats.binom.pmf(successes_control, n_control, share) * scipy.stats.binom.pmf(
            successes_variant, n_variant, share
        )
        found = two_proportions(n_control, successes_control, n_variant, successes_variant)
        assert 0.03 < probability[found.p_value < 0.05].sum() < 0.063


def simulated_normal(rng, n, mean, sd, repeats):
    """Moments of `repeats` samples of n normal values, drawn from their own distributions."""
    return Moments(n, rng.normal(mean, sd / np.sqrt(n), repeats), sd**2 * rng.chisquare(n - 1, repeats) / (n - 1))


def assert_rate(hits, rate, slack=0.0):
    """The share of hits is `rate`, within four standard errors (and what the test is not meant to be exact in)."""
    assert hits.mean() == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / hits.size) + slack)


class TestInvariants:
    @given(seeds, st.sampled_from(["linear", "log"]), st.floats(0.001, 0.5))
    def test_an_interval_excludes_zero_exactly_where_its_test_is_significant(self, seed, scale, alpha):
        rng = np.random.default_rng(seed)
        n, mean, variance = rng.integers(2, 2_000, (2, 50)), rng.normal(5, 1, (2, 50)), rng.lognormal(3, 2, (2, 50))
        control, variant = (Moments(n[i], mean[i], variance[i]) for i in range(2))
        found = welch(control, variant, alpha=alpha, lift_scale=scale)
        assert np.array_equal(found.p_value < alpha, (found.difference_low > 0) | (found.difference_high < 0))
        tested = ~np.isnan(found.p_value_relative)
        assert np.array_equal(
            (found.p_value_relative < alpha)[tested], ((found.lift_low > 0) | (found.lift_high < 0))[tested]
        )

    @given(seeds)
    def test_a_row_does_not_depend_on_the_others(self, seed):
        rng = np.random.default_rng(seed)
        n = rng.integers(0, 30, (2, 40))
        successes = rng.integers(0, n + 1)
        together = two_proportions(n[0], successes[0], n[1], successes[1])
        for row in range(40):
            alone = two_proportions(n[0, row], successes[0, row], n[1, row], successes[1, row])
            for name in Comparison.__dataclass_fields__:
                np.testing.assert_allclose(getattr(together, name)[row], getattr(alone, name), rtol=1e-12, atol=1e-14)

    @given(seeds, st.floats(1e-150, 1e150))
    def test_units_of_the_metric_do_not_change_the_test(self, seed, unit):
        rng = np.random.default_rng(seed)
        n, mean, variance = rng.integers(2, 2_000, 2), rng.normal(5, 1, 2), rng.lognormal(0, 1, 2)
        plain = welch(*(Moments(n[i], mean[i], variance[i]) for i in range(2)))
        scaled = welch(*(Moments(n[i], mean[i] * unit, variance[i] * unit * unit) for i in range(2)))
        for name in ("lift", "lift_low", "lift_high", "statistic", "df", "p_value", "p_value_relative"):
            assert getattr(scaled, name) == pytest.approx(float(getattr(plain, name)), rel=1e-6, abs=1e-12)

    def test_a_far_tail_is_small_and_not_zero(self):
        found = welch(Moments(5_000, 0.0, 1.0), Moments(5_000, 0.7, 1.0))
        assert found.statistic == pytest.approx(35)
        assert 0 < found.p_value < 1e-200
        assert found.p_value == pytest.approx(scipy.stats.f.sf(found.statistic**2, 1, found.df), rel=1e-9)

    def test_shapes_broadcast(self):
        found = welch(Moments(100, [[1.0], [2.0]], 1.0), Moments(100, [1.0, 2.0, 3.0], 1.0))
        assert found.p_value.shape == found.lift_low.shape == (2, 3)
        assert welch(Moments([], [], []), Moments(1, 1, 1)).p_value.shape == (0,)


class TestDegenerate:
    def test_untestable_rows_are_nan_without_a_warning_and_leave_the_others_alone(self):
        n = [0, 1, 100, 100, 100, np.nan, 100, 100, 100]
        mean = [np.nan, 1.0, 1.0, 0.0, 1.0, 1.0, np.nan, 1.0, 1.0]
        variance = [np.nan, np.nan, 0.0, 1.0, 1.0, 1.0, 1.0, np.inf, np.nan]
        control = Moments(n, mean, variance)
        variant = Moments(100, 2.0, np.where(np.arange(9) == 2, 0.0, 1.0))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for scale in ("linear", "log"):
                found = welch(control, variant, lift_scale=scale)
                tested = np.array([False, False, False, True, True, False, False, False, False])
                for name in ("statistic", "df", "p_value", "difference_low", "difference_high"):
                    assert np.array_equal(~np.isnan(getattr(found, name)), tested)
                # No lift on a control mean of 0.
                for name in ("lift_low", "lift_high", "p_value_relative"):
                    assert np.array_equal(~np.isnan(getattr(found, name)), tested & (np.arange(9) != 3))
                assert np.isnan(found.lift[3])
                np.testing.assert_array_equal(found.difference, [np.nan, 1, 1, 2, 1, 1, np.nan, 1, 1])

    def test_no_variance_in_one_arm_is_a_test_against_a_constant(self):
        rows = np.array([1.0, 2.0, 4.0, 3.5])
        found = welch(Moments(50, 1.0, 0.0), moments_of(rows))
        theirs = scipy.stats.ttest_1samp(rows, 1.0)
        assert found.df == 3
        assert found.p_value == pytest.approx(theirs.pvalue, rel=1e-12)

    def test_proportions_without_variance_are_nan(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = two_proportions([100, 100, 100, 0, 1], [0, 0, 100, 0, 1], 100, [0, 100, 100, 5, 5])
        assert np.isnan(found.p_value).all()
        np.testing.assert_array_equal(found.difference, [0, 1, 0, np.nan, -0.95])

    def test_the_log_scale_needs_means_of_one_sign(self):
        variance = 0.01
        found = welch(
            Moments(100, [1.0, -1.0, -1.0], variance), Moments(100, [-1.0, 1.0, -2.0], variance), lift_scale="log"
        )
        np.testing.assert_array_equal(np.isnan(found.lift_low), [True, True, False])
        np.testing.assert_array_equal(found.lift, [-2, -2, 1])
        assert not np.isnan(found.p_value).any()


class TestImpossible:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([10, -1], 0, 10, 5), r"n_control at index 1 is -1: a count is finite and not negative"),
            ((10, [5, 11, 12], 10, 5), r"successes_control at index 1 is 11: .* more successes than units"),
            ((10, 5, [[10, 10], [10, 4]], 5), r"successes_variant at index \(1, 1\) is 5"),
            ((10, 5, np.inf, 5), r"n_variant at index 0 is inf"),
            ((10, 5, 10, -5), r"successes_variant at index 0 is -5"),
            (([10, 10], [1, 2, 3], 10, 5), r"n_control \(2,\), successes_control \(3,\)"),
            ((10, "five", 10, 5), r"successes_control must be numbers"),
        ],
    )
    def test_counts_name_their_index(self, arguments, message):
        with pytest.raises(BadInput, match=message):
            two_proportions(*arguments)

    def test_options(self):
        arm = Moments(10, 1, 1)
        with pytest.raises(BadInput, match=r"alpha is 5"):
            welch(arm, arm, alpha=5)
        with pytest.raises(BadInput, match=r"lift_scale is 'ratio'"):
            welch(arm, arm, lift_scale="ratio")
        with pytest.raises(BadInput, match=r"n_control \(2,\), .* n_variant \(3,\)"):
            welch(Moments([1, 2], 1, 1), Moments([1, 2, 3], 1, 1))
