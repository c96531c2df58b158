"""Lifts by segment, as measured and as far as they are to be believed."""

import altair as alt
import polars as pl

from neonblue_lab.plots import frames
from neonblue_lab.plots.lifts import AT, LiftScale, Rows, colour, directions, percentage, shortened, verdict, written
from neonblue_lab.plots.theme import INK, MUTED, WIDTH, entitled, layered, use_theme

_RAW = ("lift", "lift_low", "lift_high")
_SHRUNK = ("shrunk", "shrunk_low", "shrunk_high")
_PLOT = 430
_AXIS = "Lift over control (relative difference)"


def segment_forest(
    rows: pl.DataFrame, *, metric: str, overall: float, better: str = "higher", alpha: float = 0.05
) -> alt.LayerChart:
    """Raw and shrunk lift of each segment with their intervals, beside the lift of all units.

    Args:
        rows: one for each segment, in the order to show them; columns segment, lift, lift_low, lift_high (relative
            differences to control: 0.1 is +10 %), shrunk, shrunk_low, shrunk_high (the same, drawn towards the overall
            lift), and optionally dimension (what the segments divide by: its segments stand together) and
            interaction_p (p-value of the test that all segments of the dimension have one lift). A segment without a
            lift is shown as one that cannot be computed.
        metric: what the lifts are of; for the title.
        overall: the lift of all units.
        better: "higher" or "lower", the direction of improvement; for the colours.
        alpha: 1 - coverage of the intervals; for the words.

    Raises:
        BadInput: no segment has a lift, a column is missing, or `better` is neither "higher" nor "lower".
    """
    use_theme()
    chart = "segment_forest"
    numbers: dict[str, frames.Kind] = dict.fromkeys((*_RAW, *_SHRUNK), "number")
    taken = frames.take(
        rows, chart, {"segment": "text", **numbers}, optional={"dimension": "text", "interaction_p": "number"}
    )
    frames.drop_incomplete(taken, chart, ["lift"])
    named = directions(taken.with_columns(better=pl.lit(better)), chart).with_columns(
        heading="dimension",
        note=pl.when(pl.col("interaction_p").is_null() | pl.col("dimension").is_null())
        .then(pl.lit(""))
        .otherwise(pl.lit("one lift for all? p = ") + pl.col("interaction_p").round_sig_figs(2).cast(pl.String)),
        label=shortened(pl.col("segment").fill_null("(not known)")),
        aside=pl.lit(""),
        verdict=verdict("shrunk_low", "shrunk_high", "better"),
        words=pl.struct(_SHRUNK).map_elements(lambda row: written(*row.values()), pl.String),
    )
    scale = LiftScale.of(named.with_columns(overall=pl.lit(overall)), [*_RAW, *_SHRUNK, "overall"])
    laid = Rows.under_headings(named, step=28)
    inside = scale.clipped(laid.frame, [*_RAW, *_SHRUNK])
    hue = colour("verdict", named["verdict"].to_list())
    raw = alt.Chart(inside).mark_rule(strokeWidth=1.6, color=MUTED, opacity=0.8, yOffset=-5)
    ring = alt.Chart(scale.within(laid.frame, "lift")).mark_point(
        size=45, filled=True, fill="white", stroke=MUTED, strokeWidth=1.5, yOffset=-5
    )
    thick = alt.Chart(inside).mark_rule(strokeWidth=6, strokeCap="round", opacity=0.75, yOffset=5)
    point = alt.Chart(scale.within(laid.frame, "shrunk")).mark_point(
        size=75, stroke="white", strokeWidth=1.3, yOffset=5
    )
    whole = alt.Chart(pl.DataFrame({"overall": [overall]}))
    drawn = layered(
        laid.separators(_PLOT),
        scale.zero(),
        whole.mark_rule(color=INK, strokeDash=[5, 4]).encode(x=scale.x("overall", _AXIS)),
        *laid.heads(_PLOT),
        raw.encode(y=AT, x=scale.x("lift_low", _AXIS), x2="lift_high:Q"),
        ring.encode(y=AT, x=scale.x("lift", _AXIS)),
        thick.encode(y=AT, x=scale.x("shrunk_low", _AXIS), x2="shrunk_high:Q", color=hue),
        *scale.arrows(laid.frame, "lift_low", "lift_high", alt.ColorValue(MUTED), offset=-5),
        point.encode(y=AT, x=scale.x("shrunk", _AXIS), color=hue),
        *laid.labels("label", "aside"),
        laid.numbers("words", _PLOT),
        width=_PLOT,
        height=laid.height,
    )
    coverage = percentage(1 - alpha)
    words = (
        f"Ring and thin line: lift of the segment as measured, with its {coverage} interval. Point and thick line: the "
        "same drawn towards the lift of all units (dashed), the more so the less the segment is known (empirical "
        "Bayes); these are the ones to believe, and stand in numbers at the right. Coloured where the thick line leaves "
        "zero out."
    )
    if named.filter(pl.col("note") != "").height:
        words += " p: Cochran's Q test; a high one means that the segments differ no more than chance makes them."
    if scale.cuts(named, _RAW[1:]):
        words += " An arrow: the interval goes on."
    return entitled(drawn, f"Does the lift of {metric} differ by segment?", words, width=WIDTH + 60)
