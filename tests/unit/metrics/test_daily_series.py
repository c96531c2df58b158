"""Daily series of a few rows, added up by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.metrics.series import PROGRAMME, SERIES_SCHEMA, daily_series
from neonblue_lab.warehouse.warehouse import Warehouse

START = datetime(2026, 3, 2, tzinfo=UTC)
METRICS = {
    "conversion": Metric(name="conversion", kind="proportion", event="conversion"),
    "revenue": Metric(name="revenue", kind="mean", event="purchase", of="value"),
}
Series = dict[tuple[str, str], dict[int, float]]


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def series(lake: Any, metrics: dict[str, Metric] | None = None, experiments: list[str] | None = None) -> Series:
    """(experiment, metric) -> day number -> value."""
    frame = daily_series(Warehouse(lake), METRICS if metrics is None else metrics, experiments)
    assert dict(frame.schema) == SERIES_SCHEMA
    assert frame.equals(frame.sort("experiment_id", "metric", "timestamp"))
    found: Series = {}
    for experiment, metric, timestamp, value in frame.iter_rows():
        found.setdefault((experiment, metric), {})[(timestamp - START).days] = value
    return found


def event(event_type: str, user: str, hour: float, value: float | None = None, **fields: Any) -> dict[str, Any]:
    return {"event_type": event_type, "user_id": user, "timestamp": at(hour), "value": value} | fields


def test_the_programme_counts_every_event_and_an_experiment_those_of_its_users(lake_of: Any) -> None:
    lake = lake_of(
        assignments=[{"experiment_id": "x", "user_id": "s", "variant_id": "a", "first_exposed_at": at(2)}],
        experiments=[{"experiment_id": "x", "ended_at": at(30)}],
        events=[
            event("purchase", "s", 1, 5.0),
            event("purchase", "s", 3, 7.0),
            event("purchase", "s", 23.99, 1.0),
            event("purchase", "t", 23.5, 10.0),
            event("purchase", "s", 24, 2.0),
            event("purchase", "s", 40, 4.0),
            event("conversion", "s", 3, event_id="twice"),
            event("conversion", "s", 3, event_id="twice"),
            event("page_view", "s", 47),
        ],
    )

    assert series(lake) == {
        (PROGRAMME, "purchase_value_per_day"): {0: 23.0, 1: 6.0},
        (PROGRAMME, "conversion_count_per_day"): {0: 1.0},
        ("x", "purchase_value_per_day"): {0: 8.0, 1: 2.0},
        ("x", "conversion_count_per_day"): {0: 1.0},
    }
    assert series(lake, experiments=[]).keys() == {
        (PROGRAMME, "purchase_value_per_day"),
        (PROGRAMME, "conversion_count_per_day"),
    }


@pytest.mark.parametrize(("last", "days"), [(24 + 19.9, [0]), (24 + 20, [0, 1])])
def test_a_last_day_that_ends_before_eight_in_the_evening_is_no_day(lake_of: Any, last: float, days: list[int]) -> None:
    lake = lake_of(events=[event("conversion", "s", 1), event("conversion", "s", 25), event("page_view", "s", last)])

    assert list(series(lake)[PROGRAMME, "conversion_count_per_day"]) == days


def total(variant: str, n: int, mean: float, start: float | None, end: float | None, **fields: Any) -> dict[str, Any]:
    key = {"experiment_id": "x", "variant_id": variant, "metric": "rate", "kind": "proportion", "n": n, "mean": mean}
    times = {"period_start": None if start is None else at(start), "period_end": None if end is None else at(end)}
    return key | times | {"as_of": at(end or 0), "event_id": f"{variant}{start}{end}"} | fields


def test_periods_of_aggregates_are_weighted_by_their_units(lake_of: Any) -> None:
    lake = lake_of(
        metric_totals=[
            total("a", 10, 0.1, 0, 24),
            total("b", 30, 0.5, 0, 24),
            total("a", 5, 0.2, 24, 48),
            total("a", 99, 0.9, 24, 48, segment="phone"),
            total("b", 0, 0.0, 24, 48),
            total("a", 10, 0.9, 48, 48 + 8 * 24),
            total("a", 60, 0.5, 0, 24, experiment_id="y"),
        ]
    )

    found = series(lake, {}, ["x"])

    assert found["x", "rate"] == pytest.approx({0: 0.4, 1: 0.2})
    assert found[PROGRAMME, "rate"] == pytest.approx({0: 0.46, 1: 0.2})
    assert ("y", "rate") not in found


@pytest.mark.parametrize("ends", [[24, 48], [24, 24 * 30]])
def test_running_totals_are_no_periods(lake_of: Any, ends: list[int]) -> None:
    lake = lake_of(metric_totals=[total("a", end, 0.1, 0, end) for end in ends])

    assert series(lake, {}) == {}


def test_totals_without_a_period_count_on_the_day_their_experiment_started(lake_of: Any) -> None:
    lake = lake_of(
        experiments=[{"experiment_id": "x", "started_at": at(30)}, {"experiment_id": "y"}],
        metric_totals=[
            total("a", 10, 0.1, None, None),
            total("b", 30, 0.5, None, None),
            total("a", 5, 0.9, None, None, experiment_id="y"),
        ],
    )

    assert series(lake, {}) == {(PROGRAMME, "rate"): {1: pytest.approx(0.4)}}


def test_an_empty_lake_has_no_series(lake_of: Any) -> None:
    assert series(lake_of()) == {}
