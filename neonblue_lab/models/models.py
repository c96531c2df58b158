"""The lab's models: training and publishing them from the warehouse, and asking the promoted ones."""

from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl
from pydantic import BaseModel

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.artifacts.served import Served
from neonblue_lab.errors import BadInput
from neonblue_lab.events.classification import classify
from neonblue_lab.models.event_labels import artifact as classifier_artifact
from neonblue_lab.models.event_labels import classifier as event_classifier
from neonblue_lab.models.event_labels.classifier import EventClassifier
from neonblue_lab.models.event_labels.evaluation import evaluate
from neonblue_lab.models.event_labels.report import ClassifierReport
from neonblue_lab.models.event_labels.sample import training_events
from neonblue_lab.models.trends import book as trend_book
from neonblue_lab.models.trends.book import TrendBook
from neonblue_lab.models.trends.series import RegularSeries
from neonblue_lab.warehouse.warehouse import Warehouse

HISTORY = 120


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


class Models:
    """Event classifier and trends."""

    def __init__(self, store: ArtifactStore, warehouse: Callable[[], Warehouse]) -> None:
        """`warehouse` gives the pinned data to learn from when it is asked for."""
        self._store = store
        self._warehouse = warehouse
        self._classifier = Served(
            store, classifier_artifact.NAME, classifier_artifact.load, made_by="20_event_classifier"
        )
        self._trends = Served(store, trend_book.NAME, trend_book.load, made_by="50_trends")

    def train_event_classifier(
        self, *, limit: int = 50_000, seed: int = 1, promote: bool = True
    ) -> tuple[Artifact, ClassifierReport]:
        """Learn the labels of the rules (`events.classification`) from what events contain, and publish the classifier with
        its report on users and on whole event types that it had not seen.

        Raises:
            NotFound: no events.
            BadInput: all events have the same labels.
        """
        warehouse = self._warehouse()
        events = training_events(warehouse, limit=limit, seed=seed)
        labels = classify(events)
        classifier = event_classifier.fit(events, labels, seed=seed)
        report = evaluate(events, labels, seed=seed)
        artifact = classifier_artifact.publish(
            self._store, classifier, report, data_versions=warehouse.versions, seed=seed
        )
        return self._promoted(artifact, promote), report

    def fit_trends(
        self, series: pl.DataFrame, *, horizon: int | None = None, promote: bool = True
    ) -> tuple[Artifact, TrendBook]:
        """Fit a trend to each series (columns of `metrics.series.SERIES_SCHEMA`) and publish them in one artifact.

        Raises:
            BadInput: no series could be fitted.
        """
        book = trend_book.fit_book(series, horizon=horizon)
        artifact = trend_book.publish(self._store, book, data_versions=self._warehouse().versions)
        return self._promoted(artifact, promote), book

    def classify(self, events: pl.DataFrame) -> pl.DataFrame:
        """Labels of events by the promoted classifier; see `EventClassifier.predict`."""
        classifier: EventClassifier = self._classifier.get()[1]
        return classifier.predict(events)

    def forecast(self, experiment_id: str, metric: str | None = None, *, days_ahead: int = 14) -> Forecast:
        """Forecast a metric of an experiment, or of the whole programme (`programme`).

        Args:
            experiment_id: whose.
            metric: which; the first that the artifact has of that experiment unless given.
            days_ahead: until how many days after the last value.

        Raises:
            NotFound: no trends were promoted, or none of that experiment and metric.
            BadInput: further ahead than the series allows.
        """
        if days_ahead < 1:
            raise BadInput(f"days_ahead is {days_ahead}: it must be 1 or more.")
        artifact, book = self._trends.get()
        chosen = metric or next((name for subject, name in book.models if subject == experiment_id), "")
        model = book.get(experiment_id, chosen)
        rows = model.forecast(model.steps(timedelta(days=days_ahead)))
        return Forecast(
            experiment_id=experiment_id,
            metric=chosen,
            model=model.model,
            history=_history(model.series),
            rows=[ForecastRow(**row) for row in rows.to_dicts()],
            metrics=model.metrics,
            note=model.note,
            artifact=artifact.name,
            version=artifact.version,
        )

    def _promoted(self, artifact: Artifact, promote: bool) -> Artifact:
        return self._store.promote(artifact.name, artifact.version) if promote else artifact


def _history(series: RegularSeries) -> list[Observation]:
    first = max(0, len(series) - HISTORY)
    times = series.times(first, len(series) - first)
    return [Observation(timestamp=t, value=v) for t, v in zip(times, series.values[first:], strict=True)]
