"""The lifts of one experiment: by metric and variant, and as they came in day by day."""

import altair as alt
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import axes, frames
from neonblue_lab.plots.lifts import (
    AT,
    COLOURS,
    UNCLEAR,
    LiftScale,
    Rows,
    colour,
    directions,
    percentage,
    shortened,
    verdict,
    written,
)
from neonblue_lab.plots.theme import INK, MUTED, WIDTH, entitled, layered, use_theme

_LIFT = ("lift", "lift_low", "lift_high")
_ALWAYS = ("always_low", "always_high")
_PLOT = 430
_AXIS = "Lift over control (relative difference)"
_COLUMNS = 3


def interval_chart(rows: pl.DataFrame, *, alpha: float = 0.05) -> alt.LayerChart:
    """Lifts of one experiment with the interval to be read once, at the planned end, and the one to be read any day.

    Args:
        rows: one for each metric and variant, in the order to show them; columns metric, variant_id, lift, lift_low,
            lift_high (relative differences to control: 0.1 is +10 %), and optionally always_low, always_high (the
            always-valid interval of the lift), name (shown instead of the variant's id), better ("higher" or "lower":
            the direction of improvement; higher unless stated), guardrail (true for a metric that must not get worse)
            and margin (the relative change for the worse that a guardrail may suffer: 0.01 is 1 %). A row without a lift
            is shown as one that cannot be computed.
        alpha: 1 - coverage of both intervals; for the words.

    Raises:
        BadInput: no row has a lift, a column is missing, a direction is neither "higher" nor "lower", or a guardrail is
            neither true nor false.
    """
    use_theme()
    chart = "interval_chart"
    numbers: dict[str, frames.Kind] = dict.fromkeys(_LIFT, "number")
    optional: dict[str, frames.Kind] = {
        **dict.fromkeys((*_ALWAYS, "margin"), "number"),
        **dict.fromkeys(("name", "better", "guardrail"), "text"),
    }
    taken = frames.take(rows, chart, {"metric": "text", "variant_id": "text", **numbers}, optional=optional)
    frames.drop_incomplete(taken, chart, ["lift"])
    if unclear := set(taken["guardrail"].drop_nulls()) - {"true", "false"}:
        raise BadInput(f"{chart} needs true or false in the column guardrail; it holds {min(unclear)}.")
    taken = directions(taken, chart).with_columns(guarded=(pl.col("guardrail") == "true").fill_null(False))
    alone = taken["variant_id"].n_unique() == 1
    variant = shortened(pl.coalesce("name", "variant_id"))
    alike = pl.struct("metric", variant).is_duplicated()
    named = taken.with_columns(note=_note()).with_columns(
        heading=pl.lit(None, pl.String) if alone else pl.col("metric"),
        label=shortened(pl.col("metric"))
        if alone
        else pl.when(alike).then(variant + " · " + pl.col("variant_id")).otherwise(variant),
        aside=pl.col("note") if alone else pl.lit(""),
        fixed=verdict("lift_low", "lift_high", "better"),
        always=verdict(*_ALWAYS, "better"),
        limit=pl.when("guarded").then(
            pl.when(pl.col("better") == "higher").then(-pl.col("margin")).otherwise("margin")
        ),
        words=pl.struct(_LIFT).map_elements(lambda row: written(*row.values()), pl.String),
    )
    named = named.with_columns(note=pl.lit("") if alone else pl.col("note"))
    scale = LiftScale.of(named, [*_LIFT, *_ALWAYS, "limit"])
    laid = Rows.under_headings(named, step=38 if alone else 24)
    inside = scale.clipped(laid.frame, [*_LIFT, *_ALWAYS, "limit"])
    verdicts = [*named["fixed"], *named["always"].filter(named["always_low"].is_not_null())]
    base = alt.Chart(inside).encode(y=AT)
    thin = base.mark_rule(strokeWidth=1.6, strokeCap="round")
    thick = base.mark_rule(strokeWidth=6, strokeCap="round", opacity=0.75)
    point = (
        alt.Chart(scale.within(laid.frame, "lift")).encode(y=AT).mark_point(size=75, stroke="white", strokeWidth=1.3)
    )
    limits = alt.Chart(inside.drop_nulls("limit")).mark_tick(color=INK, thickness=2, size=18)
    outer = laid.frame.with_columns(
        low=pl.min_horizontal("lift_low", "always_low"), high=pl.max_horizontal("lift_high", "always_high")
    )
    drawn = layered(
        laid.separators(_PLOT),
        scale.zero(),
        *laid.heads(_PLOT),
        limits.encode(x=scale.x("limit", _AXIS), y=AT),
        thin.encode(x=scale.x("always_low", _AXIS), x2="always_high:Q", color=colour("always", verdicts)),
        thick.encode(x=scale.x("lift_low", _AXIS), x2="lift_high:Q", color=colour("fixed", verdicts)),
        *scale.arrows(outer, "low", "high", colour("fixed", verdicts)),
        point.encode(x=scale.x("lift", _AXIS), color=colour("fixed", verdicts)),
        *laid.labels("label", "aside"),
        laid.numbers("words", _PLOT),
        width=_PLOT,
        height=laid.height,
    )
    title = f"What did {taken.select(variant).item(0, 0)} change?" if alone else "What did the variants change?"
    return entitled(
        drawn, title, _interval_words(taken, alpha, cut=scale.cuts(outer, ["low", "high"])), width=WIDTH + 60
    )


def _note() -> pl.Expr:
    """What a reader has to know of a metric beside its name."""
    allowed = (100 * pl.col("margin")).round_sig_figs(3).cast(pl.String).str.strip_suffix(".0")
    guard = (
        pl.when("guarded")
        .then(
            pl.when(pl.col("margin") > 0)
            .then(pl.lit("guardrail: at most ") + allowed + "% worse")
            .otherwise(pl.lit("guardrail"))
        )
        .otherwise(pl.lit(""))
    )
    lower = pl.when(pl.col("better") == "lower").then(pl.lit("lower is better")).otherwise(pl.lit(""))
    both = pl.when(pl.col("guarded") & (pl.col("better") == "lower")).then(pl.lit(" · ")).otherwise(pl.lit(""))
    return guard + both + lower


def _interval_words(rows: pl.DataFrame, alpha: float, *, cut: bool) -> str:
    """How to read an interval chart of `rows`."""
    coverage = percentage(1 - alpha)
    words = (
        f"Point: lift over control. Thick line: its fixed {coverage} interval (in numbers at the "
        "right), to be read once, at the planned end."
    )
    if rows["always_low"].count():
        words += f" Thin line: the always-valid {coverage} interval (confidence sequence), which may be read any day."
    words += " A line is coloured where it leaves zero out."
    if rows.filter("guarded")["margin"].count():
        words += " Black tick: what a guardrail may lose; it is passed when the interval ends before."
    return words + (" An arrow: the interval goes on." if cut else "")


def cumulative_lift_chart(
    rows: pl.DataFrame, *, metric: str, better: str = "higher", alpha: float = 0.05
) -> alt.ConcatChart:
    """Lift of all data so far, day by day, with both intervals as bands; one picture for each variant.

    Args:
        rows: columns day, lift, lift_low, lift_high (relative differences to control of all data up to that day), and
            optionally always_low, always_high (the always-valid interval), variant_id and name (shown instead of it).
        metric: what the lifts are of; for the title.
        better: "higher" or "lower", the direction of improvement; for the colour.
        alpha: 1 - coverage of both bands; for the words.

    Raises:
        BadInput: no day has a lift, a column is missing, or `better` is neither "higher" nor "lower".
    """
    use_theme()
    chart = "cumulative_lift_chart"
    numbers: dict[str, frames.Kind] = dict.fromkeys(_LIFT, "number")
    optional: dict[str, frames.Kind] = {**dict.fromkeys(_ALWAYS, "number"), "variant_id": "text", "name": "text"}
    taken = frames.take(rows, chart, {"day": "time", **numbers}, optional=optional)
    taken = directions(frames.drop_incomplete(taken, chart, ["day", "lift"]).with_columns(better=pl.lit(better)), chart)
    sequential = taken["always_low"].count() > 0
    band = _ALWAYS if sequential else _LIFT[1:]
    taken = taken.sort("day", maintain_order=True).with_columns(
        label=shortened(pl.coalesce("name", "variant_id", pl.lit("all"))), verdict=verdict(*band, "better")
    )
    variants = taken.partition_by("variant_id", maintain_order=True)
    scale = LiftScale.of(taken, [*_LIFT, *_ALWAYS], far=2.5)
    columns = min(len(variants), _COLUMNS)
    axis = axes.time(taken["day"]) if columns == 1 else axes.days(taken["day"], labels=5)
    size = (float(WIDTH), 280.0) if columns == 1 else ((WIDTH + 160) / columns - 70, 140.0)
    cells = [_cumulative(variant, scale, axis, size, sequential=sequential) for variant in variants]
    grid = alt.ConcatChart(concat=cells, columns=columns, spacing=26)
    coverage = percentage(1 - alpha)
    words = (
        f"Line: lift over control of all data up to a day. Dark band: its fixed {coverage} interval, which holds for one "
        "look alone, at the planned end; in numbers: that of the last day."
    )
    if sequential:
        words += (
            f" Pale band: the always-valid {coverage} interval (confidence sequence), which holds on all days at once: "
            "the first day on which it leaves zero out decides (dot)."
        )
    return entitled(grid, f"How did the lift of {metric} come in?", words, width=WIDTH + 60)


def _cumulative(
    rows: pl.DataFrame, scale: LiftScale, axis: alt.Axis, size: tuple[float, float], *, sequential: bool
) -> alt.LayerChart:
    """The days of one variant. Only a sequential band may be read on each of them; else the last day's verdict is it."""
    last = rows.row(-1, named=True)
    clear = (rows if sequential else rows.tail(1)).filter(pl.col("verdict") != UNCLEAR).head(1)
    hue = COLOURS[clear["verdict"][0]] if clear.height else MUTED
    decided = scale.clipped(clear, _LIFT).head(int(sequential))
    alone = rows.height == 1
    inside, first = alt.Chart(scale.clipped(rows, [*_LIFT, *_ALWAYS])), alt.Chart(decided)
    wide = inside.mark_rule(color=hue, strokeWidth=2) if alone else inside.mark_area(color=hue, opacity=0.14)
    narrow = (
        inside.mark_rule(color=hue, strokeWidth=7, opacity=0.5) if alone else inside.mark_area(color=hue, opacity=0.28)
    )
    line = inside.mark_point(color=hue, size=90) if alone else inside.mark_line(color=hue, strokeWidth=2.2)
    x = alt.X("day:T", title=None, scale=alt.Scale(type="utc"), axis=axis)
    title = _AXIS if size[1] > 200 else None
    drawn = layered(
        wide.encode(x=x, y=scale.y("always_low", title), y2="always_high:Q"),
        narrow.encode(x=x, y=scale.y("lift_low", title), y2="lift_high:Q"),
        alt.Chart(pl.DataFrame({"none": [0.0]})).mark_rule(color=INK).encode(y=scale.y("none", title)),
        first.mark_rule(color=INK, strokeDash=[2, 3]).encode(x=x),
        line.encode(x=x, y=scale.y("lift", title)),
        first.mark_point(color=hue, size=90, stroke="white", strokeWidth=1.5).encode(x=x, y=scale.y("lift", title)),
        width=size[0],
        height=size[1],
    )
    outcome = clear["verdict"][0] if clear.height else UNCLEAR
    since = f" since {decided['day'][0]:%-d %b %Y}" if decided.height else ""
    numbers = written(*(last[column] for column in _LIFT))
    return drawn.properties(title=_cell_title(last["label"], size[0], numbers, outcome + since))


def _cell_title(title: str, width: float, *lines: str) -> alt.TitleParams:
    """Title of one picture of several."""
    return alt.TitleParams(
        text=title,
        limit=width,
        subtitle=list(lines),
        fontSize=13,
        subtitleFontSize=11,
        subtitleLineHeight=14,
        subtitlePadding=3,
        offset=6,
        frame="group",
    )
