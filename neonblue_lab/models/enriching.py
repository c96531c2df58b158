"""Enrichment by the lab's models, and by rules for what no model answers."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import polars as pl

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.artifacts.served import opened
from neonblue_lab.errors import Corrupt, NotFound
from neonblue_lab.events.classification import BY_EVENT_TYPE, LABELS, UNKNOWN
from neonblue_lab.events.enrichment import BEHAVIOUR_FIELDS, RULES, enrichment, rule_labels, stages_by_rule

KEPT = ("target_servers", "processing_strategy", "retention_policy")
"""Labels by which an event is kept: of one that nobody recognises, it is kept in every store and for ever, in no hurry."""

DECIMALS = 3
"""Of what a model of behaviour says: more would be stored for every event, and mean nothing."""

_LOG = logging.getLogger(__name__)

_BEHAVIOUR = [column for columns in BEHAVIOUR_FIELDS.values() for column in columns]


class Classifier(Protocol):
    """What `EventClassifier` does."""

    def predict(self, events: pl.DataFrame) -> pl.DataFrame:
        """For each event, in order: each of LABELS, null where it abstains, and `<label>_confidence`."""


class Behaviour(Protocol):
    """What `BehaviourModel` does."""

    def enrich(self, events: pl.DataFrame) -> pl.DataFrame:
        """For each event, in order: the columns of BEHAVIOUR_FIELDS, null where they are not known."""


Model = TypeVar("Model")


@dataclass(frozen=True)
class Versioned(Generic[Model]):
    """A model, and the version by which the fields that it fills name it, such as `event_classifier@3`."""

    name: str
    model: Model


class ModelEnricher:
    """Enrichment by models; see `events.enrichment.Enricher`. Without any model it is `RuleEnricher`.

    Labels: by rule for the types that the rules know; of other types, what the classifier says. Where it abstains, the data type
    and the priority are by rule, and the event is kept (see KEPT). What is known of behaviour is all the model's, where there is
    one.
    """

    def __init__(self, classifier: Versioned[Classifier] | None, behaviour: Versioned[Behaviour] | None) -> None:
        self._classifier = classifier
        self._behaviour = behaviour

    @property
    def name(self) -> str:
        """The models that answer, such as `rules@1+event_classifier@3`."""
        return "+".join([RULES, *(model.name for model in (self._classifier, self._behaviour) if model is not None)])

    def enrich(self, events: pl.DataFrame) -> pl.DataFrame:
        """See `Enricher`."""
        labels = rule_labels(events)
        if self._classifier is not None:
            labels = _with_predictions(events, labels, self._classifier)
        return enrichment(events, labels, _behaviour(events, self._behaviour))


def promoted(store: ArtifactStore) -> ModelEnricher:
    """Enrichment by the models that are promoted now; by rule where there are none.

    By rule, too, in place of a model that cannot be read (its files were changed, or another version of the lab made them):
    a log that is not read in time is gone, and what an event means can be said again later. A warning says so, and each
    field names what filled it.
    """
    return ModelEnricher(
        _champion(store, "event_classifier", _load_classifier, made_by="20_event_classifier"),
        _champion(store, "user_behavior", _load_behaviour, made_by="21_user_behavior"),
    )


# A replay starts without what only models need.
def _load_classifier(artifact: Artifact) -> Classifier:
    from neonblue_lab.models.event_labels.artifact import load

    return load(artifact)


def _load_behaviour(artifact: Artifact) -> Behaviour:
    from neonblue_lab.models.behaviour.artifact import load

    return load(artifact)


def _champion(
    store: ArtifactStore, name: str, load: Callable[[Artifact], Model], *, made_by: str
) -> Versioned[Model] | None:
    try:
        champion = store.champion(name)
        if champion is None:
            return None
        model = opened(store.get(name, champion.version), load, made_by=made_by)
    except NotFound:
        return None
    except Corrupt as error:
        _LOG.warning("Events are enriched by rules, without %s: %s", name, error)
        return None
    return Versioned(f"{name}@{champion.version}", model)


def _with_predictions(events: pl.DataFrame, labels: pl.DataFrame, classifier: Versioned[Classifier]) -> pl.DataFrame:
    """The labels, with those of events of unknown types as a classifier has them."""
    unknown = events.with_row_index("row").filter(~pl.col("event_type").is_in(list(BY_EVENT_TYPE)))
    if unknown.is_empty():
        return labels
    said = classifier.model.predict(unknown)
    rule = labels[unknown["row"]].with_columns(
        pl.lit(list(value) if isinstance(value := getattr(UNKNOWN, label), tuple) else value).alias(label)
        for label in KEPT
    )
    answered = pl.sum_horizontal(pl.col(label).is_not_null() for label in LABELS)
    filled = said.select(
        unknown["row"],
        *(pl.coalesce(label, rule[label]) for label in LABELS),
        confidence=pl.min_horizontal(pl.when(pl.col(name).is_not_null()).then(f"{name}_confidence") for name in LABELS),
        model=pl.when(answered == len(LABELS))
        .then(pl.lit(classifier.name))
        .when(answered > 0)
        .then(pl.lit(f"{classifier.name}+{RULES}"))
        .otherwise(pl.lit(RULES)),
    )
    return labels.with_row_index("row").update(filled, on="row").drop("row")


def _behaviour(events: pl.DataFrame, behaviour: Versioned[Behaviour] | None) -> pl.DataFrame:
    if behaviour is None:
        return stages_by_rule(events)
    said = behaviour.model.enrich(events).select(_BEHAVIOUR)
    return said.with_columns(pl.col(pl.Float64).round(DECIMALS), model=pl.lit(behaviour.name))
