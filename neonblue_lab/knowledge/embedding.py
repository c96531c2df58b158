"""Texts to vectors: what every embedder offers, and one that computes no text twice."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from neonblue_lab.knowledge.vector_cache import VectorCache


class Embedder(Protocol):
    """Turns texts into vectors of Euclidean norm 1."""

    @property
    def name(self) -> str:
        """What its vectors are known by: vectors of different names are never compared."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32, len(texts) x dimensions."""


class CachedEmbedder:
    """An embedder that remembers: only texts never seen before are computed, each once."""

    def __init__(self, embedder: Embedder, cache: VectorCache) -> None:
        self._embedder = embedder
        self._cache = cache

    @property
    def name(self) -> str:
        return self._embedder.name

    @property
    def dimensions(self) -> int:
        return self._embedder.dimensions

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32, len(texts) x dimensions: from the cache where it has them, else computed and then kept there."""
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        distinct = dict(zip(keys, texts, strict=True))
        vectors = self._cache.find(self.name, distinct, self.dimensions)
        missing = [key for key in distinct if key not in vectors]
        if missing:
            computed = self._embedder.embed([distinct[key] for key in missing])
            self._cache.keep(self.name, missing, computed)
            vectors |= dict(zip(missing, computed, strict=True))
        return np.array([vectors[key] for key in keys], np.float32).reshape(len(texts), self.dimensions)
