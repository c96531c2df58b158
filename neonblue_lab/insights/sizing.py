"""How many units and days a planned experiment takes, and whether what is planned suffices."""

import math
from dataclasses import dataclass

import numpy as np

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.insights.experiments import Experiments
from neonblue_lab.insights.planned import ExperimentConfig
from neonblue_lab.insights.planning import WEEK, Plan
from neonblue_lab.insights.precedents import RiskFactor
from neonblue_lab.metrics.outcome import ALPHA
from neonblue_lab.stats.power import Baseline, Design, sample_size
from neonblue_lab.stats.power import power as power_of

LONG = 8 * WEEK
"""Days beyond which an experiment is called long: users delete cookies, and seasons change."""

NOTABLE = 1.05
"""Times as many units as an even split takes, from which on a split is called uneven."""


@dataclass(frozen=True)
class Sizing:
    """What a planned experiment takes.

    Attributes:
        recommended: units of all arms that find the lift with the power asked for; None where no past says what the metric is.
        days: of traffic until they are there; None where the forecast ends before, or there is none.
        planned: units that are planned, as stated or as the planned days bring; None where neither is.
        standard_error: of the log lift of the smallest variant, with the planned units; None without them.
        risks: what is wrong with the plan.
        notes: why a number is missing.
    """

    recommended: int | None
    days: int | None
    planned: float | None
    standard_error: float | None
    risks: tuple[RiskFactor, ...]
    notes: tuple[str, ...]


def sizing(config: ExperimentConfig, experiments: Experiments, metric: str) -> Sizing:
    """What a configuration takes on a metric, from the latest past experiments and the lake's traffic.

    Raises:
        BadInput: a lift that the metric cannot have.
    """
    try:
        baseline = experiments.baseline(metric)
    except NotFound as error:
        return Sizing(None, None, None, None, (), (str(error),))
    shares, compared = config.shares, len(config.variants) - 1
    design = Design(alpha=ALPHA / compared)
    needed = sample_size(baseline, effect=config.lift * float(baseline.value), power=config.power, design=design)
    # As many units as an even split needs, times what the uneven one adds to the variance of its worst comparison.
    worst = max((1 / shares[0] + 1 / share) / (2 * len(shares)) for share in shares[1:])
    recommended = math.ceil(float(needed.control) * len(shares) * worst)
    risks, notes = [], []
    if worst > NOTABLE:
        risks.append(
            RiskFactor(kind="uneven split", text=f"The split takes {worst - 1:.0%} more units than an even one.")
        )
    days, planned = None, None if config.planned_size is None else float(config.planned_size)
    try:
        plan = experiments.plan(
            metric, lift=config.lift, power=config.power, alpha=ALPHA, variants=compared, share=config.share
        )
    except (BadInput, NotFound) as error:
        notes.append(f"How long it takes is not known: {error}")
    else:
        days = _days(plan, recommended)
        risks += _too_long(config, plan, days)
        if planned is None and config.planned_days is not None:
            planned, cut_short = _brought(plan, config.planned_days)
            notes += cut_short
    if planned is not None and planned < recommended:
        pair = planned * (shares[0] + min(shares[1:]))
        uneven = Design(alpha=design.alpha, ratio=min(shares[1:]) / shares[0])
        reached = float(power_of(baseline, effect=config.lift * float(baseline.value), n=pair, design=uneven))
        risks.append(
            RiskFactor(
                kind="low power",
                text=f"With {planned:,.0f} units a lift of {config.lift:+.1%} is found with a power of {reached:.0%} only; "
                f"{config.power:.0%} takes {recommended:,}.",
            )
        )
    error_of = None if planned is None else _standard_error(baseline, planned, shares)
    return Sizing(recommended, days, planned, error_of, tuple(risks), tuple(notes))


def _days(plan: Plan, units: int) -> int | None:
    enough = np.flatnonzero(plan.by_day["units"].to_numpy() >= units)
    return int(enough[0]) + 1 if enough.size else None


def _too_long(config: ExperimentConfig, plan: Plan, days: int | None) -> list[RiskFactor]:
    if days is not None and days <= LONG:
        return []
    time = f"more than the {plan.by_day.height} days that traffic is forecast for" if days is None else f"{days} days"
    return [
        RiskFactor(kind="long", text=f"Finding {config.lift:+.1%} with a power of {config.power:.0%} takes {time}.")
    ]


def _brought(plan: Plan, days: int) -> tuple[float, list[str]]:
    """Units that so many days bring, and a note where the forecast ends before."""
    known = min(days, plan.by_day.height)
    units = float(plan.by_day["units"][known - 1])
    if known == days:
        return units, []
    return units, [f"Traffic is forecast for {known} days: the planned size is that of these."]


def _standard_error(baseline: Baseline, units: float, shares: tuple[float, ...]) -> float | None:
    value = float(baseline.value)
    if value == 0:
        return None
    of_unit = float(baseline.variance * baseline.variance_factor) / value**2
    return math.sqrt(of_unit * (1 / shares[0] + 1 / min(shares[1:])) / units)
