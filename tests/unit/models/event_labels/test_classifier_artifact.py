"""A published classifier predicts the same when loaded, and a weights file with anything foreign in it is not
opened."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.errors import BadInput, Corrupt
from neonblue_lab.events.classification import LABELS, classify
from neonblue_lab.models.event_labels import artifact as classifier_artifact
from neonblue_lab.models.event_labels.artifact import Watched
from neonblue_lab.models.event_labels.classifier import fit
from neonblue_lab.models.event_labels.content_drift import watched
from neonblue_lab.models.event_labels.evaluation import evaluate
from neonblue_lab.models.training.drift import Profile, drift

UNTIL = datetime(2026, 3, 1, tzinfo=UTC)


def _publish(events, folder):
    labels = classify(events)
    classifier, report = fit(events, labels), evaluate(events, labels, seed=1)
    kept = Watched(Profile.of(watched(classifier, events)), UNTIL)
    store = ArtifactStore(folder)
    artifact = classifier_artifact.publish(store, classifier, report, kept, data_versions={"events": 3}, seed=1)
    return store, artifact, classifier, report


@pytest.fixture(scope="module")
def published(user_events, tmp_path_factory):
    events = user_events(800, seed=1)
    return *_publish(events, tmp_path_factory.mktemp("published")), events


def test_what_is_loaded_predicts_the_same(published):
    store, artifact, classifier, report, events = published
    loaded = classifier_artifact.load(store.get("event_classifier", artifact.version))
    assert loaded.predict(events).equals(classifier.predict(events))
    again = classifier_artifact.load_report(artifact)
    assert again.outcomes.equals(report.outcomes)
    assert again.summary.equals(report.summary)
    assert again.corrections.equals(report.corrections)


def test_drift_is_told_from_the_artifact_alone(published):
    _, artifact, classifier, _, events = published
    kept = classifier_artifact.load_watched(artifact)
    assert kept.until == UNTIL
    assert drift(kept.profile, watched(classifier, events))["psi"].max() == 0.0
    strange = events.with_columns(properties=pl.lit('{"rotor": 1}'))
    moved = dict(drift(kept.profile, watched(classifier, strange)).select("feature", "psi").iter_rows())
    assert moved["keys"] > 0.25
    assert moved["familiar"] > 0.25
    assert moved["has user"] == 0.0


def test_the_manifest_and_the_card_state_the_honest_figures(published):
    _, artifact, _, report, events = published
    assert artifact.manifest.metrics == report.metrics
    assert artifact.manifest.data_versions == {"events": 3}
    unseen = report.metrics["unseen_priority_macro_f1"]
    assert f"| priority | {unseen:.3f} (" in artifact.card
    assert f"{events.height:,} events" in artifact.card
    assert "When not to believe it" in artifact.card
    assert "Nobody has corrected any label" in artifact.card


def test_arrays_that_are_no_classifiers_are_refused(tmp_path):
    artifact = ArtifactStore(tmp_path).publish(
        "event_classifier",
        lambda folder: np.savez(folder / "kinds.npz", tokens=np.array(["a"])),
        parameters={},
        metrics={},
        data_versions={},
        seed=None,
        card="# card",
    )
    with pytest.raises(Corrupt, match="event classifier's arrays"):
        classifier_artifact.load(artifact)


def test_arrays_that_would_run_code_are_not_even_published(tmp_path):
    with pytest.raises(BadInput, match="unpickling runs code"):
        ArtifactStore(tmp_path).publish(
            "event_classifier",
            lambda folder: np.savez(folder / "kinds.npz", tokens=np.array([print], dtype=object)),
            parameters={},
            metrics={},
            data_versions={},
            seed=None,
            card="# card",
        )


def test_a_classifier_of_two_types_says_in_its_card_what_was_not_measured(user_events, tmp_path):
    events = user_events(300, seed=2, types=("add_to_cart", "search"))
    _, artifact, _, _ = _publish(events, tmp_path / "artifacts")
    assert "What could not be measured" in artifact.card
    assert "priority (always medium)" in artifact.card
    predicted = classifier_artifact.load(artifact).predict(events)
    assert isinstance(predicted, pl.DataFrame)
    assert set(LABELS) <= set(predicted.columns)
