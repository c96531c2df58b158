"""Charts of any model: whether its probabilities come true, what it scores beside baselines, what has drifted."""

from collections.abc import Collection

import altair as alt
import polars as pl

from neonblue_lab.plots import axes, frames
from neonblue_lab.plots.message import message_chart
from neonblue_lab.plots.theme import (
    BLUE,
    CONTEXT,
    INK,
    MUTED,
    ORANGE,
    VERMILLION,
    counted,
    entitled,
    layered,
    use_theme,
)

_NOTABLE, _LARGE = 0.1, 0.25  # the rule of thumb for a population stability index
_ENDS = (0.25, 0.5, 1.0)


def reliability_chart(
    frame: pl.DataFrame,
    *,
    title: str = "Can its confidence be believed?",
    predicted: str = "Probability that the model states",
    observed: str = "How often it comes true",
    noun: str = "prediction",
    nothing: str = "",
) -> alt.LayerChart:
    """What comes true against what was stated; probabilities that can be believed lie on the diagonal.

    Args:
        frame: columns predicted (mean of a group of predictions, 0..1), observed (share of that group, 0..1), count, and
            optionally low and high (the interval of observed).
        title: of the chart.
        predicted, observed: titles of the axes.
        noun: what is counted.
        nothing: what to say where the frame has no rows; unless given, that is BadInput.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    if nothing and frame.is_empty():
        return message_chart(title, nothing)
    use_theme()
    columns: dict[str, frames.Kind] = {"predicted": "number", "observed": "number", "count": "number"}
    taken = frames.take(frame, "reliability_chart", columns, optional={"low": "number", "high": "number"})
    rows = frames.drop_incomplete(taken, "reliability_chart", list(columns)).sort("predicted")
    known = rows.drop_nulls(["low", "high"])
    reached = max([*rows["predicted"], *rows["observed"], *known["high"]])
    top = next(end for end in _ENDS if reached <= end or end == 1)  # rare events fill a corner of the whole scale
    scale = alt.Scale(domain=[0, top])
    x = alt.X("predicted:Q", title=predicted, scale=scale, axis=axes.percent())
    y = alt.Y("observed:Q", title=observed, scale=scale, axis=axes.percent())
    diagonal = pl.DataFrame({"predicted": [0.0, top], "observed": [0.0, top]})
    ideal = alt.Chart(diagonal).mark_line(color=MUTED, strokeWidth=1, strokeDash=[5, 4]).encode(x=x, y=y)
    above = pl.DataFrame({"predicted": [0.03 * top], "observed": [0.96 * top], "text": ["too modest"]})
    below = pl.DataFrame({"predicted": [0.97 * top], "observed": [0.04 * top], "text": ["too sure"]})
    modest = alt.Chart(above).mark_text(align="left", color=CONTEXT, fontSize=13, fontStyle="italic")
    sure = alt.Chart(below).mark_text(align="right", color=CONTEXT, fontSize=13, fontStyle="italic")
    notes = [note.encode(x=x, y=y, text="text:N") for note in (modest, sure)]
    if known.height:
        spread = alt.Chart(known).mark_rule(color=BLUE, opacity=0.35, strokeWidth=2).encode(x=x, y="low:Q", y2="high:Q")
    else:
        gaps = alt.Chart(rows.with_columns(ideal="predicted"))
        spread = gaps.mark_rule(color=BLUE, opacity=0.35, strokeWidth=2).encode(x=x, y=y, y2="ideal:Q")
    line = alt.Chart(rows).mark_line(color=BLUE).encode(x=x, y=y)
    points = (
        alt.Chart(rows)
        .mark_point(color=BLUE, stroke="white", strokeWidth=1)
        .encode(x=x, y=y, size=alt.Size("count:Q", scale=alt.Scale(range=[40, 320], domainMin=0), legend=None))
    )
    total = float(rows["count"].sum())
    error = float((rows["count"] * (rows["observed"] - rows["predicted"]).abs()).sum()) / total
    chart = layered(ideal, *notes, spread, line, points, width=400, height=400)
    bars = " Bars: 95 % interval." if known.height else ""
    subtitle = (
        f"On average {100 * error:.1f} percentage points between what is stated and what comes true (expected "
        f"calibration error, {counted(total, noun)}). Larger points: more of them.{bars}"
    )
    return entitled(chart, title, subtitle, width=460)


def scores_chart(
    frame: pl.DataFrame,
    *,
    ours: str,
    title: str = "Does it beat a sceptic's baseline?",
    lower_is_better: Collection[str] = (),
    nothing: str = "",
) -> alt.VConcatChart | alt.LayerChart:
    """Scores of models with their intervals, one panel a metric, ours in colour beside grey baselines.

    Args:
        frame: columns model, metric, value, low, high (null: no interval). Models stand in the order of their first row.
        ours: the model that is drawn in colour.
        title: of the chart.
        lower_is_better: metrics of which that holds; of the others higher is better. Said at each axis.
        nothing: what to say where the frame has no rows; unless given, that is BadInput.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    if nothing and frame.is_empty():
        return message_chart(title, nothing)
    use_theme()
    columns: dict[str, frames.Kind] = {"model": "text", "metric": "text", "value": "number"}
    taken = frames.take(frame, "scores_chart", columns, optional={"low": "number", "high": "number"})
    rows = frames.drop_incomplete(taken, "scores_chart", list(columns)).with_columns(ours=pl.col("model") == ours)
    models = rows["model"].unique(maintain_order=True).to_list()
    colour = alt.condition(alt.datum.ours, alt.value(BLUE), alt.value(CONTEXT))
    panels = []
    for metric in rows["metric"].unique(maintain_order=True):
        panel = rows.filter(metric=metric)
        base = alt.Chart(panel).encode(
            y=alt.Y("model:N", sort=models, title=None, axis=alt.Axis(labelColor=INK, domain=False, ticks=False))
        )
        named = f"{metric} ({'lower' if metric in lower_is_better else 'higher'} is better)"
        x = alt.X("value:Q", title=named, scale=alt.Scale(zero=False, padding=24), axis=axes.numbers())
        spans = base.mark_rule(strokeWidth=3, opacity=0.45).encode(
            x=alt.X("low:Q", title=named), x2="high:Q", color=colour
        )
        points = base.mark_point(size=110).encode(x=x, color=colour)
        values = base.mark_text(dy=-13, fontSize=11).encode(x=x, text=alt.Text("value:Q", format=".3f"))
        panels.append(layered(spans, points, values, width=480, height=alt.Step(44)))
    chart = alt.VConcatChart(vconcat=panels)
    subtitle = "On rows that no model had learned from. Bars: 95 % bootstrap interval."
    return entitled(chart, title, subtitle, width=560)


def drift_chart(frame: pl.DataFrame, *, title: str = "What has drifted since training?") -> alt.LayerChart:
    """Population stability index of each feature, the furthest first.

    Args:
        frame: columns feature, psi.
        title: of the chart.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"feature": "text", "psi": "number"}
    rows = frames.drop_incomplete(frames.take(frame, "drift_chart", columns), "drift_chart", list(columns))
    rows = rows.sort("psi", "feature", descending=[True, False])
    order = rows["feature"].to_list()
    colour = (
        alt.when(alt.datum.psi >= _LARGE)
        .then(alt.value(VERMILLION))
        .when(alt.datum.psi >= _NOTABLE)
        .then(alt.value(ORANGE))
    ).otherwise(alt.value(BLUE))
    base = alt.Chart(rows).encode(y=alt.Y("feature:N", sort=order, title=None, axis=alt.Axis(labelColor=INK)))
    x = alt.X("psi:Q", title="Population stability index", axis=axes.numbers())
    bars = base.mark_bar(height=14).encode(x=x, color=colour)
    values = base.mark_text(align="left", dx=5, fontSize=11).encode(x=x, text=alt.Text("psi:Q", format=".2f"))
    marks = pl.DataFrame({"psi": [_NOTABLE, _LARGE]})
    lines = alt.Chart(marks).mark_rule(color=MUTED, strokeDash=[4, 4]).encode(x=x)
    moved = rows.filter(pl.col("psi") >= _LARGE).height
    chart = layered(lines, bars, values, width=480, height=alt.Step(30))
    subtitle = (
        f"{moved} of {counted(rows.height, 'feature')} moved so far ({_LARGE:g} or more) that the model should learn "
        f"again; from {_NOTABLE:g} on it is worth a look (dashed lines)."
    )
    return entitled(chart, title, subtitle, width=600)
