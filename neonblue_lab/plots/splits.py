"""How the units of one experiment were split among its variants: by day and by segment, against the plan."""

from functools import partial
from statistics import NormalDist

import altair as alt
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import axes, frames
from neonblue_lab.plots.lifts import percentage
from neonblue_lab.plots.theme import BLUE, INK, PALE, VERMILLION, WIDTH, counted, entitled, layered, use_theme

_MOST_SEGMENTS = 12
_DAY_WIDTH, _SEGMENT_WIDTH, _HEIGHT = 340, 250, 160
_AS_PLANNED, _MISMATCH = "as planned", "not as planned"
_HUE = alt.Color("verdict:N", scale=alt.Scale(domain=[_AS_PLANNED, _MISMATCH], range=[BLUE, VERMILLION]), legend=None)


def sample_ratio_panel(
    by_day: pl.DataFrame, by_segment: pl.DataFrame | None = None, *, alpha: float = 0.001, top: int = 4
) -> alt.ConcatChart:
    """Share of the units that each variant got, by day and by segment, beside the range that chance leaves to it.

    The range is that of a binomial share by its normal approximation, and rough below some ten expected units.

    Args:
        by_day: columns day, variant_id, units (new ones of that day), allocation (share meant for the variant, in any
            unit: normalised over the variants). A variant without a row on a day got no units.
        by_segment: the same with a column segment instead of day.
        alpha: 1 - share of the days, and of the segments, that lie within the range when all is as planned.
        top: how many variants to show: those furthest from the plan. Of two, the second one alone: the first is the rest.

    Raises:
        BadInput: fewer than two variants, no units, a column is missing, or a number is negative.
    """
    use_theme()
    days = _shares(by_day, "day", "time", alpha)
    segments = None if by_segment is None else _shares(by_segment, "segment", "text", alpha)
    parts = [days] if segments is None else [days, segments]
    order = list(dict.fromkeys(days["variant_id"]))
    both = pl.concat([part.select("variant_id", "distance") for part in parts])
    furthest = _furthest(both, "variant_id", top)
    chosen = order[1:] if len(order) == 2 else [variant for variant in order if variant in furthest]
    named = [] if segments is None else _furthest(segments, "segment", _MOST_SEGMENTS)
    step = max(_HEIGHT / max(len(named), 1), 18.0)
    size = (WIDTH, _HEIGHT) if segments is None else (_DAY_WIDTH, step * len(named))
    cells = []
    for variant in chosen:
        cells.append(_by_day(days.filter(pl.col("variant_id") == variant), variant, size))
        if segments is not None:
            cells.append(
                _by_segment(segments.filter(pl.col("variant_id") == variant, pl.col("segment").is_in(named)), step)
            )
    grid = alt.ConcatChart(concat=cells, columns=len(parts), spacing=30)
    return entitled(grid, "Did the traffic split as planned?", _words(parts, order, chosen, alpha), width=WIDTH + 60)


def _shares(frame: pl.DataFrame, by: str, kind: frames.Kind, alpha: float) -> pl.DataFrame:
    """Columns variant_id, `by`, share, planned, low, high, distance (in standard errors) and verdict, of each day or segment
    that has units."""
    chart = "sample_ratio_panel"
    columns: dict[str, frames.Kind] = {by: kind, "variant_id": "text", "units": "number", "allocation": "number"}
    taken = frames.drop_incomplete(frames.take(frame, chart, columns), chart, ["variant_id", "units", "allocation"])
    if (least := taken.select(pl.min_horizontal(pl.min("units", "allocation"))).item()) < 0:
        raise BadInput(f"{chart} needs units and allocations that are not negative; one is {least:g}.")
    if taken["variant_id"].n_unique() < 2:
        raise BadInput(f"{chart} needs two variants or more; the frame has {taken['variant_id'][0]} alone.")
    if kind == "time":
        taken = taken.drop_nulls(by).with_columns(pl.col(by).dt.truncate("1d")).sort(by)
    else:
        taken = taken.with_columns(pl.col(by).fill_null("(not known)"))
    variants = taken.select("variant_id").unique(maintain_order=True)
    added = taken.group_by(by, "variant_id", maintain_order=True).agg(pl.sum("units"), pl.last("allocation"))
    places = added.select(by).unique(maintain_order=True)
    whole = places.join(variants, how="cross").join(
        added, on=[by, "variant_id"], how="left", maintain_order="left", nulls_equal=True
    )
    n, planned = pl.col("units").sum().over(by), pl.col("allocation") / pl.col("allocation").sum().over(by)
    z = NormalDist().inv_cdf(1 - alpha / 2)
    error = (pl.col("planned") * (1 - pl.col("planned")) / pl.col("n")).sqrt()
    shares = (
        whole.with_columns(
            pl.col("units").fill_null(0.0),
            pl.col("allocation").forward_fill().backward_fill().over("variant_id"),
        )
        .with_columns(n=n, planned=planned)
        .filter(pl.col("n") > 0)
        .with_columns(
            share=pl.col("units") / pl.col("n"),
            low=(pl.col("planned") - z * error).clip(0, 1),
            high=(pl.col("planned") + z * error).clip(0, 1),
        )
        .with_columns(
            distance=((pl.col("share") - pl.col("planned")) / error).fill_nan(0.0),
            verdict=pl.when(pl.col("share").is_between("low", "high"))
            .then(pl.lit(_AS_PLANNED))
            .otherwise(pl.lit(_MISMATCH)),
        )
    )
    if shares.is_empty():
        raise BadInput(f"{chart} has nothing to show: no {by} has units.")
    return shares


def _by_day(rows: pl.DataFrame, variant: str, size: tuple[float, float]) -> alt.LayerChart:
    """The days of one variant."""
    times = rows["day"]
    axis = axes.time(times) if size[0] == WIDTH else axes.days(times, labels=6)
    x = alt.X("day:T", title=None, scale=alt.Scale(type="utc"), axis=axis)
    base = alt.Chart(rows).encode(x=x)
    y = partial(
        alt.Y,
        title="Share of units",
        scale=alt.Scale(zero=False, nice=False, padding=8),
        axis=alt.Axis(format=".1~%", tickCount=5),
    )
    alone = rows.height == 1
    band = base.mark_rule(color=PALE, strokeWidth=9) if alone else base.mark_area(color=PALE, opacity=0.55)
    return layered(
        band.encode(y=y("low:Q"), y2="high:Q"),
        base.mark_line(color=INK, strokeDash=[5, 4], strokeWidth=1.2).encode(y=y("planned:Q")),
        base.mark_line(color=BLUE, strokeWidth=1.4, opacity=0.6).encode(y=y("share:Q")),
        base.mark_point(size=38).encode(y=y("share:Q"), color=_HUE),
        width=size[0],
        height=size[1],
    ).properties(title=_title(f"{variant}, by day", size[0]))


def _by_segment(rows: pl.DataFrame, step: float) -> alt.LayerChart:
    """The segments of one variant."""
    axis = alt.Axis(labelColor=INK, labelLimit=220)
    base = alt.Chart(rows).encode(y=alt.Y("segment:N", sort=None, title=None, axis=axis))
    x = partial(
        alt.X,
        title="Share of units",
        scale=alt.Scale(zero=False, padding=10),
        axis=alt.Axis(format=".1~%", tickCount=4),
    )
    return layered(
        base.mark_rule(color=PALE, strokeWidth=min(10.0, step / 2), opacity=0.8).encode(x=x("low:Q"), x2="high:Q"),
        base.mark_tick(color=INK, thickness=1.2, size=min(16.0, step * 0.8)).encode(x=x("planned:Q")),
        base.mark_point(size=55).encode(x=x("share:Q"), color=_HUE),
        width=_SEGMENT_WIDTH,
        height=alt.Step(step),
    ).properties(title=_title("by segment", _SEGMENT_WIDTH))


def _title(text: str, width: float) -> alt.TitleParams:
    return alt.TitleParams(text=text, fontSize=13, offset=8, frame="group", limit=width)


def _furthest(shares: pl.DataFrame, column: str, most: int) -> list[str]:
    """The values of `column` whose shares are furthest from the plan, at most so many."""
    distances = shares.group_by(column, maintain_order=True).agg(pl.col("distance").abs().max())
    return distances.sort("distance", descending=True, maintain_order=True).head(most)[column].to_list()


def _words(parts: list[pl.DataFrame], order: list[str], chosen: list[str], alpha: float) -> str:
    """How to read a panel, and what it shows."""
    within = percentage(1 - alpha)
    words = (
        f"Point: share of the units that the variant got; line: what was planned. The grey range holds {within} of such "
        "shares when all is as planned (binomial); a share outside it is orange."
    )
    for part, noun in zip(parts, ("day", "segment"), strict=False):
        told = part.filter(pl.col("variant_id").is_in(order if len(order) > 2 else chosen))
        outside = told.filter(pl.col("verdict") == _MISMATCH).height
        words += f" By {noun}, {outside:,} of {counted(told.height, 'share')} lie outside"
        words += f" ({told.height * alpha:.2g} would by chance)."
    if len(chosen) < len(order) and len(order) > 2:
        words += f" Shown are the {len(chosen)} of {len(order)} variants furthest from the plan."
    if any(part["segment"].n_unique() > _MOST_SEGMENTS for part in parts[1:]):
        words += f" Of the segments, the {_MOST_SEGMENTS} furthest from it."
    return words
