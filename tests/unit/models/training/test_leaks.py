"""Each way of flattering a score is planted into an honest split, and found by name."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.models.training.leaks import Leak, check, duplicates
from neonblue_lab.models.training.splits import Split, grouped_folds, temporal

ROWS = 100
USERS = [f"user {row % 20}" for row in range(ROWS)]
TESTS = [f"test {row % 25}" for row in range(ROWS)]
TIMES = pl.Series([datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=row) for row in range(ROWS)])
HONEST = temporal(TIMES, share=0.2)


def test_an_honest_split_passes():
    check(HONEST, times=TIMES, features_as_of={"past visits": TIMES - timedelta(minutes=1)})
    for split in grouped_folds(USERS, seed=1):
        check(split, groups={"user": USERS})


def test_the_same_user_on_both_sides_is_found():
    with pytest.raises(Leak, match=r"the same user is on both sides: 20 of its values, in 20 of 20 test rows"):
        check(HONEST, groups={"user": USERS})


def test_one_planted_user_is_found():
    users = np.array([f"user {row}" for row in range(ROWS)], dtype=object)
    users[90] = users[10]
    with pytest.raises(Leak, match=r"the same user is on both sides: 1 of its values, in 1 of 20 .*one is user 10"):
        check(HONEST, groups={"user": users})


def test_the_same_test_on_both_sides_is_found_though_users_are_apart():
    split = grouped_folds(USERS, seed=1)[0]
    with pytest.raises(Leak, match="the same test is on both sides"):
        check(split, groups={"user": USERS, "test": TESTS})


def test_rows_without_a_user_share_none():
    check(HONEST, groups={"user": [None] * ROWS})


def test_future_data_is_found():
    shuffled = Split("shuffled", np.arange(0, ROWS, 2), np.arange(1, ROWS, 2))
    with pytest.raises(Leak, match="shuffled: 49 of 50 training rows are not earlier than the first test row"):
        check(shuffled, times=TIMES)


def test_a_training_row_of_the_moment_of_a_test_row_is_future_data():
    with pytest.raises(Leak, match="1 of 1 training rows are not earlier"):
        check(Split("tie", np.array([0]), np.array([1])), times=[5, 5])


def test_a_feature_computed_later_is_found():
    late = TIMES.to_list()
    late[85] += timedelta(days=30)
    features = {"past visits": TIMES, "conversion so far": pl.Series(late)}
    with pytest.raises(Leak, match=r"the feature conversion so far .* in 1 of 100 rows \(row 85"):
        check(HONEST, times=TIMES, features_as_of=features)


def test_a_row_on_both_sides_is_found():
    with pytest.raises(Leak, match=r"1 row.* row 2"):
        check(Split("fold 1", np.array([1, 2]), np.array([2, 3])))


def test_what_cannot_be_checked_is_said():
    with pytest.raises(BadInput, match="beside `times`"):
        check(HONEST, features_as_of={"x": TIMES})
    with pytest.raises(BadInput, match="user has 3 values"):
        check(HONEST, groups={"user": ["a", "b", "c"]})


def test_duplicates_count_test_rows_whose_features_were_learned_from():
    features = pl.DataFrame({"a": [1, 1, 2, 3, None, None], "b": ["x", "x", "y", "z", None, None]})
    split = Split("fold 1", np.array([0, 2, 4]), np.array([1, 3, 5]))
    assert duplicates(split, features) == 2
    assert duplicates(split, np.array([[1.0], [1.0], [2.0], [3.0], [4.0], [5.0]])) == 1
