"""Event rows that Debezium read from a table (an outbox): taken out of their change events by columns.

A change event has `op`, `before`, `after` and `source`, bare or as the `payload` beside its `schema`. What was inserted,
updated or read by a snapshot is an event: the fields of `after`. A column of type json or jsonb arrives as text, so there
`properties` may be an object or the text of one.
"""

import duckdb
import polars as pl

from neonblue_lab.events.strictness import flaws

# Every change event holds it, and few events do.
_HINT = '"op"'

_CHANGE = '{"op":"VARCHAR","source":"JSON","after":"JSON"}'

_SQL = f"""
WITH opened AS (
    SELECT row, json_transform(document, '{{"event_id":"VARCHAR","payload":{_CHANGE}}}') AS framed,
        json_transform(document, '{_CHANGE}') AS bare
    FROM (SELECT row, try_cast(text AS JSON) AS document FROM hinted)
),
changes AS (
    SELECT row, unnest(CASE WHEN framed.payload.op IS NULL THEN bare ELSE framed.payload END)
    FROM opened WHERE framed.event_id IS NULL
),
texts AS (
    SELECT *, CASE WHEN json_type(after, '$.properties') = 'VARCHAR' THEN json_extract_string(after, '$.properties') END AS stated
    FROM changes WHERE op IS NOT NULL AND json_type(source) = 'OBJECT'
)
SELECT row, op, after, CASE WHEN json_type(try_cast(stated AS JSON)) = 'OBJECT' THEN stated END AS stated,
    CASE WHEN op NOT IN ('c', 'u', 'r', 'd') THEN 'op: neither c, u, r nor d, so that no event is in it: ' || left(op, 60)
         WHEN op <> 'd' AND json_type(after) IS DISTINCT FROM 'OBJECT' THEN 'after: not an object'
    END AS error
FROM texts
"""


def unwrap(connection: duckdb.DuckDBPyConnection, texts: pl.Series) -> pl.DataFrame:
    """Take the events out of the change events among JSON texts.

    Args:
        connection: where it is computed.
        texts: of type String; null or not JSON is no change event.

    Returns:
        As many rows as `texts`: `text`, the JSON of the event, which is the text itself unless it is a change event; `stated`,
        the JSON of its properties where it holds them as a text; `flaw`, why no event is in a change event, or null; `gone`,
        whether a change event says that its row was deleted, which undoes no event.
    """
    whole = texts.to_frame("text").with_row_index("row")
    hinted = whole.filter(pl.col("text").str.contains(_HINT, literal=True))
    if hinted.is_empty():
        nothing = pl.lit(None, pl.String)
        return whole.select("text", stated=nothing, flaw=nothing, gone=pl.lit(value=False))
    connection.register("hinted", hinted.to_arrow(compat_level=pl.CompatLevel.newest()))
    changes = pl.DataFrame(connection.sql(_SQL).to_arrow_table()).with_columns(pl.col("row").cast(pl.get_index_type()))
    connection.unregister("hinted")
    changes = changes.with_columns(flaw=pl.coalesce("error", flaws(changes["stated"])), gone=pl.col("op") == "d")
    is_change = pl.col("gone").is_not_null()
    return whole.join(changes, on="row", how="left", maintain_order="left").select(
        "stated",
        "flaw",
        text=pl.when(is_change).then(pl.when(pl.col("flaw").is_null()).then("after")).otherwise("text"),
        gone=pl.col("gone").fill_null(value=False),
    )
