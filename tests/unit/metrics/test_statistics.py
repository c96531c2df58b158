"""Sufficient statistics against plain Python over the same rows, and against the moments of the units themselves."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import combinations
from statistics import mean, variance
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.metrics.statistics import STATISTICS_SCHEMA, collect, crossovers, users
from neonblue_lab.warehouse.warehouse import Warehouse

START = datetime(2026, 3, 2, tzinfo=UTC)
CONVERSION = Metric(name="conversion", kind="proportion", event="conversion")
REVENUE = Metric(name="revenue", kind="mean", event="purchase", of="value")
PURCHASES = Metric(name="purchases", kind="mean", event="purchase", of="count")
CLICK_RATE = Metric(name="click_rate", kind="proportion")
ALL = {metric.name: metric for metric in (CONVERSION, REVENUE, PURCHASES, CLICK_RATE)}


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def exposure(experiment: str, user: str, variant: str, hour: float) -> dict[str, Any]:
    return {"experiment_id": experiment, "user_id": user, "variant_id": variant, "first_exposed_at": at(hour)}


def event(event_type: str, user: str | None, hour: float, value: float | None = None, **fields: Any) -> dict[str, Any]:
    return {"event_type": event_type, "user_id": user, "timestamp": at(hour), "value": value} | fields


def total(n: int, mean: float, variance: float | None, hour: float = 0.0, **fields: Any) -> dict[str, Any]:
    key = {"experiment_id": "x", "variant_id": "a", "metric": "latency", "kind": "mean", "event_id": f"{hour}-{fields}"}
    return key | {"n": n, "mean": mean, "variance": variance, "as_of": at(hour)} | fields


def experiment(name: str, ended: float | None) -> dict[str, Any]:
    return {"experiment_id": name, "ended_at": None if ended is None else at(ended)}


def as_dict(statistics: pl.DataFrame) -> dict[tuple[str, str, str], tuple[int, float, float | None]]:
    keys = statistics.select("experiment_id", "metric", "variant_id").iter_rows()
    return dict(zip(keys, statistics.select("n", "mean", "variance").iter_rows(), strict=True))


def known(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The numbers of a row that are known."""
    return tuple(number for number in row if number is not None)


# --- from events ------------------------------------------------------------------------------------------------------

HOURS = st.integers(0, 12)
EXPOSURES = st.tuples(st.sampled_from("xyz"), st.sampled_from("stuvw"), st.sampled_from("ab"), HOURS)
VALUES = st.one_of(st.none(), st.integers(-3, 9).map(float))
EVENTS = st.tuples(
    st.sampled_from(["conversion", "purchase", "click"]), st.sampled_from([*"stuvw", None]), HOURS, VALUES
)
REPEATED = st.sampled_from([1, 1, 1, 2])


def expected(
    exposures: list[tuple[str, str, str, int]],
    events: list[tuple[str, str | None, int, float | None]],
    ends: Mapping[str, int | None],
) -> tuple[dict[tuple[str, str, str], tuple[int, float, float | None]], dict[str, int]]:
    """The definition, user by user: statistics, and the number of users in several variants of each experiment."""
    seen: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for name, user, variant, hour in exposures:
        if ends.get(name) is None or hour <= ends[name]:
            first = seen[name, user]
            first[variant] = min(hour, first.get(variant, hour))
    crossed: dict[str, int] = defaultdict(int)
    values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for (name, user), first in seen.items():
        if len(first) > 1:
            crossed[name] += 1
            continue
        [(variant, since)] = first.items()
        until = ends.get(name)
        own = [e for e in events if e[1] == user and e[2] >= since and (until is None or e[2] <= until)]
        bought = [value for kind, _, _, value in own if kind == "purchase"]
        values[name, "conversion", variant].append(float(any(kind == "conversion" for kind, *_ in own)))
        values[name, "revenue", variant].append(sum(value for value in bought if value is not None))
        values[name, "purchases", variant].append(float(len(bought)))
    spread = {key: (len(v), mean(v), variance(v) if len(v) > 1 else None) for key, v in values.items()}
    return spread, crossed


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(
    exposures=st.lists(EXPOSURES, max_size=25),
    events=st.lists(st.tuples(EVENTS, REPEATED), max_size=40),
    ends=st.fixed_dictionaries({"x": st.one_of(st.none(), HOURS), "y": st.just(6)}),
)
def test_events_come_down_to_what_the_definition_says(
    lake_of: Any,
    exposures: list[tuple[str, str, str, int]],
    events: list[tuple[tuple[str, str | None, int, float | None], int]],
    ends: dict[str, int | None],
) -> None:
    deliveries = [event(*e) | {"event_id": f"e{i}"} for i, (e, times) in enumerate(events) for _ in range(times)]
    lake = lake_of(
        assignments=[exposure(*e) for e in exposures],
        events=deliveries,
        experiments=[experiment(name, end) for name, end in ends.items()],  # z has data and no definition
    )
    statistics, crossed = expected(exposures, [e for e, _ in events], ends)
    warehouse = Warehouse(lake)

    got = collect(warehouse, ALL)

    assert dict(got.schema) == STATISTICS_SCHEMA
    assert as_dict(got).keys() == statistics.keys()
    for key, found in as_dict(got).items():
        assert known(found) == pytest.approx(known(statistics[key]), rel=1e-9, abs=1e-12), key
    assert dict(crossovers(warehouse).iter_rows()) == crossed
    of_conversion = {key: n for key, (n, *_) in statistics.items() if key[1] == "conversion"}
    assert {(e, "conversion", v): n for e, v, n in users(warehouse).iter_rows()} == of_conversion
    assert collect(warehouse, ALL, ["x"]).equals(got.filter(pl.col("experiment_id") == "x"))


def test_values_far_from_zero_keep_their_variance(lake_of: Any) -> None:
    """A billion, give or take one: raw sums of squares would be 130-fold off."""
    random = np.random.default_rng(7)
    bought = random.normal(1e9, 1.0, 600)
    everyone = [f"u{i}" for i in range(600)] + [f"v{i}" for i in range(900)]
    lake = lake_of(
        assignments=[exposure("x", user, user[0], 0) for user in everyone],
        events=[event("purchase", f"u{i}", 1, value) for i, value in enumerate(bought)]
        + [event("purchase", f"v{i}", 1, value) for i, value in enumerate(bought)],
    )

    got = as_dict(collect(Warehouse(lake), {"revenue": REVENUE}))

    n, average, spread = got["x", "revenue", "u"]
    assert (n, average) == (600, pytest.approx(bought.mean(), rel=1e-15))
    assert spread == pytest.approx(bought.var(ddof=1), rel=1e-6)
    with_zeros = np.concatenate([bought, np.zeros(300)])
    assert got["x", "revenue", "v"] == pytest.approx((900, with_zeros.mean(), with_zeros.var(ddof=1)), rel=1e-12)


def test_a_value_too_large_to_square_spoils_nothing_else(lake_of: Any) -> None:
    lake = lake_of(
        assignments=[exposure("x", user, "a", 0) for user in "stu"] + [exposure("y", user, "a", 0) for user in "vw"],
        events=[event("purchase", "s", 1, 1e200), event("purchase", "t", 1, 1.0), event("purchase", "v", 1, 4.0)],
    )

    got = as_dict(collect(Warehouse(lake), {"revenue": REVENUE}))

    assert got["x", "revenue", "a"][:2] == (3, pytest.approx(1e200 / 3))
    assert got["y", "revenue", "a"] == (2, 2.0, 8.0)


@pytest.mark.parametrize("name", ["user_id", "n", "event_type", "a b", 'say "hi"', "Conversion", "k_0", "é"])
def test_a_metric_may_have_any_name(lake_of: Any, name: str) -> None:
    metrics = {m: Metric(name=m, kind="proportion", event="conversion") for m in (name, "conversion")}
    lake = lake_of(assignments=[exposure("x", user, "a", 0) for user in "st"], events=[event("conversion", "s", 1)])

    got = as_dict(collect(Warehouse(lake), metrics))

    assert got == {("x", name, "a"): (2, 0.5, 0.5), ("x", "conversion", "a"): (2, 0.5, 0.5)}


COMBINATIONS = [list(names) for size in range(5) for names in combinations(ALL, size)]


@pytest.mark.parametrize("names", COMBINATIONS, ids=lambda names: "+".join(names) or "none")
def test_every_combination_of_metrics_gives_what_each_gives_alone(lake_of: Any, names: list[str]) -> None:
    lake = lake_of(
        assignments=[exposure("x", user, variant, 0) for user, variant in zip("stuv", "aabb", strict=True)],
        events=[event("conversion", "s", 1), event("purchase", "s", 1, 3.0), event("purchase", "u", 2)],
        metric_totals=[total(10, 0.5, 0.25, metric="click_rate")],
    )
    warehouse = Warehouse(lake)

    together = as_dict(collect(warehouse, {name: ALL[name] for name in names}))

    alone = [as_dict(collect(warehouse, {name: ALL[name]})) for name in [*names, "click_rate"]]
    assert together == {key: value for one in alone for key, value in one.items()}
    assert as_dict(collect(warehouse, {})) == {("x", "click_rate", "a"): (10, 0.5, 0.25)}


# --- from aggregates --------------------------------------------------------------------------------------------------


def moments(values: "np.ndarray[Any, np.dtype[np.float64]]") -> dict[str, Any]:
    spread = float(values.var(ddof=1)) if len(values) > 1 else None
    return {"n": len(values), "mean": float(values.mean()), "variance": spread}


def one(lake: Any, metrics: Mapping[str, Metric] | None = None) -> tuple[int, float, float | None]:
    [row] = as_dict(collect(Warehouse(lake), metrics or {})).values()
    return row


@pytest.mark.parametrize("centre", [0.0, 5.0, 1e9])
def test_disjoint_periods_add_up_to_the_units_themselves(lake_of: Any, centre: float) -> None:
    random = np.random.default_rng(11)
    days = [random.normal(centre + day, 1.0, size) for day, size in enumerate([50, 1, 2, 400])]
    rows = [
        total(**moments(day), hour=24 * i, period_start=at(24 * i), period_end=at(24 * i + 24))
        for i, day in enumerate(days)
    ]

    n, average, spread = one(lake_of(metric_totals=rows))

    units = np.concatenate(days)
    assert (n, average) == (len(units), pytest.approx(units.mean(), rel=1e-14))
    assert spread == pytest.approx(units.var(ddof=1), rel=1e-6 if centre == 1e9 else 1e-12)


def test_the_latest_of_running_totals_holds_the_others(lake_of: Any) -> None:
    units = np.random.default_rng(3).normal(10, 2, 300)
    ends = [(24, 100), (72, 300), (48, 200)]
    rows = [total(**moments(units[:size]), hour=end, period_start=at(0), period_end=at(end)) for end, size in ends]

    assert one(lake_of(metric_totals=rows)) == pytest.approx(tuple(moments(units).values()))


def test_of_totals_for_the_same_period_the_last_stated_counts(lake_of: Any) -> None:
    period = {"period_start": at(0), "period_end": at(24)}
    rows = [total(10, 1.0, 1.0, 24, **period), total(12, 2.0, 3.0, 30, **period), total(11, 9.0, 9.0, 25, **period)]

    assert one(lake_of(metric_totals=rows)) == (12, 2.0, 3.0)


def test_a_period_that_was_corrected_and_then_ran_on_counts_once(lake_of: Any) -> None:
    rows = [
        total(10, 1.0, 1.0, 24, period_start=at(0), period_end=at(24)),
        total(30, 3.0, 2.0, 48, period_start=at(0), period_end=at(48)),
        total(11, 1.5, 1.0, 99, period_start=at(0), period_end=at(24)),
    ]

    assert one(lake_of(metric_totals=rows)) == (30, 3.0, 2.0)


def test_segments_are_parts_of_what_is_counted_already(lake_of: Any) -> None:
    rows = [total(10, 1.0, 1.0), total(4, 7.0, 1.0, segment="phone"), total(6, 7.0, 1.0, segment="desktop")]

    assert one(lake_of(metric_totals=rows)) == (10, 1.0, 1.0)


@pytest.mark.parametrize(
    ("periods", "merged"),
    [
        ([(0, 0.0, None)], (0, None, None)),
        ([(0, 0.0, None), (10, 2.0, 1.0)], (10, 2.0, 1.0)),
        ([(1, 2.0, None)], (1, 2.0, None)),
        ([(1, 2.0, None), (1, 4.0, None)], (2, 3.0, 2.0)),
        ([(5, 2.0, None), (5, 4.0, 1.0)], (10, 3.0, None)),
        ([(5, 2.0, 0.0), (5, 2.0, 0.0)], (10, 2.0, 0.0)),
    ],
)
def test_small_empty_and_unknown_periods(
    lake_of: Any, periods: list[tuple[int, float, float | None]], merged: tuple[int, float | None, float | None]
) -> None:
    rows = [
        total(*period, 24.0 * i, period_start=at(24 * i), period_end=at(24 * i + 24))
        for i, period in enumerate(periods)
    ]

    assert one(lake_of(metric_totals=rows)) == merged


def test_the_kind_is_the_definitions_else_the_topics(lake_of: Any) -> None:
    rows = [
        total(10, 0.5, 0.2, metric="click_rate", kind="mean"),
        total(10, 0.5, 0.2, metric="stated", kind="proportion"),
        total(10, 0.5, 0.2, metric="disputed", kind="proportion", variant_id="a"),
        total(10, 7.5, 0.2, metric="disputed", kind="mean", variant_id="b"),
    ]

    got = collect(Warehouse(lake_of(metric_totals=rows)), ALL)

    kinds = set(got.select("metric", "kind").iter_rows())
    assert kinds == {("click_rate", "proportion"), ("stated", "proportion"), ("disputed", "mean")}


def test_aggregates_of_an_experiment_go_before_its_events(lake_of: Any) -> None:
    lake = lake_of(
        assignments=[exposure(name, user, "a", 0) for name in "xy" for user in "st"],
        events=[event("conversion", "s", 1)],
        metric_totals=[total(1000, 0.1, None, metric="conversion", kind="proportion")],
    )

    got = as_dict(collect(Warehouse(lake), {"conversion": CONVERSION}))

    assert got == {("x", "conversion", "a"): (1000, 0.1, None), ("y", "conversion", "a"): (2, 0.5, 0.5)}


def test_an_empty_lake_has_no_statistics(lake_of: Any) -> None:
    got = collect(Warehouse(lake_of()), ALL)

    assert got.is_empty()
    assert dict(got.schema) == STATISTICS_SCHEMA
