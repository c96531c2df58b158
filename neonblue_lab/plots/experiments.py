"""Charts of many experiments at once: lifts, sample-ratio checks, p-values."""

import math

import altair as alt
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import frames
from neonblue_lab.plots.theme import BLUE, CONTEXT, GRID, INK, MUTED, VERMILLION, WIDTH, entitled, use_theme

_HIGHER, _LOWER, _UNCLEAR = "clearly higher", "clearly lower", "no clear difference"
_SMALLEST_P = 1e-300


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
    rows = frames.take(
        scorecard_rows,
        "lift_chart",
        {
            "experiment_id": "text",
            "variant_id": "text",
            "lift": "number",
            "lift_low": "number",
            "lift_high": "number",
            "p_adjusted": "number",
        },
        optional={"name": "text", "metric": "text"},
    )
    if "metric" in scorecard_rows.columns:
        rows = rows.filter(pl.col("metric") == metric)
        if rows.is_empty():
            raise BadInput(f"lift_chart has nothing to show: no row is of the metric {metric!r}.")
    rows = frames.drop_incomplete(rows, "lift_chart", ["lift"])
    clear = pl.col("p_adjusted").fill_null(1.0) < alpha
    width = pl.col("lift_high") - pl.col("lift_low")
    shown = (
        rows.with_columns(
            label=_label(),
            verdict=pl.when(clear & (pl.col("lift") > 0))
            .then(pl.lit(_HIGHER))
            .when(clear & (pl.col("lift") < 0))
            .then(pl.lit(_LOWER))
            .otherwise(pl.lit(_UNCLEAR)),
            evidence=(pl.col("lift") / width).abs(),
        )
        .sort("p_adjusted", "evidence", descending=[False, True], nulls_last=True)
        .head(top)
        .sort("lift", descending=True)
    )
    verdicts = [verdict for verdict in (_HIGHER, _LOWER, _UNCLEAR) if verdict in shown["verdict"]]
    colours = {_HIGHER: BLUE, _LOWER: VERMILLION, _UNCLEAR: CONTEXT}
    base = alt.Chart(shown).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelColor=INK, labelLimit=400)),
        color=alt.Color("verdict:N", scale=alt.Scale(domain=verdicts, range=[colours[v] for v in verdicts])),
    )
    x = _lift_axis(shown)
    zero = alt.Chart(pl.DataFrame({"lift": [1.0]})).mark_rule(color=INK, strokeWidth=1).encode(x=x)
    intervals = base.mark_rule(strokeWidth=2.5, strokeCap="round").encode(x=alt.X("low:Q"), x2="high:Q")
    points = base.mark_point(size=65, stroke="white", strokeWidth=1).encode(x=x)
    chart = (zero + intervals + points).properties(width=WIDTH - 160, height=alt.Step(22))
    subtitle = (
        "Point: lift of a variant over its control; line: its confidence interval. Coloured where the p-value, adjusted "
        f"for all comparisons, is below {alpha:g}."
    )
    if len(rows) > top:
        subtitle += (
            f" Shown are the {top} of {len(rows):,} comparisons with the strongest evidence: being picked for it, "
            "they overstate."
        )
    return entitled(chart, f"Which variants move {metric}?", subtitle, width=WIDTH + 120)


def _label() -> pl.Expr:
    """Name or id of the experiment and the variant; the id too where two rows would read alike."""
    named = pl.coalesce("name", "experiment_id") + " · " + pl.col("variant_id")
    return pl.when(named.is_duplicated()).then(named + " · " + pl.col("experiment_id")).otherwise(named)


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
    rows = frames.drop_incomplete(
        frames.take(checks, "sample_ratio_chart", columns), "sample_ratio_chart", ["srm_p_value"]
    )
    rows = rows.group_by("experiment_id", maintain_order=True).agg(
        pl.col("started_at").min(), pl.col("srm_p_value").min()
    )
    dated = rows["started_at"].is_not_null().any()
    tested = len(rows)
    undated = rows["started_at"].null_count() if dated else 0
    rows = rows.with_columns(
        evidence=-pl.col("srm_p_value").clip(lower_bound=_SMALLEST_P).log10(),
        verdict=pl.when(pl.col("srm_p_value") < alpha).then(pl.lit("mismatch")).otherwise(pl.lit("as planned")),
        order=pl.int_range(1, pl.len() + 1),
    ).sort("verdict")
    flagged = int((rows["verdict"] == "mismatch").sum())
    x = (
        alt.X("started_at:T", title="Start of the experiment", scale=alt.Scale(type="utc"))
        if dated
        else alt.X("order:Q", title="Experiment (in order of the table)", axis=alt.Axis(format=",d", tickMinStep=1))
    )
    if dated:
        rows = rows.drop_nulls("started_at")
    threshold = -math.log10(alpha)
    most = max(float(rows["evidence"].max() or 0), threshold * 1.6)  # type: ignore[arg-type]
    y = alt.Y(
        "evidence:Q",
        title="p-value of the split (smaller is higher up)",
        scale=alt.Scale(type="sqrt", domain=[0, most]),
        axis=alt.Axis(values=_powers(most), labelExpr="datum.value == 0 ? '1' : '1e-' + datum.value"),
    )
    verdicts = {"as planned": CONTEXT, "mismatch": VERMILLION}
    colour = alt.Color("verdict:N", scale=alt.Scale(domain=list(verdicts), range=list(verdicts.values())))
    points = (
        alt.Chart(rows)
        .mark_point(size=28 if tested > 300 else 55, opacity=0.55 if tested > 300 else 0.9, aria=False)
        .encode(x=x, y=y, color=colour)
    )
    line = alt.Chart(pl.DataFrame({"threshold": [threshold]})).mark_rule(color=INK, strokeDash=[5, 4])
    note = alt.Chart(pl.DataFrame({"threshold": [threshold], "text": [f"p = {alpha:g}"]})).mark_text(
        align="left", baseline="bottom", dx=4, dy=-4, color=INK
    )
    chart = (
        points
        + line.encode(y="threshold:Q")
        + note.encode(x=alt.value(WIDTH), y="threshold:Q", text="text:N").transform_calculate()
    ).properties(width=WIDTH, height=320)
    subtitle = (
        f"{flagged:,} of {tested:,} experiments ({flagged / tested:.1%}) have a chi-squared p below {alpha:g}: their "
        "traffic did not split as planned, so their lifts cannot be trusted."
        + (f" {undated:,} without a start are not shown." if undated else "")
    )
    return entitled(chart, "Did the traffic split as planned?", subtitle)


def _powers(most: float) -> list[int]:
    """About six whole powers of ten to label, spread evenly on a square-root scale up to `most`."""
    nice = (0, 1, 2, 3, 5, 10, 20, 30, 50, 75, 100, 150, 200, 250, 300)
    return [power for power in nice if power <= most and (power <= 10 or most < 12 * power)]


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
    values = frames.drop_incomplete(
        frames.take(frame, "p_value_histogram", {column: "number"}), "p_value_histogram", [column]
    )[column]
    if values.min() < 0 or values.max() > 1:  # type: ignore[operator]
        raise BadInput(f"p_value_histogram needs values from 0 to 1 in {column}; it has {values.min()} to {values.max()}.")
    counts = (values * bins).floor().clip(0, bins - 1).cast(pl.Int64).rename("bin").value_counts(name="count")
    bars = (
        pl.DataFrame({"bin": range(bins)}, schema={"bin": pl.Int64})
        .join(counts, on="bin", how="left")
        .with_columns(pl.col("count").fill_null(0), start=pl.col("bin") / bins, end=(pl.col("bin") + 1) / bins)
    )
    level = len(values) / bins
    histogram = (
        alt.Chart(bars)
        .mark_bar(binSpacing=1.5)
        .encode(
            x=alt.X("start:Q", bin="binned", title=f"p-value ({column})", axis=alt.Axis(format=".1f", tickCount=10)),
            x2="end:Q",
            y=alt.Y("count:Q", title=f"Tests per bin of {1 / bins:g}", axis=alt.Axis(format="~s", tickMinStep=1)),
            color=alt.condition(alt.datum.bin == 0, alt.value(BLUE), alt.value("#C4CBD3")),
        )
    )
    reference = pl.DataFrame({"level": [level], "text": ["level if nothing had an effect"], "at": [1.0]})
    line = alt.Chart(reference).mark_rule(color=INK, strokeDash=[5, 4]).encode(y="level:Q")
    note = (
        alt.Chart(reference)
        .mark_text(align="right", baseline="bottom", dy=-5, color=INK)
        .encode(x="at:Q", y="level:Q", text="text:N")
    )
    first = int(bars["count"][0])
    subtitle = (
        f"{first:,} of {len(values):,} tests ({first / len(values):.0%}) have p below {1 / bins:g}; about {level:,.0f} would "
        "if nothing had an effect. A peak at the left is signal; a slope towards 1 or bumps elsewhere mean a broken test."
    )
    chart = (histogram + line + note).properties(width=WIDTH, height=280)
    return entitled(chart, "How much signal is in these tests", subtitle)
