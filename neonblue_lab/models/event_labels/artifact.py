"""An event classifier as an artifact: arrays without pickle, JSON, the report as Parquet, and a card of its facts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import polars as pl

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.errors import Corrupt
from neonblue_lab.events.classification import LABELS
from neonblue_lab.models.event_labels.classifier import EventClassifier
from neonblue_lab.models.event_labels.corrections import CORRECTION_SHARE
from neonblue_lab.models.event_labels.kinds import MAX_TOKENS, Kinds
from neonblue_lab.models.event_labels.report import HELD_OUT_USERS, UNSEEN_PAIRS, UNSEEN_TYPES, ClassifierReport
from neonblue_lab.models.event_labels.tuning import TARGET_PRECISION, Tuning
from neonblue_lab.models.training.calibration import Temperature
from neonblue_lab.models.training.card import card, table
from neonblue_lab.models.training.drift import Profile

NAME = "event_classifier"
_KINDS, _TUNING, _WATCHED, _REPORT = "kinds.npz", "tuning.json", "watched.json", "report/report.json"


@dataclass(frozen=True)
class Watched:
    """What a classifier keeps of the stream that it was trained on.

    Attributes:
        profile: of the columns of `content_drift.watched`.
        until: when the last of its events happened.
    """

    profile: Profile
    until: datetime


def publish(
    store: ArtifactStore,
    classifier: EventClassifier,
    report: ClassifierReport,
    watched: Watched,
    *,
    data_versions: Mapping[str, int],
    seed: int,
) -> Artifact:
    """Publish a classifier with the report on it as the next version of `event_classifier`.

    Args:
        store: where to.
        classifier: fitted on all events.
        report: on classifiers fitted alike, of the same events.
        watched: of the stream of events.
        data_versions: lake table -> version that was read.
        seed: of the sample, and given to `evaluate`.
    """
    tuning = classifier.tuning
    return store.publish(
        NAME,
        partial(_write, classifier, report, watched),
        parameters={
            "max_tokens": MAX_TOKENS,
            "target_precision": TARGET_PRECISION,
            "smoothing": tuning.smoothing,
            "sharpness": tuning.sharpness,
            "events": report.events,
            "corrections": report.corrections.height,
        },
        metrics=report.metrics,
        data_versions=data_versions,
        seed=seed,
        card=_card(classifier, report),
        kind="model",
    )


def load(artifact: Artifact) -> EventClassifier:
    """The classifier of an artifact.

    Raises:
        Corrupt: its arrays are not those of a classifier. Nothing else that they may hold was loaded.
    """
    path = artifact.file(_KINDS)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            kinds = Kinds.from_arrays({name: arrays[name] for name in arrays.files})
    except (BadZipFile, EOFError, KeyError, ValueError, OSError) as error:
        raise Corrupt(
            f"{path} does not hold an event classifier's arrays ({error}): train and publish it again."
        ) from error
    state = json.loads(artifact.file(_TUNING).read_text(encoding="utf-8"))
    temperatures = {label: Temperature.from_dict(found) for label, found in state.pop("temperatures").items()}
    return EventClassifier(kinds, Tuning(temperatures=temperatures, **state))


def load_watched(artifact: Artifact) -> Watched:
    """What the classifier of an artifact keeps of the stream that it was trained on."""
    state = json.loads(artifact.file(_WATCHED).read_text(encoding="utf-8"))
    return Watched(Profile.from_dict(state["profile"]), datetime.fromisoformat(state["until"]))


def load_report(artifact: Artifact) -> ClassifierReport:
    """The report that was published with a classifier."""
    state = json.loads(artifact.file(_REPORT).read_text(encoding="utf-8"))
    outcomes, notes, corrections = (pl.read_parquet(artifact.file(f"report/{name}.parquet")) for name in _TABLES)
    return ClassifierReport(outcomes, notes, state["events"], state["seed"], corrections)


_TABLES = ("outcomes", "notes", "corrections")


def _write(classifier: EventClassifier, report: ClassifierReport, watched: Watched, folder: Path) -> None:
    np.savez_compressed(folder / _KINDS, allow_pickle=False, **classifier.kinds.to_arrays())
    tuning = classifier.tuning
    _write_json(
        folder / _TUNING,
        {
            "smoothing": tuning.smoothing,
            "sharpness": tuning.sharpness,
            "thresholds": dict(tuning.thresholds),
            "temperatures": {label: found.to_dict() for label, found in tuning.temperatures.items()},
        },
    )
    _write_json(folder / _WATCHED, {"profile": watched.profile.to_dict(), "until": watched.until.isoformat()})
    (folder / "report").mkdir()
    _write_json(folder / _REPORT, {"events": report.events, "seed": report.seed})
    for name in _TABLES:
        getattr(report, name).write_parquet(folder / "report" / f"{name}.parquet")


def _write_json(path: Path, state: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(state, indent=1), encoding="utf-8")


_PROTOCOLS = {
    UNSEEN_TYPES: "Each type predicted by a model that has seen no event of it; each type counts once. The honest figures.",
    UNSEEN_PAIRS: "Two types left out at once, so that no type is known by its twin.",
    HELD_OUT_USERS: "Events of users (experiments) that were held out, of types that were seen. Easy: content gives a "
    "type away.",
}


def _card(classifier: EventClassifier, report: ClassifierReport) -> str:
    return card(
        "Event classifier",
        {
            "What it is for": "Labels (data type, priority, target servers, processing strategy, retention policy) for "
            "events of types that the rules do not know, from their content alone; it never sees an event's type or topic. "
            "Where it abstains the rule's default holds.",
            "Data": f"{report.events:,} events of {report.outcomes['event_type'].n_unique()} event types; the labels learned "
            "are those of the rules or of a person's corrections, so it can at best repeat them. "
            + _corrections(report.corrections),
            "When it answers": "From the lowest confidence on at which "
            f"{TARGET_PRECISION:.0%} of its answers on types that were left out were right: {_thresholds(classifier)}.",
            "How good it is": "\n\n".join(
                f"*{protocol.capitalize()}.* {meaning}\n\n{_scores(report, protocol)}"
                for protocol, meaning in _PROTOCOLS.items()
            )
            + "\n\nMacro-F1 with 95 % bootstrap intervals over event types. *Answered* is the share that it does not abstain "
            "on, *right* the share of these that are right; *with rule* is what a user gets: the topic's rule answers the rest.",
        },
        [*_doubts(classifier, report)],
    )


def _scores(report: ClassifierReport, protocol: str) -> str:
    summary = report.summary.filter(protocol=protocol).rows_by_key(["label"], named=True, unique=True)
    scores = report.scores(protocol)
    found = {(row["model"], row["metric"]): row for row in scores.iter_rows(named=True)}
    rows = []
    for label in LABELS:
        ours = found.get(("classifier", label))
        rows.append(
            [
                label,
                None if ours is None else f"{ours['value']:.3f} ({ours['low']:.3f} to {ours['high']:.3f})",
                *(
                    found.get((model, label), {}).get("value")
                    for model in ("topic rule", "rule of unknown topics", "majority", "classifier, then topic rule")
                ),
                summary[label]["coverage"],
                summary[label]["accuracy_answered"],
            ]
        )
    head = ["label", "classifier", "topic rule", "unknown topic", "majority", "with rule", "answered", "right"]
    return table(head, rows)


def _thresholds(classifier: EventClassifier) -> str:
    return ", ".join(
        f"{label} {'never' if least is None else f'from {least:.2f}'}"
        for label, least in classifier.tuning.thresholds.items()
        if label not in classifier.constant
    )


def _corrections(corrections: pl.DataFrame) -> str:
    if corrections.is_empty():
        return "Nobody has corrected any label."
    agreed = int(corrections["agrees"].sum())
    judged = corrections["agrees"].drop_nulls().len()
    return (
        f"People corrected {corrections.height} label(s), which win over the rules; a corrected event stands for "
        f"{CORRECTION_SHARE:.0%} of its type. The classifier says the same in {agreed} of the {judged} cases that it was "
        "asked about."
    )


def _doubts(classifier: EventClassifier, report: ClassifierReport) -> list[str]:
    types = report.outcomes["event_type"].n_unique()
    doubts = [
        "A policy is not written in an event: content tells what an event is like, and the labels of what it is like may not "
        "be its own. A purchase looks like the page view before it.",
        f"Types are few, so the figures on unseen types are coarse: one type more or less right moves them by "
        f"{1 / max(types, 1):.0%}.",
        "A confidence is what it was worth on types that were left out here. On events from elsewhere, look at the drift "
        "first.",
    ]
    shown = report.notes.filter(pl.col("protocol") != UNSEEN_PAIRS)
    unmeasured = [f"{row['protocol']}, {row['label']}: {row['reason']}" for row in shown.iter_rows(named=True)]
    if unmeasured:
        doubts.append(f"What could not be measured: {' '.join(unmeasured)}")
    if classifier.constant:
        constant = ", ".join(f"{label} (always {value})" for label, value in classifier.constant.items())
        doubts.append(f"Never predicted, because the training events had a single value: {constant}.")
    beaten = [
        row["label"]
        for row in report.summary.filter(protocol=UNSEEN_TYPES).iter_rows(named=True)
        if row["accuracy"] is not None and row["accuracy_with_rule"] <= max(row["topic_rule"], row["majority"])
    ]
    if beaten:
        doubts.append(
            f"On unseen types it does not beat the better baseline for: {', '.join(beaten)}. Where the topic is known, use "
            "its rule there."
        )
    return doubts
