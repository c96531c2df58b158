"""The sequential sample-ratio check is the Dirichlet mixture it says it is, and bears a look every day."""

import warnings

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.sample_ratio import sample_ratio
from neonblue_lab.stats.sequential_ratio import sequential_sample_ratio, sequential_share

seeds = st.integers(0, 2**32 - 1)
DAYS = 28


def prior_units(tuned_at, alpha, variants):
    """The prior whose evidence wants the smallest chi-squared, by minimising that."""
    wanted = scipy.optimize.minimize_scalar(
        lambda log_u: np.log1p(np.exp(-log_u)) + np.log((variants - 1) * np.log1p(np.exp(log_u)) - 2 * np.log(alpha)),
        bounds=(-5, 10),
        options={"xatol": 1e-11},
    )
    return tuned_at / np.exp(wanted.x)


@given(seeds, st.floats(10, 1e6), st.sampled_from([0.05, 0.001]))
def test_evidence_is_a_dirichlet_multinomial_over_a_multinomial(seed, tuned_at, alpha):
    rng = np.random.default_rng(seed)
    variants = rng.integers(2, 7, 8)
    index = rng.permutation(np.repeat(np.arange(8), variants))
    observed, allocation = rng.integers(0, 500, index.size), rng.uniform(0.1, 3, index.size)
    found = sequential_sample_ratio(index, observed, allocation, tuned_at=tuned_at, alpha=alpha)
    for experiment in range(8):
        rows = index == experiment
        count, share = observed[rows], allocation[rows] / allocation[rows].sum()
        mixture = scipy.stats.dirichlet_multinomial.logpmf(
            count, prior_units(tuned_at, alpha, count.size) * share, count.sum()
        )
        evidence = mixture - scipy.stats.multinomial.logpmf(count, count.sum(), share)
        assert found.log_evidence[experiment] == pytest.approx(evidence, rel=1e-6, abs=1e-6)
        assert found.p_value[experiment] == pytest.approx(min(1.0, np.exp(-evidence)), rel=1e-3, abs=1e-300)


@pytest.mark.parametrize("allocation", [[1, 1], [8, 1, 1]])
def test_daily_looks_for_four_weeks_stay_at_alpha(allocation):
    """4,000 simulated sound experiments of 500 units a day."""
    shares = np.array(allocation) / sum(allocation)
    daily = np.random.default_rng(21).multinomial(500, shares, (4_000, DAYS)).cumsum(axis=1)
    looks = np.repeat(np.arange(4_000 * DAYS), len(allocation))
    meant = np.tile(allocation, 4_000 * DAYS)
    fixed = sample_ratio(looks, daily.ravel(), meant).p_value.reshape(-1, DAYS)
    found = sequential_sample_ratio(looks, daily.ravel(), meant, tuned_at=7_000).p_value.reshape(-1, DAYS)
    assert (fixed <= 0.05).any(axis=1).mean() > 0.2
    assert (found <= 0.05).any(axis=1).mean() <= 0.05
    assert (found <= 0.001).any(axis=1).mean() <= 0.001


def test_a_broken_split_is_found_and_its_share_interval_leaves_the_allocation():
    daily = np.random.default_rng(22).multinomial(1_000, [0.53, 0.47], (500, DAYS)).cumsum(axis=1)
    looks = np.repeat(np.arange(500 * DAYS), 2)
    found = sequential_sample_ratio(looks, daily.ravel(), np.ones(looks.size)).p_value.reshape(-1, DAYS)
    assert (found[:, -1] < 0.001).mean() > 0.99
    low, high = sequential_share(daily[..., 0], daily.sum(axis=2))
    assert (low[:, -1] > 0.5).mean() > 0.99
    assert ((low < 0.53) & (high > 0.53)).all(axis=1).mean() >= 0.95


@given(seeds, st.floats(0.05, 0.95))
def test_share_interval_leaves_the_allocation_exactly_where_the_test_says_so(seed, share):
    rng = np.random.default_rng(seed)
    n = rng.integers(0, 5_000, 20)
    observed = rng.binomial(n, np.clip(share + rng.normal(0, 0.03, 20), 0, 1))
    low, high = sequential_share(observed, n, tuned_at=2_000)
    rows = np.repeat(np.arange(20), 2)
    counts = np.column_stack([observed, n - observed]).ravel()
    p_value = sequential_sample_ratio(rows, counts, np.tile([share, 1 - share], 20), tuned_at=2_000, alpha=0.05).p_value
    sure = np.abs(p_value / 0.05 - 1) > 1e-6
    outside = (low > share) | (high < share)
    np.testing.assert_array_equal(outside[sure], (p_value < 0.05)[sure])
    assert ((low <= observed / np.maximum(n, 1)) | (n == 0)).all()
    assert (low[n == 0] == 0).all()
    assert (high[n == 0] == 1).all()


def test_edges_have_sane_answers_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sequential_sample_ratio(
            [0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 6, 6, 7, 7],
            [9, 0, 0, 5, np.nan, 4, 4, 1, 3, 0, 5, 5, 10**9, 10**9 + 10**6],
            [1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 1, 1],
        )
    alone, no_units, unknown, stray, one_allocated, empty, no_allocation, huge = found.p_value
    assert np.isnan([alone, no_units, unknown, one_allocated, empty, no_allocation]).all()
    assert stray == 0
    assert found.log_evidence[3] == np.inf
    assert 0 < huge < 1e-90


def test_thousands_of_arms():
    rng = np.random.default_rng(23)
    counts = rng.multinomial(10**6, np.full(5_000, 1 / 5_000))
    one, equal = np.zeros(5_000, dtype=int), np.ones(5_000)
    assert sequential_sample_ratio(one, counts, equal, tuned_at=10**6).p_value[0] > 0.05
    counts[7] += 500
    assert sequential_sample_ratio(one, counts, equal, tuned_at=10**6).p_value[0] < 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sequential_sample_ratio([0, 0], [1, -1], [1, 1]), "observed at index 1 is -1"),
        (lambda: sequential_sample_ratio([0, 0], [1, 1], [1, -1]), "allocation at index 1 is -1"),
        (lambda: sequential_sample_ratio([0, 0], [1, 1], [1, 1], tuned_at=-5), "tuned_at at index 0 is -5"),
        (
            lambda: sequential_sample_ratio([0, 0], [1, 1], [1, 1], tuned_at=[5, 6]),
            r"tuned_at has shape \(2,\), and there are 1 exp",
        ),
        (lambda: sequential_sample_ratio([0, 0], [1, 1], [1, 1], alpha=0), "alpha is 0"),
        (lambda: sequential_share(5, 4), "observed at index 0 is 5: it cannot exceed n"),
    ],
)
def test_impossible_input_is_named(call, message):
    with pytest.raises(BadInput, match=message):
        call()
