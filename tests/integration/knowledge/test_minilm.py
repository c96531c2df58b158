"""The real model: against the maths written a second time in float64, and against its publisher's own figures."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.special import erf, softmax
from tokenizers import Tokenizer

from neonblue_lab.knowledge.minilm import MiniLM, model_folder

TEXTS = [
    "",
    "a",
    "Shorter checkout form raises conversion",
    "Größere Schaltflächen – mehr Käufe? 価格 🛒",
    "They Said It Couldn't Be Done. Then She Did It. " * 40,
]


def reference(texts: list[str]) -> np.ndarray:
    """all-MiniLM-L6-v2 one text at a time, without padding, in float64 (Devlin et al. 2019; 6 layers of 12 heads)."""
    folder = model_folder()
    w = {name: tensor.astype(np.float64) for name, tensor in load_file(folder / "model.safetensors").items()}
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)

    def norm(x: np.ndarray, path: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * w[f"{path}.weight"] + w[f"{path}.bias"]

    def dense(x: np.ndarray, path: str) -> np.ndarray:
        return x @ w[f"{path}.weight"].T + w[f"{path}.bias"]

    def encode(text: str) -> np.ndarray:
        ids = tokenizer.encode(text).ids
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
        x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(6):
            path = f"encoder.layer.{layer}"
            q, k, v = (dense(x, f"{path}.attention.self.{part}") for part in ("query", "key", "value"))
            heads = [slice(start, start + 32) for start in range(0, 384, 32)]
            mixed = [softmax(q[:, h] @ k[:, h].T / np.sqrt(32), axis=-1) @ v[:, h] for h in heads]
            attended = dense(np.concatenate(mixed, axis=1), f"{path}.attention.output.dense")
            x = norm(x + attended, f"{path}.attention.output.LayerNorm")
            inner = dense(x, f"{path}.intermediate.dense")
            inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
            x = norm(x + dense(inner, f"{path}.output.dense"), f"{path}.output.LayerNorm")
        mean = x.mean(axis=0)
        return mean / np.linalg.norm(mean)

    return np.array([encode(text) for text in texts])


def test_vectors_equal_the_reference(minilm: MiniLM) -> None:
    vectors = minilm.embed(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, reference(TEXTS), atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_similarities_are_those_that_the_publisher_shows(minilm: MiniLM) -> None:
    """The quick-start example of the Sentence Transformers documentation (sbert.net) prints this matrix."""
    vectors = minilm.embed(["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."])
    published = [[1.0000, 0.6660, 0.1046], [0.6660, 1.0000, 0.1411], [0.1046, 0.1411, 1.0000]]
    np.testing.assert_allclose(vectors @ vectors.T, published, atol=6e-5)


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
