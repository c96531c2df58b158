"""Predicts an event's labels from its content: one scikit-learn pipeline for each label, on distinct documents.

An event of a type that the rules know needs no prediction. The classifier is for what they do not know, so it never
sees the event type or the topic, and below a confidence it says nothing and leaves the event to the rule's default.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from neonblue_lab.errors import BadInput
from neonblue_lab.events.classification import LABEL_SCHEMA, LABELS, SERVERS
from neonblue_lab.models.event_labels.features import features
from neonblue_lab.models.training.threads import one_thread

JOIN = "+"
"""Between the names of stores when target_servers is predicted as one combined label."""
MAX_TOKENS = 5_000
THRESHOLD = 0.8


@dataclass(frozen=True)
class EventClassifier:
    """Fitted pipelines by label.

    Attributes:
        pipelines: one for each label that could be learned: document -> probabilities of the label's values.
        constant: label -> the only value it had in training. Such a label is never predicted.
        threshold: the confidence below which a label is left null.
    """

    pipelines: Mapping[str, Pipeline]
    constant: Mapping[str, str]
    threshold: float

    def predict(self, events: pl.DataFrame, *, threshold: float | None = None) -> pl.DataFrame:
        """Predict the labels of each event.

        Args:
            events: columns of CONTENT; event_id is carried over when it is there.
            threshold: instead of the classifier's own.

        Returns:
            One row an event, in order: event_id, then for each label its value (null: abstained, the rule's default
            holds) and `<label>_confidence`, the probability that the model gave to its best value whether or not it
            abstained (null: the label had a single value in training and is never predicted).

        Raises:
            BadInput: a column is missing, or the threshold is not within 0 to 1.
        """
        threshold = check_threshold(self.threshold if threshold is None else threshold)
        documents = features(events)
        distinct = documents.unique(maintain_order=True)
        answers = pl.DataFrame({"document": distinct})
        for label in LABELS:
            value, confidence = predict_label(self.pipelines.get(label), distinct)
            kept = pl.when(confidence >= threshold).then(value)
            answers = answers.with_columns(
                (kept.str.split(JOIN) if label == "target_servers" else kept).alias(label),
                confidence.alias(f"{label}_confidence"),
            )
        columns = events.select("event_id") if "event_id" in events.columns else pl.DataFrame()
        return columns.hstack(
            documents.to_frame().join(answers, on="document", how="left", maintain_order="left").drop("document")
        )


def fit(events: pl.DataFrame, labels: pl.DataFrame, *, seed: int, threshold: float = THRESHOLD) -> EventClassifier:
    """Fit one pipeline for each label.

    Args:
        events: columns of CONTENT.
        labels: columns of LABEL_SCHEMA, one row an event in the same order, as `classify` returns or a person
            corrected.
        seed: of the estimators.
        threshold: the confidence below which the classifier abstains.

    Returns:
        The classifier. A label with a single value in `labels` is not learned (see `EventClassifier.constant`).

    Raises:
        BadInput: nothing can be learned (no events, or no label has two values), labels are missing or null, or the
            threshold is not within 0 to 1.
    """
    check_threshold(threshold)
    examples = label_texts(labels, events.height).with_columns(features(events))
    values = {label: examples[label].unique().sort() for label in LABELS}
    if not any(len(found) > 1 for found in values.values()):
        raise BadInput(
            "An event classifier needs events of at least two kinds: "
            f"all {examples.height} events given have the same labels. Replay more topics, or more of them."
        )
    return EventClassifier(
        pipelines={
            label: fit_label(examples.group_by("document", label).len("count"), label, seed)
            for label, found in values.items()
            if len(found) > 1
        },
        constant={label: found[0] for label, found in values.items() if len(found) == 1},
        threshold=threshold,
    )


def fit_label(examples: pl.DataFrame, label: str, seed: int) -> Pipeline:
    """Fit the pipeline of one label on columns document, `label` and count: at least two values.

    A document that occurs n times weighs sqrt(n), shared by its values as they occurred: n would drown the rare kinds
    of events, and 1 would let a single oddity speak as loudly as the norm.
    """
    examples = examples.sort("document", label)
    share = pl.col("count") / pl.col("count").sum().over("document").sqrt()
    weights = examples.select(share).to_series().to_numpy()
    pipeline = Pipeline(
        [
            (
                "tokens",
                CountVectorizer(token_pattern=r"[^ ]+", lowercase=False, binary=True, max_features=MAX_TOKENS),
            ),
            ("logistic", LogisticRegression(max_iter=1_000, random_state=seed)),
        ]
    )
    documents, values = examples["document"].to_list(), examples[label].to_list()
    with one_thread():
        return pipeline.fit(documents, values, logistic__sample_weight=weights / weights.mean())


def predict_label(pipeline: Pipeline | None, documents: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The most probable value of each document and its probability; nulls without a pipeline."""
    if pipeline is None or documents.is_empty():
        return (
            pl.Series([None] * len(documents), dtype=pl.String),
            pl.Series([None] * len(documents), dtype=pl.Float64),
        )
    probabilities = pipeline.predict_proba(documents.to_list())
    best = probabilities.argmax(axis=1)
    return (
        pl.Series(np.asarray(pipeline.classes_, dtype=str)[best].tolist(), dtype=pl.String),
        pl.Series(probabilities[np.arange(len(best)), best]),
    )


def label_texts(labels: pl.DataFrame, rows: int) -> pl.DataFrame:
    """The labels as one string column each: target_servers combined, in the order of their names."""
    missing = [name for name in LABEL_SCHEMA if name not in labels.columns]
    if missing:
        raise BadInput(f"Labels to learn from lack the column(s) {', '.join(missing)}.")
    if labels.height != rows:
        raise BadInput(f"{labels.height} rows of labels for {rows} events: there must be one for each, in order.")
    stores = labels["target_servers"].explode().drop_nulls().unique()
    unknown = sorted(set(stores) - set(SERVERS))
    if unknown:
        raise BadInput(f"Labels name unknown target_servers {', '.join(unknown)}; known are {', '.join(SERVERS)}.")
    combined = pl.concat_str(
        (pl.when(pl.col("target_servers").list.contains(store)).then(pl.lit(store)) for store in SERVERS),
        separator=JOIN,
        ignore_nulls=True,
    )
    texts = labels.select(
        pl.when(pl.col("target_servers").is_not_null()).then(combined).alias(name)
        if name == "target_servers"
        else pl.col(name)
        for name in LABELS
    )
    empty = [name for name in LABELS if texts[name].null_count()]
    if empty:
        raise BadInput(f"Labels to learn from hold nulls in {', '.join(empty)}: leave out events without a label.")
    return texts


def check_threshold(threshold: float) -> float:
    if not 0 <= threshold <= 1:
        raise BadInput(f"threshold {threshold} is not a confidence: it lies within 0 and 1.")
    return threshold
