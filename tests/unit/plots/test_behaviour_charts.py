"""Charts of behaviour as a person sees them."""

from collections.abc import Callable

import altair as alt
import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import flow_chart, funnel_chart, journeys_map, score_chart, segment_profile_chart

Texts = Callable[[alt.TopLevelMixin], str]

FUNNEL = pl.DataFrame({"stage": ["awareness", "intent"], "sessions": [2_000, 500], "share": [1.0, 0.25]})
FLOW = pl.DataFrame(
    {
        "source": ["(start)", "click", "click"],
        "target": ["click", "click", "(end)"],
        "count": [100, 30, 100],
        "share": [1.0, 0.2308, 0.7692],
    }
)
PROFILE = pl.DataFrame(
    {
        "segment_id": [1, 1, 2, 2],
        "name": ["mobile · search", "mobile · search", "desktop", "desktop"],
        "label": ["mobile", "no mobile", "mobile", "no mobile"],
        "share": [0.9, 0.1, 0.2, 0.8],
        "share_elsewhere": [0.2, 0.8, 0.9, 0.1],
    }
)
MAP = pl.DataFrame({"x": [0.0, 0.0, 1.0], "y": [0.0, 0.0, 1.0], "segment": ["mobile", "mobile", "desktop"]})
BANDS = pl.DataFrame(
    {"score": [15.0, 85.0], "converted": [0.02, 0.4], "low": [0.01, 0.3], "high": [0.04, 0.5], "moments": [1_500, 90]}
)


def test_a_funnel_says_how_many_get_on(texts: Texts) -> None:
    shown = texts(funnel_chart(FUNNEL))
    assert "2,000 sessions" in shown
    assert "500 · 25%" in shown
    assert "25% of those before" in shown


def test_a_flow_shows_where_users_go_and_leave(texts: Texts) -> None:
    shown = texts(flow_chart(FLOW))
    assert "230 transitions" in shown
    assert "77%" in shown
    assert "(end)" in shown


def test_a_profile_leaves_out_what_the_contrary_says_already(texts: Texts) -> None:
    shown = texts(segment_profile_chart(PROFILE))
    assert "90%" in shown
    assert "no mobile" not in shown
    assert "search" in shown  # each word of a name on its line


def test_a_map_names_the_segments_and_counts_the_users(texts: Texts) -> None:
    shown = texts(journeys_map(MAP))
    assert "3 users" in shown
    assert "desktop" in shown
    assert "other" not in shown.split()


def test_a_ninth_segment_is_one_of_the_others(texts: Texts) -> None:
    many = pl.DataFrame({"x": range(9), "y": range(9), "segment": [f"segment {n}" for n in range(9)]})
    shown = texts(journeys_map(many))
    assert "segment 7" in shown
    assert "segment 8" not in shown
    assert "other" in shown


def test_a_score_is_shown_with_what_came_of_it(texts: Texts) -> None:
    shown = texts(score_chart(BANDS, days=7))
    assert "40% of 90" in shown
    assert "2% of 1,500" in shown
    assert "Converted within 7 days" in shown


@pytest.mark.parametrize("chart", [funnel_chart, flow_chart, segment_profile_chart, journeys_map])
def test_without_rows_there_is_nothing_to_show(chart: Callable[[pl.DataFrame], alt.LayerChart]) -> None:
    with pytest.raises(BadInput, match=chart.__name__):
        chart(pl.DataFrame())
