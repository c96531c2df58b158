"""A picture for a reader who expects one where there is nothing to draw."""

import altair as alt
import polars as pl

from neonblue_lab.plots.theme import CONTEXT, entitled, layered, use_theme

_WIDTH = 480


def message_chart(title: str, reason: str) -> alt.LayerChart:
    """A picture that says why there is nothing to draw, where a reader expects one."""
    use_theme()
    said = pl.DataFrame({"text": ["Nothing to draw yet."]})
    text = alt.Chart(said).mark_text(fontSize=13, fontStyle="italic", color=CONTEXT, align="left", x=0)
    return entitled(layered(text.encode(text="text:N"), width=_WIDTH, height=40), title, reason, width=_WIDTH + 120)
