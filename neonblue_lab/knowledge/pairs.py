"""Which documents are most alike: every one against every other, a block at a time."""

import numpy as np
import polars as pl
from scipy import sparse

from neonblue_lab.errors import BadInput
from neonblue_lab.knowledge.retrieval import combined

PAIRS_SCHEMA: dict[str, pl.DataType] = {
    "first": pl.Int64(),
    "second": pl.Int64(),
    "score": pl.Float64(),
    "vector": pl.Float64(),
    "lexical": pl.Float64(),
}

_BLOCK = 500


def closest_pairs(vectors: np.ndarray, words: sparse.csr_array, limit: int) -> pl.DataFrame:
    """The pairs of documents with the highest scores.

    Args:
        vectors: documents x dimensions, each row of norm 1.
        words: documents x terms (`Lexical.documents`).
        limit: at most so many pairs.

    Returns:
        Columns of PAIRS_SCHEMA, the most alike first: positions (first below second), score and its parts. The time grows with
        the square of the number of documents: 1 s for 5,000 or so.

    Raises:
        BadInput: a limit below 1.
    """
    if limit < 1:
        raise BadInput(f"limit is {limit}: ask for at least 1 pair.")
    found = pl.DataFrame(schema=PAIRS_SCHEMA)
    for start in range(0, len(vectors), _BLOCK):
        block = slice(start, start + _BLOCK)
        by_vector = np.clip(vectors[block] @ vectors[start:].T, -1, 1)
        by_words = np.clip((words[block] @ words[start:].T).toarray(), 0, 1)
        rows, columns = np.triu_indices(by_vector.shape[0], 1, by_vector.shape[1])
        scores = combined(by_vector, by_words)[rows, columns]
        best = np.argpartition(-scores, min(limit, scores.size) - 1)[:limit] if scores.size else rows
        at = rows[best], columns[best]
        columns_found = (at[0] + start, at[1] + start, scores[best], by_vector[at], by_words[at])
        part = pl.DataFrame(dict(zip(PAIRS_SCHEMA, columns_found, strict=True)), schema_overrides=PAIRS_SCHEMA)
        found = pl.concat([found, part]).sort("score", "first", "second", descending=[True, False, False]).head(limit)
    return found
