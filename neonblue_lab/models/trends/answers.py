"""What is answered of a series: the forecast, and what to expect of it."""

from datetime import datetime

import polars as pl
from pydantic import BaseModel

from neonblue_lab.models.trends.series import RegularSeries

HISTORY = 120
"""Values of the past that come with a forecast, at most."""


class ForecastRow(BaseModel):
    """One step: the point forecast and its 95 % interval."""

    timestamp: datetime
    mean: float
    low: float
    high: float


class Observation(BaseModel):
    """One value that the model has seen."""

    timestamp: datetime
    value: float


class Forecast(BaseModel):
    """A forecast, with what to expect of it.

    Attributes:
        rows: the steps after the last value that the model has seen.
        history: the last values that it has seen, HISTORY at most.
        metrics: mase, smape, naive_mase and coverage in the back-test; None where the series could not tell.
        note: what a reader should know of this series; empty if nothing.
        artifact, version: the artifact that answered.
    """

    experiment_id: str
    metric: str
    model: str
    history: list[Observation]
    rows: list[ForecastRow]
    metrics: dict[str, float | None]
    note: str
    artifact: str
    version: int

    @property
    def frame(self) -> pl.DataFrame:
        """The rows as a frame: timestamp, mean, low, high."""
        return pl.DataFrame([row.model_dump() for row in self.rows])

    @property
    def history_frame(self) -> pl.DataFrame:
        """The history as a frame: timestamp, value."""
        return pl.DataFrame([row.model_dump() for row in self.history])


def history(series: RegularSeries) -> list[Observation]:
    """The last values of a series, HISTORY at most."""
    first = max(0, len(series) - HISTORY)
    times = series.times(first, len(series) - first)
    return [Observation(timestamp=t, value=v) for t, v in zip(times, series.values[first:], strict=True)]
