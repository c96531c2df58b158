"""Charts of outcomes before they are known: how kinds of experiments have ended, and how a planned one may."""

import altair as alt
import polars as pl

from neonblue_lab.plots import axes, frames
from neonblue_lab.plots.theme import (
    BLUE,
    CONTEXT,
    GREEN,
    INK,
    MUTED,
    VERMILLION,
    counted,
    entitled,
    layered,
    use_theme,
)

_COLOURS = {"win": GREEN, "flat": CONTEXT, "loss": VERMILLION}
_WIDTH = 480


def win_rate_chart(frame: pl.DataFrame, *, title: str = "Which kinds of experiments win?") -> alt.LayerChart:
    """Share of wins of each kind with its interval, beside the programme's rate.

    Args:
        frame: columns kind, wins, experiments, low, high (interval of the share).
        title: of the chart.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {
        "kind": "text",
        "wins": "number",
        "experiments": "number",
        "low": "number",
        "high": "number",
    }
    rows = frames.drop_incomplete(frames.take(frame, "win_rate_chart", columns), "win_rate_chart", list(columns))
    rows = rows.with_columns(
        rate=pl.col("wins") / pl.col("experiments"),
        told=pl.format("{} of {}", pl.col("wins").cast(pl.Int64), pl.col("experiments").cast(pl.Int64)),
    ).sort("rate", "experiments", descending=True)
    overall = float(rows["wins"].sum()) / float(rows["experiments"].sum())
    order = rows["kind"].to_list()
    base = alt.Chart(rows).encode(y=alt.Y("kind:N", sort=order, title=None, axis=alt.Axis(labelColor=INK)))
    scale = alt.Scale(domain=[0, min(1.0, 1.2 * max(rows["high"].to_list()))], nice=True)
    x = alt.X("rate:Q", title="Share of experiments that ended in a win", scale=scale, axis=axes.percent())
    spans = base.mark_rule(color=BLUE, opacity=0.4, strokeWidth=3).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    points = base.mark_point(color=BLUE, size=90).encode(x=x)
    counts = base.mark_text(align="left", dx=10, fontSize=11, color=MUTED).encode(
        x=alt.X("high:Q", scale=scale), text="told:N"
    )
    line = alt.Chart(pl.DataFrame({"rate": [overall]})).mark_rule(color=MUTED, strokeDash=[5, 4]).encode(x=x)
    apart = rows.filter((pl.col("low") > overall) | (pl.col("high") < overall)).height
    chart = layered(line, spans, points, counts, width=_WIDTH, height=alt.Step(28))
    subtitle = (
        f"{overall:.0%} of {counted(float(rows['experiments'].sum()), 'experiment')} won (dashed). The 95 % interval of "
        f"{apart} of {counted(rows.height, 'kind')} leaves that rate out; one in twenty would by chance alone."
    )
    return entitled(chart, title, subtitle, width=_WIDTH + 120)


def prediction_chart(
    probabilities: pl.DataFrame, variants: pl.DataFrame, *, metric: str, title: str = "How it may end"
) -> alt.VConcatChart:
    """How a planned experiment may end, and the lift that is to be expected of each variant.

    Args:
        probabilities: columns outcome (win, flat, loss), probability, low, high.
        variants: columns variant, chance_to_beat_control, expected_lift, lift_low, lift_high.
        metric: that the lifts are of.
        title: of the chart.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    outcomes = _outcomes(probabilities)
    lifts = _lifts(variants, metric)
    likeliest = probabilities.sort("probability", descending=True).row(0, named=True)
    subtitle = (
        f"Most likely {likeliest['outcome']} ({likeliest['probability']:.0%}). Above: probability of each end, with the interval "
        f"that the history allows. Below: lift on {metric} to be expected before anything is measured, with the 95 % interval "
        "of what may be true and, right of it, the chance to beat the control."
    )
    return entitled(alt.VConcatChart(vconcat=[outcomes, lifts]), title, subtitle, width=_WIDTH + 120)


def _outcomes(probabilities: pl.DataFrame) -> alt.LayerChart:
    columns: dict[str, frames.Kind] = {
        "outcome": "text",
        "probability": "number",
        "low": "number",
        "high": "number",
    }
    taken = frames.take(probabilities, "prediction_chart", columns)
    rows = frames.drop_incomplete(taken, "prediction_chart", list(columns))
    base = alt.Chart(rows).encode(
        y=alt.Y("outcome:N", sort=list(_COLOURS), title=None, axis=alt.Axis(labelColor=INK, labelFontSize=13))
    )
    scale = alt.Scale(domain=[0, 1])
    colour = alt.Color("outcome:N", scale=alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values())), legend=None)
    x = alt.X("probability:Q", title="Probability", scale=scale, axis=axes.percent())
    bars = base.mark_bar(height=20, opacity=0.75).encode(x=x, color=colour)
    spans = base.mark_rule(color=INK, strokeWidth=1.5).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    told = base.mark_text(align="left", dx=8, fontSize=12).encode(
        x=alt.X("high:Q", scale=scale), text=alt.Text("probability:Q", format=".0%")
    )
    return layered(bars, spans, told, width=_WIDTH, height=alt.Step(34))


def _lifts(variants: pl.DataFrame, metric: str) -> alt.LayerChart:
    columns: dict[str, frames.Kind] = {
        "variant": "text",
        "chance_to_beat_control": "number",
        "expected_lift": "number",
        "lift_low": "number",
        "lift_high": "number",
    }
    taken = frames.take(variants, "prediction_chart", columns)
    rows = frames.drop_incomplete(taken, "prediction_chart", list(columns)).with_columns(
        told=pl.format("{}%", (pl.col("chance_to_beat_control") * 100).round().cast(pl.Int64))
    )
    order = rows["variant"].to_list()
    base = alt.Chart(rows).encode(
        y=alt.Y("variant:N", sort=order, title=None, axis=alt.Axis(labelColor=INK, labelFontSize=13, labelLimit=260))
    )
    axis = alt.Axis(format="+.0%", tickCount=6)
    x = alt.X("expected_lift:Q", title=f"Expected lift on {metric}", axis=axis)
    spans = base.mark_rule(color=BLUE, opacity=0.4, strokeWidth=4).encode(
        x=alt.X("lift_low:Q", axis=axis), x2="lift_high:Q"
    )
    points = base.mark_point(color=BLUE, size=110).encode(x=x)
    told = base.mark_text(align="left", dx=8, fontSize=12).encode(x=alt.X("lift_high:Q", axis=axis), text="told:N")
    zero = alt.Chart(pl.DataFrame({"expected_lift": [0.0]})).mark_rule(color=MUTED, strokeDash=[4, 4]).encode(x=x)
    return layered(zero, spans, points, told, width=_WIDTH, height=alt.Step(46))
