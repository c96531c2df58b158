"""Joint moments are numpy's covariances, add up over disjoint groups of units, and refuse what no units can have."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.stats import JointMoments, Moments
from neonblue_lab.stats.joint import combine, pooled
from neonblue_lab.stats.moments import combine as combine_moments

seeds = st.integers(0, 2**32 - 1)


def of_units(*columns):
    """Joint moments of one group of units, given their values column by column."""
    names = ("y", "d", "x", "w")[: len(columns)]
    return JointMoments(names, len(columns[0]), np.mean(columns, axis=1), np.cov(columns).reshape(len(names), -1))


def correlated(rng, rows, columns=4, centre=0.0):
    return (centre + rng.normal(size=(rows, columns)) @ rng.normal(size=(columns, columns))).T


@settings(max_examples=500)
@given(seeds, st.sampled_from([0.0, 1e3, 1e9]))
def test_single_units_add_up_to_numpys_covariance(seed, centre):
    rng = np.random.default_rng(seed)
    values = correlated(rng, rng.integers(2, 60), rng.integers(1, 5), centre)
    found = combine(
        JointMoments(("y", "d", "x", "w")[: len(values)], 1, values.T, np.zeros((len(values),) * 2)),
        [0] * values.shape[1],
    )
    # Values at 1e9 are whole ulps of 1.2e-7 apart, and so are their means.
    exact = max(1e-12, 4 * np.spacing(centre))
    spread = np.cov(values - centre).reshape(found.covariance[0].shape)
    np.testing.assert_allclose(found.mean[0], values.mean(axis=1), rtol=0, atol=exact * 10)
    np.testing.assert_allclose(found.covariance[0], spread, rtol=1e-9, atol=exact * np.abs(spread).max() * 10)


@given(seeds)
def test_the_order_and_the_nesting_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    parts = [of_units(*correlated(rng, rng.integers(2, 9), centre=1e4)) for _ in range(20)]
    n = np.where(rng.random(20) < 0.2, 0, [part.n for part in parts])
    joint = JointMoments(parts[0].columns, n, [part.mean for part in parts], [part.covariance for part in parts])
    groups = rng.integers(0, 4, 20)
    order = rng.permutation(20)
    flat = combine(joint, groups, 5)
    shuffled = JointMoments(joint.columns, n[order], joint.mean[order], joint.covariance[order])
    halves = combine(joint, 2 * groups + rng.integers(0, 2, 20), 10)
    pair = [JointMoments(joint.columns, halves.n[i::2], halves.mean[i::2], halves.covariance[i::2]) for i in (0, 1)]
    for other in (combine(shuffled, groups[order], 5), combine(halves, np.arange(10) // 2), pooled(*pair)):
        np.testing.assert_array_equal(other.n, flat.n)
        np.testing.assert_allclose(other.mean, flat.mean, rtol=1e-13)
        np.testing.assert_allclose(other.covariance, flat.covariance, rtol=1e-7, atol=1e-9)
    by_column = combine_moments(joint.moments("x"), groups, 5)
    np.testing.assert_allclose(flat.moments("x").variance, by_column.variance, rtol=1e-12)


def test_given_by_name_in_any_order():
    y, d, x = correlated(np.random.default_rng(3), 30, 3)
    cov = np.cov([y, d, x])
    named = {"xx": cov[2, 2], "dy": cov[0, 1], "yx": cov[0, 2], "dd": cov[1, 1], "xd": cov[1, 2], "yy": cov[0, 0]}
    found = JointMoments.of([30, 30], {"x": x.mean(), "y": y.mean(), "d": d.mean()}, named)
    assert found.columns == ("y", "d", "x")
    np.testing.assert_array_equal(found.mean, [[y.mean(), d.mean(), x.mean()]] * 2)
    np.testing.assert_array_equal(found.covariance, [cov] * 2)
    assert isinstance(found.moments("d"), Moments)
    np.testing.assert_array_equal(found.moments("d").variance, [cov[1, 1]] * 2)


def test_too_few_units_and_what_is_not_known():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = JointMoments(("y", "x"), [0, 1, 2, np.nan], [3.0, 4.0], [[1.0, 0.5], [0.5, 1.0]])
        whole = combine(found, [0, 0, 0, 1])
        both = pooled(found, JointMoments(("y", "x"), [0, 0, 5, 5], [3.0, 4.0], [[1.0, 0.5], [0.5, 1.0]]))
    np.testing.assert_array_equal(found.mean[:, 0], [np.nan, 3, 3, 3])
    np.testing.assert_array_equal(found.covariance[:, 0, 1], [np.nan, np.nan, 0.5, 0.5])
    np.testing.assert_array_equal(whole.n, [3, np.nan])
    np.testing.assert_allclose(whole.covariance[:, 0, 1], [0.25, np.nan])
    np.testing.assert_array_equal(both.n, [0, 1, 7, np.nan])
    np.testing.assert_array_equal(both.mean[:, 0], [np.nan, 3, 3, np.nan])
    np.testing.assert_allclose(both.covariance[:, 0, 1], [np.nan, np.nan, 0.5 * 5 / 6, np.nan])


def test_rounding_of_a_constant_column_is_no_contradiction():
    JointMoments(("y", "x"), 5, [1e9, 2.0], [[0.0, 1e-8], [1e-8, 1.0]])
    JointMoments(("y", "x"), 5, [3.0, 2.0], [[2.0, 2.0000001], [2.0000001, 2.0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("x",), 5, [1], [[1]]), r"y and any of d, x, w, in this order: got \('x',\)"),
        ((("x", "y"), 5, [1, 1], [[1, 0], [0, 1]]), "in this order"),
        ((("y", "w"), 5, [1, 1], [[1, 0], [0, 1]]), "Column w, the covariate's denominator, needs column x"),
        ((("y", "x"), 5, [1, 1, 1], [[1, 0], [0, 1]]), r"mean of shape \(..., 2\)"),
        ((("y", "x"), [5, 5], [[1, 1]] * 3, [[1, 0], [0, 1]]), "must broadcast to one"),
        ((("y", "x"), [5, -5], [1, 1], [[1, 0], [0, 1]]), "n at index 1 is -5"),
        ((("y", "x"), 5, [1, 1], [[1, 0], [0, -1]]), "variance at index 1 is -1"),
        ((("y", "x"), 5, [1, 1], [[[1, 0], [0, 1]], [[1, 3], [3, 1]]]), r"at index \(1, 0, 1\) is 3: it is larger"),
        ((("y", "x"), 5, [1, 1], [[1, 0.5], [0.2, 1]]), "it is not symmetric"),
    ],
)
def test_impossible_input_says_what_and_where(arguments, message):
    with pytest.raises(BadInput, match=message):
        JointMoments(*arguments)


@pytest.mark.parametrize(
    ("mean", "covariance"),
    [
        ({"y": 1, "x": 1}, {"yy": 1, "xx": 1}),
        ({"y": 1, "x": 1}, {"yy": 1, "xx": 1, "yx": 0, "xy": 0}),
        ({"y": 1, "z": 1}, {"yy": 1, "zz": 1, "yz": 0}),
    ],
)
def test_names_that_do_not_fit(mean, covariance):
    with pytest.raises(BadInput, match="need the covariances yy"):
        JointMoments.of(5, mean, covariance)


def test_groups_that_do_not_fit():
    joint = JointMoments(("y",), [5, 5], [[1]], [[[1]]])
    with pytest.raises(BadInput, match="there are 1 groups"):
        combine(joint, [0, 1], 1)
    with pytest.raises(BadInput, match="cannot be pooled"):
        pooled(joint, of_units(*correlated(np.random.default_rng(0), 5, 2)))
    with pytest.raises(BadInput, match="no column 'x'"):
        joint.moments("x")
