"""The sample-ratio check agrees with published numbers and scipy, and finds the broken block of real experiments."""

import warnings

import numpy as np
import polars as pl
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.stats import sample_ratio, sample_ratio_exact

seeds = st.integers(0, 2**32 - 1)


def test_the_published_chi_squared_test(oracle):
    case = oracle("sample_ratio", "chi_squared")
    found = sample_ratio([0, 0], case["observed"], case["expected"])
    assert found.df[0] == 1
    assert found.p_value[0] == pytest.approx(case["p"], abs=0.5e-9)


def test_the_published_binomial_and_z_tests(oracle):
    case = oracle("sample_ratio", "binomial_and_z")
    exact = sample_ratio_exact(case["observed"][0], sum(case["observed"]), case["expected"][0])
    assert exact == pytest.approx(case["p_binomial"], abs=0.5e-10)
    # A chi-squared test of two variants is the z-test of one's share.
    assert sample_ratio([0, 0], case["observed"], case["expected"]).p_value[0] == pytest.approx(
        case["p_z"], abs=0.5e-10
    )


@given(seeds)
def test_chi_squared_is_scipys_for_each_experiment(seed):
    rng = np.random.default_rng(seed)
    variants = rng.integers(2, 7, 12)
    index = rng.permutation(np.repeat(np.arange(12), variants))
    observed, allocation = rng.integers(1, 5_000, index.size), rng.uniform(0.1, 3, index.size)
    found = sample_ratio(index, observed, allocation)
    for experiment in range(12):
        rows = index == experiment
        expected = observed[rows].sum() * allocation[rows] / allocation[rows].sum()
        theirs = scipy.stats.chisquare(observed[rows], expected)
        assert found.df[experiment] == rows.sum() - 1
        assert found.statistic[experiment] == pytest.approx(theirs.statistic, rel=1e-9)
        assert found.p_value[experiment] == pytest.approx(theirs.pvalue, rel=1e-8)


def test_one_in_twenty_simulated_even_splits_is_below_005():
    rng = np.random.default_rng(3)
    counts = rng.multinomial(2_000, [0.5, 0.3, 0.2], 20_000)
    found = sample_ratio(np.repeat(np.arange(20_000), 3), counts.ravel(), np.tile([5, 3, 2], 20_000))
    assert (found.p_value < 0.05).mean() == pytest.approx(0.05, abs=0.0065)
    assert (found.p_value < 0.001).mean() == pytest.approx(0.001, abs=0.001)


def test_a_far_tail_is_small_and_not_zero():
    assert 0 < sample_ratio([0, 0], [5_000, 6_200], [1, 1]).p_value[0] < 1e-28


def test_experiments_without_anything_to_test_are_nan():
    index = [0, 1, 1, 2, 2, 3, 3, 5, 5, 6, 6, 7, 7]
    observed = [9, 0, 0, 5, np.nan, 5, 6, 5, 6, 5, 0, 5, 1]
    allocation = [1, 1, 1, 1, 1, 1, np.nan, 0, 0, 1, 0, 1, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sample_ratio(index, observed, allocation, n_experiments=9)
    assert np.isnan(found.p_value[[0, 1, 2, 3, 4, 5, 6, 8]]).all()
    assert np.isnan(found.statistic[[0, 1, 2, 3, 4, 5, 6, 8]]).all()
    # One variant was meant to get everyone, and another got someone.
    assert found.p_value[7] == 0


def test_units_in_a_variant_that_should_get_none_are_a_mismatch():
    found = sample_ratio([0, 0, 0, 1, 1, 1], [50, 50, 1, 50, 50, 0], [1, 1, 0, 1, 1, 0])
    np.testing.assert_array_equal(found.p_value, [0, 1])
    np.testing.assert_array_equal(found.df, [1, 1])


@pytest.mark.parametrize(
    ("observed", "allocation", "message"),
    [
        ([1, -1], [1, 1], "observed at index 1 is -1"),
        ([1, 1], [-0.5, 1], r"allocation at index 0 is -0\.5"),
        ([1, 1], [1], r"allocation has shape \(1,\), and there are 2 rows"),
    ],
)
def test_impossible_input_names_its_index(observed, allocation, message):
    with pytest.raises(BadInput, match=message):
        sample_ratio([0, 0], observed, allocation)


class TestExact:
    @given(st.integers(0, 3_000), st.data())
    def test_is_scipys_binomial_test(self, n, data):
        observed = data.draw(st.integers(0, n))
        share = data.draw(st.one_of(st.sampled_from([0.5, 1 / 3, 0.1]), st.floats(0.01, 0.99)))
        theirs = scipy.stats.binomtest(observed, n, share).pvalue if n else 1.0
        assert sample_ratio_exact(observed, n, share) == pytest.approx(theirs, rel=1e-7)

    def test_every_count_of_small_experiments_at_once(self):
        for n in range(1, 30):
            for share in (0.5, 0.2, 0.9):
                found = sample_ratio_exact(np.arange(n + 1), n, share)
                theirs = [scipy.stats.binomtest(k, n, share).pvalue for k in range(n + 1)]
                np.testing.assert_allclose(found, theirs, rtol=1e-9)

    def test_not_known_is_nan(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = sample_ratio_exact([np.nan, 3, 3, 3], [5, np.nan, 5, 5], [0.5, 0.5, np.nan, 0.5])
            assert np.isnan(sample_ratio_exact([np.nan], np.nan)).all()
        np.testing.assert_array_equal(np.isnan(found), [True, True, True, False])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((6, 5), "observed at index 0 is 6: it cannot exceed n"),
            ((2.5, 5), r"observed at index 0 is 2\.5: a count is a whole number"),
            ((2, -5), "n at index 0 is -5"),
            (([2, 3], 5, [0.5, 1.0]), "share at index 1 is 1: it must lie between 0 and 1"),
        ],
    )
    def test_impossible_input_names_its_index(self, arguments, message):
        with pytest.raises(BadInput, match=message):
            sample_ratio_exact(*arguments)


def test_run_blind_it_finds_the_broken_block_of_the_upworthy_archive(dataset):
    """66.8 % of the tests of weeks 201325 to 201402 and 0.45 % of all others, as the archive's own authors warn."""
    arms = pl.read_parquet(dataset("upworthy_exploratory.parquet"))
    experiment = arms["clickability_test_id"].rank("dense").cast(pl.Int64) - 1
    flagged = sample_ratio(experiment, arms["impressions"], np.ones(arms.height)).p_value < 0.001
    week = arms.group_by(experiment.alias("experiment")).agg(pl.col("test_week").cast(pl.Int64).min())
    broken = week.sort("experiment")["test_week"].is_between(201325, 201402).to_numpy()
    assert flagged.size == 4_873
    assert 100 * flagged[broken].mean() == pytest.approx(66.8, abs=0.05)
    assert 100 * flagged[~broken].mean() == pytest.approx(0.45, abs=0.005)
    assert 100 * flagged.mean() == pytest.approx(15.5, abs=0.05)
