"""What a search found and why, and what a programme came to by kind of experiment."""

import textwrap

import altair as alt
import polars as pl

from neonblue_lab.plots import frames
from neonblue_lab.plots.message import message_chart
from neonblue_lab.plots.theme import (
    BLUE,
    CONTEXT,
    INK,
    MUTED,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    VERMILLION,
    WIDTH,
    counted,
    entitled,
    layered,
    use_theme,
)

_MEANING, _WORDS = "near in meaning", "alike in wording"
_SHOWN = 15
_STEP = 34
_LABELS = 300
_LINE, _LINE_HEIGHT = 46, 13
_OUTCOMES = {"win": BLUE, "loss": VERMILLION, "flat": PALE, "running": SKY, "broken split": PURPLE}
_DARK = ("win", "loss", "broken split")
_OTHER = "unknown"
_GROUPS = 14


def likeness_chart(rows: pl.DataFrame, *, title: str, nothing: str = "") -> alt.LayerChart:
    """Scores as bars of two parts: what nearness in meaning and what likeness in wording add to each.

    Args:
        rows: columns label (what the row is called; two lines where it has a line break), meaning and words (the parts; their
            sum is the score), and optionally note (said after the score). In this order; the first 15 are shown.
        title: of the chart.
        nothing: what to say where the frame has no rows; unless given, that is BadInput.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    if nothing and rows.is_empty():
        return message_chart(title, nothing)
    use_theme()
    columns: dict[str, frames.Kind] = {"label": "text", "meaning": "number", "words": "number"}
    taken = frames.take(rows, "likeness_chart", columns, optional={"note": "text"})
    taken = frames.drop_incomplete(taken, "likeness_chart", ["meaning", "words"]).head(_SHOWN)
    labels = [_wrapped(label or "(no label)") for label in taken["label"]]
    score = pl.col("meaning") + pl.col("words")
    shown = taken.with_columns(
        at=pl.int_range(pl.len()) + 0.5,
        score=score,
        none=pl.lit(0.0),
        label=pl.Series(labels, dtype=pl.String),
        label_at=pl.int_range(pl.len())
        + 0.5
        - pl.Series([0.5 * _LINE_HEIGHT / _STEP * ("\n" in one) for one in labels]),
        said=pl.format("{}{}", score.round(2).cast(pl.String), (" · " + pl.col("note")).fill_null("")),
        end=pl.max_horizontal(score, "meaning", pl.lit(0.0)),
    )
    height = _STEP * shown.height
    y = alt.Y("at:Q", axis=None, scale=alt.Scale(domain=[0, shown.height], reverse=True, nice=False))
    y_of_label = alt.Y("label_at:Q", axis=None, scale=alt.Scale(domain=[0, shown.height], reverse=True, nice=False))
    most = max(0.1, float(shown["end"].to_numpy().max()))
    scale = alt.Scale(domain=[min(0.0, float(shown["meaning"].to_numpy().min())), most * 1.45], nice=False)
    axis = alt.Axis(values=[tick / 10 for tick in range(11) if tick / 10 <= most * 1.05], format=".1f")
    x = alt.X("none:Q", title="Score", scale=scale, axis=axis)
    hue = alt.Scale(domain=[_MEANING, _WORDS], range=[BLUE, ORANGE])
    base = alt.Chart(shown).encode(y=y)
    parts = [
        base.transform_calculate(part=f"'{name}'")
        .mark_bar(orient="horizontal", size=13)
        .encode(
            x=alt.X(f"{start}:Q", scale=scale, axis=axis, title="Score"),
            x2=f"{end}:Q",
            color=alt.Color("part:N", scale=hue),
        )
        for name, start, end in ((_MEANING, "none", "meaning"), (_WORDS, "meaning", "score"))
    ]
    called = base.mark_text(
        align="right", baseline="middle", lineBreak="\n", lineHeight=_LINE_HEIGHT, fontSize=11, dx=-10
    ).encode(x=alt.value(0), y=y_of_label, text="label:N")
    numbers = base.mark_text(align="left", baseline="middle", dx=7, fontSize=11, color=MUTED).encode(
        x=alt.X("end:Q", scale=scale, axis=axis, title="Score"), text="said:N"
    )
    zero = base.mark_rule(color=INK).encode(x=x, y=alt.value(0), y2=alt.value(height))
    drawn = layered(*parts, zero, called, numbers, width=WIDTH - _LABELS, height=height)
    words = (
        "A score orders by likeness and is no probability. Blue: what the cosine of the text vectors adds, which "
        "knows that other words can mean the same. Orange: what shared words and pieces of words add."
    )
    return entitled(drawn, title, words)


def outcomes_chart(rows: pl.DataFrame, *, by: str) -> alt.LayerChart:
    """What experiments came to, by a kind: a bar of counts for each group, the largest groups first.

    Args:
        rows: one for each experiment; columns group (text; null is shown as unknown) and outcome.
        by: what the groups are; for the title.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    taken = frames.take(rows, "outcomes_chart", {"group": "text", "outcome": "text"})
    known = pl.when(pl.col("outcome").is_in(list(_OUTCOMES))).then("outcome").otherwise(pl.lit(_OTHER))
    taken = taken.with_columns(pl.col("group").fill_null("unknown"), outcome=known)
    sizes = taken["group"].value_counts().sort("count", "group", descending=[True, False])
    groups = sizes["group"].head(_GROUPS).to_list()
    kinds = [kind for kind in (*_OUTCOMES, _OTHER) if kind in taken["outcome"]]
    counts = taken.group_by("group", "outcome").len("experiments").filter(pl.col("group").is_in(groups))
    order = pl.col("outcome").replace_strict(kinds, list(range(len(kinds))), return_dtype=pl.Int64)
    shown = counts.with_columns(order=order).sort("group", "order")
    shown = shown.with_columns(end=pl.col("experiments").cum_sum().over("group", order_by="order"))
    shown = shown.with_columns(
        start=pl.col("end") - pl.col("experiments"), middle=pl.col("end") - pl.col("experiments") / 2
    )
    y = alt.Y("group:N", sort=groups, title=None, axis=alt.Axis(labelLimit=260))
    hue = alt.Scale(domain=kinds, range=[(_OUTCOMES | {_OTHER: CONTEXT})[kind] for kind in kinds])
    x = alt.X("start:Q", title="Experiments", axis=alt.Axis(tickMinStep=1, format=",d"))
    base = alt.Chart(shown).encode(y=y)
    bars = base.mark_bar(size=18, stroke="white", strokeWidth=1).encode(
        x=x, x2="end:Q", color=alt.Color("outcome:N", scale=hue, legend=alt.Legend(symbolType="square"))
    )
    least = float(shown["end"].to_numpy().max()) / 25
    wide = shown.filter(pl.col("experiments") >= least)
    middle = alt.X("middle:Q", title="Experiments")
    numbers = [
        alt.Chart(wide.filter(pl.col("outcome").is_in(_DARK) == dark))
        .mark_text(fontSize=11, color="white" if dark else INK)
        .encode(y=y, x=middle, text=alt.Text("experiments:Q", format=",d"))
        for dark in (True, False)
    ]
    drawn = layered(bars, *numbers, width=WIDTH - 200, height=alt.Step(28))
    left_out = f" The {len(groups)} largest of {sizes.height:,} groups." if sizes.height > len(groups) else ""
    won = taken.filter(pl.col("outcome") == "win").height
    decided = taken.filter(pl.col("outcome").is_in(["win", "loss", "flat"])).height
    words = (
        f"{counted(taken.height, 'experiment')}; of {decided:,} that are over and sound, {won:,} won: a variant was clearly "
        f"better on the metric that the experiment is judged by.{left_out}"
    )
    return entitled(drawn, f"What experiments came to, by {by}", words)


def _wrapped(label: str) -> str:
    """Two lines at most: those that it has, or that it takes."""
    own = label.split("\n")
    if len(own) > 1:
        return "\n".join(textwrap.shorten(line, _LINE, placeholder=" …") for line in own[:2])
    return "\n".join(textwrap.wrap(label, _LINE, max_lines=2, placeholder=" …"))
