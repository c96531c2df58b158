"""Change events of the experiment registry's tables, as Debezium's PostgreSQL connector writes them, a batch at a time.

The registry's tables, each with a primary key; columns beyond these are kept in the row's JSON:

- `experiments`: experiment_id, name, hypothesis, experiment_type, industry, user_segment, status, primary_metric,
  started_at, ended_at, created_at
- `variants`: experiment_id, variant_id, name, description, allocation, position
- `assignments`: experiment_id, user_id, variant_id, assigned_at
- `users`: user_id, created_at, and whatever else is known of a user

What the connector has to be set to:

- JSON converters for keys and values; `schemas.enable` may be on or off, and `time.precision.mode` anything.
- `decimal.handling.mode=string` (or `double`). By default a numeric is base64 of its digits, which no JSON reader can tell
  from a text.
- `skipped.operations=none`: by default truncates are not sent, and the rows would stay.
- Keys as they come: Debezium's default. A delete needs only the key: any REPLICA IDENTITY will do. With one that is not FULL an update does not
  carry large values that it left alone; they are taken from the row as it was before (see `neonblue_lab.lake.history`).

What can be told from changes has limits. Positions are those of one server's log: after it is replaced by a server whose log
starts anew, replay into a new data folder. A snapshot has to read whole tables, as rows that it does not show are gone; of an
empty table it shows nothing at all, and what was deleted before it, and not sent, stays. Give the topics of small tables one
partition: in one where a snapshot has no record, a row that was being inserted while it was taken is thought to be older.
"""

from dataclasses import dataclass

import duckdb
import orjson
import polars as pl

from neonblue_lab.events.records import TIMESTAMP, RecordBatch
from neonblue_lab.events.schema import EARLIEST, LATEST, REJECT_SCHEMA
from neonblue_lab.events.strictness import flaws

CHANGE_SCHEMA: dict[str, pl.DataType] = {
    "source_table": pl.String(),
    "op": pl.String(),
    "key": pl.String(),
    "row": pl.String(),
    "position": pl.Int64(),
    "committed_at": TIMESTAMP,
    "snapshot": pl.String(),
    "topic": pl.String(),
    "partition": pl.Int32(),
    "offset": pl.Int64(),
}
"""One change: c (created), u (updated), d (deleted) or r (read by a snapshot) of one row, or t (truncated) of the table.

`key` is the JSON of the primary key, null for t. `row` is the JSON of the row afterwards; of a deleted one, what the change
says of it before, which may be no more than the key; null where that is nothing. `position` is the change's place in the
server's write-ahead log (its LSN), for r the one at which the snapshot was taken. `committed_at` is the time of the commit.
`snapshot` is what Debezium says of the record's part in a snapshot, such as first, true, last_in_data_collection, last or
incremental; null where it has none.
"""

SOURCE_TABLES: dict[str, tuple[str, ...]] = {
    "experiments": ("experiment_id",),
    "variants": ("experiment_id", "variant_id"),
    "assignments": ("experiment_id", "user_id", "variant_id"),
    "users": ("user_id",),
}
"""Table -> the columns without which its rows mean nothing."""


@dataclass(frozen=True)
class ParsedChanges:
    """What became of a batch: each record is in exactly one of these.

    Attributes:
        changes: columns of CHANGE_SCHEMA, by partition and offset; repeated changes are still there.
        rejects: columns of REJECT_SCHEMA, one row for each record that is no change event.
        tombstones: the number of records without a value, which follow deletes for compaction's sake.
        messages: the number of logical decoding messages (op m), which change no row.
    """

    changes: pl.DataFrame
    rejects: pl.DataFrame
    tombstones: int
    messages: int


def is_change_topic(topic: str) -> bool:
    """Whether a topic carries changes of one of the registry's tables, as `<prefix>.<schema>.<table>` does."""
    _, dot, table = topic.rpartition(".")
    return bool(dot) and table in SOURCE_TABLES


_CHANGE = {
    "op": "VARCHAR",
    "before": "JSON",
    "after": "JSON",
    "source": dict.fromkeys(("lsn", "snapshot", "ts_us", "ts_ms"), "VARCHAR"),
}
_ENVELOPE = orjson.dumps(_CHANGE | {"payload": _CHANGE}).decode()
_BARE = "{" + ", ".join(f"'{name}': envelope.{name}" for name in _CHANGE) + "}"

_NO_ENVELOPE = (
    "op: missing, so that this is no change event: Debezium writes them with before, after, op and source unless a "
    "transformation of its connector takes them apart"
)
_NO_KEY = "key: not a JSON object of the primary key: its table needs one, and its topic the JSON converter for keys"
_NO_POSITION = "source.lsn: not a position in a log of PostgreSQL"


def _sql(table: str) -> str:
    """The statement that parses a batch of changes to one table."""
    missing = "\n".join(
        f"WHEN op IN ('c', 'u', 'r') AND coalesce(json_extract_string(after, '$.{column}'), '') = '' "
        f"THEN 'after.{column}: missing, {table} needs it'"
        for column in SOURCE_TABLES[table]
    )
    return f"""
WITH decoded AS (
    SELECT "partition", "offset", value IS NULL AS tombstone, octet_length(value) = 0 AS empty,
        try(decode(value)) AS text, try(decode(key)) AS key_text
    FROM batch
),
typed AS (
    SELECT *, CASE WHEN json_valid(text) THEN json_type(text) END AS json_type,
        CASE WHEN json_valid(key_text) AND json_type(key_text) = 'OBJECT' THEN json(key_text) END AS key_json
    FROM decoded
),
opened AS (
    SELECT *, CASE WHEN json_type = 'OBJECT' THEN json_transform(text, '{_ENVELOPE}') END AS envelope FROM typed
),
parts AS (
    SELECT * EXCLUDE (envelope), unnest(CASE WHEN envelope.op IS NULL THEN envelope.payload ELSE {_BARE} END),
        CASE WHEN json_type(key_json, '$.schema') = 'OBJECT' AND json_type(key_json, '$.payload') = 'OBJECT'
            THEN json_extract(key_json, '$.payload') ELSE key_json END AS row_key
    FROM opened
),
placed AS (
    SELECT *, CASE WHEN regexp_full_match(source.lsn, '[0-9]+') THEN try_cast(source.lsn AS BIGINT) END AS position,
        coalesce(try_cast(source.ts_us AS BIGINT), try_cast(source.ts_ms AS BIGINT) * 1000) AS committed
    FROM parts
)
SELECT "partition", "offset", text, key_text, op, '{table}' AS source_table, position,
    CASE WHEN op <> 't' THEN row_key::VARCHAR END AS key,
    nullif(CASE op WHEN 'd' THEN before WHEN 't' THEN NULL ELSE after END::VARCHAR, 'null') AS row,
    CASE WHEN committed >= epoch_us(TIMESTAMP '{EARLIEST}') AND committed < epoch_us(TIMESTAMP '{LATEST}')
        THEN committed END AS committed_at,
    nullif(source.snapshot, 'false') AS snapshot,
    CASE WHEN tombstone THEN 'tombstone'
         WHEN empty THEN 'parse'
         WHEN text IS NULL THEN 'decode'
         WHEN json_type IS DISTINCT FROM 'OBJECT' THEN 'parse'
         WHEN op = 'm' THEN 'message'
         ELSE 'validate' END AS stage,
    CASE WHEN tombstone THEN 'no value'
         WHEN empty THEN 'value: empty'
         WHEN text IS NULL THEN 'value: not UTF-8'
         WHEN json_type IS NULL THEN 'value: not JSON'
         WHEN json_type <> 'OBJECT' THEN 'value: JSON ' || lower(json_type) || ', not an object'
         WHEN op IS NULL THEN '{_NO_ENVELOPE}'
         WHEN op = 'm' THEN 'a logical decoding message'
         WHEN op NOT IN ('c', 'u', 'd', 'r', 't') THEN 'op: neither c, u, d, r, t nor m: ' || left(op, 60)
         WHEN position IS NULL THEN '{_NO_POSITION}'
         WHEN op <> 't' AND row_key IS NULL THEN '{_NO_KEY}'
         WHEN op IN ('c', 'u', 'r') AND json_type(after) IS DISTINCT FROM 'OBJECT' THEN 'after: not an object'
         {missing}
    END AS error
FROM placed
"""


class ChangeParser:
    """Turns batches of records of change topics into changes. Not thread-safe: one parser a thread."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"enable_external_access": "false"})

    def parse(self, batch: RecordBatch) -> ParsedChanges:
        """Parse and validate each record of a batch of a topic that `is_change_topic`. Never raises for what a record holds."""
        self._connection.register("batch", batch.frame.select("partition", "offset", "key", "value").to_arrow())
        statement = _sql(batch.topic.rpartition(".")[2])
        parsed = pl.DataFrame(self._connection.sql(statement).to_arrow_table()).sort("partition", "offset")
        self._connection.unregister("batch")
        flaw = pl.coalesce(flaws(parsed["text"]), flaws(parsed["key_text"]).str.replace("value:", "key:", literal=True))
        parsed = parsed.with_columns(flaw=pl.when(pl.col("error").is_null()).then(flaw)).with_columns(
            stage=pl.when(pl.col("flaw").is_null()).then("stage").otherwise(pl.lit("parse")),
            error=pl.coalesce("error", "flaw"),
        )
        uneventful = pl.col("stage").is_in(["tombstone", "message"])
        rejects = parsed.filter(pl.col("error").is_not_null(), ~uneventful)
        changes = parsed.filter(pl.col("error").is_null()).with_columns(
            pl.from_epoch("committed_at", time_unit="us").dt.replace_time_zone("UTC"), topic=pl.lit(batch.topic)
        )
        return ParsedChanges(
            changes=changes.select(pl.col(name).cast(dtype) for name, dtype in CHANGE_SCHEMA.items()),
            rejects=rejects.select(pl.col(name).cast(dtype) for name, dtype in REJECT_SCHEMA.items()),
            tombstones=parsed.select((pl.col("stage") == "tombstone").sum()).item(),
            messages=parsed.select((pl.col("stage") == "message").sum()).item(),
        )
