"""What of a stream of events is watched for drift: which fields it has, and how the classifier sees it."""

import polars as pl

from neonblue_lab.events.classification import LABELS
from neonblue_lab.models.event_labels.classifier import EventClassifier
from neonblue_lab.models.event_labels.features import ENVELOPE


def watched(classifier: EventClassifier, events: pl.DataFrame) -> pl.DataFrame:
    """A row an event: `has <id>` for each id of the envelope, value, keys (their paths in `properties`, joined by spaces),
    familiar (the share of its tokens that the classifier knows), like (the event type that it takes it for) and
    `sure of <label>` (the confidence) for each label that it predicts.

    Args:
        classifier: the one that is asked about these events.
        events: columns of CONTENT.
    """
    documents, predicted = classifier.read(events), classifier.predict(events, threshold=0)
    learned = [label for label in LABELS if label not in classifier.constant]
    keys = pl.col("document").str.split(" ").list.eval(pl.element().filter(~pl.element().str.contains("[~=:]")))
    return pl.DataFrame(
        [
            *(events[name].is_not_null().alias(f"has {name.removesuffix('_id')}") for name in ENVELOPE),
            events["value"].cast(pl.Float64),
            documents.select(keys=keys.list.sort().list.join(" "))["keys"],
            documents["familiar"],
            documents["nearest"].alias("like"),
            *(predicted[f"{label}_confidence"].alias(f"sure of {label}") for label in learned),
        ]
    )
