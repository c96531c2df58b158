"""Moments of disjoint groups add up to the moments of all units, however far the mean is from zero."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.stats import Moments, combine, from_sums

seeds = st.integers(0, 2**32 - 1)


def split(values, pieces, rng):
    """Moments of `pieces` disjoint parts of the values, some of them empty."""
    part = rng.integers(0, pieces, len(values))
    parts = [values[part == number] for number in range(pieces)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return Moments([len(p) for p in parts], [np.mean(p) for p in parts], [np.var(p, ddof=1) for p in parts])


class TestCombine:
    @given(seeds, st.sampled_from([0.0, 1.0, -1e6, 1e9]))
    def test_parts_add_up_to_the_whole(self, seed, centre):
        rng = np.random.default_rng(seed)
        values = centre + rng.normal(0, 1, rng.integers(2, 300))
        whole = combine(split(values, 7, rng), np.zeros(7, dtype=int))
        assert whole.n == [len(values)]
        # A value near 1e9 has an ulp of 1.2e-7, which a part's own mean has lost already.
        exact = max(1e-11, 4 * np.spacing(abs(centre)))
        assert whole.mean[0] == pytest.approx(values.mean(), abs=exact)
        assert whole.variance[0] == pytest.approx(values.var(ddof=1), rel=max(1e-10, 10 * exact))

    @given(seeds)
    def test_the_order_and_the_nesting_do_not_matter(self, seed):
        rng = np.random.default_rng(seed)
        parts = Moments(rng.integers(0, 20, 30), rng.normal(1e4, 1, 30), rng.lognormal(0, 1, 30))
        groups = rng.integers(0, 6, 30)
        shuffle = rng.permutation(30)
        shuffled = Moments(parts.n[shuffle], parts.mean[shuffle], parts.variance[shuffle])
        flat = combine(parts, groups, 6)
        for other in (combine(shuffled, groups[shuffle], 6), combine(combine(parts, np.arange(30)), groups, 6)):
            np.testing.assert_allclose(other.n, flat.n)
            np.testing.assert_allclose(other.mean, flat.mean, rtol=1e-13)
            np.testing.assert_allclose(other.variance, flat.variance, rtol=1e-9)

    def test_a_mean_of_1e9_with_spread_1_keeps_its_variance(self):
        rng = np.random.default_rng(1)
        spread = rng.normal(0, 1, (1_000, 100))
        values = 1e9 + spread
        whole = combine(Moments(100, values.mean(1), values.var(1, ddof=1)), np.zeros(1_000, dtype=int))
        assert whole.variance[0] == pytest.approx(spread.var(ddof=1), rel=1e-6)
        raw = from_sums(values.size, values.sum(), 1e18 * values.size)
        assert raw.variance != pytest.approx(spread.var(ddof=1), rel=0.5)

    def test_empty_rows_and_empty_groups(self):
        parts = Moments([0, 3, 1, 0, 1], [7, 2, 6, 9, 4], [5, 1, 5, 5, 5])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = combine(parts, [0, 0, 0, 1, 2], 4)
        np.testing.assert_array_equal(found.n, [4, 0, 1, 0])
        np.testing.assert_array_equal(found.mean, [3, np.nan, 4, np.nan])
        np.testing.assert_array_equal(found.variance, [14 / 3, np.nan, np.nan, np.nan])
        assert combine(Moments([], [], []), []).n.shape == (0,)

    def test_what_is_not_known_stays_not_known(self):
        parts = Moments([5, 5, 5, 5, np.nan, 5], [1, 1, np.nan, 1, 1, 1], [1, np.nan, 1, 1, 1, 1])
        found = combine(parts, [0, 0, 1, 1, 2, 2])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isnan(combine(Moments(5, [1, np.inf], 1), [0, 0]).variance[0])
        np.testing.assert_array_equal(found.n, [10, 10, np.nan])
        np.testing.assert_array_equal(found.mean, [1, np.nan, np.nan])
        assert np.isnan(found.variance).all()

    @pytest.mark.parametrize(
        ("groups", "size", "message"),
        [
            ([0, -1], None, "group at index 1 is -1"),
            ([0, 2], 2, "group at index 1 is 2: there are 2 groups"),
            ([0, 1, 2], None, r"n has shape \(2,\), and there are 3 rows"),
            ([0.0, 1.0], None, "1-d array of integers: got float64"),
            ([[0, 1]], None, r"shape \(1, 2\)"),
        ],
    )
    def test_a_group_that_is_none(self, groups, size, message):
        with pytest.raises(BadInput, match=message):
            combine(Moments([5, 5], 1, 1), groups, size)


class TestMoments:
    def test_broadcasts_and_drops_what_too_few_units_cannot_say(self):
        found = Moments([0, 1, 2], 3.0, 4.0)
        np.testing.assert_array_equal(found.mean, [np.nan, 3, 3])
        np.testing.assert_array_equal(found.variance, [np.nan, np.nan, 4])

    def test_none_is_not_known(self):
        assert np.isnan(Moments(5, 1, None).variance)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([3, -2], 0, 0), "n at index 1 is -2"),
            (([3, np.inf], 0, 0), "n at index 1 is inf"),
            ((3, 0, [1, 2, -0.5]), r"variance at index 2 is -0\.5: a variance is not negative"),
            (([3, 3], [1, 2, 3], 0), r"n \(2,\), mean \(3,\), variance \(\)"),
        ],
    )
    def test_impossible_input_names_its_index(self, arguments, message):
        with pytest.raises(BadInput, match=message):
            Moments(*arguments)


class TestFromSums:
    @given(seeds)
    def test_is_the_sample_variance(self, seed):
        values = np.random.default_rng(seed).normal(3, 2, 50)
        found = from_sums(50, values.sum(), (values**2).sum())
        assert found.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-12)
        assert found.variance == pytest.approx(values.var(ddof=1), rel=1e-10)

    def test_rounding_below_zero_is_no_variance_and_more_is_impossible(self):
        assert from_sums(6, sum([0.7] * 6), sum([0.7**2] * 6)).variance == 0
        with pytest.raises(BadInput, match="total_squares at index 0 is 1: it cannot be smaller"):
            from_sums(2, 10, 1)

    def test_too_few_units(self):
        found = from_sums([0, 1], [0, 5], [0, 25])
        np.testing.assert_array_equal(found.mean, [np.nan, 5])
        assert np.isnan(found.variance).all()
