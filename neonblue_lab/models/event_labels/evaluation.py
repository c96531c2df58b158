"""Measures event classifiers on events that they have not seen: of other users, and of whole other types."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.events.classification import LABELS, classify_by_topic
from neonblue_lab.models.event_labels.classifier import (
    THRESHOLD,
    check_threshold,
    fit_label,
    label_texts,
    predict_label,
)
from neonblue_lab.models.event_labels.features import features
from neonblue_lab.models.event_labels.report import HELD_OUT_USERS, OUTCOMES, UNSEEN_TYPES, ClassifierReport


def evaluate(
    events: pl.DataFrame, labels: pl.DataFrame, *, seed: int, held_out: float = 0.25, threshold: float = THRESHOLD
) -> ClassifierReport:
    """Measure classifiers of these events on events that they have not seen (see `ClassifierReport`).

    Args:
        events: columns of CONTENT, and event_type, topic and event_id.
        labels: columns of LABEL_SCHEMA, one row an event in the same order.
        seed: of the split and of the estimators.
        held_out: the share of users (experiments) whose events are held out.
        threshold: the confidence below which the classifier abstains.

    Returns:
        The report. What these events cannot tell (a label with one value, a type whose absence leaves one value) is
        null in its summary and a sentence in its notes.

    Raises:
        BadInput: columns, labels or options that cannot be used.
    """
    check_threshold(threshold)
    if not 0 < held_out < 1:
        raise BadInput(f"held_out {held_out} is not a share of users: it lies between 0 and 1.")
    missing = [name for name in ("event_id", "event_type", "topic") if name not in events.columns]
    if missing:
        raise BadInput(f"A classifier cannot be measured: column(s) {', '.join(missing)} missing from the events.")
    examples = label_texts(labels, events.height).with_columns(
        features(events),
        events["event_type"],
        _held_out(events, held_out, seed),
        *(column.alias(f"rule:{column.name}") for column in label_texts(classify_by_topic(events), events.height)),
    )
    outcomes, notes = [], []
    for label in LABELS:
        counted = examples.group_by("document", label, "event_type", "held_out", topic_rule=f"rule:{label}").len(
            "count"
        )
        for protocol, folds in ((HELD_OUT_USERS, _by_user(counted)), (UNSEEN_TYPES, _by_type(counted))):
            for name, train, test in folds:
                reason = _cannot_measure(train, test, label)
                if reason:
                    notes.append({"protocol": protocol, "label": label, "reason": f"{name}: {reason}"})
                else:
                    outcomes.append(_predict(train, test, label, protocol, seed))
    return ClassifierReport(
        outcomes=pl.concat(outcomes) if outcomes else pl.DataFrame(schema=OUTCOMES),
        notes=pl.DataFrame(notes, schema={"protocol": pl.String, "label": pl.String, "reason": pl.String}),
        threshold=threshold,
        events=events.height,
    )


def _held_out(events: pl.DataFrame, share: float, seed: int) -> pl.Series:
    """True for all events of a random share of users (of experiments, of events where there is neither)."""
    owner = events.select(owner=pl.coalesce("user_id", "experiment_id", "event_id"))["owner"]
    owners = owner.unique().sort()
    chosen = owners.filter(pl.Series(np.random.default_rng(seed).random(len(owners)) < share))
    return owner.is_in(chosen.implode()).alias("held_out")


_Fold = tuple[str, pl.DataFrame, pl.DataFrame]


def _by_user(examples: pl.DataFrame) -> Iterator[_Fold]:
    yield "all users", examples.filter(~pl.col("held_out")), examples.filter("held_out")


def _by_type(examples: pl.DataFrame) -> Iterator[_Fold]:
    for event_type in examples["event_type"].unique().sort():
        unseen = pl.col("event_type") == event_type
        yield f"without {event_type}", examples.filter(~unseen), examples.filter(unseen)


def _cannot_measure(train: pl.DataFrame, test: pl.DataFrame, label: str) -> str | None:
    if test.is_empty():
        return "no event is held out."
    if train.is_empty():
        return "no event is left to learn from."
    if train[label].n_unique() == 1:
        return f"every event left to learn from has {label} {train[label][0]}, so there is nothing to tell apart."
    return None


def _predict(train: pl.DataFrame, test: pl.DataFrame, label: str, protocol: str, seed: int) -> pl.DataFrame:
    pipeline = fit_label(train.group_by("document", label).agg(pl.col("count").sum()), label, seed)
    distinct = test["document"].unique().sort()
    value, confidence = predict_label(pipeline, distinct)
    majority = train.group_by(label).agg(pl.col("count").sum()).sort("count", label, descending=[True, False])[label][0]
    weight = pl.col("count") if protocol == HELD_OUT_USERS else pl.col("count") / pl.col("count").sum()
    answers = pl.DataFrame({"document": distinct, "predicted": value, "confidence": confidence})
    return (
        test.join(answers, on="document", how="left")
        .with_columns(
            protocol=pl.lit(protocol),
            label=pl.lit(label),
            actual=pl.col(label),
            majority=pl.lit(majority),
            weight=weight,
        )
        .group_by(*(name for name in OUTCOMES if name not in ("count", "weight")))
        .agg(pl.col("count").sum(), pl.col("weight").sum())
        .select(pl.col(name).cast(dtype) for name, dtype in OUTCOMES.items())
        .sort("event_type", "actual", "predicted", "confidence", "topic_rule")
    )
