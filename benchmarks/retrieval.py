"""Which way of comparing texts finds a headline's siblings, and what does it cost?

Two headlines are siblings when they were tried in the same Upworthy test: written for the same story, mostly in other words.
Each headline that has a sibling is a query; all other distinct headlines (surrounding blanks removed) are ranked.
Nothing is told who is whose sibling. What is trained on texts is trained on all headlines, as in use, and once more for *unseen
texts*: five times, each time on the headlines and ledes of four fifths of the tests (tests that share a headline stay together),
and only the other fifth asks.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import plain_bert
import polars as pl
from scipy import sparse
from timing import dataset, give_up, print_table, seconds

from neonblue_lab.errors import Unavailable
from neonblue_lab.knowledge.corpus import CorpusEmbedder
from neonblue_lab.knowledge.lexical import Lexical, Terms, pieces, words
from neonblue_lab.knowledge.minilm import MiniLM
from neonblue_lab.knowledge.retrieval import VECTOR_WEIGHT
from neonblue_lab.models.training.scores import Score, mean_score
from neonblue_lab.models.training.splits import components, grouped_folds

DEPTH = 10
"""How far down a ranking is looked at."""
MEASURES = ("hit@1", "recall@10", "MRR@10", "nDCG@10")
WEIGHTS = (0.4, 0.5, 0.6, 0.7, 0.8)
"""Shares of the vector part that are tried."""
TEXTS = 500
"""How many are encoded for the time."""
COMPARED = 25
"""How many are compared with the plain network."""
AT_ONCE = 500
FOLDS = 5
SEED = 1

Embed = Callable[[Sequence[str]], np.ndarray]
Similar = Callable[[np.ndarray], np.ndarray]
"""Positions of queries -> queries x headlines."""


@dataclass(frozen=True)
class Headlines:
    """Distinct headlines and who is whose sibling.

    Attributes:
        texts: the headlines.
        queries: positions of those with siblings.
        siblings: of each query, positions.
        component: of each headline: tests that share a headline are one.
        whole: of each headline, itself and the ledes that it stood above, a line each: what is trained on for unseen texts.
    """

    texts: list[str]
    queries: np.ndarray
    siblings: list[set[int]]
    component: np.ndarray
    whole: list[str]

    def training(self, fold: np.ndarray) -> list[str]:
        """The whole texts of the other folds' components; `fold` holds positions of headlines."""
        kept = ~np.isin(self.component, self.component[fold])
        return [text for text, stays in zip(self.whole, kept, strict=True) if stays]


@dataclass(frozen=True)
class Row:
    """One way of comparing, measured.

    Attributes:
        name: of the way.
        scores: measure -> value with a 95 % interval (components drawn anew).
        reference: what is known of it for this protocol: measure -> value.
        encode: seconds for 1,000 texts, None where it is the sum of others'.
    """

    name: str
    scores: dict[str, Score]
    reference: dict[str, float] = field(default_factory=dict)
    encode: float | None = None


def known(*values: float) -> dict[str, float]:
    """A reference by measure."""
    return dict(zip(MEASURES, values, strict=True))


def load(sample: int | None) -> Headlines:
    """The headlines of the tests, or of `sample` tests drawn."""
    columns = {"test": "clickability_test_id", "headline": "headline", "lede": "lede"}
    arms = pl.read_parquet(dataset("upworthy_exploratory.parquet"), columns=list(columns.values())).select(
        pl.col(column).str.strip_chars().alias(name) for name, column in columns.items()
    )
    arms = arms.drop_nulls(["test", "headline"])
    if sample is not None:
        tests = arms["test"].unique(maintain_order=True)
        arms = arms.filter(pl.col("test").is_in(tests.sample(min(sample, tests.len()), seed=SEED).implode()))
    arms = arms.with_columns(component=pl.Series(components(arms["test"], arms["headline"])))
    distinct = arms.unique("headline", keep="first", maintain_order=True).with_row_index("position")
    shown = arms.select("test", "headline").unique().join(distinct.select("headline", "position"), on="headline")
    pairs = shown.join(shown, on="test", suffix="_of_sibling").filter(
        pl.col("position") != pl.col("position_of_sibling")
    )
    found = pairs.group_by("position").agg(pl.col("position_of_sibling").unique()).sort("position")
    ledes = arms.group_by("headline").agg(pl.col("lede").drop_nulls().unique(maintain_order=True))
    whole = distinct.join(ledes, on="headline", maintain_order="left", suffix="s").select(
        pl.concat_list(pl.concat_list("headline"), "ledes").list.join("\n")
    )
    return Headlines(
        texts=distinct["headline"].to_list(),
        queries=found["position"].to_numpy().astype(np.int64),
        siblings=[set(those) for those in found["position_of_sibling"].to_list()],
        component=distinct["component"].to_numpy(),
        whole=whole.to_series().to_list(),
    )


def ranked(similar: Similar, queries: np.ndarray) -> np.ndarray:
    """The positions of the DEPTH nearest other headlines of each query, the nearest first."""
    parts = []
    for first in range(0, queries.size, AT_ONCE):
        rows = queries[first : first + AT_ONCE]
        scores = np.array(similar(rows), np.float32)
        scores[np.arange(rows.size), rows] = -np.inf
        nearest = np.argpartition(-scores, DEPTH - 1, axis=1)[:, :DEPTH]
        order = np.argsort(-np.take_along_axis(scores, nearest, axis=1), axis=1, kind="stable")
        parts.append(np.take_along_axis(nearest, order, axis=1))
    return np.concatenate(parts)


def quality(rankings: np.ndarray, relevant: Sequence[set[int]]) -> dict[str, np.ndarray]:
    """Each measure of each query."""
    gain = np.array([[found in those for found in row] for row, those in zip(rankings, relevant, strict=True)], float)
    count = np.array([len(those) for those in relevant])
    discount = 1 / np.log2(np.arange(2, DEPTH + 2))
    ideal = np.cumsum(discount)[np.minimum(count, DEPTH) - 1]
    reciprocal = np.where(gain.any(axis=1), 1 / (1 + gain.argmax(axis=1)), 0)
    return dict(zip(MEASURES, (gain[:, 0], gain.sum(axis=1) / count, reciprocal, gain @ discount / ideal), strict=True))


def measured(data: Headlines, name: str, similar: Similar, reference: dict[str, float], encode: float | None) -> Row:
    """A way that learns nothing of who is whose sibling, on all queries."""
    return Row(name, scored(data, quality(ranked(similar, data.queries), data.siblings)), reference, encode)


def scored(data: Headlines, values: dict[str, np.ndarray]) -> dict[str, Score]:
    """Means with intervals."""
    groups = data.component[data.queries]
    return {measure: mean_score(of_query, groups, seed=SEED) for measure, of_query in values.items()}


def folds(data: Headlines) -> list[np.ndarray]:
    """Positions among the queries, five times."""
    return [split.test for split in grouped_folds(data.component[data.queries], folds=FOLDS, seed=SEED)]


def trained(
    data: Headlines,
    name: str,
    fit: Callable[[list[str]], Embed],
    reference: dict[str, float],
    encode: float,
    weight: float = 1,
) -> Row:
    """An embedder trained without the fold that asks; with `weight` below 1, put together with counted words."""
    lexical = Lexical.fit(data.texts).documents if weight < 1 else None
    values = {measure: np.empty(data.queries.size) for measure in MEASURES}
    for fold in folds(data):
        asking = data.queries[fold]
        vectors = fit(data.training(asking))(data.texts)
        similar = dense(vectors) if lexical is None else mixed(dense(vectors), products(lexical), weight)
        found = quality(ranked(similar, asking), [data.siblings[query] for query in fold])
        for measure, of_query in found.items():
            values[measure][fold] = of_query
    return Row(name, scored(data, values), reference, encode)


def dense(vectors: np.ndarray) -> Similar:
    """Cosines of vectors of norm 1."""
    return lambda rows: vectors[rows] @ vectors.T


def products(matrix: sparse.csr_array) -> Similar:
    """Cosines of sparse rows of norm 1."""
    matrix = sparse.csr_array(matrix, dtype=np.float32)
    return lambda rows: (matrix[rows] @ matrix.T).toarray()


def mixed(vector: Similar, lexical: Similar, weight: float) -> Similar:
    """The two put together."""
    return lambda rows: weight * vector(rows) + (1 - weight) * lexical(rows)


def latent(texts: list[str], dimensions: int = 300) -> Embed:
    """A peer: latent semantic analysis by scikit-learn."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    wide = TfidfVectorizer(sublinear_tf=True)
    few = min(dimensions, len(texts) - 1)
    pipeline = make_pipeline(wide, TruncatedSVD(few, random_state=SEED), Normalizer()).fit(texts)
    return lambda asked: np.asarray(pipeline.transform(asked), np.float32)


def best_weights(data: Headlines, vectors: np.ndarray) -> list[float]:
    """For each fold, the share of the vector part (of WEIGHTS) that finds most on the other folds, by recall@10."""
    lexical = Lexical.fit(data.texts).documents
    found = {
        weight: quality(ranked(mixed(dense(vectors), products(lexical), weight), data.queries), data.siblings)[
            "recall@10"
        ]
        for weight in WEIGHTS
    }
    outside = [np.setdiff1d(np.arange(data.queries.size), fold) for fold in folds(data)]
    return [max(WEIGHTS, key=lambda weight: found[weight][others].mean()) for others in outside]


def table(data: Headlines, minilm: Embed, vectors: np.ndarray, runs: int = 3) -> list[Row]:
    """All rows; `vectors` are the headlines' by `minilm`, which is only timed."""
    texts = np.random.default_rng(SEED).permutation(data.texts)[:TEXTS].tolist()

    def timed(encode: Callable[[list[str]], Any]) -> float:
        return 1_000 / len(texts) * median(seconds(partial(encode, texts)) for _ in range(runs))

    by_word, by_piece = Terms.fit(words, data.texts), Terms.fit(pieces, data.texts)
    both = Lexical.fit(data.texts).documents
    learned = CorpusEmbedder.fit(data.texts)
    takes = {"words": timed(by_word.vectors), "pieces": timed(by_piece.vectors), "minilm": timed(minilm)}
    takes |= {"corpus": timed(learned.embed), "latent": timed(latent(data.texts))}
    lexical_takes = takes["words"] + takes["pieces"]

    def corpus(some: list[str]) -> Embed:
        return CorpusEmbedder.fit(some).embed

    return [
        measured(data, "standard retriever", mixed(dense(vectors), products(both), VECTOR_WEIGHT),
                 known(0.577, 0.514, 0.635, 0.506), takes["minilm"] + lexical_takes),
        measured(data, "MiniLM", dense(vectors), known(0.552, 0.495, 0.612, 0.485), takes["minilm"]),
        measured(data, "TF-IDF, words and pieces", products(both), known(0.489, 0.426, 0.543, 0.423), lexical_takes),
        measured(data, "TF-IDF, words", products(by_word.vectors(data.texts)), known(0.481, 0.415, 0.534, 0.414), takes["words"]),
        measured(data, "TF-IDF, pieces", products(by_piece.vectors(data.texts)), known(0.474, 0.413, 0.526, 0.410), takes["pieces"]),
        measured(data, "corpus (PMI-SIF)", dense(learned.embed(data.texts)), known(0.482, 0.424, 0.531, 0.419), takes["corpus"]),
        measured(data, "corpus, retriever", mixed(dense(learned.embed(data.texts)), products(both), VECTOR_WEIGHT), {},
                 takes["corpus"] + lexical_takes),
        trained(data, "corpus, unseen texts", corpus, {}, takes["corpus"]),
        trained(data, "corpus, retriever, unseen texts", corpus, {}, takes["corpus"] + lexical_takes, VECTOR_WEIGHT),
        trained(data, "LSA, unseen texts", latent, {}, takes["latent"]),
    ]  # fmt: skip


def largest_difference(minilm: Embed, texts: Sequence[str]) -> float:
    """Between the package's vectors and those of the plain network in float64."""
    return float(np.abs(minilm(texts) - plain_bert.embed(texts)).max())


def cells(row: Row) -> list[str]:
    """A row as it is printed."""

    def one(measure: str) -> str:
        score = row.scores[measure]
        return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"

    known_of_it = " / ".join(f"{row.reference[measure]:.3f}" for measure in MEASURES if measure in row.reference)
    encode = "" if row.encode is None else f"{row.encode:.2f} s"
    return [row.name, *(one(measure) for measure in MEASURES), known_of_it, encode]


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
    data = load(options.sample)
    try:
        minilm = MiniLM()
    except Unavailable as reason:
        give_up(str(reason))
    vectors = minilm.embed(data.texts)
    rows = table(data, minilm.embed, vectors, options.runs)
    print_table(["", *MEASURES, "reference", "encode 1,000"], map(cells, rows))
    mean_siblings = np.mean([len(those) for those in data.siblings])
    print(
        f"{len(data.texts):,} distinct headlines, {data.queries.size:,} queries with {mean_siblings:.2f} siblings each."
    )
    chosen = ", ".join(f"{weight:g}" for weight in best_weights(data, vectors))
    print(f"Best share of the vector part on the other four folds: {chosen}; in use: {VECTOR_WEIGHT:g}.")
    sample = sorted(data.texts, key=len)[:: max(1, len(data.texts) // COMPARED)]
    print(
        f"Largest difference to the published model on {len(sample)} headlines: {largest_difference(minilm.embed, sample):.1e}."
    )


if __name__ == "__main__":
    main()
