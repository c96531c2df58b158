"""Charts of any model, and of outcomes before they are known."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import (
    drift_chart,
    likeness_chart,
    message_chart,
    prediction_chart,
    reliability_chart,
    scores_chart,
    season_chart,
    win_rate_chart,
)

Texts = Callable[[Any], str]

SCORES = pl.DataFrame(
    {
        "model": ["ours", "coin", "ours", "coin"],
        "metric": ["AUC", "AUC", "Brier", "Brier"],
        "value": [0.71, 0.5, 0.2, 0.25],
        "low": [0.68, None, 0.19, None],
        "high": [0.74, None, 0.21, None],
    }
)
DRIFT = pl.DataFrame({"feature": ["age", "device", "page"], "psi": [0.31, 0.12, 0.01]})
RATES = pl.DataFrame(
    {
        "kind": ["copy", "pricing"],
        "wins": [1, 6],
        "experiments": [10, 10],
        "low": [0.01, 0.31],
        "high": [0.4, 0.83],
    }
)
PROBABILITIES = pl.DataFrame(
    {
        "outcome": ["win", "flat", "loss"],
        "probability": [0.2, 0.7, 0.1],
        "low": [0.1, 0.5, 0.0],
        "high": [0.4, 0.8, 0.3],
    }
)
VARIANTS = pl.DataFrame(
    {
        "variant": ["Single page"],
        "chance_to_beat_control": [0.63],
        "expected_lift": [0.01],
        "lift_low": [-0.1],
        "lift_high": [0.12],
    }
)


def test_scores_stand_beside_their_baselines_in_a_panel_a_metric(texts: Texts) -> None:
    chart = scores_chart(SCORES, ours="ours")
    assert len(chart.to_dict()["vconcat"]) == 2
    shown = texts(chart)
    for text in ("ours", "coin", "AUC (higher is better)", "Brier (higher is better)", "0.710", "0.250"):
        assert text in shown
    shown = texts(scores_chart(SCORES, ours="ours", lower_is_better=["Brier"]))
    assert "AUC (higher is better)" in shown
    assert "Brier (lower is better)" in shown


def test_drift_says_how_many_features_have_moved_far(texts: Texts) -> None:
    shown = texts(drift_chart(DRIFT))
    for text in ("1 of 3 features", "age", "0.31", "Population stability index"):
        assert text in shown


def test_reliability_shows_rare_events_at_their_own_scale(texts: Texts) -> None:
    rare = pl.DataFrame(
        {
            "predicted": [0.02, 0.1],
            "observed": [0.03, 0.08],
            "low": [0.0, 0.05],
            "high": [0.07, 0.12],
            "count": [90, 110],
        }
    )
    shown = texts(reliability_chart(rare, noun="experiment"))
    assert "100%" not in shown
    for text in ("25%", "200 experiments", "Bars: 95 % interval", "too sure"):
        assert text in shown


def test_win_rates_stand_beside_the_programmes(texts: Texts) -> None:
    shown = texts(win_rate_chart(RATES))
    for text in ("35% of 20 experiments won", "0 of 2", "6 of 10", "pricing"):
        assert text in shown


def test_a_prediction_shows_ends_and_lifts(texts: Texts) -> None:
    shown = texts(prediction_chart(PROBABILITIES, VARIANTS, metric="conversion"))
    for text in (
        "Most likely flat (70%)",
        "win",
        "loss",
        "Single page",
        "63%",
        "Expected lift on conversion",
    ):
        assert text in shown


def test_where_nothing_can_be_drawn_the_reason_is(texts: Texts) -> None:
    shown = texts(message_chart("Does it work?", "Too few experiments."))
    for text in ("Does it work?", "Too few experiments.", "Nothing to draw yet."):
        assert text in shown


@pytest.mark.parametrize(
    "draw",
    [
        lambda said: scores_chart(SCORES.clear(), ours="ours", title="Scores", nothing=said),
        lambda said: reliability_chart(pl.DataFrame(), title="Scores", nothing=said),
        lambda said: season_chart(pl.DataFrame(), title="Scores", nothing=said),
        lambda said: likeness_chart(pl.DataFrame(), title="Scores", nothing=said),
    ],
    ids=["scores", "reliability", "season", "likeness"],
)
def test_a_chart_without_rows_says_what_it_is_told_to(texts: Texts, draw: Callable[[str], Any]) -> None:
    shown = texts(draw("Nothing was measured."))
    assert "Nothing was measured." in shown
    assert "Scores" in shown
    with pytest.raises(BadInput):
        draw("")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: scores_chart(SCORES.clear(), ours="ours"),
        lambda: drift_chart(DRIFT.drop("psi")),
        lambda: win_rate_chart(RATES.clear()),
        lambda: prediction_chart(PROBABILITIES.clear(), VARIANTS, metric="x"),
        lambda: prediction_chart(PROBABILITIES, VARIANTS.drop("lift_low"), metric="x"),
    ],
    ids=["no scores", "no psi", "no rates", "no outcomes", "no interval"],
)
def test_frames_that_cannot_be_drawn_are_refused(draw: Callable[[], object]) -> None:
    with pytest.raises(BadInput):
        draw()
