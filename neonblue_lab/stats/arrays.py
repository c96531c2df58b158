"""Float arrays checked with the name and index of what is wrong in them, and sums within groups of rows."""

from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neonblue_lab.errors import BadInput

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def floats(name: str, values: ArrayLike) -> Floats:
    """Return `values` as float64, None as NaN. Raises BadInput where they are not numbers."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{name} must be numbers: {error}.") from error


def aligned(**named: ArrayLike) -> tuple[Floats, ...]:
    """Return the named values as float64 arrays broadcast to one shape. Raises BadInput where the shapes disagree."""
    arrays = [floats(name, values) for name, values in named.items()]
    try:
        return np.broadcast_arrays(*arrays)
    except ValueError as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in zip(named, arrays, strict=True))
        raise BadInput(f"These arrays must have one shape, or broadcast to one: {shapes}.") from error


def refuse(impossible: NDArray[np.bool_], name: str, values: ArrayLike, rule: str) -> None:
    """Raise BadInput naming the first index where `impossible` holds, its value and the rule that it breaks."""
    if impossible.any():
        index = tuple(int(axis[0]) for axis in np.nonzero(np.atleast_1d(impossible)))
        where = index[0] if len(index) == 1 else index
        value = np.atleast_1d(np.broadcast_to(values, impossible.shape))[index]
        raise BadInput(f"{name} at index {where} is {value:.15g}: {rule}.")


def counts(name: str, values: Floats) -> None:
    """Raise BadInput where a count is negative or infinite. NaN stands for a count that is not known."""
    refuse((values < 0) | np.isinf(values), name, values, "a count is finite and not negative")


def check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise BadInput(f"alpha is {alpha}: it must lie between 0 and 1 (0.05 gives 95 % intervals).")


def check_option(name: str, value: str, options: Any) -> None:
    """Raise BadInput where `value` is none of the `options`, a Literal type."""
    if value not in get_args(options):
        raise BadInput(f"{name} is {value!r}: it must be one of {', '.join(get_args(options))}.")


class Groups:
    """Rows that belong to groups numbered 0, 1, 2, ...: sums and means within each, by columns.

    Attributes:
        index: the group of each row, shape (rows,).
        size: the number of groups; a group may be without rows.
    """

    def __init__(self, index: ArrayLike, size: int | None = None) -> None:
        """`size` is one more than the largest index unless given. Raises BadInput on an index that is no group."""
        array: NDArray[Any] = np.asarray(index)
        if array.size == 0:
            array = array.astype(np.int64)
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            raise BadInput(f"A group index must be a 1-d array of integers: got {array.dtype} of shape {array.shape}.")
        self.index: Integers = array.astype(np.int64)
        refuse(self.index < 0, "group", self.index, "groups are numbered from 0")
        self.size = int(self.index.max(initial=-1)) + 1 if size is None else size
        refuse(self.index >= self.size, "group", self.index, f"there are {self.size} groups, numbered from 0")

    def rows(self, **named: ArrayLike) -> tuple[Floats, ...]:
        """Return the named values as float64 of one value a row. Raises BadInput where their length is another."""
        columns = tuple(floats(name, values) for name, values in named.items())
        for name, column in zip(named, columns, strict=True):
            if column.shape != self.index.shape:
                raise BadInput(
                    f"{name} has shape {column.shape}, and there are {self.index.size} rows: one value each."
                )
        return columns

    def total(self, values: ArrayLike) -> Floats:
        """Sum of `values` in each group, shape (size,); 0 for a group without rows."""
        weights: Floats = np.asarray(values, dtype=np.float64)
        return np.bincount(self.index, weights=weights, minlength=self.size).astype(np.float64, copy=False)

    def weighted_mean(self, weights: Floats, values: Floats) -> Floats:
        """Mean of `values` in each group, NaN where the weights sum to 0. Rows of weight 0 do not count.

        Summed as distances from one of the group's own values, so that a mean far from zero keeps its digits.
        """
        counted = weights != 0
        reference = np.zeros(self.size)
        reference[self.index[counted]] = values[counted]
        with np.errstate(all="ignore"):
            distance = np.where(counted, values - reference[self.index], 0.0)
            return reference + self.total(weights * distance) / self.total(weights)
