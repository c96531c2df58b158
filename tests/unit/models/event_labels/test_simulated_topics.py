"""On simulated topics, parsed as replay does: what the classifier and the trends make of all event types at once."""

import polars as pl
import pytest

from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.events.classification import LABELS, classify
from neonblue_lab.events.parsing import EventParser
from neonblue_lab.events.simulator import simulate
from neonblue_lab.models.event_labels import artifact as classifier_artifact
from neonblue_lab.models.event_labels.artifact import Watched
from neonblue_lab.models.event_labels.classifier import fit
from neonblue_lab.models.event_labels.content_drift import watched
from neonblue_lab.models.event_labels.evaluation import evaluate
from neonblue_lab.models.event_labels.report import HELD_OUT_USERS, UNSEEN_TYPES
from neonblue_lab.models.training.drift import Profile
from neonblue_lab.models.trends.trend import fit_trend


@pytest.fixture(scope="module")
def events():
    parser = EventParser()
    simulation = simulate(experiments=8, users=2_000, events=20_000, seed=5)
    return pl.concat(parser.parse(batch).events for batch in simulation.batches()).unique(
        "event_id", maintain_order=True
    )


@pytest.fixture(scope="module")
def report(events):
    return evaluate(events, classify(events), seed=5)


def test_events_of_known_types_are_told_by_their_content(report):
    scores = report.scores(HELD_OUT_USERS).filter(model="classifier")
    assert scores["metric"].to_list() == list(LABELS)
    assert scores["value"].min() >= 0.98
    seen = report.summary.filter(pl.col("protocol") == HELD_OUT_USERS)
    assert (seen["accuracy"] > seen["majority"]).all()


def test_on_unseen_types_it_beats_whatever_does_not_know_the_topic(report):
    scores = report.scores(UNSEEN_TYPES).pivot(on="model", index="metric", values="value")
    assert (scores["classifier"] > scores["majority"]).all()
    assert (scores["classifier"] > scores["rule of unknown topics"]).all()


def test_confidence_on_unseen_types_is_worth_about_what_it_says(report):
    unseen = report.summary.filter(pl.col("protocol") == UNSEEN_TYPES)
    assert (unseen["confidence"] - unseen["accuracy"]).abs().max() < 0.15


def test_the_data_type_is_the_topics_and_the_card_says_that_the_rule_is_better(events, report, tmp_path):
    unseen = report.summary.filter(pl.col("protocol") == UNSEEN_TYPES)
    assert unseen["event_types"].to_list() == [events["event_type"].n_unique()] * len(LABELS)
    assert unseen["topic_rule"][0] == 1.0  # by the table
    lost = unseen.filter(pl.col("accuracy_with_rule") <= pl.max_horizontal("topic_rule", "majority"))["label"].to_list()
    assert "data_type" in lost
    classifier = fit(events, classify(events))
    kept = Watched(Profile.of(watched(classifier, events)), events["timestamp"].max())
    artifact = classifier_artifact.publish(ArtifactStore(tmp_path), classifier, report, kept, data_versions={}, seed=5)
    assert f"does not beat the better baseline for: {', '.join(lost)}." in artifact.card


def test_sessions_a_day_have_a_trend(events):
    days = (
        events.filter(pl.col("event_type") == "session_start")
        .group_by(timestamp=pl.col("timestamp").dt.truncate("1d"))
        .agg(value=pl.len())
    )
    model = fit_trend(days)
    assert (model.season, model.note) == (7, "")
    assert model.metrics["mase"] is not None
    assert model.forecast(14)["low"].min() >= 0
