"""The lab's models: training and publishing them from the warehouse, and asking the promoted ones."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.artifacts.served import Served
from neonblue_lab.errors import BadInput, Corrupt, NotFound, NothingToDo
from neonblue_lab.events.classification import classify
from neonblue_lab.lake.lake import Lake
from neonblue_lab.models.behaviour import artifact as behaviour_artifact
from neonblue_lab.models.behaviour.answers import UserAssignment, UserBehavior
from neonblue_lab.models.behaviour.behaviour import BehaviourModel, Reading
from neonblue_lab.models.behaviour.context import with_context
from neonblue_lab.models.behaviour.learning import BehaviourReport, learn
from neonblue_lab.models.behaviour.sessions import read_events
from neonblue_lab.models.event_labels import artifact as classifier_artifact
from neonblue_lab.models.event_labels import classifier as event_classifier
from neonblue_lab.models.event_labels import corrections as corrections_of
from neonblue_lab.models.event_labels import review
from neonblue_lab.models.event_labels.artifact import Watched
from neonblue_lab.models.event_labels.classifier import EventClassifier
from neonblue_lab.models.event_labels.content_drift import watched
from neonblue_lab.models.event_labels.evaluation import evaluate
from neonblue_lab.models.event_labels.report import ClassifierReport
from neonblue_lab.models.event_labels.sample import stream_events, training_events
from neonblue_lab.models.outcome import artifact as outcome_artifact
from neonblue_lab.models.outcome.pairs import pairs
from neonblue_lab.models.outcome.predictor import OutcomePredictor, train
from neonblue_lab.models.outcome.report import OutcomeReport
from neonblue_lab.models.training.drift import Profile, drift
from neonblue_lab.models.training.threads import one_thread
from neonblue_lab.models.trends import book as trend_book
from neonblue_lab.models.trends.anomalies import FALSE_ALARMS, anomalies
from neonblue_lab.models.trends.answers import Forecast, ForecastRow, history
from neonblue_lab.models.trends.book import TrendBook
from neonblue_lab.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from ipywidgets import VBox

_LOG = logging.getLogger(__name__)


class TextEmbedder(Protocol):
    """What makes vectors of texts; see `knowledge.embedding.Embedder`."""

    @property
    def name(self) -> str:
        """What its vectors are known by."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32, a row of norm 1 for each text."""


class TextEmbedders(Protocol):
    """What `Knowledge` offers."""

    @property
    def embedder(self) -> TextEmbedder:
        """To learn with: it keeps the vectors that it makes."""

    def named(self, name: str) -> TextEmbedder:
        """To ask with: the one that a model was fitted with. It keeps nothing."""


class Models:
    """Event classifier, users' behaviour, outcomes and trends."""

    def __init__(
        self,
        store: ArtifactStore,
        lake: Lake,
        warehouse: Callable[[], Warehouse],
        refresh: Callable[[], object],
        embedders: Callable[[], TextEmbedders] | None = None,
    ) -> None:
        """Models of a lab.

        Args:
            store: where they are published.
            lake: where corrections are kept.
            warehouse: gives the pinned data to learn from when it is asked for.
            refresh: has it pin the newest data.
            embedders: gives the lab's text embedders when they are needed; without them, the model of texts learns from words
                alone.
        """
        self._store = store
        self._lake = lake
        self._warehouse = warehouse
        self._refresh = refresh
        self._embedders = embedders
        self._classifier = Served(
            store, classifier_artifact.NAME, classifier_artifact.load, made_by="20_event_classifier"
        )
        self._behaviour = Served(store, behaviour_artifact.NAME, behaviour_artifact.load, made_by="21_user_behavior")
        self._outcomes = Served(
            store,
            outcome_artifact.NAME,
            self._load_outcomes,
            made_by="60_outcome_predictor",
        )
        self._trends = Served(store, trend_book.NAME, trend_book.load, made_by="50_trends")

    def train_event_classifier(
        self, *, limit: int = 50_000, seed: int = 1, promote: bool = True
    ) -> tuple[Artifact, ClassifierReport]:
        """Learn the labels of the rules (`events.classification`), as far as nobody has corrected them, from what events
        contain, and publish the classifier with its report on users and on whole event types that it had not seen.

        Raises:
            NotFound: no events.
            BadInput: all events have the same labels.
        """
        warehouse = self._warehouse()
        events, corrections = training_events(warehouse, limit=limit, seed=seed), self.corrections()
        labels, weights = corrections_of.corrected(events, classify(events), corrections)
        classifier = event_classifier.fit(events, labels, weights=weights)
        agreement = corrections_of.agreement(events, classifier.predict(events, threshold=0), corrections)
        report = replace(evaluate(events, labels, seed=seed, weights=weights), corrections=agreement)
        stream = stream_events(warehouse, seed=seed)
        until = warehouse.sql("SELECT max(timestamp) AS until FROM events")["until"][0]
        artifact = classifier_artifact.publish(
            self._store,
            classifier,
            report,
            Watched(Profile.of(watched(classifier, stream)), until),
            data_versions=warehouse.versions,
            seed=seed,
        )
        return self._promoted(artifact, promote), report

    def correct(
        self,
        *,
        event_id: str | None = None,
        event_type: str | None = None,
        author: str,
        note: str = "",
        **labels: str | list[str],
    ) -> pl.DataFrame:
        """Correct labels of an event, or of all events of a type. The next training learns from it; the rules, and labels
        that were stored before, stay as they are.

        Args:
            event_id, event_type: one of the two: what is corrected.
            author: who says so.
            note: why.
            labels: any of data_type, priority, target_servers, processing_strategy, retention_policy, with the right value;
                target_servers as a list, or joined by `+`.

        Returns:
            The rows that were stored, one a label.

        Raises:
            BadInput: not exactly one target, nothing corrected, an unknown label or value (the message lists the known).
            NotFound: the lake holds no such event, or none of that type.
        """
        if (event_id is None) == (event_type is None):
            raise BadInput("Correct either one event (event_id) or all events of a type (event_type).")
        rows = corrections_of.correction_rows(
            labels, event_id=event_id, event_type=self._type_of(event_id, event_type), author=author, note=note
        )
        self._lake.append(corrections_of.TABLE, rows)
        self._refresh()
        return rows

    def corrections(self) -> pl.DataFrame:
        """People's corrections, the latest of each label of an event or type, the newest first.

        Returns:
            correction_id, scope ("event" or "event_type"), event_id, event_type, label, value, author, note, made_at.
        """
        return self._warehouse().sql("SELECT * FROM corrections ORDER BY made_at DESC, label")

    def least_sure(self, *, limit: int = 20, sample: int = 20_000) -> pl.DataFrame:
        """Events whose labels a person should look at; see `review.least_sure`.

        Args:
            limit: at most so many.
            sample: the events that are looked through, at most.

        Raises:
            NotFound: no classifier was promoted, or no events.
        """
        classifier: EventClassifier = self._classifier.get()[1]
        events = training_events(self._warehouse(), limit=sample)
        return review.least_sure(classifier, events, self.corrections(), limit=limit)

    def correction_form(self, *, author: str = "", limit: int = 20) -> "VBox":
        """A form for notebooks that shows the least sure events and stores what a person corrects.

        Raises:
            NotFound: no classifier was promoted, or no events.
        """
        from neonblue_lab.models.event_labels.form import correction_form

        return correction_form(self.least_sure(limit=limit), self.correct, author=author)

    def drift(self, *, since: datetime | None = None) -> pl.DataFrame:
        """How far events have moved from those that the promoted classifier was trained on; see `training.drift.drift`.

        Args:
            since: of events that happened later; unless given, later than the last that it was trained on.

        Raises:
            NotFound: no classifier was promoted, or no event is that late.
        """
        artifact, classifier = self._classifier.get()
        kept = classifier_artifact.load_watched(artifact)
        after = kept.until if since is None else since
        events = stream_events(self._warehouse(), after=after)
        if events.is_empty():
            raise NotFound(
                f"No event happened after {after:%Y-%m-%d %H:%M}: there is nothing yet whose drift could be told. "
                "Give `since` to look at earlier ones."
            )
        return drift(kept.profile, watched(classifier, events))

    def train_behaviour(
        self,
        reading: Reading | None = None,
        *,
        users: int | None = 100_000,
        seed: int = 1,
        promote: bool = True,
    ) -> tuple[Artifact, BehaviourReport]:
        """Learn users' behaviour from the lake's events and experiments, and publish it with the report on later moments of users
        that it had not seen. Segments that the champion had, too, keep their IDs and names.

        Args:
            reading: how events are read as behaviour; `Reading()` unless given.
            users: so many at most, chosen by a hash of id and seed; None for all.
            seed: of every choice by chance.
            promote: make the new version the champion.

        Raises:
            NotFound: no event is a step of a user.
        """
        warehouse = self._warehouse()
        with one_thread():
            model, report = learn(
                read_events(warehouse, users=users, seed=seed),
                warehouse.sql("SELECT * FROM assignments"),
                warehouse.sql("SELECT experiment_id, unnest(variants).variant_id AS variant_id FROM experiments"),
                reading or Reading(),
                seed=seed,
                former=self._former_behaviour(),
            )
        artifact = behaviour_artifact.publish(self._store, model, report, data_versions=warehouse.versions, seed=seed)
        return self._promoted(artifact, promote), report

    def predict_user_behavior(self, user_id: str, context: Sequence[Mapping[str, Any]] | None = None) -> UserBehavior:
        """Where a user is in their journey, whether they will convert, what they do next, and who is like them. A user whom the
        lake does not know gets what holds for all; the answer says so.

        Args:
            user_id: who.
            context: events of the running session that the lake may not have yet, in order; see `behaviour.context`.
                Without them it is asked as of the lake's last event.

        Raises:
            NotFound: no model of behaviour was promoted.
            BadInput: no user_id, or a context that cannot be read.
        """
        artifact, model = self._behaviour.get()
        events, now = self._known_of(user_id, model, context)
        return model.predict(user_id, events, now=now, artifact=artifact.name, version=artifact.version)

    def predict_user_assignment(self, user_id: str, experiment_id: str) -> UserAssignment:
        """Which variant of an experiment is better for a user, by what the experiment taught of users like them, and why.

        Raises:
            NotFound: no model of behaviour was promoted, or it has not learned from that experiment.
        """
        artifact, model = self._behaviour.get()
        events, _ = self._known_of(user_id, model, None)
        found, cold = model.recommend(experiment_id, events)
        assigned = self._warehouse().sql(
            "SELECT variant_id FROM assignments WHERE experiment_id = $1 AND user_id = $2 ORDER BY first_exposed_at",
            [experiment_id, user_id],
        )["variant_id"]
        basis = list(found.basis)
        if len(assigned) > 0:
            basis.insert(
                0, f"This user already got {' and then '.join(assigned)}; who is in an experiment stays where they are."
            )
        value, low, high = found.effect or (None, None, None)
        return UserAssignment(
            user_id=user_id,
            experiment_id=experiment_id,
            assigned_variant=assigned[0] if len(assigned) else None,
            recommended_variant=found.variant,
            expected_uplift=value,
            low=low,
            high=high,
            personalised=found.personalised,
            overlap=found.overlap,
            basis=basis,
            cold=cold,
            artifact=artifact.name,
            version=artifact.version,
        )

    def _known_of(
        self, user_id: str, model: BehaviourModel, context: Sequence[Mapping[str, Any]] | None
    ) -> tuple[pl.DataFrame, datetime]:
        """All events of a user, those of the context too, and the moment at which it is asked."""
        if not user_id:
            raise BadInput("The user_id is empty: give the id of a user.")
        warehouse = self._warehouse()
        known = read_events(warehouse, user_id=user_id)
        if not context:
            newest: datetime | None = warehouse.sql("SELECT max(timestamp) AS newest FROM stored.events")["newest"][0]
            return known, newest or datetime.now(UTC)
        events = with_context(known, user_id, context, now=datetime.now(UTC), gap=model.reading.gap)
        return events, events["timestamp"].max()  # type: ignore[return-value]

    def _former_behaviour(self) -> BehaviourModel | None:
        try:
            return self._behaviour.get()[1]
        except NotFound:
            return None
        except Corrupt as error:  # training anew is what mends it
            _LOG.warning("Segments get new IDs and names: %s", error)
            return None

    def fit_trends(
        self,
        series: pl.DataFrame,
        *,
        horizon: int | None = None,
        country: str | None = None,
        workers: int = 1,
        promote: bool = True,
    ) -> tuple[Artifact, TrendBook]:
        """Fit a trend to each series (columns of `metrics.series.SERIES_SCHEMA`) and publish them in one artifact; `country`
        and `workers` as for `fit_book`.

        Raises:
            NothingToDo: there is no series, or none that could be fitted.
        """
        book = trend_book.fit_book(series, horizon=horizon, country=country, workers=workers)
        artifact = trend_book.publish(self._store, book, data_versions=self._warehouse().versions)
        return self._promoted(artifact, promote), book

    def train_outcome(
        self,
        history: pl.DataFrame,
        text_arms: pl.DataFrame,
        *,
        neural: bool = True,
        seed: int = 1,
        promote: bool = True,
    ) -> tuple[Artifact, OutcomeReport]:
        """Learn how experiments end from those that have, and publish the predictor with its report. What is not shown to beat
        base rates (of configurations) or a coin (of texts) is not served.

        Args:
            history: as of `Experiments.history`.
            text_arms: as of `Experiments.text_arms`; may be empty.
            neural: whether the model of texts learns from the lab's text embedder, too, which makes it right some two
                points more often; else from words alone.
            seed: of folds and models.
            promote: make it the champion.

        Raises:
            NothingToDo: no finished experiment has an outcome.
            Unavailable: there are texts to learn from, and the embedder is not installed or cannot be reached.
        """
        if history.is_empty():
            raise NothingToDo("No finished experiment has an outcome yet: there is nothing to learn from.")
        embedders = self._embedders if neural else None
        # Asked for only when there are texts enough to learn from.
        embed = None if embedders is None else lambda texts: embedders().embedder.embed(texts)
        predictor, report = train(history, pairs(text_arms), embed=embed, seed=seed)
        used = predictor.texts is not None and predictor.texts.neural
        artifact = outcome_artifact.publish(
            self._store,
            predictor,
            report,
            data_versions=self._warehouse().versions,
            seed=seed,
            embedder=embedders().embedder.name if embedders is not None and used else None,
        )
        return self._promoted(artifact, promote), report

    def _load_outcomes(self, artifact: Artifact) -> OutcomePredictor:
        name, embedders = artifact.manifest.parameters.get("embedder"), self._embedders
        if name is None or embedders is None:
            return outcome_artifact.load(artifact, embed=None)
        return outcome_artifact.load(artifact, embed=lambda texts: embedders().named(str(name)).embed(texts))

    def outcome_drift(self, history: pl.DataFrame) -> pl.DataFrame:
        """How far experiments lie from those that the promoted predictor learned from; see `training.drift.drift`.

        Args:
            history: as of `Experiments.history`: its rows of now.

        Raises:
            NotFound: no predictor was promoted yet.
            BadInput: no rows.
        """
        return drift(self._outcomes.get()[1].profile, history)

    def outcome_predictor(self) -> tuple[Artifact, OutcomePredictor]:
        """The promoted predictor of outcomes, and the artifact that it is.

        Raises:
            NotFound: none was promoted yet; the message says what makes it.
        """
        return self._outcomes.get()

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
            history=history(model.series),
            rows=[ForecastRow(**row) for row in rows.to_dicts()],
            metrics=model.metrics,
            note=model.note,
            artifact=artifact.name,
            version=artifact.version,
        )

    def _type_of(self, event_id: str | None, event_type: str | None) -> str:
        """The event type that is corrected, or that of the event that is."""
        self._refresh()
        warehouse = self._warehouse()
        if event_id is not None:
            found = warehouse.sql("SELECT event_type FROM events WHERE event_id = $1", [event_id])
            if found.is_empty():
                raise NotFound(f"The lake holds no event {event_id!r}: look its id up in the view `events`.")
            return str(found["event_type"][0])
        known = warehouse.sql("SELECT DISTINCT event_type FROM events ORDER BY event_type")["event_type"].to_list()
        if event_type is None or event_type not in known:
            raise NotFound(f"The lake holds no event of type {event_type!r}; it holds {', '.join(known) or 'none'}.")
        return event_type

    def anomalies(
        self, experiment_id: str, metric: str | None = None, *, false_alarms: float = FALSE_ALARMS
    ) -> pl.DataFrame:
        """The values of a series with a trend beside what was to be expected of each a step before; see
        `models.trends.anomalies.anomalies`.

        Raises:
            NotFound: no trends were promoted, or none of that experiment and metric.
        """
        book: TrendBook = self._trends.get()[1]
        chosen = metric or next((name for subject, name in book.models if subject == experiment_id), "")
        return anomalies(book.get(experiment_id, chosen), false_alarms=false_alarms)

    def _promoted(self, artifact: Artifact, promote: bool) -> Artifact:
        return self._store.promote(artifact.name, artifact.version) if promote else artifact
