"""Charts of users' behaviour: how far sessions get, what follows what, what sets segments apart, how journeys lie."""

import altair as alt
import polars as pl

from neonblue_lab.plots import axes, frames
from neonblue_lab.plots.message import message_chart
from neonblue_lab.plots.theme import BLUE, CATEGORIES, CONTEXT, INK, MUTED, PALE, counted, entitled, layered, use_theme

_BLUES = ("#F3F6F9", "#BFD8EC", "#5A9FD0", "#1F6DB0", "#084A8C")
_DIFFERENCES = alt.Scale(
    domain=[-0.6, -0.2, 0, 0.2, 0.6],
    range=["#B45F06", "#F3C98B", "#F6F7F8", "#9CC7E8", "#084A8C"],
    interpolate="rgb",
    clamp=True,
)
_MOST_ACTIONS, _MOST_VALUES = 14, 18
_SIDE = 460


def funnel_chart(frame: pl.DataFrame) -> alt.LayerChart:
    """How many sessions reach each stage.

    Args:
        frame: columns stage (the first one first), sessions, share (of all sessions, 0..1).

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"stage": "text", "sessions": "number", "share": "number"}
    rows = frames.drop_incomplete(frames.take(frame, "funnel_chart", columns), "funnel_chart", list(columns))
    before = pl.col("sessions").shift(1)
    step = pl.when(before > 0).then(pl.col("sessions") / before)
    rows = rows.with_columns(
        text=pl.format("{} · {}", _counts(rows["sessions"]), _percent(pl.col("share"))),
        onward=pl.when(step.is_not_null()).then(pl.format("{} of those before", _percent(step))).otherwise(pl.lit("")),
    )
    y = alt.Y("stage:N", sort=None, title=None, axis=alt.Axis(labelColor=INK, labelFontSize=13))
    x = alt.X("share:Q", title="Share of sessions that get so far", scale=alt.Scale(domain=[0, 1.25]), axis=_to_one())
    base = alt.Chart(rows).encode(y=y)
    bars = base.mark_bar(color=BLUE, height=26, cornerRadius=2).encode(x=x)
    texts = base.mark_text(align="left", dx=8, dy=-6, fontWeight="bold").encode(x=x, text="text:N")
    steps = base.mark_text(align="left", dx=8, dy=8, color=MUTED, fontSize=11).encode(x=x, text="onward:N")
    chart = layered(bars, texts, steps, width=560, height=alt.Step(46))
    total = float(rows["sessions"].max())  # type: ignore[arg-type]
    subtitle = f"{counted(total, 'session')}; who reaches a stage counts in those before it, too."
    return entitled(chart, "How far do sessions get?", subtitle)


def flow_chart(frame: pl.DataFrame) -> alt.LayerChart:
    """What follows what: heat map of the next action after each one; rows add up to 100 %.

    Args:
        frame: columns source, target, count, share (of the source's steps, 0..1).

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"source": "text", "target": "text", "count": "number", "share": "number"}
    rows = frames.drop_incomplete(frames.take(frame, "flow_chart", columns), "flow_chart", list(columns))
    sources, targets = (_frequent(rows, column) for column in ("source", "target"))
    order = [name for name in sources if name in targets]
    sources, targets = (
        [name for name in sources if name not in order] + order,
        order + [t for t in targets if t not in order],
    )
    rows = rows.filter(pl.col("source").is_in(sources), pl.col("target").is_in(targets)).with_columns(
        text=_percent(pl.col("share"))
    )
    base = alt.Chart(rows).encode(
        x=alt.X(
            "target:N",
            sort=targets,
            title="is followed by",
            axis=alt.Axis(orient="top", labelAngle=-35, labelColor=INK, labelLimit=160),
        ),
        y=alt.Y("source:N", sort=sources, title=None, axis=alt.Axis(labelColor=INK, labelLimit=160)),
    )
    colour = alt.Color("share:Q", scale=alt.Scale(domain=[0, 0.25, 0.5, 0.75, 1], range=list(_BLUES)), legend=None)
    tiles = base.mark_rect(stroke="white", strokeWidth=2).encode(color=colour)
    ink = alt.condition(alt.datum.share > 0.45, alt.value("white"), alt.value(INK))
    texts = base.transform_filter(alt.datum.share >= 0.01).mark_text(fontSize=11).encode(text="text:N", color=ink)
    chart = layered(tiles, texts, width=alt.Step(52), height=alt.Step(34))
    subtitle = (
        f"{counted(float(rows['count'].sum()), 'transition')}. Each row: what comes next within the session, of all times that "
        "the action on the left was made. Shares below 1 % are not written."
    )
    return entitled(chart, "What follows what?", subtitle, width=max(460, 52 * len(targets) + 120))


def segment_profile_chart(frame: pl.DataFrame) -> alt.LayerChart:
    """What sets segments apart: heat map of how much oftener each trait occurs in a segment than elsewhere.

    Args:
        frame: columns segment_id, name, label (of a trait), share (of the segment's users with it), share_elsewhere, lift.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {
        "segment_id": "number",
        "name": "text",
        "label": "text",
        "share": "number",
        "share_elsewhere": "number",
    }
    needed = ["name", "label", "share", "share_elsewhere"]
    rows = frames.drop_incomplete(frames.take(frame, "segment_profile_chart", columns), "segment_profile_chart", needed)
    rows = rows.with_columns(difference=pl.col("share") - pl.col("share_elsewhere"))
    # What is not there where its contrary is says nothing more: the strongest traits, each feature's `no` left out.
    told = rows.filter(
        ~(pl.col("label").str.starts_with("no ") & pl.col("label").str.slice(3).is_in(rows["label"].implode()))
    )
    strongest = told.group_by("label", maintain_order=True).agg(most=pl.col("difference").abs().max())
    labels = strongest.sort("most", "label", descending=[True, False])["label"].head(_MOST_VALUES).to_list()
    told = told.filter(pl.col("label").is_in(labels)).with_columns(text=_percent(pl.col("share")))
    names = told.sort("segment_id")["name"].unique(maintain_order=True).to_list()
    base = alt.Chart(told).encode(
        x=alt.X("name:N", sort=names, title=None, axis=_wrapped()),
        y=alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelColor=INK)),
    )
    colour = alt.Color("difference:Q", scale=_DIFFERENCES, legend=None)
    tiles = base.mark_rect(stroke="white", strokeWidth=2).encode(color=colour)
    ink = alt.condition(
        (alt.datum.difference > 0.4) | (alt.datum.difference < -0.45), alt.value("white"), alt.value(INK)
    )
    texts = base.mark_text(fontSize=11).encode(text="text:N", color=ink)
    chart = layered(tiles, texts, width=alt.Step(104), height=alt.Step(27))
    subtitle = (
        "Share of a segment's users with each trait. Blue: more than among the others, orange: fewer; the deeper, the larger the "
        "difference."
    )
    return entitled(chart, "What sets the segments apart?", subtitle, width=max(460, 104 * len(names) + 120))


def journeys_map(frame: pl.DataFrame) -> alt.LayerChart:
    """Users as points of a plane, near when their journeys are alike, with the names of their segments.

    Args:
        frame: columns x, y (of any projection to two dimensions; one scale serves both), segment (name). The eight largest
            segments are told apart by colour.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"x": "number", "y": "number", "segment": "text"}
    rows = frames.drop_incomplete(frames.take(frame, "journeys_map", columns), "journeys_map", ["x", "y"])
    sizes = rows["segment"].drop_nulls().value_counts().sort("count", "segment", descending=[True, False])
    colours = (*CATEGORIES, CONTEXT)
    named = sizes["segment"].head(len(colours)).to_list()
    rows = rows.with_columns(pl.when(pl.col("segment").is_in(named)).then("segment").otherwise(pl.lit("other")))
    shown = dict(zip(named, colours, strict=False)) | ({"other": PALE} if "other" in rows["segment"] else {})
    # Many journeys are the same: one point of a size that says how many.
    at = [pl.col("x").round(2), pl.col("y").round(2), "segment"]
    points = (
        rows.group_by(at, maintain_order=True)
        .agg(users=pl.len())
        .sort("users", "x", "y", descending=[True, False, False])
    )
    low, high = (
        rows.select(pl.min_horizontal(pl.col("x", "y").min())),
        rows.select(pl.max_horizontal(pl.col("x", "y").max())),
    )
    margin = 0.05 * (high.item() - low.item() or 1.0)
    scale = alt.Scale(domain=[low.item() - margin, high.item() + margin], nice=False)
    marks = (
        alt.Chart(points)
        .mark_point(opacity=0.6, stroke="white", strokeWidth=0.5)
        .encode(
            x=alt.X("x:Q", axis=None, scale=scale),
            y=alt.Y("y:Q", axis=None, scale=scale),
            size=alt.Size("users:Q", scale=alt.Scale(range=[14, 900], domainMin=1), legend=None),
            color=alt.Color(
                "segment:N",
                scale=alt.Scale(domain=list(shown), range=list(shown.values())),
                legend=alt.Legend(orient="right", direction="vertical", title=None, labelLimit=330),
            ),
        )
    )
    chart = layered(marks, width=_SIDE, height=_SIDE).properties(view=alt.ViewBackground(stroke=PALE, cornerRadius=4))
    subtitle = (
        f"{counted(len(rows), 'user')}; those with similar journeys lie near each other, as far as a plane can show it. Larger "
        "points: more users with the same journey."
    )
    return entitled(chart, "A map of journeys", subtitle, width=_SIDE + 300)


def score_chart(frame: pl.DataFrame, *, days: int, nothing: str = "") -> alt.LayerChart:
    """What a behavioural score is worth: the share of users who then converted, by the score that they had.

    Args:
        frame: columns score (mean of a band), converted (share, 0..1), low, high (its interval), moments.
        days: within which a conversion counted.
        nothing: what to say where the frame has no rows; unless given, that is BadInput.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    question = "What is a score worth?"
    if nothing and frame.is_empty():
        return message_chart(question, nothing)
    use_theme()
    columns: dict[str, frames.Kind] = dict.fromkeys(("score", "converted", "low", "high", "moments"), "number")
    rows = frames.drop_incomplete(frames.take(frame, "score_chart", columns), "score_chart", list(columns))
    rows = rows.with_columns(text=pl.format("{} of {}", _percent(pl.col("converted")), _counts(rows["moments"])))
    x = alt.X("score:Q", title="Behavioural score", scale=alt.Scale(domain=[0, 100]), axis=axes.numbers())
    title = f"Converted within {days} days"
    # Room above the highest bar for what is written over it.
    scale = alt.Scale(domain=[0, 1.12 * max(0.01, *rows["high"].to_list())], nice=False)
    y = alt.Y("converted:Q", title=title, scale=scale, axis=axes.percent())
    base = alt.Chart(rows).encode(x=x)
    spans = base.mark_rule(color=BLUE, opacity=0.4, strokeWidth=3).encode(
        y=alt.Y("low:Q", scale=scale, title=title), y2="high:Q"
    )
    line = base.mark_line(color=BLUE, opacity=0.5).encode(y=y)
    points = base.mark_point(color=BLUE, size=110).encode(y=y)
    texts = base.mark_text(align="right", baseline="bottom", dx=4, dy=-6).encode(
        y=alt.Y("high:Q", scale=scale, title=title), text="text:N"
    )
    chart = layered(spans, line, points, texts, width=460, height=280)
    subtitle = (
        "On later moments of users that the model had not seen; bars: 95 % interval. A score that says something rises from left "
        "to right."
    )
    return entitled(chart, question, subtitle, width=520)


def _frequent(rows: pl.DataFrame, column: str) -> list[str]:
    totals = rows.group_by(column).agg(pl.col("count").sum()).sort("count", column, descending=[True, False])
    names: list[str] = totals[column].head(_MOST_ACTIONS).to_list()
    return names


def _percent(share: pl.Expr) -> pl.Expr:
    rounded = pl.format("{}%", (100 * share).round(0).cast(pl.Int64))
    return pl.when((share > 0) & (share < 0.005)).then(pl.lit("<1%")).otherwise(rounded)


def _counts(numbers: pl.Series) -> pl.Series:
    return pl.Series([f"{number:,.0f}" for number in numbers], dtype=pl.String)


def _to_one() -> alt.Axis:
    return alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1])


def _wrapped() -> alt.Axis:
    """Names of segments, a line for each of their words."""
    return alt.Axis(labelAngle=0, labelColor=INK, labelExpr="split(datum.label, ' · ')", labelLimit=100)
