"""The omnibus tests agree with scipy and statsmodels experiment by experiment, with Welch's test, and the truth."""

import warnings

import numpy as np
import polars as pl
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.oneway import anova_oneway

from neonblue_lab.errors import BadInput
from neonblue_lab.stats import Moments, homogeneity, welch, welch_anova

seeds = st.integers(0, 2**32 - 1)


@given(seeds)
def test_homogeneity_is_scipys_for_each_experiment(seed):
    rng = np.random.default_rng(seed)
    index = rng.permutation(np.repeat(np.arange(10), rng.integers(2, 7, 10)))
    n = rng.integers(20, 5_000, index.size)
    successes = rng.integers(1, n - 1)
    found = homogeneity(index, n, successes)
    for experiment in range(10):
        rows = index == experiment
        table = [successes[rows], n[rows] - successes[rows]]
        theirs = scipy.stats.chi2_contingency(table, correction=False)
        assert found.df[experiment] == theirs.dof
        assert found.statistic[experiment] == pytest.approx(theirs.statistic, rel=1e-9, abs=1e-12)
        assert found.p_value[experiment] == pytest.approx(theirs.pvalue, rel=1e-8)


@given(seeds)
def test_welch_anova_is_statsmodels_for_each_experiment(seed):
    rng = np.random.default_rng(seed)
    index = rng.permutation(np.repeat(np.arange(6), rng.integers(2, 7, 6)))
    samples = [rng.normal(rng.normal(), rng.lognormal(), rng.integers(3, 40)) for _ in index]
    variants = Moments(
        [len(rows) for rows in samples],
        [rows.mean() for rows in samples],
        [rows.var(ddof=1) for rows in samples],
    )
    found = welch_anova(index, variants)
    for experiment in range(6):
        theirs = anova_oneway([samples[row] for row in np.flatnonzero(index == experiment)], use_var="unequal")
        np.testing.assert_allclose(
            [values[experiment] for values in (found.statistic, found.df_between, found.df_within, found.p_value)],
            [theirs.statistic, theirs.df_num, theirs.df_denom, theirs.pvalue],
            rtol=1e-8,
        )


@given(seeds)
def test_of_two_variants_it_is_welchs_test(seed):
    rng = np.random.default_rng(seed)
    variants = Moments(rng.integers(2, 100, 40), rng.normal(1e6, 1, 40), rng.lognormal(0, 2, 40))
    control, variant = (Moments(variants.n[i::2], variants.mean[i::2], variants.variance[i::2]) for i in range(2))
    pairs, found = welch(control, variant), welch_anova(np.repeat(np.arange(20), 2), variants)
    np.testing.assert_allclose(found.statistic, pairs.statistic**2, rtol=1e-6)
    np.testing.assert_allclose(found.df_within, pairs.df, rtol=1e-9)
    np.testing.assert_allclose(found.p_value, pairs.p_value, rtol=1e-6)


def test_a_mean_of_1e9_with_spread_1_keeps_its_test():
    rng = np.random.default_rng(5)
    n, mean, variance = rng.integers(50, 100, 4), rng.integers(-512, 512, 4) / 1024, rng.lognormal(0, 0.1, 4)
    near, far = (welch_anova([0] * 4, Moments(n, centre + mean, variance)) for centre in (0.0, 1e9))
    assert far.p_value[0] == pytest.approx(near.p_value[0], rel=1e-6)


def test_one_in_twenty_simulated_a_a_tests_is_significant():
    rng = np.random.default_rng(11)
    experiments, arms = 20_000, 5
    index = np.repeat(np.arange(experiments), arms)
    n = np.tile([200, 500, 100, 300, 400], experiments)
    sd = np.tile([1.0, 2.0, 4.0, 1.0, 3.0], experiments)
    variants = Moments(n, rng.normal(0, sd / np.sqrt(n)), sd**2 * rng.chisquare(n - 1) / (n - 1))
    assert (welch_anova(index, variants).p_value < 0.05).mean() == pytest.approx(0.05, abs=0.0065)
    found = homogeneity(index, n, rng.binomial(n, 0.2))
    assert (found.p_value < 0.05).mean() == pytest.approx(0.05, abs=0.0065)


def test_experiments_without_anything_to_test_are_nan():
    index = [0, 1, 1, 2, 2, 3, 3, 4, 4, 6, 6, 6]
    n = [9, 9, 9, 9, 9, 9, 0, 9, np.nan, 9, 9, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        counted = homogeneity(index, n, [3, 0, 0, 9, 9, 3, 0, 4, 5, 4, 5, 0], n_experiments=8)
        measured = welch_anova(index, Moments(n, 1.0, [1, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1]), n_experiments=8)
    for found in (counted, measured):
        np.testing.assert_array_equal(~np.isnan(found.statistic), np.arange(8) == 6)
        np.testing.assert_array_equal(~np.isnan(found.p_value), np.arange(8) == 6)
    assert counted.df[6] == measured.df_between[6] == 1


def test_a_variant_of_one_unit_makes_its_experiment_nan():
    assert np.isnan(welch_anova([0, 0, 0], Moments([9, 9, 1], [1, 2, 3], 1)).p_value[0])


@pytest.mark.parametrize(
    ("n", "successes", "message"),
    [
        ([5, -5], [1, 1], "n at index 1 is -5"),
        ([5, 5], [1, -1], "successes at index 1 is -1"),
        ([5, 5], [6, 1], "successes at index 0 is 6: there cannot be more successes than units"),
    ],
)
def test_impossible_input_names_its_index(n, successes, message):
    with pytest.raises(BadInput, match=message):
        homogeneity([0, 0], n, successes)


def test_clicks_differ_in_45_percent_of_the_upworthy_tests(dataset):
    arms = pl.read_parquet(dataset("upworthy_exploratory.parquet"))
    experiment = arms["clickability_test_id"].rank("dense").cast(pl.Int64) - 1
    found = homogeneity(experiment, arms["impressions"], arms["clicks"])
    assert arms["impressions"].sum() == 81_024_151
    assert arms["clicks"].sum() == 1_231_208
    assert 100 * (found.p_value < 0.05).mean() == pytest.approx(45.2, abs=0.05)
