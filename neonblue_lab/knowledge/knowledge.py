"""What the lab knows of past experiments: training an embedder, publishing the index, and asking it."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.artifacts.served import Served
from neonblue_lab.knowledge import corpus_training
from neonblue_lab.knowledge.embedders import CORPUS, Embedders
from neonblue_lab.knowledge.embedders import choice as choice_of
from neonblue_lab.knowledge.embedding import CachedEmbedder, Embedder
from neonblue_lab.knowledge.index import NAME, ExperimentIndex, SearchHit
from neonblue_lab.knowledge.index_building import build_index
from neonblue_lab.knowledge.retrieval import VECTOR_WEIGHT
from neonblue_lab.knowledge.vector_cache import VectorCache
from neonblue_lab.lake.lake import Lake


class Knowledge:
    """Search by meaning and words over the experiments of the promoted index."""

    def __init__(self, store: ArtifactStore, lake: Lake) -> None:
        self._store = store
        self._embedders = Embedders(store)
        self._cache = VectorCache(lake)
        self._served = Served(store, NAME, self._open, made_by="30_experiment_knowledge")

    def _open(self, artifact: Artifact) -> ExperimentIndex:
        return ExperimentIndex.open(artifact, self.named(str(artifact.manifest.parameters["embedder"])))

    @property
    def embedder(self) -> Embedder:
        """The embedder of NEONBLUE_EMBEDDER; see `embedder_of`."""
        return self.embedder_of()

    def embedder_of(self, choice: str = "") -> Embedder:
        """A text embedder, with the vectors of texts that it has seen kept in the lake.

        Args:
            choice: minilm, corpus or openai; NEONBLUE_EMBEDDER, else minilm, unless given.

        Raises:
            BadInput: there is no such embedder.
            Unavailable: it is not installed, or has no key; the message says what to install or set.
            NotFound: `corpus` was not trained yet.
        """
        return CachedEmbedder(self._embedders.chosen(choice), self._cache)

    def named(self, name: str) -> Embedder:
        """The embedder that calls itself so, to ask what was built with it; it keeps no vectors.

        Raises:
            NotFound: no embedder, or no training that is still kept, has that name.
            Unavailable: as of `embedder_of`.
        """
        return self._embedders.named(name)

    def train_embedder(
        self, texts: Sequence[str], *, data_versions: Mapping[str, int], dimensions: int = 300, seed: int = 0
    ) -> Artifact:
        """Train the embedder `corpus` on the lab's own texts and make it the champion; indexes are built with it from the next
        `publish` on, and one that was built with a former training is still searched with that.

        Raises:
            BadInput: too little text.
        """
        artifact = corpus_training.train(
            self._store, texts, data_versions=data_versions, dimensions=dimensions, seed=seed
        )
        return self._store.promote(artifact.name, artifact.version)

    def train_chosen(self, embedder: str, texts: Sequence[str], *, data_versions: Mapping[str, int]) -> Artifact | None:
        """`train_embedder` where the embedder of a choice (empty: that of NEONBLUE_EMBEDDER) is the one that learns from the
        lab's own texts; None where it is one that comes trained.

        Raises:
            BadInput: there is no such embedder, or too little text.
        """
        return self.train_embedder(texts, data_versions=data_versions) if choice_of(embedder) == CORPUS else None

    @property
    def index(self) -> ExperimentIndex:
        """The promoted index, open for searching: `search`, `similar`, and the `artifact` that it is. Work that asks several
        questions of one index keeps what this returned; asked again, it may be a newer one.

        Raises:
            NotFound: none was promoted yet; the message says what makes it.
        """
        return self._served.get()[1]

    def publish(
        self, documents: pl.DataFrame, *, data_versions: Mapping[str, int], promote: bool = True, embedder: str = ""
    ) -> Artifact:
        """Embed and index documents (`Experiments.documents`), and make the index the champion.

        Args:
            documents: columns of `documents.DOCUMENT_SCHEMA`.
            data_versions: lake table -> version that they were made from.
            promote: make it the champion.
            embedder: as of `embedder_of`.

        Raises:
            NothingToDo: no documents.
            BadInput: other columns.
            Unavailable, NotFound: as of `embedder_of`.
        """
        artifact = build_index(self._store, documents, self.embedder_of(embedder), data_versions=data_versions)
        return self._store.promote(artifact.name, artifact.version) if promote else artifact

    def map(self, documents: pl.DataFrame, hits: Sequence[SearchHit]) -> pl.DataFrame:
        """Documents as points of a plane, with the hits of a search numbered: what `plots.neighbours_map` draws.

        Returns:
            x, y (the first two principal components of the vectors), label, group (experiment type; outcome where all are of
            one type), rank (1 for the best hit; null for what was not found).
        """
        used = str(self.index.artifact.manifest.parameters["embedder"])
        embedder = CachedEmbedder(self._embedders.named(used), self._cache)
        vectors = embedder.embed(documents["document"].to_list()).astype(np.float64)
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

    def duplicates(self, documents: pl.DataFrame, *, limit: int = 10) -> pl.DataFrame:
        """The most alike experiments of the promoted index, with what each came to.

        Returns:
            score, vector, lexical, name, outcome, lift, other_name, other_outcome, other_lift, experiment_id, other_id; the most
            alike first.
        """
        facts = documents.select("experiment_id", pl.coalesce("name", "experiment_id").alias("name"), "outcome", "lift")
        pairs = self.index.pairs(limit=limit).rename({"first": "experiment_id", "second": "other_id"})
        both = pairs.join(facts, on="experiment_id", maintain_order="left").join(
            facts.rename(lambda column: f"other_{column}"),
            left_on="other_id",
            right_on="other_experiment_id",
            maintain_order="left",
        )
        named = ["name", "outcome", "lift"]
        return both.select(
            "score", "vector", "lexical", *named, *(f"other_{column}" for column in named), "experiment_id", "other_id"
        )


def score_parts(rows: pl.DataFrame) -> pl.DataFrame:
    """What each part adds to a score: rows with vector and lexical, with the columns `meaning` and `words`, whose sum is the
    score; what `plots.likeness_chart` draws."""
    return rows.with_columns(meaning=VECTOR_WEIGHT * pl.col("vector"), words=(1 - VECTOR_WEIGHT) * pl.col("lexical"))


def hit_table(hits: Sequence[SearchHit]) -> pl.DataFrame:
    """Hits as a table to read: score and its two parts, outcome, lift, name, experiment_id, document."""
    rows = [
        {
            "score": round(hit.score, 3),
            "vector": round(hit.vector, 3),
            "lexical": round(hit.lexical, 3),
            "outcome": hit.metadata.get("outcome"),
            "lift": hit.metadata.get("lift"),
            "name": hit.metadata.get("name"),
            "experiment_id": hit.experiment_id,
            "document": hit.document,
        }
        for hit in hits
    ]
    numbers, texts = ("score", "vector", "lexical"), ("name", "experiment_id", "document")
    schema = [
        *((n, pl.Float64) for n in numbers),
        ("outcome", pl.String),
        ("lift", pl.Float64),
        *((t, pl.String) for t in texts),
    ]
    return pl.DataFrame(rows, schema=dict(schema))
