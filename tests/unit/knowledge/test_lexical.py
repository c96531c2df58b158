"""Counted words: scikit-learn's numbers, from any text, and the same ones after a round trip over the disk."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from neonblue_lab.errors import BadInput, Corrupt
from neonblue_lab.knowledge.lexical import TERMS, Lexical

TEXTS = [
    "Wallet buttons above the card form\nPaying with a stored wallet avoids typing, above all on phones",
    "Größere Schaltflächen – mehr Käufe?  Naïve café's 3.5% uplift (A/B)",
    "a I 1 x",
    "One-page checkout: fewer steps, fewer buyers lost. Checkout checkout CHECKOUT",
]


def peer(documents: list[str], query: str) -> np.ndarray:
    """Mean of the cosines of two TfidfVectorizers."""
    ways = (
        TfidfVectorizer(sublinear_tf=True),
        TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(3, 5)),
    )
    cosines = []
    for way in ways:
        rows = way.fit_transform(documents)
        cosines.append((rows @ way.transform([query]).T).toarray().ravel())
    return np.mean(cosines, axis=0)


@pytest.mark.parametrize("query", [*TEXTS, "wallet checkout", "Käufe", "unheard-of", "x"])
def test_scores_are_those_of_scikit_learn(query: str) -> None:
    scores = Lexical.fit(TEXTS).scores(query)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, peer(TEXTS, query), atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=6), st.text(max_size=30))
def test_any_text_is_scored_as_scikit_learn_does(documents: list[str], query: str) -> None:
    documents = [*documents, "two words"]  # the peer refuses documents without any
    np.testing.assert_allclose(Lexical.fit(documents).scores(query), peer(documents, query), atol=1e-6)


def test_a_document_scores_itself_one_and_others_alike_both_ways() -> None:
    lexical = Lexical.fit(TEXTS)
    every = np.array([lexical.scores_of(position) for position in range(len(lexical))])
    np.testing.assert_allclose(every, every.T, atol=1e-6)
    np.testing.assert_allclose(np.diag(every), [1, 1, 0.5, 1], atol=1e-6)  # the third has no word of two letters
    np.testing.assert_allclose(every[0], lexical.scores(TEXTS[0]), atol=1e-6)


def test_a_text_without_anything_scores_nothing() -> None:
    assert Lexical.fit(TEXTS).scores(" \n").tolist() == [0, 0, 0, 0]
    assert Lexical.fit([""]).scores("word").tolist() == [0]


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    lexical = Lexical.fit(TEXTS)
    lexical.save(tmp_path)
    again = Lexical.load(tmp_path)
    assert len(again) == 4
    for text in (*TEXTS, "wallet käufe"):
        assert np.array_equal(again.scores(text), lexical.scores(text))
    (tmp_path / TERMS).write_text('{"words": ["checkout"], "pieces": []}')
    with pytest.raises(Corrupt, match=r"tfidf\.npz does not belong to"):
        Lexical.load(tmp_path)


def test_nothing_to_count() -> None:
    with pytest.raises(BadInput, match="no texts"):
        Lexical.fit([])
