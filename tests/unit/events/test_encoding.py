"""Encoded events are the JSON that a parser reads back, without the fields that are null."""

from datetime import UTC, datetime

import orjson
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from neonblue_lab.events.encoding import RecordEncoder, encode_values, partition_of
from neonblue_lab.events.records import RECORD_SCHEMA, TIMESTAMP, USER_EVENTS

TRICKY = st.text(max_size=12) | st.sampled_from(
    ['","x":null', ',"page":null,', '{"page":null}', ":null", '\\"a\\":null', "\0\n"]
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            TRICKY,
            st.none() | TRICKY,
            st.none() | NUMBERS,
            st.none() | TRICKY,
            st.none() | st.integers(-(2**60), 2**60),
            st.none() | st.lists(TRICKY, max_size=3),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_every_field_that_is_not_null_is_read_back_exactly(
    rows: list[tuple[str, str | None, float | None, str | None, int | None, list[str] | None]],
) -> None:
    at = datetime(2026, 3, 2, 10, tzinfo=UTC)
    events = pl.DataFrame(
        rows,
        schema={
            "event_id": pl.String,
            "user_id": pl.String,
            "value": pl.Float64,
            "page": pl.String,
            "n": pl.Int64,
            "tags": pl.List(pl.String),
        },
        orient="row",
    ).with_columns(timestamp=pl.lit(at).cast(TIMESTAMP), properties=pl.struct("page", "n", "tags"))
    for row, value in zip(rows, encode_values(events).to_list(), strict=True):
        event_id, user_id, number, page, n, tags = row
        properties = {"page": page, "n": n, "tags": tags}
        expected = {
            "event_id": event_id,
            "timestamp": "2026-03-02T10:00:00.000000Z",
            "user_id": user_id,
            "value": number,
            "properties": {name: field for name, field in properties.items() if field is not None},
        }
        assert orjson.loads(value) == {name: field for name, field in expected.items() if field is not None}


def test_partitions_follow_crc32_as_other_clients_compute_it() -> None:
    # CRC-32 (IEEE 802.3) of "123456789" is 0xCBF43926, the check value of its specification.
    assert partition_of(pl.Series([b"123456789"]), 7).to_list() == [0xCBF43926 % 7]
    assert partition_of(pl.Series([b"a", b"b"]), 1).to_list() == [0, 0]


def test_offsets_go_on_from_batch_to_batch() -> None:
    encoder = RecordEncoder(USER_EVENTS)
    events = pl.DataFrame({"event_id": [str(n) for n in range(50)], "user_id": [f"u{n % 9}" for n in range(50)]})
    events = events.with_columns(timestamp=pl.lit(datetime(2026, 1, 1, tzinfo=UTC)).cast(TIMESTAMP))
    frame = pl.concat([encoder.encode(part).frame for part in (events[:20], events[20:])])
    assert dict(frame.schema) == RECORD_SCHEMA
    assert frame["value"].to_list() == encode_values(events).to_list()
    for (_,), own in frame.group_by("partition"):
        assert own["offset"].to_list() == list(range(own.height))
    assert frame.group_by("key").agg(pl.col("partition").n_unique())["partition"].to_list() == [1] * 9
