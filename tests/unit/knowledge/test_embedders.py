"""Which embedder is used: the parameter, else the environment, else MiniLM; and what was built is opened with what built it."""

from pathlib import Path

import numpy as np
import pytest

from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.errors import BadInput, NotFound, Unavailable
from neonblue_lab.knowledge import embedders, minilm
from neonblue_lab.knowledge.corpus_training import train
from neonblue_lab.knowledge.embedders import VARIABLE, Embedders, choice, is_ready
from neonblue_lab.knowledge.openai import KEY_VARIABLE


def texts(n: int, seed: int = 0) -> list[str]:
    """Texts of twelve words from one half of the vocabulary each."""
    random = np.random.default_rng(seed)
    return [" ".join(f"word{40 * (i % 2) + j}" for j in random.integers(0, 40, 12)) for i in range(n)]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    for variable in (VARIABLE, KEY_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    return ArtifactStore(tmp_path)


def trained(store: ArtifactStore, seed: int) -> str:
    artifact = train(store, texts(100, seed), data_versions={"experiments": 1}, dimensions=10)
    store.promote(artifact.name, artifact.version)
    return str(artifact.manifest.parameters["embedder"])


def test_the_choice(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choice() == "minilm"
    monkeypatch.setenv(VARIABLE, "openai")
    assert (choice(), choice("corpus")) == ("openai", "corpus")
    monkeypatch.setenv(VARIABLE, "word2vec")
    with pytest.raises(BadInput, match=r"no embedder 'word2vec': NEONBLUE_EMBEDDER .* minilm, corpus, openai"):
        choice()


def test_what_is_missing_is_said(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "PACKAGE", "a_package_that_is_not_installed")
    wanted = {
        "minilm": (Unavailable, "pip install"),
        "openai": (Unavailable, "set OPENAI_API_KEY"),
        "corpus": (NotFound, "train_embedder"),
    }
    for chosen, (kind, sentence) in wanted.items():
        monkeypatch.setenv(VARIABLE, chosen)
        assert not is_ready(store)
        with pytest.raises(kind, match=sentence):
            Embedders(store).chosen()
    monkeypatch.setenv(KEY_VARIABLE, "a key")
    assert Embedders(store).chosen("openai").dimensions == 1536
    monkeypatch.setenv(VARIABLE, "openai")
    assert is_ready(store)


def test_a_former_training_is_still_found_by_its_name(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = trained(store, 1), trained(store, 2)
    held = Embedders(store)
    assert held.chosen("corpus").name == second != first
    assert held.named(first).name == first
    assert held.named(first) is held.named(first)
    assert not np.allclose(*(held.named(name).embed(["word1 word2"]) for name in (first, second)))
    with pytest.raises(NotFound, match="No embedder 'corpus-0'"):
        held.named("corpus-0")
    monkeypatch.setenv(VARIABLE, "corpus")
    assert is_ready(store)


def test_the_training_says_how_good_it_is(store: ArtifactStore) -> None:
    artifact = train(store, [*texts(100), *texts(100), " "], data_versions={}, dimensions=10, seed=4)
    assert artifact.manifest.metrics["texts"] == 100
    assert artifact.manifest.seed == 4
    found = artifact.manifest.metrics["halves_found"]
    assert found is not None
    assert 1 / 20 < found <= 1  # 20 are held out: by chance one finds its own
    assert f"{found:.1%}" in artifact.card
    assert not list(artifact.path.rglob("*.pkl"))
    assert artifact.name == embedders.ARTIFACT
