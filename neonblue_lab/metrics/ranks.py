"""Order statistics within groups of rows, as one Ibis expression for any engine: percentiles, and what a quantile and its
interval are looked up in.

Always a value that some user has, never one between two: the engines interpolate each in its own way.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import polars as pl

from neonblue_lab.stats.arrays import Floats
from neonblue_lab.stats.quantiles import Quantile, quantile_ranks

_Z = 1.959963984540054
REACH = 4
"""How many ranks to either side of the normal approximation the exact ones of an interval are looked for. They are at most
2 off, for a handful of units as for a hundred million."""

_ROUNDING = 1e-12
"""Shares are decimal fractions: 0.07 of 100 is 7, and not the next integer above 7.000000000000001."""


def order_statistic(column: Any, share: float) -> Any:
    """Aggregate: the smallest value of a column that at least a share of its values do not exceed; null without any."""
    n = column.count()
    return _at(column.collect().sort(), _rank(n, share), n)


def neighbourhoods(rows: ir.Table, by: Sequence[str], shares: Mapping[str, float]) -> ir.Table:
    """What `read_quantile` reads quantiles with their intervals from: one row for each group.

    The ranks of an interval follow from the binomial distribution of n, which no engine knows when the query is written:
    the values around the ranks of its normal approximation are fetched, and the exact ones picked from them.

    Args:
        rows: one row a user.
        by: columns that name a group of users.
        shares: suffix of a metric, whose column is `y_<suffix>` -> which quantile of it, between 0 and 1. A user of whom
            it is null is not counted.

    Returns:
        The columns of `by` and, for each suffix, `n_` (counted users), `value_` (the quantile), and for either end of the
        interval a few values in their order and the rank of the first: `low_values_`, `low_first_`, `high_values_`,
        `high_first_<suffix>`.
    """
    ordered = rows.group_by(by).aggregate(
        **{f"all_{suffix}": rows[f"y_{suffix}"].cast("float64").collect().sort() for suffix in shares}
    )
    sized = ordered.mutate(**{f"n_{suffix}": ordered[f"all_{suffix}"].length() for suffix in shares})
    found: dict[str, Any] = {}
    for suffix, share in shares.items():
        values, n = sized[f"all_{suffix}"], sized[f"n_{suffix}"]
        position = n.cast("float64") * share
        half = (position * (1 - share)).sqrt() * _Z
        found[f"n_{suffix}"] = n
        found[f"value_{suffix}"] = _at(values, _rank(n, share), n)
        for end, middle in (("low", position - half), ("high", position + half)):
            first = middle.floor().cast("int64") - REACH
            first = (first < 1).ifelse(1, first)
            found[f"{end}_values_{suffix}"] = values[first - 1 : first + 2 * REACH]
            found[f"{end}_first_{suffix}"] = first
    return sized.select(*by, **found)


def read_quantile(wide: pl.DataFrame, suffix: str, share: float) -> Quantile:
    """The quantile of each row of what `neighbourhoods` returned, with its interval of 95 %."""
    n = wide[f"n_{suffix}"].cast(pl.Float64).to_numpy()
    ranks = quantile_ranks(n, share)

    def at(end: str, rank: Floats) -> Floats:
        first = wide[f"{end}_first_{suffix}"].cast(pl.Float64).to_numpy()
        known = (rank >= 1) & (rank <= n)
        place = pl.Series(np.where(known, rank - first, 0)).cast(pl.Int64)
        values = pl.col(f"{end}_values_{suffix}").list.get(pl.lit(place), null_on_oob=True)
        found = wide.select(values.fill_null(np.nan)).to_series().to_numpy()
        return np.where(known, found, np.nan)

    value = wide[f"value_{suffix}"].fill_null(np.nan).to_numpy()
    return ranks.quantile(low=at("low", ranks.low), value=value, high=at("high", ranks.high))


def _rank(n: Any, share: float) -> Any:
    return (n.cast("float64") * share * (1 - _ROUNDING)).ceil().cast("int64")


def _at(values: Any, rank: Any, n: Any) -> Any:
    """The value of a rank from 1; null where there is none."""
    return ((rank >= 1) & (rank <= n)).ifelse(values[rank - 1], ibis.null("float64"))
