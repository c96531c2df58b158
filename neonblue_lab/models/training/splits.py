"""Honest splits: folds that keep whole groups together, a cut in time, and what is one group at all."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neonblue_lab.errors import BadInput

IntArray = NDArray[np.int64]
Keys = pl.Series | NDArray[np.generic] | Sequence[object]
"""One value a row; null belongs to no group but its own row."""


@dataclass(frozen=True)
class Split:
    """Which rows are learned from and which are predicted.

    Attributes:
        name: what is held out: "fold 1", a group's value, "from 2014-11-24".
        train: row positions, ascending.
        test: row positions, ascending; none of them in `train`.
    """

    name: str
    train: IntArray
    test: IntArray


def codes(keys: Keys) -> IntArray:
    """A number for each row, equal where the keys are equal; numbered by first occurrence, each null a number of its own."""
    row = pl.col("row")
    first = (
        pl.DataFrame({"key": _series(keys)})
        .with_row_index("row")
        .select(first=pl.when(pl.col("key").is_null()).then(row).otherwise(row.min().over("key")))["first"]
    )
    result: IntArray = np.unique(first.to_numpy(), return_inverse=True)[1].astype(np.int64)
    return result


def components(*keys: Keys) -> IntArray:
    """Groups of rows that share a value of any key, directly or through others; numbered by first occurrence.

    Two tests that show the same headline are one group for `components(tests, headlines)`: a model that saw one of
    them has seen part of the other.

    Raises:
        BadInput: no keys, or keys of different lengths.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not keys:
        raise BadInput("components() needs at least one key: the values that rows may share.")
    coded = [codes(key) for key in keys]
    rows = len(coded[0])
    if any(len(code) != rows for code in coded):
        raise BadInput(f"The keys of components() have different lengths: {', '.join(str(len(c)) for c in coded)}.")
    starts = rows + np.cumsum([0, *(int(code.max(initial=-1)) + 1 for code in coded)])
    targets = np.concatenate([code + start for code, start in zip(coded, starts, strict=False)])
    sources = np.tile(np.arange(rows), len(coded))
    size = int(starts[-1])
    graph = coo_matrix((np.ones(len(sources), dtype=np.int8), (sources, targets)), shape=(size, size))
    return codes(connected_components(graph, directed=False)[1][:rows])


def grouped_folds(groups: Keys, *, folds: int = 5, seed: int) -> list[Split]:
    """Folds of about equally many rows, each group whole in one of them.

    Groups are shuffled, then the largest goes first into the fold that has the fewest rows.

    Raises:
        BadInput: fewer than two folds, or fewer groups than folds.
    """
    group = codes(groups)
    sizes = np.bincount(group)
    if folds < 2:
        raise BadInput(f"folds is {folds}: at least 2 are needed.")
    if len(sizes) < folds:
        raise BadInput(f"{len(sizes)} group(s) do not fill {folds} folds: ask for fewer folds, or bring more groups.")
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    fold_of_group = np.empty(len(sizes), dtype=np.int64)
    fill = [(0, fold) for fold in range(folds)]
    for position in order.tolist():
        rows, fold = fill[0]
        fold_of_group[position] = fold
        heapq.heapreplace(fill, (rows + int(sizes[position]), fold))
    fold_of_row = fold_of_group[group]
    return [_split(f"fold {fold + 1}", fold_of_row == fold) for fold in range(folds)]


def leave_one_out(groups: Keys) -> list[Split]:
    """One split a group, named by its value: that group is predicted from all others. In order of first occurrence.

    Raises:
        BadInput: fewer than two groups.
    """
    series, group = _series(groups), codes(groups)
    first = np.unique(group, return_index=True)[1]
    if len(first) < 2:
        raise BadInput(f"{len(first)} group(s): leaving one out needs at least 2.")
    return [_split(str(series[int(row)]), group == position) for position, row in enumerate(first)]


def temporal(
    times: Keys,
    *,
    at: datetime | date | float | None = None,
    share: float | None = None,
    groups: Keys | None = None,
) -> Split:
    """Train strictly before a moment, test from then on.

    Args:
        times: one a row: dates, times or numbers that grow with time.
        at: the moment.
        share: instead of `at`: about this share of the rows, the last ones, are tested; rows of one time stay together.
        groups: test rows whose group occurs in training are left out of both.

    Raises:
        BadInput: a row without a time, not exactly one of `at` and `share`, or a side without rows.
    """
    series = _series(times)
    if series.null_count():
        raise BadInput(f"{series.null_count()} of {len(series)} rows have no time: they belong to no side of a cut.")
    if (at is None) == (share is None):
        raise BadInput("temporal() needs exactly one of `at` (a moment) and `share` (of the rows, the last ones).")
    if share is not None:
        if not 0 < share < 1:
            raise BadInput(f"share is {share}: it must lie between 0 and 1.")
        at = series.sort()[min(len(series) - 1, round(len(series) * (1 - share)))] if len(series) else None
    later = (series >= at).to_numpy()
    train, test = np.flatnonzero(~later), np.flatnonzero(later)
    if groups is not None:
        group = codes(groups)
        test = test[~np.isin(group[test], group[train])]
    if not len(train) or not len(test):
        raise BadInput(
            f"A cut at {at} leaves {len(train)} rows to learn from and {len(test)} to test on: choose another moment."
        )
    return Split(f"from {at}", train, test)


def _split(name: str, held_out: NDArray[np.bool_]) -> Split:
    return Split(name, np.flatnonzero(~held_out), np.flatnonzero(held_out))


def _series(keys: Keys) -> pl.Series:
    return keys if isinstance(keys, pl.Series) else pl.Series(keys)
