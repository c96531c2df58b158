"""The features of a user after a step hold the past of that step, all of it, and nothing of its future."""

import numpy as np
import polars as pl
import pytest

from neonblue_lab.models.behaviour.features import FeatureSet, Past, conversions_of, summary_of_users
from neonblue_lab.models.behaviour.sessions import steps, trait_levels

TRAITS = ("device_type", "traffic_source")
CONVERSIONS = ("conversion", "purchase")


def known(events, features):
    found = steps(events, traits=TRAITS, actions=features.actions)
    return dict(zip(found.event.tolist(), features.after_each_step(found).tolist(), strict=True))


@pytest.fixture(scope="module")
def features(simulated):
    found = steps(simulated, traits=TRAITS)
    return FeatureSet(found.actions, CONVERSIONS, trait_levels(found.traits))


def test_later_events_change_nothing(simulated, features):
    events = simulated.head(4_000)
    everything = known(events, features)
    for cut in (1, 100, 1_500, 3_999):
        so_far = known(events.head(cut), features)
        assert all(everything[row] == values for row, values in so_far.items())


def test_what_is_counted(written):
    rows = [
        ("page_view", 0),
        ("click", 1),
        ("purchase", 2),
        ("purchase", 3),
        ("page_view", 2 * 24 * 60 + 3),
    ]
    found = steps(written({"event_type": kind, "minute": minute} for kind, minute in rows))
    features = FeatureSet(("page_view", "click", "purchase"), CONVERSIONS, {})
    found = steps(written({"event_type": kind, "minute": minute} for kind, minute in rows), actions=features.actions)
    frame = pl.DataFrame(np.expm1(features.after_each_step(found).astype(float)), schema=list(features.names))
    assert frame["session_steps"].round(3).to_list() == [1, 2, 3, 4, 1]
    assert frame["session_seconds"].round(1).to_list() == [0, 60, 120, 180, 0]
    assert frame["pause_seconds"].round(1).to_list() == [0, 60, 60, 60, 0]
    assert frame["count:purchase"].round(3).to_list() == [0, 0, 1, 2, 0]
    assert frame["earlier_steps"].round(3).to_list() == [0, 0, 0, 0, 4]
    assert frame["earlier_sessions"].round(3).to_list() == [0, 0, 0, 0, 1]
    assert frame["earlier_conversions"].round(3).to_list() == [0, 0, 0, 0, 1]  # a session has one or none
    assert frame["days_since_earlier"].round(3).to_list() == [0, 0, 0, 0, 2]
    assert conversions_of(found, CONVERSIONS).tolist() == [False, False, True, False, False]


def test_a_remembered_past_is_worth_as_much_as_its_events(simulated, features):
    middle = simulated["timestamp"].quantile(0.6)
    busy = simulated.filter(pl.col("user_id").is_not_null()).with_columns(
        cut=(pl.col("timestamp") > middle).cast(pl.Int8)
    )
    # Sessions that the cut parts are left out: of them, a summary cannot know that they went on.
    whole = busy.filter(pl.col("cut").n_unique().over("session_id") == 1)
    before, after = whole.filter(cut=0), whole.filter(cut=1)
    old = summary_of_users(steps(before, actions=features.actions), CONVERSIONS)
    new = steps(after, traits=TRAITS, actions=features.actions)
    joined = new.users.to_frame().join(old, on="user_id", how="left", maintain_order="left")
    past = Past(
        **{name: joined[name].fill_null(0).to_numpy() for name in ("sessions", "steps", "conversions")},
        last=joined["last"].fill_null(np.iinfo(np.int64).max).to_numpy(),
    )
    remembered = features.after_each_step(new, past=past)
    counted = np.expm1(remembered[:, [features.names.index(name) for name in ("session_steps", "earlier_steps")]])
    np.testing.assert_array_equal(past.made(new), np.rint(counted).sum(axis=1))
    assert joined["last"].count() > 50
    every = steps(whole, traits=TRAITS, actions=features.actions)
    reference = {
        (every.users[user], time, action): row
        for user, time, action, row in zip(
            every.user.tolist(),
            every.time.tolist(),
            every.action.tolist(),
            features.after_each_step(every),
            strict=True,
        )
    }
    for user, time, action, row in zip(
        new.user.tolist(), new.time.tolist(), new.action.tolist(), remembered, strict=True
    ):
        np.testing.assert_allclose(row, reference[new.users[user], time, action], atol=1e-5)


def test_a_past_that_reaches_into_the_events_is_not_believed(written):
    rows = written([{"event_type": "page_view", "minute": 0}, {"event_type": "click", "minute": 1}])
    found = steps(rows)
    features = FeatureSet(found.actions, CONVERSIONS, {})
    one = np.array([5])
    overlapping = Past(one, one, one, last=found.time[:1])
    np.testing.assert_array_equal(features.after_each_step(found, past=overlapping), features.after_each_step(found))
