"""Building the index of experiments: embedded, counted, measured and published as an artifact."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.errors import BadInput, Corrupt, NothingToDo
from neonblue_lab.knowledge import collection
from neonblue_lab.knowledge.documents import DOCUMENT_SCHEMA
from neonblue_lab.knowledge.embedding import Embedder
from neonblue_lab.knowledge.filters import FACTS, stored
from neonblue_lab.knowledge.index import CANDIDATES, CHROMA, EXACT_UP_TO, EXPERIMENTS, LEXICAL, NAME
from neonblue_lab.knowledge.lexical import Lexical
from neonblue_lab.knowledge.retrieval import VECTOR_WEIGHT

_RECALL_AT = 10
_RECALL_QUERIES = 200


def build_index(
    store: ArtifactStore, documents: pl.DataFrame, embedder: Embedder, *, data_versions: Mapping[str, int]
) -> Artifact:
    """Embed documents, count their words, and publish both as the next version of `experiments_index`.

    The recall is that of the vectors alone, measured on the finished folder, reopened: of the documents' own vectors (up to
    200, spread evenly over the rows) as queries, the share of the 10 exact nearest other documents that Chroma finds.

    Args:
        store: where to.
        documents: columns of `documents.DOCUMENT_SCHEMA`.
        embedder: of the documents, and of every query later.
        data_versions: lake table -> version that the documents were made from.

    Raises:
        NothingToDo: no document.
        BadInput: other columns, or several documents of one experiment.
        Corrupt: the finished index does not hold all documents. Nothing was published.
    """
    _check(documents)
    started = perf_counter()
    vectors = embedder.embed(documents["document"].to_list())
    embedded = perf_counter()
    with tempfile.TemporaryDirectory(prefix="neonblue-index-") as scratch:
        content = Path(scratch)
        collection.write(
            content / CHROMA, documents["experiment_id"], vectors, documents["document"], _facts(documents)
        )
        _write_lexical(content / LEXICAL, documents)
        built = perf_counter()
        metrics = {
            "documents": documents.height,
            "embed_seconds": embedded - started,
            "index_seconds": built - embedded,
            f"recall_at_{_RECALL_AT}": _recall_of(content / CHROMA, documents["experiment_id"].to_list(), vectors),
        }
        return store.publish(
            NAME,
            lambda target: _move(content, target),
            parameters={
                "embedder": embedder.name,
                "dimensions": embedder.dimensions,
                "space": collection.SPACE,
                "collection": collection.NAME,
                "vector_weight": VECTOR_WEIGHT,
            },
            metrics=metrics,
            data_versions=data_versions,
            seed=None,
            card=_card(embedder, metrics),
            kind="index",
            plain_pickles=(f"{CHROMA}/{collection.PLAIN_PICKLES}",),
        )


def recall(found: Sequence[Sequence[int]], queries: Sequence[int], vectors: np.ndarray, k: int) -> float | None:
    """Mean share of the exact k nearest that an index found, where queries are documents themselves.

    Args:
        found: for each query, positions of what the index returned; the query's own position does not count.
        queries: the queries' positions.
        vectors: of all documents, norm 1. Documents as near as the k-th nearest (to 1e-6) are as good as it.
        k: how many neighbours. With k or fewer other documents, all of them.

    Returns:
        0 to 1; None if there is a single document.
    """
    k = min(k, len(vectors) - 1)
    if k < 1:
        return None
    similarities = vectors[list(queries)] @ vectors.T
    similarities[np.arange(len(queries)), list(queries)] = -np.inf
    kth = np.partition(similarities, -k, axis=1)[:, -k]
    right = [
        sum(similarities[row, position] >= kth[row] - 1e-6 for position in [p for p in positions if p != query][:k])
        for row, (query, positions) in enumerate(zip(queries, found, strict=True))
    ]
    return float(np.mean(right) / k)


def _check(documents: pl.DataFrame) -> None:
    if dict(documents.schema) != DOCUMENT_SCHEMA:
        raise BadInput(f"Documents have columns {dict(documents.schema)}; an index is built of {DOCUMENT_SCHEMA}.")
    if documents.is_empty():
        raise NothingToDo("There are no experiments to index: `neonblue replay --from ...` brings them into the lake.")
    twice = documents["experiment_id"].is_duplicated()
    if twice.any():
        experiment = documents.filter(twice)["experiment_id"][0]
        raise BadInput(f"Experiment {experiment} has several documents: an index holds one of each.")


def _facts(documents: pl.DataFrame) -> list[dict[str, str | int | float]]:
    rows = documents.select(list(FACTS)).iter_rows(named=True)
    return [{field: stored(field, value) for field, value in row.items() if value is not None} for row in rows]


def _recall_of(folder: Path, ids: list[str], vectors: np.ndarray) -> float | None:
    position = {experiment: i for i, experiment in enumerate(ids)}
    queries = np.unique(np.linspace(0, len(ids) - 1, _RECALL_QUERIES).round().astype(int)).tolist()
    reader = collection.Reader(folder)
    try:
        if reader.count() != len(ids):
            raise Corrupt(f"The index holds {reader.count():,} of {len(ids):,} documents. Nothing was published.")
        nearest = reader.nearest(vectors[queries], min(_RECALL_AT + 1, len(ids)))
    finally:
        reader.close()
    found = [[position[experiment] for experiment in of_one] for of_one in nearest]
    return recall(found, queries, vectors, _RECALL_AT)


def _write_lexical(folder: Path, documents: pl.DataFrame) -> None:
    folder.mkdir()
    Lexical.fit(documents["document"].to_list()).save(folder)
    (folder / EXPERIMENTS).write_text(json.dumps(documents["experiment_id"].to_list()), encoding="utf-8")


def _move(content: Path, target: Path) -> None:
    for part in (CHROMA, LEXICAL):
        shutil.move(content / part, target / part)


def _card(embedder: Embedder, metrics: Mapping[str, Any]) -> str:
    found = metrics[f"recall_at_{_RECALL_AT}"]
    quality = (
        f"{found:.3f} of the exact {_RECALL_AT} nearest neighbours by vector are found (documents as queries, reopened index)."
        if found is not None
        else "The recall could not be measured: there is a single document."
    )
    return f"""# Index of experiments

**For**: finding past experiments by their names, hypotheses and variants, with filters on their facts.

**Data**: {metrics["documents"]:,} experiments, one document each.

**Score**: {VECTOR_WEIGHT:g} x the vector part + {1 - VECTOR_WEIGHT:g} x the lexical part. The vector part is the cosine of vectors by
{embedder.name} ({embedder.dimensions:,} dimensions, in a Chroma collection): near in meaning. The lexical part is the mean of
two cosines of TF-IDF, by words and by pieces of words of 3 to 5 characters: alike in wording. Up to {EXACT_UP_TO:,} documents all are
scored; of more, the {CANDIDATES:,} best by either part.

**Quality**: {quality}

**Do not believe** a score as a probability: it orders results of one query and no more. Only the beginning of a long text
counts for its vector (the embedder's limit), texts in other languages than the embedder's are placed badly, and the facts are
those of the day the index was built. The lift kept for an experiment is that of its best variant, not corrected for having been
picked.
"""
