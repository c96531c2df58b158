"""A lab's knowledge with the embedder trained on its own texts: published, searched, and still searched after another training."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.errors import NotFound
from neonblue_lab.knowledge.documents import DOCUMENT_SCHEMA
from neonblue_lab.knowledge.embedders import VARIABLE
from neonblue_lab.knowledge.knowledge import Knowledge, hit_table, score_parts
from neonblue_lab.lake.lake import Lake


def documents(n: int) -> pl.DataFrame:
    """Experiments on one half of eighty words each."""
    random = np.random.default_rng(2)
    texts = [" ".join(f"word{40 * (i % 2) + j}" for j in random.integers(0, 40, 12)) for i in range(n)]
    rows = [
        {"experiment_id": f"e{i}", "name": f"Experiment {i}", "document": text, "outcome": "flat", "lift": i / 100}
        for i, text in enumerate(texts)
    ]
    return pl.DataFrame(rows, schema=DOCUMENT_SCHEMA)


@pytest.fixture
def knowledge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Knowledge:
    monkeypatch.setenv(VARIABLE, "corpus")
    return Knowledge(ArtifactStore(tmp_path / "artifacts"), Lake(tmp_path / "lake"))


def test_an_index_is_searched_with_the_embedder_that_built_it(knowledge: Knowledge) -> None:
    tried = documents(60)
    with pytest.raises(NotFound, match="not trained yet"):
        knowledge.publish(tried, data_versions={})
    first = knowledge.train_embedder(tried["document"].to_list(), data_versions={"experiments": 1}, dimensions=20)
    index = knowledge.publish(tried, data_versions={"experiments": 1})
    assert index.manifest.parameters["embedder"] == first.manifest.parameters["embedder"]
    before = knowledge.index.search("word1 word2 word3", limit=5)
    assert all(int(hit.experiment_id[1:]) % 2 == 0 for hit in before)

    second = knowledge.train_embedder(tried["document"].to_list()[:50], data_versions={"experiments": 1}, dimensions=20)
    assert second.manifest.parameters["embedder"] != first.manifest.parameters["embedder"] != knowledge.embedder.name
    assert knowledge.index.search("word1 word2 word3", limit=5) == before
    assert knowledge.map(tried, before)["rank"].drop_nulls().sort().to_list() == [1, 2, 3, 4, 5]

    knowledge.publish(tried, data_versions={"experiments": 1})
    assert knowledge.index.artifact.manifest.parameters["embedder"] == second.manifest.parameters["embedder"]


def test_vectors_of_two_trainings_never_mix_in_the_cache(knowledge: Knowledge) -> None:
    texts = documents(60)["document"].to_list()
    vectors = []
    for used in (texts, texts[:50]):
        knowledge.train_embedder(used, data_versions={}, dimensions=20)
        computed, cached = (knowledge.embedder.embed(texts[:3]) for _ in range(2))
        assert np.array_equal(computed, cached)
        vectors.append(computed)
    assert not np.allclose(*vectors)


def test_the_parts_of_a_score_add_up_to_it(knowledge: Knowledge) -> None:
    tried = documents(60)
    knowledge.train_embedder(tried["document"].to_list(), data_versions={}, dimensions=20)
    knowledge.publish(tried, data_versions={})
    parts = score_parts(hit_table(knowledge.index.search("word50 word51", limit=8)))
    np.testing.assert_allclose(parts["meaning"] + parts["words"], parts["score"], atol=2e-3)
    pairs = knowledge.duplicates(tried, limit=3)
    assert pairs["score"].is_sorted(descending=True)
    assert (pairs["name"].str.slice(11) == pairs["experiment_id"].str.slice(1)).all()
    assert (pairs["other_lift"] == pairs["other_id"].str.slice(1).cast(pl.Float64) / 100).all()
