"""Charts of many experiments at once: lifts, sample-ratio checks, p-values."""

import json
import math

import altair as alt
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import axes, frames
from neonblue_lab.plots.theme import BLUE, CONTEXT, INK, PALE, VERMILLION, WIDTH, counted, entitled, layered, use_theme

_HIGHER, _LOWER, _UNCLEAR = "clearly higher", "clearly lower", "no clear difference"
_COLOURS = {_HIGHER: BLUE, _LOWER: VERMILLION, _UNCLEAR: CONTEXT}
_LONGEST_NAME = 48
_WIDE = 3.0
_SMALLEST_P = 1e-300
_POWERS = (0, 1, 2, 3, 5, 10, 20, 30, 50, 75, 100, 150, 200, 250, 300)
_CLOSEST_LABELS = 0.06  # Of the axis' length.
_MANY = 300


def lift_chart(scorecard_rows: pl.DataFrame, *, metric: str, top: int = 30, alpha: float = 0.05) -> alt.LayerChart:
    """Forest plot of lifts with their intervals, largest first.

    Args:
        scorecard_rows: columns experiment_id, variant_id, lift, lift_low, lift_high (relative differences to control:
            0.1 is +10 %), p_adjusted, and optionally name (shown instead of the id) and metric (then only its rows
            of `metric` are shown).
        metric: what the lifts are of; for the title.
        top: how many rows to show: those with the smallest adjusted p.
        alpha: rows with p_adjusted below it are coloured.

    Raises:
        BadInput: no row has a lift, or a column is missing.
    """
    use_theme()
    numbers: dict[str, frames.Kind] = dict.fromkeys(("lift", "lift_low", "lift_high", "p_adjusted"), "number")
    rows = frames.take(
        scorecard_rows,
        "lift_chart",
        {"experiment_id": "text", "variant_id": "text", **numbers},
        optional={"name": "text", "metric": "text"},
    )
    if "metric" in scorecard_rows.columns:
        rows = rows.filter(pl.col("metric") == metric)
        if rows.is_empty():
            raise BadInput(f"lift_chart has nothing to show: no row is of the metric {metric!r}.")
    rows = frames.drop_incomplete(rows, "lift_chart", ["lift"])
    clear = pl.col("p_adjusted").fill_null(1.0) < alpha
    shown = (
        rows.with_columns(evidence=(pl.col("lift") / (pl.col("lift_high") - pl.col("lift_low"))).abs())
        .sort("p_adjusted", "evidence", descending=[False, True], nulls_last=True)
        .head(top)
        .sort("lift", descending=True)
        .select(
            label=_label(),
            ratio=1 + pl.col("lift"),
            low=1 + pl.col("lift_low"),
            high=1 + pl.col("lift_high"),
            verdict=pl.when(clear & (pl.col("lift") > 0))
            .then(pl.lit(_HIGHER))
            .when(clear & (pl.col("lift") < 0))
            .then(pl.lit(_LOWER))
            .otherwise(pl.lit(_UNCLEAR)),
        )
    )
    verdicts = [verdict for verdict in _COLOURS if verdict in shown["verdict"]]
    colour = alt.Scale(domain=verdicts, range=[_COLOURS[verdict] for verdict in verdicts])
    base = alt.Chart(shown).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelColor=INK, labelLimit=400)),
        color=alt.Color("verdict:N", scale=colour),
    )
    x = _ratio_axis(shown)
    equal = alt.Chart(pl.DataFrame({"ratio": [1.0]})).mark_rule(color=INK, strokeWidth=1).encode(x=x)
    intervals = base.mark_rule(strokeWidth=2.5, strokeCap="round").encode(x="low:Q", x2="high:Q")
    points = base.mark_point(size=65, stroke="white", strokeWidth=1).encode(x=x)
    chart = layered(equal, intervals, points, width=WIDTH - 160, height=alt.Step(22))
    subtitle = (
        "Point: lift of a variant over its control; line: its confidence interval. Coloured where the p-value, "
        f"adjusted for all comparisons, is below {alpha:g}."
    )
    if len(rows) > top:
        subtitle += (
            f" Shown are the {top} of {len(rows):,} comparisons with the strongest evidence; being picked for it, "
            "they overstate."
        )
    return entitled(chart, f"Which variants move {metric}?", subtitle, width=WIDTH + 120 if len(rows) > top else WIDTH)


def _label() -> pl.Expr:
    """Name or id of the experiment and the variant; the id too where two rows would read alike."""
    name = pl.coalesce("name", "experiment_id")
    short = pl.when(name.str.len_chars() > _LONGEST_NAME).then(name.str.head(_LONGEST_NAME - 1) + "…").otherwise(name)
    label = short + " · " + pl.col("variant_id")
    return pl.when(label.is_duplicated()).then(label + " · " + pl.col("experiment_id")).otherwise(label)


def _ratio_axis(shown: pl.DataFrame) -> alt.X:
    """Ratios of variant to control, labelled as lifts. Where they differ widely the scale is logarithmic, so that
    halving and doubling are equally far from no difference."""
    ends = pl.concat([shown["ratio"], shown["low"], shown["high"]]).drop_nulls()
    least, most = min(1.0, float(ends.min())), max(1.0, float(ends.max()))  # type: ignore[arg-type]
    label = "abs(datum.value - 1) < 1e-9 ? '0%' : format(datum.value - 1, '+,.1~%')"
    if least > 0 and most / least > _WIDE:
        steps = [digit * 10.0**power for power in range(-3, 7) for digit in (1, 2, 5)]
        ticks = [step for step in steps if least / 1.5 <= step <= most * 1.5]
        scale = alt.Scale(type="log", domain=[least / 1.1, most * 1.1], nice=False)
        axis = alt.Axis(values=ticks, labelExpr=label)
    else:
        scale = alt.Scale(domain=[least, most], nice=True, zero=False, padding=12)
        axis = alt.Axis(tickCount=6, labelExpr=label)
    return alt.X("ratio:Q", title="Lift over control (relative difference)", scale=scale, axis=axis)


def sample_ratio_chart(checks: pl.DataFrame, *, alpha: float = 0.001) -> alt.LayerChart:
    """Evidence against the planned split of each experiment, over time; flagged ones coloured.

    Args:
        checks: columns experiment_id, started_at (where no row has one, experiments stand in row order), srm_p_value.
            Rows of several metrics of one experiment are shown once, at the smallest p.
        alpha: experiments with p below it are flagged.

    Raises:
        BadInput: no row has a p-value, or a column is missing.
    """
    use_theme()
    columns: dict[str, frames.Kind] = {"experiment_id": "text", "started_at": "time", "srm_p_value": "number"}
    rows = frames.take(checks, "sample_ratio_chart", columns)
    rows = frames.drop_incomplete(rows, "sample_ratio_chart", ["srm_p_value"])
    rows = rows.group_by("experiment_id", maintain_order=True).agg(pl.min("started_at"), pl.min("srm_p_value"))
    tested, flagged = len(rows), int((rows["srm_p_value"] < alpha).sum())
    rows = rows.select(
        "started_at",
        order=pl.int_range(1, pl.len() + 1),
        evidence=-pl.col("srm_p_value").clip(lower_bound=_SMALLEST_P).log10(),
        verdict=pl.when(pl.col("srm_p_value") < alpha).then(pl.lit("mismatch")).otherwise(pl.lit("as planned")),
    ).sort("verdict")
    undated = rows["started_at"].null_count()
    if undated < tested:
        rows = rows.drop_nulls("started_at")
        x = alt.X(
            "started_at:T",
            title="Start of the experiment (UTC)",
            scale=alt.Scale(type="utc"),
            axis=axes.time(rows["started_at"]),
        )
    else:
        x = alt.X(
            "order:Q", title="Experiment, in order of the table", axis=alt.Axis(grid=False, tickMinStep=1, tickCount=10)
        )
    threshold = -math.log10(alpha)
    y = _evidence_axis(max(float(rows["evidence"].max()), threshold * 1.6))  # type: ignore[arg-type]
    colour = alt.Scale(domain=["as planned", "mismatch"], range=[CONTEXT, VERMILLION])
    size, opacity = (28, 0.55) if tested > _MANY else (55, 0.9)
    points = (
        alt.Chart(rows)
        .mark_point(size=size, opacity=opacity, aria=False)
        .encode(x=x, y=y, color=alt.Color("verdict:N", scale=colour))
    )
    limit = alt.Chart(pl.DataFrame({"evidence": [threshold], "text": [f"p = {alpha:g}"]})).encode(y=y)
    line = limit.mark_rule(color=INK, strokeDash=[5, 4])
    note = limit.mark_text(align="left", dx=6).encode(x=alt.value(WIDTH), text="text:N")
    chart = layered(points, line, note, width=WIDTH, height=320)
    of = f"{flagged:,} of {counted(tested, 'experiment')}"
    subtitle = f"Flagged: {of} ({flagged / tested:.1%}), with a chi-squared p below {alpha:g}."
    if flagged:
        subtitle += " Where the traffic did not split as planned, no lift can be trusted."
    if 0 < undated < tested:
        subtitle += f" {undated:,} without a start are not shown."
    return entitled(chart, "Did the traffic split as planned?", subtitle)


def _evidence_axis(most: float) -> alt.Y:
    """-log10(p) up to `most` on a square-root scale, which leaves room to the ordinary ones below an extreme one."""
    powers = [0]
    for power in _POWERS:
        if power <= most and math.sqrt(power / most) - math.sqrt(powers[-1] / most) > _CLOSEST_LABELS:
            powers.append(power)
    labels = {power: f"1e-{power}" if power else "1" for power in powers}
    return alt.Y(
        "evidence:Q",
        title="p-value of the split (less likely upwards)",
        scale=alt.Scale(type="sqrt", domain=[0, most], nice=False),
        axis=alt.Axis(values=powers, labelExpr=f"({json.dumps(labels)})[datum.value]"),
    )


def p_value_histogram(frame: pl.DataFrame, column: str, *, bins: int = 20) -> alt.LayerChart:
    """Histogram of p-values beside the level that they would have if nothing had an effect.

    Args:
        frame: any frame with `column`.
        column: p-values; nulls are left out.
        bins: of equal width from 0 to 1; the first one is coloured.

    Raises:
        BadInput: no p-value, or one outside 0..1.
    """
    use_theme()
    rows = frames.take(frame, "p_value_histogram", {column: "number"})
    values = frames.drop_incomplete(rows, "p_value_histogram", [column])[column]
    outside = values.filter(~values.is_between(0, 1))
    if len(outside):
        raise BadInput(f"p_value_histogram needs values from 0 to 1; {column} holds {outside[0]:g}.")
    counts = (values * bins).floor().clip(0, bins - 1).cast(pl.Int64).rename("bin").value_counts(name="count")
    bars = (
        pl.DataFrame({"bin": range(bins)}, schema={"bin": pl.Int64})
        .join(counts, on="bin", how="left", maintain_order="left")
        .with_columns(pl.col("count").fill_null(0), start=pl.col("bin") / bins, end=(pl.col("bin") + 1) / bins)
    )
    level, first = len(values) / bins, int(bars["count"][0])
    expected = f"{level:,.0f}" if level >= 10 else f"{level:.2g}"
    histogram = (
        alt.Chart(bars)
        .mark_bar(binSpacing=1.5)
        .encode(
            x=alt.X("start:Q", bin="binned", title="p-value", axis=alt.Axis(format=".1f", tickCount=10, grid=False)),
            x2="end:Q",
            y=alt.Y("count:Q", title=f"Tests per {1 / bins:g} of p", axis=axes.counts()),
            color=alt.condition(alt.datum.bin == 0, alt.value(BLUE), alt.value(PALE)),
        )
    )
    reference = alt.Chart(pl.DataFrame({"level": [level], "text": ["level if nothing had an effect"], "at": [1.0]}))
    line = reference.mark_rule(color=INK, strokeDash=[5, 4]).encode(y="level:Q")
    note = reference.mark_text(align="right", baseline="bottom", dy=-5).encode(x="at:Q", y="level:Q", text="text:N")
    chart = layered(histogram, line, note, width=WIDTH, height=280)
    subtitle = (
        f"{first:,} of {len(values):,} values of {column} ({first / len(values):.0%}) are below {1 / bins:g}; about "
        f"{expected} would be if nothing had an effect. A peak at the left is signal; a slope towards 1, or a peak "
        "elsewhere, means that the test does not fit the data."
    )
    return entitled(chart, "How much signal is in these tests?", subtitle)
