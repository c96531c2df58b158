"""A landing-page test at user level: an exposure per visit, a conversion for those who converted."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.events.encoding import RecordEncoder, iso, utc
from neonblue_lab.events.importers.tables import read_table
from neonblue_lab.events.records import ANALYTICS_EVENTS, EXPERIMENTS_EVENTS, RecordBatch

COLUMNS = {
    "user_id": pl.String(),
    "timestamp": pl.Datetime("us"),
    "group": pl.String(),
    "landing_page": pl.String(),
    "converted": pl.Int64(),
}
EXPERIMENT = "landing-page"
PAGES = {"control": "old_page", "treatment": "new_page"}
"""Group -> the page that it should have seen."""

BATCH = 100_000


def import_landing_page(file: Path, *, clean: bool = False) -> Iterator[RecordBatch]:
    """The experiment, an `exposure` per row, and a `conversion` per row that converted.

    The source has one timestamp a row, the visit's: conversions carry it too, marked as derived.

    Args:
        clean: leave out rows whose group and page disagree, and then all but the first row (in file order) of a user.

    Raises:
        BadInput: the file is not this table, or a group is neither control nor treatment.
    """
    visits = read_table(file, COLUMNS).with_columns(utc(pl.col("timestamp")))
    unknown = sorted(set(visits["group"].unique()) - set(PAGES))
    if unknown:
        raise BadInput(f"{file}: column group has {', '.join(unknown)}, but only control and treatment are known.")
    if clean:
        visits = _cleaned(visits)
    visits = visits.sort("timestamp", maintain_order=True)

    experiments = RecordEncoder(EXPERIMENTS_EVENTS)
    yield experiments.encode(_experiment(visits))
    for part in visits.iter_slices(BATCH):
        yield experiments.encode(_exposures(part))
    outcomes = RecordEncoder(ANALYTICS_EVENTS)
    for part in visits.filter(pl.col("converted") == 1).iter_slices(BATCH):
        yield outcomes.encode(_conversions(part))


def _cleaned(visits: pl.DataFrame) -> pl.DataFrame:
    agrees = pl.col("group").replace_strict(PAGES) == pl.col("landing_page")
    return visits.filter(agrees).unique("user_id", keep="first", maintain_order=True)


def _experiment(visits: pl.DataFrame) -> pl.DataFrame:
    variants = [
        {"variant_id": "control", "name": "Old page", "description": "The landing page as it was", "allocation": 0.5},
        {"variant_id": "treatment", "name": "New page", "description": "The new landing page", "allocation": 0.5},
    ]
    return visits.select(
        event_id=pl.lit(f"{EXPERIMENT}-created"),
        event_type=pl.lit("experiment_created"),
        timestamp=pl.col("timestamp").min(),
        experiment_id=pl.lit(EXPERIMENT),
        properties=pl.struct(
            name=pl.lit("Landing page: new against old"),
            hypothesis=pl.lit("The new landing page converts more visitors than the old one."),
            experiment_type=pl.lit("landing page"),
            status=pl.lit("finished"),
            variants=pl.lit(pl.Series([variants])).first(),
            primary_metric=pl.lit("conversion"),
            started_at=iso(pl.col("timestamp").min()),
            ended_at=iso(pl.col("timestamp").max()),
            derived=pl.lit(["timestamp", "name", "hypothesis", "variants", "started_at", "ended_at"]),
        ),
    ).head(1)


def _exposures(visits: pl.DataFrame) -> pl.DataFrame:
    return visits.select(
        event_id=_id("exposure"),
        event_type=pl.lit("exposure"),
        timestamp="timestamp",
        user_id="user_id",
        experiment_id=pl.lit(EXPERIMENT),
        variant_id="group",
        properties=pl.struct(page="landing_page"),
    )


def _conversions(visits: pl.DataFrame) -> pl.DataFrame:
    return visits.select(
        event_id=_id("conversion"),
        event_type=pl.lit("conversion"),
        timestamp="timestamp",
        user_id="user_id",
        properties=pl.struct(page="landing_page", derived=pl.lit(["timestamp"])),
    )


def _id(kind: str) -> pl.Expr:
    return pl.format("landing-page-{}-{}-{}", pl.lit(kind), "user_id", pl.col("timestamp").dt.epoch("us"))
