import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax as scipy_log_softmax
from sklearn.neural_network import MLPClassifier

from neonblue_lab.errors import BadInput
from neonblue_lab.models.behaviour import network
from neonblue_lab.models.behaviour.markov import GRID, Markov, Smoothing
from neonblue_lab.models.behaviour.network import ContextNetwork, log_softmax
from neonblue_lab.models.behaviour.next_action import NextAction
from neonblue_lab.models.behaviour.sequences import UNKNOWN, Sequences

SIZE = 4
journeys = st.lists(st.lists(st.integers(0, SIZE - 1), max_size=8), min_size=1, max_size=8)


def counted_by_hand(learned: list[list[int]], context: list[int], smoothing: Smoothing) -> list[float]:
    """The chain's formula over dictionaries, one history and one action at a time."""
    popularity = Counter(code for journey in learned for code in journey)
    chance = [(popularity[code] + 0.5) / (popularity.total() + 0.5 * SIZE) for code in range(SIZE)]
    padded = ["start"] * 3 + context
    for order in range(1, smoothing.order + 1):
        followed: Counter[int] = Counter()
        for journey in learned:
            steps = ["start"] * 3 + journey
            for at in range(3, len(steps)):
                if steps[at - order : at] == padded[-order:]:
                    followed[steps[at]] += 1
        if not followed:
            break
        kept = {code: max(count - smoothing.discount, 0) for code, count in followed.items()}
        freed = smoothing.pseudo_counts + followed.total() - sum(kept.values())
        chance = [
            (kept.get(code, 0) + freed * chance[code]) / (followed.total() + smoothing.pseudo_counts)
            for code in range(SIZE)
        ]
    return chance


@given(journeys, st.lists(st.integers(0, SIZE - 1), max_size=5), st.sampled_from(GRID))
def test_the_chain_says_what_counting_by_hand_says(
    learned: list[list[int]], context: list[int], smoothing: Smoothing
) -> None:
    chain = Markov.fit(*Sequences.of(learned).targets(), SIZE)

    ours = chain.probabilities(Sequences.of([context]), smoothing)[0]

    assert ours.tolist() == pytest.approx(counted_by_hand(learned, context, smoothing), rel=1e-12)
    assert ours.sum() == pytest.approx(1, abs=1e-12)


def test_the_chain_with_pseudo_counts_alone_is_a_dirichlet_estimate() -> None:
    chain = Markov.fit(*Sequences.of([[0, 1], [0, 1], [0, 2]]).targets(), 3)

    # popularity (3.5, 2.5, 1.5) / 7.5; after 0: 1 twice, 2 once
    after = chain.probabilities(Sequences.of([[0]]), Smoothing(1, 0.0, 3.0))[0]

    assert after.tolist() == pytest.approx([1.4 / 6, (2 + 1.0) / 6, (1 + 0.6) / 6])


def test_the_networks_gradient_is_the_slope_of_its_loss() -> None:
    random = np.random.default_rng(0)
    contexts, targets = Sequences.of([[0, 1, 2, 1], [3, 3], [2]]).targets()
    weights = [random.normal(size=shape).astype(np.float32) for shape in ((3 * SIZE + 4, 5), (5,), (5, SIZE), (SIZE,))]
    inputs = network._inputs(contexts, SIZE)

    def loss(parts: list[np.ndarray]) -> float:
        wide = [part.astype(np.float64) for part in parts]
        kept = (np.random.default_rng(1).random((len(targets), 5), dtype=np.float32) >= network.DROPOUT) / (
            1 - network.DROPOUT
        )
        hidden = np.maximum(inputs.toarray().astype(np.float64) @ wide[0] + wide[1], 0) * kept
        scores = scipy_log_softmax(hidden @ wide[2] + wide[3], axis=1)
        pull = network.DECAY * (wide[0] ** 2).sum() / 2
        return float(-scores[np.arange(len(targets)), targets].mean() + pull)

    gradients = network._gradients(weights, inputs, targets, np.random.default_rng(1))

    for part, gradient in enumerate(gradients):
        for place in random.integers(weights[part].size, size=6):
            moved = [[other.astype(np.float64) for other in weights] for _ in range(2)]
            moved[0][part].flat[place] += 1e-4
            moved[1][part].flat[place] -= 1e-4
            slope = (loss(moved[0]) - loss(moved[1])) / 2e-4
            assert gradient.flat[place] == pytest.approx(slope, abs=2e-4)


def test_log_softmax_is_scipys() -> None:
    scores = np.random.default_rng(0).normal(scale=30, size=(20, 7)).astype(np.float32)

    assert log_softmax(scores) == pytest.approx(scipy_log_softmax(scores, axis=1), abs=1e-4)


def grammar(count: int, seed: int) -> tuple[Sequences, np.ndarray]:
    """Journeys of a known chain over 6 actions, in which the next one depends on the last, and its transitions."""
    random = np.random.default_rng(seed)
    transitions = np.random.default_rng(7).dirichlet(np.full(6, 0.4), size=6)
    made = []
    for _ in range(count):
        journey = [int(random.integers(6))]
        for _ in range(int(random.integers(3, 12))):
            journey.append(int(random.choice(6, p=transitions[journey[-1]])))
        made.append(journey)
    return Sequences.of(made), transitions


@pytest.fixture(scope="module")
def learned() -> tuple[NextAction, np.ndarray]:
    sequences, transitions = grammar(3000, seed=1)
    return NextAction.fit(sequences, list("abcdef")), transitions


def test_it_finds_the_chances_that_journeys_were_made_with(learned: tuple[NextAction, np.ndarray]) -> None:
    model, transitions = learned
    contexts, targets = grammar(800, seed=2)[0].targets(first=1)
    truth = transitions[contexts.ago(1, before=0)]
    said = model.probabilities(contexts)
    at = np.arange(targets.size)

    excess = (np.log(truth[at, targets]) - np.log(said[at, targets])).mean()

    assert excess < 0.02  # nats a target: what the truth itself would have saved
    assert np.abs(said - truth).mean() < 0.02


def test_stated_chances_come_true_as_often_as_stated(learned: tuple[NextAction, np.ndarray]) -> None:
    model, _ = learned
    contexts, targets = grammar(1500, seed=3)[0].targets(first=1)
    codes, chances = model.predict(contexts, k=1)
    right = codes[:, 0] == targets

    for part in np.array_split(np.argsort(chances[:, 0]), 5):
        error = math.sqrt(0.25 / part.size)
        assert right[part].mean() == pytest.approx(chances[part, 0].mean(), abs=4 * error)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_it_does_as_well_as_a_network_of_scikit_learn(learned: tuple[NextAction, np.ndarray]) -> None:
    model, _ = learned
    train, test = grammar(3000, seed=1)[0], grammar(800, seed=2)[0]

    def seen(contexts: Sequences) -> np.ndarray:
        return network._inputs(contexts, 6).toarray()

    contexts, targets = train.targets()
    peer = MLPClassifier((32,), max_iter=15, random_state=0).fit(seen(contexts), targets)
    contexts, targets = test.targets(first=1)
    at = np.arange(targets.size)

    ours = -np.log(model.probabilities(contexts)[at, targets]).mean()
    theirs = -np.log(peer.predict_proba(seen(contexts))[at, targets]).mean()

    assert ours < theirs + 0.005


@given(contexts=st.lists(st.lists(st.integers(UNKNOWN, 5), max_size=30), max_size=5), k=st.integers(1, 8))
@settings(deadline=None)
def test_predictions_are_the_largest_probabilities_in_order(
    learned: tuple[NextAction, np.ndarray], contexts: list[list[int]], k: int
) -> None:
    model, _ = learned
    asked = Sequences.of(contexts)

    chances = model.probabilities(asked)
    codes, best = model.predict(asked, k)

    assert chances.shape == (len(contexts), 6)
    assert (chances > 0).all()
    assert chances.sum(axis=1).tolist() == pytest.approx([1.0] * len(contexts), abs=1e-12)
    assert best.tolist() == np.sort(chances, axis=1)[:, ::-1][:, :k].tolist()
    assert np.take_along_axis(chances, codes, axis=1).tolist() == best.tolist()


def test_many_at_once_say_what_each_says_alone(
    learned: tuple[NextAction, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = learned
    asked = grammar(10, seed=4)[0].prefixes()
    together = model.probabilities(asked)
    monkeypatch.setattr("neonblue_lab.models.behaviour.next_action.AT_ONCE", 12)

    assert model.probabilities(asked) == pytest.approx(together, rel=1e-5)
    assert model.likely(["a", "b"])[1] == pytest.approx(model.probabilities(Sequences.of([[0, 1]])).max(), rel=1e-5)


def test_it_comes_back_from_a_file_without_pickle(learned: tuple[NextAction, np.ndarray], tmp_path: Path) -> None:
    model, _ = learned
    np.savez(tmp_path / "model.npz", **model.to_arrays())
    asked = grammar(20, seed=5)[0].prefixes()

    with np.load(tmp_path / "model.npz", allow_pickle=False) as arrays:
        back = NextAction.from_arrays(arrays)

    assert back.vocabulary == model.vocabulary
    assert str(back.blend) == str(model.blend)
    assert np.array_equal(back.probabilities(asked), model.probabilities(asked))


def test_the_same_seed_gives_the_same_model() -> None:
    sequences, _ = grammar(60, seed=6)
    one, other = (NextAction.fit(sequences, list("abcdef"), seed=3).to_arrays() for _ in range(2))

    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_few_journeys_and_unknown_actions_still_give_probabilities() -> None:
    model = NextAction.fit(Sequences.of([[0, UNKNOWN, 1]]), ["a", "b", "never"])

    assert model.blend.tuned_on == 0
    assert model.probabilities(Sequences.of([[], [UNKNOWN], [2]])).sum(axis=1).tolist() == pytest.approx([1.0] * 3)
    assert model.likely([])[0] == "a"
    assert model.likely(["a", "something else"])[0] == "b"
    assert model.predict(Sequences.of([]))[0].shape == (0, 3)


def test_what_cannot_be_learned_from_is_refused() -> None:
    some = Sequences.of([[0, 1]])
    with pytest.raises(BadInput, match="each once"):
        NextAction.fit(some, ["a", "a"])
    with pytest.raises(BadInput, match="A code is 1"):
        NextAction.fit(some, ["a"])
    with pytest.raises(BadInput, match="tuning_share is 1"):
        NextAction.fit(some, ["a", "b"], tuning_share=1)
    with pytest.raises(BadInput, match="no known action"):
        NextAction.fit(Sequences.of([[UNKNOWN]]), ["a", "b"])
    with pytest.raises(BadInput, match="k is 0"):
        NextAction.fit(some, ["a", "b"]).predict(some, k=0)


def test_a_network_of_nothing_says_that_all_is_alike() -> None:
    said = ContextNetwork.fit(*Sequences.of([]).targets(), 3, seed=0).log_probabilities(Sequences.of([[]]))

    assert np.exp(said).sum() == pytest.approx(1, abs=1e-6)
