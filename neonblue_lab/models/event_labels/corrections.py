"""What people corrected of events' labels, and how it enters training.

A correction of an event type replaces the rule's label for all its events: they are as many as they are, and a person's word
on a type is worth what a rule's is. A correction of one event makes it stand for CORRECTION_SHARE of all events of its type:
its content is then a kind of its own, heavy enough that events of the same content follow it, and too light to turn the rest
of the type. What is corrected of an event wins over what is corrected of its type.
"""

from datetime import UTC, datetime
from uuid import uuid4

import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.events.classification import BY_EVENT_TYPE, BY_TOPIC, LABEL_SCHEMA, LABELS, SERVERS, UNKNOWN
from neonblue_lab.lake.tables import OWN

TABLE = "corrections"
EVENT, EVENT_TYPE = "event", "event_type"
CORRECTION_SHARE = 0.1
JOIN = "+"
"""Between the names of stores where target_servers is one text."""
AGREEMENT = {
    "scope": pl.String(),
    "target": pl.String(),
    "label": pl.String(),
    "value": pl.String(),
    "author": pl.String(),
    "events": pl.Int64(),
    "predicted": pl.String(),
    "confidence": pl.Float64(),
    "agrees": pl.Boolean(),
}


def known_values(label: str) -> list[str]:
    """The values that the rules know for a label, sorted; for target_servers the stores.

    Raises:
        BadInput: no such label.
    """
    if label not in LABELS:
        raise BadInput(f"{label!r} is no label of events: it is one of {', '.join(LABELS)}.")
    if label == "target_servers":
        return sorted(SERVERS)
    rules = (*BY_EVENT_TYPE.values(), *BY_TOPIC.values(), UNKNOWN)
    return sorted({str(getattr(rule, label)) for rule in rules})


def correction_rows(
    labels: dict[str, str | list[str]], *, event_id: str | None, event_type: str | None, author: str, note: str
) -> pl.DataFrame:
    """Rows for the table `corrections`: one for each label.

    Args:
        labels: label -> its right value; target_servers as a list, or as names joined by `+` or commas.
        event_id: of the event that is corrected; None where all events of the type are.
        event_type: of the event, or the one that is corrected.
        author, note: who says so, and why.

    Raises:
        BadInput: nothing is corrected, a label or a value is unknown, or nobody says so.
    """
    if not labels:
        raise BadInput(f"Nothing is corrected: name at least one label ({', '.join(LABELS)}) and its value.")
    if not (author and author.strip()):
        raise BadInput("A correction needs an author: who says so?")
    made_at = datetime.now(UTC)
    rows = [
        {
            "correction_id": uuid4().hex,
            "scope": EVENT if event_id is not None else EVENT_TYPE,
            "event_id": event_id,
            "event_type": event_type,
            "label": label,
            "value": _checked(label, value),
            "author": author.strip(),
            "note": note or None,
            "made_at": made_at,
        }
        for label, value in labels.items()
    ]
    return pl.DataFrame(rows, schema=OWN[TABLE].schema)


def corrected(events: pl.DataFrame, labels: pl.DataFrame, corrections: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """The labels to learn from.

    Args:
        events: columns event_id and event_type.
        labels: columns of LABEL_SCHEMA, a row an event, as the rules have them.
        corrections: the latest of each label of an event or type.

    Returns:
        Labels of the same shape, and how many events of its type each event stands for.
    """
    named = events.select("event_id", "event_type").with_columns(labels)
    for label in LABELS:
        for scope, key in ((EVENT_TYPE, "event_type"), (EVENT, "event_id")):
            right = corrections.filter(scope=scope, label=label).select(key, right="value")
            if right.is_empty():
                continue
            value = pl.col("right").str.split(JOIN) if label == "target_servers" else pl.col("right")
            named = named.join(right, on=key, how="left", maintain_order="left").with_columns(
                pl.coalesce(value, label).alias(label)
            )
            named = named.drop("right")  # the next label brings a column of the same name
    by_event = corrections.filter(scope=EVENT)["event_id"].unique()
    touched = pl.col("event_id").is_in(by_event.implode())
    weight = pl.when(touched).then((CORRECTION_SHARE * pl.len().over("event_type")).clip(lower_bound=1)).otherwise(1.0)
    return named.select(*LABEL_SCHEMA), named.select(weight.alias("weight"))["weight"]


def agreement(events: pl.DataFrame, predicted: pl.DataFrame, corrections: pl.DataFrame) -> pl.DataFrame:
    """Whether a classifier says what people said.

    Args:
        events: columns event_id and event_type.
        predicted: by `EventClassifier.predict` at threshold 0, a row an event.
        corrections: the latest of each label of an event or type.

    Returns:
        Columns of AGREEMENT, one row a correction: scope, target (the event's id, or the type), label, value, author,
        events (of the target among those given; 0: it says nothing), predicted (for most of them), confidence (mean),
        agrees (null: no events).
    """
    rows = []
    for correction in corrections.sort("scope", "event_type", "event_id", "label").iter_rows(named=True):
        key = "event_id" if correction["scope"] == EVENT else "event_type"
        label = correction["label"]
        said = predicted.filter((events[key] == correction[key]).fill_null(False))
        value = said[label].list.join(JOIN) if label == "target_servers" else said[label]
        most = value.drop_nulls().mode().sort()
        answer = most[0] if len(most) else None
        rows.append(
            {
                "scope": correction["scope"],
                "target": correction[key],
                "label": label,
                "value": correction["value"],
                "author": correction["author"],
                "events": said.height,
                "predicted": answer,
                "confidence": said[f"{label}_confidence"].mean(),
                "agrees": None if answer is None else answer == correction["value"],
            }
        )
    return pl.DataFrame(rows, schema=AGREEMENT)


def _checked(label: str, value: str | list[str]) -> str:
    known = known_values(label)
    parts = value.replace(",", JOIN).split(JOIN) if isinstance(value, str) else value
    # What is no text, such as a null or a number, is no known value either.
    chosen = {str(part).strip() for part in (parts if isinstance(parts, list | tuple) else [parts])}
    unknown = sorted(chosen - set(known))
    if unknown or not chosen or (label != "target_servers" and len(chosen) > 1):
        several = " (one or several)" if label == "target_servers" else ""
        raise BadInput(f"{value!r} is no value of {label}: it is one of {', '.join(known)}{several}.")
    return JOIN.join(store for store in SERVERS if store in chosen) if label == "target_servers" else chosen.pop()
