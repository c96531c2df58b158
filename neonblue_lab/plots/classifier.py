"""Charts of a classifier on held-out events: what it confuses, and what it gains by saying nothing."""

import altair as alt
import numpy as np
import polars as pl

from neonblue_lab.plots import axes, frames
from neonblue_lab.plots.theme import BLUE, INK, MUTED, ORANGE, entitled, layered, use_theme

_ABSTAINS = "(abstains)"
_BLUES = ("#F3F6F9", "#BFD8EC", "#5A9FD0", "#1F6DB0", "#084A8C")


def confusion_chart(frame: pl.DataFrame) -> alt.LayerChart:
    """Heat map of predicted against actual labels; each row adds up to 100 %.

    Args:
        frame: columns actual, predicted (null where the classifier abstains), share (of the actual label's events,
            0..1), count, and optionally weight, where events do not count alike: shares are of it. Pairs that never occur
            may be absent.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"actual": "text", "predicted": "text", "share": "number", "count": "number"}
    rows = frames.take(frame, "confusion_chart", columns, optional={"weight": "number"}).with_columns(
        pl.col("predicted").fill_null(_ABSTAINS), pl.col("weight").fill_null(pl.col("count"))
    )
    rows = frames.drop_incomplete(rows, "confusion_chart", ["actual", "share", "count"])
    actual = _by_count(rows, "actual")
    predicted = actual + [label for label in _by_count(rows, "predicted") if label not in actual]
    grid = pl.DataFrame({"actual": actual}).join(pl.DataFrame({"predicted": predicted}), how="cross")
    cells = grid.join(rows, on=["actual", "predicted"], how="left").with_columns(
        pl.col("share", "count", "weight").fill_null(0.0), right=pl.col("actual") == pl.col("predicted")
    )
    cells = cells.with_columns(percent=pl.Series([_percent(share) for share in cells["share"]]))
    slanted = max(map(len, predicted)) > 9
    base = alt.Chart(cells).encode(
        x=alt.X(
            "predicted:N",
            sort=None,
            title="Predicted label",
            axis=alt.Axis(orient="top", labelAngle=-35 if slanted else 0, labelColor=INK, labelLimit=220),
        ),
        y=alt.Y("actual:N", sort=None, title="Actual label", axis=alt.Axis(labelColor=INK, labelLimit=220)),
    )
    colour = alt.Color("share:Q", scale=alt.Scale(domain=[0, 0.25, 0.5, 0.75, 1], range=list(_BLUES)), legend=None)
    tiles = base.mark_rect(stroke="white", strokeWidth=2).encode(color=colour)
    on_diagonal = base.transform_filter(alt.datum.right)
    diagonal = on_diagonal.mark_rect(fill=None, stroke=INK, strokeWidth=1.5, cornerRadius=2)
    ink = alt.condition(alt.datum.share > 0.45, alt.value("white"), alt.value(INK))
    shares = (
        base.transform_filter(alt.datum.count > 0)
        .mark_text(fontSize=14, fontWeight="bold", dy=-7)
        .encode(text="percent:N", color=ink)
    )
    counts = (
        base.transform_filter(alt.datum.count > 0)
        .mark_text(fontSize=10, dy=9)
        .encode(text=alt.Text("count:Q", format=",d"), color=ink)
    )
    right = float(cells.filter("right")["weight"].sum()) / float(cells["weight"].sum())
    total = float(cells["count"].sum())
    each = rows["weight"] / rows["count"]
    weighted = not np.allclose(each, each[0])
    of = "share of the actual label's events, and how many"
    if weighted:
        of = "share of the actual label, every event type counting alike, and the number of events"
    chart = layered(tiles, diagonal, shares, counts, width=alt.Step(78), height=alt.Step(52))
    subtitle = (
        f"{right:.1%} of {total:,.0f} held-out events are labelled as they are (the framed diagonal"
        f"{'; every event type counts alike' if weighted else ''}). In each cell: {of}."
    )
    return entitled(chart, "What the classifier confuses", subtitle, width=max(420, 78 * len(predicted) + 120))


def _percent(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def _by_count(rows: pl.DataFrame, column: str) -> list[str]:
    """Labels of `column`, most frequent first."""
    totals = rows.group_by(column).agg(pl.col("count").sum()).sort("count", column, descending=[True, False])
    labels: list[str] = totals[column].to_list()
    return labels


def abstention_chart(
    frame: pl.DataFrame, *, target: float | None = None, title: str = "When should it speak?"
) -> alt.LayerChart:
    """Accuracy against the share that is answered, the surest answered first.

    Args:
        frame: columns coverage (share answered, 0..1), accuracy (of the answers; null where there is none),
            accuracy_with_rule (a rule answers the rest).
        target: the accuracy of answers that was aimed at.
        title: of the chart.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"coverage": "number", "accuracy": "number", "accuracy_with_rule": "number"}
    rows = frames.take(frame, "abstention_chart", columns)
    rows = frames.drop_incomplete(rows, "abstention_chart", ["coverage", "accuracy_with_rule"]).sort("coverage")
    names = {"accuracy": "of its answers", "accuracy_with_rule": "with the topic's rule for the rest"}
    long = (
        rows.rename(names)
        .unpivot(index="coverage", on=list(names.values()), variable_name="of", value_name="right")
        .drop_nulls()
    )
    x = alt.X("coverage:Q", title="Share that it answers", scale=alt.Scale(domain=[0, 1]), axis=axes.percent())
    y = alt.Y("right:Q", title="Share that is right", scale=alt.Scale(domain=[0, 1]), axis=axes.percent())
    scale = alt.Scale(domain=list(names.values()), range=[BLUE, ORANGE])
    # As a step: between two confidences that occur there is nothing that could be answered.
    lines = (
        alt.Chart(long)
        .mark_line(interpolate="step-before", strokeWidth=2.5)
        .encode(x=x, y=y, color=alt.Color("of:N", scale=scale), order="coverage:Q")
    )
    ends = alt.Chart(long.filter(pl.col("coverage") == pl.col("coverage").max())).mark_point(size=90)
    layers = [lines, ends.encode(x=x, y=y, color=alt.Color("of:N", scale=scale))]
    if target is not None:
        aim = pl.DataFrame(
            {"right": [target], "coverage": [0.995], "text": [f"{target:.0%} of its answers: what it aims at"]}
        )
        rule = alt.Chart(aim).mark_rule(color=MUTED, strokeDash=[5, 4]).encode(y=y)
        text = alt.Chart(aim).mark_text(align="right", baseline="bottom", dy=-4, fontSize=11, color=MUTED)
        layers = [rule, text.encode(x=x, y=y, text="text:N"), *layers]
    chart = layered(*layers, width=520, height=340)
    last = rows.row(-1, named=True)
    best = rows.sort("accuracy_with_rule", "coverage", descending=[True, False]).row(0, named=True)
    subtitle = (
        f"If it always answers, {last['accuracy']:.0%} are right. The surest {best['coverage']:.0%} answered and the rest left "
        f"to the topic's rule, {best['accuracy_with_rule']:.0%} are: the most that a threshold can reach here."
    )
    return entitled(chart, title, subtitle, width=600)
