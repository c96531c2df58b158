"""Lifts, sample-ratio checks and p-values as a person sees them."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import polars as pl
import pytest
from scipy import stats

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import lift_chart, p_value_histogram, sample_ratio_chart

Texts = Callable[[alt.TopLevelMixin], str]


def scorecard(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "experiment_id": ["e1", "e2", "e3"],
            "variant_id": ["b", "b", "c"],
            "lift": [0.02, 0.2, -0.1],
            "lift_low": [-0.03, 0.1, -0.15],
            "lift_high": [0.07, 0.3, -0.05],
            "p_adjusted": [0.6, 0.001, 0.01],
            **columns,
        }
    )


def first_data(chart: alt.LayerChart) -> list[dict[str, Any]]:
    """The rows of the layer that holds most of them."""
    rows: list[dict[str, Any]] = max(chart.to_dict()["datasets"].values(), key=len)
    return rows


def test_lifts_are_sorted_and_coloured_by_adjusted_p(texts: Texts) -> None:
    chart = lift_chart(scorecard(), metric="conversion_rate")
    assert [(row["label"], row["verdict"]) for row in first_data(chart)] == [
        ("e2 · b", "clearly higher"),
        ("e1 · b", "no clear difference"),
        ("e3 · c", "clearly lower"),
    ]
    shown = texts(chart)
    for text in (
        "Which variants move conversion_rate?",
        "Lift over control",
        "e2 · b",
        "0%",
        "+10%",
        "below 0.05",
    ):
        assert text in shown


def test_the_strongest_evidence_is_shown_and_the_choice_is_said(texts: Texts) -> None:
    chart = lift_chart(scorecard(), metric="m", top=2)
    assert [row["label"] for row in first_data(chart)] == ["e2 · b", "e3 · c"]
    assert "2 of 3 comparisons" in texts(chart)
    assert "overstate" in texts(chart)


def test_only_rows_of_the_metric_are_shown() -> None:
    rows = scorecard(metric=["a", "b", "a"])
    assert {row["label"] for row in first_data(lift_chart(rows, metric="a"))} == {"e1 · b", "e3 · c"}
    with pytest.raises(BadInput, match="no row is of the metric 'revenue'"):
        lift_chart(rows, metric="revenue")


def test_rows_that_would_read_alike_are_told_apart() -> None:
    rows = scorecard(name=["Shorter checkout", "Shorter checkout", "x" * 80])
    labels = [row["label"] for row in first_data(lift_chart(rows, metric="m"))]
    assert labels == ["Shorter checkout · b · e2", "Shorter checkout · b · e1", "x" * 47 + "… · c"]


def test_doubling_and_halving_are_equally_far_when_lifts_are_wide(texts: Texts) -> None:
    wide = lift_chart(scorecard(lift_high=[4.0, 6.0, -0.05]), metric="m")
    axes = [layer["encoding"]["x"].get("scale", {}).get("type") for layer in wide.to_dict()["layer"]]
    assert "log" in axes
    assert "+400%" in texts(wide)
    narrow = lift_chart(scorecard(), metric="m")
    assert "log" not in [layer["encoding"]["x"].get("scale", {}).get("type") for layer in narrow.to_dict()["layer"]]


def test_a_lift_of_minus_one_or_an_unbounded_interval_is_drawn(texts: Texts) -> None:
    rows = scorecard(lift=[-1.0, 0.2, None], lift_low=[-1.4, -float("inf"), None], lift_high=[5.0, float("inf"), 0.0])
    assert "e1 · b" in texts(lift_chart(rows, metric="m"))


def test_the_broken_block_of_a_real_programme_is_flagged(dataset: Callable[[str], Path], texts: Texts) -> None:
    arms = pl.read_parquet(dataset("upworthy_exploratory.parquet"))
    tests = arms.group_by("clickability_test_id", maintain_order=True).agg("impressions")
    checks = pl.DataFrame(
        {
            "experiment_id": tests["clickability_test_id"],
            "started_at": [datetime(2013, 1, 1, tzinfo=UTC)] * len(tests),
            "srm_p_value": [stats.chisquare(impressions).pvalue for impressions in tests["impressions"]],
        }
    )
    chart = sample_ratio_chart(checks)
    # The README of the data set: p < 0.001 in 15.5 % of the tests.
    assert "of 4,873 experiments (15.5%)" in chart.to_dict()["title"]["subtitle"][0]


def checks(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "experiment_id": ["a", "b", "c"],
            "started_at": [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 10, 20)],
            "srm_p_value": [0.4, 1e-9, 0.02],
            **columns,
        }
    )


def test_mismatches_are_counted_and_dated(texts: Texts) -> None:
    shown = texts(sample_ratio_chart(checks()))
    for text in ("1 of 3 experiments (33.3%)", "p = 0.001", "mismatch", "Jan", "2026", "no lift can be trusted"):
        assert text in shown


def test_experiments_without_a_start_stand_in_order_or_are_said_missing(texts: Texts) -> None:
    undated = checks(started_at=pl.Series([None] * 3, dtype=pl.Datetime("us", "UTC")))
    assert "in order of the table" in texts(sample_ratio_chart(undated))
    some = checks(started_at=[None, datetime(2026, 1, 1), datetime(2026, 2, 1)])
    assert "1 without a start" in texts(sample_ratio_chart(some))


def test_a_p_value_that_underflowed_is_drawn(texts: Texts) -> None:
    assert "1e-250" in texts(sample_ratio_chart(checks(srm_p_value=[0.0, 0.5, 0.5])))


def test_an_experiment_counts_once_whatever_its_metrics(texts: Texts) -> None:
    doubled = pl.concat([checks(), checks()])
    assert "1 of 3 experiments" in texts(sample_ratio_chart(doubled))


def test_histogram_counts_are_those_of_numpy(texts: Texts) -> None:
    values = np.random.default_rng(5).beta(0.5, 1, 1000)
    values[:3] = [0.0, 1.0, 0.999]
    chart = p_value_histogram(pl.DataFrame({"p": values}), "p")
    expected, _ = np.histogram(values, bins=20, range=(0, 1))
    assert [row["count"] for row in first_data(chart)] == expected.tolist()
    shown = texts(chart)
    assert f"{expected[0]} of 1,000 values of p" in shown
    assert "about 50 would be" in shown
    assert "level if nothing had an effect" in shown


def test_a_histogram_of_other_things_is_refused() -> None:
    with pytest.raises(BadInput, match=r"from 0 to 1; lift holds -0\.2"):
        p_value_histogram(pl.DataFrame({"lift": [0.1, -0.2]}), "lift")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: lift_chart(scorecard().head(1), metric="m"),
        lambda: sample_ratio_chart(checks().head(1)),
        lambda: p_value_histogram(pl.DataFrame({"p": [0.3]}), "p"),
    ],
)
def test_one_row_is_enough(texts: Texts, draw: Callable[[], alt.LayerChart]) -> None:
    assert texts(draw())


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: lift_chart(scorecard().clear(), metric="m"), "no rows"),
        (lambda: lift_chart(scorecard().drop("lift", "p_adjusted"), metric="m"), "lift, p_adjusted is missing"),
        (lambda: lift_chart(scorecard(lift=[None] * 3), metric="m"), "no row has a value in each of lift"),
        (lambda: lift_chart(scorecard(lift=["x"] * 3), metric="m"), "a number in the column lift; it holds String"),
        (lambda: sample_ratio_chart(checks().clear()), "no rows"),
        (lambda: sample_ratio_chart(checks(started_at=[1, 2, 3])), "a time in the column started_at"),
        (lambda: p_value_histogram(pl.DataFrame({"p": [None, float("nan")]}), "p"), "no row has a value"),
    ],
)
def test_nothing_to_show_is_said_in_a_sentence(draw: Callable[[], alt.LayerChart], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        draw()
