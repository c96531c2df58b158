"""Tables of a readout and of what the programme has learned: what stands in them, in which order, by which method."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from neonblue_lab.errors import NotFound
from neonblue_lab.insights.tables import readings

CONTROL, MORE, MUCH_MORE = (5000, 0.50), (5000, 0.56), (5000, 0.60)
ARMS = {
    "latency": {"c": (5000, 100.0, 25.0), "a": (5000, 100.1, 25.0), "b": (5000, 99.9, 25.0)},
    "rate": {"c": CONTROL, "a": MORE, "b": MUCH_MORE},
}


@pytest.fixture(scope="module")
def experiments(experiments_of: Any, rows: Any) -> Any:
    variants = [{"variant_id": v, "name": name} for v, name in (("c", "Old"), ("a", "<New>"), ("b", "Bold"))]
    return experiments_of(rows("x", ARMS, primary_metric="rate", variants=variants))


@pytest.fixture(scope="module")
def compared(experiments: Any) -> pl.DataFrame:
    return experiments.comparisons(experiments.analyze("x"))


def test_comparisons_begin_with_the_variant_to_ship_on_the_primary_metric(compared: pl.DataFrame) -> None:
    assert compared.select("metric", "variant_id", "name", "better").rows() == [
        ("rate", "b", "Bold", "higher"),
        ("rate", "a", "<New>", "higher"),
        ("latency", "a", "<New>", "lower"),
        ("latency", "b", "Bold", "lower"),
    ]


def test_comparisons_have_both_ends_of_every_interval(experiments: Any, compared: pl.DataFrame) -> None:
    keys = ["metric", "variant_id"]
    card = experiments.scorecard().rows.sort(keys)
    ends = ["difference_low", "difference_high", "lift_low", "lift_high"]
    assert compared.sort(keys).select(ends).equals(card.select(ends))
    assert compared.filter(
        pl.col("always_low") < pl.col("lift_low"), pl.col("always_high") > pl.col("lift_high")
    ).equals(compared)


def test_each_reading_names_its_method_and_none_is_empty(experiments: Any, compared: pl.DataFrame) -> None:
    said = experiments.analyze("x")
    table = readings(compared.filter(metric="rate"), said.methods).frame

    assert table.columns == ["reading", "Bold", "<New>", "method"]
    by_name = dict(zip(table["reading"], table.select("Bold", "method").rows(), strict=True))
    assert by_name["Chance to beat the control"] == ("> 99.9%", said.methods["chance_to_beat"])
    assert by_name["Lift, read once (95% interval)"][0].startswith("+20.0% (+")
    assert by_name["p-value, read once"][1].startswith("two-proportion test")
    # One experiment has taught no prior, and aggregates say nothing of the time before exposure.
    assert not [name for name in by_name if "CUPED" in name or "expect" in name]


def test_nothing_is_read_where_a_variant_has_no_data(experiments_of: Any, rows: Any) -> None:
    variants = [{"variant_id": "c"}, {"variant_id": "v"}]
    alone = experiments_of(rows("x", {"rate": {"c": CONTROL}}, variants=variants))
    said = alone.analyze("x")
    assert readings(alone.comparisons(said), said.methods).frame.is_empty()


def test_what_cuped_saves_is_told_where_it_is_known(experiments: Any, compared: pl.DataFrame) -> None:
    known = pl.col("variant_id") == "b"
    numbers = {"cuped_difference": 0.1, "cuped_low": 0.08, "cuped_high": 0.12, "cuped_gain": 0.4}
    told = compared.filter(metric="rate").with_columns(
        pl.when(known).then(value).alias(name) for name, value in numbers.items()
    )
    table = readings(told, experiments.analyze("x").methods).frame
    assert table.filter(reading="Variance that CUPED removes").select("Bold", "<New>").row(0) == ("40.0%", "not known")
    assert table.filter(reading="Difference with CUPED (95% interval)")["Bold"].item() == "+0.1 (+0.08 to +0.12)"


def test_variants_of_one_name_are_told_apart_by_their_ids(experiments: Any, compared: pl.DataFrame) -> None:
    alike = compared.filter(metric="rate").with_columns(name=pl.lit("New"))
    assert readings(alike, experiments.analyze("x").methods).frame.columns == ["reading", "b", "a", "method"]


def test_readings_are_shown_in_full_and_as_text(experiments: Any, compared: pl.DataFrame) -> None:
    methods = experiments.analyze("x").methods
    shown = readings(compared.filter(metric="rate"), methods)._repr_html_()
    assert methods["always_valid"] in shown
    assert "&lt;New&gt;" in shown
    assert "<New>" not in shown


def test_measured_lifts_are_drawn_back_by_what_finished_sound_experiments_teach(experiments_of: Any, rows: Any) -> None:
    rates = (0.20, 0.21, 0.19, 0.23, 0.17, 0.205)
    past = [rows(f"e{i}", {"rate": {"c": (2000, 0.2), "v": (2000, rate)}}) for i, rate in enumerate(rates)]
    broken = rows("broken", {"rate": {"c": (3000, 0.2), "v": (2000, 0.3)}})
    running = rows("running", {"rate": {"c": (2000, 0.2), "v": (2000, 0.3)}}, status="running")
    programme = experiments_of(*past, broken, running)

    shrunk = programme.shrunk("rate")
    assert sorted(shrunk["experiment_id"]) == [f"e{i}" for i in range(len(rates))]
    assert shrunk["shrunk"].max() < shrunk["lift"].max()
    assert shrunk["shrunk"].min() > shrunk["lift"].min()
    # The chart calls those clear which the scorecard's intervals, of the log lift, call so.
    card = programme.scorecard().rows.join(shrunk, on="experiment_id", suffix="_shrunk")
    clear = card.select((pl.col("lift_low") > 0) | (pl.col("lift_high") < 0)).to_series()
    assert card.select(pl.col("lift_shrunk").abs() > 1.96 * pl.col("standard_error")).to_series().equals(clear)
    assert programme.shrunk("latency").is_empty()


def test_nothing_is_drawn_back_where_nothing_was_learned(experiments_of: Any) -> None:
    assert experiments_of().shrunk("rate").is_empty()


def test_the_largest_experiment_is_that_with_the_most_users(experiments_of: Any, rows: Any) -> None:
    arms = {"rate": {"c": (50_000, 0.2), "v": (50_000, 0.2)}}
    at = datetime(2026, 3, 2, tzinfo=UTC)
    few = rows("few users", {"rate": {"c": (1, 0.0), "v": (1, 0.0)}})
    few["assignments"] = [
        {"experiment_id": "few users", "variant_id": "c", "user_id": "u", "event_id": "a", "assigned_at": at}
    ]
    undefined = rows("undefined", {"rate": {"c": (90_000, 0.2), "v": (90_000, 0.2)}}, variants=None)

    assert experiments_of(rows("units alone", arms), few, undefined).largest == "few users"
    assert experiments_of(rows("units alone", arms), undefined).largest == "units alone"
    with pytest.raises(NotFound, match="defined with two variants"):
        _ = experiments_of(undefined).largest
