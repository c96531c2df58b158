"""An event classifier as an artifact: weights in skops files whose every type is on a list, the report as Parquet."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.errors import Corrupt
from neonblue_lab.events.classification import LABELS
from neonblue_lab.models.event_labels.classifier import MAX_TOKENS, EventClassifier
from neonblue_lab.models.event_labels.report import HELD_OUT_USERS, UNSEEN_TYPES, ClassifierReport

NAME = "event_classifier"
TRUSTED_TYPES = frozenset(
    {
        "builtins.dict",
        "builtins.list",
        "builtins.str",
        "builtins.tuple",
        "numpy.float64",
        "numpy.int32",
        "numpy.int64",
        "numpy.ndarray",
        "sklearn.feature_extraction.text.CountVectorizer",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.pipeline.Pipeline",
    }
)
"""All that a pipeline of this classifier is made of. A file that names anything else is not opened."""

_CLASSIFIER, _REPORT = "classifier.json", "report/report.json"


def publish(
    store: ArtifactStore,
    classifier: EventClassifier,
    report: ClassifierReport,
    *,
    data_versions: Mapping[str, int],
    seed: int,
) -> Artifact:
    """Publish a classifier with the report on it as the next version of `event_classifier`.

    Args:
        store: where to.
        classifier: fitted on all events.
        report: on classifiers fitted alike, of the same events.
        data_versions: lake table -> version that was read.
        seed: given to `fit` and `evaluate`.
    """
    return store.publish(
        NAME,
        partial(_write, classifier, report),
        parameters={"threshold": classifier.threshold, "max_tokens": MAX_TOKENS, "events": report.events},
        metrics=report.metrics,
        data_versions=data_versions,
        seed=seed,
        card=_card(classifier, report),
        kind="model",
    )


def load(artifact: Artifact) -> EventClassifier:
    """The classifier of an artifact.

    Raises:
        Corrupt: a weights file names a type that no such classifier has, or is no skops file. Nothing of it was loaded.
    """
    state = json.loads(artifact.file(_CLASSIFIER).read_text(encoding="utf-8"))
    return EventClassifier(
        pipelines={label: _load_weights(artifact.file(f"{label}.skops")) for label in state["learned"]},
        constant=state["constant"],
        threshold=state["threshold"],
    )


def load_report(artifact: Artifact) -> ClassifierReport:
    """The report that was published with a classifier."""
    state = json.loads(artifact.file(_REPORT).read_text(encoding="utf-8"))
    return ClassifierReport(
        outcomes=pl.read_parquet(artifact.file("report/outcomes.parquet")),
        notes=pl.read_parquet(artifact.file("report/notes.parquet")),
        threshold=state["threshold"],
        events=state["events"],
    )


def _write(classifier: EventClassifier, report: ClassifierReport, folder: Path) -> None:
    import skops.io  # half of a server's start-up; only whoever publishes or opens a classifier needs it

    for label, pipeline in classifier.pipelines.items():
        skops.io.dump(pipeline, folder / f"{label}.skops")
    state = {
        "learned": list(classifier.pipelines),
        "constant": dict(classifier.constant),
        "threshold": classifier.threshold,
    }
    (folder / _CLASSIFIER).write_text(json.dumps(state, indent=1), encoding="utf-8")
    (folder / "report").mkdir()
    facts = {"threshold": report.threshold, "events": report.events}
    (folder / _REPORT).write_text(json.dumps(facts), encoding="utf-8")
    report.outcomes.write_parquet(folder / "report" / "outcomes.parquet")
    report.notes.write_parquet(folder / "report" / "notes.parquet")


def _load_weights(path: Path) -> Any:
    """Load a skops file after comparing each type that it names with TRUSTED_TYPES.

    skops itself trusts every class of scikit-learn, NumPy and SciPy without being asked: more than is needed here.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            schema = json.loads(archive.read("schema.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise Corrupt(f"{path} is not a skops file ({error}): publish the classifier again.") from error
    foreign = sorted(set(_types(schema)) - TRUSTED_TYPES)
    if foreign:
        raise Corrupt(
            f"{path} was not opened: it names {', '.join(foreign)}, which is no part of an event classifier. "
            "Find out who wrote it; do not load it by other means."
        )
    import skops.io

    return skops.io.load(path, trusted=[])


def _types(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "__class__" in node:
            yield f"{node.get('__module__')}.{node['__class__']}"
        for child in node.values():
            yield from _types(child)
    elif isinstance(node, list):
        for child in node:
            yield from _types(child)


def _card(classifier: EventClassifier, report: ClassifierReport) -> str:
    summary = report.summary.rows_by_key(["protocol", "label"], named=True, unique=True)
    types = report.outcomes["event_type"].n_unique()
    lines = [
        "# Event classifier",
        "",
        "**What it is for.** Labels (data type, priority, target servers, processing strategy, retention policy) for "
        "events of types that the rules do not know, from their content alone; it never sees an event's type or topic. "
        f"Below a confidence of {classifier.threshold:g} it abstains and the rule's default holds.",
        "",
        f"**Data.** {report.events:,} events of {types} event types; the labels learned are those of the rules "
        "(or of a person's corrections), so it can at best repeat them.",
        "",
        "**How good it is.** Accuracy beside always answering the most frequent value (majority) and beside the "
        "default of the event's topic (topic rule). *With rule* is what a user gets: the topic's rule answers where "
        "the classifier abstains.",
    ]
    for protocol, meaning in (
        (
            UNSEEN_TYPES,
            "each type predicted by a model that has seen no event of it; each type counts once. The honest figures",
        ),
        (
            HELD_OUT_USERS,
            "events of users (experiments) that were held out, of types that were seen. Easy: content gives a type "
            "away",
        ),
    ):
        lines += ["", f"*{protocol.capitalize()}* ({meaning}):", "", _TABLE_HEAD, "|---|---|---|---|---|---|"]
        for label in LABELS:
            row = summary[protocol, label]
            figures = ("accuracy", "majority", "topic_rule", "coverage", "accuracy_with_rule")
            lines.append(f"| {label} | " + " | ".join(_figure(row[name]) for name in figures) + " |")
    if report.notes.height:
        lines += ["", "**What could not be measured.**", ""]
        lines += [f"- {row['protocol']}, {row['label']}: {row['reason']}" for row in report.notes.iter_rows(named=True)]
    if classifier.constant:
        constant = ", ".join(f"{label} (always {value})" for label, value in classifier.constant.items())
        lines += ["", f"**Never predicted**, because the training events had a single value: {constant}."]
    beaten = [
        label
        for label in LABELS
        if (row := summary[UNSEEN_TYPES, label])["accuracy"] is not None
        and row["accuracy_with_rule"] <= max(row["topic_rule"], row["majority"])
    ]
    lines += [
        "",
        "**When not to believe it.** On an unseen type its confidence is not calibrated: see the reliability and "
        "abstention tables of the report. Types are few, so the figures on unseen types are coarse (one type more or "
        f"less right moves them by {1 / max(types, 1):.0%}).",
    ]
    if beaten:
        lines += [
            "",
            f"On unseen types it does not beat the better baseline for: {', '.join(beaten)}. Use the rule there.",
        ]
    return "\n".join(lines) + "\n"


_TABLE_HEAD = "| label | accuracy | majority | topic rule | answered | with rule |"


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"
