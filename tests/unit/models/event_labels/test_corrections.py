"""What a person corrects is kept, wins over the rules, is learned by the next training, and is refused in a sentence if it
cannot be."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.events.classification import LABELS, classify
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import DERIVED
from neonblue_lab.models.event_labels.classifier import fit, label_texts
from neonblue_lab.models.event_labels.corrections import CORRECTION_SHARE, corrected, correction_rows, known_values
from neonblue_lab.models.event_labels.form import correction_form
from neonblue_lab.models.models import Models
from neonblue_lab.warehouse.warehouse import Warehouse

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def _correction(event_type, event_id=None, **labels):
    return correction_rows(labels, event_id=event_id, event_type=event_type, author="ann", note="")


@pytest.fixture
def lab(user_events, tmp_path):
    """Models over a lake of 600 simulated events; `home` is its folder."""
    lake = Lake(tmp_path / "lake")
    events = user_events(600, seed=1).with_columns(
        timestamp=NOON + pl.duration(minutes=pl.int_range(pl.len())), event_date=NOON.date()
    )
    lake.ensure_derived()
    lake.append(
        "events",
        events.select(
            events[name] if name in events.columns else pl.lit(None, dtype).alias(name)
            for name, dtype in DERIVED["events"].schema.items()
        ).cast({"timestamp": DERIVED["events"].schema["timestamp"]}),
    )
    held = {"warehouse": Warehouse(lake)}

    def refresh():
        held["warehouse"] = Warehouse(lake)

    return Models(ArtifactStore(tmp_path / "artifacts"), lake, lambda: held["warehouse"], refresh)


# --- in training ------------------------------------------------------------------------------------------------------


def test_a_correction_of_an_event_wins_over_its_type_and_both_over_the_rule(user_events):
    events = user_events(300, seed=1)
    target = events.filter(event_type="search")["event_id"][0]
    corrections = pl.concat(
        [
            _correction("search", priority="low", target_servers="chromadb,clickhouse"),
            _correction("search", target, priority="high"),
        ]
    )
    rules = classify(events)
    labels, weights = corrected(events, rules, corrections)
    assert labels.schema == rules.schema
    is_search, is_target = events["event_type"] == "search", events["event_id"] == target
    assert labels.filter(~is_search).equals(rules.filter(~is_search))
    assert labels.filter(is_target)["priority"].to_list() == ["high"]
    assert set(labels.filter(is_search & ~is_target)["priority"]) == {"low"}
    assert {tuple(stores) for stores in labels.filter(is_search)["target_servers"]} == {("clickhouse", "chromadb")}
    assert weights.filter(~is_target).unique().to_list() == [1.0]
    assert weights.filter(is_target).to_list() == [pytest.approx(CORRECTION_SHARE * is_search.sum())]


def test_without_corrections_the_rules_hold(user_events):
    events = user_events(100, seed=2)
    labels, weights = corrected(events, classify(events), _correction("search", priority="low").clear())
    assert labels.equals(classify(events))
    assert weights.unique().to_list() == [1.0]


def test_one_corrected_event_is_learned_with_those_of_its_content_and_no_others(user_events):
    events = user_events(3000, seed=3)
    chosen = events.filter(event_type="click").row(0, named=True)
    alike = (events["event_type"] == "click") & (events["properties"] == chosen["properties"])
    labels, weights = corrected(events, classify(events), _correction("click", chosen["event_id"], priority="high"))
    predicted = fit(events, labels, weights=weights).predict(events, threshold=0)["priority"]
    before = label_texts(classify(events), events.height)["priority"]
    assert set(predicted.filter(alike)) == {"high"}
    assert (predicted == before).filter(~alike).mean() > 0.98


# --- kept -------------------------------------------------------------------------------------------------------------


def test_the_latest_correction_of_a_label_holds(lab):
    for value in ("medium", "high"):
        lab.correct(event_type="click", priority=value, author="ann")
    lab.correct(event_type="click", retention_policy="permanent", author="bo", note="asked for by finance")
    kept = lab.corrections()
    assert dict(kept.select("label", "value").iter_rows()) == {"priority": "high", "retention_policy": "permanent"}
    assert kept.filter(label="retention_policy").select("author", "note").row(0) == ("bo", "asked for by finance")


def test_the_next_training_knows_it_and_says_whether_it_agrees(lab):
    lab.correct(event_type="add_to_cart", priority="high", author="ann")
    lab.correct(event_id="e0", retention_policy="permanent", author="ann")
    artifact, report = lab.train_event_classifier(limit=600)
    assert artifact.manifest.parameters["corrections"] == 2
    assert artifact.manifest.data_versions["corrections"] == 2
    by_type = report.corrections.filter(scope="event_type").row(0, named=True)
    assert by_type["events"] > 50
    assert (by_type["predicted"], by_type["agrees"]) == ("high", True)
    assert "People corrected 2 label(s)" in artifact.card
    actual = report.outcomes.filter(label="priority", event_type="add_to_cart")["actual"].unique().to_list()
    assert actual == ["high"]


def test_people_who_correct_at_once_are_all_heard(lab):
    def correct(place):
        lab.correct(event_id=f"e{place}", priority="high", author=f"person {place}")

    with ThreadPoolExecutor(6) as people:
        list(people.map(correct, range(12)))
    lab._refresh()
    assert sorted(lab.corrections()["author"]) == sorted(f"person {place}" for place in range(12))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"event_id": "nobody", "priority": "high"}, NotFound, "no event 'nobody'"),
        ({"event_type": "clack", "priority": "high"}, NotFound, "it holds add_to_cart, click, page_view"),
        ({"event_type": "click", "priority": "urgent"}, BadInput, "one of high, low, medium"),
        ({"event_type": "click", "colour": "red"}, BadInput, "'colour' is no label"),
        ({"event_type": "click", "target_servers": ["oracle"]}, BadInput, "chromadb, clickhouse, postgres"),
        ({"event_type": "click"}, BadInput, "name at least one label"),
        ({"event_type": "click", "priority": "high", "author": " "}, BadInput, "who says so"),
        ({"event_type": "click", "event_id": "e1", "priority": "high"}, BadInput, "either one event"),
        ({"priority": "high"}, BadInput, "either one event"),
        ({"event_type": "click", "priority": None}, BadInput, "None is no value of priority"),
        ({"event_type": "click", "priority": 5}, BadInput, "5 is no value of priority"),
        ({"event_type": "click", "target_servers": [None]}, BadInput, "is no value of target_servers"),
        ({"event_type": "click", "priority": "high", "author": None}, BadInput, "who says so"),
        ({"event_id": "e0' OR 1=1 --", "priority": "high"}, NotFound, "no event"),
    ],
)
def test_what_cannot_be_corrected_is_said_and_not_stored(lab, call, error, message):
    with pytest.raises(error, match=message):
        lab.correct(**{"author": "ann"} | call)
    assert lab.corrections().is_empty()


def test_every_value_of_the_rules_is_known(user_events):
    events = user_events(100, seed=1)
    texts = label_texts(classify(events), events.height)
    for label in LABELS:
        assert {part for text in texts[label] for part in text.split("+")} <= set(known_values(label))


# --- looked at --------------------------------------------------------------------------------------------------------


def test_what_is_least_sure_is_shown_once_for_each_content_and_not_after_it_was_corrected(lab):
    lab.train_event_classifier(limit=600)
    unsure = lab.least_sure(limit=6)
    assert unsure["event_type"].n_unique() == unsure.height == 6  # type by type in turn
    assert unsure["confidence"].is_sorted()
    lab.correct(event_id=unsure["event_id"][0], priority="high", author="ann")
    lab.correct(event_type=unsure["event_type"][1], priority="high", author="ann")
    left = lab.least_sure(limit=1000)
    assert unsure["event_id"][0] not in left["event_id"]
    assert unsure["event_type"][1] not in left["event_type"]


def test_drift_is_told_of_what_came_later(lab):
    lab.train_event_classifier(limit=600)
    with pytest.raises(NotFound, match="No event happened after 2026-01-05 21:59"):
        lab.drift()
    moved = lab.drift(since=NOON + timedelta(hours=5))
    assert moved["psi"].is_sorted(descending=True)
    assert {"keys", "value", "like", "sure of priority"} <= set(moved["feature"])


def test_the_form_stores_what_was_changed_and_says_what_is_refused(lab):
    lab.train_event_classifier(limit=600)
    form = lab.correction_form()
    widgets = {child.description: child for child in form.children if hasattr(child, "description")}
    button, said = widgets["Store correction"], form.children[-1]
    button.click()
    assert "name at least one label" in said.value
    event = lab.least_sure(limit=1).row(0, named=True)
    changed = next(value for value in known_values("priority") if value != event["priority"])
    widgets["priority"].value = changed
    button.click()
    assert "who says so" in said.value
    assert lab.corrections().is_empty()
    widgets["Author"].value = "ann"
    button.click()
    assert "<b>Stored:</b>" in said.value
    stored = lab.corrections().row(0, named=True)
    assert (stored["scope"], stored["event_id"], stored["label"], stored["value"], stored["author"]) == (
        *("event", event["event_id"], "priority", changed, "ann"),
    )


def test_a_form_without_events_says_so():
    empty = pl.DataFrame()
    (said,) = correction_form(empty, lambda: empty).children
    assert "no event to look at" in said.value
