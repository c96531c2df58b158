"""The lake's tables: their columns, and how each is laid out and read."""

from dataclasses import dataclass

import polars as pl

from neonblue_lab.events.changes import CHANGE_SCHEMA
from neonblue_lab.events.enrichment import ENRICHMENT_SCHEMA
from neonblue_lab.events.records import RECORD_SCHEMA, TIMESTAMP
from neonblue_lab.events.schema import EVENT_SCHEMA

VARIANTS = pl.List(
    pl.Struct({"variant_id": pl.String, "name": pl.String, "description": pl.String, "allocation": pl.Float64})
)


@dataclass(frozen=True)
class Table:
    """Columns of a table as Polars types, and the column by which its files are partitioned."""

    schema: dict[str, pl.DataType]
    partition_by: str | None = None


RAW = Table({**RECORD_SCHEMA, "ingested_at": TIMESTAMP, "ingest_date": pl.Date()}, partition_by="ingest_date")
"""Layout of each `raw/<topic>`: every record byte for byte."""

DERIVED: dict[str, Table] = {
    "events": Table({**EVENT_SCHEMA, "event_date": pl.Date(), **ENRICHMENT_SCHEMA}, partition_by="event_date"),
    "experiments": Table(
        {
            "experiment_id": pl.String(),
            "name": pl.String(),
            "hypothesis": pl.String(),
            "experiment_type": pl.String(),
            "industry": pl.String(),
            "user_segment": pl.String(),
            "status": pl.String(),
            "variants": VARIANTS,
            "primary_metric": pl.String(),
            "started_at": TIMESTAMP,
            "ended_at": TIMESTAMP,
            "created_at": TIMESTAMP,
            "derived": pl.List(pl.String),
            "updated_at": TIMESTAMP,
        }
    ),
    "assignments": Table(
        {
            "experiment_id": pl.String(),
            "user_id": pl.String(),
            "variant_id": pl.String(),
            "first_exposed_at": TIMESTAMP,
        }
    ),
    "metric_totals": Table(
        {
            "experiment_id": pl.String(),
            "variant_id": pl.String(),
            "metric": pl.String(),
            "kind": pl.String(),
            "segment": pl.String(),
            "period_start": TIMESTAMP,
            "period_end": TIMESTAMP,
            "n": pl.Int64(),
            "mean": pl.Float64(),
            "variance": pl.Float64(),
            "source": pl.String(),
            "as_of": TIMESTAMP,
            "event_id": pl.String(),
        }
    ),
    "lifecycle": Table(EVENT_SCHEMA),
    "changes": Table(CHANGE_SCHEMA, partition_by="source_table"),
    "documents": Table(
        {
            "document_id": pl.String(),
            "chunk_id": pl.String(),
            "position": pl.Int32(),
            "experiment_id": pl.String(),
            "kind": pl.String(),
            "title": pl.String(),
            "section": pl.String(),
            "text": pl.String(),
            "source": pl.String(),
            "updated_at": TIMESTAMP,
            "event_id": pl.String(),
        }
    ),
    "dead_letters": Table(
        {
            **RECORD_SCHEMA,
            "stage": pl.String(),
            "error": pl.String(),
            "failed_at": TIMESTAMP,
        }
    ),
    "revived_letters": Table(
        {
            "topic": pl.String(),
            "partition": pl.Int32(),
            "offset": pl.Int64(),
            "round": pl.Int64(),
            "revived_at": TIMESTAMP,
        }
    ),
}
"""Tables derived from the raw ones by replay."""

OWN: dict[str, Table] = {
    "gaps": Table(
        {
            "topic": pl.String(),
            "partition": pl.Int32(),
            "first": pl.Int64(),
            "next": pl.Int64(),
            "accepted_at": TIMESTAMP,
        }
    ),
    "corrections": Table(
        {
            "correction_id": pl.String(),
            "scope": pl.String(),
            "event_id": pl.String(),
            "event_type": pl.String(),
            "label": pl.String(),
            "value": pl.String(),
            "author": pl.String(),
            "note": pl.String(),
            "made_at": TIMESTAMP,
        }
    ),
    "vectors": Table({"embedder": pl.String(), "text_sha256": pl.Binary(), "vector": pl.List(pl.Float32)}),
}
"""Tables that the lab writes itself, append-only."""

TABLES = DERIVED | OWN

QUERIED = DERIVED | {"corrections": OWN["corrections"]}
"""Tables that a warehouse pins and shows."""


def raw_table(topic: str) -> str:
    """The name of the table that keeps a topic's records."""
    return f"raw/{topic}"


def layout(name: str) -> Table:
    """The layout of a table by its name."""
    return RAW if name.startswith("raw/") else TABLES[name]
