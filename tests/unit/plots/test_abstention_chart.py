"""The chart of what a classifier gains by saying nothing, as a person sees it."""

from collections.abc import Callable

import altair as alt
import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import abstention_chart

CURVE = pl.DataFrame(
    {
        "coverage": [0.0, 0.25, 1.0],
        "accuracy": [None, 0.96, 0.5],
        "accuracy_with_rule": [0.4, 0.62, 0.5],
    }
)


def test_it_says_what_always_answering_and_the_best_threshold_bring(texts: Callable[[alt.TopLevelMixin], str]) -> None:
    shown = texts(abstention_chart(CURVE, target=0.9))
    for text in (
        "always answers, 50%",
        "surest 25%",
        "62% are",
        "90% of its answers",
        "of its answers",
        "topic's rule",
    ):
        assert text in shown


def test_one_row_is_enough(texts: Callable[[alt.TopLevelMixin], str]) -> None:
    assert texts(abstention_chart(CURVE.tail(1)))


def test_nothing_to_show_is_said_in_a_sentence() -> None:
    with pytest.raises(BadInput, match="has nothing to show: the frame has no rows"):
        abstention_chart(CURVE.clear())
