"""Charts of what came in: records per day and topic, and why records were set aside."""

from datetime import datetime, timedelta

import altair as alt
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import axes, frames
from neonblue_lab.plots.theme import CATEGORIES, CONTEXT, INK, VERMILLION, WIDTH, counted, entitled, layered, use_theme

_DAYS_BEFORE_WEEKS = 120
_FEWEST_BARS = 14


def records_chart(frame: pl.DataFrame) -> alt.LayerChart:
    """Records per day, stacked by topic; per week where they span more than 120 days.

    Args:
        frame: columns day (date or time), topic, records (a count).

    Raises:
        BadInput: no rows, a column is missing, or there are more topics than can be told apart.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"day": "time", "topic": "text", "records": "number"}
    rows = frames.drop_incomplete(frames.take(frame, "records_chart", columns), "records_chart", list(columns))
    first, last = _ends(rows["day"])
    unit, step = ("week", timedelta(days=7)) if last - first > timedelta(_DAYS_BEFORE_WEEKS) else ("day", timedelta(1))
    topics = rows.group_by("topic").agg(pl.sum("records")).sort("records", "topic", descending=[True, False])
    if len(topics) > len(CATEGORIES):
        raise BadInput(f"records_chart tells at most {len(CATEGORIES)} topics apart; the frame has {len(topics)}.")
    names = topics["topic"].to_list()
    stacked = (
        rows.group_by(pl.col("day").dt.truncate(f"1{unit[0]}").alias("begin"), "topic")
        .agg(pl.sum("records"))
        .join(topics.select("topic").with_row_index("rank"), on="topic")
        .sort("begin", "rank")
        .select(
            "begin",
            "topic",
            end=pl.col("begin") + step * 0.88,
            top=pl.col("records").cum_sum().over("begin"),
            bottom=pl.col("records").cum_sum().over("begin") - pl.col("records"),
        )
    )
    begin, latest = _ends(stacked["begin"])
    end = max(latest + step, begin + _FEWEST_BARS * step)
    bars = (
        alt.Chart(stacked)
        .mark_bar(aria=False)
        .encode(
            x=alt.X(
                "begin:T",
                title=f"{unit.capitalize()} (UTC)",
                scale=alt.Scale(type="utc", domain=[begin.timestamp() * 1000, end.timestamp() * 1000]),
                axis=axes.time(pl.Series([begin, end])),
            ),
            x2="end:T",
            y=alt.Y("bottom:Q", title=f"Records per {unit}", axis=axes.counts()),
            y2="top:Q",
            color=alt.Color("topic:N", scale=alt.Scale(domain=names, range=list(CATEGORIES[: len(names)]))),
        )
    )
    biggest, everything = topics.row(0, named=True), float(topics["records"].sum())
    days = f"from {first:%-d %b %Y} to {last:%-d %b %Y}" if last > first else f"on {first:%-d %b %Y}"
    share = f"{biggest['topic']} is {biggest['records'] / everything:.0%} of them. " if len(names) > 1 else ""
    subtitle = f"{counted(everything, 'record')} {days}. {share}A gap is a {unit} without records."
    return entitled(layered(bars, width=WIDTH, height=280), "What came in, by topic", subtitle)


def _ends(times: pl.Series) -> tuple[datetime, datetime]:
    """The first and the last day."""
    days = times.dt.truncate("1d").sort()
    return days[0], days[-1]


def dead_letter_chart(frame: pl.DataFrame, *, top: int = 15) -> alt.LayerChart:
    """Dead letters by reason, most frequent first; what lies beyond `top` reasons is one grey bar.

    Args:
        frame: columns error, count; rows of one error add up.
        top: reasons to name.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"error": "text", "count": "number"}
    rows = frames.drop_incomplete(frames.take(frame, "dead_letter_chart", columns), "dead_letter_chart", ["count"])
    reasons = (
        rows.group_by(pl.col("error").fill_null("(no reason given)"))
        .agg(pl.sum("count"))
        .sort("count", "error", descending=[True, False])
        .with_columns(rest=pl.lit(False))
    )
    total, kinds = float(reasons["count"].sum()), len(reasons)
    if kinds > top:
        rest = {
            "error": counted(kinds - top, "other reason"),
            "count": float(reasons["count"][top:].sum()),
            "rest": True,
        }
        reasons = pl.concat([reasons.head(top), pl.DataFrame([rest], schema=reasons.schema)])
    base = alt.Chart(reasons).encode(
        x=alt.X("count:Q", title="Records", axis=axes.counts()),
        y=alt.Y("error:N", sort=None, title=None, axis=alt.Axis(labelColor=INK, labelLimit=400)),
    )
    colour = alt.condition("datum.rest", alt.value(CONTEXT), alt.value(VERMILLION))
    bars = base.mark_bar(height={"band": 0.7}).encode(color=colour)
    counts = base.mark_text(align="left", dx=6).encode(text=alt.Text("count:Q", format=",d"))
    chart = layered(bars, counts, width=WIDTH - 240, height=alt.Step(26))
    subtitle = (
        f"{counted(total, 'record')} could not be read, for {counted(kinds, 'reason')}. Each is kept "
        "byte for byte, with its reason."
    )
    return entitled(chart, "Why records were set aside", subtitle)
