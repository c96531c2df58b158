"""Events in columns to records: JSON values, keys, partitions and offsets, a batch at a time."""

from zlib import crc32

import polars as pl

from neonblue_lab.events.records import (
    ANALYTICS_EVENTS,
    EXPERIMENT_METRICS,
    EXPERIMENTS_EVENTS,
    RECORD_SCHEMA,
    TIMESTAMP,
    USER_EVENTS,
    RecordBatch,
)

KEYS = {
    EXPERIMENTS_EVENTS: "experiment_id",
    USER_EVENTS: "user_id",
    ANALYTICS_EVENTS: "user_id",
    EXPERIMENT_METRICS: "experiment_id",
}
"""The field whose bytes are the record's key, and which therefore decides the partition."""

PARTITIONS = {EXPERIMENTS_EVENTS: 1, USER_EVENTS: 3, ANALYTICS_EVENTS: 3, EXPERIMENT_METRICS: 1}

_ENVELOPE = (
    "event_id",
    "event_type",
    "timestamp",
    "user_id",
    "session_id",
    "experiment_id",
    "variant_id",
    "value",
    "properties",
)


def iso(time: pl.Expr) -> pl.Expr:
    """A UTC timestamp as text: 2026-03-02T10:00:00.000000Z."""
    return time.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")


def encode_values(events: pl.DataFrame) -> pl.Series:
    """The JSON text of each event, as UTF-8 bytes.

    Args:
        events: any of the envelope's fields as columns, `timestamp` in UTC, `properties` as a struct. Fields that are
            null, in the envelope as well as in `properties`, are left out of the JSON.
    """
    fields = [name for name in _ENVELOPE if name in events.columns]
    document = pl.struct(iso(pl.col(name)) if name == "timestamp" else pl.col(name) for name in fields)
    encoded = events.select(document.struct.json_encode()).to_series()
    # A quote inside a JSON string is escaped, so these patterns cannot match anything but a field.
    compact = encoded.str.replace_all(r',"\w+":null', "").str.replace_all(r'\{"\w+":null,?', "{")
    return compact.cast(pl.Binary).alias("value")


def partition_of(keys: pl.Series, partitions: int) -> pl.Series:
    """The partition of each key: its CRC-32 modulo the number of partitions."""
    if partitions == 1:
        return pl.repeat(0, keys.len(), dtype=pl.Int32, eager=True)
    distinct = keys.unique()
    numbers = [crc32(key) % partitions for key in distinct.to_list()]
    return keys.replace_strict(distinct, pl.Series(numbers, dtype=pl.Int32), return_dtype=pl.Int32)


class RecordEncoder:
    """Numbers the records of one topic from offset 0 on, batch after batch."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._ends = dict.fromkeys(range(PARTITIONS[topic]), 0)

    def encode(self, events: pl.DataFrame) -> RecordBatch:
        """Events, in the order in which they were sent, to records.

        Args:
            events: see `encode_values`; a column `sent_at` is the record's timestamp where it differs from the event's,
                and a column `encoded` holds values that are encoded already.
        """
        sent_at = "sent_at" if "sent_at" in events.columns else "timestamp"
        key = events[KEYS[self._topic]].cast(pl.Binary)
        frame = pl.DataFrame(
            {
                "partition": partition_of(key, len(self._ends)),
                "timestamp": events[sent_at],
                "key": key,
                "value": events["encoded"] if "encoded" in events.columns else encode_values(events),
            }
        )
        start = pl.col("partition").replace_strict(self._ends, return_dtype=pl.Int64)
        frame = frame.with_columns(
            topic=pl.lit(self._topic),
            offset=start + pl.int_range(pl.len(), dtype=pl.Int64).over("partition"),
            headers=None,
        )
        self._ends |= dict(frame.group_by("partition").agg(pl.col("offset").max() + 1).iter_rows())
        return RecordBatch(self._topic, frame.select(pl.col(name).cast(kind) for name, kind in RECORD_SCHEMA.items()))


def utc(time: pl.Expr) -> pl.Expr:
    """A timestamp without time zone, read as UTC."""
    return time.dt.replace_time_zone("UTC").cast(TIMESTAMP)
