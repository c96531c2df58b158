"""Charts of what came in: records per day and topic, and why records were set aside."""

from datetime import datetime, timedelta

import altair as alt
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import frames
from neonblue_lab.plots.theme import CATEGORIES, CONTEXT, INK, VERMILLION, WIDTH, entitled, use_theme

_DAYS_BEFORE_WEEKS = 120
_FEWEST_SLOTS = 14


def records_chart(frame: pl.DataFrame) -> alt.Chart:
    """Records per day, stacked by topic; per week where they span more than 120 days.

    Args:
        frame: columns day (date or time), topic, records (a count).

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    rows = frames.drop_incomplete(
        frames.take(frame, "records_chart", {"day": "time", "topic": "text", "records": "number"}),
        "records_chart",
        ["day", "topic", "records"],
    )
    days = rows["day"].dt.truncate("1d")
    first, last = days.min(), days.max()
    weekly = last - first > timedelta(days=_DAYS_BEFORE_WEEKS)  # type: ignore[operator]
    unit, step = ("week", timedelta(days=7)) if weekly else ("day", timedelta(days=1))
    totals = (
        rows.group_by(pl.col("day").dt.truncate("1w" if weekly else "1d").alias("begin"), "topic")
        .agg(pl.col("records").sum())
        .with_columns(end=pl.col("begin") + step * 0.88)
        .sort("begin", "topic")
    )
    topics = totals.group_by("topic").agg(pl.col("records").sum()).sort("records", "topic", descending=[True, False])
    if len(topics) > len(CATEGORIES):
        raise BadInput(f"records_chart tells at most {len(CATEGORIES)} topics apart; the frame has {len(topics)}.")
    begin = totals["begin"].min()
    end = max(totals["begin"].max() + step, begin + _FEWEST_SLOTS * step)  # type: ignore[operator]
    order = topics["topic"].to_list()
    chart = (
        alt.Chart(totals)
        .mark_bar()
        .encode(
            x=alt.X(
                "begin:T",
                title=f"{unit.capitalize()} (UTC)",
                scale=alt.Scale(type="utc", domain=[_milliseconds(begin), _milliseconds(end)]),
                axis=alt.Axis(grid=False, tickCount=8),
            ),
            x2="end:T",
            y=alt.Y("records:Q", title=f"Records per {unit}", stack="zero", axis=alt.Axis(format="~s", tickCount=6)),
            color=alt.Color("topic:N", scale=alt.Scale(domain=order, range=list(CATEGORIES[: len(order)]))),
            order=alt.Order("rank:Q"),
        )
        .transform_calculate(rank=f"indexof({order!r}, datum.topic)")
        .properties(width=WIDTH, height=280)
    )
    biggest = topics.row(0, named=True)
    everything = float(topics["records"].sum())
    subtitle = (
        f"{everything:,.0f} records from {first:%d %b %Y} to {last:%d %b %Y}; "
        f"{biggest['topic']} is {biggest['records'] / everything:.0%} of them. A gap is a day without records."
    )
    return entitled(chart, "What came in, by topic", subtitle)


def dead_letter_chart(frame: pl.DataFrame, *, top: int = 15) -> alt.LayerChart:
    """Dead letters by reason, most frequent first; what lies beyond `top` reasons is one grey bar.

    Args:
        frame: columns error, count; rows of one error add up.
        top: reasons to name.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    rows = frames.drop_incomplete(
        frames.take(frame, "dead_letter_chart", {"error": "text", "count": "number"}), "dead_letter_chart", ["count"]
    )
    reasons = (
        rows.group_by(pl.col("error").fill_null("(no reason given)"))
        .agg(pl.col("count").sum())
        .sort("count", "error", descending=[True, False])
        .with_columns(rest=pl.lit(False))
    )
    total, kinds = float(reasons["count"].sum()), len(reasons)
    if kinds > top:
        others = pl.DataFrame(
            {"error": [f"{kinds - top} other reasons"], "count": [reasons["count"][top:].sum()], "rest": [True]},
            schema=reasons.schema,
        )
        reasons = pl.concat([reasons.head(top), others])
    base = alt.Chart(reasons).encode(
        x=alt.X("count:Q", title="Records", axis=alt.Axis(format="~s", tickCount=6, tickMinStep=1)),
        y=alt.Y("error:N", sort=None, title=None, axis=alt.Axis(labelColor=INK, labelLimit=420)),
    )
    bars = base.mark_bar(height={"band": 0.7}).encode(
        color=alt.condition("datum.rest", alt.value(CONTEXT), alt.value(VERMILLION))
    )
    counts = base.mark_text(align="left", dx=6).encode(text=alt.Text("count:Q", format=",d"))
    chart = (bars + counts).properties(width=WIDTH - 240, height=alt.Step(26))
    subtitle = (
        f"{total:,.0f} records could not be read, for {kinds} reason{'s' if kinds > 1 else ''}. Each is kept byte for byte "
        "and can be replayed once its cause is mended."
    )
    return entitled(chart, "Why records were set aside", subtitle, width=WIDTH)


def _milliseconds(moment: datetime) -> float:
    """As Vega counts time: since the epoch."""
    return moment.timestamp() * 1000
