"""Vectors already computed, kept in the lake's table `vectors` by embedder and SHA-256 of the text."""

from collections.abc import Collection, Sequence

import numpy as np
import polars as pl

from neonblue_lab.errors import Corrupt
from neonblue_lab.lake.lake import Lake


class VectorCache:
    """Reads and appends the table `vectors`. Several processes may use it at once: a vector kept twice is the same vector."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def find(self, embedder: str, keys: Collection[bytes], dimensions: int) -> dict[bytes, np.ndarray]:
        """Key -> vector (float32), for those of the keys that are kept.

        Raises:
            Corrupt: a kept vector is not of that length.
        """
        wanted = pl.Series(list(keys), dtype=pl.Binary)
        mine = (pl.col("embedder") == embedder) & pl.col("text_sha256").is_in(wanted.implode())
        kept = self._lake.read("vectors", ["text_sha256", "vector"], mine)
        wrong = (kept["vector"].list.len() != dimensions).sum()
        if wrong:
            raise Corrupt(
                f"The lake's table vectors holds {wrong:,} vectors of {embedder} that do not have its {dimensions:,} "
                "numbers. Remove the table's folder: the vectors are computed anew."
            )
        vectors = kept["vector"].list.to_array(dimensions).to_numpy()
        return dict(zip(kept["text_sha256"].to_list(), vectors, strict=True))

    def keep(self, embedder: str, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Append the vectors (len(keys) x dimensions) of an embedder."""
        frame = pl.DataFrame(
            {
                "embedder": pl.Series([embedder] * len(keys), dtype=pl.String),
                "text_sha256": pl.Series(keys, dtype=pl.Binary),
                "vector": pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])).arr.to_list(),
            }
        )
        self._lake.append("vectors", frame)
