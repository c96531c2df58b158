"""Records around given values, and events as JSON, for tests of what becomes of a payload."""

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from neonblue_lab.events.records import RECORD_SCHEMA, RecordBatch


def batch(values: Sequence[bytes | None], partitions: Sequence[int] | None = None) -> RecordBatch:
    """Records with offsets 0, 1, ... in partition 0 unless partitions are given."""
    n = len(values)
    frame = pl.DataFrame(
        {
            "topic": ["t"] * n,
            "partition": partitions or [0] * n,
            "offset": list(range(n)),
            "timestamp": [None] * n,
            "key": [None] * n,
            "value": list(values),
            "headers": [None] * n,
        },
        schema=RECORD_SCHEMA,
    )
    return RecordBatch("t", frame)


def document(**fields: Any) -> bytes:
    """A good event, with further or other fields."""
    return json.dumps({"event_id": "e", "event_type": "x", "timestamp": "2026-03-02T10:00:00Z"} | fields).encode()


def with_json(text: bytes) -> bytes:
    """A good event with further JSON text before its last bracket."""
    return document()[:-1] + b", " + text + b"}"
