"""The envelope of an event and what each kind of event must carry."""

import polars as pl

from neonblue_lab.events.records import TIMESTAMP

EVENT_SCHEMA: dict[str, pl.DataType] = {
    "event_id": pl.String(),
    "event_type": pl.String(),
    "topic": pl.String(),
    "user_id": pl.String(),
    "session_id": pl.String(),
    "experiment_id": pl.String(),
    "variant_id": pl.String(),
    "timestamp": TIMESTAMP,
    "value": pl.Float64(),
    "properties": pl.String(),
    "partition": pl.Int32(),
    "offset": pl.Int64(),
}
"""One valid event. `timestamp` is when it happened, in UTC; `properties` is a JSON object as text, or null."""

REJECT_SCHEMA: dict[str, pl.DataType] = {
    "partition": pl.Int32(),
    "offset": pl.Int64(),
    "stage": pl.String(),
    "error": pl.String(),
}
"""Why a record is no event. `stage`: decode (bytes), parse (JSON) or validate (fields)."""

EXPOSURE = "exposure"
METRIC_TOTAL = "metric_total"
DOCUMENT = "document"
EXPERIMENT_LIFECYCLE = ("experiment_created", "experiment_updated", "experiment_started", "experiment_ended")

LONGEST_ID = 512
"""Bytes of the longest id, name of a metric or segment: a row that is found by five of them fits an index of PostgreSQL."""

REQUIRED_FIELDS: dict[str, tuple[str, ...]] = {
    EXPOSURE: ("user_id", "experiment_id", "variant_id"),
    METRIC_TOTAL: ("experiment_id", "variant_id"),
    DOCUMENT: (),
    **dict.fromkeys(EXPERIMENT_LIFECYCLE, ("experiment_id",)),
}
"""Envelope fields that an event type needs beyond event_id, event_type and timestamp."""

EARLIEST, LATEST = "2000-01-01", "2100-01-01"
"""Event times outside [EARLIEST, LATEST) are taken for damage."""
