"""A model of behaviour as an artifact: numbers in npz files without pickles, facts as JSON, users and the report as Parquet."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.models.behaviour import intent
from neonblue_lab.models.behaviour.assignment import OUTCOME_DAYS, ExperimentUplift
from neonblue_lab.models.behaviour.behaviour import COLD_STEPS, BehaviourModel, Reading
from neonblue_lab.models.behaviour.features import FeatureSet
from neonblue_lab.models.behaviour.intent import IntentModel
from neonblue_lab.models.behaviour.journey_vectors import PmiSvd
from neonblue_lab.models.behaviour.learning import BehaviourReport
from neonblue_lab.models.behaviour.next_action import NextAction
from neonblue_lab.models.behaviour.score import Scoring
from neonblue_lab.models.behaviour.segments import Segments
from neonblue_lab.models.training.card import card, frame_table, table
from neonblue_lab.models.training.drift import Profile
from neonblue_lab.models.training.scores import Score

NAME = "user_behavior"

_FACTS, _NUMBERS, _USERS, _PROFILE, _REPORT = (
    "behaviour.json",
    "behaviour.npz",
    "users.parquet",
    "profile.json",
    "report",
)


def publish(
    store: ArtifactStore,
    model: BehaviourModel,
    report: BehaviourReport,
    *,
    data_versions: Mapping[str, int],
    seed: int,
) -> Artifact:
    """Publish a model with the report on it as the next version of `user_behavior`.

    Args:
        store: where to.
        model, report: of `learning.learn`.
        data_versions: lake table -> version that was read.
        seed: given to `learn`.
    """
    return store.publish(
        NAME,
        partial(_write, model, report),
        parameters=asdict(model.reading),
        metrics=report.metrics,
        data_versions=data_versions,
        seed=seed,
        card=_card(model, report),
        kind="model",
    )


def load(artifact: Artifact) -> BehaviourModel:
    """The model of an artifact."""
    facts = json.loads(artifact.file(_FACTS).read_text(encoding="utf-8"))
    with np.load(artifact.file(_NUMBERS), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    reading = facts["reading"]
    return BehaviourModel(
        reading=Reading(**reading | {"conversions": tuple(reading["conversions"]), "traits": tuple(reading["traits"])}),
        features=FeatureSet(
            actions=tuple(facts["actions"]),
            conversions=tuple(reading["conversions"]),
            traits={name: tuple(values) for name, values in facts["traits"].items()},
        ),
        intents={
            question: IntentModel.of(state, _under(f"intent/{question}/", arrays))
            for question, state in facts["intents"].items()
        },
        lacking=facts["lacking"],
        next_action=NextAction.from_arrays(_under("next_action/", arrays)),
        contexts=arrays["contexts"],
        vectors=PmiSvd.from_arrays(_under("vectors/", arrays)),
        segments=Segments.from_arrays(_under("segments/", arrays)),
        users=pl.read_parquet(artifact.file(_USERS)),
        user_vectors=arrays["user_vectors"].astype(np.float64),
        scoring=Scoring.from_arrays(_under("scoring/", arrays)),
        uplifts={state["experiment_id"]: ExperimentUplift.of_dict(state) for state in facts["uplifts"]},
        as_of=datetime.fromisoformat(facts["as_of"]),
    )


def load_profile(artifact: Artifact) -> Profile:
    """The features that the model of an artifact learned from, for `training.drift.drift`."""
    return Profile.from_dict(json.loads(artifact.file(_PROFILE).read_text(encoding="utf-8")))


def _write(model: BehaviourModel, report: BehaviourReport, folder: Path) -> None:
    arrays: dict[str, NDArray[Any]] = {
        "contexts": model.contexts,
        "user_vectors": model.user_vectors.astype(np.float32),
    }
    parts: dict[str, _Numbers] = {
        "next_action": model.next_action,
        "vectors": model.vectors,
        "segments": model.segments,
    }
    parts |= {"scoring": model.scoring} | {f"intent/{question}": part for question, part in model.intents.items()}
    for prefix, part in parts.items():
        arrays |= {f"{prefix}/{name}": array for name, array in part.to_arrays().items()}
    np.savez_compressed(folder / _NUMBERS, allow_pickle=False, **arrays)
    facts = {
        "reading": asdict(model.reading),
        "actions": list(model.features.actions),
        "traits": {name: list(values) for name, values in model.features.traits.items()},
        "intents": {question: part.to_dict() for question, part in model.intents.items()},
        "lacking": dict(model.lacking),
        "uplifts": [one.to_dict() for one in model.uplifts.values()],
        "as_of": model.as_of.isoformat(),
    }
    (folder / _FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    (folder / _PROFILE).write_text(json.dumps(report.profile.to_dict()), encoding="utf-8")
    model.users.write_parquet(folder / _USERS)
    (folder / _REPORT).mkdir()
    tables = {
        name: getattr(report, name)
        for name in ("funnel", "flow", "scores", "drivers", "bands", "next_action", "uplifts", "map")
    }
    tables |= {f"reliability_{question}": one.reliability for question, one in report.intents.items()}
    for name, frame in tables.items():
        frame.write_parquet(folder / _REPORT / f"{name}.parquet")


class _Numbers(Protocol):
    """A part of the model whose numbers can be written."""

    def to_arrays(self) -> Mapping[str, NDArray[Any]]: ...


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _card(model: BehaviourModel, report: BehaviourReport) -> str:
    facts = report.facts
    sections = {
        "What it is for": (
            "For a user, known or new: the stage of their journey, the probability of a conversion in the session and "
            f"within {model.reading.days} days, the next actions, a score of engagement from 0 to 100, the segment, "
            "similar users, and which variant of an experiment is better for them."
        ),
        "Data": (
            f"{facts['steps']:,} steps of {facts['users']:,} users in {facts['sessions']:,} sessions, {facts['first']} to "
            f"{facts['last']}. A conversion is the first {' or '.join(model.reading.conversions)} of a session."
        ),
        "Will they convert?": _intent_section(report),
        "What comes next?": (
            "On the last fifth of sessions, beside stating how often each action occurs:\n\n"
            + _scores(report.next_action, [])
            if report.next_action.height
            else "Too few sessions to test on."
        ),
        "What a score is worth": (
            f"Share of held-out moments that a conversion within {model.reading.days} days came of.\n\n"
            + frame_table(report.bands.with_columns(pl.col("score").round(0)))
            if report.bands.height
            else "Not measured: no intent could be learned. The score is activity and freshness alone."
        ),
        "Segments": f"{model.segments.verdict}\n\n"
        + "\n".join(f"- {name}: {said}" for name, said in zip(model.segments.names, model.descriptions, strict=True)),
        "Experiments": _experiments_section(model),
    }
    doubts = [
        f"Of a user with fewer than {COLD_STEPS} steps it says what holds for everybody of whom as little is known; the "
        "answer says so.",
        "It has seen which behaviour is followed by conversions, not what causes them: only the part on experiments says "
        "what a change would do.",
        "It was tested on moments after those that it learned from, of other users; a changed shop makes it wrong: compare "
        "`profile.json` with the present features (`training.drift`).",
        "The next action within a batch of events is that after the last few actions; asked for one user, all of the "
        "session counts.",
        "Each experiment's test of whether the effect differs between users is wrong in about one of twenty experiments in "
        "which it does not. At the end of the data fewer than "
        f"{OUTCOME_DAYS} days of outcomes are known.",
    ]
    beaten = [question for question, one in report.intents.items() if not _better(one.scores)]
    doubts += [
        f"The probability `{question}` was not seen to beat the stage alone: do not act on it." for question in beaten
    ]
    return card("User behaviour", sections, doubts)


def _intent_section(report: BehaviourReport) -> str:
    lines = [f"`{question}`: {why}" for question, why in report.lacking.items()]
    if report.intents:
        measured = ", ".join(
            f"{question} {one.facts['train']:,} moments learned from, {one.facts['test']:,} tested on, calibration error "
            f"{one.facts['calibration_error']:.3f}"
            for question, one in report.intents.items()
        )
        lines += [
            f"On later moments of users that were not learned from ({measured}):",
            _scores(report.scores, ["question"]),
        ]
    return "\n\n".join(lines)


def _scores(scores: pl.DataFrame, keys: list[str]) -> str:
    rows = [
        [*(row[key] for key in keys), row["model"], row["metric"], str(Score(row["value"], row["low"], row["high"], 0))]
        for row in scores.iter_rows(named=True)
    ]
    return table([*keys, "model", "metric", "value (95 % interval)"], rows)


def _better(scores: pl.DataFrame) -> bool:
    """Whether the model's Brier score lies below those of its baselines."""
    values = dict(scores.filter(metric="brier", question=scores["question"][0]).select("model", "value").iter_rows())
    return bool(values[intent.MODEL] < min(values[intent.STAGE_TABLE], values[intent.BASE_RATE]))


def _experiments_section(model: BehaviourModel) -> str:
    told = [one for one in model.uplifts.values() if one.uplift is not None]
    differs = [one.experiment_id for one in told if one.personal]
    return (
        f"{len(told)} of {len(model.uplifts)} experiments had enough users to tell an uplift. The effect was seen to differ "
        f"between users in {len(differs)}{': ' + ', '.join(differs) if differs else ''}; elsewhere the recommendation is the "
        "same for all."
    )
