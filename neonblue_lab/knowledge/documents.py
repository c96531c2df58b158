"""Experiments as documents: the text that a search by meaning reads, and the facts that it filters by."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
import polars as pl
import polars.selectors as cs
from scipy.special import ndtr

from neonblue_lab.errors import BadInput
from neonblue_lab.events.records import TIMESTAMP
from neonblue_lab.metrics.definitions import Metric

DOCUMENT_SCHEMA: dict[str, pl.DataType] = {
    "experiment_id": pl.String(),
    "document": pl.String(),
    "name": pl.String(),
    "experiment_type": pl.String(),
    "industry": pl.String(),
    "user_segment": pl.String(),
    "timestamp": TIMESTAMP,
    "metric": pl.String(),
    "conversion_rate": pl.Float64(),
    "lift": pl.Float64(),
    "statistical_significance": pl.Float64(),
    "statistical_power": pl.Float64(),
    "sample_size": pl.Int64(),
    "outcome": pl.String(),
    "optimization_applied": pl.String(),
}
"""Columns of `experiment_documents`, one row for each experiment."""

WIN, LOSS, FLAT, UNKNOWN = "win", "loss", "flat", "unknown"
BROKEN, RUNNING = "broken split", "running"
OUTCOMES = (WIN, LOSS, FLAT, RUNNING, BROKEN, UNKNOWN)
RELEVANT_LIFT = 0.05
"""The relative difference that `statistical_power` is the power to detect."""
ALPHA = 0.05

_Z = 1.959963984540054  # standard normal quantile at 1 - ALPHA / 2
_TEXTS = ("name", "hypothesis")
_VARIANT_TEXTS = ("name", "description")


def experiment_documents(
    experiments: pl.DataFrame,
    scorecard: pl.DataFrame,
    metrics: Mapping[str, Metric] = MappingProxyType({}),
    *,
    broken: Iterable[str] = (),
) -> pl.DataFrame:
    """One document for each experiment, with its result.

    The result is that of one comparison. Its metric is the experiment's primary metric; where the scorecard has no row of
    it, the first of `metrics` that it has; else the first of its rows. Its variant is the best one: largest lift in the
    direction of improvement (`Metric.better`; higher for a metric without a definition). The best of several is flattered
    by chance, and its lift is not corrected for that.

    Args:
        experiments: rows of the lake's table `experiments`.
        scorecard: rows of comparisons of variants with controls, with 95 % intervals; an experiment may have none.
        metrics: definitions by name.
        broken: experiments whose split is broken: none of their numbers is given.

    Returns:
        Columns of DOCUMENT_SCHEMA in the order of `experiments`; null where a value is not known.

        - `document`: name, hypothesis, then name and description of each variant, a line each, repeated lines left out;
          the experiment's id if it has no text at all.
        - `timestamp`: when it started; when it was created if the start is not known.
        - `metric`, `lift`: of the comparison; a lift of 0.1 is 10 % above the control.
        - `conversion_rate`: mean of the best variant, if the metric's kind is proportion.
        - `statistical_significance`: 1 - adjusted p-value: at least 0.95 means significant at 5 %. It is not the
          probability that the variant is better.
        - `statistical_power`: power of the two-sided test at 5 % to detect a relative difference of 5 % from the control's
          mean with the standard error that was reached. (The power at the observed difference would be the p-value over
          again: Hoenig and Heisey 2001, "The Abuse of Power", The American Statistician 55.)
        - `sample_size`: users (or impressions: whatever n counts) in the control and in all variants, on the metric.
        - `outcome`: `broken split`, `running` (whatever its numbers say so far), else `win` or `loss` if the adjusted p-value is below 0.05 and the best variant is better or worse than the
          control, `flat` if it is not below, `unknown` without a p-value.
        - `optimization_applied`: name of the best variant of a `win`, which is what there was to apply; no record says
          whether it was rolled out.

    Raises:
        BadInput: an experiment has several rows.
    """
    if experiments["experiment_id"].is_duplicated().any():
        twice = experiments.filter(pl.col("experiment_id").is_duplicated())["experiment_id"][0]
        raise BadInput(
            f"Experiment {twice} has several rows: its document would be ambiguous. Pass its latest state only."
        )
    best = _best_comparisons(experiments, scorecard, metrics)
    split = pl.col("experiment_id").is_in(list(broken))
    outcome = (
        pl.when(split).then(pl.lit(BROKEN)).when(pl.col("status") == RUNNING).then(pl.lit(RUNNING)).otherwise("outcome")
    )
    joined = experiments.join(best, on="experiment_id", how="left", maintain_order="left").with_columns(
        document=_document(),
        timestamp=pl.coalesce("started_at", "created_at"),
        outcome=outcome.fill_null(UNKNOWN),
    )
    joined = joined.with_columns(
        pl.when(~split).then(pl.col("lift", "conversion_rate", "statistical_significance", "statistical_power")),
        optimization_applied=pl.when(pl.col("outcome") == WIN).then("optimization_applied"),
    )
    return joined.select(pl.col(name).cast(dtype) for name, dtype in DOCUMENT_SCHEMA.items())


def _document() -> pl.Expr:
    """Distinct non-empty texts, a line each."""
    of_variants = pl.col("variants").list.eval(
        pl.concat_list(pl.element().struct.field(name) for name in _VARIANT_TEXTS).explode()
    )
    texts = pl.concat_list([pl.concat_list(_TEXTS), of_variants.fill_null([])])
    lines = texts.list.eval(pl.element().str.strip_chars()).list.eval(pl.element().filter(pl.element() != ""))
    text = lines.list.unique(maintain_order=True).list.join("\n")
    return pl.when(text != "").then(text).otherwise("experiment_id")


def _best_comparisons(
    experiments: pl.DataFrame, scorecard: pl.DataFrame, metrics: Mapping[str, Metric]
) -> pl.DataFrame:
    """One row for each experiment of the scorecard: the comparison by which it is known."""
    sign = pl.col("metric").replace_strict({name: _sign(metric) for name, metric in metrics.items()}, default=1.0)
    rank = pl.col("metric").replace_strict({name: i for i, name in enumerate(metrics)}, default=len(metrics))
    known = scorecard.with_columns(pl.when(cs.float().is_finite()).then(cs.float())).join(
        experiments.select("experiment_id", "primary_metric"), on="experiment_id"
    )
    per_metric = known.with_columns(
        improvement=sign * pl.coalesce("lift", "difference"),
        secondary=(pl.col("metric") != pl.col("primary_metric")).fill_null(True),
        rank=rank,
        sample_size=pl.col("n_variant").sum().over("experiment_id", "metric") + pl.col("n_control"),
    )
    best = (
        per_metric.sort("improvement", descending=True, nulls_last=True)
        .sort("secondary", "rank", maintain_order=True)
        .unique("experiment_id", keep="first", maintain_order=True)
        .join(_variant_names(experiments), on=["experiment_id", "variant_id"], how="left")
    )
    winner = pl.coalesce("variant_name", "variant_id")
    return best.with_columns(outcome=_outcome(sign)).select(
        "experiment_id",
        "metric",
        "lift",
        "sample_size",
        "outcome",
        conversion_rate=pl.when(pl.col("kind") == "proportion").then("mean_variant"),
        statistical_significance=1 - pl.col("p_adjusted"),
        statistical_power=_power(best),
        optimization_applied=pl.when(pl.col("outcome") == WIN).then(winner),
    )


def _sign(metric: Metric) -> float:
    return 1.0 if metric.better == "higher" else -1.0


def _outcome(sign: pl.Expr) -> pl.Expr:
    better = sign * pl.col("difference") > 0
    return (
        pl.when(pl.col("p_adjusted").is_null())
        .then(pl.lit(UNKNOWN))
        .when(pl.col("p_adjusted") >= ALPHA)
        .then(pl.lit(FLAT))
        .otherwise(pl.when(better).then(pl.lit(WIN)).otherwise(pl.lit(LOSS)))
    )


def _power(comparisons: pl.DataFrame) -> pl.Series:
    """Power of the two-sided z-test to detect RELEVANT_LIFT, with the standard error that the 95 % interval shows."""
    error = (comparisons["difference_high"] - comparisons["difference_low"]) / (2 * _Z)
    effect = RELEVANT_LIFT * comparisons["mean_control"].abs() / error.replace(0.0, None)
    shifted = effect.fill_null(np.nan).to_numpy()
    return pl.Series(ndtr(shifted - _Z) + ndtr(-shifted - _Z)).fill_nan(None)


def _variant_names(experiments: pl.DataFrame) -> pl.DataFrame:
    """Columns experiment_id, variant_id, variant_name."""
    variants = experiments.select("experiment_id", "variants").explode("variants").drop_nulls("variants")
    fields = pl.col("variants").struct
    return variants.select("experiment_id", variant_id=fields.field("variant_id"), variant_name=fields.field("name"))
