"""A published classifier predicts the same when loaded, and a weights file with anything foreign in it is not
opened."""

import polars as pl
import pytest
import skops.io
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline

from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.errors import Corrupt
from neonblue_lab.events.classification import LABELS, classify
from neonblue_lab.models.event_labels import artifact as classifier_artifact
from neonblue_lab.models.event_labels.classifier import fit
from neonblue_lab.models.event_labels.evaluation import evaluate


@pytest.fixture
def published(user_events, tmp_path):
    events = user_events(800, seed=1)
    labels = classify(events)
    classifier, report = fit(events, labels, seed=1), evaluate(events, labels, seed=1)
    store = ArtifactStore(tmp_path / "artifacts")
    artifact = classifier_artifact.publish(store, classifier, report, data_versions={"events": 3}, seed=1)
    return store, artifact, classifier, report, events


def test_what_is_loaded_predicts_the_same(published):
    store, artifact, classifier, report, events = published
    loaded = classifier_artifact.load(store.get("event_classifier", artifact.version))
    assert loaded.predict(events).equals(classifier.predict(events))
    again = classifier_artifact.load_report(artifact)
    assert again.outcomes.equals(report.outcomes)
    assert again.summary.equals(report.summary)


def test_the_manifest_and_the_card_state_the_honest_figures(published):
    _, artifact, _, report, events = published
    assert artifact.manifest.metrics == report.metrics
    assert artifact.manifest.data_versions == {"events": 3}
    unseen = report.metrics["unseen_priority_accuracy"]
    assert f"| priority | {unseen:.3f} |" in artifact.card
    assert f"{events.height:,} events" in artifact.card
    assert "When not to believe it" in artifact.card


def _store_with(tmp_path, write_weights):
    def write(folder):
        (folder / "classifier.json").write_text('{"learned": ["priority"], "constant": {}, "threshold": 0.8}')
        write_weights(folder / "priority.skops")

    return ArtifactStore(tmp_path / "foreign").publish(
        "event_classifier", write, parameters={}, metrics={}, data_versions={}, seed=None, card="# card"
    )


def test_a_class_that_skops_would_trust_but_no_classifier_has_is_refused(tmp_path):
    foreign = make_pipeline(DummyClassifier()).fit([[0], [1]], ["a", "b"])
    artifact = _store_with(tmp_path, lambda path: skops.io.dump(foreign, path))
    assert skops.io.get_untrusted_types(file=artifact.file("priority.skops")) == []
    with pytest.raises(Corrupt, match=r"sklearn\.dummy\.DummyClassifier"):
        classifier_artifact.load(artifact)


def test_a_function_in_the_weights_is_refused(tmp_path):
    artifact = _store_with(tmp_path, lambda path: skops.io.dump({"run": print}, path))
    with pytest.raises(Corrupt, match="not opened"):
        classifier_artifact.load(artifact)


def test_a_file_that_is_no_skops_file_is_refused(tmp_path):
    artifact = _store_with(tmp_path, lambda path: path.write_bytes(b"weights"))
    with pytest.raises(Corrupt, match="not a skops file"):
        classifier_artifact.load(artifact)


def test_a_classifier_of_two_types_says_in_its_card_what_was_not_measured(user_events, tmp_path):
    events = user_events(300, seed=2, types=("add_to_cart", "search"))
    labels = classify(events)
    artifact = classifier_artifact.publish(
        ArtifactStore(tmp_path / "artifacts"),
        fit(events, labels, seed=2),
        evaluate(events, labels, seed=2),
        data_versions={},
        seed=2,
    )
    assert "What could not be measured" in artifact.card
    assert "priority (always medium)" in artifact.card
    predicted = classifier_artifact.load(artifact).predict(events)
    assert isinstance(predicted, pl.DataFrame)
    assert set(LABELS) <= set(predicted.columns)
