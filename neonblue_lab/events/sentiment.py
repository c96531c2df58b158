"""How favourable a text sounds, by VADER's lexicon and rules (Hutto & Gilbert 2014, ICWSM), from -1 to 1.

VADER speaks English, and reads a text word by word in Python. Whoever holds many texts would wait for it; most texts hold
no word that it knows, and those score 0 without being read.
"""

from functools import cache
from string import punctuation
from typing import Any

import polars as pl

MODEL = "vader@3.3.2"
LONGEST = 1_000
"""Characters of a text that are read: VADER is made for short texts, and takes quadratic time."""

_BEYOND_LATIN = r"[^\t\n\r\x20-\x7e\u00a0-\u024f]"


def sentiment(texts: pl.Series) -> pl.Series:
    """VADER's compound score of each text, of its first LONGEST characters.

    Args:
        texts: of type String; a null has no score.

    Returns:
        Numbers from -1 to 1, as long as `texts`. Each distinct text is read once.
    """
    distinct = texts.drop_nulls().unique()
    if distinct.is_empty():
        return pl.repeat(None, texts.len(), dtype=pl.Float64, eager=True)
    read = pl.DataFrame({"text": distinct, "read": distinct.str.slice(0, LONGEST)})
    telling = pl.when(_says_something(pl.col("read"))).then("read").map_elements(_score, pl.Float64)
    scores = read.select("text", score=telling.fill_null(0.0))
    return texts.to_frame("text").join(scores, on="text", how="left", maintain_order="left")["score"]


def _says_something(text: pl.Expr) -> pl.Expr:
    """Whether a text holds a word of the lexicon, or a character beyond the Latin alphabets, such as an emoji."""
    words = text.str.to_lowercase().str.extract_all(r"\S+")
    known = pl.element().is_in(_lexicon()) | pl.element().str.strip_chars(punctuation).is_in(_lexicon())
    return words.list.eval(known).list.any() | text.str.contains(_BEYOND_LATIN)


def _score(text: str) -> float:
    return float(_analyzer().polarity_scores(text)["compound"])


@cache
def _lexicon() -> list[str]:
    return list(_analyzer().lexicon)


@cache
def _analyzer() -> Any:
    from vaderSentiment import vaderSentiment as vader

    return vader.SentimentIntensityAnalyzer()  # reads a lexicon of 7,500 words
