"""A map of documents by meaning, with what a search found."""

import textwrap

import altair as alt
import polars as pl

from neonblue_lab.plots import frames
from neonblue_lab.plots.theme import CATEGORIES, CONTEXT, INK, MUTED, VERMILLION, entitled, use_theme

_GROUPS = 5
_OTHERS = "other"
_SIDE = 460
_LIST_WIDTH = 330
_LINE = 44


def neighbours_map(frame: pl.DataFrame, *, query: str, listed: int = 10) -> alt.HConcatChart:
    """Documents as points of a plane, near when they mean alike; the hits of a search numbered, and listed beside.

    Args:
        frame: columns x, y (of any projection to two dimensions), label (what a hit is called), group (colour; the five
            largest are told apart), rank (1 for the best hit, 2, ...; null for what was not found).
        query: what was searched for; for the title.
        listed: how many hits to number.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"x": "number", "y": "number", "label": "text", "group": "text", "rank": "number"}
    rows = frames.drop_incomplete(frames.take(frame, "neighbours_map", columns), "neighbours_map", ["x", "y"])
    sizes = rows["group"].drop_nulls().value_counts().sort("count", "group", descending=[True, False])
    groups = sizes["group"].head(_GROUPS).to_list()
    rows = rows.with_columns(
        group=pl.when(pl.col("group").is_in(groups)).then(pl.col("group")).otherwise(pl.lit(_OTHERS))
    )
    shown = [*groups, _OTHERS] if _OTHERS not in groups and _OTHERS in rows["group"] else groups
    colours = [CONTEXT if group == _OTHERS else CATEGORIES[index] for index, group in enumerate(shown)]
    hits = rows.drop_nulls("rank").sort("rank").head(listed).with_columns(pl.col("rank").cast(pl.Int64))

    plain = {"axis": None, "scale": alt.Scale(zero=False, nice=False, padding=16)}
    x, y = alt.X("x:Q", **plain), alt.Y("y:Q", **plain)
    points = (
        alt.Chart(rows)
        .mark_point(size=24 if len(rows) > 300 else 45, opacity=0.4 if len(rows) > 300 else 0.7, aria=False)
        .encode(x=x, y=y, color=alt.Color("group:N", scale=alt.Scale(domain=shown, range=colours)))
    )
    found = alt.Chart(hits).encode(x=x, y=y)
    rings = found.mark_point(size=260, color=VERMILLION, stroke="white", strokeWidth=1.5)
    numbers = found.mark_text(color="white", fontSize=11, fontWeight="bold", dy=0.5).encode(text="rank:Q")
    plane = (points + rings + numbers).properties(
        width=_SIDE, height=_SIDE, view=alt.ViewBackground(stroke="#D5DAE0", cornerRadius=4)
    )
    chart = alt.hconcat(plane, _list(hits), spacing=22)
    subtitle = (
        f"{len(rows):,} documents; those that mean alike lie near each other, as far as a plane can show it. "
        f"Numbered: the {len(hits)} nearest in meaning." if len(hits) else ""
    )
    title = f"Nearest to “{textwrap.shorten(query, 70, placeholder='…')}”"
    return entitled(chart, title, subtitle, width=_SIDE + _LIST_WIDTH)


def _list(hits: pl.DataFrame) -> alt.LayerChart:
    """The numbered hits as lines of text, at most two lines each."""
    lines = [textwrap.wrap(label or "(no label)", _LINE, max_lines=2, placeholder=" …") for label in hits["label"]]
    height = 40
    entries = pl.DataFrame(
        {"rank": hits["rank"], "text": ["\n".join(line) for line in lines], "top": [height * i + 16 for i in range(len(hits))]},
        schema={"rank": pl.Int64, "text": pl.String, "top": pl.Int64},
    )
    y = alt.Y("top:Q", axis=None, scale=alt.Scale(domain=[0, _SIDE], reverse=True, nice=False))
    base = alt.Chart(entries).encode(y=y)
    badges = base.mark_point(size=260, color=VERMILLION).encode(x=alt.value(10))
    numbers = base.mark_text(color="white", fontSize=11, fontWeight="bold", dy=0.5).encode(x=alt.value(10), text="rank:Q")
    texts = base.mark_text(align="left", lineBreak="\n", lineHeight=15, baseline="middle").encode(
        x=alt.value(28), text="text:N"
    )
    return (badges + numbers + texts).properties(width=_LIST_WIDTH, height=_SIDE)
