"""How texts are looked at: what a reader notices, the words, their pieces, what they and their ends mean."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neonblue_lab.errors import BadInput
from neonblue_lab.models.behaviour.journey_vectors import PmiSvd
from neonblue_lab.models.behaviour.sequences import Sequences
from neonblue_lab.models.outcome import text_features

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts to rows of norm 1."""

DIMENSIONS = 200
"""Of a vector of word company; on headlines 150 to 500 did alike."""
_TOGETHER = 6
"""Words at most so far apart go together."""
_OFTEN = 4
"""A word of fewer texts has no company worth counting."""
_WORD = r"[a-z0-9$%]+(?:'[a-z]+)?"
_CLAUSES = re.compile(r"(?<=[.!?…:;,])[\"”'’)]*\s+|\s+[-–—]+\s+")
_EXTREME = 4.0
"""Standard deviations: a feature beyond tells no more."""
_KINDS = {
    "words": {"ngram_range": (1, 2), "min_df": 2, "token_pattern": _WORD},
    "pieces": {"analyzer": "char_wb", "ngram_range": (3, 5), "min_df": 3},
}
_DENSE = ("hand", "company", "neural", "opening", "ending")


@dataclass(frozen=True)
class Views:
    """Texts as numbers, a row each.

    Attributes:
        hand: `text_features`, standardised.
        words: words and pairs of words, TF-IDF, norm 1.
        pieces: letter runs within words, TF-IDF, norm 1.
        company: means of word vectors that were learned from which words stand together, norm 1.
        neural: vectors of a neural embedder, norm 1; of no columns without one.
        opening, ending: vectors of the first and the last clause: neural where there are such, else of word company.
    """

    hand: NDArray[np.float32]
    words: sparse.csr_matrix
    pieces: sparse.csr_matrix
    company: NDArray[np.float32]
    neural: NDArray[np.float32]
    opening: NDArray[np.float32]
    ending: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.hand)

    def __getitem__(self, rows: NDArray[Any]) -> "Views":
        return Views(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def meaning(self) -> NDArray[np.float32]:
        """The best vectors that there are: neural, else of word company."""
        return self.neural if self.neural.shape[1] else self.company

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All numbers, for `from_arrays`."""
        state: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _DENSE}
        for name in _KINDS:
            matrix: sparse.csr_matrix = getattr(self, name)
            parts = {
                "data": matrix.data,
                "indices": matrix.indices,
                "indptr": matrix.indptr,
                "shape": np.array(matrix.shape),
            }
            state |= {f"{name}.{part}": array for part, array in parts.items()}
        return state

    @classmethod
    def from_arrays(cls, state: Mapping[str, NDArray[Any]]) -> "Views":
        """The views that `to_arrays` described."""
        counted = {
            name: sparse.csr_matrix(
                tuple(state[f"{name}.{part}"] for part in ("data", "indices", "indptr")), tuple(state[f"{name}.shape"])
            )
            for name in _KINDS
        }
        return cls(**{name: state[name] for name in _DENSE}, **counted)


class Reader:
    """Looks at texts as it has learned to.

    Attributes:
        neural: dimensions of the neural embedder's vectors; 0 without one.
    """

    def __init__(
        self,
        centre: NDArray[np.float64],
        scale: NDArray[np.float64],
        terms: Mapping[str, Sequence[str]],
        rarity: Mapping[str, NDArray[np.float64]],
        vocabulary: Sequence[str],
        company: PmiSvd,
        neural: int,
        embed: Embed | None,
    ) -> None:
        self._centre, self._scale = centre, scale
        self._rarity = rarity
        self._counters = {kind: _counter(kind, terms[kind], rarity[kind]) for kind in _KINDS}
        self._terms = {kind: list(terms[kind]) for kind in _KINDS}
        self._vocabulary = list(vocabulary)
        self._row = {word: row for row, word in enumerate(self._vocabulary)}
        self._company = company
        self.neural = neural
        self._embed = embed

    @classmethod
    def fit(cls, texts: Sequence[str], more: Sequence[str], *, embed: Embed | None, seed: int) -> Self:
        """Learn what is usual and what words mean.

        Args:
            texts: distinct texts that are looked at.
            more: other texts, for the company of words only.
            embed: the neural embedder, or None.
            seed: of the decomposition of the company.

        Raises:
            BadInput: too few words occur in more than one text.
        """
        hand = text_features.features(texts)
        counters = {kind: _unfitted(kind) for kind in _KINDS}
        try:
            for counter in counters.values():
                counter.fit(texts)
        except ValueError as error:
            raise BadInput(f"The {len(texts)} texts share too few words to learn from: give more of them.") from error
        corpus = [_words(text) for text in dict.fromkeys([*texts, *more])]
        vocabulary = _frequent(corpus)
        row = {word: position for position, word in enumerate(vocabulary)}
        sequences = Sequences.of([[row[word] for word in words if word in row] for words in corpus])
        company = PmiSvd.fit(sequences, len(vocabulary), dimensions=DIMENSIONS, together=_TOGETHER, seed=seed)
        return cls(
            hand.mean(axis=0),
            np.where(hand.std(axis=0) > 0, hand.std(axis=0), 1.0),
            {kind: counter.get_feature_names_out().tolist() for kind, counter in counters.items()},
            {kind: counter.idf_ for kind, counter in counters.items()},
            vocabulary,
            company,
            0 if embed is None else int(embed(list(texts[:1])).shape[1]),
            embed,
        )

    def read(self, texts: Sequence[str]) -> Views:
        """Look at texts, one row each in their order.

        Raises:
            BadInput: the embedder's vectors have another length than those that were learned from.
        """
        hand = (text_features.features(texts) - self._centre) / self._scale
        counted = {kind: counter.transform(texts).astype(np.float32) for kind, counter in self._counters.items()}
        neural = self._neural(texts)
        meaning = self._neural if self.neural else self._of_company
        openings, endings = zip(*map(ends, texts), strict=True)
        return Views(
            hand=np.clip(hand, -_EXTREME, _EXTREME).astype(np.float32),
            words=counted["words"],
            pieces=counted["pieces"],
            company=self._of_company(texts),
            neural=neural,
            opening=meaning(openings),
            ending=meaning(endings),
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All state but the embedder, for `from_arrays`; no object arrays."""
        state: dict[str, NDArray[Any]] = {
            "centre": self._centre,
            "scale": self._scale,
            "vocabulary": np.array(self._vocabulary),
            "neural": np.array(self.neural),
        }
        for kind in _KINDS:
            state[f"{kind}.terms"], state[f"{kind}.rarity"] = np.array(self._terms[kind]), self._rarity[kind]
        return state | {f"company.{name}": array for name, array in self._company.to_arrays().items()}

    @classmethod
    def from_arrays(cls, state: Mapping[str, NDArray[Any]], embed: Embed | None) -> Self:
        """The reader that `to_arrays` described.

        Raises:
            BadInput: it looked at texts with a neural embedder, and none is given.
        """
        neural = int(state["neural"])
        if neural and embed is None:
            raise BadInput("This model was fitted with a neural embedder: load it with the same one (embed=...).")
        company = {name.removeprefix("company."): state[name] for name in state if name.startswith("company.")}
        return cls(
            state["centre"],
            state["scale"],
            {kind: state[f"{kind}.terms"].tolist() for kind in _KINDS},
            {kind: state[f"{kind}.rarity"] for kind in _KINDS},
            state["vocabulary"].tolist(),
            PmiSvd.from_arrays(company),
            neural,
            embed if neural else None,
        )

    def _of_company(self, texts: Sequence[str]) -> NDArray[np.float32]:
        known = [[self._row[word] for word in _words(text) if word in self._row] for text in texts]
        return self._company.embed(Sequences.of(known)).astype(np.float32)

    def _neural(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._embed is None or not len(texts):
            return np.empty((len(texts), self.neural), np.float32)
        vectors = np.asarray(self._embed(list(texts)), np.float32)
        if vectors.shape != (len(texts), self.neural):
            raise BadInput(
                f"The embedder made vectors of shape {vectors.shape} of {len(texts)} texts; this model was fitted on vectors "
                f"of {self.neural} numbers. Use the embedder that it was fitted with."
            )
        return vectors


def remembered(embed: Embed) -> Embed:
    """An embedder that computes no text twice, as long as it lives."""
    vectors: dict[str, NDArray[np.float32]] = {}

    def of(texts: Sequence[str]) -> NDArray[np.float32]:
        missing = [text for text in dict.fromkeys(texts) if text not in vectors]
        if missing:
            vectors.update(zip(missing, embed(missing), strict=True))
        return np.array([vectors[text] for text in texts], np.float32)

    return of


def ends(text: str) -> tuple[str, str]:
    """The first and the last clause of a text; the halves of a text of one clause; a single word is both."""
    clauses = [clause for clause in _CLAUSES.split(text) if clause.strip()]
    if len(clauses) > 1:
        return clauses[0], clauses[-1]
    words = text.split()
    half = len(words) // 2
    return (" ".join(words[:half]), " ".join(words[half:])) if half else (text, text)


def _words(text: str) -> list[str]:
    return re.findall(_WORD, _plain(text))


def _plain(text: str) -> str:
    return text.lower().replace("’", "'")


def _frequent(corpus: Sequence[Sequence[str]]) -> list[str]:
    """Words of `_OFTEN` texts or more, in order of the alphabet; all words where there are none so frequent."""
    words, counts = np.unique([word for of_one in corpus for word in set(of_one)], return_counts=True)
    frequent = words[counts >= _OFTEN]
    return list(map(str, frequent if frequent.size else words))


def _unfitted(kind: str, **options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(preprocessor=_plain, sublinear_tf=True, **_KINDS[kind], **options)


def _counter(kind: str, terms: Sequence[str], rarity: NDArray[np.float64]) -> Any:
    counter = _unfitted(kind, vocabulary={term: column for column, term in enumerate(terms)})
    counter.idf_ = rarity
    return counter
