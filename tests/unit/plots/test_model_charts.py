"""Classifier, trend and search charts as a person sees them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import altair as alt
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import backtest_chart, confusion_chart, forecast_chart, neighbours_map, reliability_chart
from neonblue_lab.plots.neighbours import spread

Texts = Callable[[alt.TopLevelMixin], str]

CONFUSION = pl.DataFrame(
    {
        "actual": ["analytics", "analytics", "user", "user"],
        "predicted": ["analytics", "user", "user", None],
        "share": [0.8, 0.2, 0.997, 0.003],
        "count": [80, 20, 997, 3],
    }
)
RELIABILITY = pl.DataFrame({"predicted": [0.5, 0.9], "observed": [0.6, 0.86], "count": [100, 300]})
START = datetime(2026, 1, 5)
HISTORY = pl.DataFrame({"timestamp": [START + timedelta(day) for day in range(30)], "value": np.arange(100.0, 130.0)})
AHEAD = pl.DataFrame(
    {
        "timestamp": [START + timedelta(30 + day) for day in range(7)],
        "mean": np.full(7, 131.0),
        "low": np.full(7, 120.0),
        "high": np.full(7, 1500.0),
    }
)
BACKTEST = pl.DataFrame(
    {
        "horizon": [1, 2, 1, 2, 1, 2],
        "model": ["ets", "ets", "theta", "theta", "seasonal_naive", "seasonal_naive"],
        "error": [6.0, 9.0, 8.0, 9.0, 9.0, 11.0],
    }
)
DOCUMENTS = pl.DataFrame(
    {
        "x": [0.0, 1.0, 1.0, 5.0],
        "y": [0.0, 2.0, 2.0, 1.0],
        "label": ["Shorter checkout", "One-page checkout", "New prices", None],
        "group": ["checkout", "checkout", "pricing", None],
        "rank": [2, 1, None, 3],
    }
)


def test_confusion_shows_shares_counts_and_the_whole_accuracy(texts: Texts) -> None:
    shown = texts(confusion_chart(CONFUSION))
    # (80 + 997) of 1,100.
    for text in ("97.9% of 1,100", "80%", "997", "<1%", "(abstains)", "Actual label", "Predicted label"):
        assert text in shown


def test_confusion_counts_by_weight_where_events_do_not_count_alike(texts: Texts) -> None:
    shown = texts(confusion_chart(CONFUSION.with_columns(weight=pl.Series([0.4, 0.1, 0.3, 0.2]))))
    for text in ("70.0% of 1,100", "type counting alike"):
        assert text in shown
    assert "alike" not in texts(confusion_chart(CONFUSION.with_columns(weight=2 * pl.col("count"))))


def test_pairs_that_never_occur_are_empty_cells() -> None:
    cells = max(confusion_chart(CONFUSION).to_dict()["datasets"].values(), key=len)
    assert len(cells) == 2 * 3
    empty = [(cell["actual"], cell["predicted"]) for cell in cells if cell["count"] == 0]
    assert sorted(empty) == [("analytics", "(abstains)"), ("user", "analytics")]


def test_reliability_tells_the_expected_calibration_error(texts: Texts) -> None:
    shown = texts(reliability_chart(RELIABILITY))
    # (100 * 0.1 + 300 * 0.04) / 400.
    for text in ("5.5 percentage points", "400 predictions", "too sure", "too modest", "100%"):
        assert text in shown


def test_forecast_opens_from_the_last_value_seen(texts: Texts) -> None:
    chart = forecast_chart(HISTORY, AHEAD, title="Daily users", value="Users per day", coverage=0.9)
    fan = next(rows for rows in chart.to_dict()["datasets"].values() if len(rows) == 8 and "low" in rows[0])
    assert (fan[0]["low"], fan[0]["mean"], fan[0]["high"]) == (129, 129, 129)
    shown = texts(chart)
    for text in ("Daily users", "Users per day", "30 values up to 3 Feb 2026; 7 forecast", "90%", "observed", "1.4k"):
        assert text in shown


def test_a_forecast_of_what_was_seen_since_stands_by_itself() -> None:
    known = AHEAD.with_columns(pl.col("timestamp") - timedelta(7))
    datasets = forecast_chart(HISTORY, known, title="t").to_dict()["datasets"].values()
    assert {row["mean"] for rows in datasets for row in rows if "mean" in row} == {131}


def test_backtest_compares_the_best_model_with_the_best_baseline(texts: Texts) -> None:
    shown = texts(backtest_chart(BACKTEST, error="MAE (users)", step="days ahead"))
    # Mean errors 7.5 against 10.
    for text in (
        "ets errs 25% less than seasonal_naive (7.5 against 10)",
        "MAE (users)",
        "Horizon (days ahead)",
        "theta",
    ):
        assert text in shown


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (BACKTEST.with_columns(pl.col("error").replace(6.0, 60.0)), "theta errs 15% less"),
        (BACKTEST.filter(model="ets"), "Least mean error: ets, 7.5"),
        (BACKTEST.with_columns(error=pl.when(model="seasonal_naive").then(0.0).otherwise("error")), "makes no error"),
        (BACKTEST.filter(pl.col("model") != "ets").with_columns(pl.col("error").replace(8.0, 21.0)), "errs 50% more"),
    ],
)
def test_backtest_says_when_it_is_not_so(texts: Texts, frame: pl.DataFrame, says: str) -> None:
    assert says in texts(backtest_chart(frame))


def test_neighbours_lists_the_hits_in_order(texts: Texts) -> None:
    shown = texts(neighbours_map(DOCUMENTS, query="checkout that converts"))
    positions = [shown.index(text) for text in ("One-page checkout", "Shorter checkout", "(no label)")]
    assert positions == sorted(positions)
    for text in ("Nearest to “checkout that converts”", "4 documents", "the 3 nearest", "pricing", "other"):
        assert text in shown
    assert "New prices" not in shown


def test_neighbours_keeps_one_scale_for_both_directions() -> None:
    chart = neighbours_map(DOCUMENTS, query="q").to_dict()
    points = next(rows for rows in chart["datasets"].values() if len(rows) == 4)
    wide = max(p["x"] for p in points) - min(p["x"] for p in points)
    high = max(p["y"] for p in points) - min(p["y"] for p in points)
    assert wide / high == pytest.approx(5 / 2)


@given(points=arrays(float, st.tuples(st.integers(0, 10), st.just(2)), elements=st.floats(0, 460)))
@settings(max_examples=200, deadline=None)
def test_numbers_never_hide_each_other(points: np.ndarray) -> None:
    placed = spread(points, 20.0)
    apart = np.hypot(*(placed[:, None] - placed[None]).transpose(2, 0, 1))
    assert (apart[~np.eye(len(points), dtype=bool)] >= 20).all()
    assert placed.shape == points.shape


def test_numbers_that_are_apart_stay_where_they_are() -> None:
    points = np.array([[10.0, 10.0], [40.0, 10.0]])
    np.testing.assert_allclose(spread(points, 20.0), points, atol=0.01)


ONE: dict[str, Callable[[], Any]] = {
    "confusion": lambda: confusion_chart(CONFUSION.head(1)),
    "reliability": lambda: reliability_chart(RELIABILITY.head(1)),
    "forecast": lambda: forecast_chart(HISTORY.head(1), AHEAD.head(1), title="t"),
    "backtest": lambda: backtest_chart(BACKTEST.head(1)),
    "neighbours": lambda: neighbours_map(DOCUMENTS.head(1), query="q"),
    "neighbours, none found": lambda: neighbours_map(DOCUMENTS.with_columns(rank=pl.lit(None)), query="q"),
    "neighbours, no groups": lambda: neighbours_map(DOCUMENTS.with_columns(group=pl.lit(None)), query="q"),
}


@pytest.mark.parametrize("case", ONE)
def test_one_row_is_enough(texts: Texts, case: str) -> None:
    assert texts(ONE[case]())


EMPTY: dict[str, Callable[[], Any]] = {
    "confusion": lambda: confusion_chart(CONFUSION.clear()),
    "reliability": lambda: reliability_chart(RELIABILITY.clear()),
    "forecast without history": lambda: forecast_chart(HISTORY.clear(), AHEAD, title="t"),
    "forecast without forecast": lambda: forecast_chart(HISTORY, AHEAD.clear(), title="t"),
    "backtest": lambda: backtest_chart(BACKTEST.clear()),
    "neighbours": lambda: neighbours_map(DOCUMENTS.clear(), query="q"),
}


@pytest.mark.parametrize("case", EMPTY)
def test_nothing_to_show_is_said_in_a_sentence(case: str) -> None:
    with pytest.raises(BadInput, match="has nothing to show: the frame has no rows"):
        EMPTY[case]()
