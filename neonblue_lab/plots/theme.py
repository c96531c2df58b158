"""The one look of all charts and tables, and how a notebook shows them without a network.

Colours are those of Okabe and Ito (2008), "Color Universal Design", which people with any form of colour blindness
tell apart; grey is for what is context. The fonts have equal widths, so that what was measured when a picture was
drawn still fits where it is seen.
"""

import textwrap
from functools import cache
from typing import TypeVar

import altair as alt
import polars as pl

from neonblue_lab.plots.pictures import pictures

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, BROWN = "#56B4E9", "#CC79A7", "#8C6D46"
CATEGORIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, BROWN)
INK, MUTED, CONTEXT, PALE, GRID = "#1F2933", "#5F6B7A", "#A3ADB8", "#C4CBD3", "#E6E9ED"
WIDTH = 680
FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"

_CHARACTER = 5.9  # Mean width in pixels of a character of a subtitle.

AnyChart = TypeVar("AnyChart", alt.LayerChart, alt.HConcatChart, alt.VConcatChart, alt.ConcatChart)


@cache
def use_theme() -> None:
    """Make Altair draw in this look and show charts as pictures, and Polars show tables for reading: names without types,
    texts long enough to recognise. Every chart function calls it, it acts once."""
    alt.theme.register("neonblue", enable=True)(_theme)
    alt.renderers.register("neonblue", pictures)
    alt.renderers.enable("neonblue")
    alt.data_transformers.disable_max_rows()  # The data is drawn here and travels no further.
    pl.Config(
        tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True, fmt_str_lengths=48, tbl_rows=16, tbl_cols=24
    )


def layered(*layers: alt.Chart, width: float | alt.Step, height: float | alt.Step) -> alt.LayerChart:
    """Charts drawn over each other, the first one lowest."""
    return alt.LayerChart(layer=list(layers), width=width, height=height)


def counted(number: float, noun: str) -> str:
    """1 record, 2,000 records."""
    return f"{number:,.0f} {noun}{'' if number == 1 else 's'}"


def entitled(chart: AnyChart, title: str, subtitle: str, *, width: float = WIDTH) -> AnyChart:
    """The chart with its title and, wrapped to `width` pixels, what a reader has to know to read it."""
    lines = _balanced(subtitle, max(30, int(width / _CHARACTER)))
    return chart.properties(title=alt.TitleParams(text=title, subtitle=lines), description=f"{title}\n{subtitle}")


def _balanced(text: str, width: int) -> list[str]:
    """`text` in as few lines of at most `width` characters as it takes, these being about equally long."""
    lines = textwrap.wrap(text, width)
    longest = max(map(len, text.split()), default=width)  # narrower, words would be broken
    while width > longest and len(narrower := textwrap.wrap(text, width - 1)) == len(lines):
        lines, width = narrower, width - 1
    return lines


def _theme() -> alt.theme.ThemeConfig:
    return {
        "config": {
            "background": "white",
            "font": FONT,
            "padding": {"left": 12, "right": 20, "top": 12, "bottom": 12},
            "view": {"stroke": None, "continuousWidth": WIDTH, "continuousHeight": 320},
            "title": {
                "anchor": "start",
                "frame": "bounds",
                "fontSize": 17,
                "fontWeight": "bold",
                "color": INK,
                "subtitleColor": MUTED,
                "subtitleFontSize": 12,
                "subtitleLineHeight": 17,
                "subtitlePadding": 7,
                "offset": 14,
            },
            "axis": {
                "domain": False,
                "ticks": False,
                "gridColor": GRID,
                "gridWidth": 1,
                "labelColor": MUTED,
                "labelFontSize": 11,
                "labelPadding": 7,
                "labelLimit": 340,
                "labelFlush": False,
                "titleColor": MUTED,
                "titleFontSize": 12,
                "titleFontWeight": "normal",
                "titlePadding": 12,
            },
            "axisBand": {"grid": False},
            "legend": {
                "orient": "top",
                "direction": "horizontal",
                "title": None,
                "labelColor": INK,
                "labelFontSize": 12,
                "labelLimit": 220,
                "symbolType": "circle",
                "symbolSize": 90,
                "symbolOpacity": 1,
                "columnPadding": 18,
                "offset": 8,
            },
            "range": {"category": list(CATEGORIES)},
            "bar": {"color": BLUE},
            "line": {"color": BLUE, "strokeWidth": 2, "strokeCap": "round", "strokeJoin": "round"},
            "point": {"color": BLUE, "filled": True, "size": 60, "opacity": 1},
            "rule": {"color": MUTED},
            "text": {"color": INK, "fontSize": 12},
        }
    }
