"""Texts as counted words and pieces of words: what finds names, codes and rare words again that a vector blurs.

Salton and Buckley (1988), "Term-weighting approaches in automatic text retrieval", Information Processing & Management 24(5),
with sublinear counts and smoothed document frequencies: scikit-learn's `TfidfVectorizer(sublinear_tf=True)` to the last digits.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from neonblue_lab.errors import BadInput, Corrupt

TERMS, WEIGHTS = "terms.json", "tfidf.npz"
"""The files of a saved `Lexical`."""

_WORD = re.compile(r"\b\w\w+\b")
_SHORTEST, _LONGEST = 3, 5


def words(text: str) -> list[str]:
    """The words of a text in lower case, those of a single letter left out."""
    return _WORD.findall(text.lower())


def pieces(text: str) -> list[str]:
    """Each run of 3 to 5 characters within what stands between blanks, a blank at both its ends counted in; shorter ones whole."""
    found: list[str] = []
    for chunk in text.lower().split():
        padded = f" {chunk} "
        for size in range(_SHORTEST, _LONGEST + 1):
            found += [padded[start : start + size] for start in range(max(1, len(padded) - size + 1))]
            if len(padded) <= size:
                break
    return found


class Terms:
    """One way to count a text: TF-IDF vectors of norm 1 over the terms of the documents that it was fitted on."""

    def __init__(self, split: Callable[[str], list[str]], terms: Sequence[str], idf: np.ndarray) -> None:
        """`idf` (float64) is the weight of each of the terms."""
        self.terms = list(terms)
        self.idf = idf
        self._split = split
        self._column = {term: column for column, term in enumerate(self.terms)}

    @classmethod
    def fit(cls, split: Callable[[str], list[str]], texts: Sequence[str]) -> Self:
        """Learn the terms and how many of the texts have each."""
        having = Counter(term for text in texts for term in set(split(text)))
        terms = sorted(having)
        idf = np.log((1 + len(texts)) / (1 + np.array([having[term] for term in terms], float))) + 1
        return cls(split, terms, idf)

    def vectors(self, texts: Iterable[str]) -> sparse.csr_array:
        """len(texts) x terms, each row of norm 1, or all zero where a text has none of the terms."""
        columns: list[int] = []
        counts: list[int] = []
        ends = [0]
        for text in texts:
            found = Counter(self._column[term] for term in self._split(text) if term in self._column)
            columns += sorted(found)
            counts += [found[column] for column in columns[ends[-1] :]]
            ends.append(len(columns))
        values = (1 + np.log(np.array(counts, float))) * self.idf[columns]
        row = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        values /= np.sqrt(np.bincount(row, values**2, minlength=len(ends) - 1))[row]
        return sparse.csr_array((values, columns, ends), (len(ends) - 1, len(self.terms)))


class Lexical:
    """Documents by their words and pieces of words, ready to be compared with a text."""

    def __init__(self, by_word: Terms, by_piece: Terms, documents: sparse.csr_array) -> None:
        self._parts = (by_word, by_piece)
        self._documents = documents

    @classmethod
    def fit(cls, texts: Sequence[str]) -> Self:
        """Count documents.

        Raises:
            BadInput: there are none.
        """
        if not texts:
            raise BadInput("There are no texts to count the words of.")
        by_word, by_piece = Terms.fit(words, texts), Terms.fit(pieces, texts)
        return cls(by_word, by_piece, _rows(by_word, by_piece, texts))

    def __len__(self) -> int:
        """How many documents."""
        return int(self._documents.shape[0])

    @property
    def documents(self) -> sparse.csr_array:
        """The documents as rows; a product of two is the lexical score of one for the other."""
        return self._documents

    def scores(self, text: str) -> np.ndarray:
        """Each document's score for a text: the mean of two cosines, by words and by pieces; float32, 0 to 1."""
        return self._against(_rows(*self._parts, [text]))

    def scores_of(self, position: int) -> np.ndarray:
        """Each document's score for one of the documents; float32, 0 to 1."""
        return self._against(self._documents[[position]])

    def _against(self, row: sparse.csr_array) -> np.ndarray:
        return np.asarray(self._documents @ row.toarray().ravel(), np.float32).clip(0, 1)

    def save(self, folder: Path) -> None:
        """Write TERMS and WEIGHTS into a folder."""
        by_word, by_piece = self._parts
        (folder / TERMS).write_text(json.dumps({"words": by_word.terms, "pieces": by_piece.terms}), encoding="utf-8")
        np.savez_compressed(
            folder / WEIGHTS,
            word_idf=by_word.idf,
            piece_idf=by_piece.idf,
            values=self._documents.data,
            columns=self._documents.indices,
            ends=self._documents.indptr,
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote.

        Raises:
            Corrupt: the files do not fit each other.
        """
        terms = json.loads((folder / TERMS).read_text(encoding="utf-8"))
        with np.load(folder / WEIGHTS, allow_pickle=False) as weights:
            arrays = dict(weights)
        by_word = Terms(words, terms["words"], arrays["word_idf"])
        by_piece = Terms(pieces, terms["pieces"], arrays["piece_idf"])
        known = len(by_word.terms) + len(by_piece.terms)
        if by_word.idf.size + by_piece.idf.size != known or arrays["columns"].max(initial=0) >= known:
            raise Corrupt(f"{folder / WEIGHTS} does not belong to {folder / TERMS}. Publish the index anew.")
        shape = (arrays["ends"].size - 1, known)
        documents = sparse.csr_array((arrays["values"], arrays["columns"], arrays["ends"]), shape)
        return cls(by_word, by_piece, documents)


def _rows(by_word: Terms, by_piece: Terms, texts: Sequence[str]) -> sparse.csr_array:
    """Both ways of counting side by side, so that the product of two rows is the mean of their two cosines."""
    both = sparse.hstack([by_word.vectors(texts), by_piece.vectors(texts)], format="csr")
    return sparse.csr_array(both * np.sqrt(0.5)).astype(np.float32)
