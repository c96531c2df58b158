"""Tables that hold one row a user already, as a Parquet file or a table of a database does: to the same statistics.

One scan takes the sums of all columns about a first guess of their means, or the numbers near a first guess of a quantile.
Where a guess was too far off to keep the digits of a variance or to hold the quantile, or a column has nulls, `joint` and
`ranks` take another way to the same numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import ibis.expr.types as ir
import numpy as np
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.metrics.joint import PAIRS, joint_moments, second_moment
from neonblue_lab.metrics.ranks import neighbourhoods
from neonblue_lab.metrics.statistics import of_moments, of_ranks
from neonblue_lab.stats.quantiles import quantile_ranks

_FIRST_ROWS = 10_000
"""Their means and quantiles are the first guess."""

_SPREADS = 6
"""How many standard errors of the first rows' quantile its neighbourhood reaches to either side."""

_LOST = 1e6
"""How many times the guess's own square may be the variance: 6 of 16 digits are lost then."""


@dataclass(frozen=True)
class UserMetric:
    """Which columns of a table with one row a user make a metric.

    Attributes:
        kind: as of `Metric`; `mean` for shares of 0 and 1 too, unless they are named a `proportion`.
        y: the column of the users' numbers, or of a ratio's numerator.
        d: the column of a ratio's denominator.
        x: the covariate of y: the same before the experiment.
        w: the covariate of d.
        quantile: of a quantile: which one, between 0 and 1.

    Raises:
        BadInput: the kind needs a column that is not named, or one is named that it has no use for.
    """

    kind: Literal["proportion", "mean", "ratio", "quantile"]
    y: str
    d: str | None = None
    x: str | None = None
    w: str | None = None
    quantile: float | None = None

    def __post_init__(self) -> None:
        if (self.d is not None) != (self.kind == "ratio"):
            raise BadInput(f"A column `d`, the denominator, belongs to a ratio, which needs it: this is a {self.kind}.")
        if (self.w is not None) != (self.kind == "ratio" and self.x is not None):
            raise BadInput("The covariates of a ratio are two, `x` and `w`; of anything else it is `x` alone.")
        if (self.quantile is not None) != (self.kind == "quantile") or (self.kind == "quantile" and self.x is not None):
            raise BadInput("A quantile needs `quantile` (such as 0.9) and `y` alone; nothing else has a `quantile`.")
        if self.quantile is not None and not 0 < self.quantile < 1:
            raise BadInput(f"quantile is {self.quantile}: it must lie between 0 and 1.")

    @property
    def columns(self) -> dict[str, str]:
        """Which of y, d, x, w there are -> the table's column."""
        return {name: column for name in ("y", "d", "x", "w") if (column := getattr(self, name)) is not None}


def user_statistics(
    rows: ir.Table, metrics: Mapping[str, UserMetric], *, experiment_id: str | None = None
) -> pl.DataFrame:
    """Sufficient statistics of a table with one row a user.

    Args:
        rows: of a connected engine, such as `ibis.duckdb.connect().read_parquet("users.parquet")`, with `variant_id`, and
            `experiment_id` where it holds several experiments. A user who was in two variants of an experiment is to be
            left out of it beforehand. A user of whom a column of a metric is null is not counted in that metric.
        metrics: name -> columns.
        experiment_id: the experiment of a table that has no such column.

    Returns:
        Columns of STATISTICS_SCHEMA, sorted.

    Raises:
        BadInput: a column is missing, or it is not clear of which experiment the table is.
    """
    _check(rows, metrics, experiment_id)
    by = ["variant_id"] if experiment_id is not None else ["experiment_id", "variant_id"]
    means = {str(i): metric for i, metric in enumerate(metrics.values()) if metric.quantile is None}
    wide = _moments(rows, by, means) if means else pl.DataFrame()
    frames = []
    for i, (name, metric) in enumerate(metrics.items()):
        if metric.quantile is None:
            frames.append(of_moments(_with(wide, experiment_id), str(i), name, metric.kind, tuple(metric.columns)))
        else:
            users = _named(rows, by, {"0": metric})
            found = _near_quantile(users, by, metric.quantile)
            if found is None:
                # All users' numbers are sorted and held: one metric at a time.
                found = _fetch(neighbourhoods(users, by, {"0": metric.quantile}))
            frames.append(of_ranks(_with(found, experiment_id), "0", name, metric.quantile))
    found = pl.concat(frames)
    keys = list(zip(found["experiment_id"], found["metric"], found["variant_id"], strict=True))
    return found[sorted(range(len(keys)), key=keys.__getitem__)]


def _moments(rows: ir.Table, by: Sequence[str], metrics: Mapping[str, UserMetric]) -> pl.DataFrame:
    found = _one_scan(rows, by, metrics)
    if found is not None:
        return found
    measured = {suffix: tuple(metric.columns) for suffix, metric in metrics.items()}
    return _fetch(joint_moments(_named(rows, by, metrics), by, measured))


def _check(rows: ir.Table, metrics: Mapping[str, UserMetric], experiment_id: str | None) -> None:
    if not metrics:
        raise BadInput("No metric is named: give at least one.")
    if (experiment_id is None) != ("experiment_id" in rows.columns):
        raise BadInput(
            "A table of users has a column `experiment_id`, or the argument `experiment_id` says which experiment it is of: "
            "one of the two."
        )
    needed = {"variant_id": "the table", **{c: name for name, m in metrics.items() for c in m.columns.values()}}
    for column, by in needed.items():
        if column not in rows.columns:
            raise BadInput(f"{by} needs a column {column}, which is not there: there are {', '.join(rows.columns)}.")


def _named(rows: ir.Table, by: Sequence[str], metrics: Mapping[str, UserMetric]) -> ir.Table:
    """Each metric's columns under the names that `joint` and `ranks` know them by."""
    named = {f"{c}_{i}": rows[column] for i, metric in metrics.items() for c, column in metric.columns.items()}
    return rows.filter(*(rows[key].notnull() for key in by)).select(*by, **named)


def _one_scan(rows: ir.Table, by: Sequence[str], metrics: Mapping[str, UserMetric]) -> pl.DataFrame | None:
    """What `joint_moments` returns, or None where nulls or lost digits ask for two passes."""
    names = list(dict.fromkeys(column for metric in metrics.values() for column in metric.columns.values()))
    known = rows.filter(*(rows[key].notnull() for key in by))
    values = known.select(*by, **{f"c{i}": known[name].cast("float64") for i, name in enumerate(names)})
    index = {name: i for i, name in enumerate(names)}
    pairs = {
        tuple(sorted((index[metric.columns[a]], index[metric.columns[b]])))
        for metric in metrics.values()
        for a, b in PAIRS
        if {a, b} <= metric.columns.keys()
    }
    first = values.limit(_FIRST_ROWS)
    [guess] = _fetch(first.aggregate(**{f"c{i}": first[f"c{i}"].mean() for i in range(len(names))})).iter_rows()
    if any(mean is None for mean in guess):
        return None
    distances = values.select(*by, **{f"c{i}": values[f"c{i}"] - mean for i, mean in enumerate(guess)})
    sums = _fetch(
        distances.group_by(by).aggregate(
            n=distances.count(),
            **{f"n_{i}": distances[f"c{i}"].count() for i in range(len(names))},
            **{f"sum_{i}": distances[f"c{i}"].sum() for i in range(len(names))},
            **{f"sum_{i}_{j}": (distances[f"c{i}"] * distances[f"c{j}"]).sum() for i, j in sorted(pairs)},
        )
    )
    number = {name: sums[name].to_numpy().astype(np.float64) for name in sums.columns if name not in by}
    n = number["n"]
    off = [number[f"sum_{i}"] / n for i in range(len(names))]
    centred = {(i, j): number[f"sum_{i}_{j}"] - number[f"sum_{i}"] * off[j] for i, j in pairs}
    if not all(
        (number[f"n_{i}"] == n).all() and (n * off[i] ** 2 <= _LOST * centred[i, i]).all() for i in range(len(names))
    ):
        return None
    out = {}
    for suffix, metric in metrics.items():
        out[f"n_{suffix}"] = n
        for name, column in metric.columns.items():
            out[f"mean_{name}_{suffix}"] = off[index[column]] + guess[index[column]]
        for a, b in PAIRS:
            if {a, b} <= metric.columns.keys():
                i, j = sorted((index[metric.columns[a]], index[metric.columns[b]]))
                out[f"{second_moment(a, b)}_{suffix}"] = centred[i, j] / np.where(n > 1, n - 1, np.nan)
    return pl.DataFrame({key: sums[key] for key in by} | out)


def _near_quantile(users: ir.Table, by: Sequence[str], share: float) -> pl.DataFrame | None:
    """What `neighbourhoods` returns, out of the numbers near a guess of the quantile alone, or None where the ranks that are
    asked for lie further off in some group."""
    numbers = users.select(*by, y=users.y_0.cast("float64"))
    first = _fetch(numbers.limit(_FIRST_ROWS).select("y"))["y"].drop_nulls()
    if first.is_empty():
        return None
    margin = _SPREADS * (share * (1 - share) / len(first)) ** 0.5
    low, high = (first.quantile(min(max(share + side * margin, 0.0), 1.0), "nearest") for side in (-1, 1))
    found = _fetch(
        numbers.group_by(by).aggregate(
            n_0=numbers.y.count(),
            below=(numbers.y < low).ifelse(1, 0).sum(),
            near=numbers.y.collect(where=numbers.y.between(low, high)).sort(),
        )
    )
    near = found["near"]
    first_rank = pl.col("below") + 1
    ranks = quantile_ranks(found["n_0"].to_numpy(), share)
    held = found.select(
        first=first_rank.cast(pl.Float64), last=(pl.col("below") + pl.col("near").list.len()).cast(pl.Float64)
    )
    inside = (np.fmax(ranks.low, 1) >= held["first"].to_numpy()) & (
        np.fmin(ranks.high, ranks.n) <= held["last"].to_numpy()
    )
    if not inside.all():
        return None
    place = pl.Series(ranks.value - held["first"].to_numpy()).cast(pl.Int64)
    return found.select(
        *by,
        "n_0",
        value_0=pl.col("near").list.get(pl.lit(place)),
        low_values_0=near,
        low_first_0=first_rank,
        high_values_0=near,
        high_first_0=first_rank,
    )


def _with(wide: pl.DataFrame, experiment_id: str | None) -> pl.DataFrame:
    if experiment_id is None:
        return wide
    return wide.hstack([pl.Series("experiment_id", [experiment_id] * wide.height, dtype=pl.String)])


def _fetch(expression: ir.Table) -> pl.DataFrame:
    """The few rows of a result; by way of Python's own lists, as what Polars needs to read Arrow takes 50 MB."""
    return pl.DataFrame(expression.to_pyarrow().to_pydict(), schema=expression.schema().to_polars())
