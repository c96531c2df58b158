"""One experiment in words: a verdict that follows from its numbers, with the reasons."""

from collections.abc import Mapping
from html import escape
from typing import Any, Literal

from pydantic import BaseModel

from neonblue_lab.insights.scorecard import METHODS, SAMPLE_RATIO_ALPHA, Scorecard, with_intervals
from neonblue_lab.metrics.definitions import Metric

Verdict = Literal["ship", "stop", "keep running", "no difference seen", "do not trust", "not enough data"]


class Readout(BaseModel):
    """What one experiment says.

    Attributes:
        verdict: the decision that the numbers support.
        variant_id: the variant to ship, where the verdict is to ship one.
        reasons: sentences, the weightiest first.
        recommendations: what to do next.
        primary_metric: the metric that the verdict is about.
        rows: comparisons as in a scorecard, adjusted within this experiment.
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


def readout(card: Scorecard, experiment: Mapping[str, Any], metrics: Mapping[str, Metric], crossovers: int) -> Readout:
    """Judge one experiment.

    Args:
        card: a scorecard of this experiment alone, with at least one check.
        experiment: its row of `experiments`.
        metrics: definitions by name; a metric without one counts as better when higher.
        crossovers: users that were seen in more than one variant.
    """
    rows = card.rows.to_dicts()
    checks = card.checks.to_dicts()
    measured: list[str] = [check["metric"] for check in checks]
    stated = experiment.get("primary_metric")
    primary: str = stated if stated in measured else min(measured, key=lambda m: ([*metrics, m].index(m), m))
    names = {v["variant_id"]: v["name"] or v["variant_id"] for v in experiment.get("variants") or []}
    sign = {m: -1 if m in metrics and metrics[m].better == "lower" else 1 for m in measured}
    verdict, variant, reasons, advice = _judge(rows, checks, primary, sign, names, experiment.get("status"), card.alpha)
    if stated is not None and stated not in measured:
        reasons.append(f"The stated primary metric {stated} has no data; {primary} stands in for it.")
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
        methods=METHODS | {"p_adjusted": "Benjamini-Hochberg over all comparisons of this experiment"},
    )


def _judge(
    rows: list[dict[str, Any]],
    checks: list[dict[str, Any]],
    primary: str,
    sign: Mapping[str, int],
    names: Mapping[str, str],
    status: str | None,
    alpha: float,
) -> tuple[Verdict, str | None, list[str], list[str]]:
    check = next(check for check in checks if check["metric"] == primary)
    if check["srm_p_value"] is not None and check["srm_p_value"] < SAMPLE_RATIO_ALPHA:
        reason = f"The split is not the one that was planned (sample-ratio p = {check['srm_p_value']:.2g})."
        return "do not trust", None, [reason], ["Find out where the split broke before reading any other number."]
    tested = [row for row in rows if row["metric"] == primary and row["p_adjusted"] is not None]
    if not tested:
        reason = f"No variant can be compared with the control on {primary}: too few units, or no variance is known."
        return "not enough data", None, [reason], ["Check that exposures and outcomes arrive for every variant."]
    best = max(tested, key=lambda row: sign[primary] * row["difference"])
    better = [r for r in tested if r["p_adjusted"] < alpha and sign[primary] * r["difference"] > 0]
    worse = [r for r in tested if r["p_adjusted"] < alpha and sign[primary] * r["difference"] < 0]
    if better:
        winner = max(better, key=lambda row: sign[primary] * row["difference"])
        harmed = [
            row
            for row in rows
            if row["variant_id"] == winner["variant_id"]
            and row["metric"] != primary
            and row["p_adjusted"] is not None
            and row["p_adjusted"] < alpha
            and sign[row["metric"]] * row["difference"] < 0
        ]
        reasons = [_sentence(winner, names, alpha)] + [_sentence(row, names, alpha) for row in harmed]
        if harmed:
            advice = (
                f"Weigh the gain on {primary} against {', '.join(row['metric'] for row in harmed)} before shipping."
            )
            return "stop", None, reasons, [advice]
        expected = "Expect less than the measured lift after roll-out: winners are picked for having measured high."
        return "ship", winner["variant_id"], reasons, [f"Roll out {_name(winner, names)}.", expected]
    if worse and len(worse) == len(tested):
        return "stop", None, [_sentence(row, names, alpha) for row in worse], ["Keep the control."]
    reasons = [_sentence(best, names, alpha)] + [_sentence(row, names, alpha) for row in worse]
    if status == "running":
        return "keep running", None, reasons, ["Let it run to its planned size; an early look is no reason to stop."]
    return "no difference seen", None, reasons, ["Keep the control, or test a bolder change with more users."]


def _name(row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    return names.get(row["variant_id"], row["variant_id"])


def _sentence(row: Mapping[str, Any], names: Mapping[str, str], alpha: float) -> str:
    name = _name(row, names)
    head = f"{name}: {row['metric']} {row['mean_variant']:.4g} against {row['mean_control']:.4g} of the control"
    if row["lift"] is None:
        return f"{head}."
    ends = (
        f", {1 - alpha:.0%} interval {row['lift_low']:+.1%} to {row['lift_high']:+.1%}"
        if row["lift_low"] is not None
        else ""
    )
    tail = f"; adjusted p = {row['p_adjusted']:.2g}" if row["p_adjusted"] is not None else ""
    return f"{head}, a lift of {row['lift']:+.1%}{ends}{tail}."
