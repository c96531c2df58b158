from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics import adjusted_rand_score
from statsmodels.stats.proportion import proportion_confint

from neonblue_lab.errors import BadInput
from neonblue_lab.models.behaviour.overrepresentation import lift_interval, lifts, values
from neonblue_lab.models.behaviour.segments import ALL_USERS, Segments, discover
from neonblue_lab.models.behaviour.valleys import valley_p_value
from neonblue_lab.stats.shares import wilson


def planted(count: int, groups: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of norm 1 about as many centres, and the group of each."""
    centres = np.random.default_rng(99).normal(size=(groups, 16))
    random = np.random.default_rng(seed)
    group = random.integers(groups, size=count)
    vectors = centres[group] + 0.6 * random.normal(size=(count, 16))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), group


def profiles(group: np.ndarray, seed: int) -> pl.DataFrame:
    """Group 0 is on mobiles and orders much, group 1 searches; colour says nothing."""
    random = np.random.default_rng(seed)
    count = group.size
    return pl.DataFrame(
        {
            "device": np.where(random.random(count) < np.where(group == 0, 0.9, 0.3), "mobile", "desktop"),
            "searches_at_home": random.random(count) < np.where(group == 1, 0.8, 0.2),
            "orders": random.poisson(np.where(group == 0, 9, 3)),
            "colour": random.choice(["red", "green", "blue"], count),
        }
    )


def nothing(count: int) -> pl.DataFrame:
    return pl.DataFrame({"device": ["mobile", "desktop"] * (count // 2)})


@pytest.fixture(scope="module")
def found() -> tuple[Segments, np.ndarray, np.ndarray]:
    vectors, group = planted(2400, 4, seed=1)
    return discover(vectors, profiles(group, seed=1), seed=5), vectors, group


def test_planted_segments_are_found_and_no_more(found: tuple[Segments, np.ndarray, np.ndarray]) -> None:
    segments, vectors, group = found

    assert segments.found
    assert len(segments.ids) == 4
    assert adjusted_rand_score(group, segments.assign(vectors)) > 0.97
    fresh, fresh_group = planted(500, 4, seed=2)
    assert adjusted_rand_score(fresh_group, segments.assign(fresh)) > 0.97
    assert segments.verdict.startswith("4 segments: weakest valley p = ")


@pytest.mark.parametrize("groups", [2, 6])
def test_other_numbers_of_planted_segments_are_found(groups: int) -> None:
    vectors, group = planted(1800, groups, seed=3)

    segments = discover(vectors, nothing(1800), seed=5)

    assert adjusted_rand_score(group, segments.assign(vectors)) > 0.9
    assert len(segments.ids) == groups


@pytest.mark.parametrize(
    "sides",
    [(1.0,), (1.0, 1.0), (3.0, 1.0), (2.0, 1.0, 1.0), (1.0,) * 8],
    ids=["line", "square", "oblong", "box", "8d"],
)
def test_an_even_cloud_has_no_segments(sides: tuple[float, ...]) -> None:
    cloud = np.random.default_rng(0).uniform(size=(2000, len(sides))) * sides

    segments = discover(cloud, nothing(2000), seed=1)

    assert not segments.found
    assert segments.names == (ALL_USERS,)
    assert segments.shares.row(0)[:4] == (1, ALL_USERS, 2000, 1.0)
    assert segments.verdict.startswith("No segments found")
    assert set(segments.assign(cloud).tolist()) == {1}


def test_one_long_heap_and_directions_of_noise_have_no_segments() -> None:
    random = np.random.default_rng(0)
    heap = random.normal(size=(2000, 4)) * [5, 2, 1, 1]
    noise = random.normal(size=(2000, 12))

    assert not discover(heap, nothing(2000), seed=1).found
    assert not discover(noise / np.linalg.norm(noise, axis=1, keepdims=True), nothing(2000), seed=1).found


def test_valleys_are_seldom_seen_where_there_are_none() -> None:
    small = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        rows = random.uniform(size=(600, 2))
        centroids = random.uniform(size=(3, 2))
        small.append(valley_p_value(rows[:300], rows[300:], centroids) < 0.05)

    assert np.mean(small) <= 0.05


def test_segments_are_named_by_what_is_over_represented(found: tuple[Segments, np.ndarray, np.ndarray]) -> None:
    segments, vectors, group = found
    name_of = dict(zip(segments.ids, segments.names, strict=True))
    names = [name_of[segments.assign(vectors[group == number][:1])[0]] for number in range(4)]

    assert set(names[0].split(" · ")[:2]) == {"mobile", "high orders"}
    assert names[1].startswith("searches at home")
    assert not any(colour in name for name in names for colour in ("red", "green", "blue"))
    assert len(set(names)) == 4


def test_a_refit_keeps_ids_and_names(found: tuple[Segments, np.ndarray, np.ndarray]) -> None:
    former, _, _ = found
    vectors, group = planted(2400, 4, seed=7)

    refit = discover(vectors, profiles(group, seed=7), seed=11, former=former)

    assert sorted(refit.ids) == sorted(former.ids)
    assert adjusted_rand_score(former.assign(vectors), refit.assign(vectors)) > 0.97
    assert (former.assign(vectors) == refit.assign(vectors)).mean() > 0.97
    assert dict(zip(refit.ids, refit.names, strict=True)) == dict(zip(former.ids, former.names, strict=True))


def test_a_refit_on_other_vectors_keeps_ids_by_the_users_in_common(
    found: tuple[Segments, np.ndarray, np.ndarray],
) -> None:
    former, vectors, group = found
    turned = vectors @ np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0]
    kept = group != 3

    refit = discover(
        turned[kept],
        profiles(group, seed=1).filter(kept),
        seed=2,
        former=former,
        former_ids=former.assign(vectors)[kept],
    )

    assert len(refit.ids) == 3
    assert (refit.assign(turned[kept]) == former.assign(vectors)[kept]).mean() > 0.97


def test_a_segment_that_was_not_there_gets_a_new_id(found: tuple[Segments, np.ndarray, np.ndarray]) -> None:
    former, vectors, group = found
    before = np.where(group == 2, 0, former.assign(vectors))

    refit = discover(vectors, profiles(group, seed=1), seed=2, former=former, former_ids=before)

    assert set(refit.assign(vectors[group == 2]).tolist()[:20]) == {max(former.ids) + 1}


def test_a_wished_number_is_taken_and_said_not_to_show() -> None:
    vectors, group = planted(1500, 2, seed=4)

    segments = discover(vectors, profiles(group, seed=4), seed=1, k=5)

    assert len(segments.ids) == 5
    assert not segments.found
    assert "so many were asked for" in segments.verdict
    assert discover(vectors, profiles(group, seed=4), seed=1, k=2).found
    assert len(discover(vectors, profiles(group, seed=4), seed=1, k=1).ids) == 1


def test_shares_are_of_all_users_with_wilsons_interval(found: tuple[Segments, np.ndarray, np.ndarray]) -> None:
    segments, vectors, _ = found
    shares = segments.shares

    assert shares["users"].to_list() == [int((segments.assign(vectors) == number).sum()) for number in segments.ids]
    assert shares["share"].sum() == pytest.approx(1)
    for users, low, high in shares.select("users", "low", "high").iter_rows():
        assert (low, high) == pytest.approx(proportion_confint(users, 2400, method="wilson"))


def test_they_come_back_from_a_file_without_pickle(
    found: tuple[Segments, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    segments, vectors, _ = found
    np.savez(tmp_path / "segments.npz", **segments.to_arrays())
    with np.load(tmp_path / "segments.npz", allow_pickle=False) as arrays:
        back = Segments.from_arrays(arrays)

    assert (back.ids, back.names, back.verdict) == (segments.ids, segments.names, segments.verdict)
    assert np.array_equal(back.assign(vectors), segments.assign(vectors))
    for table in ("profile", "shares", "choice"):
        assert getattr(back, table).equals(getattr(segments, table), null_equal=True)


def test_what_does_not_fit_is_refused(found: tuple[Segments, np.ndarray, np.ndarray]) -> None:
    segments, vectors, _ = found
    with pytest.raises(BadInput, match="one of each a user"):
        discover(vectors, nothing(2), seed=1)
    with pytest.raises(BadInput, match="row 1 is not finite"):
        discover(np.array([[0.0], [np.nan]]), nothing(2), seed=1)
    with pytest.raises(BadInput, match="2 distinct vectors"):
        discover(np.array([[0.0], [1.0]]), nothing(2), seed=1, k=3)
    with pytest.raises(BadInput, match="do not fit centroids"):
        segments.assign(vectors[:, :3])
    with pytest.raises(BadInput, match="without `former`"):
        discover(vectors, nothing(2400), seed=1, former_ids=np.ones(2400))


def test_wilson_is_statsmodels_wilson() -> None:
    successes, n = np.array([0, 3, 10, 977]), np.array([10, 10, 10, 1000])
    low, high = wilson(successes, n, alpha=0.01)

    for at in range(4):
        assert (low[at], high[at]) == pytest.approx(proportion_confint(successes[at], n[at], 0.01, "wilson"), abs=1e-12)


def test_intervals_of_lifts_cover_the_true_lift() -> None:
    random = np.random.default_rng(0)
    for inside, outside, n, n_outside in [(0.3, 0.1, 60, 400), (0.05, 0.05, 100, 300), (0.9, 0.5, 40, 40)]:
        low, high = lift_interval(
            random.binomial(n, inside, 20_000), n, random.binomial(n_outside, outside, 20_000), n_outside
        )
        covered = ((low <= inside / outside) & (inside / outside <= high)).mean()
        assert 0.93 < covered < 0.98


def test_lift_intervals_where_nothing_was_seen() -> None:
    low, high = lift_interval([0, 5, 0], [10, 10, 10], [5, 0, 0], [10, 10, 10])

    assert low.tolist() == [0.0, pytest.approx(low[1]), 0.0]
    assert low[1] > 1
    assert high[0] < 1
    assert high[1:].tolist() == [np.inf, np.inf]


def test_lifts_are_counted_and_tested_exactly() -> None:
    groups = np.array([1] * 8 + [2] * 12)
    device = ["mobile"] * 6 + ["desktop"] * 2 + ["mobile"] * 3 + ["desktop"] * 8 + [None]

    table = lifts(groups, pl.DataFrame({"device": device}))

    row = table.row(by_predicate=(pl.col("group") == 1) & (pl.col("value") == "mobile"), named=True)
    assert (row["users"], row["share"], row["share_elsewhere"]) == (6, 0.75, 3 / 11)
    assert row["lift"] == pytest.approx(0.75 * 11 / 3)
    assert row["p_value"] == pytest.approx(fisher_exact([[6, 2], [3, 8]], "greater").pvalue)
    assert row["p_adjusted"] >= row["p_value"]
    assert row["lift_low"] < row["lift"] < row["lift_high"]
    assert table["value"].to_list()[0] == "mobile"


def test_names_are_seldom_given_to_noise() -> None:
    random = np.random.default_rng(0)
    named = 0
    for _ in range(100):
        features = pl.DataFrame({f"feature_{number}": random.choice(["a", "b", "c"], 300) for number in range(4)})
        named += bool((lifts(random.integers(3, size=300), features)["p_adjusted"] < 0.05).any())

    assert named <= 10


def test_numbers_become_thirds_and_few_kinds_stay() -> None:
    frame = pl.DataFrame(
        {"orders": [1.0, 2, 3, 4, 5, float("nan")], "level": [1, 1, 2, 2, None, 2], "new": [True, False] * 3}
    )

    found = values(frame)

    assert found.filter(feature="orders")["label"].to_list() == [
        "low orders",
        "low orders",
        "middle orders",
        "high orders",
        "high orders",
    ]
    assert found.filter(feature="level")["label"].to_list() == ["level 1", "level 1", "level 2", "level 2", "level 2"]
    assert found.filter(feature="new")["label"].to_list() == ["new", "no new"] * 3
    with pytest.raises(BadInput, match="Profile column when is Date"):
        values(pl.DataFrame({"when": [None]}, schema={"when": pl.Date}))
