"""How an experiment may end before it runs: from base rates, what beats them, the programme's prior, and similar experiments."""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from neonblue_lab.errors import NotFound
from neonblue_lab.insights.experiments import Experiments
from neonblue_lab.insights.planned import ExperimentConfig, PlannedVariant
from neonblue_lab.insights.precedents import broken_before, fading_before, similar, suggestions
from neonblue_lab.insights.predicted import Basis, OutcomePrediction, OutcomeProbability, VariantPrediction
from neonblue_lab.insights.sizing import Sizing, sizing
from neonblue_lab.knowledge.index import ExperimentIndex
from neonblue_lab.metrics.outcome import ALPHA, FLAT, LOSS, WIN
from neonblue_lab.models.outcome.history import OUTCOMES, configured
from neonblue_lab.models.outcome.lifts import ASSUMED_SPREAD, Lifts
from neonblue_lab.models.outcome.predictor import UNFAMILIAR_TEXT, OutcomePredictor
from neonblue_lab.models.outcome.report import FEWEST
from neonblue_lab.models.outcome.tabular import Floats

_MOST = 0.98
"""Probability of a clear outcome that no planned size lifts a prediction above."""

_EDGE = 1e-6
"""No model is surer than that."""

METHODS = {
    "outcome_probabilities": "base rates of finished experiments, or the model of the configuration where it has beaten them; "
    "a planned size multiplies win and loss by how much more likely a clear result is than at the usual size (assurance "
    "under the programme's prior); a model of texts moves odds between win and loss",
    "confidence": "95 % interval of the probability, as if counted on the past experiments that stand behind it (Jeffreys)",
    "chance_to_beat_control": "programme's prior of log lifts, its odds of a gain times those of the models",
    "expected_lift": "mean log lift under that prior, with its 95 % interval; nothing has been measured yet",
    "recommended_sample_size": "units of all arms with which the test finds the stated lift with the stated power; several "
    "variants share alpha (Bonferroni)",
    "estimated_duration": "days of traffic until there are so many, by the forecast of the lake's users",
}
"""What each number of a prediction was computed by."""


def predict_outcome(
    config: ExperimentConfig,
    experiments: Experiments,
    predictor: OutcomePredictor,
    *,
    predictor_name: str,
    index: ExperimentIndex | None = None,
    notes: Sequence[str] = (),
) -> OutcomePrediction:
    """Predict how a planned experiment will end.

    Args:
        config: as it is planned.
        experiments: the programme's past.
        predictor: of outcomes.
        predictor_name: artifact and version, for the answer.
        index: of past experiments' texts.
        notes: more that a reader should know.

    Raises:
        NotFound: the primary metric is not known.
        BadInput: a lift that the metric cannot have.
    """
    documents = experiments.documents()
    metric = config.primary_metric or _usual_metric(documents)
    experiments.check_metric(metric)
    row = configured(config.model_dump() | {"primary_metric": metric})
    size = sizing(config, experiments, metric)

    prior = experiments.priors.get(metric)
    lifts = Lifts.of(prior, experiments.sign(metric))
    chances = _text_chances(config, predictor)
    probability = predictor.probabilities(row)
    tilt = _tilt(probability, predictor)
    probability = _at_planned_size(probability, lifts, size, experiments, metric, len(config.variants) - 1)
    probability = _moved_by_texts(probability, [chance for chance in chances if chance is not None])
    variants = [
        _variant(planned, lifts.tilted(tilt + (_logit(chance) if chance is not None else 0.0)), chance)
        for planned, chance in zip(config.variants[1:], chances, strict=True)
    ]
    best = max(variants, key=lambda variant: variant.chance_to_beat_control)
    stated = _with_intervals(probability, predictor.support(row))
    likeliest = max(stated, key=lambda one: one.probability)
    unlike = [*predictor.familiarity.unlike(row), *_unlike_texts(config, predictor)]
    learned = (
        f"a prior of {metric} learned from {prior.experiments} comparisons"
        if prior is not None
        else f"an assumed prior of {metric} (log lifts normal about 0, standard deviation {ASSUMED_SPREAD:g}): too few finished"
    )
    return OutcomePrediction(
        metric=metric,
        predicted_outcome=likeliest.outcome,
        confidence=likeliest.probability,
        outcome_probabilities=stated,
        expected_lift=best.expected_lift,
        lift_low=best.lift_low,
        lift_high=best.lift_high,
        variants=variants,
        lift_to_find=config.lift,
        recommended_sample_size=size.recommended,
        estimated_duration=size.days,
        risk_factors=[
            *size.risks,
            *broken_before(documents, config.experiment_type, config.user_segment),
            *fading_before(documents, config.experiment_type, lambda ids: experiments.fading(metric, ids)),
        ],
        unlike_anything_seen=unlike,
        optimization_suggestions=suggestions(
            documents, experiments.shrunk(metric), metric, config.experiment_type, config.user_segment, config.industry
        ),
        similar_experiments=[] if index is None else similar(index, config.text),
        basis=Basis(
            experiments=predictor.experiments,
            outcomes=dict(zip(OUTCOMES, predictor.counts, strict=True)),
            outcome_model="base rates" if predictor.configuration is None else "configuration",
            predictor=predictor_name,
            text_model=any(chance is not None for chance in chances),
            prior=learned,
            index=None if index is None else f"{index.artifact.name}@{index.artifact.version}",
            data_version=experiments.data_version,
            notes=[*_too_little(predictor), *config.notes, *size.notes, *notes],
            methods=METHODS,
        ),
    )


def _usual_metric(documents: pl.DataFrame) -> str:
    counted = documents["metric"].drop_nulls().value_counts(name="experiments")
    if counted.is_empty():
        raise NotFound(
            "No experiment has been measured yet, so that no metric is the usual one: state `primary_metric`."
        )
    return str(counted.sort("experiments", "metric", descending=[True, False])["metric"][0])


def _text_chances(config: ExperimentConfig, predictor: OutcomePredictor) -> list[float | None]:
    """Of variants that differ from the control in nothing but their name: that is what the model of texts has seen."""
    control, *variants = config.variants
    same = [
        bool(one.name and control.name and one.name != control.name and one.description == control.description)
        for one in variants
    ]
    chances = predictor.text_chances(control.name or "", [one.name or "" for one in variants])
    if chances is None:
        return [None] * len(variants)
    return [float(chance) if alike else None for chance, alike in zip(chances, same, strict=True)]


def _unlike_texts(config: ExperimentConfig, predictor: OutcomePredictor) -> list[str]:
    texts = [variant.name for variant in config.variants if variant.name]
    if predictor.texts is None or not texts:
        return []
    novelty = predictor.texts.novelty(texts)
    return [
        f"The text {text!r} is more unlike past texts than {share:.0%} of them are to each other."
        for text, share in zip(texts, novelty.tolist(), strict=True)
        if share >= UNFAMILIAR_TEXT
    ]


def _tilt(probability: Floats, predictor: OutcomePredictor) -> float:
    """Log odds of win against loss beyond the base rates': what the model of the configuration knows of the direction."""
    if predictor.configuration is None:
        return 0.0
    base, win, loss = predictor.base, OUTCOMES.index(WIN), OUTCOMES.index(LOSS)
    return float(np.log(probability[win] / probability[loss]) - np.log(base[win] / base[loss]))


def _at_planned_size(
    probability: Floats, lifts: Lifts, size: Sizing, experiments: Experiments, metric: str, compared: int
) -> Floats:
    planned, usual = size.standard_error, experiments.shrunk(metric)["standard_error"].median()
    if planned is None or usual is None:
        return probability
    then = lifts.assurance(planned, alpha=ALPHA / compared)
    before = lifts.assurance(float(usual), alpha=ALPHA)  # type: ignore[arg-type]
    win, loss = (
        probability[OUTCOMES.index(outcome)] * ratio
        for outcome, ratio in ((WIN, then[0] / before[0]), (LOSS, then[1] / before[1]))
    )
    shrink = min(1.0, _MOST / (win + loss))
    return _probabilities(win * shrink, loss * shrink)


def _moved_by_texts(probability: Floats, chances: list[float]) -> Floats:
    """The best of the variants' texts moves odds between win and loss; how often an experiment ends clearly stays."""
    if not chances:
        return probability
    win, loss = (probability[OUTCOMES.index(outcome)] for outcome in (WIN, LOSS))
    step = np.exp(_logit(max(chances)) / 2)
    moved = np.array([win * step, loss / step]) * (win + loss) / (win * step + loss / step)
    return _probabilities(*moved)


def _probabilities(win: float, loss: float) -> Floats:
    named = {WIN: win, LOSS: loss, FLAT: 1 - win - loss}
    return np.array([named[outcome] for outcome in OUTCOMES])


def _with_intervals(probability: Floats, support: int) -> list[OutcomeProbability]:
    from scipy.stats import beta

    low, high = (
        beta.ppf(end, probability * support + 0.5, (1 - probability) * support + 0.5) for end in (0.025, 0.975)
    )
    rows = zip(OUTCOMES, probability.tolist(), low.tolist(), high.tolist(), strict=True)
    return [OutcomeProbability(outcome=o, probability=p, low=lo, high=hi) for o, p, lo, hi in rows]


def _variant(planned: PlannedVariant, lifts: Lifts, chance: float | None) -> VariantPrediction:
    low, high = lifts.interval()
    return VariantPrediction(
        variant=planned.name or planned.variant_id or "variant",
        chance_to_beat_control=lifts.chance_to_beat,
        expected_lift=lifts.expected(),
        lift_low=low,
        lift_high=high,
        text_chance=chance,
    )


def _too_little(predictor: OutcomePredictor) -> list[str]:
    if predictor.experiments < FEWEST:
        return [
            f"Only {predictor.experiments} finished experiments have an outcome: these are base rates, and their intervals are "
            "wide."
        ]
    if predictor.configuration is None:
        return [
            "The configuration was not shown to tell more than base rates do: outcomes are the programme's base rates."
        ]
    return []


def _logit(chance: float) -> float:
    inside = min(max(chance, _EDGE), 1 - _EDGE)
    return math.log(inside / (1 - inside))
