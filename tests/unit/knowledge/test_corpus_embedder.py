"""The embedder of the lab's own texts: the papers' maths in dense float64, and what it promises of names and unknown words."""

from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from neonblue_lab.errors import BadInput, Corrupt
from neonblue_lab.knowledge.corpus import VOCABULARY, CorpusEmbedder

TOPICS = {topic: [f"{topic}{i}" for i in range(25)] for topic in ("checkout", "search", "onboarding")}


def texts(n: int = 300, seed: int = 0) -> list[str]:
    """Texts of seven words each, all from the topic of its position (mod 3), and one word that every text has."""
    random = np.random.default_rng(seed)
    topics = list(TOPICS.values())
    return [" ".join(["experiment", *random.choice(topics[i % 3], 7, replace=False)]) for i in range(n)]


def reference(corpus: list[str], asked: list[str]) -> np.ndarray:
    """Cosines of the asked texts: positive PMI with smoothed contexts, a full SVD, SIF weights, first direction removed."""
    split = [sorted(set(text.split())) for text in corpus]
    having = Counter(word for text in split for word in text)
    vocabulary = sorted(word for word, count in having.items() if count > 1)
    row = {word: i for i, word in enumerate(vocabulary)}
    together = np.zeros((len(row), len(row)))
    for text in split:
        for a, b in combinations([row[word] for word in text if word in row], 2):
            together[a, b] += 1
            together[b, a] += 1
    joint = together / together.sum()
    of_word = joint.sum(axis=1)
    of_context = together.sum(axis=0) ** 0.75 / (together.sum(axis=0) ** 0.75).sum()
    with np.errstate(divide="ignore"):
        positive = np.maximum(np.log(joint / np.outer(of_word, of_context)), 0)
    left, values, _ = np.linalg.svd(positive)
    count = np.array([having[word] for word in vocabulary])
    vectors = left * np.sqrt(values) * (1e-3 / (1e-3 + count / count.sum()))[:, None]

    def means(some: list[str]) -> np.ndarray:
        return np.array(
            [vectors[[row[word] for word in set(text.split()) if word in row]].mean(axis=0) for text in some]
        )

    first = np.linalg.svd(means(corpus), full_matrices=False)[2][0]
    found = means(asked)
    found -= np.outer(found @ first, first)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found @ found.T


def test_cosines_are_those_of_the_papers_maths() -> None:
    corpus = texts()
    embedder = CorpusEmbedder.fit(corpus, 1_000)
    assert embedder.dimensions == embedder.words - 1 == 75  # all that its words allow
    asked = texts(40, seed=1)
    vectors = embedder.embed(asked)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors @ vectors.T, reference(corpus, asked), atol=2e-3)


def test_words_of_one_topic_are_near_though_no_word_is_shared() -> None:
    embedder = CorpusEmbedder.fit(texts(), 20)
    one, same, other = embedder.embed(
        [" ".join(TOPICS["checkout"][:5]), " ".join(TOPICS["checkout"][5:10]), " ".join(TOPICS["search"][:5])]
    )
    assert one @ same > one @ other + 0.5


def test_the_name_is_of_the_weights(tmp_path: Path) -> None:
    embedder = CorpusEmbedder.fit(texts(), 20)
    embedder.save(tmp_path)
    again = CorpusEmbedder.load(tmp_path)
    assert again.name == embedder.name == CorpusEmbedder.fit(texts(), 20).name
    assert np.array_equal(again.embed(texts(5)), embedder.embed(texts(5)))
    others = [
        CorpusEmbedder.fit(texts(301), 20),
        CorpusEmbedder.fit(texts(), 21),
        CorpusEmbedder.fit(texts(), 20, seed=1),
    ]
    assert len({embedder.name, *(other.name for other in others)}) == 4
    (tmp_path / VOCABULARY).write_text('["one"]')
    with pytest.raises(Corrupt, match=r"vectors\.npz does not belong to"):
        CorpusEmbedder.load(tmp_path)


def test_a_text_of_unknown_words_is_near_to_no_known_one() -> None:
    embedder = CorpusEmbedder.fit(texts(), 20)
    vectors = embedder.embed(["", "unheard of", *texts(30)])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(vectors[2:] @ vectors[0], 0, atol=1e-5)


def test_too_little_to_learn_from() -> None:
    with pytest.raises(BadInput, match="words that occur in two of them, and 50 are needed"):
        CorpusEmbedder.fit(["one text", "another text"])
    with pytest.raises(BadInput, match="at least 2"):
        CorpusEmbedder.fit(texts(), 1)
    with pytest.raises(BadInput, match="put the one text into a list"):
        CorpusEmbedder.fit(texts(), 5).embed("a text")
