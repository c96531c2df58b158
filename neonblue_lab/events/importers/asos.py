"""The ASOS Digital Experiments data set: running totals of four metrics in 78 experiments."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from neonblue_lab.events.encoding import RecordEncoder, iso
from neonblue_lab.events.importers.tables import read_table
from neonblue_lab.events.records import EXPERIMENT_METRICS, EXPERIMENTS_EVENTS, TIMESTAMP, RecordBatch

ARMS = ("c", "t")
COLUMNS = {
    "experiment_id": pl.String(),
    "variant_id": pl.Int64(),
    "metric_id": pl.Int64(),
    "time_since_start": pl.Float64(),
    **{f"{moment}_{arm}": pl.Float64() for moment in ("count", "mean", "variance") for arm in ARMS},
}
START = datetime(2020, 1, 1, tzinfo=UTC)
"""The source gives days since the start only: every experiment is taken to start here."""

CONTROL = "control"
BINARY_METRIC = 1
"""Metrics have no names in the source. The variance of this one is mean x (1 - mean) throughout: it is a share."""


def import_asos(file: Path) -> Iterator[RecordBatch]:
    """Each experiment gets a control and its treatments; each checkpoint becomes a running `metric_total` per variant.

    The control's totals, repeated in the source beside every treatment, are written once. `period_start` is START for
    all, `period_end` is START plus the days since the start; both are named in `properties.derived`. A variance that
    the source lacks stays absent.

    Raises:
        BadInput: the file is not this table.
    """
    table = read_table(file, COLUMNS, nullable=("variance_c", "variance_t"))
    totals = _totals(table)
    yield RecordEncoder(EXPERIMENTS_EVENTS).encode(_experiments(totals))
    encoder = RecordEncoder(EXPERIMENT_METRICS)
    for part in _events(totals).iter_slices(100_000):
        yield encoder.encode(part)


def _totals(table: pl.DataFrame) -> pl.DataFrame:
    """One row per experiment x variant x metric x checkpoint: n, mean, variance; sorted by checkpoint."""
    control, treatment = (
        table.select(
            "experiment_id",
            "metric_id",
            "time_since_start",
            variant_id=pl.lit(CONTROL) if arm == "c" else pl.format("treatment-{}", "variant_id"),
            n=pl.col(f"count_{arm}").cast(pl.Int64),
            mean=f"mean_{arm}",
            variance=f"variance_{arm}",
        )
        for arm in ARMS
    )
    control = control.unique(["experiment_id", "metric_id", "time_since_start"], keep="first", maintain_order=True)
    elapsed = pl.duration(microseconds=(pl.col("time_since_start") * 86_400e6).round().cast(pl.Int64))
    return (
        pl.concat([control, treatment])
        .with_columns(period_end=(pl.lit(START) + elapsed).cast(TIMESTAMP))
        .sort("time_since_start", "experiment_id", "metric_id", "variant_id")
    )


def _experiments(totals: pl.DataFrame) -> pl.DataFrame:
    variants = totals.select("experiment_id", "variant_id").unique().sort("experiment_id", "variant_id")
    name = (
        pl.when(pl.col("variant_id") == CONTROL)
        .then(pl.lit("Control"))
        .otherwise(pl.col("variant_id").str.replace("treatment-", "Treatment "))
    )
    return (
        variants.group_by("experiment_id", maintain_order=True)
        .agg(variant=pl.struct("variant_id", name=name))
        .select(
            event_id=pl.format("asos-{}-created", "experiment_id"),
            event_type=pl.lit("experiment_created"),
            timestamp=pl.lit(START).cast(TIMESTAMP),
            experiment_id="experiment_id",
            properties=pl.struct(
                name=pl.format("ASOS experiment {}", "experiment_id"),
                industry=pl.lit("fashion retail"),
                status=pl.lit("finished"),
                variants="variant",
                primary_metric=pl.lit(f"metric_{BINARY_METRIC}"),
                started_at=iso(pl.lit(START)),
                derived=pl.lit(["timestamp", "name", "variants.name", "primary_metric", "started_at"]),
            ),
        )
    )


def _events(totals: pl.DataFrame) -> pl.DataFrame:
    binary = pl.col("metric_id") == BINARY_METRIC
    return totals.select(
        event_id=pl.format("asos-{}-{}-{}-{}", "experiment_id", "variant_id", "metric_id", "time_since_start"),
        event_type=pl.lit("metric_total"),
        timestamp="period_end",
        experiment_id="experiment_id",
        variant_id="variant_id",
        value="mean",
        properties=pl.struct(
            metric=pl.format("metric_{}", "metric_id"),
            kind=pl.when(binary).then(pl.lit("proportion")).otherwise(pl.lit("mean")),
            n="n",
            mean="mean",
            variance="variance",
            period_start=iso(pl.lit(START)),
            period_end=iso(pl.col("period_end")),
            source=pl.lit("asos"),
            derived=pl.lit(["timestamp", "period_start", "period_end"]),
        ),
    )
