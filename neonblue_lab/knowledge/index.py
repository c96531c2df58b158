"""The index of experiments: built once and published as an artifact, then opened as a private copy and searched."""

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import numpy as np
import polars as pl

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.errors import BadInput, Corrupt, NotFound
from neonblue_lab.knowledge import collection
from neonblue_lab.knowledge.documents import DOCUMENT_SCHEMA
from neonblue_lab.knowledge.embedding import Embedder
from neonblue_lab.knowledge.filters import FACTS, Filters, chroma_where, shown, stored

NAME = "experiments_index"
"""The artifact's name."""

_FOLDER = "chroma"
_RECALL_AT = 10
_RECALL_QUERIES = 200


@dataclass(frozen=True)
class SearchHit:
    """An experiment that was found.

    Attributes:
        experiment_id: which one.
        score: cosine similarity to what was asked for, -1 to 1.
        document: its text.
        metadata: what is known of its facts (`documents.DOCUMENT_SCHEMA` without id and document), as JSON values.
    """

    experiment_id: str
    score: float
    document: str
    metadata: Mapping[str, str | int | float]


def build_index(
    store: ArtifactStore, documents: pl.DataFrame, embedder: Embedder, *, data_versions: Mapping[str, int]
) -> Artifact:
    """Embed documents, index them in Chroma and publish the index as the next version of `experiments_index`.

    The recall is measured on the finished folder, reopened: of the documents' own vectors (up to 200, spread evenly over the
    rows) as queries, the share of the 10 exact nearest other documents that the index finds.

    Args:
        store: where to.
        documents: columns of `documents.DOCUMENT_SCHEMA`.
        embedder: of the documents, and of every query later.
        data_versions: lake table -> version that the documents were made from.

    Raises:
        BadInput: other columns, no document, or several of one experiment.
        Corrupt: the finished index does not hold all documents. Nothing was published.
    """
    _check(documents)
    started = perf_counter()
    vectors = embedder.embed(documents["document"].to_list())
    embedded = perf_counter()
    with tempfile.TemporaryDirectory(prefix="neonblue-index-") as scratch:
        folder = Path(scratch) / _FOLDER
        collection.write(folder, documents["experiment_id"], vectors, documents["document"], _facts(documents))
        built = perf_counter()
        metrics = {
            "documents": documents.height,
            "embed_seconds": embedded - started,
            "index_seconds": built - embedded,
            f"recall_at_{_RECALL_AT}": _recall_of(folder, documents["experiment_id"].to_list(), vectors),
        }
        return store.publish(
            NAME,
            lambda target: _move(folder, target / _FOLDER),
            parameters={
                "embedder": embedder.name,
                "dimensions": embedder.dimensions,
                "space": collection.SPACE,
                "collection": collection.NAME,
            },
            metrics=metrics,
            data_versions=data_versions,
            seed=None,
            card=_card(embedder, metrics),
            kind="index",
            plain_pickles=(f"{_FOLDER}/{collection.PLAIN_PICKLES}",),
        )


class ExperimentIndex:
    """A published index, open for searching. Several threads may search at once.

    Chroma writes into the folder that it opens, and an artifact never changes: what is open is a copy in a temporary folder,
    removed by `close()`, on leaving a `with` block, or when the process ends.

    Attributes:
        artifact: what is open.
    """

    def __init__(self, artifact: Artifact, reader: collection.Reader, embedder: Embedder, scratch: Path) -> None:
        self.artifact = artifact
        self._reader = reader
        self._embedder = embedder
        self._release = weakref.finalize(self, _discard, reader, scratch)

    @classmethod
    def open(cls, artifact: Artifact, embedder: Embedder) -> Self:
        """Copy an index and open the copy.

        Args:
            artifact: as it comes from the store, which has just checked its hashes.
            embedder: the one that it was built with.

        Raises:
            BadInput: the index was built with another embedder: similarities between the two would mean nothing.
        """
        built_with = artifact.manifest.parameters.get("embedder")
        if built_with != embedder.name:
            raise BadInput(
                f"{artifact.name} version {artifact.version} was built with the embedder {built_with!r}, not with "
                f"{embedder.name!r}. Open it with that one, or build the index anew."
            )
        scratch = Path(tempfile.mkdtemp(prefix="neonblue-index-"))
        try:
            # Contents only: the artifact's files are read-only, the copy must not be.
            shutil.copytree(artifact.path / _FOLDER, scratch / _FOLDER, copy_function=shutil.copyfile)
            return cls(artifact, collection.Reader(scratch / _FOLDER), embedder, scratch)
        except BaseException:
            shutil.rmtree(scratch)
            raise

    def __len__(self) -> int:
        return self._reader.count()

    def search(self, text: str, *, limit: int = 10, where: Filters | None = None) -> list[SearchHit]:
        """The experiments nearest in meaning to a text, the nearest first.

        Args:
            text: what to look for.
            limit: at most how many.
            where: conditions that each result meets, by field: a value to equal, or {">=": low, "<=": high} for numbers
                and times. An experiment of which a field is not known meets no condition on it.

        Raises:
            BadInput: an empty text, a limit below 1, an unknown field (the message lists the known ones), or a value of
                the wrong type.
        """
        if not text.strip():
            raise BadInput("There is nothing to search for: give a text.")
        return self._nearest(self._embedder.embed([text])[0], limit, where)

    def similar(self, experiment_id: str, *, limit: int = 10, where: Filters | None = None) -> list[SearchHit]:
        """The other experiments nearest in meaning to one of the index, the nearest first; arguments as of `search`.

        Raises:
            NotFound: the index does not hold the experiment.
            BadInput: as of `search`.
        """
        vector = self._reader.vector(experiment_id)
        if vector is None:
            raise NotFound(f"The index holds {len(self):,} experiments, and no {experiment_id!r} among them.")
        hits = self._nearest(vector, limit, where, besides=1)
        return [hit for hit in hits if hit.experiment_id != experiment_id][:limit]

    def _nearest(self, vector: np.ndarray, limit: int, where: Filters | None, besides: int = 0) -> list[SearchHit]:
        if limit < 1:
            raise BadInput(f"limit is {limit}: ask for at least 1 result.")
        found = self._reader.nearest(vector[np.newaxis], min(limit + besides, len(self)), chroma_where(where))[0]
        return [
            SearchHit(
                experiment_id=match.id,
                score=match.similarity,
                document=match.document,
                metadata={field: shown(field, match.facts[field]) for field in FACTS if field in match.facts},
            )
            for match in found
        ]

    def close(self) -> None:
        """Close the copy and remove it. Closing twice does nothing."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
        raise BadInput("There are no experiments to index: `neonblue replay --from ...` brings them into the lake.")
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
        nearest = reader.nearest(vectors[queries], min(_RECALL_AT + 1, len(ids)), None)
    finally:
        reader.close()
    found = [[position[match.id] for match in matches] for matches in nearest]
    return recall(found, queries, vectors, _RECALL_AT)


def _move(folder: Path, target: Path) -> None:
    shutil.move(folder, target)


def _discard(reader: collection.Reader, scratch: Path) -> None:
    reader.close()
    shutil.rmtree(scratch)


def _card(embedder: Embedder, metrics: Mapping[str, Any]) -> str:
    found = metrics[f"recall_at_{_RECALL_AT}"]
    quality = (
        f"{found:.3f} of the exact {_RECALL_AT} nearest neighbours are found (documents as queries, reopened index)."
        if found is not None
        else "The recall could not be measured: there is a single document."
    )
    return f"""# Index of experiments

**For**: finding past experiments by the meaning of their names, hypotheses and variants, with filters on their facts.

**Data**: {metrics["documents"]:,} experiments, one document each; cosine similarity of vectors by {embedder.name}
({embedder.dimensions} dimensions) in a Chroma collection.

**Quality**: {quality}

**Do not believe** a score as a probability: it orders results of one query and no more. Only the beginning of a long text
counts (the embedder's limit), texts in other languages than the embedder's are placed badly, and the facts are those of the
day the index was built. The lift kept for an experiment is that of its best variant, not corrected for having been picked.
"""
