"""What the lab knows of past experiments: publishing the index, and asking it."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import polars as pl

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.artifacts.served import Served
from neonblue_lab.knowledge.embedding import CachedEmbedder, Embedder
from neonblue_lab.knowledge.index import NAME, ExperimentIndex, SearchHit, build_index
from neonblue_lab.knowledge.minilm import MiniLM
from neonblue_lab.knowledge.vector_cache import VectorCache
from neonblue_lab.lake.lake import Lake


class Knowledge:
    """Search by meaning over the experiments of the promoted index."""

    def __init__(self, store: ArtifactStore, lake: Lake) -> None:
        self._store = store
        self._lake = lake
        self._served = Served(
            store, NAME, lambda artifact: ExperimentIndex.open(artifact, self._model), made_by="30_experiment_knowledge"
        )

    @cached_property
    def _model(self) -> MiniLM:
        return MiniLM()

    @cached_property
    def embedder(self) -> Embedder:
        """The text embedder, with the vectors of texts that it has seen kept in the lake."""
        return CachedEmbedder(self._model, VectorCache(self._lake))

    @property
    def index(self) -> ExperimentIndex:
        """The promoted index, open for searching: `search`, `similar`, and the `artifact` that it is. Work that asks several
        questions of one index keeps what this returned; asked again, it may be a newer one.

        Raises:
            NotFound: none was promoted yet; the message says what makes it.
        """
        return self._served.get()[1]

    def publish(self, documents: pl.DataFrame, *, data_versions: Mapping[str, int], promote: bool = True) -> Artifact:
        """Embed and index documents (`Experiments.documents`), and make the index the champion.

        Raises:
            BadInput: no documents, or other columns.
        """
        artifact = build_index(self._store, documents, self.embedder, data_versions=data_versions)
        return self._store.promote(artifact.name, artifact.version) if promote else artifact

    def map(self, documents: pl.DataFrame, hits: Sequence[SearchHit]) -> pl.DataFrame:
        """Documents as points of a plane, with the hits of a search numbered: what `plots.neighbours_map` draws.

        Returns:
            x, y (the first two principal components of the vectors), label, group (experiment type; outcome where all are of
            one type), rank (1 for the best hit; null for what was not found).
        """
        vectors = self.embedder.embed(documents["document"].to_list()).astype(np.float64)
        vectors -= vectors.mean(axis=0)
        __, axes = np.linalg.eigh(vectors.T @ vectors)
        points = vectors @ axes[:, ::-1][:, :2]
        ranks = {hit.experiment_id: rank for rank, hit in enumerate(hits, 1)}
        return documents.select(
            x=pl.Series(points[:, 0]),
            y=pl.Series(points[:, 1]),
            label=pl.coalesce("name", "experiment_id"),
            group="experiment_type" if documents["experiment_type"].n_unique() > 1 else "outcome",
            rank=pl.col("experiment_id").replace_strict(ranks, default=None, return_dtype=pl.Int64),
        )


def hit_table(hits: Sequence[SearchHit]) -> pl.DataFrame:
    """Hits as a table to read: score, outcome, lift, name, experiment_id, document."""
    return pl.DataFrame(
        [
            {
                "score": round(hit.score, 3),
                "outcome": hit.metadata.get("outcome"),
                "lift": hit.metadata.get("lift"),
                "name": hit.metadata.get("name"),
                "experiment_id": hit.experiment_id,
                "document": hit.document,
            }
            for hit in hits
        ],
        schema={
            "score": pl.Float64,
            "outcome": pl.String,
            "lift": pl.Float64,
            "name": pl.String,
            "experiment_id": pl.String,
            "document": pl.String,
        },
    )
