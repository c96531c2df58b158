"""The tool that finds experiments by meaning."""

from typing import Annotated, Any

from pydantic import Field

from neonblue_lab.knowledge.filters import FACTS
from neonblue_lab.lab import Lab
from neonblue_lab.metrics.outcome import OUTCOMES
from neonblue_lab.serving.answer import Answer, ArtifactUsed
from neonblue_lab.serving.neighbours import Neighbour, called, neighbour, outcomes

SIMILAR = 3
WEAK = 0.2
"""A best score below this is said to be no close match. With all-MiniLM-L6-v2 unrelated questions scored 0.06 to 0.13 at best
among 24 simulated experiments and 0.10 to 0.33 (one 0.45) among 800 headlines, related ones 0.31 to 0.52 (one 0.21)."""


class SearchAnswer(Answer):
    """Experiments found by the meaning of their texts."""

    search_results: list[Neighbour] = Field(description="The nearest first.")
    interpretation: str = Field(description="How the query was understood, and how well it was met.")
    similar_experiments: list[Neighbour] = Field(
        description="Experiments near the first result that are not among the results."
    )
    recommendations: list[str]


def semantic_experiment_search(
    lab: Lab,
    query: Annotated[str, Field(description="What to look for, in words.")],
    filters: Annotated[
        dict[str, Any] | None,
        Field(
            description="Conditions that each result meets: field -> value, or field -> {'>=': low, '<=': high} for numbers "
            f"and times. Fields: {', '.join(FACTS)}. `outcome` is one of {', '.join(OUTCOMES)}; a lift of 0.2 is +20 %."
        ),
    ] = None,
    limit: Annotated[int, Field(ge=1, le=100, description="At most so many results.")] = 10,
) -> SearchAnswer:
    """Find past experiments by meaning and wording, with what they tested and what came of them."""
    index = lab.knowledge.index
    hits = [neighbour(hit) for hit in index.search(query, limit=limit, where=filters)]
    near = index.similar(hits[0].experiment_id, limit=limit + SIMILAR) if hits else []
    found = {hit.experiment_id for hit in hits}
    return SearchAnswer(
        data_version=lab.warehouse.data_version,
        artifacts=[ArtifactUsed.of(index.artifact)],
        search_results=hits,
        interpretation=_interpretation(query, filters, hits),
        similar_experiments=[neighbour(hit) for hit in near if hit.experiment_id not in found][:SIMILAR],
        recommendations=_recommendations(hits),
    )


def _interpretation(query: str, filters: dict[str, Any] | None, hits: list[Neighbour]) -> str:
    read = f"Experiments whose texts mean something near {query!r}"
    if filters:
        read += " and " + ", ".join(f"{field} {wanted}" for field, wanted in filters.items())
    if not hits:
        return f"{read}: none."
    close = f"the nearest is {called(hits[0])} at {hits[0].score:.2f}"
    return f"{read}: {close}" + (", which is no close match." if hits[0].score < WEAK else ".")


def _recommendations(hits: list[Neighbour]) -> list[str]:
    if not hits:
        return ["Loosen the filters: no indexed experiment meets them."]
    advice = outcomes(hits)
    if hits[0].score < WEAK:
        advice.append("Say the query in other words, or look through list_experiments: nothing indexed is close to it.")
    return [*advice, f"Read the numbers of {hits[0].experiment_id} with analyze_experiment_performance."]
