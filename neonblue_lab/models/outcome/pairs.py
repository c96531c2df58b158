"""Pairs of texts that were tried against each other: the same experiment, the same picture, other words."""

import polars as pl
from scipy.special import ndtr

from neonblue_lab.errors import BadInput

ARM_COLUMNS = ("experiment_id", "context", "time", "text", "impressions", "clicks")
"""What `pairs` reads. `context` is whatever else an arm showed (its picture); arms of other contexts are not compared."""

DECISIVE = 1.96
"""|z| from which on the clicks themselves say which text is better."""


def pairs(arms: pl.DataFrame) -> pl.DataFrame:
    """Every two texts of one experiment that were shown alike, with what came of them.

    Arms of the same experiment, context and text are added up first; blanks around a text do not count. Arms without a
    context and pairs with the same click rate are left out.

    Args:
        arms: ARM_COLUMNS; one row an arm.

    Returns:
        experiment_id, context, time (the earliest of the experiment's arms), text_a, text_b, impressions_a, clicks_a,
        impressions_b, clicks_b, z (two-proportion, pooled; positive where a was clicked more often), chance (probability that
        a is the better text, nothing but these clicks being known: the normal distribution function of z).

    Raises:
        BadInput: a column is missing, or an arm has more clicks than impressions.
    """
    missing = [column for column in ARM_COLUMNS if column not in arms.columns]
    if missing:
        raise BadInput(f"Arms lack {', '.join(missing)}: they need {', '.join(ARM_COLUMNS)}.")
    impossible = arms.filter((pl.col("clicks") > pl.col("impressions")) | (pl.col("clicks") < 0))
    if impossible.height:
        row = impossible.row(0, named=True)
        raise BadInput(
            f"An arm of experiment {row['experiment_id']} has {row['clicks']} clicks of {row['impressions']} "
            "impressions: clicks lie between 0 and the impressions."
        )
    merged = (
        arms.with_columns(pl.col("text").str.strip_chars())
        .drop_nulls(["context", "text"])
        .group_by("experiment_id", "context", "text", maintain_order=True)
        .agg(pl.col("time").min(), pl.col("impressions").sum(), pl.col("clicks").sum())
        .filter(pl.col("impressions") > 0)
        .with_row_index("arm")
    )
    return _compared(merged)


def _compared(merged: pl.DataFrame) -> pl.DataFrame:
    of_each = merged.join(merged, on=["experiment_id", "context"], suffix="_b", maintain_order="left_right")
    clicks, impressions, clicks_b, impressions_b = (
        pl.col(name).cast(pl.Float64) for name in ("clicks", "impressions", "clicks_b", "impressions_b")
    )
    pooled = (clicks + clicks_b) / (impressions + impressions_b)
    variance = pooled * (1 - pooled) * (1 / impressions + 1 / impressions_b)
    found = (
        of_each.filter(pl.col("arm") < pl.col("arm_b"))
        .filter(pl.col("clicks") * pl.col("impressions_b") != pl.col("clicks_b") * pl.col("impressions"))
        .with_columns(z=(clicks / impressions - clicks_b / impressions_b) / variance.sqrt())
        .rename({"text": "text_a", "impressions": "impressions_a", "clicks": "clicks_a"})
        .drop("arm", "arm_b", "time_b")
    )
    return found.with_columns(chance=pl.Series(ndtr(found["z"].to_numpy()), dtype=pl.Float64))
