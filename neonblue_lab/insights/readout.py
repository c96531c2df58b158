"""One experiment in words: a verdict that follows from its numbers, with the reasons."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import BaseModel

from neonblue_lab.insights.evidence import METHODS as EVIDENCE_METHODS
from neonblue_lab.insights.scorecard import METHODS, SAMPLE_RATIO_ALPHA, Scorecard, with_intervals
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.stats.multiplicity import benjamini_hochberg

Verdict = Literal["ship", "stop", "keep running", "no difference seen", "do not trust", "not enough data"]


class Readout(BaseModel):
    """What one experiment says.

    Attributes:
        verdict: the decision that the numbers support.
        variant_id: the variant to ship, where the verdict is to ship one.
        reasons: sentences, the weightiest first.
        recommendations: what to do next.
        primary_metric: the metric that the verdict is about.
        rows: comparisons as in a scorecard, with the columns of `evidence.EVIDENCE_SCHEMA`, intervals as pairs (`lift_ci`). `p_adjusted` counts the primary
            metric's comparisons as one family, as the verdict is about them, and all others as another;
            `always_p_adjusted` likewise, of the always-valid p-values.
        checks: as in a scorecard.
        crossovers: users seen in more than one variant; no number counts them.
        methods: number -> method.
    """

    experiment_id: str
    name: str | None
    status: str | None
    data_version: str
    verdict: Verdict
    variant_id: str | None
    reasons: list[str]
    recommendations: list[str]
    primary_metric: str
    alpha: float
    rows: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    crossovers: int
    methods: dict[str, str]

    def to_polars(self) -> pl.DataFrame:
        """The comparisons as a frame, an interval as a list of its two ends; `.to_arrow()` of it is Arrow."""
        return pl.DataFrame(self.rows, infer_schema_length=None)

    def __str__(self) -> str:
        """The verdict with its reasons, in lines."""
        lines = [f"{self.experiment_id}  {self.name or ''}".rstrip(), f"Verdict: {self.verdict}"]
        lines += [f"  {reason}" for reason in self.reasons]
        return "\n".join(lines + [f"Next: {advice}" for advice in self.recommendations])

    def _repr_html_(self) -> str:
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in self.reasons)
        advice = "".join(f"<li>{escape(sentence)}</li>" for sentence in self.recommendations)
        return (
            f"<h3 style='margin-bottom:0'>{escape(self.name or self.experiment_id)}</h3>"
            f"<p style='margin-top:0;opacity:.7'>{escape(self.experiment_id)} · {escape(self.status or 'status unknown')} · "
            f"{escape(self.primary_metric)}</p><p><b>Verdict: {escape(self.verdict)}</b></p><ul>{reasons}</ul>"
            f"<p>Next</p><ul>{advice}</ul>"
        )


def readout(
    card: Scorecard,
    found: pl.DataFrame,
    experiment: Mapping[str, Any],
    metrics: Mapping[str, Metric],
    crossovers: int,
) -> Readout:
    """Judge one experiment.

    Args:
        card: a scorecard of this experiment alone, with at least one check.
        found: what `evidence.evidence` says of its comparisons.
        experiment: its row of `experiments`.
        metrics: definitions by name; a metric without one counts as better when higher.
        crossovers: users that were seen in more than one variant.
    """
    checks = card.checks.to_dicts()
    measured: list[str] = [check["metric"] for check in checks]
    stated = experiment.get("primary_metric")
    primary = primary_metric(stated, measured, metrics)
    known = card.rows.join(found, on=["experiment_id", "metric", "variant_id"], how="left", maintain_order="left")
    families = {experiment["experiment_id"]: primary}
    rows = adjusted_within(adjusted_within(known, families), families, of="always_p_value").to_dicts()
    variants = experiment.get("variants") or []
    names = {variant["variant_id"]: variant["name"] or variant["variant_id"] for variant in variants}
    sign = {m: -1 if m in metrics and metrics[m].better == "lower" else 1 for m in measured}
    planned = all(variant["allocation"] is not None for variant in variants)
    verdict, variant, reasons, advice = _judge(
        rows, checks, primary, sign, names, experiment.get("status"), planned, card.alpha
    )
    if verdict == "ship":
        open_questions = [row for row in rows if row["variant_id"] == variant and _may_harm(row, card.alpha)]
        if open_questions:
            verdict, variant = "keep running" if experiment.get("status") == "running" else "not enough data", None
            reasons += [_not_ruled_out(row, metrics[row["metric"]]) for row in open_questions]
            named = ", ".join(dict.fromkeys(row["metric"] for row in open_questions))
            advice = [f"More users would tell whether {named} stays within its margin: that comes before shipping."]
    if stated is not None and stated not in measured:
        reasons.append(f"The stated primary metric {stated} has no data; {primary} stands in for it.")
    for row in card.unknown_variants.iter_rows(named=True):
        reasons.append(
            f"Variant {row['variant_id']} is not in the definition: its {row['n']:,} units are in no number."
        )
    if crossovers:
        reasons.append(f"{crossovers:,} users were seen in more than one variant and are left out of every number.")
    return Readout(
        experiment_id=experiment["experiment_id"],
        name=experiment.get("name"),
        status=experiment.get("status"),
        data_version=card.data_version,
        verdict=verdict,
        variant_id=variant,
        reasons=reasons,
        recommendations=advice,
        primary_metric=primary,
        alpha=card.alpha,
        rows=[with_intervals(row) for row in rows],
        checks=checks,
        crossovers=crossovers,
        methods=METHODS
        | EVIDENCE_METHODS
        | dict.fromkeys(
            ("p_adjusted", "always_p_adjusted"),
            "Benjamini-Hochberg over the comparisons on the primary metric; likewise over all others",
        ),
    )


def primary_metric(stated: str | None, measured: Sequence[str], metrics: Mapping[str, Metric]) -> str:
    """The metric that an experiment is judged by: the stated one if it was measured, else the first of `metrics` that was."""
    return (
        stated
        if stated is not None and stated in measured
        else min(measured, key=lambda m: ([*metrics, m].index(m), m))
    )


def adjusted_within(rows: pl.DataFrame, primary: Mapping[str, str], of: str = "p_value") -> pl.DataFrame:
    """Rows of a scorecard with p-values adjusted within each experiment, in two families: its primary metric's comparisons,
    and all others.

    Args:
        rows: as of a scorecard.
        primary: experiment -> its primary metric.
        of: the column of p-values; `<name>_value` is adjusted to `<name>_adjusted`.
    """
    metric = pl.col("experiment_id").replace_strict(primary, return_dtype=pl.String)
    families = rows.select(pl.struct("experiment_id", pl.col("metric") == metric).rank("dense") - 1).to_series()
    adjusted = benjamini_hochberg(rows[of].fill_null(np.nan).to_numpy(), families.to_numpy())
    return rows.with_columns(pl.Series(of.replace("_value", "_adjusted"), adjusted, nan_to_null=True))


def _judge(
    rows: list[dict[str, Any]],
    checks: list[dict[str, Any]],
    primary: str,
    sign: Mapping[str, int],
    names: Mapping[str, str],
    status: str | None,
    planned: bool,
    alpha: float,
) -> tuple[Verdict, str | None, list[str], list[str]]:
    check = next(check for check in checks if check["metric"] == primary)
    if check["srm_p_value"] is not None and check["srm_p_value"] < SAMPLE_RATIO_ALPHA:
        against = "the planned one" if planned else "an equal one, and no other plan is stated"
        reason = f"The split is not {against} (sample-ratio p = {check['srm_p_value']:.2g})."
        return "do not trust", None, [reason], ["Find out where the split broke before reading any other number."]
    tested = [row for row in rows if row["metric"] == primary and row["p_adjusted"] is not None]
    if not tested:
        reason = (
            f"No variant can be compared with the control on {primary}: too few units, all alike, or no variance known."
        )
        return "not enough data", None, [reason], ["Check that exposures and outcomes arrive for every variant."]
    gain = {row["variant_id"]: sign[primary] * row["difference"] for row in tested}
    # An experiment that runs is looked at again and again: only what may be read any day decides it.
    decisive = "always_p_adjusted" if status == "running" else "p_adjusted"
    clear = [row for row in tested if row[decisive] is not None and row[decisive] < alpha]
    better = sorted((row for row in clear if gain[row["variant_id"]] > 0), key=lambda row: -gain[row["variant_id"]])
    worse = [row for row in clear if gain[row["variant_id"]] < 0]
    harm = {row["variant_id"]: _harm(row, rows, sign, alpha) for row in better}
    if winner := next((row for row in better if not harm[row["variant_id"]]), None):
        passed_over = better[: better.index(winner)]
        said = [winner, *(found for row in passed_over for found in [row, *harm[row["variant_id"]]])]
        advice = [f"Roll out {_name(winner, names)}.", _expected(winner)]
        reasons = [_sentence(row, names, alpha) for row in said]
        if status == "running":
            reasons.append(_any_day(winner, alpha))
        return "ship", winner["variant_id"], reasons, advice
    if better:
        said = [found for row in better for found in [row, *harm[row["variant_id"]]]]
        harmed = dict.fromkeys(row["metric"] for row in said if row["metric"] != primary)
        advice = [f"Weigh the gain on {primary} against {', '.join(harmed)} before shipping."]
        return "stop", None, [_sentence(row, names, alpha) for row in said], advice
    reasons = [_sentence(row, names, alpha) for row in sorted(tested, key=lambda row: -gain[row["variant_id"]])]
    reasons += [_sentence(row, names, alpha) for tried in tested for row in _harm(tried, rows, sign, alpha)]
    if worse and (len(worse) == len(tested) or status != "running"):
        return "stop", None, reasons, ["Keep the control."]
    if worse:
        return (
            "keep running",
            None,
            reasons,
            [f"Take {', '.join(_name(row, names) for row in worse)} out; let the rest run."],
        )
    if status == "running":
        advice = ["Let it run to its planned size; an early look is no reason to stop."]
        if any(row["p_adjusted"] < alpha for row in tested):
            advice = [
                "Let it run to its planned end: of tests that are read again and again, many look won once that are not."
            ]
        return "keep running", None, reasons, advice
    return (
        "no difference seen",
        None,
        reasons,
        [f"Keep the control, or test a bolder change with more users.{_missed(tested)}"],
    )


def _may_harm(row: Mapping[str, Any], alpha: float) -> bool:
    """Whether a metric with a margin may lose more than it."""
    return row["noninferiority_p_value"] is not None and row["noninferiority_p_value"] >= alpha


def _not_ruled_out(row: Mapping[str, Any], metric: Metric) -> str:
    return (
        f"{row['metric']} may get worse by more than the {metric.margin:.1%} that its margin allows: as bad as "
        f"{row['worst_change']:+.1%} is not ruled out (non-inferiority p = {row['noninferiority_p_value']:.2g})."
    )


def _any_day(row: Mapping[str, Any], alpha: float) -> str:
    """Why an experiment that runs may be decided now."""
    low, high = row["always_low"], row["always_high"]
    interval = "" if low is None else f" {1 - alpha:.0%} interval {low:+.1%} to {high:+.1%},"
    return (
        f"This may be decided before the planned end: always-valid{interval} p = {row['always_p_adjusted']:.2g}, which hold however "
        "often they are looked at."
    )


def _expected(winner: Mapping[str, Any]) -> str:
    """What to expect of a winner after roll-out."""
    if winner["shrunk_lift"] is None:
        return "Expect less than the measured lift after roll-out: winners are picked for having measured high."
    low, high = winner["shrunk_low"], winner["shrunk_high"]
    return (
        f"Expect a lift of {winner['shrunk_lift']:+.1%} ({low:+.1%} to {high:+.1%}) after roll-out, not the measured one: winners "
        "are picked for having measured high, and this is what the programme's past makes of it."
    )


def _missed(tested: Sequence[Mapping[str, Any]]) -> str:
    """What could not have been seen with so many users."""
    smallest = min((row["detectable_lift"] for row in tested if row["detectable_lift"] is not None), default=None)
    return (
        "" if smallest is None else f" Lifts below {smallest:.1%} would mostly have been missed with the users it had."
    )


def _harm(
    winner: Mapping[str, Any], rows: list[dict[str, Any]], sign: Mapping[str, int], alpha: float
) -> list[dict[str, Any]]:
    """The comparisons on other metrics that a better variant clearly makes worse."""
    return [
        row
        for row in rows
        if row["variant_id"] == winner["variant_id"]
        and row["metric"] != winner["metric"]
        and row["p_adjusted"] is not None
        and row["p_adjusted"] < alpha
        and sign[row["metric"]] * row["difference"] < 0
    ]


def _name(row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    return names.get(row["variant_id"], row["variant_id"])


def _sentence(row: Mapping[str, Any], names: Mapping[str, str], alpha: float) -> str:
    """A comparison in words: its lift, or the difference where the control mean is not positive and a lift misleads."""
    number, form, what = (
        ("lift", "+.1%", "a lift") if row["mean_control"] > 0 else ("difference", "+.4g", "a difference")
    )
    value, low, high = (row[name] for name in (number, f"{number}_low", f"{number}_high"))
    interval = "" if low is None else f", unadjusted {1 - alpha:.0%} interval {low:{form}} to {high:{form}}"
    p_value = "" if row["p_adjusted"] is None else f"; p = {row['p_adjusted']:.2g}, adjusted within the experiment"
    return (
        f"{_name(row, names)}: {row['metric']} {row['mean_variant']:.4g} against {row['mean_control']:.4g} of the control, "
        f"{what} of {value:{form}}{interval}{p_value}."
    )
