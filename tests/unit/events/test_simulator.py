"""What the simulator writes has the properties that its truth states."""

from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import chisquare

from neonblue_lab.errors import BadInput
from neonblue_lab.events.parsing import EventParser
from neonblue_lab.events.records import ANALYTICS_EVENTS, EXPERIMENT_METRICS, EXPERIMENTS_EVENTS, TOPICS, USER_EVENTS
from neonblue_lab.events.simulator import Simulation, simulate


@cache
def default() -> Simulation:
    return simulate()


@cache
def large() -> Simulation:
    return simulate(experiments=12, users=80_000, events=640_000, seed=11)


def records(simulation: Simulation, topic: str) -> pl.DataFrame:
    return pl.concat([batch.frame for batch in simulation.batches() if batch.topic == topic])


@cache
def events(simulation_name: str) -> pl.DataFrame:
    """All events of a simulation, each once."""
    parser = EventParser()
    simulation = {"default": default, "large": large}[simulation_name]()
    parsed = [parser.parse(batch).events for batch in simulation.batches()]
    return pl.concat(parsed).unique("event_id", keep="first", maintain_order=True)


def per_user(all_events: pl.DataFrame) -> pl.DataFrame:
    """One row per experiment and exposed user: variant_id, conversion (0 or 1) and revenue from first exposure on."""
    exposed = (
        all_events.filter(pl.col("event_type") == "exposure")
        .group_by("experiment_id", "user_id")
        .agg(pl.col("variant_id").first(), exposed=pl.col("timestamp").min())
    )
    outcomes = all_events.filter(pl.col("event_type").is_in(["conversion", "purchase"])).select(
        "user_id", "event_type", "timestamp", "value"
    )
    counted = exposed.join(outcomes, on="user_id", how="left").with_columns(
        counts=(pl.col("timestamp") >= pl.col("exposed")).fill_null(False)
    )
    return counted.group_by("experiment_id", "variant_id", "user_id").agg(
        conversion=(pl.col("counts") & (pl.col("event_type") == "conversion")).any().cast(pl.Float64),
        revenue_per_user=pl.when("counts").then("value").sum(),
    )


def moments(all_events: pl.DataFrame) -> dict[tuple[str, str, str], tuple[float, float, float]]:
    """(experiment, variant, metric) -> n, mean, variance of the mean."""
    users = per_user(all_events).unpivot(
        ["conversion", "revenue_per_user"], index=["experiment_id", "variant_id"], variable_name="metric"
    )
    from_users = users.group_by("experiment_id", "variant_id", "metric").agg(
        n=pl.len(), mean=pl.col("value").mean(), error=pl.col("value").var() / pl.len()
    )
    fields = pl.Struct({"metric": pl.String, "n": pl.Int64, "mean": pl.Float64, "variance": pl.Float64})
    totals = all_events.filter(pl.col("event_type") == "metric_total").select(
        "experiment_id", "variant_id", pl.col("properties").str.json_decode(fields)
    )
    from_totals = (
        totals.unnest("properties")
        .group_by("experiment_id", "variant_id", "metric")
        .agg(
            n=pl.col("n").sum(),
            mean=(pl.col("n") * pl.col("mean")).sum() / pl.col("n").sum(),
            error=(pl.col("n") * pl.col("variance")).sum() / pl.col("n").sum() ** 2,
        )
    )
    both = pl.concat([from_users, from_totals], how="vertical_relaxed")
    return {tuple(row[:3]): tuple(row[3:]) for row in both.iter_rows()}


def test_measured_lifts_agree_with_the_truth() -> None:
    truth, measured = large().truth, moments(events("large"))
    scores, on_conversion, on_value = [], 0.0, 0.0
    for experiment in truth["experiments"]:
        for metric, lifts in experiment["lifts"].items():
            _, control, control_error = measured[experiment["experiment_id"], experiment["control_id"], metric]
            for variant, lift in lifts.items():
                _, mean, error = measured[experiment["experiment_id"], variant, metric]
                # variance of a ratio of independent means by the delta method
                spread = np.sqrt(error / control**2 + mean**2 * control_error / control**4)
                scores.append((mean / control - 1 - lift) / spread)
        for variant, conversion in experiment["lifts"]["conversion"].items():
            value = (1 + experiment["lifts"]["revenue_per_user"][variant]) / (1 + conversion) - 1
            on_conversion, on_value = max(on_conversion, abs(conversion)), max(on_value, abs(value))
    assert min(on_conversion, on_value) > 0.12, "the simulation holds effects of both kinds, so that a lost one shows"
    assert len(scores) > 3 * len(truth["experiments"])
    assert np.abs(scores).max() < 4
    assert np.abs(np.mean(scores)) < 4 / np.sqrt(len(scores) / 4), "neither above nor below on the whole"


def test_exactly_one_split_is_broken() -> None:
    exposed = per_user(events("default")).group_by("experiment_id", "variant_id").len()
    counts = {(experiment, variant): n for experiment, variant, n in exposed.iter_rows()}
    allocations = allocations_of(events("default"))
    p_values = {}
    for experiment in default().truth["experiments"]:
        name, variants = experiment["experiment_id"], experiment["variants"]
        observed = np.array([counts[name, variant] for variant in variants])
        expected = np.array([allocations[name][variant] for variant in variants]) * observed.sum()
        p_values[experiment["kind"], name] = chisquare(observed, expected).pvalue
    broken = [p for (kind, _), p in p_values.items() if kind == "broken_split"]
    assert len(broken) == 1
    assert broken[0] < 1e-6
    assert min(p for (kind, _), p in p_values.items() if kind != "broken_split") > 1e-3


def allocations_of(all_events: pl.DataFrame) -> dict[str, dict[str, float]]:
    variant = pl.Struct({"variant_id": pl.String, "allocation": pl.Float64})
    created = all_events.filter(pl.col("event_type") == "experiment_created").select(
        "experiment_id", pl.col("properties").str.json_decode(pl.Struct({"variants": pl.List(variant)}))
    )
    return {
        experiment: {one["variant_id"]: one["allocation"] for one in properties["variants"]}
        for experiment, properties in created.iter_rows()
    }


@pytest.mark.parametrize("seed", [1, 4, 5])
def test_defaults_hold_effects_that_can_be_found_and_many_that_cannot(seed: int) -> None:
    simulation, parser = simulate(seed=seed), EventParser()
    parsed = [parser.parse(batch).events for batch in simulation.batches() if batch.topic != USER_EVENTS]
    measured, found, lifts = moments(pl.concat(parsed).unique("event_id")), 0, []
    for experiment in simulation.truth["experiments"]:
        _, control, control_error = measured[experiment["experiment_id"], "control", "conversion"]
        for variant, lift in experiment["lifts"]["conversion"].items():
            _, mean, error = measured[experiment["experiment_id"], variant, "conversion"]
            found += abs(mean - control) / np.sqrt(error + control_error) > 3.5
            lifts.append(abs(lift))
    assert found >= 2
    assert np.median(lifts) < 0.05


def test_a_a_tests_have_no_effect_and_most_experiments_are_finished() -> None:
    experiments = default().truth["experiments"]
    same = [experiment for experiment in experiments if experiment["kind"] == "a/a"]
    assert len(same) >= 2
    assert {lift for experiment in same for lifts in experiment["lifts"].values() for lift in lifts.values()} == {0.0}
    statuses = [experiment["status"] for experiment in experiments]
    assert 1 <= statuses.count("running") < statuses.count("finished") / 3


@pytest.mark.parametrize("topic", TOPICS)
def test_counts_by_topic_are_those_of_the_records(topic: str) -> None:
    said, frame = default().truth["topics"][topic], records(default(), topic)
    parser = EventParser()
    parsed = [parser.parse(batch) for batch in default().batches() if batch.topic == topic]
    valid = pl.concat([part.events for part in parsed])
    delay = (
        valid.join(frame.select("partition", "offset", sent="timestamp"), on=["partition", "offset"])
        .group_by("event_id")
        .agg(delay=(pl.col("sent") - pl.col("timestamp")).min())
    )
    assert said == {
        "records": frame.height,
        "valid": valid.height,
        "distinct_event_ids": valid["event_id"].n_unique(),
        "malformed": sum(part.rejects.height for part in parsed),
        "duplicates": valid.height - valid["event_id"].n_unique(),
        "late": delay.filter(pl.col("delay") >= pl.duration(hours=1)).height,
    }


def test_the_number_of_records_is_the_one_asked_for() -> None:
    for simulation in (default(), large()):
        total = sum(topic["records"] for topic in simulation.truth["topics"].values())
        assert total == pytest.approx(simulation.truth["parameters"]["events"], rel=0.0001)
    topics = default().truth["topics"].values()
    distinct = sum(topic["distinct_event_ids"] for topic in topics)
    for defect, share in (("duplicates", 0.01), ("malformed", 0.005), ("late", 0.02)):
        assert sum(topic[defect] for topic in topics) / distinct == pytest.approx(share, rel=0.1)


@pytest.mark.parametrize("topic", [EXPERIMENTS_EVENTS, USER_EVENTS])
def test_repeated_records_have_the_same_bytes_and_later_offsets(topic: str) -> None:
    parser = EventParser()
    sent = [
        parser.parse(batch)
        .events.select("event_id", "partition", "offset")
        .join(batch.frame, on=["partition", "offset"])
        for batch in default().batches()
        if batch.topic == topic
    ]
    repeated = pl.concat(sent).group_by("event_id").agg(pl.len(), pl.col("value", "key", "partition").n_unique())
    repeated = repeated.filter(pl.col("len") > 1)
    assert repeated.height > 0
    assert repeated.select("value", "key", "partition").unique().rows() == [(1, 1, 1)]


def test_partitions_are_filled_without_gaps_in_the_order_of_sending() -> None:
    for topic, partitions in (
        (USER_EVENTS, 3),
        (ANALYTICS_EVENTS, 3),
        (EXPERIMENTS_EVENTS, 1),
        (EXPERIMENT_METRICS, 1),
    ):
        frame = records(default(), topic)
        assert sorted(frame["partition"].unique()) == list(range(partitions))
        for _, own in frame.group_by("partition"):
            assert own["offset"].to_list() == list(range(own.height))
            assert own["timestamp"].is_sorted()
        assert frame.group_by("key").agg(pl.col("partition").n_unique())["partition"].max() == 1


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    one, again, other = (simulate(experiments=5, users=500, events=5_000, seed=seed) for seed in (3, 3, 4))
    assert one.truth == again.truth != other.truth
    for topic in TOPICS:
        assert records(one, topic).equals(records(again, topic))
    ids = [set(records(simulation, USER_EVENTS)["key"]) for simulation in (one, other)]
    assert ids[0].isdisjoint(ids[1])


def test_conversions_follow_the_week_and_grow() -> None:
    conversions = events("large").filter(pl.col("event_type") == "conversion")
    daily = conversions.group_by(pl.col("timestamp").dt.date()).len().sort("timestamp")
    weekday = daily.group_by(pl.col("timestamp").dt.weekday()).agg(pl.col("len").mean())
    by_day = dict(weekday.iter_rows())
    assert max(by_day[6], by_day[7]) < 0.9 * min(by_day[day] for day in (1, 2, 3, 4))
    counts = daily["len"].to_numpy()
    assert 1.05 < counts[-14:].sum() / counts[:14].sum() < 1.5


def test_journeys_run_from_start_to_summary_and_purchases_come_through_the_funnel() -> None:
    session = events("default").filter(pl.col("session_id").is_not_null(), pl.col("event_type") != "exposure")
    steps = session.sort("timestamp").group_by("session_id").agg("event_type", pl.col("user_id").n_unique())
    assert steps["user_id"].max() == 1
    assert (steps["event_type"].list.first() == "session_start").all()
    assert (steps["event_type"].list.last() == "session_summary").all()
    funnel = ["add_to_cart", "checkout_start", "conversion", "purchase"]
    bought = steps.filter(pl.col("event_type").list.contains("purchase"))["event_type"]
    ends = bought.list.eval(pl.element().filter(pl.element().is_in(funnel)))
    assert ends.unique().to_list() == [funnel]


def test_segments_behave_differently() -> None:
    fields = pl.Struct({"user_segment": pl.String, "conversion_outcome": pl.String})
    summaries = events("default").filter(pl.col("event_type") == "session_summary")
    outcomes = summaries.select("user_id", pl.col("properties").str.json_decode(fields)).unnest("properties")
    assert outcomes.group_by("user_id").agg(pl.col("user_segment").n_unique())["user_segment"].max() == 1
    converted = outcomes.group_by("user_segment").agg((pl.col("conversion_outcome") == "converted").mean())
    share = dict(converted.iter_rows())
    assert share["loyal"] > 1.3 * share["casual"] > 1.3 * share["new"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"experiments": 2}, "experiments is 2, but must be at least 3"),
        ({"users": 0}, "users is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"days": 7}, "days is 7, but must be at least 14"),
        ({"malformed": 0.7}, "malformed is 0.7, but must lie between"),
        ({"users": 20_000, "events": 30_000}, "Too few events for these users"),
    ],
)
def test_impossible_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        simulate(**parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"experiments": 3, "users": 1, "events": 400, "days": 14},
        {"experiments": 60, "users": 50, "events": 8_000},
        {"experiments": 3, "users": 30, "events": 40_000, "duplicates": 0, "late": 0, "malformed": 0},
    ],
)
def test_extreme_sizes_work(parameters: dict[str, Any]) -> None:
    simulation = simulate(**parameters)
    assert sum(batch.frame.height for batch in simulation.batches()) == pytest.approx(parameters["events"], abs=4)
