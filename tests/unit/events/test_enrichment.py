"""Each event gets the five groups; what cannot be told is null, and one event's fields never depend on another event."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from neonblue_lab.events.classification import BY_EVENT_TYPE, BY_TOPIC, UNKNOWN, classify
from neonblue_lab.events.enrichment import ARRIVAL_SCHEMA, BY_RULE, ENRICHMENT_SCHEMA, LATENCY, RULES
from neonblue_lab.events.parsing import EventParser
from neonblue_lab.events.prose import KEYWORDS, keywords, prose
from neonblue_lab.events.quality import EXPECTED, PARTS, quality
from neonblue_lab.events.records import RECORD_SCHEMA, RecordBatch
from neonblue_lab.events.schema import EVENT_SCHEMA
from neonblue_lab.events.sentiment import LONGEST, sentiment

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SCHEMA = {**EVENT_SCHEMA, **ARRIVAL_SCHEMA}
VADER = SentimentIntensityAnalyzer()


def events(*rows: dict[str, Any]) -> pl.DataFrame:
    """Events that arrived as they happened, in four fields; what a row does not state is null."""
    told = {"event_id": "e", "topic": "user_events", "timestamp": NOON, "arrived_at": NOON, "partition": 0, "offset": 0}
    told |= {"field_count": 4, "repaired_fields": 0}
    return pl.DataFrame([dict.fromkeys(SCHEMA) | told | row for row in rows], schema=SCHEMA)


def enriched(**row: Any) -> dict[str, Any]:
    found = BY_RULE.enrich(events(row))
    assert dict(found.schema) == ENRICHMENT_SCHEMA
    return found.row(0, named=True)


def one(function: Any, document: dict[str, Any]) -> Any:
    return function(pl.Series([json.dumps(document)])).to_list()[0]


def test_a_search_in_words() -> None:
    properties = {"page": "/search", "query": "great headphones", "device_type": "mobile", "price": 12.5}
    assert enriched(
        event_type="search", user_id="u", session_id="s", properties=json.dumps(properties), arrived_at=NOON
    ) == {
        "ai_classification": {
            "data_type": "user_behavior",
            "priority": "medium",
            "target_servers": ["clickhouse", "chromadb"],
            "processing_strategy": "stream",
            "retention_policy": "ninety_days",
            "confidence": None,
            "model": RULES,
        },
        "semantic_context": {
            "embedding_key": hashlib.sha256(b"great headphones").hexdigest(),
            "context_keywords": ["search", "great", "headphones", "mobile"],
            "sentiment_score": 0.6249,
            "user_journey_stage": "consideration",
            "model": f"{RULES}+vader@3.3.2",
        },
        "ai_context": {
            "user_journey_stage": "consideration",
            "behavioral_score": None,
            "intent_prediction": None,
            "segment": None,
            "model": RULES,
        },
        "prediction_context": None,
        "routing_metadata": {
            "source_system": "user_events",
            "processing_pipeline": "user_behavior_stream",
            "expected_latency": 300.0,
            "data_quality_score": 1.0,
            **dict.fromkeys(PARTS, 1.0),
            "model": RULES,
        },
    }


def test_what_is_not_known_is_null() -> None:
    bare = dict.fromkeys(("arrived_at", "field_count", "repaired_fields"))
    found = enriched(event_type="never_seen", **bare)
    semantic, routing = found["semantic_context"], found["routing_metadata"]
    assert {name for name, value in semantic.items() if value is not None} == {"model"}
    assert {name for name, value in routing.items() if value is not None} == {
        *("source_system", "processing_pipeline", "expected_latency", "model")
    }


def test_labels_are_those_of_the_rules() -> None:
    given_events = events(
        *({"event_type": kind, "topic": topic} for kind in (*BY_EVENT_TYPE, "odd") for topic in BY_TOPIC)
    )
    labels = BY_RULE.enrich(given_events)["ai_classification"].struct.unnest()
    assert_frame_equal(labels.drop("confidence", "model"), classify(given_events))


def test_every_strategy_has_a_latency_and_every_type_its_fields() -> None:
    rules = (*BY_EVENT_TYPE.values(), *BY_TOPIC.values(), UNKNOWN)
    assert {rule.processing_strategy for rule in rules} == LATENCY.keys()
    assert EXPECTED.keys() == BY_EVENT_TYPE.keys()


@pytest.mark.parametrize(
    ("stated", "source"),
    [
        ({"sent_by": "shop", "properties": '{"source": "app"}'}, "shop"),
        ({"properties": '{"source": "app"}'}, "app"),
        ({"properties": '{"nested": {"source": "app"}}'}, "user_events"),
        ({"properties": '{"source": 5}'}, "user_events"),
    ],
)
def test_the_source_is_a_headers_then_a_propertys_then_the_topic(stated: dict[str, Any], source: str) -> None:
    assert enriched(event_type="click", **stated)["routing_metadata"]["source_system"] == source


@pytest.mark.parametrize(
    ("stated", "parts"),
    [
        (
            {"event_type": "purchase", "user_id": "u", "session_id": "s"},
            {"completeness": 0.67},
        ),  # a purchase has a value
        ({"event_type": "odd", "arrived_at": NOON + timedelta(minutes=1)}, {"timeliness": 1.0, "completeness": None}),
        ({"event_type": "odd", "arrived_at": NOON + timedelta(hours=1)}, {"timeliness": 0.56}),
        ({"event_type": "odd", "arrived_at": NOON + timedelta(days=8)}, {"timeliness": 0.0}),
        ({"event_type": "odd", "arrived_at": NOON - timedelta(hours=1)}, {"timeliness": 1.0, "consistency": 0.0}),
        ({"event_type": "odd", "field_count": 8, "repaired_fields": 2}, {"validity": 0.75}),
        ({"event_type": "odd", "variant_id": "v"}, {"consistency": 0.5}),
        ({"event_type": "odd", "session_id": "s", "arrived_at": None}, {"consistency": 0.0, "timeliness": None}),
    ],
)
def test_the_parts_of_quality(stated: dict[str, Any], parts: dict[str, float | None]) -> None:
    scored = quality(events(stated)).row(0, named=True)
    assert {name: scored[name] for name in parts} == parts
    known = [scored[name] for name in PARTS if scored[name] is not None]
    assert scored["data_quality_score"] == pytest.approx(sum(known) / len(known), abs=0.01)


def test_prose_is_what_people_wrote_at_any_depth() -> None:
    document = {
        "name": 'A "bold"\nname',
        "id": "not this",
        "variants": [{"name": "Große Überschrift"}, {"description": "\\"}],
        "text": "",
        "score": 5,
    }
    assert one(prose, document) == 'A "bold"\nname\nGroße Überschrift\n\\'
    assert one(prose, {"page": 'quotes "name": "no"', "title": None}) is None


def test_keywords_are_words_of_values_the_frequent_first() -> None:
    document = {
        "headline": "Shoes and more shoes, for the café",
        "journey_length": 2,
        "id": "x7-shoe",
        "at": "2026-03-02",
    }
    assert one(keywords, document) == ["shoes", "café"]
    assert len(one(keywords, {"text": " ".join("abcdefghijklmnop"[i : i + 4] for i in range(12))})) == KEYWORDS
    assert one(keywords, {"price": 5, "on": True}) is None


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=20),
            st.sampled_from(
                ["good", "GREAT", "not", "bad!", ":)", "(:O", "😀", "very", "kind of", "but", "né", "no", "©"]
            ),
        ),
        max_size=8,
    ).map(" ".join)
)
def test_sentiment_is_vaders(text: str) -> None:
    assert sentiment(pl.Series([text, None, text])).to_list() == [
        VADER.polarity_scores(text)["compound"],
        None,
        VADER.polarity_scores(text)["compound"],
    ]


def test_of_a_long_text_the_beginning_is_read() -> None:
    assert (
        sentiment(pl.Series(["dull " * LONGEST + "wonderful"]))[0]
        == VADER.polarity_scores(("dull " * LONGEST)[:LONGEST])["compound"]
    )


words = st.sampled_from([None, "", "{}", '{"query": "nice shoes"}', '{"page": "/p/7", "source": "app"}', '{"n": 1}'])
drawn = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from([*BY_EVENT_TYPE, "odd"]),
        "topic": st.sampled_from([*BY_TOPIC, "elsewhere"]),
        "properties": words,
        "user_id": st.sampled_from([None, "u"]),
        "variant_id": st.sampled_from([None, "v"]),
        "arrived_at": st.one_of(st.none(), st.integers(-600_000, 900_000).map(lambda s: NOON + timedelta(seconds=s))),
        "field_count": st.integers(1, 9),
        "repaired_fields": st.integers(0, 1),
    }
)


@settings(max_examples=50, deadline=None)
@given(st.lists(drawn, min_size=1, max_size=8))
def test_an_event_is_enriched_the_same_in_any_company(rows: list[dict[str, Any]]) -> None:
    together = BY_RULE.enrich(events(*rows))
    assert_frame_equal(together, pl.concat(BY_RULE.enrich(events(row)) for row in rows))
    assert_frame_equal(together, BY_RULE.enrich(events(*rows)))
    scores = together["routing_metadata"].struct.unnest().select("data_quality_score", *PARTS)
    assert scores.select(pl.all().drop_nulls().is_between(0, 1).all()).row(0) == (True,) * (1 + len(PARTS))


def test_no_events_are_enriched() -> None:
    assert dict(BY_RULE.enrich(events().clear()).schema) == ENRICHMENT_SCHEMA


def test_the_parser_tells_how_an_event_arrived() -> None:
    sent = {"event_id": "a", "event_type": "click", "timestamp": NOON.isoformat(), "user_id": "u"}
    odd = {"event_id": "b", "event_type": "click", "timestamp": 1_772_452_800, "colour": "red", "size": 5}
    headers = [[{"key": "trace", "value": b"1"}, {"key": "source_system", "value": b"shop"}], None, []]
    frame = pl.DataFrame(
        [
            {
                "topic": "t",
                "partition": 0,
                "offset": i,
                "value": json.dumps(value).encode(),
                "timestamp": at,
                "headers": told,
            }
            for i, (value, at, told) in enumerate(zip((sent, odd, {}), (NOON, None, NOON), headers, strict=True))
        ],
        schema={
            name: RECORD_SCHEMA[name] for name in ("topic", "partition", "offset", "value", "timestamp", "headers")
        },
    ).with_columns(key=pl.lit(None, pl.Binary))
    parsed = EventParser().parse(RecordBatch("t", frame.select(*RECORD_SCHEMA)))
    assert dict(parsed.arrivals.schema) == ARRIVAL_SCHEMA
    assert parsed.arrivals.rows() == [(NOON, "shop", 4, 0), (None, None, 5, 3)]


def test_a_megabyte_of_words_is_read_like_a_line_of_them() -> None:
    """What each word costs does not depend on how many there are: otherwise this would take minutes."""
    texts = pl.Series([json.dumps({"text": "lovely boots " * 80_000}), json.dumps({"text": "boots boots lovely"})])
    assert keywords(texts).to_list() == [["lovely", "boots"], ["boots", "lovely"]]


@pytest.mark.parametrize(
    ("header", "source"),
    [
        (b"shop", "shop"),
        (b"we\0b", "t"),
        (b"\xff\xfe", "t"),
        (b"", "t"),
        (None, "t"),
        ("\u202e😀".encode(), "\u202e😀"),
    ],
)
def test_a_header_that_no_store_can_keep_names_no_source(header: bytes | None, source: str) -> None:
    event = {"event_id": "a", "event_type": "click", "timestamp": NOON.isoformat(), "user_id": "u"}
    row = {"topic": "t", "partition": 0, "offset": 0, "timestamp": NOON, "value": json.dumps(event).encode()}
    headers = [{"key": "source_system", "value": header}]
    frame = pl.DataFrame([row | {"headers": headers, "key": None}], schema=RECORD_SCHEMA)
    parsed = EventParser().parse(RecordBatch("t", frame))
    told = parsed.events.hstack(parsed.arrivals)
    assert BY_RULE.enrich(told)["routing_metadata"].struct.field("source_system").to_list() == [source]
