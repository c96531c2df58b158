from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from neonblue_lab.errors import BadInput
from neonblue_lab.models.behaviour import journey_vectors
from neonblue_lab.models.behaviour.journey_vectors import PmiSvd, other_half_ranks, similar
from neonblue_lab.models.behaviour.sequences import UNKNOWN, Sequences

SHELVES, ITEMS = 8, 12


def journeys(count: int, seed: int) -> tuple[Sequences, np.ndarray]:
    """Visits of one shelf each, of items drawn from it without return; the shelf of each."""
    random = np.random.default_rng(seed)
    shelf = random.integers(SHELVES, size=count)
    return Sequences.of([s * ITEMS + random.permutation(ITEMS)[:8] for s in shelf]), shelf


@pytest.fixture(scope="module")
def model() -> PmiSvd:
    return PmiSvd.fit(journeys(1500, seed=1)[0], SHELVES * ITEMS, dimensions=16)


def halves(sequences: Sequences) -> tuple[Sequences, Sequences]:
    middle = (sequences.start + sequences.stop) // 2
    return Sequences(sequences.values, sequences.start, middle), Sequences(sequences.values, middle, sequences.stop)


def test_halves_of_a_visit_find_the_same_shelf_though_no_item_returns(model: PmiSvd) -> None:
    visits, shelf = journeys(400, seed=2)
    first, second = (model.embed(half) for half in halves(visits))

    rows, _ = similar(second, first, k=10)
    ranks = other_half_ranks(first, second)

    assert (shelf[rows] == shelf[:, None]).mean() > 0.99  # chance: 1/8
    assert ranks.max() <= np.bincount(shelf).max() + 5  # within the shelf nothing is left to tell visits apart by


def test_vectors_have_norm_one_or_are_zero_where_nothing_is_known(model: PmiSvd) -> None:
    vectors = model.embed(Sequences.of([[0, 1, 2], [UNKNOWN, 5], [], [UNKNOWN]]))

    assert np.linalg.norm(vectors, axis=1).tolist() == pytest.approx([1, 1, 0, 0])
    assert vectors.shape == (4, model.dimensions)


def test_information_is_the_log_of_observed_over_expected_company() -> None:
    codes, owner = Sequences.of([[0, 1], [0, 1], [2, 0], [2, 3]]).flat()

    found = journey_vectors._positive_information(codes, owner, 4).toarray()

    together = np.zeros((4, 4))
    for first, second in [(0, 1), (0, 1), (2, 0), (2, 3)]:
        together[first, second] += 1
        together[second, first] += 1
    total = together.sum(axis=1)
    flattened = total**0.75 / (total**0.75).sum()
    with np.errstate(divide="ignore"):
        expected = np.maximum(np.log(together / (total[:, None] * flattened)), 0)
    assert found == pytest.approx(expected)


def test_similar_is_what_scikit_learn_finds() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(300, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    peer = NearestNeighbors(n_neighbors=8, metric="cosine", algorithm="brute").fit(vectors)
    distance, expected = peer.kneighbors(vectors[:20])

    rows, cosines = similar(vectors, vectors[:20], k=7, without=np.arange(20))

    assert rows.tolist() == expected[:, 1:].tolist()
    assert cosines == pytest.approx(1 - distance[:, 1:])
    assert similar(vectors[:3], vectors[:2], k=9)[0].shape == (2, 3)
    assert similar(vectors[:1], vectors[:1], k=9, without=[0])[0].shape == (1, 0)


def test_ranks_of_other_halves_count_ties_half(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 40, 3))
    cosine = first @ second.T
    expected = [1 + (row > row[number]).sum() for number, row in enumerate(cosine)]
    monkeypatch.setattr(journey_vectors, "AT_ONCE", 120)

    assert other_half_ranks(first, second).tolist() == expected
    assert other_half_ranks(np.ones((5, 2)), np.ones((5, 2))).tolist() == [3.0] * 5
    with pytest.raises(BadInput, match="two halves"):
        other_half_ranks(first, second[1:])


def test_all_dimensions_keep_what_the_actions_information_says() -> None:
    sequences, _ = journeys(300, seed=3)
    full = PmiSvd.fit(sequences, SHELVES * ITEMS, dimensions=SHELVES * ITEMS)
    same = PmiSvd.fit(sequences, SHELVES * ITEMS, dimensions=10**6)

    assert full.dimensions == same.dimensions == SHELVES * ITEMS
    close = cosine_similarity(full.actions[:, :SHELVES])
    shelf = np.arange(SHELVES * ITEMS) // ITEMS
    inside = shelf[:, None] == shelf
    assert close[inside].min() > close[~inside].max()


def test_it_comes_back_from_a_file_without_pickle(model: PmiSvd, tmp_path: Path) -> None:
    np.savez(tmp_path / "vectors.npz", **model.to_arrays())
    with np.load(tmp_path / "vectors.npz", allow_pickle=False) as arrays:
        back = PmiSvd.from_arrays(arrays)

    asked = journeys(10, seed=4)[0]
    assert np.array_equal(back.embed(asked), model.embed(asked))


def test_what_makes_no_sense_is_refused(model: PmiSvd) -> None:
    with pytest.raises(BadInput, match="at least one of each"):
        PmiSvd.fit(Sequences.of([[0]]), 0)
    with pytest.raises(BadInput, match="A code is 96"):
        model.embed(Sequences.of([[96]]))
    vectors = np.ones((3, 2))
    with pytest.raises(BadInput, match="k is 0"):
        similar(vectors, vectors, k=0)
    with pytest.raises(BadInput, match="one row for each of 3 queries"):
        similar(vectors, vectors, without=[1])


def test_journeys_without_company_have_vectors_of_zeros() -> None:
    model = PmiSvd.fit(Sequences.of([[0], [1], []]), 2)

    assert not model.embed(Sequences.of([[0], [1]])).any()
