"""The model of behaviour, learned from simulated users: what it answers, and that it answers the same wherever it is asked."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.models.behaviour import artifact as behaviour_artifact
from neonblue_lab.models.behaviour.behaviour import COLD_STEPS, ENRICHED, SESSION_END, Reading
from neonblue_lab.models.behaviour.context import with_context
from neonblue_lab.models.behaviour.learning import learn
from neonblue_lab.models.behaviour.sessions import COLUMNS
from neonblue_lab.models.training.drift import drift

NAMED = {"artifact": "user_behavior", "version": 1}


@pytest.fixture(scope="module")
def experiments(simulated):
    exposures = simulated.filter(event_type="exposure")
    assignments = exposures.group_by("experiment_id", "user_id", "variant_id").agg(
        first_exposed_at=pl.col("timestamp").min()
    )
    variants = exposures.select("experiment_id", "variant_id").unique().sort("experiment_id", "variant_id")
    return assignments.sort("experiment_id", "user_id"), variants.sort(
        "experiment_id", pl.col("variant_id") != "control", "variant_id"
    )


@pytest.fixture(scope="module")
def learned(simulated, experiments):
    return learn(simulated, *experiments, Reading(), seed=1)


@pytest.fixture(scope="module")
def model(learned):
    return learned[0]


@pytest.fixture(scope="module")
def report(learned):
    return learned[1]


@pytest.fixture
def ask(model, simulated):
    def asked(user_id, events=None, *, later=timedelta()):
        own = simulated.filter(user_id=user_id) if events is None else events
        now = own["timestamp"].max() or model.as_of
        return model.predict(user_id, own, now=now + later, **NAMED)

    return asked


def test_both_intents_and_the_next_action_beat_their_baselines(report):
    for question, one in report.intents.items():
        brier = {
            row["model"]: row for row in one.scores.filter(metric="brier", question=question).iter_rows(named=True)
        }
        assert brier["model"]["high"] < brier["base rate"]["value"], question
    losses = {row["model"]: row for row in report.next_action.filter(metric="log_loss").iter_rows(named=True)}
    assert losses["model"]["high"] < losses["most frequent"]["low"]


def test_a_higher_score_is_followed_by_more_conversions(report):
    assert report.bands.filter(pl.col("moments") > 100)["converted"].is_sorted()


def test_someone_known_gets_an_answer_of_their_own(ask, simulated):
    busy = simulated.drop_nulls("session_id").filter(pl.col("event_type") == "add_to_cart")["user_id"][0]
    said = ask(busy)
    assert not said.cold
    assert said.segment is not None
    assert said.similar_users
    assert busy not in [user.user_id for user in said.similar_users]
    assert said.intent.in_session is not None
    assert 0 <= said.intent.within_days <= 1
    assert 0 <= said.behavioral_score <= 100
    assert sum(step.probability for step in said.next_actions) <= 1.0001


def test_a_session_that_has_converted_is_sure_to_and_one_that_is_over_has_no_chance_of_its_own(ask, simulated):
    buyer = simulated.filter(event_type="purchase")["user_id"][0]
    said = ask(buyer, simulated.filter(user_id=buyer, event_type="purchase"))
    assert said.intent.in_session == 1
    later = ask(buyer, later=timedelta(days=2))
    assert later.intent.in_session is None
    assert later.next_actions[0].action == "session_start"
    assert any("No session is running" in sentence for sentence in later.basis)


def test_nobody_knows_a_new_user_and_the_answer_says_so(ask, model, simulated):
    said = ask("nobody", simulated.clear())
    assert said.cold
    assert said.segment is said.journey_stage is said.intent.in_session is None
    assert said.similar_users == []
    assert said.intent.within_days == model.intents["within_days"].base_rate
    assert "No step of this user is known" in said.basis[0]


def test_a_user_of_few_steps_is_cold_and_the_answer_says_so(ask, simulated):
    steps = simulated.filter(pl.col("event_type").is_in(["session_start", "page_view"]))
    one = steps.filter(user_id=steps["user_id"][0]).head(COLD_STEPS - 1)
    said = ask(steps["user_id"][0], one)
    assert said.cold
    assert said.segment is not None
    assert any("hardly anything" in sentence for sentence in said.basis)


def test_a_context_counts_as_what_has_just_happened(model, simulated):
    known = simulated.filter(user_id="nobody").select(COLUMNS)
    now = model.as_of
    context = [{"event_type": "session_start"}, {"event_type": "add_to_cart"}, {"event_type": "checkout_start"}]
    events = with_context(known, "nobody", context, now=now, gap=model.reading.gap)
    said = model.predict("nobody", events, now=now, **NAMED)
    assert said.journey_stage == "intent"
    assert said.intent.in_session > model.intents["in_session"].base_rate
    assert said.next_actions[0].action == "conversion"
    assert said.intent.in_session > model.predict("nobody", events.head(1), now=now, **NAMED).intent.in_session


def test_a_context_goes_on_with_the_running_session_and_not_with_one_that_is_over(written):
    known = written([{"event_type": "click", "minute": 0, "session_id": "s"}]).select(COLUMNS)
    for minutes, session in ((10, "s"), (100, "u/now")):
        now = known["timestamp"][0] + timedelta(minutes=minutes)
        found = with_context(known, "u", [{"event_type": "click"}], now=now, gap=timedelta(minutes=30))
        assert found["session_id"].to_list() == ["s", session]


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        ({}, "Event 0 of the context needs an event_type"),
        ({"event_type": "click", "page": "/"}, "has the fields page"),
        ({"event_type": "click", "timestamp": "yesterday"}, "give it like"),
        ({"event_type": "click", "properties": "mobile"}, "must be an object"),
        ("click", "Event 0 of the context is of type str"),
        ({"event_type": "click", 5: 6}, "has the fields 5"),
        ({"event_type": "click", "timestamp": "0001-01-01T00:00:00Z"}, "before 1970"),
        ({"event_type": "click", "timestamp": "0001-01-01T00:00:00+14:00"}, "give it like"),
        ({"event_type": "click", "properties": {"device_type": {"mobile"}}}, "properties that are no JSON"),
        ({"event_type": "click", "properties": {"device_type": "\ud800"}}, "properties that are no JSON"),
    ],
)
def test_a_context_that_cannot_be_read_is_refused(written, event, complaint):
    with pytest.raises(BadInput, match=complaint):
        with_context(
            written([]), "u", [event], now=written([{"event_type": "a", "minute": 0}])["timestamp"][0], gap=timedelta(1)
        )


def test_enrichment_fills_one_row_an_event_in_order(model, simulated):
    enriched = model.enrich(simulated)
    assert dict(enriched.schema) == ENRICHED
    assert enriched.height == simulated.height
    own = simulated["user_id"].is_not_null()
    assert enriched.filter(own).drop("recommended_variant", "segment").null_count().sum_horizontal()[0] == 0
    assert enriched.filter(~own).null_count().row(0) == (int((~own).sum()),) * 7
    bought = simulated["event_type"] == "purchase"
    assert (enriched.filter(bought)["intent_prediction"] == 1).all()
    assert (enriched.filter(bought)["user_journey_stage"] == "purchase").all()
    named = simulated["experiment_id"].is_in(list(model.uplifts)).fill_null(False) & own
    assert enriched.filter(named)["recommended_variant"].null_count() == 0
    assert enriched.filter(~named)["recommended_variant"].null_count() == int((~named).sum())


def test_enrichment_does_not_depend_on_the_order_of_events_or_on_later_ones(model, simulated):
    # Sessions of equal moments keep the order that they came in.
    events = simulated.filter(pl.col("timestamp").is_first_distinct()).head(5_000)
    enriched = model.enrich(events)
    assert enriched.equals(model.enrich(events))
    order = np.random.default_rng(1).permutation(events.height)
    assert model.enrich(events[order]).equals(enriched[order])
    for cut in (1, 700, 3_000):
        assert model.enrich(events.head(cut)).equals(enriched.head(cut))


def test_enrichment_says_what_a_question_says(model, simulated):
    own = simulated.filter(pl.col("user_id") == simulated.filter(event_type="search")["user_id"][3])
    fresh = own.with_columns(user_id=pl.lit("someone else"))  # of whom nothing was learned
    last = model.enrich(fresh).row(-1, named=True)
    said = model.predict("someone else", fresh, now=fresh["timestamp"].max(), **NAMED)
    assert last["user_journey_stage"] == said.journey_stage
    assert last["intent_prediction"] == pytest.approx(said.intent.in_session, abs=1e-6)


def test_an_exposure_gets_what_the_running_session_says_and_nothing_before_the_first_step(model, written):
    rows = [
        {"event_type": "exposure", "topic": "experiments_events", "minute": 0},
        {"event_type": "page_view", "minute": 1},
        {"event_type": "exposure", "topic": "experiments_events", "minute": 2},
        {"event_type": "exposure", "topic": "experiments_events", "minute": 200},
    ]
    assert model.enrich(written(rows))["user_journey_stage"].to_list() == [None, "awareness", "awareness", None]


def test_no_events_no_rows(model, simulated):
    assert dict(model.enrich(simulated.clear()).schema) == ENRICHED


def test_the_artifact_answers_as_the_model_did(learned, model, report, simulated, tmp_path):
    store = ArtifactStore(tmp_path)
    published = behaviour_artifact.publish(store, *learned, data_versions={"events": 1}, seed=1)
    again = behaviour_artifact.load(store.get(behaviour_artifact.NAME, published.version))
    events = simulated.head(4_000)
    assert again.enrich(events).equals(model.enrich(events))
    user = simulated["user_id"].drop_nulls()[40]
    own, now = simulated.filter(user_id=user), model.as_of
    one, other = (m.predict(user, own, now=now, **NAMED).model_dump() for m in (model, again))
    close = {"similar_users"}  # vectors are kept in single precision
    assert {k: v for k, v in one.items() if k not in close} == {k: v for k, v in other.items() if k not in close}
    moved = drift(
        behaviour_artifact.load_profile(published),
        pl.DataFrame(
            model.features.after_each_step(model.reading.steps(simulated, model.features.actions)),
            schema=list(model.features.names),
        ),
    )
    assert moved["psi"].max() < 0.1
    for promised in ("When not to believe it", "in_session", "What a score is worth", report.segments.names[0]):
        assert promised in published.card
    assert published.manifest.metrics["in_session_brier"] is not None


def test_learning_is_the_same_for_the_same_seed(simulated, experiments):
    events = simulated.head(6_000)
    one, other = (learn(events, *experiments, Reading(), seed=1)[0] for _ in range(2))
    assert one.enrich(simulated).equals(other.enrich(simulated))


def test_segments_keep_their_numbers_and_names_when_learned_again(model, simulated, experiments):
    later, _ = learn(simulated.head(int(0.9 * simulated.height)), *experiments, Reading(), seed=2, former=model)
    kept = set(zip(later.segments.ids, later.segments.names, strict=True)) & set(
        zip(model.segments.ids, model.segments.names, strict=True)
    )
    assert len(kept) >= len(model.segments.ids) / 2


def test_without_conversions_or_experiments_it_says_so_and_still_knows_what_comes_next(written):
    rng = np.random.default_rng(1)
    rows = [
        {
            "event_type": "click",
            "minute": 60 * user + step,
            "user_id": f"u{user}",
            "properties": f'{{"category":"{kind}"}}',
        }
        for user in range(400)
        for step, kind in enumerate(rng.choice(["shoes", "hats"], 4))
    ]
    nothing = pl.DataFrame(schema={"experiment_id": pl.String, "user_id": pl.String, "variant_id": pl.String})
    assignments = nothing.with_columns(first_exposed_at=pl.lit(None, pl.Datetime("us", "UTC")))
    events = written(rows)
    model, report = learn(events, assignments, nothing.drop("user_id"), Reading(detail="category"), seed=1)
    assert set(report.lacking) == {"in_session", "within_days"}
    assert report.bands.is_empty()
    assert report.uplifts.is_empty()
    said = model.predict("u3", events.filter(user_id="u3"), now=events["timestamp"].max(), **NAMED)
    assert said.intent.within_days is None
    assert any("too few to learn from" in sentence for sentence in said.basis)
    assert {step.action for step in said.next_actions} <= {"click:shoes", "click:hats", SESSION_END}
    assert model.enrich(events)["intent_prediction"].null_count() == events.height
    with pytest.raises(NotFound, match="has not learned from an experiment"):
        model.recommend("e", events)


def test_events_without_any_step_are_refused(written):
    only_notes = written([{"event_type": "session_summary", "minute": 1}])
    with pytest.raises(NotFound, match="no behaviour to learn from"):
        learn(only_notes, pl.DataFrame(), pl.DataFrame(), Reading(), seed=1)
