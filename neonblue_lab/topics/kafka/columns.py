"""Records of a Kafka topic as columns."""

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from neonblue_lab.events.records import HEADERS, RECORD_SCHEMA, TIMESTAMP

Header = tuple[str, bytes | None]
_ARROW_HEADERS = pa.large_list(pa.struct([("key", pa.large_string()), ("value", pa.large_binary())]))


def record_columns(
    topic: str,
    partitions: int | Sequence[int],
    offsets: Sequence[int],
    milliseconds: Sequence[int],
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
    headers: Sequence[Sequence[Header] | None],
) -> pl.DataFrame:
    """Columns of RECORD_SCHEMA; a timestamp below zero (the record has none) is null, and so are no headers."""
    count = len(offsets)
    moments = pl.Series(milliseconds, dtype=pl.Int64)
    return pl.DataFrame(
        {
            "topic": pl.repeat(topic, count, eager=True),
            "partition": pl.repeat(partitions, count, dtype=pl.Int32, eager=True)
            if isinstance(partitions, int)
            else pl.Series(partitions, dtype=pl.Int32),
            "offset": pl.Series(offsets, dtype=pl.Int64),
            "timestamp": (moments.set(moments < 0, None) * 1000).cast(TIMESTAMP),
            "key": pl.Series(keys, dtype=pl.Binary),
            "value": pl.Series(values, dtype=pl.Binary),
            "headers": _header_column(headers),
        },
        schema=RECORD_SCHEMA,
    )


def _header_column(headers: Sequence[Sequence[Header] | None]) -> pl.Series:
    if any(headers):
        return pl.Series(pl.from_arrow(pa.array([pairs or None for pairs in headers], _ARROW_HEADERS)))
    return pl.Series([None], dtype=HEADERS).new_from_index(0, len(headers))
