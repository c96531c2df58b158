"""A series is put on regular times by stated rules, and what has no single reading is refused."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.models.trends.series import DAY, HOUR, WEEK, default_seasons, regular_series

START = datetime(2026, 1, 5, tzinfo=UTC)


def _series(values, step=DAY, start=START):
    return pl.DataFrame({"timestamp": [start + step * i for i in range(len(values))], "value": values})


@pytest.mark.parametrize("step", [HOUR, DAY, WEEK, timedelta(minutes=15)])
def test_the_step_is_found_whatever_the_order_and_the_gaps(step):
    full = _series(np.arange(30.0), step)
    regular = regular_series(
        full.sample(fraction=1, shuffle=True, seed=1).filter(~pl.col("value").is_in([4.0, 11.0, 12.0]))
    )
    assert regular.step == step
    assert len(regular) == 30
    assert regular.frame["timestamp"].to_list() == full["timestamp"].to_list()
    assert np.flatnonzero(~regular.observed).tolist() == [4, 11, 12]


def test_a_gap_takes_the_season_before_else_after_else_the_line_between():
    week = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0]
    values = [*week, *(v + 100 for v in week), *(v + 200 for v in week)]
    holes = {1: 120.0, 9: 30.0, 16: 30.0}
    regular = regular_series(_series([None if i in holes else v for i, v in enumerate(values)]))
    assert {i: float(regular.values[i]) for i in holes} == holes
    assert regular_series(_series([1.0, None, 3.0, 4.0, 5.0])).values.tolist() == [1, 2, 3, 4, 5]


def test_dates_and_times_without_a_zone_are_utc():
    dates = pl.DataFrame({"timestamp": [date(2026, 1, 5 + i) for i in range(4)], "value": [1, 2, 3, 4]})
    naive = dates.with_columns(pl.col("timestamp").cast(pl.Datetime("ms")))
    for series in (dates, naive):
        assert regular_series(series).start == START
        assert regular_series(series).step == DAY


def test_seasons_are_those_that_were_met_twice_with_time_to_try_them():
    assert [default_seasons(step, 100) for step in (HOUR, DAY, timedelta(minutes=5))] == [(24,), (7,), (1,)]
    assert [default_seasons(WEEK, 111), default_seasons(WEEK, 112)] == [(1,), (52,)]
    assert [default_seasons(HOUR, 527), default_seasons(HOUR, 528)] == [(24,), (24, 168)]
    assert [default_seasons(DAY, 783), default_seasons(DAY, 784)] == [(7,), (7, 364)]


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (_series([1.0, 2.0]), "at least 3"),
        (_series([1.0, None, None, 2.0]), "at least 3"),
        (_series([1.0, 2.0, float("nan")]), "not finite"),
        (_series([1.0, 2.0, float("inf")]), "not finite"),
        (_series(["1", "2", "3"]), "must be numbers"),
        (_series([1.0, 2.0, 3.0]).drop("timestamp"), "timestamp missing"),
        (_series([1.0, 2.0, 3.0]).with_columns(timestamp=pl.lit("2026-01-05")), "must be a date"),
        (pl.concat([_series([1.0, 2.0, 3.0])] * 2), "2026-01-05 00:00 more than once"),
        (pl.concat([_series([1.0, 2.0, 3.0]), _series([4.0, 5.0], start=START + timedelta(days=900))]), "not regular"),
        (_series([1.0, 2.0, 3.0, 4.0]).with_columns(pl.col("timestamp").replace(START, None)), "without a timestamp"),
    ],
)
def test_what_is_no_series_is_refused_in_a_sentence(series, message):
    with pytest.raises(BadInput, match=message):
        regular_series(series)
