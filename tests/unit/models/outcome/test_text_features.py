"""Hand-made features say what they are named after."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.models.outcome.text_features import NAMES, features


def value(text: str, name: str) -> float:
    return float(features([text])[0, NAMES.index(name)])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("words", "You Won't Believe It", 4),
        ("questions", "Why? Why not?", 2),
        ("numbers", "7 ways to save 1000 dollars", 2),
        ("starts with a number", "7 Ways", 1),
        ("first word asks", "How we do it", 1),
        ("first word points", "Here’s how", 1),
        ("trailing dots", "And then... wait…", 2),
        ("words in capitals", "This is NOT OK", 2),
        ("you", "You and your cat", 2),
        ("negation", "Nobody can’t not", 3),
        ("quotation marks", "“Yes” she said", 2),
        ("money and shares", "$5 or 10%", 2),
    ],
)
def test_what_is_counted(name, text, expected):
    assert value(text, name) == expected


def test_feeling_has_its_sign():
    assert value("A wonderful, happy day", "sentiment") > 0.5
    assert value("A horrible, cruel murder", "sentiment") < -0.5


@given(st.lists(st.text(max_size=40), max_size=5))
def test_any_text_has_finite_features(texts):
    found = features(texts)
    assert found.shape == (len(texts), len(NAMES))
    assert np.isfinite(found).all()
