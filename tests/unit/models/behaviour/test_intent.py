"""The probability of a conversion: as good as the truth allows, honest about the future, silent where nothing can be learned."""

from dataclasses import replace

import numpy as np
import pytest

from neonblue_lab.models.behaviour import intent, snapshots
from neonblue_lab.models.behaviour.features import AWAY, DAY, FeatureSet
from neonblue_lab.models.behaviour.sessions import GAP, steps
from neonblue_lab.models.behaviour.stages import stage_after
from neonblue_lab.models.training.leaks import Leak

CONVERSIONS = ("purchase",)


def moments(events, days=None, seed=1):
    found = steps(events)
    features = FeatureSet(found.actions, CONVERSIONS, {})
    known, stage = features.after_each_step(found), stage_after(found)
    if days is None:
        return snapshots.in_session(found, features, known, stage, gap=GAP, seed=seed), found
    return snapshots.within_days(found, features, known, stage, days=days, gap=GAP, seed=seed), found


def test_a_moment_lies_before_the_conversion_that_it_asks_about(shop):
    asked, found = moments(shop)
    purchase = found.actions.index("purchase")
    assert not (found.action[asked.step] == purchase).any()
    sessions = found.session[asked.step]
    buys = set(found.session[found.action == purchase].tolist())
    assert asked.converts.tolist() == [session in buys for session in sessions.tolist()]
    assert np.unique(sessions).size == len(asked)


def test_within_days_asks_of_the_days_after_the_moment_and_of_no_others(shop):
    days = 3
    asked, found = moments(shop, days=days)
    purchases = {}
    for user in found.user.tolist():
        purchases.setdefault(user, [])
    for user, time in zip(
        *(part[found.action == found.actions.index("purchase")] for part in (found.user, found.time)), strict=True
    ):
        purchases[int(user)].append(int(time))
    expected = [
        any(moment < time <= moment + days * DAY for time in purchases[user])
        for user, moment in zip(asked.user.tolist(), asked.time.tolist(), strict=True)
    ]
    assert asked.converts.tolist() == expected
    assert (asked.time + days * DAY <= found.time.max()).all()
    assert (found.time[asked.step] <= asked.time).all()
    assert (found.user[asked.step] == asked.user).all()


def test_the_tested_moments_come_after_all_that_was_known_in_training_and_are_of_other_users(shop):
    asked, found = moments(shop, days=3)
    split = snapshots.honest_split(asked, found, seed=1)
    assert asked.known_at[split.train].max() < asked.time[split.test].min()
    assert not set(asked.user[split.train].tolist()) & set(asked.user[split.test].tolist())


def test_what_came_of_a_session_is_known_once_it_counts_as_over(shop):
    asked, found = moments(shop)
    last = {int(session): int(time) for session, time in zip(found.session, found.time, strict=True)}
    ends = np.array([last[session] for session in found.session[asked.step].tolist()])
    assert (asked.known_at - ends == GAP.total_seconds() * 1e6).all()


def test_a_moment_whose_features_come_from_after_it_is_found(shop):
    asked, found = moments(shop, days=3)
    later = np.minimum(asked.step + 1, len(found) - 1)
    with pytest.raises(Leak, match="the feature last step was computed from data after the row's own time"):
        snapshots.honest_split(replace(asked, step=later), found, seed=1)


def test_it_is_as_good_as_the_truth_allows_and_calibrated(shop):
    asked, found = moments(shop)
    report = intent.evaluate(asked, found, seed=1)
    brier = {row["model"]: row for row in report.scores.filter(metric="brier").iter_rows(named=True)}
    assert brier[intent.MODEL]["high"] < brier[intent.BASE_RATE]["value"]
    # Whoever knows whether there is a cart can do no better than this; at a first view nobody knows.
    has_cart = asked.features[:, asked.names.index("count:add_to_cart")] > 0
    clicked = asked.features[:, asked.names.index("count:click")] > 0
    truth = np.where(has_cart, 0.6, np.where(clicked, 0.1, 0.35))
    rows = report.held_out["row"].to_numpy()
    best = ((truth[rows] - asked.converts[rows]) ** 2).mean()
    assert brier[intent.MODEL]["value"] < best + 0.01
    assert np.abs(report.held_out["stated"].to_numpy() - truth[rows]).mean() < 0.05
    assert report.facts["calibration_error"] < 0.1  # some 500 moments, in 4 groups
    assert report.reliability["observed"].is_sorted()


def test_each_moment_gets_the_answer_that_it_would_get_alone_and_features_left_out_are_0(shop):
    asked, _ = moments(shop, days=3)
    model = intent.fit(asked, seed=1)
    stated = model.probability(asked.features)
    for size in (1, 3, 17):
        np.testing.assert_array_equal(model.probability(asked.features[:size]), stated[:size])
    without = asked.features.copy()
    without[:, -len(AWAY) :] = 0
    np.testing.assert_array_equal(model.probability(without[:, : -len(AWAY)]), model.probability(without))


def test_the_last_step_up_to_a_moment_is_found(shop):
    found = steps(shop.head(500))
    rng = np.random.default_rng(4)
    user = rng.integers(0, len(found.users), 300)
    time = np.append(rng.choice(found.time, 150), rng.integers(found.time.min() - 5, found.time.max() + 5, 150))
    upto = (found.user[None] < user[:, None]) | (
        (found.user[None] == user[:, None]) & (found.time[None] <= time[:, None])
    )
    np.testing.assert_array_equal(snapshots.Timeline(found).last_step(user, time), upto.sum(axis=1) - 1)


def test_where_nothing_tells_it_beats_nobody(written):
    rng = np.random.default_rng(2)
    rows = [
        {"event_type": kind, "minute": minute + step, "user_id": f"u{user}"}
        for user, minute in enumerate(rng.uniform(0, 40_000, 1_500))
        for step, kind in enumerate(["page_view", "click", "purchase"][: 3 if rng.random() < 0.4 else 2])
    ]
    asked, found = moments(written(rows))
    auc = intent.evaluate(asked, found, seed=1).scores.filter(metric="auc", model=intent.MODEL)
    assert auc["low"][0] <= 0.5 <= auc["high"][0]


def test_without_conversions_it_says_why_it_cannot_be_learned(written):
    rows = ({"event_type": "click", "minute": 40 * n, "user_id": f"u{n}"} for n in range(500))
    asked, found = moments(written(rows))
    with pytest.raises(intent.TooFew, match="0 were followed by a conversion"):
        intent.evaluate(asked, found, seed=1)


def test_a_model_read_back_says_the_same(shop):
    asked, _ = moments(shop)
    model = intent.fit(asked, seed=1)
    again = intent.IntentModel.of(model.to_dict(), model.to_arrays())
    np.testing.assert_array_equal(model.probability(asked.features), again.probability(asked.features))
    assert "count:add_to_cart" in intent.drivers("in_session", model)["feature"].to_list()[:3]
