"""What a reader sees in a short text without knowing its subject: length, numbers, questions, quotes, persons, feeling."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_PATTERNS: dict[str, str] = {
    "questions": r"\?",
    "exclamations": r"!",
    "commas": r",",
    "full stops": r"\.(?=\s|$)",
    "trailing dots": r"\.\.\.|…",
    "colons": r":",
    "dashes": r"\s[-–—]+\s|--",
    "quotation marks": r"[\"“”]|(?<!\w)['‘]",
    "emphasis": r"\*[^*]+\*",
    "brackets": r"[(\[]",
    "numbers": r"\d+",
    "money and shares": r"[$£€%]|\bpercent\b",
    "contractions": r"\w['’]\w",
    "words in capitals": r"\b[A-Z]{2,}\b",
}
"""Counted in the text as it is written."""

_WORDS: dict[str, str] = {
    "I, me, my": "i|me|my|mine|i'm|i've|i'd|i'll|myself",
    "you": "you|your|yours|you're|you've|you'd|you'll|yourself",
    "we": "we|us|our|ours|we're|we've|we'd|we'll",
    "he": "he|him|his|he's|he'd|himself|guy|man|men|boy|boys|dude|father|dad|son|husband",
    "she": "she|her|hers|she's|she'd|herself|woman|women|girl|girls|lady|mother|mom|daughter|wife",
    "they": "they|them|their|theirs|they're|they've|they'd|people",
    "this, these": "this|these|that|those|here's|here|there's",
    "what, why, how": "what|why|how|who|where|when|which|what's|who's|how's",
    "negation": "no|not|never|nothing|nobody|none|don't|doesn't|didn't|isn't|aren't|wasn't|won't|can't|couldn't|shouldn't|wouldn't",
    "extremes": "best|worst|most|least|ever|every|all|always|only|first|last|greatest|biggest|perfect|perfectly",
    "hints at more": "thing|things|something|someone|reason|reasons|secret|secrets|happens|happened|next|until|wait|guess|see|watch|look|know|find|learn|turns|actually|really",
    "hedges": "maybe|might|could|probably|kinda|sorta|almost|should|would|may",
    "contrasts": "but|though|yet|instead|unless|despite|except|however|then",
    "causes": "because|so|since|if|makes|made|make",
    "time": "now|today|year|years|day|days|minute|minutes|seconds|second|old|new|time",
}
"""Counted whatever their case."""

NAMES: tuple[str, ...] = (
    "characters",
    "words",
    "letters a word",
    "longest word",
    "sentences",
    "capitalised words",
    "rare punctuation",
    "first word asks",
    "first word points",
    "starts with a number",
    *_PATTERNS,
    *_WORDS,
    "pleasant words",
    "unpleasant words",
    "sentiment",
    "strength of feeling",
)
"""The columns of `features`, in words a writer understands."""


_LONGEST = 1_000
"""Characters whose feeling is read: VADER is made for short texts, and takes quadratic time."""


def features(texts: Sequence[str]) -> Floats:
    """The hand-made features: len(texts) x len(NAMES)."""
    return np.array([_of(text) for text in texts], np.float64).reshape(len(texts), len(NAMES))


def _of(text: str) -> list[float]:
    words = re.findall(r"[\w'’]+", text)
    lowered = [word.lower().replace("’", "'") for word in words]
    first = lowered[0] if lowered else ""
    shape = [
        len(text),
        len(words),
        sum(map(len, words)) / max(len(words), 1),
        max(map(len, words), default=0),
        len(re.findall(r"[.!?…]+(?=\s|$|[\"”'’])", text)),
        sum(word[:1].isupper() for word in words) / max(len(words), 1),
        len(re.findall(r"[^\w\s.,!?'\"’]", text)),
        float(first in _vocabulary("what, why, how")),
        float(first in _vocabulary("this, these")),
        float(first[:1].isdigit()),
    ]
    patterns = [len(pattern.findall(text)) for pattern in _compiled()]
    counted = [sum(word in _vocabulary(name) for word in lowered) for name in _WORDS]
    feeling = _vader().polarity_scores(text[:_LONGEST])
    return [*shape, *patterns, *counted, feeling["pos"], feeling["neg"], feeling["compound"], abs(feeling["compound"])]


@cache
def _compiled() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern) for pattern in _PATTERNS.values())


@cache
def _vocabulary(name: str) -> frozenset[str]:
    return frozenset(_WORDS[name].split("|"))


@cache
def _vader() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
