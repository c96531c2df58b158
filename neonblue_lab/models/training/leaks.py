"""Finds what a test set should not share with training: users, tests, the future, features computed too late."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neonblue_lab.errors import BadInput
from neonblue_lab.models.training.splits import IntArray, Keys, Split


class Leak(BadInput):
    """Rows that are tested on were, in part, learned from: the score would flatter."""


def check(
    split: Split,
    *,
    groups: Mapping[str, Keys] | None = None,
    times: Keys | None = None,
    features_as_of: Mapping[str, Keys] | None = None,
) -> None:
    """Raise `Leak` for the first way in which the test rows of a split are not new to a model.

    Args:
        split: positions of rows.
        groups: name ("user", "test") -> its value for each row; no value may occur on both sides. Null is no value.
        times: when each row happened; every training row must lie strictly before every test row.
        features_as_of: name of a feature -> for each row the time up to which data went into it (null: none did);
            it may not lie after the row's own time.

    Raises:
        Leak: names the key, with how much is shared.
        BadInput: `features_as_of` without `times`, or a column that has not one value a row.
    """
    _no_row_twice(split)
    for name, values in (groups or {}).items():
        _no_shared_group(split, name, _column(name, values, split))
    if times is not None:
        _no_future(split, _column("times", times, split))
    if features_as_of:
        if times is None:
            raise BadInput("features_as_of can be checked only beside `times`: pass when each row happened.")
        for name, values in features_as_of.items():
            _no_late_feature(split, name, _column(name, values, split), _column("times", times, split))


def duplicates(split: Split, features: pl.DataFrame | NDArray[np.generic]) -> int:
    """How many test rows have exactly the features of a training row: not always a leak, always worth knowing."""
    frame = features if isinstance(features, pl.DataFrame) else pl.DataFrame(np.asarray(features))
    names = frame.columns
    seen = frame[split.train].unique()
    return frame[split.test].join(seen, on=names, how="semi", nulls_equal=True).height


def _no_row_twice(split: Split) -> None:
    both = np.intersect1d(split.train, split.test)
    if len(both):
        raise Leak(f"{split.name}: {len(both)} row(s) are both learned from and tested on; the first is row {both[0]}.")


def _no_shared_group(split: Split, name: str, values: pl.Series) -> None:
    test = values[split.test]
    known = values[split.train].drop_nulls().unique()
    shared = test.is_in(known.implode()).fill_null(False)
    if shared.any():
        example = test.filter(shared)[0]
        raise Leak(
            f"{split.name}: the same {name} is on both sides: {test.filter(shared).n_unique()} of its values, in "
            f"{int(shared.sum())} of {len(test)} test rows (one is {example}). Split by {name} (grouped_folds)."
        )


def _no_future(split: Split, times: pl.Series) -> None:
    train, test = times[split.train], times[split.test]
    first: object = test.min()
    late = int((train >= first).sum())
    if late:
        raise Leak(
            f"{split.name}: {late} of {len(train)} training rows are not earlier than the first test row ({first!s}): "
            "the model would know the future. Cut by time (temporal)."
        )


def _no_late_feature(split: Split, name: str, as_of: pl.Series, times: pl.Series) -> None:
    rows = np.concatenate([split.train, split.test])
    late = (as_of[rows] > times[rows]).fill_null(False)
    if late.any():
        row = int(rows[int(late.arg_true()[0])])
        raise Leak(
            f"{split.name}: the feature {name} was computed from data after the row's own time in {int(late.sum())} of "
            f"{len(rows)} rows (row {row}: data up to {as_of[row]}, row of {times[row]}). Compute it as of the row."
        )


def _column(name: str, values: Keys, split: Split) -> pl.Series:
    series = values if isinstance(values, pl.Series) else pl.Series(values)
    last = max(_last(split.train), _last(split.test))
    if len(series) <= last:
        raise BadInput(f"{name} has {len(series)} values, the split speaks of row {last}: one value a row is needed.")
    return series


def _last(rows: IntArray) -> int:
    return int(rows.max(initial=-1))
