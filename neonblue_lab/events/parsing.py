"""Records to events, a batch at a time by columns: what parses and validates is an event, the rest says why it is not.

DuckDB's JSON functions do the work because they judge each record on its own: one broken record neither fails its batch
nor sends the batch down a slow path. One thread does it all: to parse batches at once, give each thread its parser.
"""

from dataclasses import dataclass

import duckdb
import orjson
import polars as pl

from neonblue_lab.events.enrichment import ARRIVAL_SCHEMA
from neonblue_lab.events.outbox import unwrap
from neonblue_lab.events.records import TIMESTAMP, RecordBatch
from neonblue_lab.events.schema import EVENT_SCHEMA, REJECT_SCHEMA
from neonblue_lab.events.strictness import flaws
from neonblue_lab.events.validation import DEFINITION, ERROR, IDS, TOTAL, number


@dataclass(frozen=True)
class ParsedBatch:
    """What became of a batch. Each record is counted in one of the three.

    Attributes:
        events: columns of EVENT_SCHEMA, ordered by partition and offset; repeated event ids are still there.
        arrivals: columns of ARRIVAL_SCHEMA, a row for each of `events`: how it came.
        rejects: columns of REJECT_SCHEMA in the same order, one row for each record that is no event.
        tombstones: the number of records that say that something is gone: those without a value, and change events of
            deleted rows. What happened stays, so they undo nothing.
    """

    events: pl.DataFrame
    arrivals: pl.DataFrame
    rejects: pl.DataFrame
    tombstones: int


SOURCE_HEADERS = ("source_system", "source", "ce_source")
"""Headers of a record that name the system which sent it; the last is CloudEvents'."""

_FRAMED = "value: framed for a schema registry (its first byte is 0), which needs a decoder"

_ENVELOPE = (*IDS, "timestamp", "value", "properties")
_STRUCTURE = orjson.dumps(dict.fromkeys(_ENVELOPE, "VARCHAR") | {"properties": "JSON"}).decode()
_FIELDS_HELD = " + ".join(f"({field} IS NOT NULL)::BIGINT" for field in _ENVELOPE)
_WITHOUT_ENVELOPE = orjson.dumps(dict.fromkeys(_ENVELOPE)).decode()
_WITHOUT_PROPERTIES = "'{' || array_to_string([to_json(key) || ':null' FOR key IN json_keys(properties)], ',') || '}'"

# An object has more keys than the envelope holds fields where keys are null, repeated or unknown: only there are they looked
# at one by one. A merge patch of nulls takes keys out of an object.
_SQL = f"""
WITH documents AS (
    SELECT *, CASE WHEN json_valid(text) THEN text END AS document FROM readings
),
fields AS (
    SELECT * EXCLUDE (envelope), unnest(envelope)
    FROM (SELECT *, json_keys(document) AS keys, json_transform(document, '{_STRUCTURE}') AS envelope FROM documents)
),
spelt AS (
    SELECT * REPLACE (
            {", ".join(f"nullif({field}, '') AS {field}" for field in IDS)},
            CASE WHEN stated IS NULL THEN properties ELSE json(stated) END AS properties),
        CASE WHEN len(keys) > {_FIELDS_HELD} THEN len([key FOR key IN keys IF key NOT IN {_ENVELOPE}]) END AS unknown_keys,
        try_cast(timestamp AS TIMESTAMPTZ) AS moment,
        {number("value")} AS number
    FROM fields
),
known AS (
    SELECT *,
        CASE WHEN unknown_keys > 0 THEN json_merge_patch(document, '{_WITHOUT_ENVELOPE}') END AS unknown,
        CASE WHEN moment IS NULL THEN {number("timestamp")} END AS epoch
    FROM spelt
),
told_apart AS (
    SELECT * REPLACE (
        CASE WHEN unknown IS NOT NULL AND list_has_any(json_keys(unknown), json_keys(properties))
             THEN json_merge_patch(unknown, {_WITHOUT_PROPERTIES}) ELSE unknown END AS unknown)
    FROM known
),
valued AS (
    SELECT * REPLACE (
            CASE WHEN unknown IS NULL OR unknown = '{{}}' OR NOT starts_with(properties, '{{') THEN properties
                 WHEN coalesce(properties, '{{}}') = '{{}}' THEN unknown
                 ELSE left(properties, -1) || ',' || substr(unknown, 2) END AS properties),
        CASE WHEN isfinite(moment) THEN epoch_us(moment)
             WHEN abs(epoch) < 1e11 THEN try_cast(epoch * 1e6 AS BIGINT)
             WHEN abs(epoch) < 1e14 THEN try_cast(epoch * 1e3 AS BIGINT)
             ELSE try_cast(epoch AS BIGINT) END AS happened
    FROM told_apart
),
detailed AS (
    SELECT *, {TOTAL} AS total, {DEFINITION} AS definition FROM valued
)
SELECT "partition", "offset", {", ".join(IDS)}, happened AS timestamp, number AS value, properties,
    arrived_at, sent_by, len(keys)::INTEGER AS field_count,
    (coalesce(unknown_keys, 0) + (epoch IS NOT NULL)::INTEGER)::INTEGER AS repaired_fields,
    CASE WHEN len(keys) > 0 THEN 'validate'
         WHEN stage IS NOT NULL THEN stage
         WHEN starts_with(text, chr(0)) THEN 'decode'
         WHEN json_type(document) = 'OBJECT' THEN 'validate'
         ELSE 'parse' END AS stage,
    CASE WHEN len(keys) > 0 THEN {ERROR}
         WHEN flaw IS NOT NULL THEN flaw
         WHEN text = '' THEN 'value: empty'
         WHEN starts_with(text, chr(0)) THEN '{_FRAMED}'
         WHEN document IS NULL THEN 'value: not JSON'
         WHEN json_type(document) = 'OBJECT' THEN 'event_id: missing'
         ELSE 'value: JSON ' || lower(json_type(document)) || ', not an object' END AS error
FROM detailed
"""


class EventParser:
    """Turns batches of records into events. Not thread-safe: one parser a thread."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"enable_external_access": "false", "threads": 1})
        self._connection.execute(
            "SET TimeZone = 'UTC'; SET produce_arrow_string_view = true; SET arrow_output_version = '1.4'"
        )
        self._readings = _Readings()
        self._connection.register("readings", self._readings)
        # Prepared, as planning takes longer than judging a few thousand records.
        self._connection.execute(f"PREPARE judge AS {_SQL}")

    def parse(self, batch: RecordBatch) -> ParsedBatch:
        """Parse and validate each record of a batch. Never raises for what a record holds.

        A record is the UTF-8 text of a strict JSON object, or a Debezium change event of a row with the same fields. Ids may
        be numbers and have up to LONGEST_ID bytes; an empty optional one is null. Fields that the envelope does not know are
        added to `properties` as they are, whose own keys win; of a key that is repeated in an object the first counts. Times
        are ISO 8601 (UTC unless they have a zone; a date is its midnight) or seconds, milliseconds or microseconds since
        1970, as numbers or texts; they are kept to the microsecond. No text may hold NUL, which not every store can keep.
        """
        records = batch.frame.drop_nulls("value")
        parsed = _in_order(self._judge(self._read(records)))
        is_event = pl.col("error").is_null()
        events = parsed.filter(is_event).with_columns(topic=pl.lit(batch.topic))
        return ParsedBatch(
            events=events.select(pl.col(name).cast(dtype) for name, dtype in EVENT_SCHEMA.items()),
            arrivals=events.select(pl.col(name).cast(dtype) for name, dtype in ARRIVAL_SCHEMA.items()),
            rejects=parsed.filter(~is_event).select(pl.col(name).cast(dtype) for name, dtype in REJECT_SCHEMA.items()),
            tombstones=batch.frame.height - parsed.height,
        )

    def _read(self, records: pl.DataFrame) -> pl.DataFrame:
        """The texts to judge: a row for each record but deletions, which are left out.

        Columns: partition, offset; arrived_at, sent_by; `text`, the JSON of an event, null where there is none; `stated`, the JSON of its
        properties where it is not in `text`; `stage` and `flaw`: where and why there is no text.
        """
        decoded = _decode(records["value"])
        unwrapped = unwrap(self._connection, decoded["text"])
        return (
            records.select("partition", "offset", arrived_at="timestamp", sent_by=_senders(records["headers"]))
            .hstack(unwrapped.select("text", "stated", "gone"))
            .with_columns(
                stage=pl.when(unwrapped["flaw"].is_null()).then(decoded["stage"]).otherwise(pl.lit("validate")),
                flaw=pl.coalesce(decoded["flaw"], unwrapped["flaw"]),
            )
            .filter(~pl.col("gone"))
            .drop("gone")
        )

    def _judge(self, readings: pl.DataFrame) -> pl.DataFrame:
        """The columns of events, and `stage` and `error` of what is none."""
        self._readings.frame = readings
        try:
            return pl.DataFrame(self._connection.sql("EXECUTE judge").to_arrow_table())
        finally:
            self._readings.frame = readings.clear()


class _Readings:
    """What the prepared statement reads: the frame of the moment, where a frame itself would be bound for good."""

    def __init__(self) -> None:
        texts = dict.fromkeys(("sent_by", "text", "stated", "stage", "flaw"), pl.String())
        places = {"partition": pl.Int32(), "offset": pl.Int64(), "arrived_at": TIMESTAMP}
        self.frame = pl.DataFrame(schema={**places, **texts})

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.frame.__arrow_c_stream__(requested_schema)


def _decode(values: pl.Series) -> pl.DataFrame:
    """The JSON texts that bytes hold: `text`, or null and why: `stage` and `flaw`.

    A decoder for what a schema registry describes (Avro, Protobuf, JSON Schema) belongs in front of this: from the bytes of
    a value, told by topic or by a leading byte 0 and the id of a schema, to the text of a JSON object.
    """
    text = _as_utf8(values)
    undecoded = pl.lit(None, pl.String)
    if text.null_count() > 0:
        reason = pl.when(values.bin.starts_with(b"\0")).then(pl.lit(_FRAMED)).otherwise(pl.lit("value: not UTF-8"))
        undecoded = pl.when(text.is_null()).then(reason)
    unstrict = flaws(text)
    return pl.select(
        text=pl.when(unstrict.is_null()).then(text),
        stage=pl.when(text.is_null()).then(pl.lit("decode")).when(unstrict.is_not_null()).then(pl.lit("parse")),
        flaw=pl.coalesce(undecoded, unstrict),
    )


def _as_utf8(values: pl.Series) -> pl.Series:
    """Bytes as text, null where they are not UTF-8. Only a batch that holds such bytes is gone through value by value."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:
        return values.map_elements(_as_text, pl.String)


def _as_text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _senders(headers: pl.Series) -> pl.Series:
    """What the first of SOURCE_HEADERS in each list of headers says; null where none is there, or where it says nothing that a
    store can keep: no UTF-8, or NUL."""
    if headers.list.len().sum() == 0:
        return pl.repeat(None, headers.len(), dtype=pl.String, eager=True)
    names = pl.element().struct.field("key").is_in(list(SOURCE_HEADERS))
    named = pl.element().filter(names).struct.field("value").first()
    said = _as_utf8(headers.list.eval(named).list.first())
    kept = (pl.col("said") != "") & ~pl.col("said").str.contains("\0", literal=True)
    return said.to_frame("said").select(pl.when(kept).then("said")).to_series()


def _in_order(records: pl.DataFrame) -> pl.DataFrame:
    """Records by partition and offset, however a batch interleaves partitions: offsets ascend within each as it is."""
    return records if records["partition"].is_sorted() else records.sort("partition", maintain_order=True)
