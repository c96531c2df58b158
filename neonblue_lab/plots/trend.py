"""Charts of a trend model: its forecast with the history, its season, its errors beside those of a naive forecast, its anomalies."""

import math
from datetime import timedelta
from functools import partial

import altair as alt
import polars as pl

from neonblue_lab.plots import axes, frames
from neonblue_lab.plots.message import message_chart
from neonblue_lab.plots.theme import (
    BLUE,
    CATEGORIES,
    CONTEXT,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    VERMILLION,
    WIDTH,
    counted,
    entitled,
    layered,
    use_theme,
)

KINDS = {"spike": ORANGE, "drop": VERMILLION, "level shift": PURPLE}
"""Colours of anomalies."""
POINTS = 30
"""Steps up to which each is marked."""
DAY = timedelta(days=1)
DAYS_OF_A_WEEK = 7

_OBSERVED, _FORECAST = "observed", "forecast"


def forecast_chart(
    history: pl.DataFrame, forecast: pl.DataFrame, *, title: str, value: str = "Value", coverage: float = 0.95
) -> alt.LayerChart:
    """A series and its forecast with the interval in which it is expected to lie.

    Args:
        history: columns timestamp, value.
        forecast: columns timestamp, mean, low, high.
        title: what the series is, in words.
        value: title of the value axis, with its unit.
        coverage: share of future values that the interval is meant to hold.

    Raises:
        BadInput: one of the frames has no rows, or lacks a column.
    """
    use_theme()
    seen_columns: dict[str, frames.Kind] = {"timestamp": "time", "value": "number"}
    ahead_columns: dict[str, frames.Kind] = {"timestamp": "time", "mean": "number", "low": "number", "high": "number"}
    name = "forecast_chart"
    seen = frames.drop_incomplete(frames.take(history, name, seen_columns), name, list(seen_columns)).sort("timestamp")
    ahead = frames.drop_incomplete(frames.take(forecast, name, ahead_columns), name, list(ahead_columns))
    ahead = ahead.sort("timestamp")
    # The band opens from the last value seen, which is known; a forecast of what was seen since stands by itself.
    last = seen.tail(1).select("timestamp", mean="value", low="value", high="value")
    now = last["timestamp"][0]
    fan = pl.concat([last, ahead]) if ahead["timestamp"][0] > now else ahead

    times = pl.concat([seen["timestamp"], ahead["timestamp"]])
    x = alt.X("timestamp:T", title="Time (UTC)", scale=alt.Scale(type="utc"), axis=axes.time(times))
    y = partial(alt.Y, title=value, scale=alt.Scale(zero=False), axis=axes.numbers())
    colour = alt.Color(
        "series:N",
        scale=alt.Scale(domain=[_OBSERVED, _FORECAST], range=[INK, BLUE]),
        legend=alt.Legend(symbolType="stroke", symbolStrokeWidth=2.5, symbolSize=220),
    )
    band = alt.Chart(fan).mark_area(color=BLUE, opacity=0.18).encode(x=x, y=y("low:Q"), y2="high:Q")
    border = alt.Chart(fan.head(1)).mark_rule(strokeDash=[2, 3], color=MUTED).encode(x=x)
    observed = (
        alt.Chart(seen.with_columns(series=pl.lit(_OBSERVED)))
        .mark_line(strokeWidth=1.6, point=len(seen) == 1)
        .encode(x=x, y=y("value:Q"), color=colour)
    )
    middle = alt.Chart(fan.with_columns(series=pl.lit(_FORECAST))).mark_line().encode(x=x, y=y("mean:Q"), color=colour)
    chart = layered(band, border, observed, middle, width=WIDTH, height=300)
    subtitle = (
        f"{counted(len(seen), 'value')} up to {now:%-d %b %Y}; {len(ahead):,} forecast. "
        f"The band is meant to hold {coverage:.0%} of what comes."
    )
    return entitled(chart, title, subtitle)


def backtest_chart(
    frame: pl.DataFrame, *, error: str = "Mean absolute error", step: str = "steps ahead"
) -> alt.LayerChart:
    """Errors of forecasters by how far they looked ahead; naive ones are grey and dashed.

    Args:
        frame: columns horizon (steps ahead, from 1), model, error. A model whose name holds "naive" is a baseline.
        error: title of the error axis, with its unit.
        step: title of the horizon axis.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"horizon": "number", "model": "text", "error": "number"}
    rows = frames.drop_incomplete(frames.take(frame, "backtest_chart", columns), "backtest_chart", list(columns))
    rows = rows.sort("horizon").with_columns(
        baseline=pl.col("model").str.to_lowercase().str.contains("naive", literal=True)
    )
    models = rows.group_by("model", "baseline").agg(pl.col("error").mean()).sort("baseline", "error", "model")
    names = models["model"].to_list()
    learned = names[: int((~models["baseline"]).sum())]
    colours = [CATEGORIES[i % len(CATEGORIES)] for i in range(len(learned))] + [CONTEXT] * (len(names) - len(learned))
    nearest, furthest = rows.select(low=pl.min("horizon"), high=pl.max("horizon")).row(0)
    steps = list(range(math.ceil(nearest), int(furthest) + 1, max(1, round((furthest - nearest) / 14))))
    x = alt.X(
        "horizon:Q",
        title=f"Horizon ({step})",
        scale=alt.Scale(domain=[min(1.0, nearest), max(2.0, furthest)], padding=8, nice=False),
        axis=alt.Axis(grid=False, format="d", values=steps),
    )
    scale = alt.Scale(domain=[0, 1.08 * float(rows["error"].to_numpy().max()) or 1.0], nice=False)
    base = alt.Chart(rows).encode(
        x=x,
        y=alt.Y("error:Q", title=error, scale=scale, axis=axes.numbers()),
        color=alt.Color("model:N", scale=alt.Scale(domain=names, range=colours)),
    )
    dash = alt.Scale(domain=[False, True], range=[[1, 0], [5, 4]])
    lines = base.mark_line().encode(strokeDash=alt.StrokeDash("baseline:N", scale=dash, legend=None))
    chart = layered(lines, base.mark_point(size=45), width=WIDTH - 100, height=300)
    return entitled(chart, "Does the model forecast better than a naive one?", _verdict(models), width=WIDTH)


def season_chart(
    profile: pl.DataFrame, *, title: str = "What a season looks like", nothing: str = ""
) -> alt.LayerChart:
    """The steps of a season as shares of its mean.

    Args:
        profile: columns timestamp, share (1 is the mean).
        title: of what series.
        nothing: what to say where the frame has no rows; unless given, that is BadInput.

    Raises:
        BadInput: no rows, or a column is missing.
    """
    if nothing and profile.is_empty():
        return message_chart(title, nothing)
    use_theme()
    columns: dict[str, frames.Kind] = {"timestamp": "time", "share": "number"}
    rows = frames.drop_incomplete(frames.take(profile, "season_chart", columns), "season_chart", list(columns))
    rows = rows.sort("timestamp").with_columns(change=pl.col("share") - 1)
    x = alt.X("timestamp:T", title="Time (UTC)", scale=alt.Scale(type="utc"), axis=axes.time(rows["timestamp"]))
    y = alt.Y("change:Q", title="Above or below the mean", axis=alt.Axis(format="+.0%"))
    line = alt.Chart(rows).mark_line(color=BLUE, point=len(rows) < POINTS).encode(x=x, y=y)
    zero = alt.Chart(rows.select(change=pl.lit(0.0)).head(1)).mark_rule(color=MUTED, strokeDash=[5, 4]).encode(y=y)
    high, low = rows.sort("change").row(-1, named=True), rows.sort("change").row(0, named=True)
    words = "%A" if rows["timestamp"].diff().min() == DAY and len(rows) == DAYS_OF_A_WEEK else "%-d %b %H:%M"
    subtitle = (
        f"Highest on {high['timestamp']:{words}} ({high['change']:+.0%}), lowest on {low['timestamp']:{words}} "
        f"({low['change']:+.0%})."
    )
    return entitled(layered(zero, line, width=WIDTH, height=220), title, subtitle)


def anomaly_chart(frame: pl.DataFrame, *, title: str, value: str = "Value") -> alt.LayerChart:
    """A series, the band in which each value was expected a step before, and what fell out of it.

    Args:
        frame: columns timestamp, value, low, high, kind (null: ordinary), as `anomalies` gives them.
        title: what the series is, in words.
        value: title of the value axis, with its unit.

    Raises:
        BadInput: no rows with a value, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"timestamp": "time", "value": "number"}
    name = "anomaly_chart"
    seen = frames.drop_incomplete(frames.take(frame, name, columns), name, list(columns)).sort("timestamp")
    band = frame.drop_nulls(["low", "high"])
    flagged = frame.drop_nulls("kind").filter(pl.col("value").is_not_null())
    x = alt.X("timestamp:T", title="Time (UTC)", scale=alt.Scale(type="utc"), axis=axes.time(seen["timestamp"]))
    y = partial(alt.Y, title=value, scale=alt.Scale(zero=False), axis=axes.numbers())
    area = alt.Chart(band).mark_area(color=BLUE, opacity=0.18).encode(x=x, y=y("low:Q"), y2="high:Q")
    line = alt.Chart(seen).mark_line(color=INK, strokeWidth=1.4).encode(x=x, y=y("value:Q"))
    kinds = list(KINDS)
    points = (
        alt.Chart(flagged)
        .mark_point(size=90, filled=True, opacity=1)
        .encode(
            x=x,
            y=y("value:Q"),
            color=alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=[KINDS[kind] for kind in kinds])),
        )
    )
    found = {kind: flagged.filter(kind=kind).height for kind in kinds}
    counts = [counted(count, kind) for kind, count in found.items() if count]
    subtitle = f"{counted(len(seen), 'value')}. Out of the band: {', '.join(counts) or 'none'}."
    return entitled(layered(area, line, points, width=WIDTH, height=280), title, subtitle)


def _verdict(models: pl.DataFrame) -> str:
    """Mean errors of the best model and of the best baseline (columns model, baseline, error) in a sentence."""
    learned, naive = models.filter(~pl.col("baseline")), models.filter("baseline")
    if learned.is_empty() or naive.is_empty():
        best = models.sort("error").row(0, named=True)
        return f"Back-test. Least mean error: {best['model']}, {best['error']:,.3g}."
    model, baseline = learned.row(0, named=True), naive.row(0, named=True)
    if baseline["error"] == 0:
        return f"Back-test. {baseline['model']} makes no error; {model['model']} {model['error']:,.3g}."
    change = model["error"] / baseline["error"] - 1
    less = "less" if change < 0 else "more"
    return (
        f"Back-test, mean over horizons: {model['model']} errs {abs(change):.0%} {less} than "
        f"{baseline['model']} ({model['error']:,.3g} against {baseline['error']:,.3g})."
    )
