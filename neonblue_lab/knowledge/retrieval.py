"""The standard retriever: how near in meaning and how alike in words, put together to one score.

Why both: a vector finds what is said in other words, counted words find names and rare words again. On 10,796 Upworthy headlines
that look for their siblings the two together found 51.4 % of them among the first ten, the vectors alone 49.5 %, the words 42.6 %
(`benchmarks/retrieval.py`).
"""

from dataclasses import dataclass

import numpy as np

VECTOR_WEIGHT = 0.6
"""Share of the vector part; the lexical part has the rest. Among 0.4, 0.5, ... 0.8 the best on the other folds in each of five
folds of headlines that share no test, where the vectors are MiniLM's."""


@dataclass(frozen=True)
class Ranked:
    """What was found, the best first.

    Attributes:
        positions: of the documents.
        scores: `combined` of the two parts.
        vector: cosine of the vectors, -1 to 1.
        lexical: 0 to 1.
    """

    positions: np.ndarray
    scores: np.ndarray
    vector: np.ndarray
    lexical: np.ndarray


def combined(vector: np.ndarray, lexical: np.ndarray) -> np.ndarray:
    """The standard retriever's score: -0.6 to 1. It orders what one query finds, and is no probability."""
    return VECTOR_WEIGHT * vector + (1 - VECTOR_WEIGHT) * lexical


def best(positions: np.ndarray, vector: np.ndarray, lexical: np.ndarray, limit: int) -> Ranked:
    """The `limit` best of some documents by their parts; of equally good ones those of the lower position."""
    scores = combined(vector, lexical)
    order = np.lexsort((positions, -scores))[:limit]
    return Ranked(positions[order], scores[order], vector[order], lexical[order])


def likeliest(vector_candidates: np.ndarray, lexical: np.ndarray, allowed: np.ndarray, count: int) -> np.ndarray:
    """The documents worth scoring where there are too many to score all: those near by vector, and the `count` allowed ones
    with the highest lexical scores. Positions, ascending, each once."""
    scores = lexical[allowed]
    kept = min(count, allowed.size)
    top = allowed[np.argpartition(-scores, kept - 1)[:kept]] if kept else allowed
    return np.union1d(vector_candidates, top).astype(np.int64)
