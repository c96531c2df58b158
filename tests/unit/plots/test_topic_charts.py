"""Records per day and dead letters as a person sees them."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import altair as alt
import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import dead_letter_chart, records_chart

Texts = Callable[[alt.TopLevelMixin], str]


def rows_of(chart: alt.LayerChart) -> list[dict[str, Any]]:
    (rows,) = chart.to_dict()["datasets"].values()
    return list(rows)


def records(days: int, **columns: Any) -> pl.DataFrame:
    dates = [date(2026, 3, 2) + timedelta(day) for day in range(days)]
    both = pl.DataFrame({"day": dates * 2, "topic": ["user_events"] * days + ["analytics_events"] * days})
    return both.with_columns(records=pl.when(pl.col("topic") == "user_events").then(1000).otherwise(200)).with_columns(
        **columns
    )


def test_topics_stack_up_to_the_day_s_total(texts: Texts) -> None:
    chart = records_chart(records(20))
    rows = rows_of(chart)
    assert {(row["topic"], row["bottom"], row["top"]) for row in rows} == {
        ("user_events", 0, 1000),
        ("analytics_events", 1000, 1200),
    }
    shown = texts(chart)
    for text in (
        "What came in",
        "24,000 records from 2 Mar 2026 to 21 Mar 2026",
        "user_events is 83%",
        "per day",
        "1.2k",
    ):
        assert text in shown


def test_long_spans_are_added_up_by_week(texts: Texts) -> None:
    chart = records_chart(records(140))
    assert {row["top"] - row["bottom"] for row in rows_of(chart)} == {7000, 1400}
    assert "Records per week" in texts(chart)


def test_days_are_those_of_utc() -> None:
    east = timezone(timedelta(hours=2))
    times = [datetime(2026, 3, 2, 0, 30, tzinfo=east), datetime(2026, 3, 2, 3, tzinfo=east)]
    rows = rows_of(records_chart(pl.DataFrame({"day": times, "topic": "t", "records": [1, 2]})))
    assert [row["begin"][:10] for row in rows] == ["2026-03-01", "2026-03-02"]


def test_times_without_a_zone_are_utc() -> None:
    naive = pl.DataFrame({"day": [datetime(2026, 3, 2, 23)], "topic": "t", "records": 5})
    zoned = naive.with_columns(day=pl.lit(datetime(2026, 3, 2, 23, tzinfo=UTC)))
    assert rows_of(records_chart(naive)) == rows_of(records_chart(zoned))


def test_more_topics_than_colours_are_refused() -> None:
    with pytest.raises(BadInput, match="at most 7 topics"):
        records_chart(pl.DataFrame({"day": [date(2026, 1, 1)] * 8, "topic": list("abcdefgh"), "records": 1}))


def test_dead_letters_are_counted_by_reason(texts: Texts) -> None:
    frame = pl.DataFrame({"error": ["timestamp: missing", "not JSON", "not JSON", None], "count": [700, 1000, 204, 1]})
    chart = dead_letter_chart(frame)
    assert [(row["error"], row["count"]) for row in rows_of(chart)] == [
        ("not JSON", 1204),
        ("timestamp: missing", 700),
        ("(no reason given)", 1),
    ]
    shown = texts(chart)
    assert "1,905 records could not be read, for 3 reasons" in shown
    assert "1,204" in shown


def test_rare_reasons_are_one_bar() -> None:
    frame = pl.DataFrame({"error": [f"reason {i}" for i in range(20)], "count": list(range(100, 80, -1))})
    rows = rows_of(dead_letter_chart(frame, top=15))
    assert len(rows) == 16
    assert (rows[-1]["error"], rows[-1]["count"]) == ("5 other reasons", 85 + 84 + 83 + 82 + 81)


def test_one_row_is_enough(texts: Texts) -> None:
    assert "1,000 records on 2 Mar 2026" in texts(records_chart(records(1).head(1)))
    one = pl.DataFrame({"error": ["not JSON"], "count": [1]})
    assert "1 record could not be read, for 1 reason." in texts(dead_letter_chart(one))


@pytest.mark.parametrize("draw", [records_chart, dead_letter_chart])
def test_nothing_to_show_is_said_in_a_sentence(draw: Callable[[pl.DataFrame], alt.LayerChart]) -> None:
    columns = {"day": pl.Date, "topic": pl.String, "records": pl.Int64, "error": pl.String, "count": pl.Int64}
    with pytest.raises(BadInput, match="has nothing to show: the frame has no rows"):
        draw(pl.DataFrame(schema=columns))
    with pytest.raises(BadInput, match=r"needs the columns .* The frame has none\."):
        draw(pl.DataFrame())
