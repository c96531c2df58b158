"""The index of experiments, opened as a private copy and searched by meaning and by words at once."""

import json
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import polars as pl

from neonblue_lab.artifacts import Artifact
from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.knowledge import collection
from neonblue_lab.knowledge.embedding import Embedder
from neonblue_lab.knowledge.filters import FACTS, Filters, chroma_where, shown
from neonblue_lab.knowledge.lexical import Lexical
from neonblue_lab.knowledge.pairs import closest_pairs
from neonblue_lab.knowledge.retrieval import best, likeliest

NAME = "experiments_index"
"""The artifact's name."""
CHROMA, LEXICAL = "chroma", "lexical"
"""Its folders: vectors, texts and facts; counted words."""
EXPERIMENTS = "experiments.json"
"""In LEXICAL: the ids of the documents, in the order of their rows."""
EXACT_UP_TO = 20_000
"""So many documents are all scored, a matter of milliseconds; of more, those that are candidates by either part."""
CANDIDATES = 200
"""How many candidates each part names, at least. With these alone 310 queries among 12,364 headlines found the same ten as with
all scored; with 50, 99.9 % of them."""


@dataclass(frozen=True)
class SearchHit:
    """An experiment that was found.

    Attributes:
        experiment_id: which one.
        score: what hits are ordered by (`retrieval.combined` of the two parts), -0.6 to 1; no probability.
        vector: how near in meaning: cosine similarity of the vectors, -1 to 1.
        lexical: how alike in wording: mean of two cosines of counted words and pieces of words, 0 to 1.
        document: its text.
        metadata: what is known of its facts (`documents.DOCUMENT_SCHEMA` without id and document), as JSON values.
    """

    experiment_id: str
    score: float
    vector: float
    lexical: float
    document: str
    metadata: Mapping[str, str | int | float]


class ExperimentIndex:
    """A published index, open for searching. Several threads may search at once.

    Chroma writes into the folder that it opens, and an artifact never changes: what is open is a copy in a temporary folder,
    removed by `close()`, on leaving a `with` block, or when the process ends.

    Attributes:
        artifact: what is open.
    """

    def __init__(
        self,
        artifact: Artifact,
        ids: Sequence[str],
        lexical: Lexical,
        reader: collection.Reader,
        embedder: Embedder,
        scratch: Path,
    ) -> None:
        self.artifact = artifact
        self._ids = list(ids)
        self._position = {experiment: position for position, experiment in enumerate(ids)}
        self._lexical = lexical
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
            BadInput: the index was built with another embedder: similarities between the two would mean nothing; or before
                words were counted.
        """
        built_with = artifact.manifest.parameters.get("embedder")
        if built_with != embedder.name:
            raise BadInput(
                f"{artifact.name} version {artifact.version} was built with the embedder {built_with!r}, not with "
                f"{embedder.name!r}. Open it with that one, or build the index anew."
            )
        if f"{LEXICAL}/{EXPERIMENTS}" not in artifact.manifest.files:
            raise BadInput(
                f"{artifact.name} version {artifact.version} is of a form that is no longer read. Build the index anew: "
                "`neonblue run nightly`, or notebooks/30_experiment_knowledge.ipynb."
            )
        ids = json.loads((artifact.path / LEXICAL / EXPERIMENTS).read_text(encoding="utf-8"))
        lexical = Lexical.load(artifact.path / LEXICAL)
        scratch = Path(tempfile.mkdtemp(prefix="neonblue-index-"))
        try:
            # Contents only: the artifact's files are read-only, the copy must not be.
            shutil.copytree(artifact.path / CHROMA, scratch / CHROMA, copy_function=shutil.copyfile)
            return cls(artifact, ids, lexical, collection.Reader(scratch / CHROMA), embedder, scratch)
        except BaseException:
            shutil.rmtree(scratch)
            raise

    def __len__(self) -> int:
        return len(self._ids)

    def search(self, text: str, *, limit: int = 10, where: Filters | None = None) -> list[SearchHit]:
        """The experiments nearest to a text in meaning and words, the nearest first.

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
        _check(limit)
        return self._found(self._embedder.embed([text])[0], self._lexical.scores(text), limit, where)

    def similar(self, experiment_id: str, *, limit: int = 10, where: Filters | None = None) -> list[SearchHit]:
        """The other experiments nearest to one of the index in meaning and words, the nearest first; arguments as of `search`.

        Raises:
            NotFound: the index does not hold the experiment.
            BadInput: as of `search`.
        """
        _check(limit)
        position = self._position.get(experiment_id)
        if position is None:
            raise NotFound(f"The index holds {len(self):,} experiments, and no {experiment_id!r} among them.")
        vector = self._reader.vectors([experiment_id])[0]
        return self._found(vector, self._lexical.scores_of(position), limit, where, besides=position)

    def pairs(self, *, limit: int = 10) -> pl.DataFrame:
        """The pairs of experiments that are most alike: tried twice, or told in nearly the same words.

        Returns:
            first, second (experiment ids), score, vector, lexical (as of SearchHit), the most alike first.

        Raises:
            BadInput: a limit below 1.
        """
        ids = pl.Series(self._ids, dtype=pl.String)
        found = closest_pairs(self._all_vectors, self._lexical.documents, limit)
        return found.with_columns(first=ids.gather(found["first"]), second=ids.gather(found["second"]))

    def _found(
        self, vector: np.ndarray, lexical: np.ndarray, limit: int, where: Filters | None, besides: int | None = None
    ) -> list[SearchHit]:
        """The best of what meets the filters, one document left out."""
        conditions = chroma_where(where)
        met = (
            range(len(self))
            if conditions is None
            else sorted(map(self._position.__getitem__, self._reader.ids(conditions)))
        )
        allowed = np.array([position for position in met if position != besides], np.int64)
        if not allowed.size:
            return []
        if len(self) > EXACT_UP_TO:
            near = self._reader.nearest(vector[np.newaxis], min(max(CANDIDATES, 2 * limit), len(met)), conditions)[0]
            positions = np.array([self._position[experiment] for experiment in near], np.int64)
            allowed = likeliest(positions[positions != besides], lexical, allowed, max(CANDIDATES, 2 * limit))
        cosines = np.clip(self._vectors(allowed) @ vector, -1, 1)
        ranked = best(allowed, cosines, lexical[allowed], limit)
        ids = [self._ids[position] for position in ranked.positions]
        columns = (ids, ranked.scores, ranked.vector, ranked.lexical, self._reader.entries(ids))
        return [
            SearchHit(
                experiment_id=experiment,
                score=float(score),
                vector=float(by_vector),
                lexical=float(by_words),
                document=entry.document,
                metadata={field: shown(field, entry.facts[field]) for field in FACTS if field in entry.facts},
            )
            for experiment, score, by_vector, by_words, entry in zip(*columns, strict=True)
        ]

    def _vectors(self, positions: np.ndarray) -> np.ndarray:
        if len(self) <= EXACT_UP_TO:
            return np.asarray(self._all_vectors[positions])
        return self._reader.vectors([self._ids[position] for position in positions])

    @cached_property
    def _all_vectors(self) -> np.ndarray:
        return self._reader.vectors(self._ids)

    def close(self) -> None:
        """Close the copy and remove it. Closing twice does nothing."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check(limit: int) -> None:
    if limit < 1:
        raise BadInput(f"limit is {limit}: ask for at least 1 result.")


def _discard(reader: collection.Reader, scratch: Path) -> None:
    reader.close()
    shutil.rmtree(scratch)
