"""What past experiments teach before they ran: their configuration, and what came of them.

A configuration is as it stands now: the lake keeps one of each experiment. What was put into a name or a description after
the end, such as who won, would be taken for something known before.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.events.records import TIMESTAMP
from neonblue_lab.metrics.outcome import FLAT, LOSS, WIN
from neonblue_lab.models.outcome.pairs import ARM_COLUMNS

OUTCOMES = (WIN, FLAT, LOSS)
"""The outcomes that are predicted, in the order of every array of probabilities."""

CATEGORIES = ("experiment_type", "industry", "user_segment", "metric")
NUMBERS = (
    "variants",
    "evenness",
    "new_names",
    "new_descriptions",
    "name_length",
    "hypothesis_length",
    "variant_length",
)

FEATURES: dict[str, pl.DataType] = {
    **dict.fromkeys(CATEGORIES, pl.String()),
    **dict.fromkeys(NUMBERS, pl.Float64()),
}
"""What is known of an experiment before it runs. `variants` counts them beside the control; `evenness` is the smallest share
of traffic times the number of arms (1 where all are equal); `new_names` and `new_descriptions` are the shares of variants
whose name or description is another than the control's; lengths are in characters, of variants the mean."""

HISTORY_SCHEMA: dict[str, pl.DataType] = {
    "experiment_id": pl.String(),
    "name": pl.String(),
    "started_at": TIMESTAMP,
    "known_at": TIMESTAMP,
    "content": pl.String(),
    **FEATURES,
    "outcome": pl.String(),
}
"""`known_at` is when the outcome was there to learn from: the end, or the start where no end is recorded. `content` is what
the arms show: experiments that show the same are one for every split."""


def history(experiments: pl.DataFrame, documents: pl.DataFrame) -> pl.DataFrame:
    """Finished experiments with an outcome, the earliest first, in the columns of HISTORY_SCHEMA.

    Args:
        experiments: rows of the lake's table `experiments`.
        documents: the same experiments' documents (experiment_id, metric, outcome): the outcome is theirs. Those that still
            run, whose split is broken or that could not be tested teach nothing of outcomes and are left out.
    """
    taught = documents.filter(pl.col("outcome").is_in(OUTCOMES)).select("experiment_id", "outcome", judged_by="metric")
    joined = experiments.join(taught, on="experiment_id", how="inner", maintain_order="left")
    dated = joined.with_columns(started_at=pl.coalesce("started_at", "created_at"))
    timed = dated.filter(pl.col("started_at").is_not_null()).with_columns(
        known_at=pl.max_horizontal(pl.coalesce("ended_at", "started_at"), "started_at"),
        primary_metric=pl.coalesce("primary_metric", "judged_by"),
    )
    described = timed.with_columns(*_features())
    found = described.select(pl.col(name).cast(dtype) for name, dtype in HISTORY_SCHEMA.items())
    return found.sort("started_at", "experiment_id")


def configured(config: Mapping[str, Any]) -> pl.DataFrame:
    """The features of one configuration: a row in the columns of FEATURES, and `content`.

    Args:
        config: name, hypothesis, experiment_type, industry, user_segment, primary_metric, and variants: dictionaries with
            name, description and allocation, the control first. What is not known is None.
    """
    arms = pl.List(pl.Struct({"name": pl.String(), "description": pl.String(), "allocation": pl.Float64()}))
    names = ("name", "hypothesis", "experiment_type", "industry", "user_segment", "primary_metric")
    row = {name: [config.get(name)] for name in names} | {
        "variants": [
            [{name: arm.get(name) for name in ("name", "description", "allocation")} for arm in config["variants"]]
        ]
    }
    frame = pl.DataFrame(row, schema=dict.fromkeys(names, pl.String()) | {"variants": arms})
    return frame.with_columns(*_features()).select("content", *(pl.col(n).cast(t) for n, t in FEATURES.items()))


def text_arms(experiments: pl.DataFrame, statistics: pl.DataFrame) -> pl.DataFrame:
    """Arms as texts with what they drew, in the columns that `pairs.pairs` reads.

    An arm's text is its variant's name, its context the variant's description: two arms are compared where they differ in
    nothing but the name. Only shares of units (kind `proportion`) count, on the experiment's primary metric.

    Args:
        experiments: rows of the lake's table `experiments`.
        statistics: experiment_id, variant_id, metric, kind, n, mean.
    """
    defined = experiments.select(
        "experiment_id", "primary_metric", "variants", time=pl.coalesce("started_at", "created_at")
    ).explode("variants")
    arm = pl.col("variants").struct
    texts = defined.drop_nulls("variants").select(
        "experiment_id",
        "primary_metric",
        "time",
        variant_id=arm.field("variant_id"),
        text=arm.field("name"),
        context=arm.field("description").fill_null(""),
    )
    shares = statistics.filter(pl.col("kind") == "proportion").drop_nulls(["n", "mean"])
    joined = shares.join(texts, on=["experiment_id", "variant_id"], how="inner", maintain_order="left")
    judged = joined.filter((pl.col("metric") == pl.col("primary_metric")) | pl.col("primary_metric").is_null())
    return judged.drop_nulls("text").select(
        *ARM_COLUMNS[:4],
        impressions=pl.col("n").cast(pl.Int64),
        clicks=(pl.col("n") * pl.col("mean")).round().cast(pl.Int64),
    )


def win_rates(rows: pl.DataFrame, by: str = "experiment_type") -> pl.DataFrame:
    """How often each kind of experiment won: kind, wins, experiments, low, high (Jeffreys' 95 % interval of the share).

    Args:
        rows: columns of HISTORY_SCHEMA.
        by: the column that tells kinds apart.
    """
    from scipy.stats import beta

    counted = (
        rows.group_by(kind=pl.col(by).fill_null("(not stated)"))
        .agg(wins=(pl.col("outcome") == WIN).sum(), experiments=pl.len())
        .sort("kind")
    )
    wins, others = counted["wins"].to_numpy() + 0.5, (counted["experiments"] - counted["wins"]).to_numpy() + 0.5
    return counted.with_columns(
        low=pl.Series(beta.ppf(0.025, wins, others)), high=pl.Series(beta.ppf(0.975, wins, others))
    )


def outcome_codes(outcomes: pl.Series) -> np.ndarray:
    """Positions in OUTCOMES.

    Raises:
        BadInput: another outcome.
    """
    other = outcomes.filter(~outcomes.is_in(OUTCOMES))
    if len(other):
        raise BadInput(f"{other[0]!r} is no outcome to learn from: {', '.join(OUTCOMES)} are.")
    return outcomes.replace_strict(list(OUTCOMES), range(len(OUTCOMES)), return_dtype=pl.Int64).to_numpy()


def _features() -> Sequence[pl.Expr]:
    """`content` and FEATURES, from the columns that define an experiment."""
    arm = pl.element().struct
    name, description = (arm.field(field).str.strip_chars().fill_null("") for field in ("name", "description"))
    shown = pl.concat_str([name, description], separator="\n")
    share = arm.field("allocation")
    variants = pl.col("variants")
    arms = variants.list.len()

    def one(of_arms: pl.Expr) -> pl.Expr:
        return variants.list.eval(of_arms).list.first()

    def differing(text: pl.Expr) -> pl.Expr:
        return pl.when(arms > 1).then(one((text != text.first()).sum()) / (arms - 1)).otherwise(0.0)

    return (
        variants.list.eval(shown).list.join("\n\n").alias("content"),
        pl.col("primary_metric").alias("metric"),
        (arms.cast(pl.Int64) - 1).clip(lower_bound=0).alias("variants"),
        one(share.min() / share.mean()).fill_nan(None).fill_null(1.0).alias("evenness"),
        differing(name).alias("new_names"),
        differing(description).alias("new_descriptions"),
        pl.col("name").str.len_chars().fill_null(0).alias("name_length"),
        pl.col("hypothesis").str.len_chars().fill_null(0).alias("hypothesis_length"),
        one(shown.str.len_chars().mean()).fill_null(0).alias("variant_length"),
    )
