"""Each record of a change topic is a change, a reject that says why, a tombstone or a message, whatever bytes it holds."""

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from neonblue_lab.events.changes import CHANGE_SCHEMA, ChangeParser, ParsedChanges, is_change_topic
from neonblue_lab.events.records import RECORD_SCHEMA, RecordBatch
from neonblue_lab.events.schema import REJECT_SCHEMA

SOURCE = {"lsn": 26414208, "snapshot": "false", "ts_ms": 1795237996012, "ts_us": 1795237996012754}
KEY = {"user_id": 1}
ROW = {"user_id": 1, "country": "DE", "spent": "1.10", "tags": [], "big": 9007199254740993, "none": None}

# As Debezium 3.6.3 sent them for: an update that leaves a large value alone, a delete, and the last record of a snapshot.
CAPTURED = (
    (
        b'{"experiment_id":"e1"}',
        b'{"before":null,"after":{"experiment_id":"e1","name":"uno","n":"1.5","j":"{\\"a\\": [1, null]}","started_at":'
        b'"2026-11-21T05:13:13.223781Z","t":1795237993223781,"d":20778,"big":"__debezium_unavailable_value","bin":"3q2+7w=="},'
        b'"source":{"version":"3.6.3.Final","connector":"postgresql","name":"lab1","ts_ms":1795237996012,"snapshot":"false",'
        b'"db":"lab","sequence":"[\\"26414152\\",\\"26414208\\"]","ts_us":1795237996012754,"ts_ns":1795237996012754000,'
        b'"schema":"public","table":"experiments","txId":731,"lsn":26414208,"xmin":null,"origin":null,"origin_lsn":null},'
        b'"transaction":null,"op":"u","ts_ms":1795237996106,"ts_us":1795237996106479,"ts_ns":1795237996106479511}',
    ),
    (
        b'{"experiment_id":"e2"}',
        b'{"before":{"experiment_id":"e2","name":null},"after":null,"source":{"version":"3.6.3.Final","connector":"postgresql",'
        b'"name":"lab1","ts_ms":1795237996013,"snapshot":"false","db":"lab","sequence":"[\\"26414496\\",\\"26414496\\"]",'
        b'"ts_us":1795237996013406,"schema":"public","table":"experiments","txId":732,"lsn":26414496,"xmin":null},'
        b'"transaction":null,"op":"d","ts_ms":1795237996107}',
    ),
    (b'{"experiment_id":"e2"}', None),
    (
        b'{"experiment_id":"e9"}',
        b'{"before":null,"after":{"experiment_id":"e9","name":"two"},"source":{"version":"3.6.3.Final","connector":"postgresql",'
        b'"ts_ms":1795238000242,"snapshot":"last_in_data_collection","sequence":"[null,\\"26418768\\"]","lsn":26418768},"op":"r"}',
    ),
)


@cache
def parser() -> ChangeParser:
    return ChangeParser()


def parse(*records: tuple[bytes | None, bytes | None], topic: str = "p.public.users") -> ParsedChanges:
    rows = {
        "topic": topic,
        "partition": 3,
        "offset": range(len(records)),
        "timestamp": None,
        "key": [key for key, _ in records],
        "value": [value for _, value in records],
        "headers": None,
    }
    parsed = parser().parse(RecordBatch(topic, pl.DataFrame(rows, schema=RECORD_SCHEMA)))
    assert dict(parsed.changes.schema) == CHANGE_SCHEMA
    assert dict(parsed.rejects.schema) == REJECT_SCHEMA
    return parsed


def change(**parts: Any) -> bytes:
    return json.dumps({"before": None, "after": ROW, "source": SOURCE, "op": "u", **parts}).encode()


def key(value: Any = KEY) -> bytes:
    return json.dumps(value).encode()


def test_change_topics_are_those_of_the_registry() -> None:
    assert [
        is_change_topic(f"app.public.{table}") for table in ("experiments", "variants", "assignments", "users")
    ] == [True] * 4
    assert not any(map(is_change_topic, ("users", "user_events", "app.public.orders", "app.message", "app.users.v2")))


def test_what_debezium_sends_is_read() -> None:
    parsed = parse(*CAPTURED, topic="lab1.public.experiments")
    assert parsed.rejects.is_empty()
    assert (parsed.tombstones, parsed.messages) == (1, 0)
    assert parsed.changes.select("op", "key", "position", "committed_at", "snapshot", "offset").rows() == [
        ("u", '{"experiment_id":"e1"}', 26414208, datetime(2026, 11, 21, 5, 13, 16, 12754, UTC), None, 0),
        ("d", '{"experiment_id":"e2"}', 26414496, datetime(2026, 11, 21, 5, 13, 16, 13406, UTC), None, 1),
        (
            "r",
            '{"experiment_id":"e9"}',
            26418768,
            datetime(2026, 11, 21, 5, 13, 20, 242000, UTC),
            "last_in_data_collection",
            3,
        ),
    ]
    assert parsed.changes.select("source_table", "topic", "partition").unique().rows() == [
        ("experiments", "lab1.public.experiments", 3)
    ]
    assert json.loads(parsed.changes["row"][0])["j"] == '{"a": [1, null]}'
    assert json.loads(parsed.changes["row"][1]) == {"experiment_id": "e2", "name": None}


def test_with_and_without_schema_it_is_the_same() -> None:
    framed_key = key({"schema": {"type": "struct"}, "payload": KEY})
    for parts in ({}, {"op": "d", "before": KEY, "after": None}, {"op": "t", "after": None}):
        bare = change(**parts)
        framed = json.dumps({"schema": {"type": "struct"}, "payload": json.loads(bare)}).encode()
        assert_frame_equal(parse((framed_key, framed)).changes, parse((key(), bare)).changes)


def test_the_row_is_kept_as_it_is() -> None:
    assert json.loads(parse((key(), change())).changes["row"].item()) == ROW


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ((key(), b""), ("parse", "value: empty")),
        ((key(), b"\xff"), ("decode", "value: not UTF-8")),
        ((key(), b"{"), ("parse", "value: not JSON")),
        ((key(), b"[1]"), ("parse", "value: JSON array, not an object")),
        ((key(), json.dumps(ROW).encode()), ("validate", "op: missing")),
        ((key(), change(op="x")), ("validate", "op: neither c, u, d, r, t nor m: x")),
        ((key(), change(source={})), ("validate", "source.lsn: not a position")),
        ((key(), change(source={"lsn": "mysql-bin.1"})), ("validate", "source.lsn: not a position")),
        ((key(), change(source={"lsn": 2**63})), ("validate", "source.lsn: not a position")),
        ((None, change()), ("validate", "key: not a JSON object")),
        ((b"1", change()), ("validate", "key: not a JSON object")),
        ((b"\xff", change()), ("validate", "key: not a JSON object")),
        ((key(), change(after=None)), ("validate", "after: not an object")),
        ((key(), change(after={"country": "DE"})), ("validate", "after.user_id: missing, users needs it")),
        ((key(), change().replace(b'"1.10"', b"NaN")), ("parse", "value: not strict JSON")),
        ((b'{"user_id":NaN}', change()), ("parse", "key: not strict JSON")),
    ],
)
def test_what_is_no_change_says_why(record: tuple[bytes | None, bytes], expected: tuple[str, str]) -> None:
    parsed = parse((key(), change()), record, (key(), change()))
    [(partition, offset, stage, error)] = parsed.rejects.rows()
    assert (partition, offset, stage) == (3, 1, expected[0])
    assert error.startswith(expected[1])
    assert parsed.changes["offset"].to_list() == [0, 2]


def test_messages_and_tombstones_change_nothing_and_are_counted() -> None:
    parsed = parse((None, b'{"op":"m","source":{"lsn":5},"message":{"prefix":"p"}}'), (key(), None))
    assert (parsed.messages, parsed.tombstones, len(parsed.changes), len(parsed.rejects)) == (1, 1, 0, 0)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
PART = dict.fromkeys(("op", "before", "after", "source", "payload", "schema"), ANYTHING)
ENVELOPES = st.fixed_dictionaries({}, optional=PART | {"op": st.sampled_from("crudtm") | ANYTHING})
VALUES = st.none() | st.binary() | (ANYTHING | ENVELOPES).map(lambda value: json.dumps(value).encode())
ALTERED = st.builds(
    lambda at, by: change()[:at] + by + change()[at + len(by) :], st.integers(0, len(change())), st.binary(max_size=4)
)


@given(st.lists(st.tuples(VALUES, VALUES | ALTERED), max_size=8))
@example([(b"{}", b'{"op":"c","payload":{"op":"u"},"source":{"lsn":-1,"ts_us":"9e99"},"after":{"user_id":[]}}')])
def test_no_record_is_lost_or_stops_the_others(records: list[tuple[bytes | None, bytes | None]]) -> None:
    parsed = parse(*records, (key(), change()))
    found = pl.concat([parsed.changes["offset"], parsed.rejects["offset"]])
    assert found.is_unique().all()
    assert len(found) + parsed.tombstones + parsed.messages == len(records) + 1
    assert parsed.changes["offset"][-1] == len(records)
