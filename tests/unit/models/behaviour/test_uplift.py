"""Whom a variant helps: found where it is planted, not found where it is not, and never without overlap."""

import numpy as np
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.models.behaviour import uplift
from neonblue_lab.models.behaviour.assignment import ExperimentUplift

KINDS = 4
LIKE_THE_LAST = np.array([[0.0, 0, 1, 0, 0]])
LIKE_THE_FIRST = np.array([[0.0, 0, 0, 0, 0]])


def world(seed, *, users=2_000, arms=2, shift=0.0, differs=0.0, base=0.3):
    """Users of four kinds; variants add `shift` for all, and `differs` more for the last kind alone."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, KINDS, users)
    x = np.column_stack([kind == 1, kind == 2, kind == 3, rng.random(users) < 0.5, rng.normal(size=users)]).astype(
        float
    )
    arm = rng.integers(0, arms, users)
    chance = base + 0.1 * x[:, 3] + 0.05 * x[:, 0] + (arm > 0) * (shift + differs * x[:, 2])
    return x, arm, (rng.random(users) < chance).astype(float), kind


def share_of_worlds_in_which_it_varies(worlds=200, **truth):
    return np.mean([uplift.fit(*world(seed, **truth), seed=seed).varies for seed in range(worlds)])


# Binomial, 200 worlds at 0.05: above 0.1 with probability 0.001.
@pytest.mark.parametrize(
    "truth",
    [{}, {"arms": 3}, {"shift": 0.1}, {"users": 400}, {"base": 0.02}],
    ids=["no effect", "two variants", "the same effect for all", "few users", "rare conversions"],
)
def test_where_no_difference_is_planted_one_is_found_about_as_rarely_as_stated(truth):
    assert share_of_worlds_in_which_it_varies(**truth) <= 0.1


def test_a_planted_difference_is_found_and_its_intervals_cover_it():
    found, covered = [], []
    for seed in range(150):
        learned = uplift.fit(*world(seed, differs=0.25), seed=seed)
        found.append(learned.varies)
        _, low, high = learned.of(np.vstack([LIKE_THE_LAST, LIKE_THE_FIRST]))
        covered.append((low[:, 0] <= [0.25, 0]) & (high[:, 0] >= [0.25, 0]))
    assert np.mean(found) > 0.9
    assert np.mean(covered) > 0.9
    assert np.mean(covered) < 0.99


def test_the_effect_on_all_is_covered_as_often_as_stated():
    covered = []
    for seed in range(300):
        effect, low, high = uplift.fit(*world(seed, shift=0.05, differs=0.2), seed=seed).of_all()
        covered.append(low[0] <= 0.05 + 0.2 / KINDS <= high[0])
        assert low[0] < effect[0] < high[0]
    assert 0.91 <= np.mean(covered) <= 0.985


def test_who_is_helped_gets_the_variant_and_who_is_not_does_not():
    learned = uplift.fit(*world(4, users=6_000, differs=0.3, shift=-0.12), seed=1)
    one = ExperimentUplift("e", ("control", "variant"), learned, "")
    helped, harmed = one.recommend(LIKE_THE_LAST[0]), one.recommend(LIKE_THE_FIRST[0])
    assert (helped.variant, helped.personalised) == ("variant", True)
    assert helped.effect is not None
    assert helped.effect[1] > 0
    assert (harmed.variant, harmed.personalised, harmed.effect) == ("control", True, None)
    assert "every variant does harm" in " ".join(harmed.basis)
    assert one.recommended(np.vstack([LIKE_THE_LAST, LIKE_THE_FIRST])).tolist() == [1, 0]


def test_without_a_difference_it_says_so_and_the_control_stays():
    one = ExperimentUplift("e", ("control", "variant"), uplift.fit(*world(3), seed=1), "")
    said = one.recommend(LIKE_THE_LAST[0])
    assert (said.variant, said.personalised, said.effect) == ("control", False, None)
    assert "No difference seen" in " ".join(said.basis)


def test_a_winner_for_all_is_recommended_to_all_even_to_somebody_unknown():
    one = ExperimentUplift(
        "e", ("control", "a", "b"), uplift.fit(*world(3, users=6_000, arms=3, shift=0.1), seed=1), ""
    )
    for said in (one.recommend(LIKE_THE_LAST[0]), one.recommend(None)):
        assert said.variant in ("a", "b")
        assert not said.personalised


def test_kinds_that_hardly_got_a_variant_forbid_recommendations_for_single_users():
    x, arm, outcome, kind = world(5, users=6_000, differs=0.4)
    arm = np.where((kind == 3) & (np.random.default_rng(1).random(arm.size) < 0.98), 0, arm)
    learned = uplift.fit(x, arm, outcome, kind, seed=1)
    assert not learned.overlap.holds
    said = ExperimentUplift("e", ("control", "variant"), learned, "").recommend(LIKE_THE_LAST[0])
    assert not said.personalised
    assert said.overlap is False
    assert "hardly got some variant" in " ".join(said.basis)


def test_a_split_that_depends_on_the_kind_is_seen_and_a_random_one_is_not():
    held = [uplift.fit(*world(seed), seed=seed).overlap.holds for seed in range(100)]
    assert np.mean(held) > 0.97
    x, arm, outcome, kind = world(5, users=6_000)
    more = np.where((kind == 1) & (np.random.default_rng(1).random(arm.size) < 0.3), 1, arm)
    assert not uplift.fit(x, more, outcome, kind, seed=1).overlap.holds


def test_a_split_that_depends_on_the_kind_does_not_bias_the_effect():
    effects = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        kind = rng.integers(0, 2, 2_000)
        arm = (rng.random(2_000) < np.where(kind == 1, 0.8, 0.3)).astype(np.int64)
        outcome = (rng.random(2_000) < 0.2 + 0.4 * kind + 0.05 * arm).astype(float)
        effects.append(uplift.fit(kind[:, None].astype(float), arm, outcome, kind, seed=seed).effect[0])
    assert np.mean(effects) == pytest.approx(0.05, abs=0.008)


def test_what_a_few_users_have_or_others_tell_is_not_used():
    x, arm, outcome, kind = world(6)
    rare = np.zeros(arm.size)
    rare[:20] = 1
    wide = np.column_stack([x, x[:, 0], 1 - x[:, 1], rare, np.ones(arm.size)])
    assert uplift.fit(wide, arm, outcome, kind, seed=1).used.tolist() == [0, 1, 2, 3, 4]


def test_too_few_users_are_refused_with_their_numbers():
    x, arm, outcome, kind = world(6, users=90)
    with pytest.raises(BadInput, match="at least 50"):
        uplift.fit(x, arm, outcome, kind, seed=1)


def test_what_is_read_back_says_the_same():
    learned = uplift.fit(*world(4, arms=3, differs=0.2), seed=1)
    one = ExperimentUplift("e", ("control", "a", "b"), learned, "")
    again = ExperimentUplift.of_dict(one.to_dict())
    assert again.recommend(LIKE_THE_LAST[0]) == one.recommend(LIKE_THE_LAST[0])
    np.testing.assert_array_equal(again.recommended(LIKE_THE_LAST), one.recommended(LIKE_THE_LAST))
