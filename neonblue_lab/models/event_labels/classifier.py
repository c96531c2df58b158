"""Predicts an event's labels from its content: which kinds that it has seen an event is like, and what labels those bear.

An event of a type that the rules know needs no prediction. The classifier is for what they do not know, so it never
sees the event type or the topic; a confidence is what it has been worth on event types that were left out, and below its
threshold the classifier says nothing and leaves the event to the rule's default.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from neonblue_lab.errors import BadInput, NothingToDo
from neonblue_lab.events.classification import LABEL_SCHEMA, LABELS, SERVERS
from neonblue_lab.models.event_labels.corrections import JOIN
from neonblue_lab.models.event_labels.features import features
from neonblue_lab.models.event_labels.kinds import Kinds, incidence, profile
from neonblue_lab.models.event_labels.tuning import Evidence, Tuning, tune


@dataclass(frozen=True)
class EventClassifier:
    """The kinds that a classifier has seen, and how it answers from them.

    Attributes:
        kinds: with their labels. A label that has one value in all of them is never predicted.
        tuning: temperatures and thresholds by label.
    """

    kinds: Kinds
    tuning: Tuning

    @property
    def constant(self) -> dict[str, str]:
        """Label -> the only value it had in training."""
        return {label: str(found[0]) for label in LABELS if len(found := self.kinds.values(label)) == 1}

    def predict(self, events: pl.DataFrame, *, threshold: float | None = None) -> pl.DataFrame:
        """Predict the labels of each event.

        Args:
            events: columns of CONTENT; event_id is carried over when it is there.
            threshold: instead of the classifier's own, which differ from label to label.

        Returns:
            One row an event, in order: event_id, then for each label its value (null: abstained, the rule's default
            holds) and `<label>_confidence`, the probability that the best value is right if the event is of a type that the
            classifier has not seen, whether or not it abstained (null: the label had a single value in training and is
            never predicted).

        Raises:
            BadInput: a column is missing, or the threshold is not within 0 to 1.
        """
        if threshold is not None:
            check_threshold(threshold)
        documents = features(events)
        answers = self.label(documents.unique(maintain_order=True))
        kept = answers.select(
            "document",
            *(
                column
                for label in LABELS
                for column in (
                    self._answered(label, threshold).alias(label),
                    pl.col(f"{label}_confidence"),
                )
            ),
        )
        columns = events.select("event_id") if "event_id" in events.columns else pl.DataFrame()
        return columns.hstack(
            documents.to_frame().join(kept, on="document", how="left", maintain_order="left").drop("document")
        )

    def read(self, events: pl.DataFrame) -> pl.DataFrame:
        """How the classifier sees each event's content, in order.

        Returns:
            document (its tokens), nearest (the known event type that it is most like), familiar (the share of its tokens
            that any known kind holds: what is unfamiliar is answered with less confidence).
        """
        documents = features(events).to_frame()
        answers = self.label(documents["document"].unique(maintain_order=True))
        return documents.join(answers, on="document", how="left", maintain_order="left").select(
            "document", "nearest", "familiar"
        )

    def label(self, documents: pl.Series) -> pl.DataFrame:
        """The best value of each label for each document, answered or not.

        Returns:
            document, nearest and familiar (see `read`), and for each label its text and `<label>_confidence`.
        """
        return labelled(self.kinds, self.tuning, documents).insert_column(0, documents.alias("document"))

    def _answered(self, label: str, threshold: float | None) -> pl.Expr:
        least = self.tuning.thresholds[label] if threshold is None else threshold
        value = (
            pl.lit(None, pl.String) if least is None else pl.when(pl.col(f"{label}_confidence") >= least).then(label)
        )
        return value.str.split(JOIN) if label == "target_servers" else value


def fit(events: pl.DataFrame, labels: pl.DataFrame, *, weights: pl.Series | None = None) -> EventClassifier:
    """Fit a classifier. Nothing of it is random.

    Args:
        events: columns of CONTENT, and event_type, by which kinds are told apart and left out; no document holds it.
        labels: columns of LABEL_SCHEMA, one row an event in the same order, as `classify` returns or a person
            corrected.
        weights: how many events each stands for among those of its type; 1 unless given.

    Raises:
        NothingToDo: nothing can be learned: no events, or no label has two values.
        BadInput: labels are missing or null.
    """
    examples = count(examples_of(events, labels, weights))
    if not any(examples[label].n_unique() > 1 for label in LABELS):
        raise NothingToDo(
            "An event classifier needs events of at least two kinds: "
            f"all {events.height} events given have the same labels. Replay more topics, or more of them."
        )
    kinds = profile(examples)
    return EventClassifier(kinds, tune(Evidence.of(examples, kinds)))


def labelled(kinds: Kinds, tuning: Tuning, documents: pl.Series) -> pl.DataFrame:
    """nearest, familiar, and for each label its most probable value and `<label>_confidence` (null where all kinds agree)."""
    held = incidence(documents, kinds.tokens)
    familiarity = kinds.familiarity(held)
    posterior = kinds.posterior(kinds.evidence(held, tuning.smoothing), familiarity, tuning.sharpness)
    answers = {
        "nearest": pl.Series(kinds.event_types[posterior.argmax(axis=1)].tolist(), dtype=pl.String),
        "familiar": pl.Series(familiarity),
    }
    for label in LABELS:
        values = kinds.values(label)
        if len(values) == 1:
            answers[label] = pl.repeat(None, len(posterior), dtype=pl.String, eager=True)
            answers[f"{label}_confidence"] = pl.repeat(None, len(posterior), dtype=pl.Float64, eager=True)
            continue
        stated = kinds.stated(posterior, label)
        if label in tuning.temperatures:
            stated = tuning.temperatures[label].apply(stated)
        best = stated.argmax(axis=1)
        answers[label] = pl.Series(values[best].tolist(), dtype=pl.String)
        answers[f"{label}_confidence"] = pl.Series(stated[np.arange(len(best)), best])
    return pl.DataFrame(answers)


def examples_of(events: pl.DataFrame, labels: pl.DataFrame, weights: pl.Series | None = None) -> pl.DataFrame:
    """One row an event: document, event_type, a column of texts for each label, weight.

    Raises:
        BadInput: columns or labels that cannot be used.
    """
    if "event_type" not in events.columns:
        raise BadInput(
            "Events to learn from lack the column event_type: it says what is left out to measure confidence."
        )
    weight = pl.lit(1.0).alias("weight") if weights is None else weights.cast(pl.Float64).alias("weight")
    return label_texts(labels, events.height).with_columns(
        features(events), events["event_type"].fill_null("").alias("event_type"), weight
    )


def count(examples: pl.DataFrame, *further: str) -> pl.DataFrame:
    """Like examples as one row with their weights added up and `events`, their number; those that differ in `further` are
    not alike. Sorted."""
    by = ["document", "event_type", *LABELS, *further]
    return examples.group_by(by).agg(pl.col("weight").sum(), events=pl.len()).sort(by)


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
