"""Adjusted p-values agree with scipy and statsmodels within each family, and keep their promises about errors."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.multitest import multipletests

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.multiplicity import benjamini_hochberg, benjamini_yekutieli, holm

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


@pytest.mark.parametrize(("adjust", "method"), [(holm, "holm"), (benjamini_yekutieli, "fdr_by")])
@settings(max_examples=12, deadline=None)  # Holm's takes statsmodels up to a second.
@given(p_arrays, st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_holm_and_yekutieli_are_statsmodels_within_each_group(adjust, method, p, families, seed):
    groups = np.random.default_rng(seed).integers(0, families, p.size)
    found = adjust(p, groups)
    for family in range(families):
        rows = (groups == family) & ~np.isnan(p)
        if rows.any():
            np.testing.assert_allclose(found[rows], multipletests(p[rows], method=method)[1], 1e-12, SUBNORMAL)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(p))
    made = ~np.isnan(p)
    assert ((found >= p) & (found <= 1))[made].all()


@given(p_arrays)
def test_holm_is_its_definition(p):
    """The k-th smallest of m is rejected where each of the k smallest is at most alpha / (m - its rank + 1)."""
    made = ~np.isnan(p)
    ordered = np.sort(p[made])
    needed = [min(1.0, (ordered.size - rank) * value) for rank, value in enumerate(ordered)]
    found = np.sort(holm(p)[made])
    np.testing.assert_allclose(found, [max(needed[: k + 1]) for k in range(ordered.size)], 1e-12, SUBNORMAL)


def test_a_family_of_one_is_not_adjusted():
    for adjust in (holm, benjamini_hochberg, benjamini_yekutieli):
        assert adjust([0.03, 0.04], [0, 1]).tolist() == [0.03, 0.04]


def test_holm_by_hand():
    """Of four tests the smallest is multiplied by 4, the next by 3, and none is let fall below the one before it."""
    np.testing.assert_allclose(holm([0.02, 0.01, 0.022, 0.5]), [0.06, 0.04, 0.06, 0.5], rtol=1e-15)


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


def test_any_false_rejection_is_as_rare_as_holm_says():
    """4,000 simulated families of 20 tests without any effect: one or more rejections in 1 - (1 - 0.05 / 20) ** 20."""
    p = np.random.default_rng(4).uniform(size=(4_000, 20))
    found = holm(p.ravel(), np.repeat(np.arange(4_000), 20)).reshape(p.shape) <= 0.05
    assert found.any(axis=1).mean() == pytest.approx(1 - (1 - 0.05 / 20) ** 20, abs=4 * np.sqrt(0.05 * 0.95 / 4_000))


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg, benjamini_yekutieli])
def test_nothing_in_nothing_out(adjust):
    assert adjust([]).shape == (0,)
    assert np.isnan(adjust([np.nan, np.nan], [0, 3])).all()


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
@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg, benjamini_yekutieli])
def test_impossible_input_names_its_index(adjust, p, groups, message):
    with pytest.raises(BadInput, match=message):
        adjust(p, groups)
