"""One-sided tests, Fieller's interval of the lift and non-inferiority agree with scipy, and keep their promises."""

import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.stats import Moments, noninferiority, two_proportions, welch
from neonblue_lab.stats.distributions import t_quantile

seeds = st.integers(0, 2**32 - 1)
directions = st.sampled_from(["greater", "less"])
scales = st.sampled_from(["linear", "log", "fieller"])


def moments_of(rows):
    return Moments(len(rows), np.mean(rows), np.var(rows, ddof=1))


def two_samples(seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(rng.normal(0, 10), rng.lognormal(), rng.integers(2, 60)) for _ in range(2)]


def many(rng, n, mean, sd, repeats):
    """Moments of `repeats` samples of n normal values, drawn from their own distributions."""
    return Moments(n, rng.normal(mean, sd / np.sqrt(n), repeats), sd**2 * rng.chisquare(n - 1, repeats) / (n - 1))


def assert_rate(hits, rate, slack=0.0):
    assert hits.mean() == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / hits.size) + slack)


class TestOneSided:
    @settings(max_examples=500)
    @given(seeds, directions)
    def test_is_scipys(self, seed, alternative):
        control, variant = two_samples(seed)
        theirs = scipy.stats.ttest_ind(variant, control, equal_var=False, alternative=alternative)
        interval = theirs.confidence_interval(0.9)
        ours = welch(moments_of(control), moments_of(variant), alpha=0.1, alternative=alternative)
        np.testing.assert_allclose(
            [ours.statistic, ours.df, ours.p_value, ours.difference_low, ours.difference_high],
            [theirs.statistic, theirs.df, theirs.pvalue, interval.low, interval.high],
            rtol=1e-8,
            atol=1e-12,
        )

    @given(seeds, directions, scales, st.floats(0.001, 0.5))
    def test_an_interval_excludes_zero_exactly_where_its_test_is_significant(self, seed, alternative, scale, alpha):
        rng = np.random.default_rng(seed)
        sign = rng.choice([-1.0, 1.0], 50)
        n, mean, variance = rng.integers(2, 2_000, (2, 50)), rng.normal(5, 1, (2, 50)), rng.lognormal(3, 2, (2, 50))
        control, variant = (Moments(n[i], sign * mean[i], variance[i]) for i in range(2))
        found = welch(control, variant, alpha=alpha, alternative=alternative, lift_scale=scale)
        excludes = (found.difference_low > 0) | (found.difference_high < 0)
        np.testing.assert_array_equal(found.p_value < alpha, excludes)
        tested = np.isfinite(found.lift_low) | np.isfinite(found.lift_high)
        excludes = (found.lift_low > 0) | (found.lift_high < 0)
        np.testing.assert_array_equal((found.p_value_relative < alpha)[tested], excludes[tested])

    @given(seeds, scales)
    def test_the_two_directions_share_what_a_two_sided_test_has(self, seed, scale):
        control, variant = (moments_of(rows) for rows in two_samples(seed))
        both, up, down = (
            welch(control, variant, alpha=alpha, alternative=alternative, lift_scale=scale)
            for alpha, alternative in ((0.1, "two-sided"), (0.05, "greater"), (0.05, "less"))
        )
        assert up.p_value + down.p_value == pytest.approx(1)
        assert both.p_value == pytest.approx(float(2 * min(up.p_value, down.p_value)), rel=1e-9)
        assert (both.difference_low, both.difference_high) == (up.difference_low, down.difference_high)
        first, last = (up, down) if control.mean > 0 else (down, up)
        np.testing.assert_allclose([first.lift_low, last.lift_high], [both.lift_low, both.lift_high], rtol=1e-9)

    def test_on_a_negative_control_mean_the_lift_is_bounded_at_the_other_end(self):
        for scale, low in (("linear", -np.inf), ("log", -1.0), ("fieller", -np.inf)):
            found = welch(Moments(100, -2.0, 1), Moments(100, -1.0, 1), alternative="greater", lift_scale=scale)
            assert found.difference == 1
            assert 0 < found.difference_low < 1
            assert found.difference_high == np.inf
            assert found.lift == -0.5
            assert found.lift_low == low
            assert -0.5 < found.lift_high < 0
            assert found.p_value < 0.001
            assert found.p_value_relative < 0.001

    def test_proportions(self):
        plain = two_proportions(1_000, 100, 1_000, 130)
        one_sided = two_proportions(1_000, 100, 1_000, 130, alternative="greater")
        assert one_sided.p_value == pytest.approx(plain.p_value / 2)
        everyone = two_proportions([50, 50], [50, 0], 50, 50, alternative="greater")
        assert np.isnan([everyone.p_value, everyone.difference_high, everyone.lift_high]).all()

    def test_a_far_tail_is_small_and_not_zero(self):
        found = welch(Moments(5_000, 0.0, 1.0), Moments(5_000, 0.7, 1.0), alternative="greater")
        assert 0 < found.p_value < 1e-200
        assert welch(Moments(5_000, 0.0, 1.0), Moments(5_000, 0.7, 1.0), alternative="less").p_value == 1


class TestFieller:
    @settings(max_examples=500)
    @given(seeds)
    def test_its_ends_are_the_lifts_that_a_t_test_just_rejects(self, seed):
        """Each end scales the control so that scipy's standard error of the contrast gives the critical value."""
        control, variant = two_samples(seed)
        found = welch(moments_of(control), moments_of(variant), lift_scale="fieller")
        critical = scipy.stats.t.isf(0.025, found.df)
        told_from_0 = abs(control.mean()) > critical * scipy.stats.sem(control)
        assert np.isfinite(found.lift_low) == np.isfinite(found.lift_high) == told_from_0
        if told_from_0:
            for end in (found.lift_low, found.lift_high):
                contrast = scipy.stats.ttest_ind(variant, (1 + end) * control, equal_var=False)
                assert abs(contrast.statistic) == pytest.approx(critical, rel=1e-7)
            assert found.lift_low < found.lift < found.lift_high
        assert found.p_value_relative == found.p_value

    def test_it_is_the_delta_interval_where_the_control_is_far_from_zero(self):
        arms = Moments(10_000, 50.0, 4.0), Moments(10_000, 51.0, 5.0)
        linear, fieller = (welch(*arms, lift_scale=scale) for scale in ("linear", "fieller"))
        np.testing.assert_allclose(
            [fieller.lift_low, fieller.lift_high], [linear.lift_low, linear.lift_high], rtol=1e-4
        )

    @pytest.mark.parametrize("mean", [0.01, 0.1, 0.3, 3.0])
    def test_it_covers_however_near_zero_the_control_is(self, mean):
        rng = np.random.default_rng(51)
        control, variant = many(rng, 200, mean, 1, 20_000), many(rng, 100, 1.5 * mean, 1, 20_000)
        found = welch(control, variant, lift_scale="fieller")
        covered = (found.lift_low < 0.5) & (found.lift_high > 0.5)
        bounded = np.isfinite(found.lift_low)
        assert covered[~bounded].all()
        if mean >= 0.3:
            assert_rate(covered, 0.95, slack=0.004)
        else:
            assert covered.mean() >= 0.95 - 0.007
            assert bounded.mean() < 0.5

    def test_a_mean_of_1e9_keeps_the_digits_of_a_small_lift(self):
        found = welch(Moments(400, 1e9, 1.0), Moments(400, 1e9 + 0.5, 1.0), lift_scale="fieller")
        half = (found.difference_high - found.difference_low) / 2e9
        assert found.lift_low == pytest.approx(5e-10 - half, rel=1e-6)
        assert found.lift_high == pytest.approx(5e-10 + half, rel=1e-6)

    def test_a_control_mean_of_zero_has_no_lift(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = welch(Moments([9, 9, 0], [0.0, 0.1, 0], 1), Moments(9, 2.0, 1), lift_scale="fieller")
        np.testing.assert_array_equal(found.lift_low, [np.nan, -np.inf, np.nan])
        np.testing.assert_array_equal(found.lift_high, [np.nan, np.inf, np.nan])
        np.testing.assert_array_equal(np.isnan(found.p_value_relative), [True, False, True])


class TestNonInferiority:
    @settings(max_examples=500)
    @given(seeds, st.sampled_from(["higher", "lower"]), st.sampled_from([0.0, 0.05, 0.8, 3.0]))
    def test_is_scipys_test_of_the_shifted_or_scaled_control(self, seed, better, margin):
        control, variant = two_samples(seed)
        worse = -1 if better == "higher" else 1
        direction = "greater" if better == "higher" else "less"
        shifted = scipy.stats.ttest_ind(variant, control + worse * margin, equal_var=False, alternative=direction)
        by = 1 + worse * np.sign(control.mean()) * margin
        scaled = scipy.stats.ttest_ind(variant, by * control, equal_var=False, alternative=direction)
        arms = moments_of(control), moments_of(variant)
        for margin_of, theirs in (("difference", shifted), ("lift", scaled)):
            ours = noninferiority(*arms, margin=margin, better=better, margin_of=margin_of)
            np.testing.assert_allclose(
                [ours.statistic, ours.df, ours.p_value],
                [-worse * theirs.statistic, theirs.df, theirs.pvalue],
                rtol=1e-8,
                atol=1e-12,
            )

    @given(seeds, st.sampled_from(["higher", "lower"]), st.sampled_from(["lift", "difference"]), st.floats(0.001, 0.4))
    def test_its_interval_lies_above_the_margin_exactly_where_it_is_significant(self, seed, better, margin_of, alpha):
        rng = np.random.default_rng(seed)
        n, variance = rng.integers(2, 2_000, (2, 50)), rng.lognormal(2, 2, (2, 50))
        mean = rng.choice([-1.0, 1.0], 50) * rng.normal(5, 1, (2, 50))
        arms = (Moments(n[i], mean[i], variance[i]) for i in range(2))
        margin = rng.exponential(0.3, 50)
        found = noninferiority(*arms, margin=margin, better=better, margin_of=margin_of, alpha=alpha)
        bounded = np.isfinite(found.improvement_low)
        np.testing.assert_array_equal((found.p_value < alpha)[bounded], (found.improvement_low > -margin)[bounded])
        assert (found.improvement_low < found.improvement)[bounded].all()

    def test_without_a_margin_it_is_the_one_sided_test(self):
        control, variant = Moments(500, [2.0, -2.0], 4.0), Moments(700, [2.2, -1.8], 5.0)
        for better, alternative in (("higher", "greater"), ("lower", "less")):
            plain = welch(control, variant, alternative=alternative)
            for margin_of in ("lift", "difference"):
                found = noninferiority(control, variant, margin=0, better=better, margin_of=margin_of)
                np.testing.assert_allclose(found.p_value, plain.p_value, rtol=1e-9)

    @pytest.mark.parametrize("better", ["higher", "lower"])
    def test_a_variant_worse_by_just_the_margin_passes_one_time_in_twenty(self, better):
        rng = np.random.default_rng(52)
        worse = 0.98 if better == "higher" else 1.02
        control, variant = many(rng, 900, 10, 3, 20_000), many(rng, 400, 10 * worse, 2, 20_000)
        assert_rate(noninferiority(control, variant, margin=0.02, better=better).p_value < 0.05, 0.05, slack=0.002)
        equal = noninferiority(control, many(rng, 400, 10, 2, 20_000), margin=0.05, better=better)
        assert (equal.p_value < 0.05).mean() > 0.9

    def test_untestable_rows_are_nan_without_a_warning(self):
        control = Moments([1, 50, 50, 50, 50], [1, 0, 1, np.nan, 1], [1, 1, 0, 1, 1])
        variant = Moments(50, 1.0, [1, 1, 0, 1, 1])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            relative = noninferiority(control, variant, margin=[0.1] * 4 + [np.nan])
            absolute = noninferiority(control, variant, margin=0.1, margin_of="difference")
        assert np.isnan([relative.p_value, relative.improvement_low]).all()
        np.testing.assert_array_equal(~np.isnan(absolute.p_value), [False, True, False, False, True])
        np.testing.assert_array_equal(~np.isnan(absolute.improvement_low), [False, True, False, False, True])

    def test_shapes_broadcast(self):
        found = noninferiority(Moments(50, 1, 1), Moments(50, [1, 2], 1), margin=[[0.1], [0.2], [0.3]])
        assert found.p_value.shape == found.improvement.shape == found.improvement_low.shape == (3, 2)
        scalar = noninferiority(Moments(50, 1, 1), Moments(50, 1, 1), margin=[0.1, 0.2], margin_of="difference")
        assert scalar.p_value.shape == scalar.improvement.shape == scalar.improvement_low.shape == (2,)
        with pytest.raises(BadInput, match=r"margin \(3,\), arms \(2,\)"):
            noninferiority(Moments(50, 1, 1), Moments(50, [1, 2], 1), margin=[0.1, 0.2, 0.3])


def test_heavy_tails_make_the_test_cautious_and_not_wrong():
    """Simulated Pareto values without a variance."""
    rng = np.random.default_rng(53)
    control, variant = (rng.pareto(1.3, (4_000, 300)) for _ in range(2))
    arms = [Moments(300, rows.mean(axis=1), rows.var(axis=1, ddof=1)) for rows in (control, variant)]
    for alternative in ("two-sided", "greater", "less"):
        p = welch(*arms, alternative=alternative).p_value
        assert np.isfinite(p).all()
        assert (p < 0.05).mean() < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 4_000)


def test_a_constant_metric_that_rounding_makes_vary_is_not_tested():
    """0.1 in all of a million units, as an engine's running mean and variance may have it."""
    control, variant = Moments(1_000_000, 0.1, 2e-34), Moments(1_000_000, 0.1 + 2e-17, 3e-34)
    assert np.isnan(welch(control, variant).p_value)
    assert np.isnan(noninferiority(control, variant, margin=0.01).p_value)
    far_from_zero = Moments(1_000_000, [1e9, 1e9 + 1], 1.0)
    assert welch(Moments(1_000_000, 1e9, 1.0), far_from_zero).p_value[1] < 1e-300


def test_thousands_of_arms_against_one_control():
    rng = np.random.default_rng(54)
    found = welch(Moments([900], [1.0], [1.0]), many(rng, 300, 1.0, 1, 5_000), lift_scale="fieller")
    assert found.lift_low.shape == (5_000,)
    assert np.isfinite(found.lift_low).all()


@pytest.mark.parametrize("alpha", [0.9, 0.05, 0.01, 1e-4, 2e-6])
def test_the_critical_value_is_scipys_at_all_degrees_of_freedom(alpha):
    df = np.append(np.geomspace(1, 1e12, 400), [1_999.9, 2_000.0, 2_000.1])
    np.testing.assert_allclose(t_quantile(1 - alpha / 2, df), scipy.stats.t.ppf(1 - alpha / 2, df), rtol=1e-11)
    np.testing.assert_array_equal(t_quantile(0.975, np.array([np.nan, 0.0])), [np.nan, np.nan])


@pytest.mark.parametrize(
    ("test", "options", "message"),
    [
        (welch, {"alternative": "bigger"}, "alternative is 'bigger': it must be one of two-sided, greater, less"),
        (welch, {"lift_scale": "ratio"}, "lift_scale is 'ratio': it must be one of linear, log, fieller"),
        (noninferiority, {"margin": -0.1}, r"margin at index 0 is -0\.1: a margin is finite and not negative"),
        (noninferiority, {"margin": [0, np.inf]}, "margin at index 1 is inf"),
        (noninferiority, {"margin": 0.1, "better": "up"}, "better is 'up': it must be one of higher, lower"),
        (noninferiority, {"margin": 0.1, "margin_of": "mean"}, "margin_of is 'mean': it must be one of lift"),
        (noninferiority, {"margin": 0.1, "alpha": 1.0}, r"alpha is 1\.0"),
        (noninferiority, {"margin": "2 %"}, "margin must be numbers"),
    ],
)
def test_impossible_options(test, options, message):
    with pytest.raises(BadInput, match=message):
        test(Moments(10, 1, 1), Moments(10, 1, 1), **options)
