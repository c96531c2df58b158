"""The tool that measures events: named metrics by named dimensions over a period. No SQL comes in."""

from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, Field

from neonblue_lab.insights.analytics import Cell, Total, analytics
from neonblue_lab.insights.measures import DIMENSIONS, MEASURES
from neonblue_lab.lab import Lab
from neonblue_lab.serving.answer import Answer


class RawAnalytics(BaseModel):
    """The numbers asked for."""

    metrics: dict[str, str] = Field(description="Name -> meaning. Beside a ratio stands what it is divided by.")
    dimensions: dict[str, str] = Field(description="Name -> meaning.")
    first_event: datetime | None
    last_event: datetime | None
    rows: list[dict[str, Cell]]
    total_rows: int
    truncated: bool


class AnalyticsInsights(Answer):
    """Measures of events, and what follows from them."""

    raw_analytics: RawAnalytics
    insights: list[str] = Field(description="Sentences that follow from the numbers.")
    performance_metrics: list[Total] = Field(
        description="Each metric over the whole period, and its last complete week against the one before."
    )
    recommendations: list[str]


def generate_analytics_insights(
    lab: Lab,
    metrics: Annotated[
        list[str],
        Field(
            description="What to measure: " + "; ".join(f"{m.name} - {m.description}" for m in MEASURES.values()),
            json_schema_extra={"items": {"type": "string", "enum": list(MEASURES)}},
        ),
    ],
    dimensions: Annotated[
        list[str],
        Field(
            description="How to split it: " + "; ".join(f"{d.name} - {d.description}" for d in DIMENSIONS.values()),
            json_schema_extra={"items": {"type": "string", "enum": list(DIMENSIONS)}},
        ),
    ] = [],  # noqa: B006 - never changed; the schema shows it as the default
    since: Annotated[date | None, Field(description="First day, UTC; open unless given.")] = None,
    until: Annotated[date | None, Field(description="The day after the last one, UTC; open unless given.")] = None,
    limit: Annotated[int, Field(ge=1, le=2000, description="At most so many rows, of the latest times.")] = 200,
) -> AnalyticsInsights:
    """Measure what users did: named metrics split by named dimensions over a period, with what stands out in words."""
    found = analytics(lab.warehouse, metrics=metrics, dimensions=dimensions, since=since, until=until, limit=limit)
    return AnalyticsInsights(
        data_version=found.data_version,
        artifacts=[],
        raw_analytics=RawAnalytics(**{name: getattr(found, name) for name in RawAnalytics.model_fields}),
        insights=found.insights,
        performance_metrics=found.totals,
        recommendations=found.recommendations,
    )
