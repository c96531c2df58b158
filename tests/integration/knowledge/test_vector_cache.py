"""Vectors kept in a real lake: no text is computed twice, whoever asks."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neonblue_lab.errors import Corrupt
from neonblue_lab.knowledge.embedding import CachedEmbedder
from neonblue_lab.knowledge.minilm import MiniLM
from neonblue_lab.knowledge.vector_cache import VectorCache
from neonblue_lab.lake.lake import Lake


class Counted:
    """Vectors of four numbers made from a hash of the text; remembers what it was asked for."""

    dimensions = 4

    def __init__(self, name: str = "counted") -> None:
        self.name = name
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return vectors_of(texts)


def vectors_of(texts: Sequence[str]) -> np.ndarray:
    digests = [np.frombuffer(hashlib.md5(text.encode()).digest(), np.uint32) for text in texts]
    return np.array(digests, np.float32).reshape(len(texts), 4)


def cached(embedder: Counted, folder: Path) -> CachedEmbedder:
    return CachedEmbedder(embedder, VectorCache(Lake(folder)))


def test_only_missing_and_distinct_texts_are_computed(tmp_path: Path) -> None:
    first = Counted()
    texts = ["b", "a", "b", "", "é"]
    np.testing.assert_array_equal(cached(first, tmp_path).embed(texts), vectors_of(texts))
    assert sorted(first.asked) == ["", "a", "b", "é"]
    second = Counted()
    np.testing.assert_array_equal(cached(second, tmp_path).embed(["é", "c", "b"]), vectors_of(["é", "c", "b"]))
    assert second.asked == ["c"]
    assert Lake(tmp_path).read("vectors").height == 5


def test_embedders_do_not_share_vectors(tmp_path: Path) -> None:
    cached(Counted("one"), tmp_path).embed(["a"])
    other = Counted("two")
    cached(other, tmp_path).embed(["a"])
    assert other.asked == ["a"]


def test_nothing_asked_writes_nothing(tmp_path: Path) -> None:
    embedder = cached(Counted(), tmp_path)
    assert embedder.embed([]).shape == (0, 4)
    assert (embedder.name, embedder.dimensions) == ("counted", 4)
    assert Lake(tmp_path).names() == []


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6), max_size=4))
def test_any_order_of_questions_gives_the_same_vectors(
    tmp_path_factory: pytest.TempPathFactory, calls: list[list[str]]
) -> None:
    embedder = Counted()
    through = cached(embedder, tmp_path_factory.mktemp("lake"))
    for texts in calls:
        np.testing.assert_array_equal(through.embed(texts), vectors_of(texts))
    assert len(embedder.asked) == len({text for texts in calls for text in texts})


def test_several_writers_at_once_all_get_their_vectors(tmp_path: Path) -> None:
    texts = [str(i) for i in range(50)]
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: cached(Counted(), tmp_path).embed(texts), range(4)):
            np.testing.assert_array_equal(vectors, vectors_of(texts))
    late = Counted()
    np.testing.assert_array_equal(cached(late, tmp_path).embed(texts), vectors_of(texts))
    assert late.asked == []


def test_vectors_of_a_wrong_length_are_named(tmp_path: Path) -> None:
    key = hashlib.sha256(b"a").digest()
    wrong = {"embedder": ["counted"], "text_sha256": [key], "vector": [[1.0, 2.0]]}
    schema = {"embedder": pl.String, "text_sha256": pl.Binary, "vector": pl.List(pl.Float32)}
    Lake(tmp_path).append("vectors", pl.DataFrame(wrong, schema=schema))
    with pytest.raises(Corrupt, match="1 vectors of counted that do not have its 4 numbers"):
        cached(Counted(), tmp_path).embed(["a", "b"])


def test_the_real_model_is_cached_without_loss(tmp_path: Path, minilm: MiniLM) -> None:
    texts = ["Shorter checkout", "Free shipping banner"]
    through = CachedEmbedder(minilm, VectorCache(Lake(tmp_path)))
    np.testing.assert_array_equal(through.embed(texts), through.embed(texts))
    np.testing.assert_allclose(through.embed(texts), minilm.embed(texts), atol=2e-6)
