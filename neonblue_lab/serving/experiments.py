"""Tools about experiments: which there are, and what one of them says."""

from datetime import datetime
from typing import Annotated, Any

import polars as pl
from pydantic import BaseModel, Field

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.insights.readout import Readout, Verdict
from neonblue_lab.insights.scorecard import SAMPLE_RATIO_ALPHA
from neonblue_lab.lab import Lab
from neonblue_lab.serving.answer import Answer, ArtifactUsed
from neonblue_lab.serving.neighbours import Neighbour, neighbour, outcomes

SIMILAR = 5
_SEARCHED = ("experiment_id", "name", "hypothesis", "experiment_type", "industry", "user_segment")

Interval = tuple[float | None, float | None]


class Variant(BaseModel):
    """A variant as it was defined."""

    variant_id: str
    name: str | None
    description: str | None
    allocation: float | None


class Summary(BaseModel):
    """An experiment in a list."""

    experiment_id: str
    name: str | None
    hypothesis: str | None
    experiment_type: str | None
    industry: str | None
    user_segment: str | None
    status: str | None
    primary_metric: str | None
    started_at: datetime | None
    ended_at: datetime | None


class Experiment(Summary):
    """An experiment as it was defined. The first variant is the control."""

    variants: list[Variant]
    derived: list[str] = Field(description="Fields that the source did not state and a rule filled in.")

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Experiment":
        """From a row of the lake's `experiments`."""
        lists = {"variants": row["variants"] or [], "derived": row["derived"] or []}
        return cls.model_validate(row | lists)


class ExperimentList(Answer):
    """A page of experiments, the newest first."""

    experiments: list[Summary] = Field(description="Without variants: experiment://{experiment_id} has them.")
    total: int = Field(description="How many match; the page holds some of them.")
    next_offset: int | None = Field(description="Offset of the next page; null on the last.")


class Comparison(BaseModel):
    """A variant against its control on one metric."""

    metric: str
    kind: str
    variant_id: str
    control_id: str
    n_control: int
    n_variant: int
    mean_control: float | None
    mean_variant: float | None
    difference: float | None
    difference_ci: Interval
    lift: float | None = Field(description="Relative difference: 0.02 is +2 %.")
    lift_ci: Interval
    p_value: float | None = Field(description="Two-sided, of the absolute difference.")
    p_adjusted: float | None
    always_ci: Interval = Field(description="Of the lift, always-valid: holds however often it is looked at.")
    always_p_value: float | None = Field(description="The same of the difference.")
    cuped_gain: float | None = Field(description="Share of the variance that CUPED removes; null without a covariate.")
    cuped_difference: float | None
    cuped_ci: Interval
    chance_to_beat: float | None = Field(description="Posterior probability that the variant is better.")
    expected_loss: float | None = Field(description="What shipping it costs where it is worse, in units of the metric.")
    shrunk_lift: float | None = Field(description="Lift to expect after roll-out: corrected by the programme's past.")
    shrunk_ci: Interval
    false_sign_rate: float | None = Field(description="Probability that the likelier direction is wrong.")
    detectable_lift: float | None = Field(description="Lift found with 80 % power, with the units so far.")


class Significance(BaseModel):
    """Whether a variant differs from its control on the primary metric."""

    variant_id: str
    p_value: float | None
    p_adjusted: float | None
    significant: bool | None = Field(description="The adjusted p-value is below alpha; null where there is none.")


class ConfidenceInterval(BaseModel):
    """How large a variant's effect on the primary metric may be."""

    variant_id: str
    confidence_level: float
    difference: float | None
    difference_ci: Interval
    lift: float | None
    lift_ci: Interval


class SampleRatioCheck(BaseModel):
    """Whether users were split as planned. Where they were not, no other number can be trusted."""

    p_value: float | None = Field(
        description="Chi-squared test against the planned allocation; null where not testable."
    )
    threshold: float
    passed: bool | None


class SimilarExperiments(BaseModel):
    """What experiments of similar text came to."""

    experiments: list[Neighbour]
    insights: list[str] = Field(description="Sentences; where the experiments are missing, why, and what to do.")


class ExperimentPerformance(Answer):
    """What one experiment says, with the numbers behind it."""

    experiment: Experiment
    verdict: Verdict
    variant_to_ship: str | None
    reasons: list[str]
    primary_metric: str
    statistical_significance: list[Significance]
    confidence_interval: list[ConfidenceInterval]
    sample_ratio: SampleRatioCheck
    rows: list[Comparison] = Field(description="Every variant on every metric.")
    crossovers: int = Field(description="Users seen in more than one variant; no number counts them.")
    recommendations: list[str]
    similar_experiment_insights: SimilarExperiments
    methods: dict[str, str]


def list_experiments(
    lab: Lab,
    status: Annotated[str | None, Field(description="Only this status: draft, running or finished.")] = None,
    query: Annotated[
        str | None,
        Field(
            description="Only experiments whose id, name, hypothesis, type, industry or segment hold all of these words. "
            "For a search by meaning use semantic_experiment_search."
        ),
    ] = None,
    limit: Annotated[int, Field(ge=1, le=200, description="Size of the page.")] = 50,
    offset: Annotated[int, Field(ge=0, description="How many to skip.")] = 0,
) -> ExperimentList:
    """List experiments, the newest first, with their hypotheses."""
    found = lab.experiments.list(status=status)
    if found.is_empty() and status is not None:
        known = sorted(lab.experiments.list()["status"].drop_nulls().unique())
        if known and status not in known:
            raise BadInput(f"No experiment has the status {status!r}; there are {', '.join(known)}.")
    text = pl.concat_str([pl.col(name).fill_null("") for name in _SEARCHED], separator="\n").str.to_lowercase()
    for word in (query or "").lower().split():
        found = found.filter(text.str.contains(word, literal=True))
    end = offset + limit
    return ExperimentList(
        data_version=lab.warehouse.data_version,
        artifacts=[],
        experiments=[Summary.model_validate(row) for row in found.slice(offset, limit).to_dicts()],
        total=found.height,
        next_offset=end if end < found.height else None,
    )


def analyze_experiment_performance(
    lab: Lab, experiment_id: Annotated[str, Field(description="Id as list_experiments gives it.")]
) -> ExperimentPerformance:
    """Judge one experiment: a verdict with its reasons, significance and confidence intervals of every variant on every
    metric, the sample-ratio check, what to do next, and what similar experiments came to."""
    experiment = lab.experiments.get(experiment_id)
    readout = lab.experiments.analyze(experiment_id)
    similar, artifacts = _similar(lab, experiment_id)
    rows = [Comparison.model_validate(row) for row in readout.rows]
    primary = [row for row in rows if row.metric == readout.primary_metric]
    return ExperimentPerformance(
        data_version=readout.data_version,
        artifacts=artifacts,
        experiment=Experiment.of(experiment),
        verdict=readout.verdict,
        variant_to_ship=readout.variant_id,
        reasons=readout.reasons,
        primary_metric=readout.primary_metric,
        statistical_significance=[_significance(row, readout.alpha) for row in primary],
        confidence_interval=[_interval(row, readout.alpha) for row in primary],
        sample_ratio=_sample_ratio(readout),
        rows=rows,
        crossovers=readout.crossovers,
        recommendations=readout.recommendations,
        similar_experiment_insights=similar,
        methods=readout.methods,
    )


def _significance(row: Comparison, alpha: float) -> Significance:
    significant = None if row.p_adjusted is None else row.p_adjusted < alpha
    return Significance(
        variant_id=row.variant_id, p_value=row.p_value, p_adjusted=row.p_adjusted, significant=significant
    )


def _interval(row: Comparison, alpha: float) -> ConfidenceInterval:
    return ConfidenceInterval(
        variant_id=row.variant_id,
        confidence_level=1 - alpha,
        difference=row.difference,
        difference_ci=row.difference_ci,
        lift=row.lift,
        lift_ci=row.lift_ci,
    )


def _sample_ratio(readout: Readout) -> SampleRatioCheck:
    p_value = next(check["srm_p_value"] for check in readout.checks if check["metric"] == readout.primary_metric)
    passed = None if p_value is None else p_value >= SAMPLE_RATIO_ALPHA
    return SampleRatioCheck(p_value=p_value, threshold=SAMPLE_RATIO_ALPHA, passed=passed)


def _similar(lab: Lab, experiment_id: str) -> tuple[SimilarExperiments, list[ArtifactUsed]]:
    """The nearest experiments of the index, and the index. Where there is none, the reason is the insight."""
    try:
        index = lab.knowledge.index
        hits = index.similar(experiment_id, limit=SIMILAR)
    except NotFound as missing:
        return SimilarExperiments(experiments=[], insights=[str(missing)]), []
    neighbours = [neighbour(hit) for hit in hits]
    return SimilarExperiments(experiments=neighbours, insights=outcomes(neighbours)), [ArtifactUsed.of(index.artifact)]
