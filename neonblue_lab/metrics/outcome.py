"""What an experiment came to: one word for it, and the comparison that decided it. The only definition there is.

A win: a variant is clearly better than the control on the metric that the experiment is judged by. A loss: none is, and one is
clearly worse. Flat: neither. Clearly means a p-value below ALPHA, adjusted within the experiment.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import polars as pl

from neonblue_lab.metrics.definitions import Metric

WIN, LOSS, FLAT, UNKNOWN = "win", "loss", "flat", "unknown"
BROKEN, RUNNING = "broken split", "running"
OUTCOMES = (WIN, LOSS, FLAT, RUNNING, BROKEN, UNKNOWN)
ALPHA = 0.05


def decided(
    comparisons: pl.DataFrame, metrics: Mapping[str, Metric] = MappingProxyType({}), *, alpha: float = ALPHA
) -> pl.DataFrame:
    """One row for each experiment: its comparison that decided, and what it came to if this is its end.

    Args:
        comparisons: of variants with controls, on the one metric that each experiment is judged by: experiment_id, metric,
            difference (variant minus control), p_adjusted (null where nothing can be said), and whatever else.
        metrics: definitions by name; of a metric without one, more is better.
        alpha: level.

    Returns:
        The columns of `comparisons` and `outcome` (win, loss, flat, or unknown where no variant can be compared). The
        comparison is that of the best variant: among the clearly better ones of a win, the clearly worse ones of a loss, all of
        the others.
    """
    lower = [name for name, metric in metrics.items() if metric.better == "lower"]
    gain = pl.when(pl.col("metric").is_in(lower)).then(-pl.col("difference")).otherwise("difference")
    clear = (pl.col("p_adjusted") < alpha).fill_null(False)
    kinds = [(WIN, clear & (gain > 0)), (LOSS, clear & (gain < 0)), (FLAT, pl.col("p_adjusted").is_not_null())]
    said = pl.coalesce(*(pl.when(holds).then(pl.lit(kind)) for kind, holds in kinds), pl.lit(UNKNOWN))
    weight = said.replace_strict([*(kind for kind, _ in kinds), UNKNOWN], list(range(4)), return_dtype=pl.Int8)
    return (
        comparisons.with_columns(outcome=said)
        .sort(weight, gain, descending=[False, True], nulls_last=True, maintain_order=True)
        .unique("experiment_id", keep="first", maintain_order=True)
    )


def stands_at(broken: Iterable[str]) -> pl.Expr:
    """The outcome of an experiment as it is told, from the columns experiment_id, status and outcome (as of `decided`; null
    without any comparison): a broken split whatever was measured, running whatever its numbers say so far."""
    return (
        pl.when(pl.col("experiment_id").is_in(list(broken)))
        .then(pl.lit(BROKEN))
        .when(pl.col("status") == RUNNING)
        .then(pl.lit(RUNNING))
        .otherwise(pl.col("outcome").fill_null(UNKNOWN))
    )
