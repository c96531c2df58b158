"""What a chart shows, read from its SVG."""

import html
import re
from collections.abc import Callable

import altair as alt
import pytest

from neonblue_lab.plots import use_theme
from neonblue_lab.plots.pictures import pictures

ReadTexts = Callable[[alt.TopLevelMixin], str]


@pytest.fixture
def texts() -> ReadTexts:
    """All texts of a chart as they are drawn, joined by spaces in the order of drawing."""

    def read(chart: alt.TopLevelMixin) -> str:
        use_theme()
        svg = pictures(chart.to_dict())["image/svg+xml"]
        drawn = re.findall(r"<text[^>]*>(.*?)</text>", svg, flags=re.DOTALL)
        return " ".join(html.unescape(re.sub(r"\s*<[^>]+>\s*", " ", text)).strip() for text in drawn)

    return read
