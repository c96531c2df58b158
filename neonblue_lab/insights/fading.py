"""Effects followed since users first met a variant, of many experiments at once: which wear off, which grow."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from neonblue_lab.insights.arms import defined_variants, pairs_of
from neonblue_lab.insights.evidence import moments_of
from neonblue_lab.metrics import parts
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.stats.arrays import Floats
from neonblue_lab.stats.effects import Effects, log_lifts
from neonblue_lab.stats.multiplicity import benjamini_hochberg
from neonblue_lab.stats.novelty import trend
from neonblue_lab.warehouse.warehouse import Warehouse

AGES = ((0.0, 1.0), (1.0, 3.0), (3.0, 7.0), (7.0, 15.0))
"""Windows of days since exposure over which an effect is followed, each twice as long as the one before: few do anything on
one late day."""

MIDDLE = tuple((since + 1 + until) / 2 for since, until in AGES)
"""Day in the middle of each window, counted from 1."""

FADING_SCHEMA: dict[str, pl.DataType] = {
    **dict.fromkeys(("experiment_id", "variant_id"), pl.String()),
    **dict.fromkeys(("first", "last", "p_adjusted"), pl.Float64()),
}
"""Columns of `fading`."""


def by_age(aged: pl.DataFrame) -> tuple[pl.DataFrame, Effects]:
    """Log lifts by window since exposure.

    Args:
        aged: comparisons as of `evidence.evidence`, with `window`, the position in AGES.

    Returns:
        experiment_id and variant_id of each row, in order of appearance, and its effects: rows x windows, NaN where there
        is nothing.
    """
    keys = aged.select("experiment_id", "variant_id").unique(maintain_order=True)
    row = aged.join(keys.with_row_index("row"), on=keys.columns, how="left", maintain_order="left")["row"].to_numpy()
    lift = log_lifts(moments_of(aged, "_control"), moments_of(aged, ""))
    column = aged["window"].to_numpy()

    def wide(values: Floats) -> Floats:
        out = np.full((keys.height, len(AGES)), np.nan)
        out[row, column] = values
        return out

    return keys, Effects(wide(lift.estimate), wide(lift.standard_error))


def fading(warehouse: Warehouse, metric: Metric, experiments: Sequence[str]) -> pl.DataFrame:
    """How the effect on a metric changes with the days since exposure, in each of several experiments.

    Returns:
        experiment_id, variant_id, first and last (relative effect about the first and the last window, on the line of
        `stats.novelty.trend`), p_adjusted (of no change; Benjamini and Hochberg over all rows; null where there are fewer
        than three windows).
    """
    found = parts.by_age(warehouse, metric, experiments, AGES)
    arms = found.join(
        defined_variants(warehouse), on=["experiment_id", "variant_id"], how="inner", maintain_order="left"
    )
    keys, effects = by_age(pairs_of(arms, within=["window"]).sort("experiment_id", "position", "window"))
    line = trend(np.array(MIDDLE), effects.estimate, effects.standard_error)
    values = {
        "first": np.expm1(line.first),
        "last": np.expm1(line.last),
        "p_adjusted": benjamini_hochberg(line.p_value),
    }
    return keys.with_columns(pl.Series(name, column, nan_to_null=True) for name, column in values.items())
