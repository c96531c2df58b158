"""Which events a person should look at: those whose labels the classifier is least sure of, types without a rule first."""

import polars as pl

from neonblue_lab.events.classification import BY_EVENT_TYPE, LABELS, classify
from neonblue_lab.models.event_labels.classifier import EventClassifier, label_texts
from neonblue_lab.models.event_labels.corrections import EVENT, EVENT_TYPE, corrected


def least_sure(
    classifier: EventClassifier, events: pl.DataFrame, corrections: pl.DataFrame, *, limit: int
) -> pl.DataFrame:
    """Events to look at, one of each content.

    Args:
        classifier: the one that is asked.
        events: columns of the envelope.
        corrections: the latest of each label; events and types that were corrected are left out.
        limit: at most so many.

    Returns:
        event_id, event_type, topic, timestamp, value, properties, has_rule (whether the rules know its type), like (the known
        type that its content is most like), confidence (the mean over the labels), for each label its text as it holds now
        (`<label>`: by rule or correction), and what the classifier would say (`<label>_predicted`). First the types without
        a rule, then type by type in turn, the least sure first.
    """
    predicted = classifier.predict(events, threshold=0)
    learned = [label for label in LABELS if label not in classifier.constant]
    now = label_texts(corrected(events, classify(events), corrections)[0], events.height)
    would = predicted.select(
        (pl.col(label).list.join("+") if label == "target_servers" else pl.col(label)).alias(f"{label}_predicted")
        for label in LABELS
    )
    seen = classifier.read(events)
    rows = events.select("event_id", "event_type", "topic", "timestamp", "value", "properties").with_columns(
        has_rule=pl.col("event_type").is_in(list(BY_EVENT_TYPE)),
        like=seen["nearest"],
        confidence=predicted.select(pl.mean_horizontal(f"{label}_confidence" for label in learned)).to_series(),
        document=seen["document"],
    )
    judged_events = corrections.filter(scope=EVENT)["event_id"].implode()
    judged_types = corrections.filter(scope=EVENT_TYPE)["event_type"].implode()
    return (
        rows.hstack(now)
        .hstack(would)
        .filter(~pl.col("event_id").is_in(judged_events), ~pl.col("event_type").is_in(judged_types))
        .sort("confidence", "event_id")
        .unique(["event_type", "document"], keep="first", maintain_order=True)
        .with_columns(turn=pl.int_range(pl.len()).over("event_type"))
        .sort("has_rule", "turn", "confidence", "event_id")
        .drop("turn", "document")
        .head(limit)
    )
