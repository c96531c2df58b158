"""Benjamini-Hochberg agrees with scipy within each family, and keeps its promise about false discoveries."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.multitest import multipletests

from neonblue_lab.errors import BadInput
from neonblue_lab.stats import benjamini_hochberg

SUBNORMAL = 1e-307  # Below it a float has fewer digits.
p_arrays = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1) | st.sampled_from([0.0, 0.01, 1.0, np.nan]))


@given(p_arrays, st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_is_scipys_within_each_group_and_blind_to_nan(p, families, seed):
    groups = np.random.default_rng(seed).integers(0, families, p.size)
    found = benjamini_hochberg(p, groups)
    for family in range(families):
        rows = (groups == family) & ~np.isnan(p)
        if rows.any():
            np.testing.assert_allclose(found[rows], scipy.stats.false_discovery_control(p[rows]), 1e-12, SUBNORMAL)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(p))
    made = ~np.isnan(p)
    assert ((found >= p) & (found <= 1))[made].all()


@given(p_arrays)
def test_without_groups_all_are_one_family(p):
    made = ~np.isnan(p)
    found = benjamini_hochberg(p)
    if made.any():
        np.testing.assert_allclose(found[made], multipletests(p[made], method="fdr_bh")[1], 1e-12, SUBNORMAL)


def test_a_tiny_p_value_keeps_its_digits_in_a_late_group():
    found = benjamini_hochberg([0.5, 1e-300, 0.9, 4e-300], [0, 1000, 0, 1000])
    np.testing.assert_allclose(found, [0.9, 2e-300, 0.9, 4e-300], rtol=1e-14)


def test_the_share_of_false_discoveries_is_kept():
    """2,000 simulated programmes of 100 tests, of which 20 have an effect: FDR = 0.1 * 80 / 100."""
    rng = np.random.default_rng(2)
    effect = np.where(np.arange(100) < 20, 3.0, 0.0)
    p = 2 * scipy.stats.norm.sf(np.abs(rng.normal(effect, 1, (2_000, 100))))
    found = benjamini_hochberg(p.ravel(), np.repeat(np.arange(2_000), 100)).reshape(p.shape) <= 0.1
    false_share = found[:, 20:].sum(1) / np.maximum(found.sum(1), 1)
    assert false_share.mean() == pytest.approx(0.08, abs=4 * false_share.std() / np.sqrt(2_000))


def test_nothing_in_nothing_out():
    assert benjamini_hochberg([]).shape == (0,)
    assert np.isnan(benjamini_hochberg([np.nan, np.nan], [0, 3])).all()


@pytest.mark.parametrize(
    ("p", "groups", "message"),
    [
        ([0.1, 1.5], None, r"p_values at index 1 is 1\.5: a p-value lies between 0 and 1"),
        ([-0.1], None, r"p_values at index 0 is -0\.1"),
        ([[0.1]], None, "1-d"),
        ([0.1, 0.2], [0], r"p_values has shape \(2,\), and there are 1 rows"),
        ([0.1, 0.2], [0, -1], "group at index 1 is -1"),
    ],
)
def test_impossible_input_names_its_index(p, groups, message):
    with pytest.raises(BadInput, match=message):
        benjamini_hochberg(p, groups)
