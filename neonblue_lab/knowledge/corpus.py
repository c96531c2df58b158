"""Text vectors learned from the lab's own texts alone: nothing to install, nothing sent anywhere.

Words that occur in the same texts get like vectors: positive pointwise mutual information, factorised (Levy and Goldberg 2014,
"Neural Word Embedding as Implicit Matrix Factorization", section 4; counts of contexts to the power 0.75 as in Levy, Goldberg and
Dagan 2015, section 3.2). A text is the mean of its words' vectors, frequent words counting less, without the direction common
to all texts (Arora, Liang and Ma 2017, "A Simple but Tough-to-Beat Baseline for Sentence Embeddings", algorithm 1).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from neonblue_lab.errors import BadInput, Corrupt
from neonblue_lab.knowledge.lexical import words

VOCABULARY, VECTORS = "vocabulary.json", "vectors.npz"
"""The files of a saved embedder."""
LEAST_WORDS = 50
"""Words that must occur in two texts or more, or there is nothing to learn from."""

_MOST_WORDS = 50_000
_CONTEXT_POWER = 0.75
_SMOOTHING = 1e-3  # a of Arora et al.


class CorpusEmbedder:
    """An embedder trained on texts (`fit`). One instance may be used by several threads at once.

    Attributes:
        name: "corpus-" and the beginning of a hash of its weights: vectors of two trainings never mix.
        dimensions: length of a vector; less than was asked for where there are few words.
    """

    def __init__(self, vocabulary: Sequence[str], vectors: np.ndarray, common: np.ndarray) -> None:
        """
        Args:
            vocabulary: the words.
            vectors: float32, words x dimensions, weighted by how rare a word is.
            common: float32, dimensions: the direction that all texts share, of norm 1.
        """
        self._vocabulary = list(vocabulary)
        self._vectors = vectors
        self._common = common
        self._row = {word: row for row, word in enumerate(self._vocabulary)}
        digest = hashlib.sha256(json.dumps(self._vocabulary).encode())
        digest.update(vectors.tobytes())
        digest.update(common.tobytes())
        self.name = f"corpus-{digest.hexdigest()[:12]}"
        self.dimensions = int(vectors.shape[1])

    @classmethod
    def fit(cls, texts: Sequence[str], dimensions: int = 300, seed: int = 0) -> Self:
        """Learn from texts; repeated ones count once.

        Args:
            texts: what the vectors are to be for, or more of the same kind.
            dimensions: at most so many.
            seed: of the factorisation.

        Raises:
            BadInput: dimensions below 2, or fewer than LEAST_WORDS words that occur in two texts.
        """
        if dimensions < 2:
            raise BadInput(f"dimensions is {dimensions}: a text vector needs at least 2.")
        found = [set(words(text)) for text in dict.fromkeys(texts)]
        having = Counter(word for of_one in found for word in of_one)
        shared = sorted((word for word, count in having.items() if count > 1), key=lambda word: (-having[word], word))
        if len(shared) < LEAST_WORDS:
            raise BadInput(
                f"The {len(found):,} texts have {len(shared)} words that occur in two of them, and {LEAST_WORDS} are needed to "
                "learn from. Use the embedder minilm, or give more texts."
            )
        vocabulary = shared[:_MOST_WORDS]
        occurrence = _occurrence(found, {word: row for row, word in enumerate(vocabulary)})
        frequency = np.array([having[word] for word in vocabulary], float)
        rarity = _SMOOTHING / (_SMOOTHING + frequency / frequency.sum())
        vectors = _word_vectors(occurrence, min(dimensions, len(vocabulary) - 1), seed) * rarity[:, None]
        means = _means(occurrence, vectors)
        common = np.linalg.eigh(means.T @ means)[1][:, -1]  # first right singular vector of the texts
        return cls(vocabulary, vectors.astype(np.float32), common.astype(np.float32))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, of which each known word counts once.

        Returns:
            float32, len(texts) x dimensions, each row of Euclidean norm 1. All texts without a known word have the same vector:
            of cosine 0 to every other text.
        """
        if isinstance(texts, str):
            raise BadInput("embed() takes a sequence of texts: put the one text into a list.")
        occurrence = _occurrence([set(words(text)) for text in texts], self._row)
        vectors = _means(occurrence, self._vectors.astype(np.float64))
        common = self._common.astype(np.float64)
        vectors -= np.outer(vectors @ common, common)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unknown = norms[:, 0] < 1e-12
        vectors[unknown], norms[unknown] = common, 1
        return np.asarray(vectors / norms, np.float32)

    @property
    def words(self) -> int:
        """How many words have a vector."""
        return len(self._vocabulary)

    def save(self, folder: Path) -> None:
        """Write VOCABULARY and VECTORS into a folder."""
        (folder / VOCABULARY).write_text(json.dumps(self._vocabulary), encoding="utf-8")
        np.savez_compressed(folder / VECTORS, vectors=self._vectors, common=self._common)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote: the same name, the same vectors.

        Raises:
            Corrupt: the files do not fit each other.
        """
        vocabulary = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
        with np.load(folder / VECTORS, allow_pickle=False) as weights:
            vectors, common = weights["vectors"], weights["common"]
        if vectors.shape != (len(vocabulary), common.size):
            raise Corrupt(f"{folder / VECTORS} does not belong to {folder / VOCABULARY}. Train the embedder anew.")
        return cls(vocabulary, vectors, common)


def _occurrence(found: Sequence[set[str]], row: dict[str, int]) -> sparse.csr_array:
    """Texts x words: 1 where a text has a word."""
    columns = [sorted(row[word] for word in of_one if word in row) for of_one in found]
    ends = np.concatenate([[0], np.cumsum([len(of_one) for of_one in columns])]).astype(np.int64)
    flat = np.array([column for of_one in columns for column in of_one], np.int64)
    return sparse.csr_array((np.ones(flat.size), flat, ends), (len(found), len(row)))


def _word_vectors(occurrence: sparse.csr_array, dimensions: int, seed: int) -> np.ndarray:
    """Words x dimensions: the left factor of the positive mutual information, its singular values halved between the factors."""
    from sklearn.utils.extmath import randomized_svd

    together = sparse.csr_array(occurrence.T @ occurrence)
    together.setdiag(0)
    together.eliminate_zeros()
    counts = together.sum(axis=1)
    context = counts**_CONTEXT_POWER
    context /= context.sum()
    pairs = together.tocoo()
    rows, columns = pairs.coords
    information = np.log(pairs.data / (counts[rows] * context[columns]))
    kept = information > 0
    positive = sparse.csr_array((information[kept], (rows[kept], columns[kept])), together.shape)
    left, values, _ = randomized_svd(positive, dimensions, n_iter=4, random_state=seed)
    return np.asarray(left * np.sqrt(values))


def _means(occurrence: sparse.csr_array, vectors: np.ndarray) -> np.ndarray:
    return np.asarray((occurrence @ vectors) / np.maximum(occurrence.sum(axis=1), 1)[:, None])
