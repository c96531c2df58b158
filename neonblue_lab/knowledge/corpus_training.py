"""Training the embedder `corpus` on the lab's own texts: how well it does, and its artifact."""

from collections.abc import Mapping, Sequence

import numpy as np

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.errors import BadInput
from neonblue_lab.knowledge.corpus import CorpusEmbedder

ARTIFACT = "corpus_embedder"
"""The artifact's name."""

_HELD_OUT = 5


def train(
    store: ArtifactStore,
    texts: Sequence[str],
    *,
    data_versions: Mapping[str, int],
    dimensions: int = 300,
    seed: int = 0,
) -> Artifact:
    """Train on texts and publish. The champion stays what it is.

    How well it does is measured on every fifth distinct text, after a training on the others: each is cut in the middle of its
    words, and its second half is looked for by the first among the second halves of all of them. What is published is a
    training on all texts.

    Raises:
        BadInput: too little text; see `CorpusEmbedder.fit`.
    """
    distinct = list(dict.fromkeys(text for text in texts if text.strip()))
    embedder = CorpusEmbedder.fit(distinct, dimensions, seed)
    metrics = {"texts": len(distinct), "halves_found": _halves_found(distinct, dimensions, seed)}
    return store.publish(
        ARTIFACT,
        embedder.save,
        parameters={"embedder": embedder.name, "dimensions": embedder.dimensions, "words": embedder.words},
        metrics=metrics,
        data_versions=data_versions,
        seed=seed,
        card=_card(embedder, metrics),
        kind="embedder",
    )


def _halves_found(texts: Sequence[str], dimensions: int, seed: int) -> float | None:
    """Share of the held-out texts whose second half is the nearest to the first; None where the others are too little text."""
    try:
        embedder = CorpusEmbedder.fit([text for i, text in enumerate(texts) if i % _HELD_OUT], dimensions, seed)
    except BadInput:
        return None
    cut = [(text.split(), len(text.split()) // 2) for text in texts[::_HELD_OUT]]
    firsts, seconds = (
        embedder.embed([" ".join(half) for half in halves])
        for halves in zip(*((parts[:middle], parts[middle:]) for parts, middle in cut), strict=True)
    )
    return float(np.mean((firsts @ seconds.T).argmax(axis=1) == np.arange(len(cut))))


def _card(embedder: CorpusEmbedder, metrics: Mapping[str, float | None]) -> str:
    found = metrics["halves_found"]
    quality = (
        "There is too little text to hold some of it back: how good it is, is not known."
        if found is None
        else f"Of texts that were held back, {found:.1%} find their own second half first by their first half."
    )
    return f"""# Text embedder trained on the lab's own texts

**For**: comparing texts of this lab where no published model may be used, or where its words are the lab's own.

**Data**: {metrics["texts"]:,} distinct texts; {embedder.words:,} words that occur in two of them or more, each with
{embedder.dimensions} numbers from which words it stands beside; nothing else was learned from.

**Quality**: {quality}

**Do not believe** it on words that it has not seen: they count for nothing, and a text of such words alone is near to none.
It does not know what the world knows: a published model finds more of what is said in other words (of headlines of one test
half among the first ten; this one two fifths of those that it was trained on, a third of others). Vectors of another training
are not comparable.
"""
