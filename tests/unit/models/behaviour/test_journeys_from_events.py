"""Which events are steps, where sessions begin and end, and which stage a user has reached."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.events.journey_stages import STAGES
from neonblue_lab.models.behaviour.sessions import steps, trait_levels
from neonblue_lab.models.behaviour.stages import END, START, flow, funnel, stage_after


def stages(found):
    return [STAGES[place] if place >= 0 else None for place in stage_after(found)]


def test_what_the_lab_notes_of_a_user_is_no_step_and_an_unknown_type_of_behaviour_is_one(written):
    found = steps(
        written(
            [
                {"event_type": "page_view", "minute": 0},
                {"event_type": "exposure", "topic": "experiments_events", "minute": 1},
                {"event_type": "wishlist", "minute": 2},
                {"event_type": "session_summary", "minute": 3},
                {"event_type": "heartbeat", "topic": "elsewhere", "minute": 4},
            ]
        )
    )
    assert [found.actions[code] for code in found.action] == ["page_view", "wishlist"]
    assert found.event.tolist() == [0, 2]


def test_without_an_id_a_session_lasts_until_nothing_was_heard_for_half_an_hour(written):
    found = steps(written({"event_type": "click", "minute": minute} for minute in (0, 30, 60, 90.1)))
    assert found.session.tolist() == [0, 0, 0, 1]


def test_with_an_id_a_session_is_what_the_id_says(written):
    rows = [(0, "a"), (600, "a"), (601, "b"), (602, None), (640, None)]
    found = steps(written({"event_type": "click", "minute": m, "session_id": s} for m, s in rows))
    assert found.session.tolist() == [0, 0, 1, 1, 2]


def test_users_are_kept_apart_and_one_without_an_id_is_their_session(written):
    rows = [(0, "u", "a"), (1, None, "b"), (2, "v", None), (3, None, "b"), (4, None, None)]
    found = steps(written({"event_type": "click", "minute": m, "user_id": u, "session_id": s} for m, u, s in rows))
    assert sorted(found.users) == ["b", "u", "v"]
    assert dict(zip(found.users, np.bincount(found.user), strict=True)) == {"b": 2, "u": 1, "v": 1}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, "a", "b"]), st.integers(1, 50)), max_size=30))
def test_sessions_follow_each_other_and_what_comes_later_never_changes_them(written, drawn):
    minute, rows = 0, []
    for user, session, pause in drawn:
        minute += pause
        rows.append({"event_type": "click", "minute": minute, "user_id": f"u{user}", "session_id": session})
    found = steps(written(rows))
    assert (np.diff(found.session) >= 0).all()
    assert (np.diff(found.user) >= 0).all()
    inside = np.diff(found.user) == 0
    assert (np.diff(found.time)[inside] > 0).all()
    shared = {tuple(found.event[found.session == one].tolist()) for one in np.unique(found.session)}
    for cut in range(len(rows)):
        earlier = steps(written(rows[:cut]))
        parts = [earlier.event[earlier.session == one].tolist() for one in np.unique(earlier.session)]
        assert all(any(list(whole[: len(part)]) == part for whole in shared) for part in parts)


def test_the_order_in_which_events_arrive_does_not_matter(simulated):
    events = simulated.head(3_000)
    shuffled = events.sample(fraction=1, shuffle=True, seed=1)
    one, other = (steps(frame, actions=("click", "page_view")) for frame in (events, shuffled))
    said = [sorted(zip(f.users.gather(f.user), f.time.tolist(), f.action.tolist(), strict=True)) for f in (one, other)]
    assert said[0] == said[1]
    assert one.first.size == other.first.size


def test_traits_are_those_of_a_sessions_first_step_and_details_part_an_event_type(written):
    rows = [
        {"event_type": "click", "minute": 0, "properties": '{"device_type":"mobile","kind":"sale"}'},
        {"event_type": "click", "minute": 1, "properties": '{"device_type":"desktop","kind":"new"}'},
        {"event_type": "purchase", "minute": 2, "properties": None},
    ]
    found = steps(written(rows), traits=["device_type", "absent"], detail="kind")
    assert found.traits.to_dicts() == [{"device_type": "mobile", "absent": None}]
    assert [found.actions[code] for code in found.action] == ["click:sale", "click:new", "purchase"]
    assert found.codes(["click"]).size == 2
    assert trait_levels(found.traits) == {"device_type": ("mobile",), "absent": ()}
    assert stages(found) == ["consideration", "consideration", "purchase"]


def test_a_stage_is_the_deepest_of_the_session_and_who_bought_before_is_in_retention(written):
    rows = [
        ("wishlist", 0),
        ("page_view", 1),
        ("search", 2),
        ("page_view", 3),
        ("add_to_cart", 4),
        ("purchase", 5),
        ("page_view", 6),
        ("page_view", 500),
        ("click", 501),
        ("add_to_cart", 502),
    ]
    found = steps(written({"event_type": kind, "minute": minute} for kind, minute in rows))
    assert stages(found) == [
        *(None, "awareness", "consideration", "consideration", "intent", "purchase", "purchase"),
        *("retention", "retention", "intent"),
    ]


def test_a_purchase_of_one_user_is_not_anothers(written):
    rows = [("purchase", 0, "a"), ("page_view", 5, "b"), ("page_view", 600, "b"), ("page_view", 700, "a")]
    found = steps(written({"event_type": k, "minute": m, "user_id": u} for k, m, u in rows))
    assert stages(found) == ["purchase", "retention", "awareness", "awareness"]


def test_the_funnel_and_the_flow_count_sessions_and_transitions(written):
    rows = [("page_view", 0), ("add_to_cart", 1), ("page_view", 100), ("click", 200), ("purchase", 201)]
    found = steps(written({"event_type": kind, "minute": minute} for kind, minute in rows))
    assert funnel(found)["sessions"].to_list() == [3, 2, 2, 1]
    assert funnel(found)["share"].to_list() == pytest.approx([1, 2 / 3, 2 / 3, 1 / 3])
    seen = {(row["source"], row["target"]): row["share"] for row in flow(found).iter_rows(named=True)}
    assert seen[START, "page_view"] == pytest.approx(2 / 3)
    assert seen["page_view", END] == seen["page_view", "add_to_cart"] == 0.5
    assert seen["click", "purchase"] == 1


def test_a_missing_column_is_named():
    with pytest.raises(BadInput, match="properties is missing"):
        steps(pl.DataFrame(schema=["event_type", "topic", "user_id", "session_id", "timestamp"]))
