"""The Upworthy Research Archive: headline tests of a news site, as aggregates."""

import html
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from neonblue_lab.events.encoding import RecordEncoder, iso
from neonblue_lab.events.importers.tables import read_table
from neonblue_lab.events.records import EXPERIMENT_METRICS, EXPERIMENTS_EVENTS, TIMESTAMP, RecordBatch

COLUMNS = {
    "clickability_test_id": pl.String(),
    "test_week": pl.Int64(),
    "headline": pl.String(),
    "excerpt": pl.String(),
    "lede": pl.String(),
    "eyecatcher_id": pl.String(),
    "impressions": pl.Int64(),
    "clicks": pl.Int64(),
}
METRIC = "click_rate"
PARTS = {"headline": "headline", "excerpt": "excerpt", "lede": "introduction", "eyecatcher_id": "image"}
"""Column -> what a reader sees of it."""


def import_upworthy(file: Path) -> Iterator[RecordBatch]:
    """Each test becomes an experiment with one variant per arm, in file order (the first is the control).

    Records: an `experiment_created` per test and a `metric_total` of `click_rate` per arm (n = impressions, successes =
    clicks). The source has only the week of a test: an arm's period is that ISO week, Monday to Monday in UTC, and a
    test starts with the first week of its arms; week 0 of a year is the week before its week 1. Names, hypotheses and
    equal allocations are derived too; all of it is named in `properties.derived`.

    Raises:
        BadInput: the file is not this table.
    """
    arms = _arms(read_table(file, COLUMNS, nullable=("excerpt", "lede", "eyecatcher_id")))
    yield RecordEncoder(EXPERIMENTS_EVENTS).encode(_experiments(arms))
    yield RecordEncoder(EXPERIMENT_METRICS).encode(_totals(arms))


def _arms(table: pl.DataFrame) -> pl.DataFrame:
    """One row per arm, tests in order of their start: experiment_id, variant_id, monday, texts and counts."""
    year, week = pl.col("test_week") // 100, pl.col("test_week") % 100
    fourth = pl.date(year, 1, 4)  # always in ISO week 1
    monday = fourth.dt.truncate("1w") + pl.duration(weeks=week - 1)
    experiment = "clickability_test_id"
    return (
        table.with_row_index("row")
        .with_columns(
            variant_id=pl.format("arm-{}", pl.int_range(1, pl.len() + 1).over(experiment)),
            monday=monday.cast(TIMESTAMP),
            headline=pl.col("headline").str.strip_chars(),
            excerpt=_plain_text(table["excerpt"]),
            lede=_plain_text(table["lede"]),
        )
        .with_columns(started_at=pl.col("monday").min().over(experiment), first=pl.col("row").min().over(experiment))
        .sort("started_at", "first", "row")
        .rename({experiment: "experiment_id"})
    )


def _plain_text(texts: pl.Series) -> pl.Series:
    """Texts without HTML tags and entities and with single spaces; empty ones are null."""
    distinct = texts.drop_nulls().unique()
    plain = pl.Series(
        [html.unescape(text) for text in distinct.str.replace_all(r"<[^>]*>", " ").to_list()], dtype=pl.String
    )
    plain = plain.str.replace_all(r"\s+", " ").str.strip_chars()
    return texts.replace_strict(distinct, plain.set(plain == "", None), default=None, return_dtype=pl.String)


def _experiments(arms: pl.DataFrame) -> pl.DataFrame:
    variant = pl.struct(
        "variant_id",
        name="headline",
        description=pl.concat_str("lede", "excerpt", separator=" | ", ignore_nulls=True).replace("", None),
        allocation=1 / pl.len().over("experiment_id"),
    )
    varied = [
        pl.when(pl.col(column).n_unique() > 1).then(pl.lit(words)).alias(f"varied_{column}")
        for column, words in PARTS.items()
    ]
    tests = (
        arms.with_columns(variant=variant)
        .group_by("experiment_id", maintain_order=True)
        .agg("variant", pl.col("started_at").first(), *varied, name=pl.col("headline").first())
    )
    what = pl.concat_str([f"varied_{column}" for column in PARTS], separator=", ", ignore_nulls=True)
    return tests.select(
        event_id=pl.format("upworthy-{}-created", "experiment_id"),
        event_type=pl.lit("experiment_created"),
        timestamp="started_at",
        experiment_id="experiment_id",
        properties=pl.struct(
            name="name",
            hypothesis=pl.when(what == "")
            .then(pl.lit("The same story shown several times draws clicks at the same rate."))
            .otherwise(pl.format("The story draws more clicks with another {}.", what)),
            experiment_type=pl.lit("headline"),
            industry=pl.lit("media"),
            status=pl.lit("finished"),
            variants="variant",
            primary_metric=pl.lit(METRIC),
            started_at=iso(pl.col("started_at")),
            derived=pl.lit(["timestamp", "name", "hypothesis", "variants.allocation", "started_at"]),
        ),
    )


def _totals(arms: pl.DataFrame) -> pl.DataFrame:
    n, rate = pl.col("impressions"), pl.col("clicks") / pl.col("impressions")
    end = pl.col("monday") + pl.duration(weeks=1)
    return arms.sort("monday", maintain_order=True).select(
        event_id=pl.format("upworthy-{}-{}", "experiment_id", "variant_id"),
        event_type=pl.lit("metric_total"),
        timestamp=end,
        experiment_id="experiment_id",
        variant_id="variant_id",
        value=rate,
        properties=pl.struct(
            metric=pl.lit(METRIC),
            kind=pl.lit("proportion"),
            n=n,
            mean=rate,
            variance=pl.when(n > 1).then(rate * (1 - rate) * n / (n - 1)),
            period_start=iso(pl.col("monday")),
            period_end=iso(end),
            source=pl.lit("upworthy"),
            derived=pl.lit(["timestamp", "period_start", "period_end"]),
        ),
    )
