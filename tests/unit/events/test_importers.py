"""Public data sets arrive with the totals that their publishers give, and a wrong file is told what it lacks."""

from collections.abc import Callable, Iterable
from pathlib import Path

import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.events.importers import (
    IMPORTERS,
    import_asos,
    import_eshop,
    import_landing_page,
    import_upworthy,
)
from neonblue_lab.events.parsing import EventParser
from neonblue_lab.events.records import (
    ANALYTICS_EVENTS,
    EXPERIMENT_METRICS,
    EXPERIMENTS_EVENTS,
    USER_EVENTS,
    RecordBatch,
)

Dataset = Callable[[str], Path]
FILES = {
    "upworthy": "upworthy_exploratory.parquet",
    "asos": "asos_digital_experiments.parquet",
    "landing-page": "landing_page_ab.parquet",
    "eshop": "eshop_clothing_2008.parquet",
}


def events_of(batches: Iterable[RecordBatch]) -> dict[str, pl.DataFrame]:
    """Topic -> its events; every record must be one, with an id of its own."""
    parser = EventParser()
    parsed: dict[str, list[pl.DataFrame]] = {}
    for batch in batches:
        result = parser.parse(batch)
        assert result.rejects.is_empty()
        parsed.setdefault(batch.topic, []).append(result.events)
    topics = {topic: pl.concat(frames) for topic, frames in parsed.items()}
    ids = pl.concat([events["event_id"] for events in topics.values()])
    assert ids.n_unique() == ids.len()
    return topics


def totals_of(events: pl.DataFrame) -> pl.DataFrame:
    fields = pl.Struct(
        {"metric": pl.String, "kind": pl.String, "n": pl.Int64, "mean": pl.Float64, "variance": pl.Float64}
        | {"period_start": pl.String, "period_end": pl.String}
    )
    return events.with_columns(pl.col("properties").str.json_decode(fields)).unnest("properties")


def test_upworthy_keeps_its_tests_arms_and_totals(dataset: Dataset) -> None:
    topics = events_of(import_upworthy(dataset(FILES["upworthy"])))
    assert {topic: events.height for topic, events in topics.items()} == {
        EXPERIMENTS_EVENTS: 4_873,
        EXPERIMENT_METRICS: 22_666,
    }
    totals = totals_of(topics[EXPERIMENT_METRICS])
    assert totals["n"].sum() == 81_024_151
    assert (totals["n"] * totals["mean"]).round().sum() == 1_231_208
    assert totals["metric"].unique().to_list() == ["click_rate"]


def test_upworthy_arms_follow_the_file_and_weeks_start_on_mondays(dataset: Dataset) -> None:
    source = pl.read_parquet(dataset(FILES["upworthy"]))
    topics = events_of(import_upworthy(dataset(FILES["upworthy"])))
    variant = pl.Struct({"variant_id": pl.String, "name": pl.String, "allocation": pl.Float64})
    experiments = topics[EXPERIMENTS_EVENTS].with_columns(
        pl.col("properties").str.json_decode(
            pl.Struct(
                {
                    "name": pl.String,
                    "variants": pl.List(variant),
                    "started_at": pl.String,
                    "derived": pl.List(pl.String),
                }
            )
        )
    )
    wanted = source.group_by("clickability_test_id", maintain_order=True).agg("headline", pl.col("test_week").min())
    got = wanted.join(experiments.unnest("properties"), left_on="clickability_test_id", right_on="experiment_id")
    assert got.height == 4_873
    names = got["variants"].list.eval(pl.element().struct.field("name"))
    assert (names == got["headline"].list.eval(pl.element().str.strip_chars())).all()
    assert (got["name"] == names.list.first()).all()
    assert got["variants"].list.first().struct.field("variant_id").unique().to_list() == ["arm-1"]
    assert got["derived"].list.contains("started_at").all()
    started = got.select(pl.col("started_at").str.to_datetime(time_zone="UTC"), "test_week")
    assert started["started_at"].dt.weekday().unique().to_list() == [1]
    thursday = started.filter(pl.col("test_week") % 100 > 0).with_columns(pl.col("started_at") + pl.duration(days=3))
    iso = thursday["started_at"].dt.iso_year() * 100 + thursday["started_at"].dt.week()
    assert (iso == thursday["test_week"]).all()


def test_asos_totals_run_on_and_missing_variances_stay_missing(dataset: Dataset) -> None:
    source = pl.read_parquet(dataset(FILES["asos"]))
    topics = events_of(import_asos(dataset(FILES["asos"])))
    totals = totals_of(topics[EXPERIMENT_METRICS])
    assert topics[EXPERIMENTS_EVENTS].height == 78
    assert totals["period_start"].n_unique() == 1
    treatments = totals.filter(pl.col("variant_id") != "control")
    assert treatments.height == 24_153
    assert treatments.select("experiment_id", "variant_id").n_unique() == 99
    assert treatments["variance"].null_count() == source["variance_t"].null_count() == 779
    for variant, count in (("variant_id", "count_t"), ("control", "count_c")):
        own = treatments if variant == "variant_id" else totals.filter(pl.col("variant_id") == "control")
        last = own.sort("timestamp").group_by("experiment_id", "variant_id", "metric").agg(pl.col("n").last())
        keys = ["experiment_id", "metric_id"] + (["variant_id"] if variant == "variant_id" else [])
        expected = source.sort("time_since_start").group_by(keys).agg(pl.col(count).last())
        assert last["n"].sum() == expected[count].sum()


def test_landing_page_reproduces_the_published_rates(dataset: Dataset) -> None:
    topics = events_of(import_landing_page(dataset(FILES["landing-page"]), clean=True))
    exposures = topics[EXPERIMENTS_EVENTS].filter(pl.col("event_type") == "exposure")
    assert exposures.height == exposures["user_id"].n_unique() == 290_584
    converted = topics[ANALYTICS_EVENTS].select("user_id").unique().with_columns(converted=1)
    rates = (
        exposures.join(converted, on="user_id", how="left")
        .group_by("variant_id")
        .agg(pl.col("converted").sum() / pl.len())
    )
    rates_by_variant = {variant: round(rate, 6) for variant, rate in rates.iter_rows()}
    assert rates_by_variant == {"control": 0.120386, "treatment": 0.118808}


def test_landing_page_keeps_everything_unless_told_to_clean(dataset: Dataset) -> None:
    topics = events_of(import_landing_page(dataset(FILES["landing-page"])))
    assert topics[EXPERIMENTS_EVENTS].height == 1 + 294_478


def test_eshop_clicks_keep_their_order(dataset: Dataset) -> None:
    events = events_of(import_eshop(dataset(FILES["eshop"])))[USER_EVENTS]
    assert events.height == 165_474
    assert events["user_id"].n_unique() == 24_026
    fields = pl.Struct({"order": pl.Int64, "model": pl.String})
    clicks = events.with_columns(pl.col("properties").str.json_decode(fields)).unnest("properties")
    assert clicks["model"].n_unique() == 217
    by_time = clicks.sort("session_id", "timestamp").group_by("session_id", maintain_order=True).agg("order")
    assert by_time["order"].list.len().max() == 195
    assert (by_time["order"] == by_time["order"].list.sort()).all()


@pytest.mark.parametrize("name", FILES)
def test_importing_twice_gives_the_same_records(dataset: Dataset, name: str) -> None:
    first, second = (list(IMPORTERS[name].batches(dataset(FILES[name]))) for _ in range(2))
    assert [batch.topic for batch in first] == [batch.topic for batch in second]
    assert all(one.frame.equals(two.frame) for one, two in zip(first, second, strict=True))


@pytest.mark.parametrize("name", FILES)
def test_a_csv_file_gives_the_same_records(dataset: Dataset, name: str, tmp_path: Path) -> None:
    few = pl.read_parquet(dataset(FILES[name])).head(2_000)
    separator = ";" if name == "eshop" else ","
    few.write_csv(tmp_path / "few.csv", separator=separator)
    few.write_parquet(tmp_path / "few.parquet")
    csv, parquet = (
        pl.concat(
            [batch.frame.select("topic", "offset", "value") for batch in IMPORTERS[name].batches(tmp_path / file)]
        )
        for file in ("few.csv", "few.parquet")
    )
    assert csv.equals(parquet)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("upworthy", "clicks"),
        ("asos", "variance_c"),
        ("landing-page", "converted"),
        ("eshop", "session_id"),
    ],
)
def test_a_wrong_file_is_told_which_column_it_lacks(dataset: Dataset, name: str, column: str, tmp_path: Path) -> None:
    pl.read_parquet(dataset(FILES[name])).drop(column).write_parquet(tmp_path / "wrong.parquet")
    with pytest.raises(BadInput, match=rf"wrong\.parquet lacks the column {column}"):
        list(IMPORTERS[name].batches(tmp_path / "wrong.parquet"))


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.csv is not there"):
        list(import_upworthy(tmp_path / "gone.csv"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BadInput, match=r"broken\.parquet can be read neither"):
        list(import_upworthy(tmp_path / "broken.parquet"))
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(BadInput, match=r"noise\.bin"):
        list(import_upworthy(tmp_path / "noise.bin"))
    columns = {
        "user_id": ["1"],
        "timestamp": ["2017-01-02 10:00:00"],
        "group": ["control"],
        "landing_page": ["old_page"],
    }
    pl.DataFrame(columns | {"converted": ["perhaps"]}).write_csv(tmp_path / "words.csv")
    with pytest.raises(BadInput, match=r"words\.csv: a column has values of another type"):
        list(import_landing_page(tmp_path / "words.csv"))
    pl.DataFrame(columns | {"converted": [None]}).write_csv(tmp_path / "hole.csv")
    with pytest.raises(BadInput, match=r"hole\.csv: column converted is empty in row 1"):
        list(import_landing_page(tmp_path / "hole.csv"))


def test_cleaning_is_refused_where_there_is_none() -> None:
    with pytest.raises(BadInput, match="no cleaning"):
        IMPORTERS["asos"].batches(Path("any"), clean=True)
