"""An outcome predictor as an artifact: numbers as JSON and npz, the report as Parquet, a card written from it."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import polars as pl

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.models.outcome.familiarity import Familiarity
from neonblue_lab.models.outcome.history import OUTCOMES
from neonblue_lab.models.outcome.pair_model import Embed, PairModel
from neonblue_lab.models.outcome.predictor import OutcomePredictor
from neonblue_lab.models.outcome.report import GROUPED, OutcomeReport
from neonblue_lab.models.outcome.tabular import TabularModel
from neonblue_lab.models.training.card import card, table
from neonblue_lab.models.training.drift import Profile
from neonblue_lab.models.training.scores import Score

NAME = "outcome_predictor"

_PREDICTOR, _TEXTS, _REPORT = "predictor.json", "texts", "report"


def publish(
    store: ArtifactStore,
    predictor: OutcomePredictor,
    report: OutcomeReport,
    *,
    data_versions: Mapping[str, int],
    seed: int,
    embedder: str | None = None,
) -> Artifact:
    """Publish a predictor with its report as the next version of `outcome_predictor`.

    Args:
        embedder: the name of the one whose vectors its model of texts was fitted with, if any.
    """
    return store.publish(
        NAME,
        partial(_write, predictor, report),
        parameters={
            "outcomes": list(OUTCOMES),
            "configuration": predictor.configuration is not None,
            "texts": predictor.texts is not None,
            "embedder": embedder,
        },
        metrics=report.metrics,
        data_versions=data_versions,
        seed=seed,
        card=_card(predictor, report),
        kind="model",
    )


def load(artifact: Artifact, *, embed: Embed | None) -> OutcomePredictor:
    """The predictor of an artifact.

    Raises:
        BadInput: its model of texts was fitted with an embedder, and `embed` is None.
    """
    state = json.loads(artifact.file(_PREDICTOR).read_text(encoding="utf-8"))
    texts = PairModel.load(artifact.path / _TEXTS, embed=embed) if state["texts"] else None
    return OutcomePredictor(
        counts=tuple(state["counts"]),
        configuration=TabularModel.from_dict(state["configuration"]) if state["configuration"] else None,
        texts=texts,
        familiarity=Familiarity.from_dict(state["familiarity"]),
        profile=Profile.from_dict(state["profile"]),
        notes=tuple(state["notes"]),
    )


def load_report(artifact: Artifact) -> OutcomeReport:
    """The report that was published with a predictor."""
    state = json.loads(artifact.file(f"{_REPORT}/report.json").read_text(encoding="utf-8"))
    return OutcomeReport(
        predictions=pl.read_parquet(artifact.file(f"{_REPORT}/predictions.parquet")),
        scores=pl.read_parquet(artifact.file(f"{_REPORT}/scores.parquet")),
        experiments=state["experiments"],
        beats_base_rate=state["beats_base_rate"],
        texts=state["texts"],
        notes=tuple(state["notes"]),
    )


def _write(predictor: OutcomePredictor, report: OutcomeReport, folder: Path) -> None:
    state = {
        "counts": predictor.counts,
        "configuration": predictor.configuration.to_dict() if predictor.configuration else None,
        "texts": predictor.texts is not None,
        "familiarity": predictor.familiarity.to_dict(),
        "profile": predictor.profile.to_dict(),
        "notes": predictor.notes,
    }
    (folder / _PREDICTOR).write_text(json.dumps(state, indent=1, allow_nan=False), encoding="utf-8")
    if predictor.texts is not None:
        (folder / _TEXTS).mkdir()
        predictor.texts.save(folder / _TEXTS)
    (folder / _REPORT).mkdir()
    facts = {
        "experiments": report.experiments,
        "beats_base_rate": report.beats_base_rate,
        "texts": report.texts,
        "notes": report.notes,
    }
    (folder / _REPORT / "report.json").write_text(json.dumps(facts, indent=1, allow_nan=False), encoding="utf-8")
    report.predictions.write_parquet(folder / _REPORT / "predictions.parquet")
    report.scores.write_parquet(folder / _REPORT / "scores.parquet")


def _card(predictor: OutcomePredictor, report: OutcomeReport) -> str:
    counted = ", ".join(f"{count} {outcome}" for outcome, count in zip(OUTCOMES, predictor.counts, strict=True))
    measured = [
        [row["protocol"], row["model"], row["metric"], Score(row["value"], row["low"], row["high"], row["rows"])]
        for row in report.scores.iter_rows(named=True)
    ]
    sections = {
        "What it is for": (
            "How a configured experiment may end (win, flat or loss on its primary metric), before it runs. What is "
            f"served: {'the model of the configuration' if predictor.configuration else 'base rates'}"
            f"{', and a model of the variants’ texts' if predictor.texts else ''}."
        ),
        "Data": f"{report.experiments} finished experiments with a sound split: {counted}.",
        "How good it is": table(["held out", "model", "metric", "score (95 %)"], measured)
        + "\n\nLower is better. "
        + f"The choice of what is served was made on the first protocol ({GROUPED})."
        if measured
        else "Not measured: see below.",
        "What was found": "\n".join(f"- {note}" for note in report.notes),
    }
    doubts = [
        "An experiment unlike anything in the history: it gets what is usual, and the answer says what is new about it.",
        "Past outcomes depend on how many users past experiments had: one with far more or fewer ends otherwise. The answer "
        "is adjusted where a size is planned.",
        "Past experiments are described as they stand now: where results were written into names or descriptions after the "
        "end, it was tested on more than is known before the start.",
        "It says nothing of why: a type that won often may have had the better ideas.",
    ]
    if predictor.configuration is None:
        doubts.insert(0, "The outcome is a base rate: it is the same for every experiment of the programme.")
    return card("Outcome predictor", sections, doubts)
