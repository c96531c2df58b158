"""Joint sufficient statistics of one metric's columns: value, denominator and what both were before the experiment.

A mean needs the column y. A ratio of means is y / d. Regression on the time before the experiment (CUPED) needs the
covariate x of y, and for a ratio the covariate w of d. What these give is a count, a mean a column and a covariance a
pair of columns, all centred: see `neonblue_lab.stats.moments` for why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.arrays import Floats, Groups, aligned, counts, floats, refuse
from neonblue_lab.stats.moments import Moments, covariance_of_union

COLUMNS = ("y", "d", "x", "w")

_ROUNDING = 1e-6
"""A covariance may exceed what the variances allow by this share, and by what rounding does to a constant column."""


@dataclass(frozen=True, eq=False)
class JointMoments:
    """Count, means and sample covariances of the columns of many groups of units, kept as float64.

    Attributes:
        columns: which of y, d, x, w there are, in this order; k of them, y always.
        n: number of units, shape (...); NaN where it is not known.
        mean: mean of each column, shape (..., k); NaN where n is 0.
        covariance: sample covariances (divided by n - 1), shape (..., k, k), the variances on the diagonal; NaN where
            n is below 2.

    Raises:
        BadInput: the columns are none of a metric, the shapes disagree, a count is negative or infinite, a variance is
            negative, or a covariance is not symmetric or larger than the variances allow.
    """

    columns: tuple[str, ...]
    n: Floats
    mean: Floats
    covariance: Floats

    def __init__(self, columns: tuple[str, ...], n: ArrayLike, mean: ArrayLike, covariance: ArrayLike) -> None:
        k = len(columns)
        if columns != tuple(name for name in COLUMNS if name in columns) or "y" not in columns:
            raise BadInput(f"The columns of a metric are y and any of d, x, w, in this order: got {columns}.")
        if "w" in columns and "x" not in columns:
            raise BadInput("Column w, the covariate's denominator, needs column x, its numerator.")
        n, mean, covariance = floats("n", n), floats("mean", mean), floats("covariance", covariance)
        if mean.shape[-1:] != (k,) or covariance.shape[-2:] != (k, k):
            raise BadInput(
                f"{k} columns need a mean of shape (..., {k}) and a covariance of shape (..., {k}, {k}): "
                f"got {mean.shape} and {covariance.shape}."
            )
        try:
            shape = np.broadcast_shapes(n.shape, mean.shape[:-1], covariance.shape[:-2])
        except ValueError as error:
            raise BadInput(
                f"The counts {n.shape}, means {mean.shape} and covariances {covariance.shape} must broadcast to one "
                "shape before their columns."
            ) from error
        counts("n", n)
        _check_covariance(mean, covariance)
        n = np.array(np.broadcast_to(n, shape))
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "n", n)
        object.__setattr__(self, "mean", np.where(n[..., None] == 0, np.nan, mean))
        object.__setattr__(self, "covariance", np.where(n[..., None, None] < 2, np.nan, covariance))

    @classmethod
    def of(cls, n: ArrayLike, mean: Mapping[str, ArrayLike], covariance: Mapping[str, ArrayLike]) -> Self:
        """From one array a number: `of(n, {"y": my, "x": mx}, {"yy": vy, "xx": vx, "yx": cyx})`.

        Args:
            n: number of units.
            mean: mean of each column, by its name.
            covariance: covariance of each pair of columns, by their two names in either order; "yy" is y's variance.

        Raises:
            BadInput: as the class; also where a pair is missing, named twice or of no column.
        """
        columns = tuple(name for name in COLUMNS if name in mean)
        pairs = [first + second for i, first in enumerate(columns) for second in columns[i:]]
        ordered = {"".join(sorted(pair, key="ydxw".find)): values for pair, values in covariance.items()}
        if len(columns) != len(mean) or sorted(ordered) != sorted(pairs) or len(ordered) != len(covariance):
            raise BadInput(
                f"Means of {', '.join(mean)} need the covariances {', '.join(pairs)}, and columns are named "
                f"{', '.join(COLUMNS)}: got {', '.join(covariance)}."
            )
        numbers = aligned(
            n=n,
            **{f"mean of {name}": mean[name] for name in columns},
            **{f"covariance {pair}": ordered[pair] for pair in pairs},
        )
        given, numbers = numbers[1 + len(columns) :], numbers[: 1 + len(columns)]
        matrix = np.empty((*numbers[0].shape, len(columns), len(columns)))
        for pair, values in zip(pairs, given, strict=True):
            i, j = columns.index(pair[0]), columns.index(pair[1])
            matrix[..., i, j] = matrix[..., j, i] = values
        return cls(columns, numbers[0], np.stack(numbers[1:], axis=-1), matrix)

    def moments(self, column: str = "y") -> Moments:
        """Count, mean and variance of one column. Raises BadInput where there is no such column."""
        if column not in self.columns:
            raise BadInput(f"There is no column {column!r}: there are {', '.join(self.columns)}.")
        i = self.columns.index(column)
        return Moments(self.n, self.mean[..., i], self.covariance[..., i, i])


def combine(joint: JointMoments, groups: ArrayLike, n_groups: int | None = None) -> JointMoments:
    """Joint moments of the union of disjoint groups of units: row i of `joint` goes into `groups[i]`.

    As `moments.combine`, with the same treatment of empty and unknown rows. A single unit is a row with n = 1, so that
    this also makes joint moments of units.

    Args:
        joint: of shape (rows,), one row a part.
        groups: integers from 0, one a row.
        n_groups: how many groups there are; one more than the largest of `groups` unless given.

    Returns:
        Joint moments of shape (n_groups,); a group without rows has n = 0.

    Raises:
        BadInput: a group is negative or not below `n_groups`, or there is not one for each row.
    """
    parts = Groups(groups, n_groups)
    (n,) = parts.rows(n=joint.n)
    total = parts.total(n)
    k = len(joint.columns)
    mean = np.stack([parts.weighted_mean(n, joint.mean[:, i]) for i in range(k)], axis=-1)
    distance = joint.mean - mean[parts.index]
    covariance = np.empty((parts.size, k, k))
    for i in range(k):
        for j in range(i, k):
            products = distance[:, i] * distance[:, j]
            union = covariance_of_union(parts, n, total, joint.covariance[:, i, j], products)
            covariance[:, i, j] = covariance[:, j, i] = union
    return JointMoments(joint.columns, total, mean, covariance)


def pooled(first: JointMoments, second: JointMoments) -> JointMoments:
    """Joint moments of the units of both, row by row; the two broadcast against each other.

    Chan, Golub & LeVeque (1983), eq. 2.1, for pairs. An empty group changes nothing.

    Raises:
        BadInput: the two have other columns, or their shapes disagree.
    """
    if first.columns != second.columns:
        raise BadInput(f"Groups with the columns {first.columns} and {second.columns} cannot be pooled.")
    n_first, n_second = aligned(n_first=first.n, n_second=second.n)
    empty_first, empty_second = (n_first == 0)[..., None], (n_second == 0)[..., None]
    with np.errstate(all="ignore"):
        total = n_first + n_second
        share = np.where(total == 0, 0.0, n_second / total)[..., None]
        distance = np.where(empty_first | empty_second, 0.0, second.mean - first.mean)
        mean = np.where(empty_first, second.mean, first.mean + share * distance)
        within = _squares(n_first, first.covariance) + _squares(n_second, second.covariance)
        between = (n_first[..., None] * share)[..., None] * distance[..., :, None] * distance[..., None, :]
        covariance = (within + between) / (total - 1)[..., None, None]
    return JointMoments(first.columns, total, mean, covariance)


def _squares(n: Floats, covariance: Floats) -> Floats:
    """Sums of squares and products about the mean: none of a single unit, whose covariance is not known."""
    n = n[..., None, None]
    return np.where(n < 2, 0.0, (n - 1) * covariance)


def _check_covariance(mean: Floats, covariance: Floats) -> None:
    """Raise BadInput where a covariance matrix cannot be one."""
    with np.errstate(all="ignore"):
        variance = np.einsum("...ii->...i", covariance)
        refuse(variance < 0, "variance", variance, "a variance is not negative")
        allowed = (1 + _ROUNDING) * variance + (_ROUNDING * mean) ** 2
        bound = np.sqrt(allowed[..., :, None]) * np.sqrt(allowed[..., None, :])
        other_way = np.swapaxes(covariance, -1, -2)
        refuse(np.abs(covariance - other_way) > _ROUNDING * bound, "covariance", covariance, "it is not symmetric")
        refuse(np.abs(covariance) > bound, "covariance", covariance, "it is larger than the variances allow")
