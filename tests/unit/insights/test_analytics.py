"""Analytics against numbers counted by hand on a lake of a few events, and against the scorecard."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.insights.analytics import analytics
from neonblue_lab.insights.measures import DIMENSIONS, MEASURES
from neonblue_lab.insights.scorecard import scorecard
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import DERIVED
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.warehouse.warehouse import Warehouse

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def event(event_type: str, user: str | None, at: datetime, **fields: Any) -> dict[str, Any]:
    properties = fields.pop("properties", None)
    row = dict.fromkeys(DERIVED["events"].schema)
    row |= {"event_type": event_type, "user_id": user, "timestamp": at, "event_date": at.date(), "topic": "user_events"}
    return row | {"properties": orjson.dumps(properties).decode() if properties else None} | fields


def table(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=DERIVED[name].schema)


def warehouse_of(folder: Path, events: list[dict[str, Any]], **tables: list[dict[str, Any]]) -> Warehouse:
    lake = Lake(folder)
    lake.ensure_derived()
    numbered = [row | {"event_id": f"e{i}", "partition": 0, "offset": i} for i, row in enumerate(events)]
    lake.append("events", table("events", numbered))
    for name, rows in tables.items():
        lake.append(name, table(name, rows))
    return Warehouse(lake)


@pytest.fixture
def shop(tmp_path: Path) -> Warehouse:
    """Two weeks; ann (loyal) on a phone, bob (new) on a desktop; ann buys for 30 and 12 in the second week."""
    phone, desktop = (
        {"device_type": "phone", "user_segment": "loyal"},
        {"device_type": "desktop", "user_segment": "new"},
    )
    second = MONDAY + timedelta(days=7)
    return warehouse_of(
        tmp_path,
        [
            event("session_start", "ann", MONDAY + timedelta(hours=1), session_id="s1", properties=phone),
            event("page_view", "ann", MONDAY + timedelta(hours=2), session_id="s1", properties={"page": "home"}),
            event(
                "session_start",
                "bob",
                MONDAY + timedelta(days=6, hours=23, minutes=59),
                session_id="s2",
                properties=desktop,
            ),
            event("page_view", "bob", second, session_id="s2", properties={"page": "cart"}),
            event("session_start", "ann", second, session_id="s3", properties=phone),
            event("conversion", "ann", second + timedelta(hours=1), session_id="s3"),
            event("purchase", "ann", second + timedelta(hours=1), session_id="s3", value=30.0),
            event("purchase", "ann", second + timedelta(hours=2), session_id="s3", value=12.0),
            event("session_summary", "ann", second + timedelta(hours=3), session_id="s3", value=90.0),
            event(
                "session_summary", "bob", second + timedelta(days=6, hours=23, minutes=30), session_id="s2", value=30.0
            ),
            event("experiment_created", None, second, experiment_id="x", properties={"user_segment": "everybody"}),
        ],
    )


def test_each_measure_is_what_its_description_says(shop: Warehouse) -> None:
    answer = analytics(shop, metrics=list(MEASURES))

    assert {total.metric: total.value for total in answer.totals} == {
        "events": 11,
        "users": 2,
        "sessions": 3,
        "experiments": 1,
        "conversions": 1,
        "converted_users": 1,
        "purchases": 2,
        "revenue": 42.0,
        "conversion_rate": 0.5,
        "revenue_per_user": 21.0,
        "average_purchase": 21.0,
        "events_per_session": pytest.approx(10 / 3),
        "average_session_seconds": 60.0,
    }
    assert answer.rows == [{total.metric: total.value for total in answer.totals}]
    assert answer.data_version == shop.data_version


def test_an_event_without_a_device_counts_for_its_sessions_device_and_without_a_segment_for_its_users(
    shop: Warehouse,
) -> None:
    by_device = analytics(shop, metrics=["revenue", "events"], dimensions=["device_type"])
    by_segment = analytics(shop, metrics=["conversion_rate"], dimensions=["user_segment"])

    assert by_device.rows == [
        {"device_type": "phone", "revenue": 42.0, "events": 7},
        {"device_type": "desktop", "revenue": 0.0, "events": 3},
        {"device_type": None, "revenue": 0.0, "events": 1},
    ]
    assert by_segment.rows == [
        {"user_segment": "loyal", "conversion_rate": 1.0, "users": 1},
        {"user_segment": "new", "conversion_rate": 0.0, "users": 1},
        {"user_segment": None, "conversion_rate": None, "users": 0},
    ]


def test_weeks_begin_on_monday_in_utc_wherever_the_machine_is(shop: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")

    weekly = analytics(shop, metrics=["events"], dimensions=["week"])
    daily = analytics(shop, metrics=["events"], dimensions=["day"])

    assert weekly.rows == [{"week": date(2026, 3, 2), "events": 3}, {"week": date(2026, 3, 9), "events": 8}]
    assert [row["day"] for row in daily.rows] == [date(2026, 3, day) for day in (2, 8, 9, 15)]


def test_the_last_complete_week_is_compared_with_the_one_before(shop: Warehouse) -> None:
    complete = analytics(shop, metrics=["events"])
    cut = analytics(shop, metrics=["events"], until=date(2026, 3, 15))
    begun = analytics(shop, metrics=["events"], since=MONDAY + timedelta(hours=1))

    assert "events was 8 in the week of 2026-03-09, 3 the week before (+166.7%)." in complete.insights
    week = complete.totals[0].week
    assert week is not None
    assert (week.value, week.before, week.change) == (8, 3, pytest.approx(5 / 3))
    assert cut.totals[0].week is None
    assert begun.totals[0].week is None


def test_a_period_is_half_open(shop: Warehouse) -> None:
    answer = analytics(shop, metrics=["events"], since=date(2026, 3, 8), until=date(2026, 3, 9))

    assert answer.rows == [{"events": 1}]
    assert answer.first_event == answer.last_event == MONDAY + timedelta(days=6, hours=23, minutes=59)


def test_a_period_without_events_is_an_answer(shop: Warehouse) -> None:
    answer = analytics(shop, metrics=["events", "conversion_rate"], dimensions=["day"], since=date(2030, 1, 1))

    assert answer.rows == []
    assert answer.insights == ["The lake holds no events of this period."]
    assert {total.metric: total.value for total in answer.totals} == {"events": 0, "conversion_rate": None}


def test_a_limit_keeps_the_latest_times_and_says_that_there_is_more(shop: Warehouse) -> None:
    answer = analytics(shop, metrics=["events"], dimensions=["day"], limit=2)

    assert [row["day"] for row in answer.rows] == [date(2026, 3, 9), date(2026, 3, 15)]
    assert answer.truncated
    assert answer.total_rows == 4


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"metrics": ["clicks"]}, "no metric 'clicks'; there are events, users"),
        ({"metrics": ["events"], "dimensions": ["country"]}, "no dimension 'country'; there are day, week"),
        ({"metrics": []}, "at least one metric"),
        ({"metrics": ["conversion_rate"], "dimensions": ["page"]}, "cannot be split by page"),
        ({"metrics": ["users"], "dimensions": ["variant"]}, "add the dimension `experiment`"),
        ({"metrics": ["users"], "since": date(2026, 3, 9), "until": date(2026, 3, 9)}, "is empty"),
        ({"metrics": ["users"], "limit": 0}, "at least 1"),
        ({"metrics": ["1); DROP TABLE events; --"]}, "no metric"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_what_can(shop: Warehouse, question: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said.replace("(", r"\(")):
        analytics(shop, **question)


def test_each_measure_can_be_asked_by_each_dimension_that_it_allows(shop: Warehouse) -> None:
    for measure in MEASURES.values():
        for split in DIMENSIONS.values():
            names = ["experiment", "variant"] if split.name == "variant" else [split.name]
            if not (measure.across_types and split.level == "event"):
                analytics(shop, metrics=[measure.name], dimensions=names)


def test_conversion_rate_by_variant_is_the_scorecards(tmp_path: Path) -> None:
    """Users before exposure, after the end, in both variants and in two experiments at once are where the two could differ."""
    at = {day: MONDAY + timedelta(days=day) for day in range(10)}
    exposures = [
        ("x", "a", "control", 1),
        ("x", "b", "control", 1),
        ("x", "c", "new", 1),
        ("x", "d", "new", 1),
        ("x", "e", "new", 1),
        ("x", "f", "new", 1),
        ("x", "f", "control", 2),
        ("y", "a", "red", 5),
        ("y", "c", "blue", 5),
        ("y", "g", "blue", 5),
    ]
    converted = [("a", 0), ("a", 6), ("b", 2), ("c", 3), ("d", 0), ("e", 8), ("f", 3), ("g", 9)]
    events = [
        event("exposure", user, at[day], experiment_id=experiment, variant_id=variant)
        for experiment, user, variant, day in exposures
    ]
    events += [event("conversion", user, at[day] + timedelta(hours=1)) for user, day in converted]
    events += [event("experiment_created", None, at[0], experiment_id=experiment) for experiment in "xy"]
    warehouse = warehouse_of(
        tmp_path,
        events,
        assignments=[
            {"experiment_id": experiment, "user_id": user, "variant_id": variant, "first_exposed_at": at[day]}
            for experiment, user, variant, day in exposures
        ],
        experiments=[
            dict.fromkeys(DERIVED["experiments"].schema)
            | {"experiment_id": experiment, "ended_at": end, "variants": [{"variant_id": v} for v in variants]}
            for experiment, end, variants in (("x", at[7], ("control", "new")), ("y", None, ("red", "blue")))
        ],
    )

    answer = analytics(warehouse, metrics=["conversion_rate"], dimensions=["experiment", "variant"])

    card = scorecard(warehouse, {"conversion": Metric(name="conversion", kind="proportion", event="conversion")})
    expected = {}
    for row in card.rows.iter_rows(named=True):
        expected[row["experiment_id"], row["control_id"]] = (row["mean_control"], row["n_control"])
        expected[row["experiment_id"], row["variant_id"]] = (row["mean_variant"], row["n_variant"])
    measured = {
        (r["experiment"], r["variant"]): (r["conversion_rate"], r["users"]) for r in answer.rows if r["variant"]
    }
    assert measured.keys() == expected.keys()
    for arm, numbers in expected.items():
        assert measured[arm] == pytest.approx(numbers, rel=1e-12)
    assert expected["x", "new"] == (pytest.approx(1 / 3), 3)


def test_sentences_name_the_groups_that_differ_by_more_than_chance(tmp_path: Path) -> None:
    events = []
    for i in range(600):
        segment = "new" if i < 300 else "loyal"
        events.append(event("session_start", f"u{i}", MONDAY, properties={"user_segment": segment}))
        if i % 10 == 0 or (segment == "loyal" and i % 3 == 0):
            events.append(event("conversion", f"u{i}", MONDAY + timedelta(hours=1)))
    answer = analytics(
        warehouse_of(tmp_path, events), metrics=["conversion_rate", "users"], dimensions=["user_segment"]
    )

    assert answer.insights == [
        "conversion_rate is highest for user_segment loyal, 40.00%, and lowest for user_segment new, 10.00% "
        "(among 2 groups with at least 100 users); overall it is 25.00%.",
        "users is the same, 300, in all 2 groups.",
    ]
    assert answer.recommendations == [
        "Look at user_segment new: 10.00% of its 300 users convert, against 25.00% overall, which chance does not explain. "
        "At the overall rate 45 more of them would have converted."
    ]
