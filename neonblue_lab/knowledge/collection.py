"""One Chroma collection in a folder: written once by one writer, then read. Vectors always come from the caller."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from chromadb.api.client import Client

NAME = "experiments"
SPACE = "cosine"
PLAIN_PICKLES = "*/index_metadata.pickle"
"""Files below the folder that Chroma keeps as pickles of plain numbers and strings."""

_BATCH = 5_000  # Chroma takes at most 5,461 at once
_QUERIES = 100
# Every batch is written through to the index files, so that a reader has no log to replay.
_INDEX: Any = {"space": SPACE, "batch_size": 2, "sync_threshold": 2}

Facts = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Entry:
    """What is kept of a document beside its vector.

    Attributes:
        document: its text.
        facts: what a search may filter by.
    """

    document: str
    facts: Facts


def write(
    folder: Path, ids: Iterable[str], vectors: np.ndarray, documents: Iterable[str], facts: Sequence[Facts]
) -> None:
    """Write a new collection. When this returns all of it is on the disk and the folder is closed.

    Args:
        folder: does not exist yet.
        ids, documents, facts: of each document, in the order of the rows of `vectors`; facts are not empty.
        vectors: len(ids) x dimensions.
    """
    ids, documents = list(ids), list(documents)
    client = _client(folder)
    try:
        target = client.create_collection(NAME, embedding_function=None, configuration={"hnsw": _INDEX})
        for start in range(0, len(ids), _BATCH):
            part = slice(start, start + _BATCH)
            target.add(ids=ids[part], embeddings=vectors[part], documents=documents[part], metadatas=list(facts[part]))
    finally:
        client.close()


class Reader:
    """A collection open for reading. Chroma writes into the folder nevertheless: give it one of its own."""

    def __init__(self, folder: Path) -> None:
        self._client = _client(folder)
        try:
            self._collection = self._client.get_collection(NAME, embedding_function=None)
        except BaseException:
            self._client.close()
            raise

    def count(self) -> int:
        """How many documents it holds."""
        return self._collection.count()

    def ids(self, where: dict[str, Any] | None = None) -> list[str]:
        """The documents that meet a condition (Chroma's `where`), in no particular order."""
        return list(self._collection.get(where=where, include=[])["ids"])

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """The vectors of documents that it holds: float32, len(ids) x dimensions."""
        found: Any = self._collection.get(ids=list(ids), include=["embeddings"])
        row = {id: position for position, id in enumerate(found["ids"])}
        return np.asarray(found["embeddings"], np.float32)[[row[id] for id in ids]]

    def entries(self, ids: Sequence[str]) -> list[Entry]:
        """Text and facts of documents that it holds."""
        found: Any = self._collection.get(ids=list(ids), include=["documents", "metadatas"])
        columns = (found["ids"], found["documents"], found["metadatas"])
        held = {id: Entry(document, facts) for id, document, facts in zip(*columns, strict=True)}
        return [held[id] for id in ids]

    def nearest(self, vectors: np.ndarray, limit: int, where: dict[str, Any] | None = None) -> list[list[str]]:
        """For each vector the ids of the nearest documents that meet a condition, the nearest first."""
        found: list[list[str]] = []
        for start in range(0, len(vectors), _QUERIES):
            part = vectors[start : start + _QUERIES]
            found += self._collection.query(query_embeddings=part, n_results=limit, where=where, include=[])["ids"]
        return found

    def close(self) -> None:
        """Let go of the folder. Closing twice does nothing."""
        self._client.close()


def _client(folder: Path) -> "Client":
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(folder, settings=Settings(anonymized_telemetry=False))
    return cast("Client", client)  # declared as an interface that lacks close()
