"""Counts, means and covariances of columns within groups of rows, as one Ibis expression for any engine.

Two passes (Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", The American Statistician 37(3),
eq. 1.7): the means of each group, then sums of products of the distances from them, less what the rounded means leave. No
raw sum of squares, which at a mean of 1e9 and a standard deviation of 1 is 130-fold off, and no engine's own variance,
of which each has another one.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement

import ibis
import ibis.expr.types as ir

COLUMNS = ("y", "d", "x", "w")
"""What a metric may need of a user: its value or numerator, the denominator, and both before the experiment."""

PAIRS = tuple(combinations_with_replacement(COLUMNS, 2))


_ROUNDING = 1e-15
"""A standard deviation of no more than this share of the mean is none: doubles have 15 to 16 digits."""

_LAST_DIGITS = 4e-16


def moment_names(columns: Sequence[str] = COLUMNS) -> tuple[str, ...]:
    """Names of means, variances and covariances: mean_y, ..., var_y, ..., cov_yd, ..."""
    return (*(f"mean_{c}" for c in columns), *(second_moment(*pair) for pair in PAIRS if set(pair) <= set(columns)))


def second_moment(first: str, second: str) -> str:
    """The name of a covariance, or of a variance where the two are one: cov_yd, var_y."""
    return f"var_{first}" if first == second else f"cov_{first}{second}"


def joint_moments(rows: ir.Table, by: Sequence[str], measures: Mapping[str, Sequence[str]]) -> ir.Table:
    """Joint moments of several metrics at once.

    Args:
        rows: one row a user.
        by: columns that name a group of users.
        measures: suffix of a metric -> which of COLUMNS it has; they are columns of `rows` with that suffix, such as
            `y_0` and `d_0`. A user of whom any of them is null is not counted in that metric.

    Returns:
        The columns of `by` and, for each suffix, `n_<suffix>` and those of `moment_names`, such as `cov_yd_0`: sample
        moments (n - 1), null where n is below 2.
    """
    counted = rows.select(*by, *_complete(rows, measures))
    names = [f"{column}_{suffix}" for suffix, columns in measures.items() for column in columns]
    centres = counted.group_by(by).aggregate(**{f"mean_{name}": counted[name].mean() for name in names})
    joined = counted.join(centres, by)
    distances = joined.select(
        *by,
        *(f"mean_{name}" for name in names),
        **{name: joined[name] - joined[f"mean_{name}"] for name in names},
    )
    sums = distances.group_by(by).aggregate(
        **{f"n_{suffix}": distances[f"y_{suffix}"].count() for suffix in measures},
        **{f"mean_{name}": distances[f"mean_{name}"].arbitrary() for name in names},
        **{f"left_{name}": distances[name].sum() for name in names},
        **{
            f"products_{first}{second}_{suffix}": (
                distances[f"{first}_{suffix}"] * distances[f"{second}_{suffix}"]
            ).sum()
            for suffix, columns in measures.items()
            for first, second in _pairs(columns)
        },
    )
    sizes, means, spreads = {}, {}, {}
    for suffix, columns in measures.items():
        sizes[f"n_{suffix}"] = sums[f"n_{suffix}"]
        n = sums[f"n_{suffix}"].cast("float64")
        for column in columns:
            name = f"{column}_{suffix}"
            mean, lost = sums[f"mean_{name}"], sums[f"left_{name}"] / n
            # What long sums lost of the mean; less than its last digits is the rounding of the distances.
            means[f"mean_{name}"] = (lost.abs() > _LAST_DIGITS * mean.abs()).ifelse(mean + lost, mean)
        for first, second in _pairs(columns):
            rounding = sums[f"left_{first}_{suffix}"] * sums[f"left_{second}_{suffix}"] / n
            spread = (sums[f"products_{first}{second}_{suffix}"] - rounding) / (n - 1)
            if first == second:
                # Of a column that is the same for all, only rounding is left, which is no variance.
                noise = sums[f"mean_{first}_{suffix}"] * _ROUNDING
                spread = (spread <= noise * noise).ifelse(0.0, spread)
            spreads[f"{second_moment(first, second)}_{suffix}"] = (n > 1).ifelse(spread, ibis.null("float64"))
    return sums.select(*by, **sizes, **means, **spreads)


def _pairs(columns: Sequence[str]) -> list[tuple[str, str]]:
    return [pair for pair in PAIRS if set(pair) <= set(columns)]


def _complete(rows: ir.Table, measures: Mapping[str, Sequence[str]]) -> list[ir.Value]:
    """Each metric's columns as float64, null for a user of whom one of them is."""
    out = []
    for suffix, columns in measures.items():
        own = [rows[f"{column}_{suffix}"] for column in columns]
        complete = ibis.and_(*(column.notnull() for column in own))
        for column in own:
            value = column.cast("float64")
            out.append(
                (value if len(own) == 1 else complete.ifelse(value, ibis.null("float64"))).name(column.get_name())
            )
    return out
