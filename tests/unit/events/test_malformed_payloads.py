"""Whatever bytes a record holds, it has one fate, the same among any neighbours, and what is accepted every store can hold."""

import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neonblue_lab.events.parsing import EventParser, ParsedBatch
from neonblue_lab.events.schema import LONGEST_ID
from tests.services.payloads import batch, document, with_json

TEXTS = ("event_id", "event_type", "user_id", "session_id", "experiment_id", "variant_id", "properties")
STAGES = ("decode", "parse", "validate")


@cache
def parser() -> EventParser:
    return EventParser()


def parse(values: list[bytes | None]) -> ParsedBatch:
    return parser().parse(batch(values))


def surrogate(dice: random.Random) -> bytes:
    lone = rb"\u%04x" % dice.randrange(0xD800, 0xE000)
    return with_json(b'"user_id": "' + dice.choice([lone, lone + b"x", b"x" + lone]) + b'"')


Kind = Callable[[random.Random], bytes]

MALFORMED: dict[str, Kind] = {
    "bytes at random": lambda dice: dice.randbytes(dice.randrange(200)),
    "bad UTF-8": lambda dice: document(user_id="~").replace(b"~", dice.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80"])),
    "truncated": lambda dice: document()[: dice.randrange(1, len(document()) - 1)],
    "empty": lambda dice: b" " * dice.randrange(3),
    "NaN and Infinity": lambda dice: with_json(dice.choice([b'"value":', b'"a": ', b'"properties":{"y":[1,']) + dice.choice([b"NaN", b"-Infinity", b"inf", b"nan"]) + dice.choice([b"", b"]}"])),
    "numbers beyond a double": lambda dice: with_json(dice.choice([b'"value": ', b'"a":[', b'"properties":{"y":']) + dice.choice([b"1e400", b"-1E+999", b"9" * dice.randrange(310, 900)]) + dice.choice([b"", b"]", b"}"])),
    "wrong types": lambda dice: document(**{dice.choice([*TEXTS, "timestamp"]): dice.choice([[], [1], True, False])}),
    "values that are no numbers": lambda dice: document(value=dice.choice(["much", "1_000", "0x1", "", [], {}, True])),
    "deep nesting": lambda dice: with_json(b'"properties": {"y": ' + b"[" * (deep := dice.randrange(1_100, 5_000)) + b"]" * deep + b"}"),
    "missing ids": lambda dice: document(**{dice.choice(["event_id", "event_type", "timestamp"]): dice.choice([None, ""])}),
    "ids that a type needs": lambda dice: document(event_type=dice.choice(["exposure", "metric_total", "experiment_started"])),
    "arrays": lambda dice: b"[" + b",".join([document()] * dice.randrange(3)) + b"]",
    "scalars": lambda dice: dice.choice([b"null", b"true", b"0", b"-1.5e3", b'"text"', b"{}"]),
    "times out of reach": lambda dice: document(timestamp=dice.choice(["9999-12-31T23:59:59Z", "0001-01-01", "1970-01-01T00:00:00Z", -(10**17), 10**18, "soon", "2026-13-01"])),
    "lone surrogates": surrogate,
    "NUL bytes": lambda dice: document()[: (at := dice.randrange(len(document())))] + b"\0" + document()[at:],
    "escaped NUL": lambda dice: document(**{dice.choice([*TEXTS, "unknown"]): "a\0b"}),
    "byte order mark": lambda dice: dice.choice([b"\xef\xbb\xbf" + document(), document().decode().encode("utf-16")]),
    "trailing commas": lambda dice: document()[:-1] + b"," + dice.choice([b"", b" ", b"\n\t"]) + b"}",
    "schema registry framing": lambda dice: b"\0" + dice.randbytes(4) + dice.choice([document(), dice.randbytes(30)]),
    "long ids": lambda dice: document(**{dice.choice(TEXTS[:-1]): "i" * dice.randrange(LONGEST_ID + 1, 5_000)}),
    "control characters": lambda dice: with_json(b'"user_id": "a' + bytes([dice.randrange(1, 32)]) + b'"'),
    "unclosed text": lambda dice: document()[:-1] + b', "y": "' + b"z" * dice.randrange(100) + b"}",
    "log lines": lambda dice: f"ERROR 2026-03-02 worker-{dice.randrange(9)} timed out".encode(),
}  # fmt: skip


def good(dice: random.Random) -> bytes:
    return dice.choice(
        [
            document(event_id=f"e{dice.random()}", unknown=dice.random()),
            with_json(b'"event_id": "second", "a": 1, "a": 2'),
            document(properties={"name": "Banana information, nan", "list": [1e300, {"deep": [[[]]]}]}),
        ]
    )


@pytest.fixture(scope="module")
def payloads() -> list[tuple[str, bytes]]:
    """10,000 malformed payloads in turn by kind, three of 10 MB, and as many good ones among them."""
    dice = random.Random(5)
    kinds = list(MALFORMED.items())
    bad = [(name, make(dice)) for name, make in (kinds[i % len(kinds)] for i in range(10_000))]
    for i in (100, 5_000, 9_000):
        bad[i] = ("10 MB", document(timestamp="x" * 10_000_000))
    return [one for payload in bad for one in (payload, ("good", good(dice)))]


def test_ten_thousand_malformed_payloads_each_have_one_fate(payloads: list[tuple[str, bytes]]) -> None:
    kinds = {name for name, _ in payloads} - {"good"}
    assert len(kinds) > 12
    values = [value for _, value in payloads]
    whole = batch(values, partitions=[i % 3 for i in range(len(values))])
    parsed = parser().parse(whole)
    where = ["partition", "offset"]
    fates = pl.concat([parsed.events.select(where), parsed.rejects.select(where)])
    assert parsed.tombstones == 0
    assert fates.sort(where).equals(whole.frame.select(where).sort(where))
    fate = dict.fromkeys(parsed.events["offset"], "good")
    assert [fate.get(i, "bad") for i in range(len(values))] == [
        "good" if kind == "good" else "bad" for kind, _ in payloads
    ]
    assert set(parsed.rejects["stage"]) == set(STAGES)
    assert parsed.rejects["error"].str.len_bytes().is_between(10, 400).all()


def is_storable(row: dict[str, Any], value: bytes) -> bool:
    """Whether an event is strict JSON, has texts that PostgreSQL can hold and ids that fit an index."""
    orjson.loads(value)
    texts = [row[name] for name in TEXTS if row[name] is not None]
    for text in texts:
        text.encode()
    properties = "{}" if row["properties"] is None else row["properties"]
    return (
        isinstance(orjson.loads(properties), dict)
        and not any("\0" in text for text in texts)
        and "\0" not in "".join(texts_within(orjson.loads(properties)))
        and all(len((row[name] or "").encode()) <= LONGEST_ID for name in TEXTS[:-1])
    )


def texts_within(found: Any) -> list[str]:
    if isinstance(found, dict):
        return [text for pair in found.items() for one in pair for text in texts_within(one)]
    if isinstance(found, list):
        return [text for one in found for text in texts_within(one)]
    return [found] if isinstance(found, str) else []


def test_malformed_payloads_leave_their_neighbours_alone(payloads: list[tuple[str, bytes]]) -> None:
    values = [value for kind, value in payloads if kind == "good"]
    alone = parse(list(values)).events.drop("partition", "offset")
    among = parse([value for _, value in payloads]).events.drop("partition", "offset")
    assert among.equals(alone)
    assert all(is_storable(row, value) for row, value in zip(among.iter_rows(named=True), values, strict=True))


TEXT = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["\0", "nan", "inf", '"op"', "\\u0000", ",}"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from([*TEXTS, "timestamp", "value", "op", "source", "after", "before", "payload", "schema"])
EVENTS = st.builds(lambda fields: document(**fields), st.dictionaries(FIELDS | TEXT, JSON, max_size=4))
CHANGES = st.builds(
    lambda op, fields, framed: json.dumps({"op": op, "source": {}, "after": json.loads(document(**fields))} | framed).encode(),
    st.sampled_from(["c", "d", "t", "u"]) | TEXT,
    st.dictionaries(FIELDS | TEXT, JSON | JSON.map(json.dumps), max_size=3),
    st.dictionaries(FIELDS, JSON, max_size=1),
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """An event or a change event, some of whose bytes were replaced, removed or repeated."""
    value = draw(EVENTS | CHANGES)
    for _ in range(draw(st.integers(1, 3))):
        at, length = draw(st.integers(0, len(value))), draw(st.integers(0, 4))
        tokens = [
            b",",
            b"NaN",
            b"[",
            b"}",
            b"\\",
            b'"',
            b":",
            b"\0",
            b"\xc3",
            b"\xed\xa0\x80",
            b"\\u0000",
            b"1e999",
            b"\\",
        ]
        value = value[:at] + draw(st.sampled_from(tokens) | st.binary(max_size=3)) + value[at + length :]
    return value


VALUES = st.lists(
    st.one_of(
        st.none(), st.binary(max_size=60), JSON.map(lambda j: json.dumps(j).encode()), EVENTS, CHANGES, mutated()
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=400)
@given(VALUES)
def test_no_bytes_break_the_parser_and_no_neighbour_sways_a_judgement(values: list[bytes | None]) -> None:
    together = parse(values)
    gone = 0
    for offset, value in enumerate(values):
        alone = parse([value])
        assert alone.events.height + alone.rejects.height + alone.tombstones == 1
        gone += alone.tombstones
        for mine, ours in ((alone.events, together.events), (alone.rejects, together.rejects)):
            assert mine.drop("offset").equals(ours.filter(offset=offset).drop("offset"))
        for row in alone.events.iter_rows(named=True):
            assert is_storable(row, value or b"")
        assert set(alone.rejects["stage"]) <= set(STAGES)
        assert not any("\0" in error for error in alone.rejects["error"])
    assert together.events.height + together.rejects.height + together.tombstones == len(values)
    assert together.tombstones == gone


@settings(max_examples=300)
@given(st.one_of(EVENTS, CHANGES, mutated()))
def test_what_strict_json_is_not_is_no_event(value: bytes) -> None:
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        assert parse([value]).events.is_empty()
