"""Experiments that a search found, and what they came to, in words."""

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, Field

from neonblue_lab.knowledge.index import SearchHit
from neonblue_lab.metrics.outcome import OUTCOMES


class Neighbour(BaseModel):
    """An experiment that was found by its text."""

    experiment_id: str
    score: float = Field(
        description="0.6 x vector + 0.4 x lexical. It orders the results of one query and is no probability."
    )
    vector: float = Field(description="Near in meaning: cosine similarity of text vectors, -1 to 1.")
    lexical: float = Field(description="Alike in wording: TF-IDF similarity of words and pieces of words, 0 to 1.")
    document: str
    metadata: dict[str, str | int | float] = Field(
        description="Facts as of the day the index was built; unknown ones absent."
    )


def neighbour(hit: SearchHit) -> Neighbour:
    """A search hit as it is served."""
    return Neighbour(
        experiment_id=hit.experiment_id,
        score=round(hit.score, 6),
        vector=round(hit.vector, 6),
        lexical=round(hit.lexical, 6),
        document=hit.document,
        metadata=dict(hit.metadata),
    )


def outcomes(found: Sequence[Neighbour]) -> list[str]:
    """Sentences: how many won or lost, and which win was the largest."""
    if not found:
        return []
    counts = Counter(str(one.metadata.get("outcome", "unknown")) for one in found)
    sentences = [
        f"Of {len(found)} similar experiments: " + ", ".join(f"{counts[o]} {o}" for o in OUTCOMES if counts[o]) + "."
    ]
    wins = [one for one in found if one.metadata.get("outcome") == "win" and "lift" in one.metadata]
    if wins:
        best = max(wins, key=lambda one: abs(float(one.metadata["lift"])))
        applied = best.metadata.get("optimization_applied")
        sentences.append(
            f"The largest win among them is {called(best)}: {float(best.metadata['lift']):+.1%} on {best.metadata['metric']}"
            + (f" with {applied}." if applied else ".")
        )
    return sentences


def called(one: Neighbour) -> str:
    """Id and name."""
    name = one.metadata.get("name")
    return f"{one.experiment_id} ({name})" if name else one.experiment_id
