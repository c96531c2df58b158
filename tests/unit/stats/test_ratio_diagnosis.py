"""Where a split broke: in which segment, on which days, and that nothing is found where nothing is."""

import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.ratio_diagnosis import broken_span, by_part

seeds = st.integers(0, 2**32 - 1)


@given(seeds)
def test_parts_are_tested_as_scipy_tests_them(seed):
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(3, 5.0), 4)
    observed = rng.poisson(200 * share[:, None, :] + 1, (4, 6, 3))
    found = by_part(observed, share)
    for i in range(4):
        expected = observed[i].sum(-1, keepdims=True) * share[i]
        assert found.part.p_value[i] == pytest.approx(scipy.stats.chisquare(observed[i], expected, axis=-1).pvalue)
        total = observed[i].sum(0)
        assert found.overall.p_value[i] == pytest.approx(scipy.stats.chisquare(total, total.sum() * share[i]).pvalue)
        contingency = scipy.stats.chi2_contingency(observed[i], correction=False)
        assert found.uneven.statistic[i] == pytest.approx(contingency.statistic)
        assert found.uneven.p_value[i] == pytest.approx(contingency.pvalue)
        rest = total - observed[i, 2]
        assert found.without.p_value[i, 2] == pytest.approx(scipy.stats.chisquare(rest, rest.sum() * share[i]).pvalue)


def test_the_one_broken_segment_is_named_and_a_break_everywhere_is_not_laid_on_one():
    one = by_part([[5_000, 5_010], [3_000, 2_950], [2_000, 2_600]], [1, 1])
    assert np.argmin(one.part.p_value) == 2
    assert one.overall.p_value < 1e-3
    assert one.uneven.p_value < 1e-6
    assert one.without.p_value[2] > 0.1 > 1e-3 > one.without.p_value[0]
    everywhere = by_part([[5_000, 5_500], [3_000, 3_300], [2_000, 2_200]], [1, 1])
    assert everywhere.overall.p_value < 1e-6
    assert everywhere.uneven.p_value == pytest.approx(1)
    assert (everywhere.without.p_value < 1e-5).all()


@given(seeds)
def test_a_span_is_the_likeliest_of_all_spans(seed):
    rng = np.random.default_rng(seed)
    observed = rng.poisson(30, (9, 3)) * (rng.random((9, 1)) > 0.2)
    share = np.array([0.5, 0.3, 0.2])
    spans = [(a, b) for a in range(9) for b in range(a, 9)]

    def g(counts, expected):
        return scipy.stats.power_divergence(counts, expected, lambda_="log-likelihood").statistic if counts.sum() else 0

    known = {(a, b): g(c := observed[a : b + 1].sum(0), c.sum() * share) for a, b in spans}
    found = broken_span(observed, share)
    assert found.statistic == pytest.approx(max(known.values()))
    assert known[int(found.first), int(found.last)] == pytest.approx(max(known.values()))

    total = observed.sum(0)
    unknown = {}
    for a, b in spans:
        table = np.array([inside := observed[a : b + 1].sum(0), total - inside])
        unknown[a, b] = (
            scipy.stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic
            if table.sum(1).all() and table.sum(0).all()
            else 0
        )
    found = broken_span(observed)
    assert found.statistic == pytest.approx(max(unknown.values()), abs=1e-8)


def test_the_broken_days_are_found():
    rng = np.random.default_rng(3)
    variant = np.full((200, 28), 0.5)
    variant[:, 9:15] = 0.45
    in_variant = rng.binomial(4_000, variant)
    observed = np.stack([4_000 - in_variant, in_variant], -1)
    for found in (broken_span(observed, [1, 1]), broken_span(observed)):
        assert (found.p_value < 1e-3).all()
        assert (np.abs(found.first - 9) <= 1).mean() > 0.95
        assert (np.abs(found.last - 14) <= 1).mean() > 0.95
    everything = broken_span(np.tile([3_600, 4_400], (28, 1)), [1, 1])
    assert (everything.first, everything.last) == (0, 27)


@pytest.mark.parametrize("allocation", [None, [0.2, 0.3, 0.5]])
def test_an_intact_split_is_broken_in_no_more_than_one_of_twenty(allocation):
    rng = np.random.default_rng(4)
    found = broken_span(rng.multinomial(2_000, [0.2, 0.3, 0.5], (4_000, 14)), allocation)
    assert (found.p_value < 0.05).mean() < 0.05


def test_where_there_is_nothing_to_test():
    observed = [[[5, 5], [0, 0]], [[0, 0], [0, 0]], [[5, np.nan], [5, 5]], [[5, 5], [5, 5]]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = by_part(observed, [[1, 1], [1, 1], [1, 1], [0, 0]])
        spans = broken_span(observed, [[1, 1], [1, 1], [1, 1], [0, 0]])
        alone = broken_span([[5, 0], [6, 0]])
    assert parts.part.p_value[0, 0] == 1
    assert np.isnan(parts.part.p_value[0, 1])
    assert np.isnan(parts.uneven.p_value[:3]).all()
    assert np.isnan(parts.overall.p_value[1:]).all()
    assert (spans.first.tolist(), spans.last.tolist()) == ([0, -1, -1, -1], [0, -1, -1, -1])
    assert np.isnan(spans.p_value[1:]).all()
    assert alone.first == -1


def test_units_in_a_variant_that_should_get_none_are_a_break():
    found = broken_span([[50, 50, 0], [50, 50, 1], [50, 50, 0]], [1, 1, 0])
    assert (found.first, found.last, found.p_value) == (0, 1, 0) or (found.first, found.last, found.p_value) == (
        1,
        1,
        0,
    )
    assert by_part([[50, 50, 0], [50, 50, 1]], [1, 1, 0]).part.p_value.tolist() == [1, 0]


def test_what_is_no_count_is_refused():
    with pytest.raises(BadInput, match="observed has shape"):
        broken_span([1, 2])
    with pytest.raises(BadInput, match="observed at index"):
        by_part([[1, -2]], [1, 1])
    with pytest.raises(BadInput, match="allocation at index 1 is -1"):
        by_part([[1, 2]], [1, -1])
    with pytest.raises(BadInput, match="one shape"):
        by_part([[1, 2, 3]], [1, 1])
