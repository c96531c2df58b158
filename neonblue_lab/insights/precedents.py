"""What past experiments have to say to a new one: what won, what broke, what wore off, and which were alike."""

from collections.abc import Callable, Sequence
from typing import Literal

import polars as pl
from pydantic import BaseModel

from neonblue_lab.knowledge.index import ExperimentIndex
from neonblue_lab.metrics.outcome import ALPHA, BROKEN, RUNNING, UNKNOWN, WIN

SUGGESTED = 3
ALIKE = 5
FOLLOWED = 30
"""How many past experiments of a type are followed over the days since exposure, the latest first."""

_SAME_TWICE = pl.col("name").fill_null("").str.contains(r"\bA/A\b")
"""A test of the testing: what won in it won by chance."""


class RiskFactor(BaseModel):
    """Something that has gone wrong before, or is about to."""

    kind: Literal["low power", "long", "uneven split", "broken splits", "novelty"]
    text: str


class Suggestion(BaseModel):
    """What has won before, where it may help again.

    Attributes:
        optimization: name of the variant that won.
        shared: what its experiment has in common with the planned one.
        measured_lift: of the winner, flattered by having been picked.
        expected_lift: the same drawn back by the programme's prior; None without one, or on another metric.
    """

    optimization: str
    experiment_id: str
    experiment: str | None
    shared: list[str]
    metric: str
    measured_lift: float
    expected_lift: float | None
    text: str


class SimilarExperiment(BaseModel):
    """A past experiment whose texts mean something near."""

    experiment_id: str
    name: str | None
    outcome: str | None
    lift: float | None
    similarity: float


def broken_before(documents: pl.DataFrame, experiment_type: str | None, user_segment: str | None) -> list[RiskFactor]:
    """Splits that broke in experiments of the same type, or on the same users.

    Args:
        documents: as of `Experiments.documents`.
    """
    found = []
    for field, value, words in (
        ("experiment_type", experiment_type, "of the type"),
        ("user_segment", user_segment, "on the segment"),
    ):
        alike = documents.filter(_has(field, value) & ~pl.col("outcome").is_in([RUNNING, UNKNOWN]))
        broken = alike.filter(outcome=BROKEN)
        if broken.height:
            found.append(
                RiskFactor(
                    kind="broken splits",
                    text=f"The split broke in {broken.height} of {alike.height} past experiments {words} {value} "
                    f"({', '.join(broken['experiment_id'].head(3))}): check assignment and logging before the start.",
                )
            )
    return found


def fading_before(
    documents: pl.DataFrame, experiment_type: str | None, fading: Callable[[Sequence[str]], pl.DataFrame]
) -> list[RiskFactor]:
    """Effects that wore off with the days since exposure, in past experiments of the same type.

    Args:
        documents: as of `Experiments.documents`.
        fading: experiment ids -> columns of `fading.FADING_SCHEMA`.
    """
    alike = documents.filter(
        _has("experiment_type", experiment_type) & ~pl.col("outcome").is_in([RUNNING, UNKNOWN, BROKEN])
    )
    latest = alike.sort("timestamp", descending=True, nulls_last=True)["experiment_id"].head(FOLLOWED).to_list()
    if not latest:
        return []
    followed = fading(latest)
    faded = followed.filter((pl.col("p_adjusted") < ALPHA) & (pl.col("last").abs() < pl.col("first").abs()))
    which = faded["experiment_id"].unique(maintain_order=True)
    if which.is_empty():
        return []
    return [
        RiskFactor(
            kind="novelty",
            text=f"In {which.len()} of {len(latest)} past experiments of the type {experiment_type} the effect wore off with the "
            f"days since exposure ({', '.join(which.head(3))}): plan two weeks at least, and read the later days.",
        )
    ]


def suggestions(
    documents: pl.DataFrame,
    shrunk: pl.DataFrame,
    metric: str,
    experiment_type: str | None,
    user_segment: str | None,
    industry: str | None,
) -> list[Suggestion]:
    """What won in experiments that share the type, the users or the industry: what shares most first, then what is
    expected to have won most.

    Args:
        documents: as of `Experiments.documents`.
        shrunk: lifts on `metric` as of `Experiments.shrunk`.
        metric: that the planned experiment is to move.
    """
    asked = {"experiment_type": experiment_type, "user_segment": user_segment, "industry": industry}
    shared = [_has(field, value).alias(f"shares_{field}") for field, value in asked.items()]
    winners = (
        documents.filter((pl.col("outcome") == WIN) & pl.col("lift").is_not_null() & ~_SAME_TWICE)
        .with_columns(shared)
        # The type says more of what may work than the users do, and these more than the industry.
        .with_columns(
            weight=4 * pl.col("shares_experiment_type") + 2 * pl.col("shares_user_segment") + pl.col("shares_industry")
        )
        .filter(pl.col("weight") > 0)
        .join(
            shrunk.select("experiment_id", "metric", "shrunk", measured="lift"),
            on=["experiment_id", "metric"],
            how="left",
        )
        # Of several variants the one that won: its lift is the document's.
        .sort((pl.col("measured") - pl.col("lift")).abs(), nulls_last=True)
        .unique("experiment_id", keep="first", maintain_order=True)
        .sort(
            *("weight", pl.col("shrunk").abs(), "statistical_significance", "experiment_id"),
            descending=[True, True, True, False],
            nulls_last=True,
        )
        .head(SUGGESTED)
    )
    return [
        _suggestion(row, [field for field in asked if row[f"shares_{field}"]]) for row in winners.iter_rows(named=True)
    ]


def similar(index: ExperimentIndex, text: str) -> list[SimilarExperiment]:
    """The past experiments nearest to a text."""
    found = []
    for hit in index.search(text, limit=ALIKE):
        name, outcome, lift = (hit.metadata.get(field) for field in ("name", "outcome", "lift"))
        found.append(
            SimilarExperiment(
                experiment_id=hit.experiment_id,
                name=None if name is None else str(name),
                outcome=None if outcome is None else str(outcome),
                lift=None if lift is None else float(lift),
                similarity=hit.score,
            )
        )
    return found


def _has(field: str, value: str | None) -> pl.Expr:
    """Whether a field is known to hold a value that is known."""
    return (pl.col(field) == pl.lit(value, pl.String)).fill_null(False)


def _suggestion(row: dict[str, object], shared: list[str]) -> Suggestion:
    expected, measured = row["shrunk"], float(str(row["lift"]))
    drawn = "" if expected is None else f", {float(str(expected)):+.1%} after the programme's prior"
    same = ", ".join(f"{field.replace('_', ' ')} {row[field]}" for field in shared)
    return Suggestion(
        optimization=str(row["optimization_applied"]),
        experiment_id=str(row["experiment_id"]),
        experiment=None if row["name"] is None else str(row["name"]),
        shared=shared,
        metric=str(row["metric"]),
        measured_lift=measured,
        expected_lift=None if expected is None else float(str(expected)),
        text=f"{row['optimization_applied']} won in {row['name'] or row['experiment_id']} ({row['metric']} {measured:+.1%} as "
        f"measured{drawn}; same {same}).",
    )
