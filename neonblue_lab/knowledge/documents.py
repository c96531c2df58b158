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
from neonblue_lab.metrics.outcome import WIN, decided, stands_at

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

RELEVANT_LIFT = 0.05
"""The relative difference that `statistical_power` is the power to detect."""

_Z = 1.959963984540054  # standard normal quantile of a 95 % interval
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

    The result is that of one comparison, the one that decided (`metrics.outcome.decided`). Where there are several variants it is
    that of the best of those that decided: flattered by chance, and its lift is not corrected for that.

    Args:
        experiments: rows of the lake's table `experiments`.
        scorecard: rows of comparisons of variants with controls, with 95 % intervals, on the one metric that each experiment
            is judged by; an experiment may have none.
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
        - `outcome`: one of `metrics.outcome.OUTCOMES`, at the 5 % level.
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
    broken = list(broken)
    joined = experiments.join(best, on="experiment_id", how="left", maintain_order="left").with_columns(
        document=_document(), timestamp=pl.coalesce("started_at", "created_at"), outcome=stands_at(broken)
    )
    split = pl.col("experiment_id").is_in(broken)
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
    known = scorecard.with_columns(pl.when(cs.float().is_finite()).then(cs.float())).join(
        experiments.select("experiment_id"), on="experiment_id"
    )
    sizes = pl.col("n_variant").sum().over("experiment_id") + pl.col("n_control")
    best = decided(known.with_columns(sample_size=sizes), metrics).join(
        _variant_names(experiments), on=["experiment_id", "variant_id"], how="left", maintain_order="left"
    )
    return best.select(
        "experiment_id",
        "metric",
        "lift",
        "sample_size",
        "outcome",
        conversion_rate=pl.when(pl.col("kind") == "proportion").then("mean_variant"),
        statistical_significance=1 - pl.col("p_adjusted"),
        statistical_power=_power(best),
        optimization_applied=pl.coalesce("variant_name", "variant_id"),
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
