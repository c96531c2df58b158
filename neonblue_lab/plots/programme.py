"""What a programme of experiments teaches: how much its lifts overstate, and how soon its decisions could be taken."""

from statistics import NormalDist

import altair as alt
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import frames
from neonblue_lab.plots.lifts import AT, LiftScale, Rows, percentage, shortened, written
from neonblue_lab.plots.theme import (
    BLUE,
    CONTEXT,
    INK,
    MUTED,
    ORANGE,
    PALE,
    VERMILLION,
    WIDTH,
    counted,
    entitled,
    layered,
    use_theme,
)

_CLEAR, _DOUBTFUL, _NOTHING = "clear, also when shrunk", "clear as measured, doubtful when shrunk", "not clear"
_COLOURS = {_CLEAR: BLUE, _DOUBTFUL: ORANGE, _NOTHING: CONTEXT}
_MANY = 1000
_LABELLED = 45
_TALL, _THIN = 520.0, 2.0
_DECISIONS = {"better": BLUE, "worse": VERMILLION, "decided": BLUE, "not decided": PALE}


def prior_chart(rows: pl.DataFrame, *, metric: str, alpha: float = 0.05) -> alt.LayerChart:
    """Lifts of a programme as measured, across, and as the programme's prior leaves them, upwards.

    Args:
        rows: one for each comparison; columns lift, standard_error (of the lift), shrunk (posterior mean of the lift)
            and false_sign_rate (posterior probability that the true lift is zero or of the other sign). Rows without
            one of them are left out.
        metric: what the lifts are of; for the title.
        alpha: a lift counts as clear as measured when its fixed 1 - alpha interval leaves zero out, and as clear when
            shrunk when its false-sign rate is below alpha.

    Raises:
        BadInput: no row has all numbers, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = dict.fromkeys(("lift", "standard_error", "shrunk", "false_sign_rate"), "number")
    taken = frames.drop_incomplete(frames.take(rows, "prior_chart", columns), "prior_chart", list(columns))
    z = NormalDist().inv_cdf(1 - alpha / 2)
    measured = pl.col("lift").abs() > z * pl.col("standard_error")
    believed = pl.col("false_sign_rate") < alpha
    shown = taken.select(
        "lift",
        "shrunk",
        verdict=pl.when(believed)
        .then(pl.lit(_CLEAR))
        .when(measured)
        .then(pl.lit(_DOUBTFUL))
        .otherwise(pl.lit(_NOTHING)),
        order=believed.cast(pl.Int8) + measured.cast(pl.Int8),
    ).sort("order")
    across = LiftScale.of(shown, ["lift"], far=12)
    up = LiftScale.of(shown, ["shrunk"], far=12)
    height = min(440.0, max(220.0, WIDTH * (up.most - up.least) / (across.most - across.least)))
    x, y = across.x("lift", "Lift as measured"), up.y("shrunk", "Lift after shrinking")
    ends = pl.DataFrame({"lift": [max(across.least, up.least), min(across.most, up.most)]})
    diagonal = alt.Chart(ends.with_columns(shrunk="lift"))
    kinds = [kind for kind in _COLOURS if kind in shown["verdict"]]
    hue = alt.Scale(domain=kinds, range=[_COLOURS[kind] for kind in kinds])
    size, opacity = (16, 0.5) if shown.height > _MANY else (45, 0.75)
    inside = across.within(up.within(shown, "shrunk"), "lift")
    points = (
        alt.Chart(inside)
        .mark_point(size=size, opacity=opacity, aria=False)
        .encode(x=x, y=y, color=alt.Color("verdict:N", scale=hue, legend=alt.Legend(labelLimit=300)))
    )
    drawn = layered(
        alt.Chart(pl.DataFrame({"none": [0.0]})).mark_rule(color=INK).encode(y=up.y("none", "Lift after shrinking")),
        diagonal.mark_line(color=MUTED, strokeDash=[5, 4], strokeWidth=1.5).encode(x=x, y=y),
        points,
        width=WIDTH,
        height=height,
    )
    words = (
        f"{counted(shown.height, 'comparison')}; the prior is learned from all of them (empirical Bayes). On the dashed "
        "line a lift would be believed as measured; the flatter the points lie, the more of what is measured is noise."
    )
    words += _winners(taken, measured, alpha)
    if outside := shown.height - inside.height:
        words += f" Not drawn, as they lie far off: {outside:,}."
    return entitled(drawn, f"How much of a measured lift in {metric} is real?", words)


def _winners(taken: pl.DataFrame, measured: pl.Expr, alpha: float) -> str:
    """What is left of the lifts that are clear as measured, in a sentence."""
    clear = taken.filter(measured)
    if clear.is_empty():
        return ""
    medians = clear.select(pl.col("lift").abs().median(), (pl.col("shrunk") * pl.col("lift").sign()).median()).row(0)
    before, after = (written(median, None, None).lstrip("+") for median in medians)
    doubtful = clear.filter(pl.col("false_sign_rate") >= alpha).height
    return (
        f" Clear as measured at {percentage(1 - alpha)}: {counted(clear.height, 'lift')}, of {before} "
        f"at the median, {after} after shrinking; the sign of {doubtful:,} is doubtful."
    )


def decision_chart(rows: pl.DataFrame, *, alpha: float = 0.05) -> alt.LayerChart:
    """Days until the always-valid interval of each experiment decided, beside the days that it was planned for.

    Args:
        rows: one for each experiment (or comparison); columns experiment_id, days (from the start to the first look at
            which the always-valid interval leaves zero out; null for one that never did), planned_days, and optionally
            name (shown instead of the id) and verdict ("better" or "worse": what was decided).
        alpha: 1 - coverage of the interval; for the words.

    Raises:
        BadInput: no row has planned days, a column is missing, days are negative, or a verdict is another one.
    """
    use_theme()
    chart = "decision_chart"
    columns: dict[str, frames.Kind] = {"experiment_id": "text", "days": "number", "planned_days": "number"}
    taken = frames.take(rows, chart, columns, optional={"name": "text", "verdict": "text"})
    taken = frames.drop_incomplete(taken, chart, ["planned_days"])
    if (least := taken.select(pl.min_horizontal(pl.min("days", "planned_days"))).item()) < 0:
        raise BadInput(f"{chart} needs days that are not negative; one is {least:g}.")
    other = taken.filter(~pl.col("verdict").is_in(["better", "worse"]))
    if other.height:
        raise BadInput(f"{chart} needs better or worse in the column verdict; it holds {other['verdict'][0]!r}.")
    decided = pl.col("days").is_not_null()
    label = shortened(pl.coalesce("name", "experiment_id"))
    shown = taken.with_columns(
        heading=pl.lit(None, pl.String),
        note=pl.lit(""),
        aside=pl.lit(""),
        label=pl.when(label.is_duplicated()).then(label + " · " + pl.col("experiment_id")).otherwise(label),
        none=pl.lit(0.0),
        verdict=pl.when(decided)
        .then(pl.col("verdict").fill_null("decided"))
        .otherwise(pl.lit("not decided"))
        .cast(pl.Enum(list(_DECISIONS))),
        words=pl.when(decided)
        .then(pl.format("day {}, planned {}", _whole("days"), _whole("planned_days")))
        .otherwise(pl.format("not decided, planned {}", _whole("planned_days"))),
    )
    labelled = shown.height <= _LABELLED
    order = ["days", "planned_days", "experiment_id"]
    shown = shown.sort([*([] if labelled else ["verdict"]), *order], nulls_last=True)
    laid = Rows.under_headings(shown, step=22 if labelled else _TALL / shown.height)
    kinds = [kind for kind in _DECISIONS if kind in shown["verdict"]]
    hue = alt.Scale(domain=kinds, range=[_DECISIONS[kind] for kind in kinds])
    thick = max(0.8, (0.55 if labelled else 0.8) * laid.height / shown.height)
    base = alt.Chart(laid.frame).encode(y=AT)
    title = "Days since the start"
    scale = alt.Scale(domain=[0, max(1.0, taken.select(pl.max_horizontal(pl.max("days", "planned_days"))).item())])
    x = alt.X("none:Q", title=title, scale=scale, axis=alt.Axis(tickCount=8, tickMinStep=1))
    end = alt.X("planned_days:Q", title=title, scale=scale)
    width = WIDTH - 240 if labelled else WIDTH
    drawn = layered(
        base.mark_bar(orient="horizontal", size=thick, color=PALE, opacity=0.55).encode(x=x, x2="planned_days:Q"),
        base.mark_bar(orient="horizontal", size=thick).encode(
            x=x, x2="days:Q", color=alt.Color("verdict:N", scale=hue, legend=alt.Legend(symbolType="square"))
        ),
        *([base.mark_tick(color=INK, thickness=1.5, size=thick).encode(x=end)] if thick > _THIN else []),
        *([*laid.labels("label", "aside"), laid.numbers("words", width)] if labelled else []),
        width=width,
        height=laid.height,
    )
    return entitled(drawn, "How soon could each experiment have been decided?", _decision_words(taken, alpha))


def _whole(days: str) -> pl.Expr:
    """Days as text: 7, 7.5."""
    return pl.col(days).round(1).cast(pl.String).str.strip_suffix(".0")


def _decision_words(taken: pl.DataFrame, alpha: float) -> str:
    """How to read a decision chart of `taken`, and what it shows."""
    early = taken.filter(pl.col("days") < pl.col("planned_days"))
    words = (
        f"Coloured: until the always-valid {percentage(1 - alpha)} interval (confidence sequence), which may be looked at "
        f"every day, first left zero out. Pale: until the planned end. {early.height:,} of "
        f"{counted(taken.height, 'experiment')} could have been decided before it"
    )
    if early.is_empty():
        return words + "."
    saved, part = early.select(
        (pl.col("planned_days") - pl.col("days")).sum(), (pl.col("days") / pl.col("planned_days")).median()
    ).row(0)
    return f"{words}, half of them within {part:.0%} of the planned time: {counted(saved, 'day')} saved in all."
