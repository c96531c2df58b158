"""A map of documents by meaning, with what a search found."""

import textwrap

import altair as alt
import numpy as np
import polars as pl

from neonblue_lab.plots import frames
from neonblue_lab.plots.theme import CATEGORIES, CONTEXT, PALE, VERMILLION, counted, entitled, layered, use_theme

_GROUPS = 5
_OTHERS = "other"
_MANY = 300
_SIDE, _MARGIN = 460, 18
_LIST_WIDTH, _LINE = 330, 44
_BADGE, _APART = 230, 20.0


def neighbours_map(frame: pl.DataFrame, *, query: str) -> alt.HConcatChart:
    """Documents as points of a plane, near when they mean alike; the hits of a search numbered, and listed beside.

    Args:
        frame: columns x, y (of any projection to two dimensions; one scale serves both), label (what a hit is called),
            group (colour; the five largest are told apart), rank (1 for the best hit, 2, ...; null for what was not
            found; the first ten are shown).
        query: what was searched for; for the title.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"x": "number", "y": "number", "label": "text", "group": "text", "rank": "number"}
    rows = frames.drop_incomplete(frames.take(frame, "neighbours_map", columns), "neighbours_map", ["x", "y"])
    rows = rows.with_columns(_in_pixels(rows))
    sizes = rows["group"].drop_nulls().value_counts().sort("count", "group", descending=[True, False])
    groups = [group for group in sizes["group"] if group != _OTHERS][:_GROUPS]
    rows = rows.with_columns(pl.when(pl.col("group").is_in(groups)).then("group").otherwise(pl.lit(_OTHERS)))
    shown = {group: CATEGORIES[index] for index, group in enumerate(groups)}
    if _OTHERS in rows["group"]:
        shown[_OTHERS] = CONTEXT
    hits = rows.drop_nulls("rank").sort("rank").head(10).with_columns(pl.col("rank").cast(pl.Int64))
    chart = alt.hconcat(_plane(rows, hits, shown), _list(hits), spacing=22)
    numbered = f"the {len(hits)} nearest to it" if len(hits) != 1 else "the nearest to it"
    subtitle = (
        f"{counted(len(rows), 'document')}; those that mean alike lie near each other, as far as a plane can show it. "
        f"Numbered: {numbered}."
    )
    title = f"Nearest to “{textwrap.shorten(query, 70, placeholder=' …')}”"
    return entitled(chart, title, subtitle, width=_SIDE + _LIST_WIDTH)


def _plane(rows: pl.DataFrame, hits: pl.DataFrame, shown: dict[str, str]) -> alt.LayerChart:
    scale = alt.Scale(domain=[0, _SIDE], nice=False)
    x, y = alt.X("x:Q", axis=None, scale=scale), alt.Y("y:Q", axis=None, scale=scale)
    size, opacity = (24, 0.4) if len(rows) > _MANY else (45, 0.7)
    points = (
        alt.Chart(rows.select("x", "y", "group"))
        .mark_point(size=size, opacity=opacity, aria=False)
        .encode(x=x, y=y, color=alt.Color("group:N", scale=alt.Scale(domain=list(shown), range=list(shown.values()))))
    )
    apart = spread(hits.select("x", "y").to_numpy(), _APART)
    badges = alt.Chart(hits.with_columns(at_x=pl.Series(apart[:, 0]), at_y=pl.Series(apart[:, 1])))
    at = {"x": alt.X("at_x:Q", axis=None, scale=scale), "y": alt.Y("at_y:Q", axis=None, scale=scale)}
    leaders = badges.mark_rule(color=VERMILLION, strokeWidth=1).encode(x=x, y=y, x2="at_x:Q", y2="at_y:Q")
    targets = badges.mark_point(size=30, color=VERMILLION).encode(x=x, y=y)
    circles = badges.mark_point(size=_BADGE, color=VERMILLION, stroke="white", strokeWidth=1.2).encode(**at)
    numbers = badges.mark_text(color="white", fontSize=10.5, fontWeight="bold", dy=0.5).encode(text="rank:Q", **at)
    plane = layered(points, leaders, targets, circles, numbers, width=_SIDE, height=_SIDE)
    return plane.properties(view=alt.ViewBackground(stroke=PALE, cornerRadius=4))


def _list(hits: pl.DataFrame) -> alt.LayerChart:
    """The numbered hits as text, at most two lines each."""
    lines = [
        "\n".join(textwrap.wrap(label or "(no label)", _LINE, max_lines=2, placeholder=" …")) for label in hits["label"]
    ]
    entries = hits.select("rank", text=pl.Series(lines, dtype=pl.String), top=18 + 44 * pl.int_range(pl.len()))
    y = alt.Y("top:Q", axis=None, scale=alt.Scale(domain=[0, _SIDE], reverse=True, nice=False))
    base = alt.Chart(entries).encode(y=y)
    circles = base.mark_point(size=_BADGE, color=VERMILLION).encode(x=alt.value(10))
    numbers = base.mark_text(color="white", fontSize=10.5, fontWeight="bold", dy=0.5).encode(
        x=alt.value(10), text="rank:Q"
    )
    texts = base.mark_text(align="left", lineBreak="\n", lineHeight=15, baseline="middle").encode(
        x=alt.value(28), text="text:N"
    )
    return layered(circles, numbers, texts, width=_LIST_WIDTH, height=_SIDE)


def _in_pixels(rows: pl.DataFrame) -> list[pl.Series]:
    """x and y on one scale, centred in the square."""
    points = rows.select("x", "y").to_numpy()
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max()) or 1.0
    placed = (points - (low + high) / 2) / extent * (_SIDE - 2 * _MARGIN) + _SIDE / 2
    return [pl.Series("x", placed[:, 0]), pl.Series("y", placed[:, 1])]


def spread(points: np.ndarray, distance: float) -> np.ndarray:
    """The points (n x 2), moved apart until no two are nearer than `distance`, each little further than it must."""
    placed = points.astype(float)
    # Points at one place part in different directions (the golden angle), the same ones each time.
    angles = np.arange(len(placed)) * 2.399963
    placed += 1e-3 * np.column_stack([np.cos(angles), np.sin(angles)])
    for _ in range(500):
        apart = placed[:, None] - placed[None]
        lengths = np.hypot(apart[..., 0], apart[..., 1])
        np.fill_diagonal(lengths, np.inf)
        lacking = np.clip(distance * 1.02 - lengths, 0, None)
        if not (lengths < distance).any():
            break
        placed += 0.5 * (apart * (lacking / lengths)[..., None]).sum(axis=1)
    return placed
