"""The classifier learns what content tells, claims no more confidence than chance allows, and its report hides
nothing."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest

from neonblue_lab.errors import BadInput, NothingToDo
from neonblue_lab.events.classification import LABELS, classify
from neonblue_lab.models.event_labels.classifier import fit
from neonblue_lab.models.event_labels.evaluation import evaluate
from neonblue_lab.models.event_labels.report import HELD_OUT_USERS, UNSEEN_TYPES


def test_it_learns_the_rules_from_content_alone(user_events):
    events = user_events(3000, seed=1)
    labels = classify(events)
    predicted = fit(events, labels).predict(user_events(500, seed=2).drop("event_type", "topic"), threshold=0)
    expected = classify(user_events(500, seed=2))
    for label in LABELS:
        assert (predicted[label] == expected[label]).mean() == 1.0
    assert predicted["event_id"].to_list() == user_events(500, seed=2)["event_id"].to_list()


def test_labels_by_chance_get_the_confidence_of_chance(user_events):
    events = user_events(8000, seed=3, types=("page_view",))
    high = np.random.default_rng(4).random(events.height) < 0.7
    labels = classify(events).with_columns(priority=pl.Series(np.where(high, "high", "low")))
    report = evaluate(events, labels, seed=5)
    row = report.summary.row(
        by_predicate=(pl.col("protocol") == HELD_OUT_USERS) & (pl.col("label") == "priority"), named=True
    )
    assert binomtest(round(row["accuracy"] * row["events"]), row["events"], 0.7).pvalue > 0.001
    assert row["accuracy"] == pytest.approx(row["majority"], abs=0.02)
    assert (
        row["coverage"] == 0.0
    )  # of one type nothing can be left out, so that no confidence is known to be worth anything
    bins = report.reliability("priority", protocol=HELD_OUT_USERS)
    assert bins["count"].sum() == row["events"]
    assert np.average(bins["predicted"], weights=bins["count"]) == pytest.approx(0.7, abs=0.03)


def test_leaving_a_type_out_shows_what_held_out_users_hide(user_events):
    events = user_events(3000, seed=6)
    report = evaluate(events, classify(events), seed=6)
    summary = report.summary.rows_by_key(["protocol", "label"], named=True, unique=True)
    seen, unseen = summary[HELD_OUT_USERS, "retention_policy"], summary[UNSEEN_TYPES, "retention_policy"]
    assert seen["accuracy"] == 1.0
    assert unseen["accuracy"] < 0.8
    assert unseen["event_types"] == events["event_type"].n_unique()
    # Each type counts once, so the rule's figure is the share of types that keep their topic's default.
    rules = classify(events.with_columns(event_type=pl.lit(None, pl.String)))["retention_policy"]
    agree = events.select("event_type", right=rules == classify(events)["retention_policy"]).unique()
    assert unseen["topic_rule"] == pytest.approx(agree["right"].mean())


def test_every_event_is_in_each_view_once(user_events):
    events = user_events(1500, seed=7)
    report = evaluate(events, classify(events), seed=7)
    for label in LABELS:
        confusion = report.confusion(label)
        assert confusion["count"].sum() == events.height
        assert confusion.group_by("actual").agg(pl.col("share").sum())["share"].to_numpy() == pytest.approx(1.0)
        assert report.reliability(label)["count"].sum() == events.height
        curve = report.abstention(label)
        assert curve["coverage"].is_sorted()
        row = report.summary.row(
            by_predicate=(pl.col("label") == label) & (pl.col("protocol") == UNSEEN_TYPES), named=True
        )
        assert curve["coverage"][-1] == pytest.approx(1.0)
        assert curve["accuracy"][-1] == pytest.approx(row["accuracy"])
        assert curve["accuracy_with_rule"][-1] == pytest.approx(row["accuracy"])
    types = report.per_type.filter(pl.col("protocol") == UNSEEN_TYPES, pl.col("label") == "priority")
    assert dict(types.select("event_type", "events").iter_rows()) == dict(
        events["event_type"].value_counts().iter_rows()
    )


def test_precision_and_recall_are_those_of_scikit_learn(user_events):
    from sklearn.metrics import precision_recall_fscore_support

    events = user_events(1500, seed=8)
    report = evaluate(events, classify(events), seed=8)
    outcomes = report.outcomes.filter(pl.col("protocol") == UNSEEN_TYPES, pl.col("label") == "priority")
    table = report.per_class.filter(pl.col("protocol") == UNSEEN_TYPES, pl.col("label") == "priority")
    expected = precision_recall_fscore_support(
        outcomes["actual"].to_list(),
        outcomes["predicted"].to_list(),
        labels=table["value"].to_list(),
        sample_weight=outcomes["weight"].to_numpy(),
        zero_division=0,
    )
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        assert table[name].fill_null(0.0).to_numpy() == pytest.approx(values)


def test_below_the_threshold_it_says_nothing(user_events):
    events = user_events(1000, seed=9)
    predicted = fit(events, classify(events)).predict(events, threshold=1.0)
    for label in LABELS:
        silent = predicted[f"{label}_confidence"] < 1.0
        assert predicted[label].is_null().equals(silent.alias(label))
        assert predicted[f"{label}_confidence"].is_between(0, 1).all()


def test_an_event_unlike_any_seen_is_still_answered_with_a_null_or_a_known_value(user_events):
    events = user_events(500, seed=10)
    strange = events.head(1).with_columns(
        properties=pl.lit('{"rotor": {"rpm": [1, 2]}}'), user_id=pl.lit(None, pl.String)
    )
    predicted = fit(events, classify(events)).predict(strange, threshold=0)
    assert predicted["data_type"][0] in {"user_behavior", "analytics"}


def test_the_same_seed_gives_the_same_report(user_events):
    events = user_events(800, seed=11)
    first, second = (evaluate(events, classify(events), seed=3).outcomes for _ in range(2))
    assert first.equals(second)


def test_with_two_types_what_cannot_be_measured_is_null_with_a_reason(user_events):
    events = user_events(400, seed=12, types=("page_view", "purchase"))
    report = evaluate(events, classify(events), seed=12)
    unseen = report.summary.filter(pl.col("protocol") == UNSEEN_TYPES)
    assert unseen["accuracy"].null_count() == len(LABELS)
    assert unseen["reason"].str.contains("nothing to tell apart").all()
    assert report.metrics["unseen_priority_accuracy"] is None
    assert report.summary.filter(pl.col("protocol") == HELD_OUT_USERS)["accuracy"].to_list() == [1.0] * len(LABELS)


def test_a_label_with_one_value_is_never_predicted(user_events):
    events = user_events(300, seed=13, types=("add_to_cart", "search"))
    classifier = fit(events, classify(events))
    assert classifier.constant == {
        "data_type": "user_behavior",
        "priority": "medium",
        "processing_strategy": "stream",
    }
    predicted = classifier.predict(events, threshold=0)
    assert predicted["priority"].null_count() == predicted["priority_confidence"].null_count() == events.height
    assert predicted["retention_policy"].null_count() == 0


def test_events_of_one_kind_are_refused_in_a_sentence(user_events):
    events = user_events(50, seed=14, types=("click",))
    with pytest.raises(NothingToDo, match="at least two kinds"):
        fit(events, classify(events))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels.head(3), "one for each"),
        (lambda labels: labels.drop("priority"), "priority"),
        (lambda labels: labels.with_columns(priority=pl.lit(None, pl.String)), "nulls in priority"),
        (lambda labels: labels.with_columns(target_servers=pl.lit(["oracle"])), "oracle"),
    ],
)
def test_labels_that_cannot_be_learned_from_are_refused(user_events, change, message):
    events = user_events(50, seed=15)
    with pytest.raises(BadInput, match=message):
        fit(events, change(classify(events)))
