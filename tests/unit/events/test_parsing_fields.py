"""Nothing that a record says is dropped: unknown fields are kept in `properties`, and change events give up their rows."""

import json
from typing import Any

import pytest

from neonblue_lab.events.parsing import EventParser, ParsedBatch
from tests.services.payloads import batch, document

SOURCE = {"connector": "postgresql", "table": "outbox", "lsn": 5}
ROW = {"event_id": "e", "event_type": "purchase", "timestamp": 1772445600123456, "user_id": 7, "value": "12.5"}


@pytest.fixture(scope="module")
def parser() -> EventParser:
    return EventParser()


def properties(parser: EventParser, value: bytes) -> Any:
    parsed = parser.parse(batch([value]))
    assert parsed.rejects.rows() == []
    text = parsed.events["properties"].item()
    return None if text is None else json.loads(text)


def change(op: str, after: Any, **fields: Any) -> dict[str, Any]:
    return {"before": None, "after": after, "source": SOURCE, "op": op, "ts_ms": 1, "transaction": None} | fields


def bare(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload).encode()


def with_schema(payload: dict[str, Any]) -> bytes:
    return json.dumps({"schema": {"type": "struct", "fields": [{"field": "op"}]}, "payload": payload}).encode()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"properties": None}, None),
        ({"properties": {}}, {}),
        ({"user_id": None, "value": None}, None),
        ({"source": "web"}, {"source": "web"}),
        ({"source": "web", "properties": None}, {"source": "web"}),
        ({"source": "web", "properties": {}}, {"source": "web"}),
        ({"source": None}, {"source": None}),
        ({"n": 12345678901234567890123, "properties": {"y": 1}}, {"n": 12345678901234567890123, "y": 1}),
        ({"device": {"os": {"name": "x"}, "sizes": [1, {"a": None}]}}, {"device": {"os": {"name": "x"}, "sizes": [1, {"a": None}]}}),
        ({"a": 1, "properties": {"a": 2}}, {"a": 2}),
        ({"a": 1, "properties": {"a": None}}, {"a": None}),
        ({"a": {"x": 1}, "b": 3, "properties": {"a": {"y": 2}}}, {"a": {"y": 2}, "b": 3}),
        ({'"]}é\n': 1, "properties": {'"]}é\n': 2, "": 4}}, {'"]}é\n': 2, "": 4}),
        ({"topic": "t", "partition": 1, "offset": 2}, {"topic": "t", "partition": 1, "offset": 2}),
        ({"op": "c", "after": {"event_id": "other"}}, {"op": "c", "after": {"event_id": "other"}}),
        ({"payload": {"op": "c"}, "schema": 1}, {"payload": {"op": "c"}, "schema": 1}),
    ],
)  # fmt: skip
def test_unknown_fields_complete_the_properties(parser: EventParser, fields: dict[str, Any], expected: Any) -> None:
    assert properties(parser, document(**fields)) == expected


def test_a_key_is_kept_once_where_both_have_it(parser: EventParser) -> None:
    text = parser.parse(batch([document(a=1, b=1, properties={"b": 2, "c": 2})])).events["properties"].item()
    assert json.loads(text, object_pairs_hook=lambda pairs: pairs) == [("b", 2), ("c", 2), ("a", 1)]


def test_keys_are_known_however_they_are_spelt(parser: EventParser) -> None:
    value = rb'{"event\u005fid":"e","event_type":"x","\u0074imestamp":"2026-03-02","\u0061":1,"properties":{"a":2}}'
    assert properties(parser, value) == {"a": 2}


def test_what_a_metric_total_says_beside_its_properties_counts(parser: EventParser) -> None:
    fields = {"event_type": "metric_total", "experiment_id": "x", "variant_id": "v", "metric": "m", "n": 10}
    assert properties(parser, document(**fields, mean=0.5)) == {"metric": "m", "n": 10, "mean": 0.5}
    rejects = parser.parse(batch([document(**fields, mean="high")])).rejects
    assert rejects["error"].to_list() == ["properties.mean: not a finite number"]


def only_event(parsed: ParsedBatch) -> dict[str, Any]:
    assert (parsed.rejects.rows(), parsed.tombstones) == ([], 0)
    return parsed.events.row(0, named=True)


@pytest.mark.parametrize("wrapped", [bare, with_schema])
@pytest.mark.parametrize("op", ["c", "u", "r"])
def test_the_row_of_a_change_event_is_the_event(parser: EventParser, wrapped: Any, op: str) -> None:
    changed = wrapped(change(op, ROW | {"properties": '{"a": [1, {"b": null}]}', "shop": "n"}, before=ROW))
    plain = document(**ROW, properties={"a": [1, {"b": None}], "shop": "n"})
    assert only_event(parser.parse(batch([changed]))) == only_event(parser.parse(batch([plain])))


@pytest.mark.parametrize("stated", [{"a": 1}, '{"a":1}', ' { "a" : 1 } '])
def test_properties_of_a_row_are_an_object_or_its_text(parser: EventParser, stated: Any) -> None:
    assert properties(parser, bare(change("c", ROW | {"properties": stated}))) == {"a": 1}


@pytest.mark.parametrize("timestamp", ["2026-03-02T10:00:00.123456Z", "2026-03-02 10:00:00.123456", 1772445600123456])
def test_times_of_a_row_are_read_in_each_spelling(parser: EventParser, timestamp: Any) -> None:
    found = only_event(parser.parse(batch([bare(change("c", ROW | {"timestamp": timestamp}))])))
    assert found["timestamp"].isoformat() == "2026-03-02T10:00:00.123456+00:00"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (change("t", None), "op: neither c, u, r nor d, so that no event is in it: t"),
        (change("m", ROW), "op: neither c, u, r nor d, so that no event is in it: m"),
        (change("c", None), "after: not an object"),
        (change("c", "row"), "after: not an object"),
        (change("c", ROW | {"event_id": None}), "event_id: missing"),
        (change("c", ROW | {"properties": "[1]"}), "properties: not an object"),
        (change("c", ROW | {"properties": '{"a": '}), "properties: not an object"),
        (change("c", ROW | {"properties": "__debezium_unavailable_value"}), "properties: not an object"),
        (change("c", ROW | {"properties": '{"a": NaN}'}), "value: not strict JSON: "),
        (change("c", ROW | {"properties": '{"a": 1,}'}), "value: not strict JSON: "),
        (change("c", ROW | {"properties": '{"a": "\\u0000"}'}), "value: a text holds NUL"),
        (change("c", {"event_id": "e", "op": "c", "source": SOURCE, "after": ROW}), "event_type: missing"),
        ({"op": "d", "before": ROW}, "event_id: missing"),
    ],
)
def test_a_change_event_without_an_event_says_why(parser: EventParser, value: dict[str, Any], error: str) -> None:
    parsed = parser.parse(batch([bare(value)]))
    assert (parsed.events.height, parsed.tombstones) == (0, 0)
    assert parsed.rejects["stage"].item() == "validate"
    assert parsed.rejects["error"].item().startswith(error)


@pytest.mark.parametrize("wrapped", [bare, with_schema])
def test_a_deleted_row_undoes_no_event(parser: EventParser, wrapped: Any) -> None:
    parsed = parser.parse(batch([wrapped(change("d", None, before=ROW)), None]))
    assert (parsed.events.height, parsed.rejects.height, parsed.tombstones) == (0, 0, 2)


def test_change_events_among_others_keep_their_places(parser: EventParser) -> None:
    values = [document(), bare(change("c", ROW)), b"{", bare(change("d", None)), None, with_schema(change("r", ROW))]
    parsed = parser.parse(batch(values * 3))
    assert parsed.events["offset"].to_list() == [o + 6 * i for i in range(3) for o in (0, 1, 5)]
    assert parsed.rejects["offset"].to_list() == [2, 8, 14]
    assert parsed.tombstones == 6
