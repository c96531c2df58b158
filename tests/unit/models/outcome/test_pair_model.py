"""A pair model finds what was planted, says how sure it is, and answers backwards what it answers forwards."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput, Corrupt
from neonblue_lab.models.outcome.pair_model import FEWEST_PAIRS, PairModel
from neonblue_lab.models.outcome.pairs import pairs
from neonblue_lab.models.training.calibration import reliability

SUBJECTS = [
    "dogs",
    "cats",
    "trees",
    "rivers",
    "banks",
    "schools",
    "trains",
    "songs",
    "books",
    "bridges",
    "boats",
    "markets",
]
LINKS = ["about", "near", "behind", "beside", "without", "despite", "after", "before"]
WORDS = {"secret": 0.6, "amazing": 0.3, "annual": -0.5, "report": -0.3, "local": 0.0, "story": 0.0, "small": 0.0}
QUESTION = 0.4
EMBEDDED = 16


def drawn(rng: np.random.Generator) -> str:
    words = [*rng.choice(list(WORDS), 3, replace=False), rng.choice(LINKS), rng.choice(SUBJECTS)]
    return " ".join(words) + ("?" if rng.random() < 0.5 else "")


def truth(text: str) -> float:
    return sum(WORDS.get(word.rstrip("?"), 0.0) for word in text.split()) + QUESTION * text.endswith("?")


def simulated(experiments: int, seed: int) -> pl.DataFrame:
    """Simulated arms: the logit of a text's click rate is `truth` and the experiment's own level."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(experiments):
        level = rng.normal(-3, 0.5)
        for text in dict.fromkeys(drawn(rng) for _ in range(4)):
            rate = 1 / (1 + np.exp(-level - truth(text)))
            rows.append((f"e{number}", "p", number, text, 2000, int(rng.binomial(2000, rate))))
    schema = ["experiment_id", "context", "time", "text", "impressions", "clicks"]
    return pl.DataFrame(rows, schema=schema, orient="row")


def embed(texts) -> np.ndarray:
    """Simulated vectors: words add up their own random directions."""
    directions = {
        word: np.random.default_rng(i).normal(size=EMBEDDED) for i, word in enumerate([*WORDS, *SUBJECTS, *LINKS])
    }
    sums = np.array(
        [sum((directions.get(w.strip("?"), 0.0) for w in text.split()), np.ones(EMBEDDED)) for text in texts]
    )
    return (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> PairModel:
    return PairModel.fit(pairs(simulated(150, 1)), seed=1)


@pytest.fixture(scope="module")
def neural() -> PairModel:
    return PairModel.fit(pairs(simulated(150, 1)), embed=embed, seed=1)


@pytest.fixture(scope="module")
def later() -> pl.DataFrame:
    return pairs(simulated(300, 2))


texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=1, max_size=4)


@given(a=texts, b=texts)
@settings(max_examples=50, deadline=None)
def test_backwards_is_one_minus_forwards(model, a, b):
    size = min(len(a), len(b))
    a, b = a[:size], b[:size]
    forwards = model.chance(a, b)
    assert np.all((forwards >= 0) & (forwards <= 1))
    assert (forwards == 1 - model.chance(b, a)).all()
    assert (model.chance(a, a) == 0.5).all()


@pytest.mark.parametrize("which", ["model", "neural"])
def test_planted_truth_is_found(which, later, request):
    chance = request.getfixturevalue(which).chance(later["text_a"].to_list(), later["text_b"].to_list())
    better = np.array([truth(a) - truth(b) for a, b in later.select("text_a", "text_b").iter_rows()])
    clear = np.abs(better) > 0.25
    assert np.mean((chance > 0.5)[clear] == (better > 0)[clear]) > 0.95


def test_stated_chances_come_true(model, later):
    chance = model.chance(later["text_a"].to_list(), later["text_b"].to_list())
    won = later["z"].to_numpy() > 0
    groups = reliability(np.r_[chance, 1 - chance], np.r_[won, ~won].astype(float))
    assert (groups["predicted"] - groups["observed"]).abs().max() < 0.08
    assert np.mean((chance - won) ** 2) < 0.16


def test_noise_is_called_noise():
    rng = np.random.default_rng(3)
    arms = simulated(150, 3).with_columns(clicks=pl.Series(rng.binomial(2000, 0.05, size=simulated(150, 3).height)))
    later = pairs(simulated(50, 4))
    chance = PairModel.fit(pairs(arms), seed=1).chance(later["text_a"].to_list(), later["text_b"].to_list())
    assert np.abs(chance - 0.5).mean() < 0.06


def test_contributions_add_up_to_the_chance(neural):
    a, b = "secret amazing story about dogs?", "annual report small near banks"
    parts = neural.explain(a, b)
    logit = parts["contribution"].sum()
    assert 1 / (1 + np.exp(-logit)) == pytest.approx(float(neural.chance([a], [b])[0]), abs=1e-5)
    question = parts.row(by_predicate=pl.col("feature") == "questions", named=True)
    assert (question["a"], question["b"]) == (1, 0)
    assert question["contribution"] > 0
    assert {"wording", "meaning"} < set(parts["feature"])


def test_ranking_agrees_with_the_chances(model):
    variants = ["annual report local near banks", "secret amazing story about dogs?", "small local story about cats"]
    ranked = model.rank(variants)
    assert ranked["position"].to_list() == [1, 2, 0]
    assert ranked["chance"].is_sorted(descending=True)
    assert ranked["chance"].mean() == pytest.approx(0.5)
    assert model.rank(["alone"])["chance"].to_list() == [0.5]
    assert model.rank([]).height == 0


def test_novelty_tells_foreign_texts(model, later):
    familiar = model.novelty(later["text_a"].to_list())
    assert 0.2 < familiar.mean() < 0.6
    assert model.novelty(["Quarterly zinc futures settle", "日本語"]).min() > 0.95


@pytest.mark.parametrize("which", ["model", "neural"])
def test_a_saved_model_answers_alike(which, later, request, tmp_path):
    fitted = request.getfixturevalue(which)
    a, b = later["text_a"].to_list(), later["text_b"].to_list()
    fitted.save(tmp_path)
    loaded = PairModel.load(tmp_path, embed=embed if fitted.neural else None)
    assert (loaded.chance(a, b) == fitted.chance(a, b)).all()
    assert (loaded.novelty(a) == fitted.novelty(a)).all()
    assert loaded.facts == fitted.facts
    assert loaded.neural is (which == "neural")


def test_a_neural_model_is_not_opened_without_its_embedder(neural, tmp_path):
    neural.save(tmp_path)
    with pytest.raises(BadInput, match="neural embedder"):
        PairModel.load(tmp_path)
    with pytest.raises(BadInput, match="embedder that it was fitted with"):
        PairModel.load(tmp_path, embed=lambda texts: embed(texts)[:, :8]).chance(["a"], ["b"])


def test_files_that_do_not_fit_are_refused(model, neural, tmp_path):
    model.save(tmp_path)
    facts = tmp_path / "pair_model.json"
    facts.write_text(facts.read_text(encoding="utf-8").replace(f'"texts": {model.facts["texts"]}', '"texts": 1'))
    with pytest.raises(Corrupt, match="does not belong"):
        PairModel.load(tmp_path)


def test_the_same_seed_gives_the_same_model(later):
    few = pairs(simulated(40, 5))
    first, second = (PairModel.fit(few, ["a text more"], seed=7) for _ in range(2))
    assert (first.appeal(later["text_a"].to_list()) == second.appeal(later["text_a"].to_list())).all()


def test_too_little_is_refused():
    few = pairs(simulated(3, 1))
    with pytest.raises(BadInput, match=f"{FEWEST_PAIRS} at least"):
        PairModel.fit(few)
    one_text = pairs(simulated(30, 1)).with_columns(text_a=pl.lit("the same everywhere"))
    with pytest.raises(BadInput, match="unrelated experiments"):
        PairModel.fit(one_text)


def test_a_text_is_not_a_list_of_texts(model):
    with pytest.raises(BadInput, match="two lists of texts"):
        model.chance("secret", "report")
    with pytest.raises(BadInput, match="two lists of texts"):
        model.chance(["secret"], ["report", "story"])
