"""Real headlines: siblings of one test are found, and by more than shared words explain."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer

from neonblue_lab.knowledge.minilm import MiniLM


def hit_at_1(similarities: np.ndarray, tests: np.ndarray) -> float:
    """Share of headlines whose nearest other headline is of the same test."""
    np.fill_diagonal(similarities, -np.inf)
    return float(np.mean(tests[similarities.argmax(axis=1)] == tests))


def test_siblings_are_found_far_more_often_than_by_tf_idf(dataset: Callable[[str], Path], minilm: MiniLM) -> None:
    """On all 12,364 headlines the model finds a sibling first for 55 %, TF-IDF of words for 48 %. The sample: the first 1,500
    headlines, each once and with one test as its own (which counts siblings from its other tests as misses)."""
    arms = pl.read_parquet(dataset("upworthy_exploratory.parquet"), columns=["clickability_test_id", "headline"])
    headlines = (
        arms.select(test="clickability_test_id", text=pl.col("headline").str.strip_chars())
        .unique("text", keep="first", maintain_order=True)
        .filter(pl.len().over("test") > 1)
        .head(1_500)
    )
    tests, texts = headlines["test"].to_numpy(), headlines["text"].to_list()
    vectors = minilm.embed(texts)
    words = TfidfVectorizer(sublinear_tf=True).fit_transform(texts)
    by_meaning, by_words = hit_at_1(vectors @ vectors.T, tests), hit_at_1((words @ words.T).toarray(), tests)
    print(f"hit@1 by meaning {by_meaning:.3f}, by words {by_words:.3f}")
    assert by_meaning > 0.5
    assert by_meaning > by_words + 0.05
