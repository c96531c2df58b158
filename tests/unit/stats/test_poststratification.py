"""Post-stratification is the saturated regression of statsmodels, keeps its level, and joins strata too thin for it."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.api import OLS

from neonblue_lab.errors import BadInput
from neonblue_lab.stats import Moments, combine, poststratified, welch

seeds = st.integers(0, 2**32 - 1)


def by_stratum(values, strata, size):
    """Moments of the values of each stratum."""
    return combine(Moments(1, values, 0.0), strata, size)


@settings(max_examples=500)
@given(seeds)
def test_is_the_saturated_regression_with_hc2_errors_of_statsmodels(seed):
    """Lin (2013): outcome on treatment, centred strata and their products. HC2 is exact where all is saturated."""
    rng = np.random.default_rng(seed)
    size = rng.integers(2, 5)
    strata = np.repeat(np.arange(size), rng.integers(5, 25, size))
    treated = rng.permutation(strata.size) < strata.size * rng.uniform(0.3, 0.7)
    y = rng.normal(3 * rng.normal(size=size)[strata] + treated, 1)
    arms = [by_stratum(y[treated == arm], strata[treated == arm], size) for arm in (False, True)]
    if min(arm.n.min() for arm in arms) < 2:
        return
    dummies = (strata[:, None] == np.arange(1, size)).astype(float)
    centred = dummies - dummies.mean(axis=0)
    design = np.column_stack([np.ones(y.size), treated, centred, centred * treated[:, None]])
    theirs = OLS(y, design).fit(cov_type="HC2")
    ours = poststratified(*arms, np.zeros(size, dtype=int))
    test = welch(ours.control, ours.variant)
    assert test.difference[0] == pytest.approx(theirs.params[1], rel=1e-8, abs=1e-11)
    assert (test.difference / test.statistic)[0] == pytest.approx(theirs.bse[1], rel=1e-8)
    np.testing.assert_array_equal(ours.variant.n, [treated.sum()])


def test_it_keeps_its_level_and_gains_what_the_strata_explain():
    rng = np.random.default_rng(21)
    repeats, size, per_stratum = 3_000, 4, 50
    effect = np.array([0.0, 1.0, 2.0, 3.0])
    groups = np.repeat(np.arange(repeats), size)

    def arm():
        n = rng.multinomial(size * per_stratum, [1 / size] * size, repeats).ravel()
        return Moments(n, rng.normal(np.tile(effect, repeats), 1 / np.sqrt(n)), rng.chisquare(n - 1) / (n - 1))

    control, variant = arm(), arm()
    found = poststratified(control, variant, groups)
    test = welch(found.control, found.variant)
    assert (test.p_value < 0.05).mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / repeats))
    assert found.gain.mean() == pytest.approx(effect.var() / (effect.var() + 1), abs=0.02)
    plain = welch(*(combine(rows, groups) for rows in (control, variant)))
    assert found.gain.mean() == pytest.approx(1 - test.difference.var() / plain.difference.var(), abs=0.04)


def test_a_stratum_too_thin_joins_the_smallest_that_is_not():
    control = Moments([50, 20, 1, 0], [1.0, 2.0, 7.0, 0.0], [1.0, 2.0, 0.0, 0.0])
    variant = Moments([50, 30, 9, 3], [1.5, 2.5, 6.0, 4.0], [1.0, 2.0, 3.0, 1.0])
    joined = [combine(arm, [0, 1, 1, 1]) for arm in (control, variant)]
    found, by_hand = poststratified(control, variant, [0] * 4), poststratified(*joined, [0, 0])
    np.testing.assert_allclose(found.control.mean, by_hand.control.mean, rtol=1e-14)
    np.testing.assert_allclose(found.variant.variance, by_hand.variant.variance, rtol=1e-14)
    np.testing.assert_array_equal(found.control.n, [71])


def test_where_every_stratum_is_too_thin_it_is_the_plain_comparison():
    control, variant = Moments([1, 1, 4], [1.0, 2.0, 4.0], [0, 0, 2.0]), Moments([9, 9, 1], [1.0, 3.0, 2.0], [1, 1, 0])
    found = poststratified(control, variant, [0, 0, 0])
    np.testing.assert_allclose(found.control.variance, combine(control, [0, 0, 0]).variance)
    assert found.gain == pytest.approx(0)


@given(seeds)
def test_a_comparison_does_not_depend_on_the_others_nor_on_the_order_of_its_rows(seed):
    rng = np.random.default_rng(seed)
    n = rng.integers(0, 12, (2, 40))
    control, variant = (Moments(n[i], rng.normal(1e6, 1, 40), rng.lognormal(0, 1, 40)) for i in range(2))
    groups = rng.integers(0, 8, 40)
    together = poststratified(control, variant, groups, 9)
    assert together.control.n[8] == 0
    for group in range(8):
        rows = rng.permutation(np.flatnonzero(groups == group))
        if rows.size:
            part = [Moments(arm.n[rows], arm.mean[rows], arm.variance[rows]) for arm in (control, variant)]
            # Strata of one size are as good as each other to join, whichever comes first.
            if np.unique(n[:, rows].sum(axis=0)).size == rows.size:
                alone = poststratified(*part, np.zeros(rows.size, dtype=int))
                np.testing.assert_allclose(together.control.mean[group], alone.control.mean[0], rtol=1e-14)
                np.testing.assert_allclose(together.variant.variance[group], alone.variant.variance[0], rtol=1e-9)
                np.testing.assert_allclose(together.gain[group], alone.gain[0], rtol=1e-6, atol=1e-6)


def test_an_empty_arm_and_what_is_not_known_are_nan_without_a_warning():
    control = Moments([0, 0, 5, 5, np.nan, 5, 5, 5], 1.0, [1, 1, 1, 1, 1, 1, 1, np.nan])
    variant = Moments([5, 5, 5, 5, 5, 5, 0, 5], [1, 1, 2, 2, 1, 1, 1, 1], 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = poststratified(control, variant, [0, 0, 1, 1, 2, 2, 3, 4])
        p = welch(found.control, found.variant).p_value
    np.testing.assert_array_equal(~np.isnan(p), [False, True, False, False, False])
    np.testing.assert_array_equal(found.control.n, [0, 10, np.nan, 5, 5])


def test_rows_that_do_not_fit():
    arm = Moments([5, 5], 1, 1)
    with pytest.raises(BadInput, match=r"n_of_the_variant has shape \(1,\), and there are 2 rows"):
        poststratified(arm, Moments([5], 1, 1), [0, 0])
    with pytest.raises(BadInput, match="group at index 1 is 3"):
        poststratified(arm, arm, [0, 3], 3)
