"""Texts are looked at as a whole and by their ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.models.outcome.views import Reader, ends

TEXTS = ["A dog sings, and nobody minds.", "Why a dog sings: the reason", "Nobody minds a song", "A song about the dog"]


@pytest.mark.parametrize(
    ("text", "opening", "ending"),
    [
        ("A dog sings. Nobody minds.", "A dog sings.", "Nobody minds."),
        ("Watch this, then that, then cry", "Watch this,", "then cry"),
        ('"Never again!" she said', '"Never again!', "she said"),
        ("One idea — another", "One idea", "another"),
        ("It costs 3.50 now", "It costs", "3.50 now"),
        ("alone", "alone", "alone"),
        ("", "", ""),
    ],
)
def test_ends(text, opening, ending):
    assert ends(text) == (opening, ending)


@given(st.text(max_size=60))
def test_any_text_has_ends_that_are_its_own(text):
    opening, ending = ends(text)
    assert all(word in text for word in [*opening.split(), *ending.split()])
    assert bool(opening.strip()) == bool(ending.strip()) == bool(text.strip())


def test_ends_are_read_like_whole_texts():
    def embed(texts) -> np.ndarray:
        return np.eye(64, dtype=np.float32)[[len(text) for text in texts]]

    for embedder in (None, embed):
        reader = Reader.fit(TEXTS * 2, [], embed=embedder, seed=0)
        views = reader.read(TEXTS)
        openings, endings = (reader.read(part).meaning for part in zip(*map(ends, TEXTS), strict=True))
        assert (views.opening == openings).all()
        assert (views.ending == endings).all()
