"""Kinds of events by what their content is made of, and how well a document fits each of them.

A kind is all events of one type that bear the same labels. Its profile is the share of its events that hold each token: a
Bernoulli naive Bayes over kinds (McCallum and Nigam 1998, equation 2). Profiles stand apart from one another, so leaving an
event type out is hiding its kinds: nothing is fitted again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neonblue_lab.events.classification import LABELS

MAX_TOKENS = 5_000
"""The tokens that occur in most events, of all kinds alike, are kept."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Kinds:
    """Profiles of the kinds that a classifier has seen.

    Attributes:
        tokens: known tokens, sorted.
        presence: kinds x tokens: the share of a kind's events that hold a token.
        share: of each kind among the events of its type: 1 unless a type's events bear different labels.
        event_types: of each kind. No document is ever compared by it; it names the kind, and is what is left out.
        labels: one row a kind, a column of texts for each label.
    """

    tokens: list[str]
    presence: Floats
    share: Floats
    event_types: NDArray[np.str_]
    labels: pl.DataFrame

    def values(self, label: str) -> NDArray[np.str_]:
        """The values that a label has, sorted."""
        return np.unique(self.labels[label].to_numpy().astype(str))

    def members(self, label: str) -> Floats:
        """kinds x values of the label: 1 where the kind bears the value."""
        return np.asarray(
            self.labels[label].to_numpy().astype(str)[:, None] == self.values(label)[None], dtype=np.float64
        )

    def only(self, kept: Mask) -> "Kinds":
        """These kinds, of which those stay that `kept` is true for."""
        return replace(
            self,
            presence=self.presence[kept],
            share=self.share[kept],
            event_types=self.event_types[kept],
            labels=self.labels.filter(pl.Series(kept)),
        )

    def stated(self, posterior: Floats, label: str) -> Floats:
        """documents x values of the label: probabilities, from those of the kinds (`posterior`)."""
        return np.minimum(posterior @ self.members(label), 1.0)

    def evidence(self, held: Any, smoothing: float) -> Floats:
        """documents x kinds: the logarithm of how likely a kind's event is to hold just these tokens.

        Args:
            held: of `incidence`; unknown tokens tell no kind from another.
            smoothing: pseudo-events, as a share of a kind's, that hold each token and that do not.
        """
        expected = (self.presence + smoothing) / (1 + 2 * smoothing)
        odds = np.log(expected) - np.log1p(-expected)
        return np.asarray(held[:, :-1] @ odds.T + np.log1p(-expected).sum(axis=1))

    def familiarity(self, held: Any) -> Floats:
        """The share of each document's tokens that any of these kinds holds."""
        known = np.append((self.presence > 0).any(axis=0), False).astype(np.float64)
        return np.asarray(held @ known / held.sum(axis=1))

    def posterior(self, evidence: Floats, familiarity: Floats, sharpness: float, hidden: Mask | None = None) -> Floats:
        """documents x kinds: probabilities, each event type taken to be as likely as any other.

        Args:
            evidence: of `evidence`.
            familiarity: of `familiarity`. The evidence is multiplied by it: the less of a document is known, the less is
                told by how badly it fits the one kind and how very badly the other.
            sharpness: what the evidence is multiplied by too: tokens are not independent, so one piece counts for less.
            hidden: documents x kinds, true where a kind is to count as unseen; one at least is left to each document.
        """
        logits = evidence * (sharpness * familiarity)[:, None] + np.log(self.share)
        if hidden is not None:
            logits = np.where(hidden, -np.inf, logits)
        logits = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(logits / logits.sum(axis=1, keepdims=True))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` makes the same kinds of; no array of objects."""
        labels = {f"label:{name}": self.labels[name].to_numpy().astype(str) for name in LABELS}
        tokens = np.array(self.tokens, dtype=np.str_)
        own = {"presence": self.presence, "share": self.share, "event_types": self.event_types}
        return {"tokens": tokens, **own, **labels}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Kinds":
        """The kinds of a `to_arrays`."""
        return cls(
            tokens=arrays["tokens"].tolist(),
            presence=arrays["presence"],
            share=arrays["share"],
            event_types=arrays["event_types"],
            labels=pl.DataFrame({name: arrays[f"label:{name}"].tolist() for name in LABELS}),
        )


def profile(examples: pl.DataFrame) -> Kinds:
    """The kinds of examples.

    Args:
        examples: document, event_type, a column of texts for each label, and weight (> 0): one row for each that differs.
    """
    kinds = (
        examples.group_by("event_type", *LABELS)
        .agg(pl.col("weight").sum())
        .sort("event_type", *LABELS)
        .with_columns(share=pl.col("weight") / pl.col("weight").sum().over("event_type"))
        .with_row_index("kind")
    )
    placed = examples.join(kinds.select("kind", "event_type", *LABELS), on=["event_type", *LABELS], how="left")
    held = (
        placed.select("kind", "weight", token=pl.col("document").str.split(" "))
        .explode("token")
        .group_by("kind", "token")
        .agg(pl.col("weight").sum())
    )
    relative = held.join(kinds.select("kind", total="weight"), on="kind").with_columns(
        pl.col("weight") / pl.col("total")
    )
    common = relative.group_by("token").agg(pl.col("weight").sum()).sort("weight", "token", descending=[True, False])
    tokens = common["token"].head(MAX_TOKENS).sort()
    cells = relative.join(pl.DataFrame({"token": tokens}).with_row_index("column"), on="token")
    presence = np.zeros((kinds.height, len(tokens)))
    presence[cells["kind"].to_numpy(), cells["column"].to_numpy()] = np.minimum(cells["weight"].to_numpy(), 1)
    return Kinds(
        tokens=tokens.to_list(),
        presence=presence,
        share=kinds["share"].to_numpy(),
        event_types=kinds["event_type"].to_numpy().astype(str),
        labels=kinds.select(*LABELS),
    )


def incidence(documents: pl.Series, tokens: list[str]) -> Any:
    """documents x (tokens + 1) as a sparse matrix: 1 where a document holds a token; last, how many others it holds."""
    from scipy.sparse import csr_array

    known = pl.DataFrame({"token": tokens}, schema={"token": pl.String}).with_row_index("column")
    cells = (
        documents.alias("token")
        .to_frame()
        .with_row_index("row")
        .with_columns(pl.col("token").str.split(" ").list.unique(maintain_order=True))
        .explode("token")
        .join(known, on="token", how="left", maintain_order="left")
        .with_columns(pl.col("column").fill_null(len(tokens)))
    )
    positions = cells["row"].to_numpy(), cells["column"].to_numpy()
    return csr_array((np.ones(cells.height), positions), shape=(len(documents), len(tokens) + 1))
