"""Statistics of parts against Polars over the raw rows: users by day, by segment, by age, and all so far."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import combinations_with_replacement
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from neonblue_lab.metrics import parts
from neonblue_lab.metrics.definitions import Measure, Metric
from neonblue_lab.metrics.statistics import STATISTICS_SCHEMA, collect
from neonblue_lab.warehouse.warehouse import Warehouse

START = datetime(2026, 3, 1, tzinfo=UTC)
CONVERSION = Metric(name="conversion", kind="proportion", event="conversion")
REVENUE = Metric(name="revenue", kind="mean", event="purchase", of="value")
REGRESSED = Metric(name="regressed", kind="mean", event="purchase", of="value", covariate_days=1)
BASKET = Metric(name="basket", kind="ratio", event="purchase", of="value", per=Measure(event="conversion", of="count"))
LATENCY = Metric(name="latency", kind="mean")
P90 = Metric(name="p90", kind="quantile", event="purchase", of="value", quantile=0.9)
ALL = {metric.name: metric for metric in (CONVERSION, REVENUE, REGRESSED, BASKET, LATENCY, P90)}
COMPUTED = {"conversion": "y", "revenue": "y", "regressed": "yx", "basket": "yd"}
KEY = ["experiment_id", "metric", "variant_id"]

HOURS = st.integers(0, 95).map(float)
EXPOSURES = st.tuples(st.sampled_from("xyz"), st.sampled_from("stuvw"), st.sampled_from("ab"), HOURS)
EVENTS = st.tuples(
    st.sampled_from(["conversion", "purchase", "view"]),
    st.sampled_from([*"stuvw", None]),
    HOURS,
    st.one_of(st.none(), st.integers(-3, 9).map(float)),
    st.sampled_from([None, {}, {"device": "phone"}, {"device": "desktop"}, {"other": "phone"}, {"device": None}]),
)


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def exposure(experiment: str, user: str, variant: str, hour: float) -> dict[str, Any]:
    return {"experiment_id": experiment, "user_id": user, "variant_id": variant, "first_exposed_at": at(hour)}


def event(kind: str, user: str | None, hour: float, value: float | None, properties: Any = None) -> dict[str, Any]:
    stated = None if properties is None else json.dumps(properties)
    return {"event_type": kind, "user_id": user, "timestamp": at(hour), "value": value, "properties": stated}


def total(variant: str, first: float, end: float | None, n: int, mean: float, variance: float, **more: Any) -> Any:
    key = {"experiment_id": "x", "metric": "latency", "kind": "mean", "variant_id": variant}
    period = {"period_start": at(first), "period_end": None if end is None else at(end), "as_of": at(end or 0)}
    return key | period | {"n": n, "mean": mean, "variance": variance, "event_id": f"{variant}{first}{end}"} | more


def users_of(exposures: list[tuple[Any, ...]], events: list[tuple[Any, ...]], ends: dict[str, float]) -> pl.DataFrame:
    """One row a user of each experiment: the definition, user by user."""
    rows = []
    for name, user in sorted({e[:2] for e in exposures}):
        seen = [(hour, v) for x, u, v, hour in exposures if (x, u) == (name, user) and hour <= ends.get(name, 1e9)]
        if len({variant for _, variant in seen}) != 1:
            continue
        since, variant = min(seen)
        own = [e for e in events if e[1] == user]
        after = [e for e in own if since <= e[2] <= ends.get(name, 1e9)]
        before = [e for e in own if since - 24 <= e[2] < since]
        stated = [(hour, p["device"]) for _, _, hour, _, p in own if p and p.get("device")]
        spent, spent_before = (sum(e[3] or 0.0 for e in es if e[0] == "purchase") for es in (after, before))
        converted = float(sum(e[0] == "conversion" for e in after))
        values = {
            "conversion": {"y": float(converted > 0)},
            "revenue": {"y": spent},
            "regressed": {"y": spent, "x": spent_before},
            "basket": {"y": spent, "d": converted},
        }
        rows += [
            {"experiment_id": name, "metric": metric, "variant_id": variant, "user": user}
            | {"day": at(since).date(), "segment": min(stated)[1] if stated else parts.NOT_STATED, **own_values}
            for metric, own_values in values.items()
        ]
    schema = dict.fromkeys([*KEY, "user"], pl.String()) | {"day": pl.Date(), "segment": pl.String()}
    return pl.DataFrame(rows, schema=schema | dict.fromkeys("ydx", pl.Float64()), orient="row")


def moments(users: pl.DataFrame, part: str) -> pl.DataFrame:
    """What the users of each part come down to."""
    pairs = {f"var_{a}" if a == b else f"cov_{a}{b}": pl.cov(a, b) for a, b in combinations_with_replacement("ydx", 2)}
    found = users.group_by(*KEY, part).agg(
        n=pl.len().cast(pl.Int64), **{f"mean_{c}": pl.col(c).mean() for c in "ydx"}, **pairs
    )
    ratio = pl.col("mean_y") / pl.col("mean_d")
    delta = (pl.col("var_y") - 2 * ratio * pl.col("cov_yd") + ratio**2 * pl.col("var_d")) / pl.col("mean_d") ** 2
    divided = pl.col("metric") == "basket"
    known = pl.when(pl.col("mean_d") != 0)
    return found.with_columns(
        mean=pl.when(divided).then(known.then(ratio)).otherwise("mean_y"),
        variance=pl.when(divided).then(known.then(delta)).otherwise("var_y"),
    )


def assert_same(got: pl.DataFrame, users: pl.DataFrame, part: str) -> None:
    expected = moments(users, part).with_columns(pl.col(pl.Float64).fill_nan(None))
    columns = [*KEY, part, "n", "mean", "variance", *(c for c in expected.columns if c.startswith(("mean_", "var_")))]
    assert set(got.columns) == {*STATISTICS_SCHEMA, part}
    assert_frame_equal(
        got.select(*columns, "cov_yx", "cov_yd"),
        expected.select(*columns, "cov_yx", "cov_yd"),
        check_row_order=False,
        abs_tol=1e-9,
    )


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(exposures=st.lists(EXPOSURES, max_size=20), events=st.lists(EVENTS, max_size=40), end=HOURS)
def test_parts_are_what_their_users_come_down_to(
    lake_of: Any, exposures: list[tuple[Any, ...]], events: list[tuple[Any, ...]], end: float
) -> None:
    warehouse = Warehouse(
        lake_of(
            assignments=[exposure(*e) for e in exposures],
            events=[event(*e) for e in events],
            experiments=[{"experiment_id": "x", "ended_at": at(end)}],
        )
    )
    users = users_of(exposures, events, {"x": end}).filter(pl.col("experiment_id") != "z")
    wanted = ["x", "y"]

    daily = parts.by_day(warehouse, ALL, wanted)
    assert_same(daily, users, "day")
    assert_same(parts.by_segment(warehouse, ALL, wanted, "device"), users, "segment")

    days = users.select("experiment_id", "metric", until="day").unique()
    upto = users.join(days, on=["experiment_id", "metric"]).filter(pl.col("day") <= pl.col("until"))
    assert_same(parts.accumulated(daily), upto.drop("day").rename({"until": "day"}), "day")

    for part, counted in (
        ("day", parts.users_by_day(warehouse, wanted)),
        ("segment", parts.users_by_segment(warehouse, wanted, "device")),
    ):
        by = ["experiment_id", "variant_id", part]
        expected = users.filter(metric="revenue").group_by(by).agg(units=pl.len().cast(pl.Int64))
        assert_frame_equal(counted.select(*by, "units"), expected, check_row_order=False)


@pytest.fixture(scope="module")
def few(lake_of: Any) -> Warehouse:
    """Six users of x: one of both variants, one who has stated no device; a stranger."""
    return Warehouse(
        lake_of(
            assignments=[
                *(exposure("x", user, "ab"[i % 2], 6.0 * i) for i, user in enumerate("stuvw")),
                *(exposure("x", "both", variant, 1) for variant in "ab"),
            ],
            events=[
                event("purchase", "s", 1, 5.0, {"device": "phone"}),
                event("purchase", "s", 20, 1.0, {"device": "desktop"}),
                event("purchase", "s", 50, 2.0),
                event("purchase", "t", 9, 4.0, {"device": "desktop"}),
                event("purchase", "t", 9, 4.0, {"device": "phone"}),
                event("purchase", "u", 13, 1.0, {"device": 7}),
                event("purchase", "v", 60, 1.0, {"device": "phone"}),
                event("view", "w", 96, None, {"device": ""}),
                event("view", "nobody", 40, None, {"device": "television"}),
                event("view", None, 41, None, {"device": "television"}),
                event("purchase", "both", 41, 9.0, {"device": "television"}),
            ],
        )
    )


def test_the_earliest_segment_that_a_user_states_is_the_users(few: Warehouse) -> None:
    counted = parts.users_by_segment(few, ["x"], "device").sort("segment", "variant_id")
    # s changed later, t states two devices at one moment, u a number, which is no name, and w an empty one.
    assert counted.select("segment", "variant_id", "units").rows() == [
        ("", "a", 1),
        (parts.NOT_STATED, "a", 1),
        ("desktop", "b", 1),
        ("phone", "a", 1),
        ("phone", "b", 1),
    ]


def test_users_of_whom_nothing_is_stated_are_a_segment(few: Warehouse) -> None:
    counted = parts.users_by_segment(few, ["x"], "colour").sort("variant_id")
    assert counted.select("segment", "variant_id", "units").rows() == [
        (parts.NOT_STATED, "a", 3),
        (parts.NOT_STATED, "b", 2),
    ]
    whole = parts.by_segment(few, {"revenue": REVENUE}, ["x"], "colour")
    assert_frame_equal(whole.drop("segment"), collect(few, {"revenue": REVENUE}, ["x"]), check_row_order=False)


def test_days_begin_at_midnight_utc(lake_of: Any) -> None:
    hours = {"s": 23.999, "t": 24.0, "u": 0.0}
    warehouse = Warehouse(lake_of(assignments=[exposure("x", user, "a", hour) for user, hour in hours.items()]))
    assert dict(parts.users_by_day(warehouse, ["x"]).select("day", "units").iter_rows()) == {
        date(2026, 3, 1): 2,
        date(2026, 3, 2): 1,
    }


def test_an_age_counts_users_whose_window_is_over(few: Warehouse) -> None:
    found = parts.by_age(few, REVENUE, ["x"], [(0, 1), (1, 3), (3, 4), (30, 31)]).sort("window", "variant_id")
    # The data end at hour 96: users came in at 0, 12, 24 (a) and 6, 18 (b).
    assert found.filter(pl.col("n") > 0).select("window", "variant_id", "n", "mean").rows() == [
        (0, "a", 3, pytest.approx((5 + 1 + 1) / 3)),
        (0, "b", 2, pytest.approx((8 + 0) / 2)),
        (1, "a", 3, pytest.approx(2 / 3)),
        (1, "b", 2, pytest.approx(1 / 2)),
        (2, "a", 1, 0.0),
    ]
    assert found.filter(pl.col("n") == 0)["mean"].null_count() == found.filter(pl.col("n") == 0).height
    assert set(found["metric"]) == {"revenue"}


def test_an_age_has_the_number_of_the_metric_itself_with_that_window(few: Warehouse) -> None:
    window = (0.5, 2.25)
    itself = collect(few, {"revenue": REVENUE.model_copy(update={"window": window})}, ["x"])
    assert_frame_equal(parts.by_age(few, REVENUE, ["x"], [window]).drop("window"), itself)


def latest(found: pl.DataFrame) -> dict[tuple[str, date], tuple[int, float, float]]:
    assert found.columns == [*STATISTICS_SCHEMA, "day"]
    assert found.select(*KEY, "day").is_unique().all()
    return {(row[0], row[1]): row[2:] for row in found.select("variant_id", "day", "n", "mean", "variance").iter_rows()}


def union(*arms: tuple[int, float, float]) -> tuple[int, Any, Any]:
    """Chan, Golub & LeVeque by hand."""
    n = sum(arm[0] for arm in arms)
    mean = sum(arm[0] * arm[1] for arm in arms) / n
    squares = sum((arm[0] - 1) * arm[2] + arm[0] * (arm[1] - mean) ** 2 for arm in arms)
    return n, pytest.approx(mean), pytest.approx(squares / (n - 1))


def test_periods_add_up_and_running_totals_replace_each_other(lake_of: Any) -> None:
    one, two, other = (10, 1.0, 2.0), (30, 3.0, 4.0), (20, 7.0, 1.0)
    warehouse = Warehouse(
        lake_of(
            metric_totals=[
                # a: disjoint days, the second stated twice, of which the newer counts.
                total("a", 0, 24, *one),
                total("a", 24, 48, 99, 9.0, 9.0, as_of=at(48), event_id="old"),
                total("a", 24, 48, *two, as_of=at(50), event_id="new"),
                # b: a running total, twice on the second day.
                total("b", 0, 24, *one),
                total("b", 0, 30, 12, 5.0, 5.0),
                total("b", 0, 40, *two),
                # neither a whole nor of a period
                total("a", 0, 24, 500, 1.0, 1.0, segment="phone"),
                total("b", 0, None, 500, 1.0, 1.0),
                total("c", 0, 10, *one),
                total("c", 10, 20, *other),
                total("c", 48, 72, *two),
            ]
        )
    )
    first, second, third = (date(2026, 3, day) for day in (1, 2, 3))
    assert latest(parts.of_periods(warehouse, ["x"])) == {
        ("a", first): one,
        ("a", second): union(one, two),
        ("b", first): one,
        ("b", second): two,
        ("c", first): union(one, other),
        ("c", third): union(one, other, two),
    }


@pytest.mark.parametrize(
    "ask",
    [
        lambda w: parts.by_day(w, ALL, ["x"]),
        lambda w: parts.accumulated(parts.by_day(w, ALL, ["x"])),
        lambda w: parts.of_periods(w, ["x"]),
        lambda w: parts.by_day(w, {"latency": LATENCY, "p90": P90}, ["x"]),
        lambda w: parts.accumulated(parts.by_day(w, {}, ["x"])),
    ],
)
def test_nothing_has_the_columns_of_something(lake_of: Any, few: Warehouse, ask: Callable[..., pl.DataFrame]) -> None:
    found = ask(Warehouse(lake_of()))
    assert found.is_empty()
    assert found.schema == pl.Schema(STATISTICS_SCHEMA | {"day": pl.Date()})
    assert ask(few).schema == found.schema


@pytest.mark.parametrize("metrics", [ALL, {"latency": LATENCY}, {}])
def test_no_segment_has_the_columns_of_segments(lake_of: Any, metrics: dict[str, Metric]) -> None:
    warehouse = Warehouse(lake_of())
    found = parts.by_segment(warehouse, metrics, ["x"], "device")
    assert found.is_empty()
    assert found.schema == pl.Schema(STATISTICS_SCHEMA | {"segment": pl.String()})
    assert parts.users_by_segment(warehouse, ["x"], "device").is_empty()
    assert parts.users_by_day(warehouse, ["x"]).schema["day"] == pl.Date()
    assert parts.by_age(warehouse, REVENUE, ["x"], [(0, 1)]).is_empty()
