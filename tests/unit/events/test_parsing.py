"""Every record is an event, a reject with its reason, or a tombstone; nothing that a record holds breaks the parser."""

import json
import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neonblue_lab.events.parsing import EventParser, ParsedBatch
from neonblue_lab.events.schema import EVENT_SCHEMA, REJECT_SCHEMA
from tests.services.payloads import batch, document, with_json

TEN = datetime(2026, 3, 2, 10, tzinfo=UTC)


@cache
def parser() -> EventParser:
    return EventParser()


def parse(values: Sequence[bytes | None], partitions: Sequence[int] | None = None) -> ParsedBatch:
    return parser().parse(batch(values, partitions))


def event(value: bytes) -> dict[str, Any]:
    parsed = parse([value])
    assert parsed.rejects["error"].to_list() == []
    return parsed.events.row(0, named=True)


def reject(value: bytes) -> tuple[str, str]:
    parsed = parse([value])
    assert parsed.events.is_empty()
    stage, error = parsed.rejects.select("stage", "error").row(0)
    return stage, error


def total(**properties: Any) -> bytes:
    good = {"metric": "m", "kind": "mean", "n": 10, "mean": 0.5, "variance": 0.1}
    return document(event_type="metric_total", experiment_id="x", variant_id="v", properties=good | properties)


def created(**properties: Any) -> bytes:
    return document(event_type="experiment_created", experiment_id="x", properties=properties)


@pytest.mark.parametrize(
    ("value", "stage", "error"),
    [
        (b"", "parse", "value: empty"),
        (b"\xff\xfe{}", "decode", "value: not UTF-8"),
        (document()[:30], "parse", "value: not JSON"),
        (b"<html></html>", "parse", "value: not JSON"),
        (b" ", "parse", "value: not JSON"),
        (b"[]", "parse", "value: JSON array, not an object"),
        (b"null", "parse", "value: JSON null, not an object"),
        (b"NaN", "parse", "value: JSON double, not an object"),
        (b"{}", "validate", "event_id: missing"),
        (document(event_id=None), "validate", "event_id: missing"),
        (document(event_id=""), "validate", "event_id: missing"),
        (document(event_id=["e"]), "validate", 'event_id: neither a text nor a number: ["e"]'),
        (document(event_type=None), "validate", "event_type: missing"),
        (document(event_type=True), "validate", "event_type: neither a text nor a number: true"),
        (document(user_id={"id": 1}), "validate", 'user_id: neither a text nor a number: {"id":1}'),
        (document(timestamp=None), "validate", "timestamp: missing"),
        (document(timestamp="yesterday"), "validate", "timestamp: neither ISO 8601 nor epoch .*: yesterday"),
        (document(timestamp="1999-12-31T23:59:59.999999Z"), "validate", "timestamp: not between 2000-01-01 and .*"),
        (document(value="much"), "validate", "value: not a finite number: much"),
        (document(properties="none"), "validate", "properties: not an object"),
        (document(properties=[1]), "validate", "properties: not an object"),
        (
            document(event_type="exposure", user_id="u", variant_id="v"),
            "validate",
            "experiment_id: missing, exposure .*",
        ),
        (
            document(event_type="exposure", user_id="", experiment_id="x", variant_id="v"),
            "validate",
            "user_id: missing.*",
        ),
        (document(event_type="exposure", user_id="u", experiment_id="x"), "validate", "variant_id: missing.*"),
        (document(event_type="experiment_ended"), "validate", "experiment_id: missing, experiment_ended needs it"),
        (document(event_type="metric_total", experiment_id="x"), "validate", "variant_id: missing, metric_total .*"),
        (total(metric=None), "validate", "properties.metric: missing"),
        (total(kind="ratio"), "validate", "properties.kind: neither proportion nor mean: ratio"),
        (total(n=None), "validate", "properties.n: not a count"),
        (total(n=-1), "validate", "properties.n: not a count"),
        (total(n=1.5), "validate", "properties.n: not a count"),
        (total(n=True), "validate", "properties.n: not a count"),
        (total(n=10**16), "validate", "properties.n: not a count"),
        (total(mean=None), "validate", "properties.mean: not a finite number"),
        (total(mean="high"), "validate", "properties.mean: not a finite number"),
        (total(kind="proportion", mean=1.5), "validate", "properties.mean: not between 0 and 1, as a proportion is"),
        (total(variance=-1), "validate", "properties.variance: not a non-negative number"),
        (total(variance="wide"), "validate", "properties.variance: not a non-negative number"),
        (total(period_start="last week"), "validate", "properties.period_start: not an ISO 8601 time .*: last week"),
        (total(period_end="infinity"), "validate", "properties.period_end: not an ISO 8601 time .*: infinity"),
        (created(started_at="12026-03-02"), "validate", "properties.started_at: not an ISO 8601 time between 2000-.*"),
        (created(ended_at="0001-01-01T00:00:00Z"), "validate", "properties.ended_at: not an ISO 8601 time .*"),
        (created(created_at=5), "validate", "properties.created_at: not an ISO 8601 time .*: 5"),
        (created(variants={"a": 1}), "validate", "properties.variants: not a list"),
        (created(variants="a"), "validate", "properties.variants: not a list"),
        (
            created(variants=[{"variant_id": "a"}, {"name": "b"}]),
            "validate",
            "properties.variants: each needs a variant_id",
        ),
        (created(variants=[1]), "validate", "properties.variants: each needs a variant_id"),
        (
            created(variants=[{"variant_id": 1}, {"variant_id": "b"}, {"variant_id": "1"}]),
            "validate",
            "properties.variants: two have the same variant_id",
        ),
        (
            created(variants=[{"variant_id": "v" * 513}]),
            "validate",
            "properties.variants: a variant_id is longer than 512 bytes",
        ),
        *(
            (
                created(
                    variants=[{"variant_id": "a", "allocation": 0.5}, {"variant_id": "b", "allocation": allocation}]
                ),
                "validate",
                "properties.variants: an allocation is not a non-negative number",
            )
            for allocation in (-0.5, "nan", "Infinity", "1e400", "half", True, [1])
        ),
        (document(user_id="é" * 257), "validate", "user_id: longer than 512 bytes: é.*"),
        (document(session_id="[" * 513), "validate", "session_id: longer than 512 bytes: [.*"),
        (total(metric="m" * 513), "validate", "properties.metric: longer than 512 bytes: m.*"),
        (total(segment="s" * 513), "validate", "properties.segment: longer than 512 bytes: s.*"),
        (b"\0\0\0\0\x07" + document(), "decode", "value: framed for a schema registry .*"),
        (b"\0\0\0\0\x07\x06\xff\x80", "decode", "value: framed for a schema registry .*"),
    ],
)
def test_a_reject_names_the_field_and_the_reason(value: bytes, stage: str, error: str) -> None:
    found = reject(value)
    assert found[0] == stage
    assert re.fullmatch(".*".join(map(re.escape, error.split(".*"))), found[1])


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("2026-03-02T10:00:00Z", TEN),
        ("2026-03-02T10:00:00.123456Z", TEN.replace(microsecond=123456)),
        ("2026-03-02T10:00:00.123456789Z", TEN.replace(microsecond=123456)),
        ("2026-03-02T15:30:00+05:30", TEN),
        ("2026-03-02T15:30:00+0530", TEN),
        ("2026-03-02T03:00:00-07", TEN),
        ("2026-03-02T10:00:00", TEN),
        ("2026-03-02 10:00:00", TEN),
        ("2026-03-02T10:00", TEN),
        ("2026-03-02", TEN.replace(hour=0)),
        (1772445600, TEN),
        (1772445600.25, TEN.replace(microsecond=250000)),
        (1.7724456e9, TEN),
        (1772445600123, TEN.replace(microsecond=123000)),
        (1772445600123.5, TEN.replace(microsecond=123500)),
        (1772445600123456, TEN.replace(microsecond=123456)),
        ("1772445600", TEN),
        ("1772445600123", TEN.replace(microsecond=123000)),
        (946684800, datetime(2000, 1, 1, tzinfo=UTC)),
        ("2099-12-31T23:59:59.999999Z", datetime(2099, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ],
)
def test_times_are_read_in_each_spelling(timestamp: Any, expected: datetime) -> None:
    assert event(document(timestamp=timestamp))["timestamp"] == expected


@pytest.mark.parametrize(
    "timestamp",
    [
        *(
            "2100-01-01T00:00:00Z",
            "now",
            "epoch",
            "infinity",
            "2026-02-30",
            "2026-03-02T25:00:00Z",
            "10:00",
            " ",
            True,
            [],
            {},
        ),
        *(0, -1, 946684799, 4102444800, 1772445600123456789, 1e300, "1e400"),
    ],
)
def test_what_is_no_time_is_rejected(timestamp: Any) -> None:
    stage, error = reject(document(timestamp=timestamp))
    assert stage == "validate"
    assert error.startswith("timestamp: ")


@pytest.mark.parametrize(
    ("given_id", "expected"),
    [
        ("u", "u"),
        (5, "5"),
        (2**63, "9223372036854775808"),
        (12345678901234567890123, "12345678901234567890123"),
        ("{6F96}", "{6F96}"),
        ("[Amplitude] Start", "[Amplitude] Start"),
        ("true", "true"),
        (r"a\u0000b", r"a\u0000b"),
        ("é" * 256, "é" * 256),
        ("\N{SNOWMAN}\U0001f600", "\N{SNOWMAN}\U0001f600"),
        ("", None),
        (None, None),
    ],
)
def test_ids_are_texts_or_numbers(given_id: Any, expected: str | None) -> None:
    assert event(document(user_id=given_id))["user_id"] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (-0.5, -0.5), ("12.5", 12.5), (1e-300, 1e-300), (10**30, 1e30), (0.1 + 0.2, 0.1 + 0.2), (None, None)],
)
def test_values_are_numbers(value: Any, expected: float | None) -> None:
    assert event(document(value=value))["value"] == expected


@pytest.mark.parametrize("value", [True, "", " 1 ", "1_000", "0x10", "nan", "Infinity", "1e400", [1], {}])
def test_what_is_no_number_is_rejected(value: Any) -> None:
    assert reject(document(value=value))[1].startswith("value: not a finite number")


LENIENT = {
    "NaN": with_json(b'"value": NaN'),
    "nan": with_json(b'"y": nan'),
    "NaN in a list": with_json(b'"y": [1, NaN]'),
    "NaN in properties": with_json(b'"properties": {"y":NaN}'),
    "Infinity": with_json(b'"y":Infinity'),
    "-Infinity": with_json(b'"y": -Infinity'),
    "inf": with_json(b'"y": inf'),
    "trailing comma in an object": document()[:-1] + b",}",
    "trailing comma in a list": with_json(b'"y": [1, ]'),
    "comment": with_json(b'/* why */ "y": 1'),
    "line comment": document()[:-1] + b"// why\n}",
    "byte order mark": b"\xef\xbb\xbf" + document(),
    "lone surrogate": with_json(rb'"user_id": "\ud800"'),
    "lone low surrogate": with_json(rb'"y": "\udc00\ud800"'),
    "surrogate as UTF-8": with_json(b'"y": "\xed\xa0\x80"'),
    "raw NUL": with_json(b'"y": "a\0b"'),
    "NUL after the end": document() + b"\0",
    "control character": with_json(b'"y": "a\x01b"'),
    "single quotes": with_json(b"'y': 1"),
    "bare key": with_json(b"y: 1"),
    "infinite exponent": with_json(b'"value": 1e400'),
    "infinite exponent in properties": with_json(b'"properties": {"y": [-1.5E+0400]}'),
    "infinite by digits": with_json(b'"y": ' + b"1" * 400),
    "infinite by both": with_json(b'"y": ' + b"1" * 250 + b".5e99"),
    "leading zero": with_json(b'"y": 01'),
    "leading dot": with_json(b'"y": .5'),
    "plus": with_json(b'"y": +1'),
    "hexadecimal": with_json(b'"y": 0x10'),
    "two documents": document() + document(),
    "UTF-16": document().decode().encode("utf-16"),
    "UTF-16 without a mark": document().decode().encode("utf-16-le"),
    "UTF-32": document().decode().encode("utf-32-le"),
    "Latin-1": document(user_id="é").replace(b"\\u00e9", b"\xe9"),
    "too deep a list": with_json(b'"properties": {"y": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "too deep an object": with_json(b'"properties": ' + b'{"]":' * 100_000 + b"1" + b"}" * 100_000),
    "unclosed depth": b"[" * 1_000_000,
}


@pytest.mark.parametrize("name", LENIENT)
def test_what_only_a_lenient_parser_reads_is_rejected(name: str) -> None:
    with pytest.raises((orjson.JSONDecodeError, UnicodeDecodeError)):
        orjson.loads(LENIENT[name])
    stage, _ = reject(LENIENT[name])
    assert stage in ("parse", "decode") or name == "NaN"


def test_one_bad_record_does_not_touch_its_neighbours() -> None:
    values = [piece for bad in LENIENT.values() for piece in (bad, document())]
    parsed = parse(values)
    assert parsed.events["offset"].to_list() == list(range(1, len(values), 2))
    assert parsed.rejects["offset"].to_list() == list(range(0, len(values), 2))


def test_json_may_be_spelt_freely() -> None:
    assert (
        event(b' \t\r\n{"event\\u005fid":"e",\n"event_type" :"x","timestamp":"2026-03-02T10:00:00Z"} \n')["event_id"]
        == "e"
    )
    deep = with_json(b'"properties": {"y": ' + b"[" * 500 + b"]" * 500 + b"}")
    assert json.loads(event(deep)["properties"]) == json.loads(deep)["properties"]
    assert event(with_json(b'"properties": {"z": ":inf", "y": "a, nan"}'))["properties"] == '{"z":":inf","y":"a, nan"}'


def test_the_first_of_repeated_keys_counts() -> None:
    twice = event(with_json(b'"event_id": "other", "value": 1, "value": 2, "timestamp": 0'))
    assert (twice["event_id"], twice["value"], twice["timestamp"]) == ("e", 1.0, TEN)


def test_a_large_value_is_kept_whole() -> None:
    text = "y" * 10_000_000
    assert json.loads(event(document(properties={"text": text}))["properties"]) == {"text": text}


def test_numbers_in_properties_keep_their_digits() -> None:
    text = b'{"a":12345678901234567890123,"b":18446744073709551615,"c":0.1,"d":-0.0}'
    assert event(with_json(b'"properties": ' + text))["properties"] == text.decode()


@pytest.mark.parametrize("text", ["a\0b", "\0", "\\\0"])
@pytest.mark.parametrize("where", ["event_id", "user_id", "unknown"])
def test_no_text_may_hold_nul(text: str, where: str) -> None:
    expected = ("parse", r"value: a text holds NUL (\u0000), which PostgreSQL cannot store")
    assert reject(document(**{where: text})) == expected
    assert reject(document(properties={text: 1})) == expected
    assert reject(document(properties={"y": [{"z": text}]})) == expected


def test_order_is_by_partition_and_offset() -> None:
    parsed = parse([document(), b"", document(), None, b"x", document()], partitions=[1, 0, 0, 1, 1, 0])
    assert parsed.events.select("partition", "offset").rows() == [(0, 2), (0, 5), (1, 0)]
    assert parsed.rejects.select("partition", "offset").rows() == [(0, 1), (1, 4)]
    assert parsed.tombstones == 1


def test_a_parser_reads_each_batch_anew() -> None:
    for n in (3, 1, 2):
        assert parse([document(event_id=f"{n}-{i}") for i in range(n)]).events["event_id"].to_list() == [
            f"{n}-{i}" for i in range(n)
        ]


def test_a_batch_without_events_has_the_columns() -> None:
    for values in ([], [None], [b"x"]):
        parsed = parse(values)
        assert dict(parsed.events.schema) == EVENT_SCHEMA
        assert dict(parsed.rejects.schema) == REJECT_SCHEMA


def test_parsers_of_several_threads_do_not_disturb_each_other() -> None:
    batches = [batch([document(event_id=f"{b}-{i}") for i in range(3_000)] + [b"x"] * b) for b in range(6)]
    with ThreadPoolExecutor(3) as threads:
        parsed = list(threads.map(lambda one: EventParser().parse(one), batches))
    for b, found in enumerate(parsed):
        assert found.events["event_id"].to_list() == [f"{b}-{i}" for i in range(3_000)]
        assert found.rejects.height == b


ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)?)?")
NUMBER = re.compile(r"-?\d+(\.\d*)?([eE][-+]?\d+)?", re.ASCII)


def as_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or not NUMBER.fullmatch(str(value)):
        raise ValueError(value)
    if not math.isfinite(number := float(value)):
        raise ValueError(value)
    return number


def as_time(value: Any) -> datetime:
    if isinstance(value, str) and ISO.fullmatch(value):
        moment = datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    else:
        number = as_number(value)
        microseconds = round(number * (1e6 if abs(number) < 1e11 else 1e3 if abs(number) < 1e14 else 1))
        moment = datetime.fromtimestamp(microseconds // 10**6, UTC).replace(microsecond=microseconds % 10**6)
    if not 2000 <= moment.year < 2100:
        raise ValueError(value)
    return moment


def as_id(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | str | None):
        raise ValueError(value)
    return None if value in (None, "") else str(value)


ENVELOPE = ("event_id", "event_type", "user_id", "session_id", "experiment_id", "variant_id", "timestamp", "value")


def holds_nul(found: Any) -> bool:
    if isinstance(found, dict):
        return any(map(holds_nul, (*found, *found.values())))
    return any(map(holds_nul, found)) if isinstance(found, list) else isinstance(found, str) and "\0" in found


def with_unknown(found: dict[str, Any]) -> Any:
    """The properties, completed by the fields that the envelope does not know."""
    properties = found.get("properties")
    unknown = {name: field for name, field in found.items() if name not in (*ENVELOPE, "properties")}
    if not isinstance(properties, dict | None):
        raise ValueError(properties)
    return unknown | (properties or {}) if unknown or properties is not None else None


def judged(value: bytes) -> dict[str, Any] | None:
    """What plain Python takes the value for: the fields of an event, or None for a reject."""
    needs = {
        "exposure": ("user_id", "experiment_id", "variant_id"),
        "metric_total": ("experiment_id", "variant_id"),
        "experiment_updated": ("experiment_id",),
    }
    ids = ("event_id", "event_type", "user_id", "session_id", "experiment_id", "variant_id")
    try:
        orjson.loads(value)
        found = json.loads(value)  # keeps the digits of large integers
        if holds_nul(found):
            return None
        fields: dict[str, Any] = {name: as_id(found.get(name)) for name in ids}
        fields["timestamp"] = as_time(found.get("timestamp"))
        fields["value"] = None if found.get("value") is None else as_number(found["value"])
        fields["properties"] = with_unknown(found)
        required = ("event_id", "event_type", *needs.get(str(fields["event_type"]), ()))
        if any(fields[name] is None for name in required):
            return None
        if fields["event_type"] == "metric_total":
            totals = fields["properties"] or {}
            n, mean = as_number(totals.get("n")), as_number(totals.get("mean"))
            variance = totals.get("variance")
            sound = totals.get("metric") and n >= 0 and n == int(n) and n < 9e15
            if not sound or (variance is not None and as_number(variance) < 0) or not math.isfinite(mean):
                return None
    except (ValueError, OverflowError, AttributeError):
        return None
    return fields


TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ODD = st.sampled_from([None, True, False, [], {}, ["a"], {"a": 1}, "", " ", "true", "[x", "{x"])
IDS = st.one_of(TEXT, st.integers(), ODD)
TIMES = st.one_of(
    st.datetimes(datetime(1999, 12, 1), datetime(2100, 2, 1)).map(lambda d: d.isoformat() + "Z"),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)).map(lambda d: d.isoformat(" ", "minutes") + "-09:30"),
    st.dates().map(lambda d: d.isoformat()),
    st.integers(-(10**18), 10**18),
    st.integers(9 * 10**8, 42 * 10**8),
    st.floats(9e8, 4.2e9),
    st.integers(9 * 10**11, 42 * 10**11).map(str),
    ODD,
)
NUMBERS = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**40), 10**40), TEXT, ODD)
TOTALS = st.fixed_dictionaries(
    {"metric": st.sampled_from(["m", "", None]), "n": NUMBERS | st.integers(0, 100), "mean": NUMBERS | st.floats(0, 1)},
    optional={"variance": NUMBERS | st.floats(0, 1)},
)
GOOD_ID = st.text(min_size=1, max_size=4)
DOCUMENTS = st.fixed_dictionaries(
    {
        "event_id": GOOD_ID | IDS,
        "event_type": st.sampled_from(["x", "exposure", "metric_total", "experiment_updated"]) | IDS,
        "timestamp": st.just("2026-03-02T10:00:00Z") | TIMES,
    },
    optional={
        **dict.fromkeys(("user_id", "session_id", "experiment_id", "variant_id"), GOOD_ID | IDS),
        "value": NUMBERS,
        "properties": st.one_of(TOTALS, st.dictionaries(TEXT | st.just("a"), JSON, max_size=3), ODD),
        "unknown": JSON,
        "a": JSON,
    },
)


@settings(max_examples=150)
@given(st.lists(DOCUMENTS, min_size=1, max_size=8), st.booleans())
def test_events_are_what_plain_python_takes_for_events(documents: list[dict[str, Any]], ascii_only: bool) -> None:
    values = [json.dumps(found, ensure_ascii=ascii_only).encode() for found in documents]
    expected = {offset: fields for offset, value in enumerate(values) if (fields := judged(value)) is not None}
    found = {row["offset"]: row for row in parse(values).events.to_dicts()}
    assert found.keys() == expected.keys()
    for offset, fields in expected.items():
        properties = found[offset]["properties"]
        found[offset]["properties"] = None if properties is None else json.loads(properties)
        assert {name: found[offset][name] for name in fields} == fields


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A document with some of its bytes replaced, removed or repeated."""
    value = json.dumps(draw(DOCUMENTS), ensure_ascii=draw(st.booleans())).encode()
    for _ in range(draw(st.integers(1, 3))):
        at, length = draw(st.integers(0, len(value))), draw(st.integers(0, 4))
        token = st.sampled_from(
            [b",", b"NaN", b"inf", b"[", b"}", b"\\", b'"', b":", b"//", b"\0", b"\xc3", b"\xed\xa0\x80"]
        )
        value = value[:at] + draw(token | st.binary(max_size=3)) + value[at + length :]
    return value


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(st.none(), st.binary(max_size=40), damaged(), DOCUMENTS.map(lambda d: json.dumps(d).encode())),
        max_size=8,
    )
)
@example([b'{"event_id":"e","event_type":"x","timestamp":1772445600,"":nan}'])
def test_no_bytes_break_the_parser_and_each_record_has_one_fate(values: list[bytes | None]) -> None:
    parsed = parse(values)
    tombstones = [offset for offset, value in enumerate(values) if value is None]
    fates = parsed.events["offset"].to_list() + parsed.rejects["offset"].to_list() + tombstones
    assert sorted(fates) == list(range(len(values)))
    assert parsed.tombstones == len(tombstones)
    for offset in parsed.events["offset"]:
        json.loads(values[offset] or b"", parse_constant=lambda constant: pytest.fail(f"{constant} was read as JSON"))
