"""Events that carry documents to rows of `documents`: one for each chunk."""

from collections.abc import Iterator
from typing import Any

import orjson
import polars as pl

from neonblue_lab.events.documents import Chunk, chunk, chunk_ids
from neonblue_lab.events.schema import DOCUMENT
from neonblue_lab.lake.derive import with_properties
from neonblue_lab.lake.tables import DERIVED

_SAID = orjson.dumps(dict.fromkeys(("document_id", "kind", "title", "source", "format", "text"), "VARCHAR")).decode()


def document_rows(events: pl.DataFrame) -> pl.DataFrame:
    """Rows for `documents`: the chunks of each document that an event of the batch carries, one event's after the other's.

    A document without words is one empty chunk, so that it takes the place of what it said before.

    Args:
        events: valid events; those that are no documents count for nothing.
    """
    schema = DERIVED["documents"].schema
    carrying = events.filter(pl.col("event_type") == DOCUMENT)
    if carrying.is_empty():
        return pl.DataFrame(schema=schema)
    documents = with_properties(carrying, _SAID).with_columns(updated_at="timestamp")
    rows = [row for document in documents.iter_rows(named=True) for row in _rows(document)]
    return pl.DataFrame([{name: row[name] for name in schema} for row in rows], schema=schema)


def _rows(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    chunks = chunk(document["text"], document["format"]) or [Chunk("", "")]
    for position, (id_, part) in enumerate(zip(chunk_ids(document["document_id"], chunks), chunks, strict=True)):
        yield document | {"chunk_id": id_, "position": position, "section": part.section, "text": part.text}
