"""Records to events, a batch at a time by columns: what parses and validates is an event, the rest says why it is not.

DuckDB's JSON functions do the work because they judge each record on its own: one broken record neither fails its batch
nor sends the batch down a slow path.
"""

from dataclasses import dataclass

import duckdb
import orjson
import polars as pl

from neonblue_lab.events.records import RecordBatch
from neonblue_lab.events.schema import (
    EARLIEST,
    EVENT_SCHEMA,
    EXPERIMENT_LIFECYCLE,
    LATEST,
    METRIC_TOTAL,
    REJECT_SCHEMA,
    REQUIRED_FIELDS,
)


@dataclass(frozen=True)
class ParsedBatch:
    """What became of a batch.

    Attributes:
        events: columns of EVENT_SCHEMA, in the order of the records; repeated event ids are still there.
        rejects: columns of REJECT_SCHEMA, one row for each record that is no event.
        tombstones: the number of records without a value; they are neither.
    """

    events: pl.DataFrame
    rejects: pl.DataFrame
    tombstones: int


_IDS = ("user_id", "session_id", "experiment_id", "variant_id")

_STRUCTURE = orjson.dumps(
    dict.fromkeys(("event_id", "event_type", "timestamp", *_IDS, "value"), "VARCHAR") | {"properties": "JSON"}
).decode()

# DuckDB reads JSON leniently (NaN, Infinity, trailing commas) and to any depth; what looks like it is judged again by a
# strict parser, whose limit on depth (1,024) no record of fewer brackets can reach.
_LENIENT = r"[:,\[]\s*[-+]?(nan|inf)|,\s*[}\]]"
_BRACKETS = 1_000

# Texts that DuckDB would take for numbers, such as 1_000 and true, are none.
_NUMBER = "-?[0-9]+([.][0-9]*)?([eE][-+]?[0-9]+)?"

_TOTAL = orjson.dumps(
    dict.fromkeys(("metric", "kind", "n", "mean", "variance", "period_start", "period_end"), "VARCHAR")
).decode()
_DEFINITION = orjson.dumps(
    dict.fromkeys(("started_at", "ended_at", "created_at"), "VARCHAR") | {"variants": "JSON"}
).decode()


def _number(text: str) -> str:
    """SQL for the finite number that a text spells, or null."""
    number = f"CASE WHEN regexp_full_match({text}, '{_NUMBER}') THEN try_cast({text} AS DOUBLE) END"
    return f"(CASE WHEN isfinite({number}) THEN {number} END)"


def _within_reason(time: str) -> str:
    return f"({time} >= TIMESTAMPTZ '{EARLIEST} 00:00:00+00' AND {time} < TIMESTAMPTZ '{LATEST} 00:00:00+00')"


def _not_a_time(struct: str, *fields: str) -> str:
    return "\n".join(
        f"WHEN {struct}.{field} IS NOT NULL AND {_within_reason(f'try_cast({struct}.{field} AS TIMESTAMPTZ)')} IS NOT TRUE "
        f"THEN 'properties.{field}: not an ISO 8601 time between {EARLIEST} and {LATEST}: ' || left({struct}.{field}, 60)"
        for field in fields
    )


def _not_an_id(field: str) -> str:
    """Ids are texts or numbers. Only a text that looks like another JSON type makes its record be read once more."""
    return (
        f"WHEN ({field}[1] IN ('{{', '[') OR {field} IN ('true', 'false')) "
        f"AND json_type(text, '$.{field}') IN ('OBJECT', 'ARRAY', 'BOOLEAN') "
        f"THEN '{field}: neither a text nor a number: ' || left({field}, 60)"
    )


_MISSING_FOR_TYPE = "\n".join(
    f"WHEN event_type = '{event_type}' AND coalesce({field}, '') = '' THEN '{field}: missing, {event_type} needs it'"
    for event_type, fields in REQUIRED_FIELDS.items()
    for field in fields
)

_NOT_AN_ID = "\n".join(_not_an_id(field) for field in ("event_id", "event_type", *_IDS))

_SQL = f"""
WITH decoded AS (
    SELECT "partition", "offset", value IS NULL AS tombstone, octet_length(value) = 0 AS empty, try(decode(value)) AS text
    FROM batch
),
typed AS (
    SELECT *, CASE WHEN json_valid(text) THEN json_type(text) END AS json_type,
        regexp_matches(text, '{_LENIENT}', 'i') OR CASE WHEN strlen(text) > {2 * _BRACKETS}
            THEN strlen(text) - strlen(translate(text, '[{{', '')) > {_BRACKETS} ELSE false END AS lenient
    FROM decoded
),
fields AS (
    SELECT * EXCLUDE (document), unnest(document)
    FROM (SELECT *, CASE WHEN json_type = 'OBJECT' THEN json_transform(text, '{_STRUCTURE}') END AS document FROM typed)
),
valued AS (
    SELECT * EXCLUDE (timestamp, value, properties),
        timestamp AS timestamp_text, value AS value_text,
        CASE WHEN regexp_full_match(timestamp, '{_NUMBER}') THEN
            try_cast(CASE WHEN abs(try_cast(timestamp AS DOUBLE)) < 1e11 THEN try_cast(timestamp AS DOUBLE) * 1e6
                          WHEN abs(try_cast(timestamp AS DOUBLE)) < 1e14 THEN try_cast(timestamp AS DOUBLE) * 1e3
                          ELSE try_cast(timestamp AS DOUBLE) END AS BIGINT)
        WHEN isfinite(try_cast(timestamp AS TIMESTAMPTZ)) THEN epoch_us(try_cast(timestamp AS TIMESTAMPTZ)) END AS happened,
        {_number("value")} AS number,
        nullif(properties::VARCHAR, 'null') AS properties,
        CASE WHEN event_type = '{METRIC_TOTAL}' THEN json_transform(properties, '{_TOTAL}') END AS total,
        CASE WHEN event_type IN {EXPERIMENT_LIFECYCLE} THEN json_transform(properties, '{_DEFINITION}') END AS definition
    FROM fields
),
counted AS (
    SELECT *, {_number("total.n")} AS n, {_number("total.mean")} AS mean, {_number("total.variance")} AS variance FROM valued
)
SELECT "partition", "offset", event_id, event_type, {", ".join(f"nullif({field}, '') AS {field}" for field in _IDS)}, happened AS timestamp, number AS value, properties,
    CASE WHEN lenient THEN text END AS suspect,
    CASE WHEN tombstone THEN 'tombstone'
         WHEN empty THEN 'parse'
         WHEN text IS NULL THEN 'decode'
         WHEN json_type IS DISTINCT FROM 'OBJECT' THEN 'parse'
         ELSE 'validate' END AS stage,
    CASE WHEN tombstone THEN 'no value'
         WHEN empty THEN 'value: empty'
         WHEN text IS NULL THEN 'value: not UTF-8'
         WHEN json_type IS NULL THEN 'value: not JSON'
         WHEN json_type <> 'OBJECT' THEN 'value: JSON ' || lower(json_type) || ', not an object'
         WHEN coalesce(event_id, '') = '' THEN 'event_id: missing'
         WHEN coalesce(event_type, '') = '' THEN 'event_type: missing'
         WHEN coalesce(timestamp_text, '') = '' THEN 'timestamp: missing'
         WHEN happened IS NULL THEN 'timestamp: neither ISO 8601 nor epoch seconds, milliseconds or microseconds: ' || left(timestamp_text, 60)
         WHEN happened < epoch_us(TIMESTAMP '{EARLIEST}') OR happened >= epoch_us(TIMESTAMP '{LATEST}') THEN 'timestamp: not between {EARLIEST} and {LATEST}: ' || left(timestamp_text, 60)
         WHEN value_text IS NOT NULL AND number IS NULL THEN 'value: not a finite number: ' || left(value_text, 60)
         WHEN properties IS NOT NULL AND left(properties, 1) <> '{{' THEN 'properties: not an object'
         {_NOT_AN_ID}
         {_MISSING_FOR_TYPE}
         WHEN total.kind NOT IN ('proportion', 'mean') THEN 'properties.kind: neither proportion nor mean: ' || left(total.kind, 60)
         WHEN event_type = '{METRIC_TOTAL}' AND coalesce(total.metric, '') = '' THEN 'properties.metric: missing'
         WHEN event_type = '{METRIC_TOTAL}' AND NOT coalesce(n >= 0 AND n = floor(n) AND n < 9e15, false) THEN 'properties.n: not a count'
         WHEN event_type = '{METRIC_TOTAL}' AND mean IS NULL THEN 'properties.mean: not a finite number'
         WHEN total.kind = 'proportion' AND mean NOT BETWEEN 0 AND 1 THEN 'properties.mean: not between 0 and 1, as a proportion is'
         WHEN total.variance IS NOT NULL AND NOT coalesce(variance >= 0, false) THEN 'properties.variance: not a non-negative number'
         {_not_a_time("total", "period_start", "period_end")}
         {_not_a_time("definition", "started_at", "ended_at", "created_at")}
         WHEN json_type(definition.variants) NOT IN ('ARRAY', 'NULL') THEN 'properties.variants: not a list'
         WHEN len(list_filter(json_transform(definition.variants, '[{{"variant_id":"VARCHAR"}}]'), lambda v: coalesce(v.variant_id, '') = '')) > 0
         THEN 'properties.variants: each needs a variant_id'
    END AS error
FROM counted
"""


class EventParser:
    """Turns batches of records into events. Not thread-safe: one parser a thread."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"enable_external_access": "false"})
        self._connection.execute("SET TimeZone = 'UTC'")

    def parse(self, batch: RecordBatch) -> ParsedBatch:
        """Parse and validate each record of a batch. Never raises for what a record holds.

        Ids may be numbers; an empty optional one is null. Of a key that is repeated in an object the first counts, and
        keys that are not of the envelope are left out. Times are kept to the microsecond; without a zone they are UTC.
        """
        self._connection.register("batch", batch.frame.select("partition", "offset", "value").to_arrow())
        parsed = pl.DataFrame(self._connection.sql(_SQL).to_arrow_table())
        self._connection.unregister("batch")
        parsed = _judge_strictly(parsed).sort("partition", "offset")
        events = parsed.filter(pl.col("error").is_null()).select(
            **{
                name: pl.lit(batch.topic) if name == "topic" else pl.col(name).cast(dtype)
                for name, dtype in EVENT_SCHEMA.items()
            }
        )
        rejects = parsed.filter(pl.col("error").is_not_null(), pl.col("stage") != "tombstone")
        return ParsedBatch(
            events=events,
            rejects=rejects.select(pl.col(name).cast(dtype) for name, dtype in REJECT_SCHEMA.items()),
            tombstones=parsed.select((pl.col("stage") == "tombstone").sum()).item(),
        )


def _judge_strictly(parsed: pl.DataFrame) -> pl.DataFrame:
    """Reject what only a lenient parser takes for JSON. Looks at the few rows that are marked as suspect."""
    suspects = parsed.filter(pl.col("suspect").is_not_null(), pl.col("error").is_null())
    verdicts = suspects.select("partition", "offset", reason=pl.col("suspect").map_elements(_strict_error, pl.String))
    return parsed.join(verdicts, on=["partition", "offset"], how="left").with_columns(
        stage=pl.when(pl.col("reason").is_not_null()).then(pl.lit("parse")).otherwise("stage"),
        error=pl.coalesce("error", "reason"),
    )


def _strict_error(text: str) -> str | None:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return f"value: not JSON: {error}"
    return None
