"""What a prediction of an outcome says: probabilities, lifts, sizes, risks, and what it all rests on."""

from collections.abc import Sequence
from html import escape
from typing import Literal

import polars as pl
from pydantic import BaseModel

from neonblue_lab import facts
from neonblue_lab.insights.precedents import RiskFactor, SimilarExperiment, Suggestion
from neonblue_lab.metrics.outcome import BROKEN, RUNNING, UNKNOWN


class OutcomeProbability(BaseModel):
    """How likely an experiment is to end so, with the 95 % interval that the history allows."""

    outcome: str
    probability: float
    low: float
    high: float


class VariantPrediction(BaseModel):
    """One variant against the control.

    Attributes:
        expected_lift, lift_low, lift_high: relative change of the metric, 95 % interval.
        text_chance: probability that its text draws more than the control's, where a model of texts could tell.
    """

    variant: str
    chance_to_beat_control: float
    expected_lift: float
    lift_low: float
    lift_high: float
    text_chance: float | None


class Basis(BaseModel):
    """What an answer rests on.

    Attributes:
        experiments: finished ones with an outcome.
        outcomes: how many of them ended so.
        outcome_model: "base rates" or "configuration".
        predictor: artifact and version.
        prior: what the lifts to be expected were learned from, or that they were assumed.
        index: of similar experiments; None where none is published.
        data_version: that was read.
        notes: what a reader should know.
        methods: number -> method.
    """

    experiments: int
    outcomes: dict[str, int]
    outcome_model: Literal["base rates", "configuration"]
    predictor: str
    text_model: bool
    prior: str
    index: str | None
    data_version: str
    notes: list[str]
    methods: dict[str, str]

    def __str__(self) -> str:
        """What it rests on, in lines: a name and what is to be known of it, then the notes."""
        return "\n".join([facts.lines(self._facts), *self.notes])

    def _repr_html_(self) -> str:
        return facts.html(self._facts, below="\n".join(self.notes))

    @property
    def _facts(self) -> dict[str, str]:
        ended = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.items())
        return {
            "finished experiments": f"{self.experiments} ({ended})",
            "outcomes by": self.outcome_model,
            "lifts by": self.prior,
            "texts by": "a model of texts" if self.text_model else "no model of texts",
            "similar experiments by": self.index or "no index is published",
            "predictor": self.predictor,
            "data version": self.data_version.replace(",", ", "),
        }


class OutcomePrediction(BaseModel):
    """How an experiment may end, before it runs.

    Attributes:
        predicted_outcome: the likeliest.
        confidence: its probability.
        outcome_probabilities: of every outcome, with intervals.
        expected_lift, lift_low, lift_high: of the most promising variant.
        variants: one a variant.
        recommended_sample_size: units of all arms; None where nothing says what the metric is.
        estimated_duration: days; None where the traffic does not bring them within the forecast, or is not known.
        unlike_anything_seen: sentences; empty where the history has seen the like.
    """

    metric: str
    predicted_outcome: str
    confidence: float
    outcome_probabilities: list[OutcomeProbability]
    expected_lift: float
    lift_low: float
    lift_high: float
    variants: list[VariantPrediction]
    lift_to_find: float
    recommended_sample_size: int | None
    estimated_duration: int | None
    risk_factors: list[RiskFactor]
    unlike_anything_seen: list[str]
    optimization_suggestions: list[Suggestion]
    similar_experiments: list[SimilarExperiment]
    basis: Basis

    @property
    def probabilities_frame(self) -> pl.DataFrame:
        """Columns outcome, probability, low, high."""
        return pl.DataFrame([row.model_dump() for row in self.outcome_probabilities])

    @property
    def variants_frame(self) -> pl.DataFrame:
        """Columns variant, chance_to_beat_control, expected_lift, lift_low, lift_high, text_chance."""
        return pl.DataFrame([row.model_dump() for row in self.variants], schema_overrides={"text_chance": pl.Float64})

    def _repr_html_(self) -> str:
        parts = {
            "Risks": [risk.text for risk in self.risk_factors],
            "Unlike anything seen": self.unlike_anything_seen,
            "Worked before": [suggestion.text for suggestion in self.optimization_suggestions],
            "Similar experiments": [_ended(hit) for hit in self.similar_experiments],
            "What to know": [self._rests_on, *self.basis.notes],
        }
        listed = "".join(f"<p><b>{title}</b></p><ul>{_items(rows)}</ul>" for title, rows in parts.items() if rows)
        head, *figures = self._headline
        return f"<p><b>{escape(head)}</b></p><ul>{_items(figures)}</ul>{listed}"

    @property
    def _headline(self) -> list[str]:
        """The most likely outcome, each variant, and what it takes to find the lift: a sentence each."""
        chances = ", ".join(
            f"{row.outcome} {row.probability:.0%} ({row.low:.0%} to {row.high:.0%})"
            for row in self.outcome_probabilities
        )
        lines = [f"Most likely on {self.metric}: {self.predicted_outcome}. {chances}."]
        lines += [
            f"{row.variant}: beats the control with a chance of {row.chance_to_beat_control:.0%}, lift {row.expected_lift:+.1%} "
            f"({row.lift_low:+.1%} to {row.lift_high:+.1%})"
            for row in self.variants
        ]
        if self.recommended_sample_size is not None:
            time = "" if self.estimated_duration is None else f", about {self.estimated_duration} days"
            lines.append(f"To find {self.lift_to_find:+.1%} takes {self.recommended_sample_size:,} units{time}.")
        return lines

    @property
    def _rests_on(self) -> str:
        return f"From {self.basis.prior}; outcomes by {self.basis.outcome_model}."

    def __str__(self) -> str:
        """The prediction in a few lines."""
        lines = self._headline
        lines += [f"Risk: {risk.text}" for risk in self.risk_factors]
        lines += [f"Unlike anything seen: {sentence}" for sentence in self.unlike_anything_seen]
        lines += [f"Worked before: {suggestion.text}" for suggestion in self.optimization_suggestions]
        lines += [f"Similar: {_ended(hit)}" for hit in self.similar_experiments]
        return "\n".join([*lines, self._rests_on, *self.basis.notes])


def _ended(hit: SimilarExperiment) -> str:
    outcome = hit.outcome or UNKNOWN
    end = {RUNNING: "is running", BROKEN: "had a broken split", UNKNOWN: "has no known outcome"}.get(
        outcome, f"ended {outcome}"
    )
    return f"{hit.name or hit.experiment_id} {end} (similarity {hit.similarity:.2f})"


def _items(sentences: Sequence[str]) -> str:
    return "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
