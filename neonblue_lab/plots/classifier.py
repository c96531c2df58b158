"""Charts of a classifier on held-out events: what it confuses, and whether its confidence can be believed."""

import altair as alt
import polars as pl

from neonblue_lab.plots import axes, frames
from neonblue_lab.plots.theme import BLUE, CONTEXT, INK, MUTED, counted, entitled, layered, use_theme

_ABSTAINS = "(abstains)"
_BLUES = ("#F3F6F9", "#BFD8EC", "#5A9FD0", "#1F6DB0", "#084A8C")


def confusion_chart(frame: pl.DataFrame) -> alt.LayerChart:
    """Heat map of predicted against actual labels; each row adds up to 100 %.

    Args:
        frame: columns actual, predicted (null where the classifier abstains), share (of the actual label's events,
            0..1), count. Pairs that never occur may be absent.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"actual": "text", "predicted": "text", "share": "number", "count": "number"}
    rows = frames.take(frame, "confusion_chart", columns).with_columns(pl.col("predicted").fill_null(_ABSTAINS))
    rows = frames.drop_incomplete(rows, "confusion_chart", ["actual", "share", "count"])
    actual = _by_count(rows, "actual")
    predicted = actual + [label for label in _by_count(rows, "predicted") if label not in actual]
    grid = pl.DataFrame({"actual": actual}).join(pl.DataFrame({"predicted": predicted}), how="cross")
    cells = grid.join(rows, on=["actual", "predicted"], how="left").with_columns(
        pl.col("share", "count").fill_null(0.0), right=pl.col("actual") == pl.col("predicted")
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
    right = float(cells.filter("right")["count"].sum())
    total = float(cells["count"].sum())
    chart = layered(tiles, diagonal, shares, counts, width=alt.Step(78), height=alt.Step(52))
    subtitle = (
        f"{right / total:.1%} of {total:,.0f} held-out events are labelled as they are (the framed diagonal). "
        "In each cell: share of the actual label's events, and how many."
    )
    return entitled(chart, "What the classifier confuses", subtitle, width=max(420, 78 * len(predicted) + 120))


def _percent(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def _by_count(rows: pl.DataFrame, column: str) -> list[str]:
    """Labels of `column`, most frequent first."""
    totals = rows.group_by(column).agg(pl.col("count").sum()).sort("count", column, descending=[True, False])
    labels: list[str] = totals[column].to_list()
    return labels


def reliability_chart(frame: pl.DataFrame) -> alt.LayerChart:
    """Accuracy against stated confidence; a classifier whose confidence can be believed lies on the diagonal.

    Args:
        frame: columns confidence (mean of a group of predictions, 0..1), accuracy (of that group, 0..1), count.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"confidence": "number", "accuracy": "number", "count": "number"}
    rows = frames.drop_incomplete(
        frames.take(frame, "reliability_chart", columns), "reliability_chart", list(columns)
    ).sort("confidence")
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("confidence:Q", title="Confidence that the classifier states", scale=scale, axis=axes.percent())
    y = alt.Y("accuracy:Q", title="Share of predictions that are right", scale=scale, axis=axes.percent())
    diagonal = pl.DataFrame({"confidence": [0.0, 1.0], "accuracy": [0.0, 1.0]})
    ideal = alt.Chart(diagonal).mark_line(color=MUTED, strokeWidth=1, strokeDash=[5, 4]).encode(x=x, y=y)
    above = pl.DataFrame({"confidence": [0.03], "accuracy": [0.96], "text": ["too modest"]})
    below = pl.DataFrame({"confidence": [0.97], "accuracy": [0.04], "text": ["too sure"]})
    modest = alt.Chart(above).mark_text(align="left", color=CONTEXT, fontSize=13, fontStyle="italic")
    sure = alt.Chart(below).mark_text(align="right", color=CONTEXT, fontSize=13, fontStyle="italic")
    notes = [note.encode(x=x, y=y, text="text:N") for note in (modest, sure)]
    gaps = (
        alt.Chart(rows.with_columns(ideal="confidence"))
        .mark_rule(color=BLUE, opacity=0.35, strokeWidth=2)
        .encode(x=x, y=y, y2="ideal:Q")
    )
    line = alt.Chart(rows).mark_line(color=BLUE).encode(x=x, y=y)
    points = (
        alt.Chart(rows)
        .mark_point(color=BLUE, stroke="white", strokeWidth=1)
        .encode(x=x, y=y, size=alt.Size("count:Q", scale=alt.Scale(range=[40, 500], domainMin=0), legend=None))
    )
    total = float(rows["count"].sum())
    error = float((rows["count"] * (rows["accuracy"] - rows["confidence"]).abs()).sum()) / total
    chart = layered(ideal, *notes, gaps, line, points, width=400, height=400)
    subtitle = (
        f"On average {100 * error:.1f} percentage points between stated confidence and accuracy (expected calibration "
        f"error, {counted(total, 'prediction')}). Larger points: more predictions."
    )
    return entitled(chart, "Can its confidence be believed?", subtitle, width=460)
