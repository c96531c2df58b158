"""Labels of unknown types come from the promoted classifier, those of known types from the rules, and each names its source."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.events.classification import BY_EVENT_TYPE, LABELS, UNKNOWN, classify
from neonblue_lab.events.enrichment import ARRIVAL_SCHEMA, BEHAVIOUR_FIELDS, BY_RULE, ENRICHMENT_SCHEMA, RULES
from neonblue_lab.models.behaviour import artifact as behaviour_artifact
from neonblue_lab.models.enriching import KEPT, ModelEnricher, Versioned, promoted
from neonblue_lab.models.event_labels import artifact as classifier_artifact
from neonblue_lab.models.event_labels.artifact import Watched
from neonblue_lab.models.event_labels.classifier import EventClassifier, fit
from neonblue_lab.models.event_labels.content_drift import watched
from neonblue_lab.models.event_labels.evaluation import evaluate
from neonblue_lab.models.training.drift import Profile

Events = Callable[..., pl.DataFrame]


def arrived(events: pl.DataFrame) -> pl.DataFrame:
    return events.with_columns(pl.lit(None, kind).alias(name) for name, kind in ARRIVAL_SCHEMA.items())


def labels_of(enriched: pl.DataFrame) -> pl.DataFrame:
    return enriched["ai_classification"].struct.unnest()


@pytest.fixture(scope="module")
def classifier(user_events: Events) -> EventClassifier:
    events = user_events(2_000, seed=1)
    return fit(events, classify(events))


@pytest.fixture
def mixed(user_events: Events) -> pl.DataFrame:
    """Events of known types, of two unknown types that look like them, and of one that looks like nothing."""
    known = arrived(user_events(60, seed=2))
    return known.with_columns(
        event_type=pl.when(pl.int_range(pl.len()) % 3 == 0)
        .then(pl.format("{}_v2", "event_type"))
        .otherwise("event_type"),
        properties=pl.when(pl.int_range(pl.len()) % 9 == 0)
        .then(pl.lit('{"valve": 3, "rotor": {"state": "x"}}'))
        .otherwise("properties"),
    )


def test_without_models_the_rules_answer(mixed: pl.DataFrame) -> None:
    assert ModelEnricher(None, None).enrich(mixed).equals(BY_RULE.enrich(mixed))
    assert ModelEnricher(None, None).name == RULES


def test_unknown_types_are_labelled_by_the_classifier(mixed: pl.DataFrame, classifier: EventClassifier) -> None:
    enriched = ModelEnricher(Versioned("event_classifier@4", classifier), None).enrich(mixed)
    assert dict(enriched.schema) == ENRICHMENT_SCHEMA
    labels, rules, said = labels_of(enriched), labels_of(BY_RULE.enrich(mixed)), classifier.predict(mixed)
    known = mixed["event_type"].is_in(list(BY_EVENT_TYPE))
    assert labels.filter(known).equals(rules.filter(known))
    abstained_at_all = answered_at_all = False
    for row in range(mixed.height):
        if known[row]:
            continue
        answers = {label: said[label][row] for label in LABELS if said[label][row] is not None}
        for label in LABELS:
            kept = getattr(UNKNOWN, label) if label in KEPT else rules[label][row]
            expected = answers.get(label, kept)
            assert pl.Series([labels[label][row]]).equals(pl.Series([expected]), check_names=False) or list(
                labels[label][row]
            ) == list(expected)
        sure = [said[f"{label}_confidence"][row] for label in answers]
        assert labels["confidence"][row] == (min(sure) if sure else None)
        expected_model = {0: RULES, len(LABELS): "event_classifier@4"}.get(len(answers), f"event_classifier@4+{RULES}")
        assert labels["model"][row] == expected_model
        answered_at_all |= bool(answers)
        abstained_at_all |= len(answers) < len(LABELS)
    assert answered_at_all
    assert abstained_at_all


def test_the_promoted_classifier_answers_and_is_named(mixed: pl.DataFrame, user_events: Events, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    assert {classifier_artifact.NAME, behaviour_artifact.NAME} == {"event_classifier", "user_behavior"}
    assert promoted(store).name == RULES
    events = user_events(600, seed=1)
    labels = classify(events)
    fitted, report = fit(events, labels), evaluate(events, labels, seed=1)
    kept = Watched(Profile.of(watched(fitted, events)), datetime(2026, 3, 1, tzinfo=UTC))
    artifact = classifier_artifact.publish(store, fitted, report, kept, data_versions={"events": 3}, seed=1)
    assert promoted(store).name == RULES
    store.promote("event_classifier", artifact.version)
    enricher = promoted(store)
    assert enricher.name == f"{RULES}+event_classifier@{artifact.version}"
    again = ModelEnricher(Versioned(f"event_classifier@{artifact.version}", fitted), None).enrich(mixed)
    assert enricher.enrich(mixed).equals(again)


@pytest.mark.parametrize("name", [classifier_artifact.NAME, behaviour_artifact.NAME])
@pytest.mark.parametrize("changed_afterwards", [False, True])
def test_a_promoted_model_that_cannot_be_read_leaves_it_to_the_rules_and_says_so(
    mixed: pl.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, changed_afterwards: bool
) -> None:
    store = ArtifactStore(tmp_path)
    facts: dict[str, Any] = {"parameters": {}, "metrics": {}, "data_versions": {}, "seed": None, "card": "# card"}
    artifact = store.publish(name, lambda folder: (folder / "classifier.json").write_text("{}"), **facts)
    store.promote(name, artifact.version)
    if changed_afterwards:
        file = artifact.path / "classifier.json"
        file.chmod(0o644)
        file.write_text("[]")
    enricher = promoted(store)
    assert enricher.name == RULES
    assert enricher.enrich(mixed).equals(BY_RULE.enrich(mixed))
    (said,) = caplog.messages
    assert f"by rules, without {name}" in said
    assert "again" in said or "anew" in said


def test_what_a_model_of_behaviour_says_is_all_its_own(mixed: pl.DataFrame) -> None:
    class Says:
        """Answers for every other event."""

        def enrich(self, events: pl.DataFrame) -> pl.DataFrame:
            kinds = {field.name: field.dtype for name in BEHAVIOUR_FIELDS for field in ENRICHMENT_SCHEMA[name].fields}
            odd = pl.int_range(events.height, eager=True) % 2 == 1
            return pl.select(
                pl.when(odd).then(pl.lit("y" if kinds[name] == pl.String else 0.25)).alias(name)
                for fields in BEHAVIOUR_FIELDS.values()
                for name in fields
            )

    enriched = ModelEnricher(None, Versioned("behaviour@2", Says())).enrich(mixed)
    assert dict(enriched.schema) == ENRICHMENT_SCHEMA
    for name, fields in BEHAVIOUR_FIELDS.items():
        columns = enriched[name].struct.unnest()
        assert columns["model"].to_list() == ["behaviour@2"] * mixed.height
        assert all(columns[field].is_null().to_list() == [True, False] * (mixed.height // 2) for field in fields)
    rules = BY_RULE.enrich(mixed)
    assert enriched["semantic_context"].equals(rules["semantic_context"])
