"""Does the neural embedder find a headline's siblings better than counted words do, and what does it cost?

Two headlines are siblings when they were tried in the same Upworthy test: written for the same story, mostly in other words.
Each headline that has a sibling is a query; all other distinct headlines (surrounding blanks removed) are ranked by cosine.
"""

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer
from timing import dataset, give_up, interleaved, print_table, seconds

from neonblue_lab.errors import Unavailable
from neonblue_lab.knowledge.minilm import MiniLM

DEPTH = 10
"""How far down a ranking is looked at."""
TEXTS = 500
"""How many are encoded for the time."""
AT_ONCE = 500
SEED = 1


def load(sample: int | None) -> pl.DataFrame:
    """The headlines of the tests, or of `sample` tests drawn: test, headline; one row for each headline of a test."""
    file = dataset("upworthy_exploratory.parquet")
    arms = pl.read_parquet(file, columns=["clickability_test_id", "headline"]).select(
        test="clickability_test_id", headline=pl.col("headline").str.strip_chars()
    )
    shown = arms.drop_nulls().unique(maintain_order=True)
    if sample is None:
        return shown
    tests = shown["test"].unique(maintain_order=True)
    return shown.filter(pl.col("test").is_in(tests.sample(min(sample, tests.len()), seed=SEED).implode()))


def siblings(shown: pl.DataFrame, position: dict[str, int]) -> dict[int, set[int]]:
    """Positions of the queries -> positions of their siblings."""
    pairs = shown.join(shown, on="test", suffix="_of_sibling").filter(
        pl.col("headline") != pl.col("headline_of_sibling")
    )
    found: dict[int, set[int]] = {}
    for headline, sibling in pairs.select("headline", "headline_of_sibling").iter_rows():
        found.setdefault(position[headline], set()).add(position[sibling])
    return found


def ranked(vectors: Any, queries: np.ndarray) -> np.ndarray:
    """The positions of the DEPTH nearest other headlines of each query, the nearest first.

    Args:
        vectors: a row of norm 1 for each headline, dense or sparse.
    """
    parts = []
    for first in range(0, queries.size, AT_ONCE):
        rows = queries[first : first + AT_ONCE]
        cosines = vectors[rows] @ vectors.T
        cosines = cosines.toarray() if hasattr(cosines, "toarray") else cosines
        cosines[np.arange(rows.size), rows] = -np.inf
        nearest = np.argpartition(-cosines, DEPTH - 1, axis=1)[:, :DEPTH]
        order = np.argsort(-np.take_along_axis(cosines, nearest, axis=1), axis=1, kind="stable")
        parts.append(np.take_along_axis(nearest, order, axis=1))
    return np.concatenate(parts)


def quality(rankings: np.ndarray, relevant: list[set[int]]) -> dict[str, float]:
    """The four measures, averaged over the queries."""
    gain = np.array([[found in those for found in row] for row, those in zip(rankings, relevant, strict=True)], float)
    count = np.array([len(those) for those in relevant])
    discount = 1 / np.log2(np.arange(2, DEPTH + 2))
    ideal = np.cumsum(discount)[np.minimum(count, DEPTH) - 1]
    reciprocal = np.where(gain.any(axis=1), 1 / (1 + gain.argmax(axis=1)), 0)
    return {
        "hit@1": gain[:, 0].mean(),
        f"recall@{DEPTH}": (gain.sum(axis=1) / count).mean(),
        f"MRR@{DEPTH}": reciprocal.mean(),
        f"nDCG@{DEPTH}": (gain @ discount / ideal).mean(),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--sample", type=int, help="only the headlines of so many tests: quicker, and easier, as less is ranked"
    )
    parser.add_argument("--runs", type=int, default=3, help="of the encoding; medians count (default: %(default)s)")
    options = parser.parse_args()
    if options.runs < 1 or (options.sample is not None and options.sample < 10):
        parser.error("--runs must be at least 1 and --sample at least 10")
    shown = load(options.sample)
    headlines = shown["headline"].unique(maintain_order=True).to_list()
    relevant = siblings(shown, {headline: i for i, headline in enumerate(headlines)})
    queries = np.array(sorted(relevant))

    try:
        minilm = MiniLM()
    except Unavailable as reason:
        give_up(str(reason))
    words = TfidfVectorizer(sublinear_tf=True).fit(headlines)
    embedders: list[Callable[[list[str]], Any]] = [minilm.embed, words.transform]
    ours, peer = (
        quality(ranked(embed(headlines), queries), [relevant[query] for query in queries]) for embed in embedders
    )
    texts = np.random.default_rng(SEED).permutation(headlines)[:TEXTS].tolist()
    times = interleaved(options.runs, *(partial(seconds, partial(embed, texts)) for embed in embedders))
    ours_encodes, peer_encodes = (1_000 / len(texts) * median(of_one) for of_one in times)
    rows = [[name, f"{ours[name]:.3f}", f"{peer[name]:.3f}", f"{ours[name] / peer[name]:.2f}"] for name in ours]
    rows.append(
        ["encode 1,000", f"{ours_encodes:.2f} s", f"{peer_encodes:.3f} s", f"{ours_encodes / peer_encodes:.0f}"]
    )
    print_table(["", "MiniLM", "TF-IDF of words", "MiniLM / TF-IDF"], rows)
    mean_siblings = np.mean([len(those) for those in relevant.values()])
    print(f"{len(headlines):,} distinct headlines, {queries.size:,} queries with {mean_siblings:.2f} siblings each.")


if __name__ == "__main__":
    main()
