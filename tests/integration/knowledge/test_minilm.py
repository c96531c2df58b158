"""The real model: against the maths written a second time in float64, and against figures that others have published."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks import plain_bert
from neonblue_lab.knowledge.minilm import MiniLM

TEXTS = [
    "",
    "a",
    "Shorter checkout form raises conversion",
    "Größere Schaltflächen – mehr Käufe? 価格 🛒",
    "They Said It Couldn't Be Done. Then She Did It. " * 40,
]


def test_vectors_equal_the_reference(minilm: MiniLM) -> None:
    vectors = minilm.embed(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, plain_bert.embed(TEXTS), atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_similarities_are_those_that_the_publisher_shows(minilm: MiniLM) -> None:
    """The quick-start example of the Sentence Transformers documentation (sbert.net) prints this matrix."""
    vectors = minilm.embed(["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."])
    published = [[1.0000, 0.6660, 0.1046], [0.6660, 1.0000, 0.1411], [0.1046, 0.1411, 1.0000]]
    np.testing.assert_allclose(vectors @ vectors.T, published, atol=6e-5)


def test_the_vector_is_the_one_that_others_publish(minilm: MiniLM) -> None:
    """The first numbers for "hello world" in the tests of fastembed (-0.034478, ...) and of OpenSearch's documentation
    (-0.034477286), both from the publisher's weights by other runtimes."""
    vector = minilm.embed(["hello world"])[0]
    np.testing.assert_allclose(vector[:5], [-0.034478, 0.03102, 0.00673, 0.02611, -0.039362], atol=6e-6)
    assert vector[0] == pytest.approx(-0.034477286, abs=2e-7)


def test_neighbours_in_a_batch_do_not_matter(minilm: MiniLM) -> None:
    alone = np.concatenate([minilm.embed([text]) for text in TEXTS])
    together = minilm.embed(TEXTS * 15)
    np.testing.assert_allclose(together, np.tile(alone, (15, 1)), atol=2e-6)


def test_no_texts_give_no_rows(minilm: MiniLM) -> None:
    assert minilm.embed([]).shape == (0, 384)


def test_threads_may_share_it(minilm: MiniLM) -> None:
    expected = minilm.embed(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: minilm.embed(TEXTS), range(8)):
            np.testing.assert_allclose(vectors, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("query", "near", "far"),
    [
        ("users leave at payment", "Cart abandonment in the checkout", "Headline about climate science"),
        ("make people sign up", "Onboarding with fewer registration steps", "Product image carousel on the home page"),
    ],
)
def test_meaning_counts_where_no_word_is_shared(minilm: MiniLM, query: str, near: str, far: str) -> None:
    asked, wanted, other = minilm.embed([query, near, far])
    assert asked @ wanted > asked @ other + 0.1
