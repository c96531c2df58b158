"""What is over-represented in a group of users: lift of each value of each feature, with interval, guarded for many.

A lift is the share of users with the value inside the group over the share outside it.
"""

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.stats import hypergeom

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.arrays import Floats, Integers, aligned
from neonblue_lab.stats.multiplicity import holm
from neonblue_lab.stats.shares import wilson

LEVELS = ("low", "middle", "high")
"""Thirds of a numeric feature."""


def lift_interval(
    successes: ArrayLike, n: ArrayLike, successes_outside: ArrayLike, n_outside: ArrayLike, *, alpha: float = 0.05
) -> tuple[Floats, Floats]:
    """Interval of the ratio of two shares, from the Wilson interval of each: for ratios what Newcombe's is for
    differences (Donner & Zou 2012, "Closed-form confidence intervals for functions of the normal mean and standard
    deviation", Stat. Methods Med. Res. 21(4), equation 9). Infinite above where the share outside may be 0."""
    successes, n, successes_outside, n_outside = aligned(
        successes=successes, n=n, successes_outside=successes_outside, n_outside=n_outside
    )
    inside, outside = successes / np.maximum(n, 1), successes_outside / np.maximum(n_outside, 1)
    low, high = wilson(successes, n, alpha=alpha)
    low_outside, high_outside = wilson(successes_outside, n_outside, alpha=alpha)
    product = inside * outside
    below = low * (2 * inside - low)
    above = low_outside * (2 * outside - low_outside)
    with np.errstate(divide="ignore", invalid="ignore"):
        # equation 9 with its root moved below, where it does not vanish
        lowest = below / (product + np.sqrt(product**2 - below * high_outside * (2 * outside - high_outside)))
        highest = (product + np.sqrt(product**2 - above * high * (2 * inside - high))) / above
    return np.where(inside > 0, lowest, 0.0), np.where(low_outside > 0, highest, np.inf)


def values(profiles: pl.DataFrame) -> pl.DataFrame:
    """The features of users as few values each, one row a user and value that is known.

    Texts and booleans are taken as they are; a number of more than three kinds becomes its third: low, middle or high.

    Returns:
        row, feature, value, label: how the value is called in a name ("mobile", "high orders", "no coupon").

    Raises:
        BadInput: a column is neither text, boolean nor number.
    """
    parts = [_value_of(profiles[name]) for name in profiles.columns]
    empty = pl.DataFrame(schema={"row": pl.Int64, "feature": pl.String, "value": pl.String, "label": pl.String})
    return pl.concat([empty, *parts]).drop_nulls("value")


def _value_of(column: pl.Series) -> pl.DataFrame:
    name, called = column.name, column.name.replace("_", " ")
    if column.dtype == pl.Boolean:
        value = column.cast(pl.String)
        label = pl.select(pl.when(column).then(pl.lit(called)).when(~column).then(pl.lit(f"no {called}"))).to_series()
    elif column.dtype.is_numeric():
        number = column.cast(pl.Float64).fill_nan(None)
        if number.drop_nulls().n_unique() > len(LEVELS):
            first, second = number.quantile(1 / 3, "linear"), number.quantile(2 / 3, "linear")
            of = pl.when(number <= first).then(pl.lit("low")).when(number <= second).then(pl.lit("middle"))
            value = pl.select(pl.when(number.is_not_null()).then(of.otherwise(pl.lit("high")))).to_series()
            label = value + f" {called}"
        else:
            value = column.cast(pl.String)
            label = f"{called} " + value
    elif column.dtype in (pl.String, pl.Categorical) or isinstance(column.dtype, pl.Enum):
        value = label = column.cast(pl.String)
    else:
        raise BadInput(f"Profile column {name} is {column.dtype}: give texts, booleans or numbers.")
    rows = pl.int_range(column.len(), dtype=pl.Int64, eager=True)
    return pl.select(row=rows, feature=pl.lit(name), value=value, label=label)


def lifts(groups: Integers, profiles: pl.DataFrame, *, alpha: float = 0.05) -> pl.DataFrame:
    """The lift of each value of each feature in each group.

    Args:
        groups: the group of each user.
        profiles: one row a user, in the same order; one column a feature.
        alpha: 1 - the chance that *all* intervals of lifts hold at once (Bonferroni); shares have their own each.

    Returns:
        group, feature, value, label, users (of the group with the value), share, share_low, share_high (Wilson),
        share_elsewhere, lift, lift_low, lift_high, p_value (exact, one-sided: no oftener than elsewhere) and
        p_adjusted (Holm over all rows). The largest differences first in each group.

    Raises:
        BadInput: groups and profiles are of different length, or a column is neither text, boolean nor number.
    """
    if len(groups) != profiles.height:
        raise BadInput(f"There are {len(groups)} users in groups and {profiles.height} profiles: one each.")
    known = values(profiles)
    known = known.with_columns(group=np.asarray(groups, dtype=np.int64)[known["row"].to_numpy()])
    kinds = known.group_by("feature", "value", "label", maintain_order=True).agg(everywhere=pl.len())
    seen = known.group_by("group", "feature").agg(n=pl.len())
    users = known.group_by("group", "feature", "value").agg(users=pl.len())
    table = (
        seen.join(kinds, on="feature")
        .join(users, on=["group", "feature", "value"], how="left")
        .with_columns(pl.col("users").fill_null(0), total=pl.col("n").sum().over("feature", "value"))
        .sort("group", "feature", "value")
    )
    # counts are unsigned in Polars, and their differences would wrap around, here and within SciPy
    inside, n, everywhere, total = (
        table[name].to_numpy().astype(np.int64) for name in ("users", "n", "everywhere", "total")
    )
    outside, n_outside = everywhere - inside, total - n
    share_low, share_high = wilson(inside, n, alpha=alpha)
    low, high = lift_interval(inside, n, outside, n_outside, alpha=alpha / max(table.height, 1))
    p_value = hypergeom.sf(inside - 1.0, total, everywhere, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        share, elsewhere = inside / n, outside / n_outside
        lift = share / elsewhere
    answer = table.select("group", "feature", "value", "label", "users").with_columns(
        share=share,
        share_low=share_low,
        share_high=share_high,
        share_elsewhere=elsewhere,
        lift=lift,
        lift_low=low,
        lift_high=high,
        p_value=p_value,
        p_adjusted=holm(p_value),
    )
    gain = (pl.col("share") - pl.col("share_elsewhere")).fill_nan(0.0)
    return answer.sort(pl.col("group"), -gain, pl.col("feature"), pl.col("value"))
