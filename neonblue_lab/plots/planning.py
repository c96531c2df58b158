"""Charts of an experiment that is being planned: its power by day, and the smallest lift that it could find."""

import altair as alt
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import axes, frames
from neonblue_lab.plots.theme import BLUE, CATEGORIES, CONTEXT, INK, MUTED, WIDTH, counted, entitled, layered, use_theme

_WEEK = 7
_HALO = {"stroke": "white", "strokeWidth": 4, "strokeJoin": "round"}
_BY_DAY: dict[str, frames.Kind] = {"day": "number", "units": "number"}


def power_chart(curves: pl.DataFrame, *, power: float = 0.8) -> alt.LayerChart:
    """How surely each of several lifts is found, by the day on which the experiment ends.

    Args:
        curves: columns day (1 is the first), units (of all arms by then), lift (0.02 is +2 %), power (0..1);
            `Plan.curves` gives them.
        power: the one that is aimed at; each curve has a point where it reaches it.

    Raises:
        BadInput: no row is complete, a column is missing, or there are more lifts than can be told apart.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {**_BY_DAY, "lift": "number", "power": "number"}
    rows = frames.drop_incomplete(frames.take(curves, "power_chart", columns), "power_chart", list(columns))
    lifts = rows["lift"].unique().sort(descending=True).to_list()
    if len(lifts) > len(CATEGORIES):
        raise BadInput(f"power_chart tells at most {len(CATEGORIES)} lifts apart; the frame has {len(lifts)}.")
    names = {lift: f"{100 * lift:+.3g}%" for lift in lifts}
    rows = rows.sort("lift", "day").with_columns(name=pl.col("lift").replace_strict(names, return_dtype=pl.String))
    reached = rows.filter(pl.col("power") >= power).unique("lift", keep="first", maintain_order=True)
    ends = rows.unique("lift", keep="last", maintain_order=True)
    colour = alt.Color(
        "name:N", scale=alt.Scale(domain=list(names.values()), range=list(CATEGORIES[: len(names)])), legend=None
    )
    y = alt.Y("power:Q", title="Power", scale=alt.Scale(domain=[0, 1]), axis=axes.percent())
    x = _day_axis(rows)
    base = alt.Chart(rows).encode(x=x, y=y, color=colour)
    target = alt.Chart(pl.DataFrame({"power": [power]})).mark_rule(color=INK, strokeDash=[5, 4]).encode(y=y)
    points = alt.Chart(reached).mark_point(size=75, stroke="white", strokeWidth=1).encode(x=x, y=y, color=colour)
    labels = (
        alt.Chart(_apart(ends))
        .mark_text(align="left", dx=8, fontWeight="bold")
        .encode(x=x, y=alt.Y("label_at:Q"), text="name:N", color=colour)
    )
    chart = layered(target, base.mark_line(strokeWidth=2.2), points, labels, width=WIDTH - 90, height=320)
    found = [f"of {row['name']} on day {row['day']:.0f}" for row in reached.sort("day").iter_rows(named=True)]
    when = f"is reached for a lift {', '.join(found)}" if found else "is not reached for any"
    last = ends.sort("day").row(-1, named=True)
    subtitle = (
        "Each line is a true lift: how likely the experiment finds it, if it ends on that day. A power of "
        f"{power:.0%} {when}. About {counted(_rounded(last['units']), 'unit')} come within {last['day']:.0f} days."
    )
    return entitled(chart, "How surely would it be found?", subtitle, width=WIDTH)


def minimum_lift_chart(by_day: pl.DataFrame, *, lift: float | None = None, power: float = 0.8) -> alt.LayerChart:
    """The smallest lift that an experiment finds with the power asked for, by the day on which it ends.

    Args:
        by_day: columns day (1 is the first), units (of all arms by then), minimum_lift; `Plan.by_day` has them. Days
            with nothing to find are left out.
        lift: the one that is hoped for, drawn as a line.
        power: which `minimum_lift` was computed with; for the words.

    Raises:
        BadInput: no row is complete, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {**_BY_DAY, "minimum_lift": "number"}
    name = "minimum_lift_chart"
    rows = frames.drop_incomplete(frames.take(by_day, name, columns), name, list(columns)).sort("day")
    weekly = rows.filter(pl.col("day") % _WEEK == 0)
    weekly = weekly.gather_every(max(1, -(-weekly.height // 9)))
    x = _day_axis(rows)
    highest = float(rows["minimum_lift"].quantile(0.98, "lower") or 0)
    most = max(min(highest, 6 * float(rows["minimum_lift"].min())), lift or 0)  # type: ignore[arg-type]
    y = alt.Y(
        "minimum_lift:Q",
        title="Smallest lift that is found",
        scale=alt.Scale(domain=[0, most * 1.08], clamp=False, nice=False),
        axis=alt.Axis(tickCount=6, labelExpr="datum.value == 0 ? '0%' : format(datum.value, '+.2~%')"),
    )
    line = alt.Chart(rows).mark_line(clip=True).encode(x=x, y=y)
    points = alt.Chart(weekly).mark_point(color=BLUE, stroke="white", strokeWidth=1).encode(x=x, y=y)
    labels = alt.Chart(weekly).encode(x=x, y=y, text=alt.Text("minimum_lift:Q", format="+.2~%"))
    halo, text = (labels.mark_text(align="left", dx=3, dy=-11, **look) for look in (_HALO, {"color": INK}))
    layers = [line, halo, points, text]
    subtitle = (
        f"Smaller lifts than the line would be missed more than {1 - power:.0%} of the time. Points are full weeks."
    )
    if lift is not None:
        hoped = alt.Chart(pl.DataFrame({"minimum_lift": [lift], "text": [f"hoped for: {100 * lift:+.3g}%"]})).encode(
            y=y
        )
        note = hoped.mark_text(align="left", dx=5, dy=-7, color=MUTED).encode(x=alt.value(0), text="text:N")
        layers = [hoped.mark_rule(color=MUTED, strokeDash=[5, 4]), note, *layers]
        enough = rows.filter(pl.col("minimum_lift") <= lift)
        if enough.height:
            subtitle += f" The lift that is hoped for, {100 * lift:+.3g}%, is found from day {enough['day'][0]:.0f} on."
        else:
            subtitle += f" The lift that is hoped for, {100 * lift:+.3g}%, is not found in {rows['day'][-1]:.0f} days."
    chart = layered(*layers, width=WIDTH - 90, height=300)
    return entitled(chart, "What could be found by when?", subtitle, width=WIDTH)


def _rounded(number: float) -> float:
    """To the digits that a forecast has."""
    return float(f"{number:.2g}")


def _day_axis(rows: pl.DataFrame) -> alt.X:
    """Days of the experiment, ticked by weeks."""
    last = float(rows["day"].max())  # type: ignore[arg-type]
    weeks = max(1, round(last / _WEEK / 12))
    ticks = list(range(0, int(last) + 1, _WEEK * weeks)) if last > _WEEK else list(range(int(last) + 1))
    return alt.X(
        "day:Q",
        title="Day on which the experiment ends",
        scale=alt.Scale(domain=[0, last], nice=False),
        axis=alt.Axis(values=ticks, format="d", gridColor=CONTEXT, gridOpacity=0.35),
    )


def _apart(ends: pl.DataFrame, gap: float = 0.055) -> pl.DataFrame:
    """The last points of the curves with `label_at`: their power, lowered where labels would lie upon each other."""
    ends = ends.sort("power", "lift", descending=True)
    places: list[float] = []
    for power in ends["power"]:
        places.append(min(power, places[-1] - gap) if places else power)
    return ends.with_columns(label_at=pl.Series(places))
