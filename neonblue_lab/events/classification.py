"""What an event is and what becomes of it, by rule: one readable table by event type, with a default for each topic.

The table is the lab's stated policy. It is what a learned classifier is trained on, what it is measured against, and
what counts wherever it abstains.
"""

from typing import NamedTuple

import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.events.records import ANALYTICS_EVENTS, EXPERIMENT_METRICS, EXPERIMENTS_EVENTS, USER_EVENTS

POSTGRES, CLICKHOUSE, CHROMADB = "postgres", "clickhouse", "chromadb"
SERVERS = (POSTGRES, CLICKHOUSE, CHROMADB)


class Classification(NamedTuple):
    """The labels of one event.

    Attributes:
        data_type: experiment (definitions and assignments), user_behavior (what users do) or analytics (what is
            measured).
        priority: high (a decision or revenue depends on it), medium, or low (one of very many).
        target_servers: the stores that need it: PostgreSQL for the registry and single rows by key, ClickHouse for
            counting, Chroma for what is searched by meaning.
        processing_strategy: real_time (as it arrives), stream (within minutes, in small batches) or batch (nightly).
        retention_policy: permanent, two_years or ninety_days.
    """

    data_type: str
    priority: str
    target_servers: tuple[str, ...]
    processing_strategy: str
    retention_policy: str


LABELS = Classification._fields
LABEL_SCHEMA: dict[str, pl.DataType] = {
    name: pl.List(pl.String) if name == "target_servers" else pl.String() for name in LABELS
}
"""The columns of `classify`: one label each."""

BY_EVENT_TYPE: dict[str, Classification] = {
    "experiment_created": Classification("experiment", "high", (POSTGRES, CHROMADB), "real_time", "permanent"),
    "experiment_updated": Classification("experiment", "medium", (POSTGRES, CHROMADB), "stream", "permanent"),
    "experiment_started": Classification("experiment", "high", (POSTGRES, CHROMADB), "real_time", "permanent"),
    "experiment_ended": Classification("experiment", "high", (POSTGRES, CHROMADB), "real_time", "permanent"),
    "exposure": Classification("experiment", "high", (POSTGRES, CLICKHOUSE), "stream", "permanent"),
    "session_start": Classification("user_behavior", "low", (CLICKHOUSE,), "batch", "ninety_days"),
    "page_view": Classification("user_behavior", "low", (CLICKHOUSE,), "batch", "ninety_days"),
    "click": Classification("user_behavior", "low", (CLICKHOUSE,), "batch", "ninety_days"),
    "search": Classification("user_behavior", "medium", (CLICKHOUSE, CHROMADB), "stream", "ninety_days"),
    "add_to_cart": Classification("user_behavior", "medium", (CLICKHOUSE,), "stream", "two_years"),
    "checkout_start": Classification("user_behavior", "medium", (CLICKHOUSE,), "stream", "two_years"),
    "sign_up": Classification("user_behavior", "high", (POSTGRES, CLICKHOUSE), "real_time", "two_years"),
    "conversion": Classification("analytics", "high", (POSTGRES, CLICKHOUSE), "real_time", "permanent"),
    "purchase": Classification("analytics", "high", (POSTGRES, CLICKHOUSE), "real_time", "permanent"),
    "session_summary": Classification("analytics", "low", (CLICKHOUSE, CHROMADB), "batch", "two_years"),
    "metric_total": Classification("analytics", "medium", (CLICKHOUSE,), "batch", "permanent"),
}

BY_TOPIC: dict[str, Classification] = {
    EXPERIMENTS_EVENTS: Classification("experiment", "medium", (POSTGRES, CHROMADB), "stream", "permanent"),
    USER_EVENTS: Classification("user_behavior", "low", (CLICKHOUSE,), "batch", "two_years"),
    ANALYTICS_EVENTS: Classification("analytics", "medium", (CLICKHOUSE,), "stream", "permanent"),
    EXPERIMENT_METRICS: Classification("analytics", "medium", (CLICKHOUSE,), "batch", "permanent"),
}
"""For an event type that the table does not know."""

UNKNOWN = Classification("analytics", "low", SERVERS, "batch", "permanent")
"""For an unknown type in an unknown topic: kept in every store and for ever, in no hurry."""

_RULES = (*BY_EVENT_TYPE.values(), *BY_TOPIC.values(), UNKNOWN)
_RULE_OF_TYPE = {name: row for row, name in enumerate(BY_EVENT_TYPE)}
_RULE_OF_TOPIC = {name: row for row, name in enumerate(BY_TOPIC, start=len(BY_EVENT_TYPE))}
_RULE_OF_UNKNOWN = len(_RULES) - 1
_TABLE = pl.DataFrame([rule._asdict() for rule in _RULES], schema=LABEL_SCHEMA)


def classify(events: pl.DataFrame) -> pl.DataFrame:
    """Look up the labels of each event: by its event type, else its topic, else `UNKNOWN`.

    Args:
        events: columns event_type and topic (strings; null counts as unknown).

    Returns:
        Columns of LABEL_SCHEMA, one row an event, in the order of `events`. No value is null.

    Raises:
        BadInput: a column is missing.
    """
    _require(events, "event_type", "topic")
    return _look_up(events, pl.coalesce(_row_of("event_type", _RULE_OF_TYPE), _row_of("topic", _RULE_OF_TOPIC)))


def classify_by_topic(events: pl.DataFrame) -> pl.DataFrame:
    """Look up the labels that each event would get if its type were unknown. Shape as `classify`; needs column
    topic."""
    _require(events, "topic")
    return _look_up(events, _row_of("topic", _RULE_OF_TOPIC))


def _row_of(column: str, rows: dict[str, int]) -> pl.Expr:
    return pl.col(column).replace_strict(rows, default=None, return_dtype=pl.UInt32)


def _look_up(events: pl.DataFrame, row: pl.Expr) -> pl.DataFrame:
    return _TABLE[events.select(rule=row.fill_null(_RULE_OF_UNKNOWN))["rule"]]


def _require(events: pl.DataFrame, *columns: str) -> None:
    missing = [column for column in columns if column not in events.columns]
    if missing:
        raise BadInput(f"Events cannot be classified: column(s) {', '.join(missing)} missing; got {events.columns}.")
