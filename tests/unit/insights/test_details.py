"""What one experiment's details find: simulated users with one fault or one effect at a time, and none at all."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from neonblue_lab.errors import NotFound
from neonblue_lab.insights import details as module
from neonblue_lab.insights.details import Details, where_broken
from neonblue_lab.insights.experiments import Experiments
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.warehouse.warehouse import Warehouse

START = datetime(2026, 3, 2, tzinfo=UTC)
CONVERSION = Metric(name="conversion", kind="proportion", event="conversion")
VIEWS = Metric(name="views", kind="mean", event="view", of="count")
LATENCY = Metric(name="latency", kind="mean", better="lower")
METRICS = {metric.name: metric for metric in (CONVERSION, VIEWS, LATENCY)}
DEVICES, SOURCES = ("phone", "desktop", "tablet"), ("search", "mail")
SCHEMAS = {
    "over_time": module.OVER_TIME_SCHEMA,
    "splits_by_day": module.SPLITS_BY_DAY_SCHEMA,
    "splits_by_segment": module.SPLITS_BY_SEGMENT_SCHEMA,
    "segments": module.SEGMENTS_SCHEMA,
    "by_age": module.BY_AGE_SCHEMA,
}
Rows = dict[str, list[dict[str, Any]]]


def definition(variants: tuple[str, ...] = ("a", "b"), **fields: Any) -> dict[str, Any]:
    share = 1 / len(variants) if variants else None
    named = [{"variant_id": name, "allocation": share} for name in variants]
    return {"experiment_id": "x", "variants": named, "status": "finished", "primary_metric": "conversion"} | fields


def users(
    *,
    n: int = 3_000,
    days: int = 10,
    variants: tuple[str, ...] = ("a", "b"),
    lost: Callable[[pl.DataFrame], pl.Series] | None = None,
    rate: Callable[[pl.DataFrame], Any] = lambda users: 0.3,
    seed: int = 1,
    **fields: Any,
) -> Rows:
    """Users who come in over `days`, less the `lost` ones, and convert at their `rate`."""
    rng = np.random.default_rng(seed)
    came = pl.DataFrame(
        {
            "user": [f"u{i}" for i in range(n)],
            "variant": rng.choice(variants, n),
            "device": rng.choice(DEVICES, n),
            "source": rng.choice(SOURCES, n),
            "hour": np.sort(rng.uniform(0, 24 * days, n)),
            "luck": rng.uniform(size=n),
        }
    ).with_columns(day=(pl.col("hour") // 24).cast(pl.Int64))
    if lost is not None:
        came = came.filter(~lost(came))
    came = came.with_columns(converts=pl.Series(came["luck"].to_numpy() < rate(came)))
    assignments, events = [], []
    for user in came.iter_rows(named=True):
        at = START + timedelta(hours=user["hour"])
        stated = json.dumps({"device_type": user["device"], "traffic_source": user["source"], "user_segment": "all"})
        assignments.append(
            {"experiment_id": "x", "user_id": user["user"], "variant_id": user["variant"], "first_exposed_at": at}
        )
        events.append({"event_type": "seen", "user_id": user["user"], "timestamp": at, "properties": stated})
        if user["converts"]:
            events.append({"event_type": "conversion", "user_id": user["user"], "timestamp": at + timedelta(hours=1)})
    return {"experiments": [definition(variants, **fields)], "assignments": assignments, "events": events}


def total(metric: str, variant: str, day: int | None, n: int, mean: float, variance: float | None = 4.0) -> Any:
    period = (
        {} if day is None else {f"period_{e}": START + timedelta(days=day + i) for i, e in enumerate(["start", "end"])}
    )
    named = {"experiment_id": "x", "metric": metric, "variant_id": variant, "kind": "mean", "as_of": START}
    return named | period | {"n": n, "mean": mean, "variance": variance, "event_id": f"{metric}{variant}{day}"}


@pytest.fixture(scope="module")
def details_of(lake_of: Any) -> Callable[..., Details]:
    def make(rows: Mapping[str, Any], metrics: Mapping[str, Metric] = METRICS, **options: Any) -> Details:
        found = Experiments(Warehouse(lake_of(**rows)), metrics).details("x", **options)
        for name, schema in SCHEMAS.items():
            assert getattr(found, name).schema == pl.Schema(schema), name
        return found

    return make


@pytest.fixture(scope="module")
def sound(details_of: Callable[..., Details]) -> Details:
    """Nothing is wrong and nothing differs."""
    return details_of(users())


def test_where_nothing_is_wrong_nothing_is_found(sound: Details) -> None:
    [said] = sound.findings
    assert said.startswith("No segment differs from the others by more than noise on conversion")
    assert "device_type, traffic_source" in said
    assert "user_segment" not in said  # all users are in one


def test_lifts_over_time_end_at_the_lift_of_all_users(sound: Details) -> None:
    rows = users()
    converted = {event["user_id"] for event in rows["events"] if event["event_type"] == "conversion"}
    arms = {v: [u["user_id"] in converted for u in rows["assignments"] if u["variant_id"] == v] for v in "ab"}
    control, variant = (float(np.mean(arms[v])) for v in "ab")
    error = np.sqrt(sum((1 - p) / (p * len(arms[v])) for v, p in zip("ab", (control, variant), strict=True)))
    over = sound.over_time.filter(metric="conversion").sort("day")
    assert over["day"].to_list() == [START.date() + timedelta(days=i) for i in range(10)]
    ends = np.expm1(np.log(variant / control) + np.array([-1, 1]) * 1.959964 * error)
    assert over.row(-1, named=True)["lift"] == pytest.approx(variant / control - 1)
    assert over.select("lift_low", "lift_high").row(-1) == pytest.approx(tuple(ends))
    assert over.select((pl.col("always_low") < pl.col("lift_low")).all()).item()
    assert over.select((pl.col("always_high") > pl.col("lift_high")).all()).item()


def test_splits_count_every_user_once(sound: Details) -> None:
    assert sound.splits_by_day["units"].sum() == 3_000
    of_dimensions = sound.splits_by_segment.group_by("dimension").agg(pl.col("units").sum())
    assert dict(of_dimensions.iter_rows()) == {"device_type": 3_000, "traffic_source": 3_000}
    assert set(sound.splits_by_day["allocation"]) == {0.5}


def test_a_split_broken_on_some_days_in_one_segment_is_found_and_named(details_of: Callable[..., Details]) -> None:
    def lost(came: pl.DataFrame) -> pl.Series:
        return (came["device"] == "phone") & (came["variant"] == "b") & came["day"].is_between(4, 6)

    found = details_of(users(n=6_000, lost=lost))
    days, segment = found.findings[:2]
    assert "from 2026-03-06 to 2026-03-08" in days
    assert "device_type phone" in segment
    assert segment.endswith("Without it the split is as planned.")
    assert not [said for said in found.findings if "desktop" in said or "tablet" in said or "traffic_source s" in said]


def test_a_split_broken_on_one_day_names_that_day(details_of: Callable[..., Details]) -> None:
    found = details_of(users(lost=lambda came: (came["variant"] == "b") & (came["day"] == 4)))
    assert "differs from the plan on 2026-03-06:" in found.findings[0]
    on_day = found.splits_by_day.filter(pl.col("day") == date(2026, 3, 6), variant_id="b")
    assert on_day["units"].to_list() == [0]


def test_a_split_broken_everywhere_is_said_to_be(details_of: Callable[..., Details]) -> None:
    found = details_of(users(lost=lambda came: (came["variant"] == "b") & (came["luck"] > 0.7)))
    assert "differs from the plan throughout" in found.findings[0]
    assert "alike whatever the device_type or traffic_source" in found.findings[1]


def test_a_segment_that_differs_is_told(details_of: Callable[..., Details]) -> None:
    def rate(came: pl.DataFrame) -> Any:
        return np.where((came["variant"] == "b") & (came["device"] == "phone"), 0.5, 0.3)

    found = details_of(users(rate=rate))
    [said] = found.findings
    assert said.startswith("The effect of b on conversion differs by device_type")
    rows = found.segments.filter(dimension="device_type", metric="conversion").sort("lift")
    assert rows["segment"][-1] == "phone"
    assert rows["shrunk"][-1] < rows["lift"][-1]
    assert rows["shrunk"][0] > rows["lift"][0]
    tested = dict(found.segments.filter(metric="conversion").select("dimension", "interaction_p").iter_rows())
    assert tested["device_type"] < 0.001
    assert tested["traffic_source"] > 0.05


@pytest.mark.parametrize(("late", "word"), [(1.0, "wears off"), (2.0, None), (4.0, "grows")])
def test_an_effect_that_changes_with_the_days_since_exposure_is_told(
    details_of: Callable[..., Details], late: float, word: str | None
) -> None:
    """Views: twice as many on the first day, then `late` times as many."""
    rows, rng = users(n=600, days=2, primary_metric="views"), np.random.default_rng(3)
    for user in rows["assignments"]:
        for day in range(16):
            times = 1.0 if user["variant_id"] == "a" else 2.0 if day == 0 else late
            seen = user["first_exposed_at"] + timedelta(days=day + 0.5)
            views = rng.poisson(0.5 * times)
            rows["events"] += [{"event_type": "view", "user_id": user["user_id"], "timestamp": seen}] * views
    found = details_of(rows)
    told = [said for said in found.findings if "since exposure" in said]
    assert found.by_age["day"].to_list() == [1.0, 2.5, 5.5, 11.5]
    assert found.by_age["lift"][0] == pytest.approx(1.0, abs=0.4)
    assert found.by_age["lift"][-1] == pytest.approx(late - 1, abs=0.4)
    assert [f"The effect of b on views {word}" in said for said in told] == ([] if word is None else [True])
    assert all("about day 11.5 (p = " in said for said in told)


def test_the_last_day_told_is_the_last_on_which_anything_is_known(details_of: Callable[..., Details]) -> None:
    """Nobody's window of days 8 to 15 is over."""
    rows, rng = users(n=800, days=1, primary_metric="views"), np.random.default_rng(4)
    for user in rows["assignments"]:
        for day in range(9):
            times = 3.0 if user["variant_id"] == "b" and day == 0 else 1.0
            seen = user["first_exposed_at"] + timedelta(days=day + 0.1)
            views = rng.poisson(0.7 * times)
            rows["events"] += [{"event_type": "view", "user_id": user["user_id"], "timestamp": seen}] * views
    found = details_of(rows)
    [said] = [said for said in found.findings if "since exposure" in said]
    assert "wears off" in said
    assert "about day 5.5 (p = " in said


# --- what there is not ------------------------------------------------------------------------------------------------


def test_aggregates_alone_have_lifts_over_time(details_of: Callable[..., Details]) -> None:
    totals = [total("latency", v, day, 50, 10.0 + i + day) for day in range(3) for i, v in enumerate("ab")]
    found = details_of({"experiments": [definition(primary_metric="latency")], "metric_totals": totals})
    assert found.over_time["lift"].to_list() == pytest.approx([1 / 10, 1 / 10.5, 1 / 11])
    assert found.over_time["day"].to_list() == [START.date() + timedelta(days=i) for i in range(3)]
    assert all(getattr(found, name).is_empty() for name in SCHEMAS if name != "over_time")
    assert found.findings == []


def test_assignments_beside_aggregates_have_splits_and_no_segments(details_of: Callable[..., Details]) -> None:
    rows = users(n=100) | {"metric_totals": [total("latency", v, 0, 50, 10.0) for v in "ab"]}
    found = details_of(rows, {"latency": LATENCY})
    assert found.splits_by_day["units"].sum() == 100
    assert found.segments.is_empty()
    assert found.by_age.is_empty()
    assert found.over_time.select("metric", "lift").rows() == [("latency", 0.0)]


@pytest.mark.parametrize("day", [0, None])
def test_a_metric_of_which_aggregates_arrive_is_not_computed_beside_them(
    details_of: Callable[..., Details], day: int | None
) -> None:
    """As in the readout; without a period there is no day to show it on."""
    totals = [total("conversion", v, day, 1_000, mean, None) for v, mean in (("a", 0.2), ("b", 0.25))]
    found = details_of(users(n=300) | {"metric_totals": totals})
    over = found.over_time.filter(metric="conversion")
    assert over["lift"].to_list() == ([] if day is None else [pytest.approx(0.25)])
    assert over["lift_low"].null_count() == 0  # the definition says that it is a share
    assert "conversion" not in set(found.segments["metric"])
    assert found.by_age.is_empty()


def test_one_variant_has_splits_and_no_lifts(details_of: Callable[..., Details]) -> None:
    found = details_of(users(n=60, variants=("a",)))
    assert found.over_time.is_empty()
    assert found.segments.is_empty()
    assert found.by_age.is_empty()
    assert found.findings == []
    assert found.splits_by_day["units"].sum() == 60


def test_nobody_converts(details_of: Callable[..., Details]) -> None:
    found = details_of(users(n=60, rate=lambda came: 0.0))
    assert found.over_time.filter(metric="conversion")["lift"].null_count() == 10
    assert found.segments["interaction_p"].null_count() == found.segments.height
    assert found.findings == []


def test_a_share_that_is_no_share_is_no_plan_to_differ_from(details_of: Callable[..., Details]) -> None:
    rows = users(n=200, lost=lambda came: came["variant"] == "b")
    rows["experiments"][0]["variants"] = [{"variant_id": v, "allocation": s} for v, s in (("a", -1.0), ("b", 0.5))]
    assert not [said for said in details_of(rows).findings if "plit" in said]


def test_thousands_of_variants_are_read_at_once(details_of: Callable[..., Details]) -> None:
    variants = tuple(f"v{i:04}" for i in range(2_000))
    found = details_of(users(n=8_000, days=4, variants=variants, lost=lambda came: came["variant"] == "v0001"))
    assert found.splits_by_day.height == 4 * 2_000
    assert found.segments.height > 1_000
    assert len(found.findings) < 10
    assert max(map(len, found.findings)) < 400


def test_no_one_variant_among_many_is_told_by_chance(details_of: Callable[..., Details]) -> None:
    """Forty variants alike, two dimensions each: eighty tests, of which four would be below 0.05."""
    found = details_of(users(n=12_000, variants=tuple(f"v{i:02}" for i in range(41)), seed=2))
    assert not [said for said in found.findings if "differs by" in said or "since exposure" in said]


def test_a_broken_split_of_many_variants_is_said_in_one_line() -> None:
    units = [100] * 40 + [900]
    rows = {"variant_id": [f"v{i:02}" for i in range(41)], "units": units, "allocation": [1.0] * 41}
    days = pl.DataFrame(rows).with_columns(day=pl.lit(START.date())).select(*module.SPLITS_BY_DAY_SCHEMA)
    [said] = where_broken(days, pl.DataFrame(schema=module.SPLITS_BY_SEGMENT_SCHEMA))
    assert "100 : 100 : 100 : 100 : 100 : 100 : ... (35 more) units" in said


def test_what_is_not_there_is_said(lake_of: Any, details_of: Callable[..., Details]) -> None:
    with pytest.raises(NotFound, match="There is no experiment x among those that are defined"):
        details_of({})
    with pytest.raises(NotFound, match="no assignments and no metric totals to compare of x"):
        details_of({"experiments": [definition()]})
    with pytest.raises(NotFound, match="no definition of a variant"):
        details_of(users(n=10) | {"experiments": [definition(variants=())]})
