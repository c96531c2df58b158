from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.models.training.splits import codes, components, grouped_folds, leave_one_out, temporal

keys = st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh")), min_size=1, max_size=60)


@given(keys)
def test_codes_are_equal_exactly_where_keys_are_and_each_null_is_alone(values):
    code = codes(pl.Series(values, dtype=pl.String))
    for i, left in enumerate(values):
        for j, right in enumerate(values):
            assert (code[i] == code[j]) == (i == j or (left is not None and left == right))
    first = [int(c) for c in dict.fromkeys(code.tolist())]
    assert first == list(range(len(first)))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=60))
def test_components_are_all_rows_that_can_be_reached_by_shared_values(rows):
    group = components(*(np.array(side) for side in zip(*rows, strict=True)))
    for start in range(len(rows)):
        reached, before = {start}, set()
        while reached != before:
            before = reached
            left, right = {rows[row][0] for row in reached}, {rows[row][1] for row in reached}
            reached = {row for row, (a, b) in enumerate(rows) if a in left or b in right}
        assert set(np.flatnonzero(group == group[start]).tolist()) == reached


def test_rows_without_a_key_are_joined_by_no_other():
    assert components(pl.Series([None, None, "a", "a"])).tolist() == [0, 1, 2, 2]


def test_components_want_keys_of_one_length():
    with pytest.raises(BadInput, match="different lengths: 2, 3"):
        components(["a", "b"], [1, 2, 3])
    with pytest.raises(BadInput, match="at least one key"):
        components()


@given(st.lists(st.integers(0, 12), min_size=20, max_size=200), st.integers(2, 4), st.integers(0, 5))
def test_folds_partition_the_rows_and_part_no_group(groups, folds, seed):
    if len(set(groups)) < folds:
        with pytest.raises(BadInput, match="fewer folds"):
            grouped_folds(groups, folds=folds, seed=seed)
        return
    splits = grouped_folds(groups, folds=folds, seed=seed)
    assert sorted(np.concatenate([split.test for split in splits]).tolist()) == list(range(len(groups)))
    group = np.array(groups)
    for split in splits:
        assert sorted([*split.train.tolist(), *split.test.tolist()]) == list(range(len(groups)))
        assert not set(group[split.train]) & set(group[split.test])
    # Largest first into the emptiest: no two folds differ by more than the largest group.
    sizes = [len(split.test) for split in splits]
    assert max(sizes) - min(sizes) <= np.bincount(group).max()


def test_folds_depend_on_the_seed_alone():
    groups = [f"user {row % 40}" for row in range(200)]
    first, again, other = (grouped_folds(groups, seed=seed) for seed in (1, 1, 2))
    assert all((a.test == b.test).all() for a, b in zip(first, again, strict=True))
    assert any(set(a.test) != set(b.test) for a, b in zip(first, other, strict=True))


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=80).filter(lambda times: len(set(times)) > 1),
    st.floats(0.05, 0.9),
)
def test_a_cut_in_time_never_looks_ahead(times, share):
    moments = [datetime(2026, 1, 1) + timedelta(days=day) for day in times]
    days = np.array(times)
    if np.sort(days)[min(len(days) - 1, round(len(days) * (1 - share)))] == days.min():
        with pytest.raises(BadInput, match="leaves 0 rows to learn from"):
            temporal(moments, share=share)
        return
    split = temporal(moments, share=share)
    assert days[split.train].max() < days[split.test].min()
    assert len(split.train) + len(split.test) == len(times)


def test_a_cut_in_time_takes_the_share_asked_for_and_leaves_known_groups_out():
    times = np.arange(100)
    assert len(temporal(times, share=0.2).test) == 20
    groups = np.r_[np.arange(80), np.arange(10), np.arange(200, 210)]
    assert temporal(times, at=80, groups=groups).test.tolist() == list(range(90, 100))


def test_a_cut_in_time_says_what_is_missing():
    with pytest.raises(BadInput, match="1 of 2 rows have no time"):
        temporal([1, None], at=1)
    with pytest.raises(BadInput, match="exactly one"):
        temporal([1, 2], at=1, share=0.5)
    with pytest.raises(BadInput, match="leaves 0 rows to learn from and 2"):
        temporal([1, 2], at=0)
    with pytest.raises(BadInput, match="between 0 and 1"):
        temporal([1, 2], share=1.0)


def test_leaving_one_out_names_what_it_leaves_out():
    splits = leave_one_out(["click", "view", "click"])
    assert [(split.name, split.train.tolist(), split.test.tolist()) for split in splits] == [
        ("click", [1], [0, 2]),
        ("view", [0, 2], [1]),
    ]
    with pytest.raises(BadInput, match="at least 2"):
        leave_one_out(["click"])
