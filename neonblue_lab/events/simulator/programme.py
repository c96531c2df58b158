"""The simulated programme: which experiments run when, on how much traffic, and what is true of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neonblue_lab.events.simulator.catalogue import AUDIENCES, IDEAS, INDUSTRIES, Idea

CONVERSION, REVENUE, PAGE_LOAD = "conversion", "revenue_per_user", "page_load_ms"
AB, AA, BROKEN_SPLIT = "a/b", "a/a", "broken_split"
PRICING = "pricing"

AA_SHARE = 0.15
STRONG_SHARE = 0.25
BROKEN_KEEPS = 0.6
"""Share of the exposures that reach the log in the last variant of the experiment whose split is broken."""


@dataclass(frozen=True)
class Variant:
    """One arm. Lifts are relative to the control, which has none.

    Attributes:
        conversion_lift: on the probability that a user converts.
        value_lift: on the value of each purchase.
        load_lift: on the mean page load time.
        logged: share of its exposures that are logged.
    """

    variant_id: str
    name: str
    description: str
    allocation: float
    conversion_lift: float = 0.0
    value_lift: float = 0.0
    load_lift: float = 0.0
    logged: float = 1.0

    @property
    def lifts(self) -> dict[str, float]:
        """Metric -> true lift of its population mean."""
        revenue = (1 + self.conversion_lift) * (1 + self.value_lift) - 1
        return {CONVERSION: self.conversion_lift, REVENUE: revenue, PAGE_LOAD: self.load_lift}


@dataclass(frozen=True)
class Experiment:
    """One experiment, running from the beginning of day `start` to the beginning of day `end`, counted from day 0.

    Attributes:
        weight: its share of traffic relative to the others'.
        load_ms: mean page load time of the control.
    """

    experiment_id: str
    kind: str
    idea: Idea
    name: str
    industry: str
    user_segment: str
    variants: tuple[Variant, ...]
    start: int
    end: int
    weight: float
    load_ms: float

    @property
    def primary_metric(self) -> str:
        return REVENUE if self.idea.experiment_type == PRICING else CONVERSION


@dataclass(frozen=True)
class Programme:
    """All experiments; arms are also numbered through, experiment after experiment."""

    experiments: tuple[Experiment, ...]

    @cached_property
    def arms(self) -> tuple[Variant, ...]:
        return tuple(variant for experiment in self.experiments for variant in experiment.variants)

    @cached_property
    def first_arm(self) -> NDArray[np.int64]:
        """For each experiment, the number of its control."""
        return np.cumsum([0] + [len(experiment.variants) for experiment in self.experiments])[:-1]


def plan_programme(rng: np.random.Generator, experiments: int, days: int, prefix: str) -> Programme:
    """Draw a programme of `experiments` over `days` days.

    About 15 % are A/A tests and exactly one has a broken split. Of the rest, a quarter has strong effects (15 to 30 %,
    two in three of them for the better) and draws more traffic; the others' lifts are normal with a standard deviation
    of 2.5 %: most ideas do next to nothing (Kohavi, Tang & Xu 2020, ch. 1).
    """
    kinds = _kinds(rng, experiments)
    tested = np.flatnonzero(kinds == AB)
    strong = set(rng.choice(tested, max(1, round(STRONG_SHARE * tested.size)), replace=False).tolist())
    starts = np.round(np.linspace(0, max(0, days - 11), experiments)).astype(int)
    shortest = -(-days // experiments)  # at least one runs at any time
    ideas = np.concatenate([rng.permutation(len(IDEAS)) for _ in range(-(-experiments // len(IDEAS)))])
    return Programme(
        tuple(
            _experiment(
                rng,
                experiment_id=f"{prefix}-exp-{number + 1:03d}",
                kind=str(kinds[number]),
                strong=number in strong,
                idea=IDEAS[ideas[number]],
                start=int(starts[number]),
                shortest=shortest,
            )
            for number in range(experiments)
        )
    )


def _kinds(rng: np.random.Generator, experiments: int) -> NDArray[np.str_]:
    same = max(1, round(AA_SHARE * experiments))
    return rng.permutation([BROKEN_SPLIT] + [AA] * same + [AB] * (experiments - same - 1))


def _experiment(
    rng: np.random.Generator, *, experiment_id: str, kind: str, strong: bool, idea: Idea, start: int, shortest: int
) -> Experiment:
    industry, audience = str(rng.choice(INDUSTRIES)), str(rng.choice(AUDIENCES))
    variants = _variants(rng, kind, strong, idea)
    subject = f"A/A check of {idea.name.lower()}" if kind == AA else idea.name
    return Experiment(
        experiment_id=experiment_id,
        kind=kind,
        idea=idea,
        name=f"{subject} for {audience} in {industry}",
        industry=industry,
        user_segment=audience,
        variants=variants,
        start=start,
        end=start + max(shortest, int(rng.choice([14, 21, 28], p=[0.5, 0.4, 0.1]))),
        weight=float(rng.uniform(0.5, 1.5)) * (8 if strong else 4 if kind == BROKEN_SPLIT else 1),
        load_ms=float(rng.uniform(600, 1800)),
    )


def _variants(rng: np.random.Generator, kind: str, strong: bool, idea: Idea) -> tuple[Variant, ...]:
    if kind == AA:
        treatments: tuple[tuple[str, str], ...] = (("Same as control", idea.control),)
    elif kind == BROKEN_SPLIT:
        treatments = idea.treatments[:1]
    else:
        treatments = idea.treatments[: int(rng.integers(1, len(idea.treatments) + 1))]
    allocations = _allocations(rng, 1 + len(treatments), equal=strong or kind != AB)
    arms = [Variant("control", "Control", idea.control, allocations[0])]
    for number, (name, description) in enumerate(treatments):
        conversion, value, load = (0.0, 0.0, 0.0) if kind == AA else _lifts(rng, strong and number == 0, idea)
        arms.append(
            Variant(
                variant_id=f"variant-{chr(ord('a') + number)}",
                name=name,
                description=description,
                allocation=allocations[number + 1],
                conversion_lift=conversion,
                value_lift=value,
                load_lift=load,
                logged=BROKEN_KEEPS if kind == BROKEN_SPLIT else 1.0,
            )
        )
    return tuple(arms)


def _allocations(rng: np.random.Generator, arms: int, *, equal: bool) -> list[float]:
    """Equal shares in four cases of five; else the control gets more."""
    if equal or rng.random() < 0.8:
        return [1 / arms] * arms
    control = float(rng.choice([0.6, 0.7]))
    return [control] + [(1 - control) / (arms - 1)] * (arms - 1)


def _lifts(rng: np.random.Generator, strong: bool, idea: Idea) -> tuple[float, float, float]:
    """(conversion, purchase value, page load) lifts of one treatment; strong pricing ideas act on the value."""
    conversion, value = np.clip(rng.normal(0, 0.025, 2), -0.1, 0.1)
    load = rng.normal(0, 0.02)
    if strong:
        effect = rng.uniform(0.15, 0.3) * rng.choice([1, 1, -1])
        conversion, value = (conversion, effect) if idea.experiment_type == PRICING else (effect, value)
    return round(float(conversion), 4), round(float(value), 4), round(float(load), 4)
