"""Ratios of means and CUPED agree with published numbers and tea-tasting from the same rows, and keep their promises."""

import warnings

import numpy as np
import polars as pl
import pytest
import tea_tasting as tt
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.api import OLS, add_constant
from tea_tasting.aggr import read_aggregates

from neonblue_lab.errors import BadInput
from neonblue_lab.stats import JointMoments, linearised, welch
from neonblue_lab.stats.cuped import adjusted, theta

seeds = st.integers(0, 2**32 - 1)


def of_units(units):
    """Joint moments of the units of one arm: a mapping of columns."""
    names = tuple(units)
    covariance = np.cov(list(units.values())).reshape(len(names), -1)
    return JointMoments(names, len(units["y"]), [np.mean(values) for values in units.values()], covariance)


def simulated(rng, n, columns, lift=0.0):
    """Orders (y) in sessions (d) of n users, and both of the time before (x, w)."""
    eagerness = rng.gamma(2.0, 1.0, n)
    drawn = {
        "d": 1.0 + rng.poisson(3 * eagerness),
        "w": 1.0 + rng.poisson(2 * eagerness),
    }
    drawn["y"] = rng.poisson(0.4 * (1 + lift) * drawn["d"]) + rng.exponential(0.1, n)
    drawn["x"] = rng.poisson(0.4 * drawn["w"]) + rng.exponential(0.1, n)
    return {name: drawn[name] for name in columns}


def from_oracle(arm):
    n = arm["n"]
    y, x = arm["sum"] / n, arm["covariate_sum"] / n
    return JointMoments.of(
        n,
        {"y": y, "x": x},
        {
            "yy": (arm["sum_squares"] - n * y * y) / (n - 1),
            "xx": (arm["covariate_sum_squares"] - n * x * x) / (n - 1),
            "yx": (arm["cross"] - n * y * x) / (n - 1),
        },
    )


def test_the_published_cuped_case(oracle):
    case = oracle("two_sample", "cuped")
    arms = [from_oracle(case[arm]) for arm in ("control", "variant")]
    found = adjusted(*arms)
    test = welch(found.control, found.variant)
    np.testing.assert_allclose(theta(*arms), case["theta_pooled"], atol=5e-11)
    np.testing.assert_allclose(
        [test.difference, test.difference_low, test.difference_high, test.p_value],
        [case["difference"], *case["ci95"], case["p"]],
        atol=1e-9,
    )


@pytest.mark.parametrize("columns", ["y", "yd", "yx", "ydx", "yxw", "ydxw"])
@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@settings(max_examples=170)
@given(seed=seeds)
def test_means_ratios_and_cuped_are_tea_tastings(columns, alternative, seed):
    """From the same rows, which tea-tasting aggregates itself. Its lift is on the log scale, whose lower end of a test
    for "less" it calls -inf where ours is -100 %: a ratio of means has no logarithm below."""
    rng = np.random.default_rng(seed)
    arms = [simulated(rng, rng.integers(5, 80), columns, lift) for lift in (0.0, rng.uniform(-0.5, 0.8))]
    metric = tt.RatioOfMeans(*(name if name in columns else None for name in "ydxw"), alternative=alternative)
    rows = pl.concat([pl.DataFrame(units).with_columns(arm=pl.lit(i)) for i, units in enumerate(arms)])
    aggregates = read_aggregates(rows, "arm", **metric.aggr_cols._asdict())
    theirs = metric.analyze_aggregates(aggregates[0], aggregates[1])

    control, variant = (of_units(units) for units in arms)
    if "x" in columns:
        control, variant, _ = adjusted(control, variant)
    else:
        control, variant = linearised(control), linearised(variant)
    ours = welch(control, variant, alternative=alternative, lift_scale="log")
    rel_low = -1.0 if alternative == "less" else theirs.rel_effect_size_ci_lower
    np.testing.assert_allclose(
        [control.mean, variant.mean, ours.difference, ours.difference_low, ours.difference_high],
        [
            theirs.control,
            theirs.treatment,
            theirs.effect_size,
            theirs.effect_size_ci_lower,
            theirs.effect_size_ci_upper,
        ],
        rtol=1e-8,
        atol=1e-12,
    )
    np.testing.assert_allclose([ours.statistic, ours.p_value], [theirs.statistic, theirs.pvalue], rtol=1e-8, atol=1e-14)
    # CUPED may take the mean of a handful of users below 0.
    if theirs.control > 0 and theirs.treatment > 0:
        np.testing.assert_allclose(
            [ours.lift, ours.lift_low, ours.lift_high],
            [theirs.rel_effect_size, rel_low, theirs.rel_effect_size_ci_upper],
            rtol=1e-8,
            atol=1e-10,
        )


@settings(max_examples=500)
@given(seed=seeds)
def test_theta_is_the_slope_of_statsmodels_regression_over_both_arms(seed):
    rng = np.random.default_rng(seed)
    arms = [simulated(rng, rng.integers(5, 80), "yx") for _ in range(2)]
    y, x = (np.concatenate([units[name] for units in arms]) for name in "yx")
    slope = OLS(y, add_constant(x)).fit().params[1]
    np.testing.assert_allclose(theta(*(of_units(units) for units in arms)), slope, rtol=1e-8, atol=1e-12)


def many(rng, repeats, n, columns, lift=0.0):
    """Joint moments of `repeats` simulated arms."""
    units = simulated(rng, repeats * n, columns, lift)
    values = np.stack([units[name].reshape(repeats, n) for name in columns], axis=-1)
    centred = values - values.mean(axis=1, keepdims=True)
    covariance = np.einsum("rni,rnj->rij", centred, centred) / (n - 1)
    return JointMoments(tuple(columns), n, values.mean(axis=1), covariance)


class TestTruth:
    """Ratios and regression on simulated users, whose sessions are not independent of each other."""

    @pytest.mark.parametrize("columns", ["yd", "yx", "ydxw"])
    def test_one_in_twenty_a_a_tests_is_significant_and_intervals_cover(self, columns):
        rng = np.random.default_rng(31)
        repeats, n = 4_000, 400
        control, variant = (many(rng, repeats, n, columns) for _ in range(2))
        if "x" in columns:
            control, variant, _ = adjusted(control, variant)
        else:
            control, variant = linearised(control), linearised(variant)
        found = welch(control, variant)
        assert (found.p_value < 0.05).mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / repeats))

    def test_the_variance_removed_is_the_squared_correlation(self):
        rng = np.random.default_rng(32)
        for rho in (0.0, 0.3, 0.7, 0.95):
            normal = rng.normal(size=(2, 2, 20_000))
            arms = [of_units({"y": rho * x + np.sqrt(1 - rho**2) * e, "x": x}) for x, e in normal]
            gain = adjusted(*arms).gain
            assert gain == pytest.approx(rho**2, abs=4 * 2 * rho * (1 - rho**2) / np.sqrt(40_000) + 1e-3)

    def test_a_true_lift_survives_the_adjustment_with_less_noise(self):
        rng = np.random.default_rng(33)
        control, variant = many(rng, 2_000, 300, "ydxw"), many(rng, 2_000, 300, "ydxw", lift=0.1)
        found = adjusted(control, variant)
        plain, after = welch(linearised(control), linearised(variant)), welch(found.control, found.variant)
        for test in (plain, after):
            covered = (test.difference_low < 0.04) & (test.difference_high > 0.04)
            assert covered.mean() == pytest.approx(0.95, abs=0.02)
        assert found.gain.mean() == pytest.approx(1 - np.var(after.difference) / np.var(plain.difference), abs=0.05)


class TestInvariants:
    @given(seed=seeds)
    def test_an_arms_row_does_not_depend_on_the_others_and_one_control_serves_many_variants(self, seed):
        rng = np.random.default_rng(seed)
        control = many(rng, 1, 30, "ydxw")
        variants = many(rng, 7, 25, "ydxw")
        together = adjusted(control, variants)
        assert together.control.mean.shape == together.gain.shape == (7,)
        for row in range(7):
            one = JointMoments(variants.columns, 25, variants.mean[row], variants.covariance[row])
            alone = adjusted(control, one)
            np.testing.assert_allclose(together.variant.mean[row], alone.variant.mean[0], rtol=1e-12)
            np.testing.assert_allclose(together.control.variance[row], alone.control.variance[0], rtol=1e-9)

    @given(seed=seeds, unit=st.floats(1e-6, 1e6), shift=st.sampled_from([0.0, 5.0, -1e3]))
    def test_units_and_origin_of_the_covariate_do_not_matter(self, seed, unit, shift):
        rng = np.random.default_rng(seed)
        arms = [simulated(rng, 40, "yx") for _ in range(2)]
        plain = adjusted(*(of_units(arm) for arm in arms))
        other = adjusted(*(of_units({"y": arm["y"], "x": unit * (arm["x"] + shift)}) for arm in arms))
        np.testing.assert_allclose(other.gain, plain.gain, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(other.control.mean, plain.control.mean, rtol=1e-9)

    @given(seed=seeds)
    def test_means_of_1e9_keep_their_digits(self, seed):
        """The ratio of two means of 1e9 with a spread of 1, against the same ratio computed about the means."""
        rng = np.random.default_rng(seed)
        y, d = rng.integers(-2048, 2048, (2, 50)) / 1024
        found = linearised(of_units({"y": 1e9 + y, "d": 1e9 + d}))
        residual = (y - y.mean()) - (1e9 + y.mean()) / (1e9 + d.mean()) * (d - d.mean())
        np.testing.assert_allclose(found.variance, residual.var(ddof=1) / (1e9 + d.mean()) ** 2, rtol=1e-6)

    def test_thousands_of_arms(self):
        rng = np.random.default_rng(8)
        found = adjusted(many(rng, 1, 200, "yx"), many(rng, 5_000, 40, "yx"))
        p = welch(found.control, found.variant).p_value
        assert p.shape == (5_000,)
        assert not np.isnan(p).any()


class TestDegenerate:
    def test_untestable_rows_are_nan_without_a_warning(self):
        n = [0, 1, 2, 100, np.nan, 100, 100]
        mean = np.array([[1.0, 2.0]] * 7)
        mean[5, 0], mean[6, 1] = np.nan, np.inf
        control = JointMoments(("y", "x"), n, mean, [[2.0, 1.0], [1.0, 2.0]])
        variant = JointMoments(("y", "x"), 50, [1.5, 2.0], [[2.0, 1.0], [1.0, 2.0]])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = adjusted(control, variant)
            p = welch(found.control, found.variant).p_value
        np.testing.assert_array_equal(~np.isnan(p), [False, False, True, True, False, False, False])
        np.testing.assert_array_equal(~np.isnan(found.gain), [False, False, True, True, False, False, False])

    def test_a_covariate_that_does_not_vary_changes_nothing(self):
        rng = np.random.default_rng(4)
        arms = [of_units({"y": rng.normal(size=30), "x": np.full(30, 7.0)}) for _ in range(2)]
        found = adjusted(*arms)
        assert found.gain == 0
        assert theta(*arms) == 0
        noisy = JointMoments(("y", "x"), 30, [2.0, 0.1], [[1.0, 1e-18], [1e-18, 3e-34]])
        shifted = JointMoments(("y", "x"), 30, [2.0, 0.1 + 2e-17], noisy.covariance)
        assert theta(noisy, shifted) == adjusted(noisy, shifted).gain == 0
        np.testing.assert_array_equal(found.variant.mean, arms[1].moments().mean)

    def test_a_covariate_that_says_all_leaves_no_variance_and_no_test(self):
        x = np.arange(30.0)
        found = adjusted(of_units({"y": 2 * x, "x": x}), of_units({"y": 2 * x, "x": x}))
        assert found.gain == 1
        assert np.isnan(welch(found.control, found.variant).p_value)

    def test_a_ratio_that_is_the_same_for_every_unit_has_no_variance(self):
        d = np.random.default_rng(5).lognormal(0, 1, 50)
        arms = [linearised(of_units({"y": share * d, "d": d})) for share in (0.3, 0.31)]
        assert arms[0].variance == arms[1].variance == 0
        assert np.isnan(welch(*arms).p_value)

    def test_a_metric_that_does_not_vary(self):
        x = np.arange(30.0)
        found = adjusted(of_units({"y": np.ones(30), "x": x}), of_units({"y": np.ones(30), "x": x}))
        assert np.isnan(found.gain)
        assert np.isnan(welch(found.control, found.variant).p_value)

    def test_a_ratio_without_denominators_is_nan(self):
        joint = JointMoments(("y", "d"), 9, [[1.0, 0.0], [1.0, -2.0], [0.0, 2.0]], [[1.0, 0.2], [0.2, 1.0]])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = linearised(joint)
        np.testing.assert_array_equal(found.mean, [np.nan, -0.5, 0.0])
        np.testing.assert_allclose(found.variance, [np.nan, (1 + 0.2 + 0.25) / 4, 0.25])

    def test_an_unknown_covariate_leaves_the_plain_metric_alone(self):
        joint = JointMoments(("y", "x"), 9, [1.0, np.nan], [[1.0, np.nan], [np.nan, np.nan]])
        assert linearised(joint).variance == 1.0
        assert np.isnan(adjusted(joint, joint).control.variance)

    def test_without_a_covariate(self):
        arm = of_units(simulated(np.random.default_rng(1), 9, "yd"))
        with pytest.raises(BadInput, match="CUPED needs a column x, the covariate: there are y, d"):
            adjusted(arm, arm)
