"""The tool that says where a metric is going."""

from datetime import datetime
from statistics import fmean
from typing import Annotated

from pydantic import BaseModel, Field

from neonblue_lab.lab import Lab
from neonblue_lab.models.trends.answers import Forecast, ForecastRow
from neonblue_lab.serving.answer import Answer, ArtifactUsed


class Accuracy(BaseModel):
    """How the model did on the series' own past; null where the series is too short to tell."""

    mase: float | None = Field(
        description="Mean absolute error, relative to repeating the last season within the series."
    )
    naive_mase: float | None = Field(
        description="The same of simply repeating the last season, at the same past origins."
    )
    smape: float | None
    coverage: float | None = Field(description="Share of later values that the 95 % intervals held.")


class TrendPrediction(Answer):
    """A forecast with its intervals, and how far to trust it."""

    experiment_id: str
    metric: str
    model: str
    last_value_at: datetime = Field(description="The forecast goes on from here, whatever day it is today.")
    last_value: float
    forecast: list[ForecastRow] = Field(description="Point forecast with the 95 % interval of each single step.")
    accuracy: Accuracy
    insights: list[str]


def predict_experiment_trends(
    lab: Lab,
    experiment_id: Annotated[str, Field(description="Id of an experiment, or `programme` for all of them together.")],
    metric: Annotated[str | None, Field(description="Which metric; the first that has a trend unless given.")] = None,
    days_ahead: Annotated[int, Field(ge=1, le=366, description="Until how many days after the last value.")] = 14,
) -> TrendPrediction:
    """Forecast a metric of an experiment with 95 % intervals, and say how well the model did on the past."""
    found = lab.models.forecast(experiment_id, metric, days_ahead=days_ahead)
    return TrendPrediction(
        data_version=lab.warehouse.data_version,
        artifacts=[ArtifactUsed.of(lab.artifacts.get(found.artifact, found.version))],
        experiment_id=found.experiment_id,
        metric=found.metric,
        model=found.model,
        last_value_at=found.history[-1].timestamp,
        last_value=found.history[-1].value,
        forecast=found.rows,
        accuracy=Accuracy.model_validate(found.metrics),
        insights=_insights(found),
    )


def _insights(found: Forecast) -> list[str]:
    steps = min(len(found.rows), len(found.history))
    ahead = fmean(row.mean for row in found.rows[:steps])
    before = fmean(row.value for row in found.history[-steps:])
    change = f" ({ahead / before - 1:+.1%})" if before > 0 else ""
    sentences = [
        f"{found.metric} is forecast to be {ahead:,.4g} on average over the {steps} steps after "
        f"{found.history[-1].timestamp:%Y-%m-%d}, against {before:,.4g} over the {steps} steps until then{change}."
    ]
    mase, naive = found.metrics["mase"], found.metrics["naive_mase"]
    if mase is None or naive is None:
        sentences.append("How good such forecasts are could not be measured: the series is too short.")
    elif mase < naive:
        sentences.append(f"On its past it was {1 - mase / naive:.0%} more accurate than repeating the last season.")
    else:
        sentences.append(
            "On its past it was no more accurate than repeating the last season: trust the level, not the shape."
        )
    return [*sentences, found.note] if found.note else sentences
