"""Promises of writing to a real Kafka cluster: every record once, where it belongs, or a sentence that says why not."""

from typing import Any

import polars as pl
import pytest
from kafka import KafkaAdminClient

from neonblue_lab.errors import BadInput, Conflict
from neonblue_lab.topics.kafka import KafkaSource, produce
from tests.services.frames import MOMENT, FrameSource, numbered, records_frame


def test_topic_is_made_with_the_partitions_of_the_source_even_where_some_are_empty(
    url: str, topic: str, admin: KafkaAdminClient
) -> None:
    only_last = numbered(topic, 9).filter(pl.col("partition") == 2)

    produce(FrameSource(topic, only_last), url)

    assert KafkaSource(url, [topic]).end_offsets(topic) == {0: 0, 1: 0, 2: 3}


def test_producing_twice_is_refused_unless_it_is_meant(url: str, filled: str) -> None:
    source = FrameSource(filled, numbered(filled, 30))
    with pytest.raises(Conflict, match=rf"topic {filled} already has 30 records"):
        produce(source, url)
    assert KafkaSource(url, [filled]).end_offsets(filled) == {0: 10, 1: 10, 2: 10}

    assert produce(source, url, append=True) == {filled: 30}
    assert KafkaSource(url, [filled]).end_offsets(filled) == {0: 20, 1: 20, 2: 20}


def test_a_topic_with_too_few_partitions_is_refused(url: str, topic: str, admin: KafkaAdminClient) -> None:
    admin.create_topics({topic: {"num_partitions": 2}}, wait_for_metadata=True)
    with pytest.raises(Conflict, match=r"has 2 partitions, and the records to write have 3"):
        produce(FrameSource(topic, numbered(topic, 3)), url)


def test_progress_counts_what_was_acknowledged(url: str, topic: str) -> None:
    counts: list[tuple[str, int]] = []
    produce(FrameSource(topic, numbered(topic, 2_500)), url, on_written=lambda *count: counts.append(count))
    assert counts == [(topic, 1_000), (topic, 1_000), (topic, 500)]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"key": None, "value": None}, r"-0 offset 5 of the source has neither a key nor a value"),
        ({"key": b"k", "value": b"v", "headers": [{"key": "h", "value": None}]}, r"-0 offset 5 .* header without"),
        ({"key": b"k", "value": b"x" * 2_000_000}, r"-0 offset 5 of the source: .*maximum message size"),
    ],
)
def test_a_record_the_cluster_cannot_take_is_named(url: str, topic: str, record: dict[str, Any], message: str) -> None:
    frame = records_frame(topic, [{"partition": 0, "offset": 5, "timestamp": MOMENT, **record}])
    with pytest.raises(BadInput, match=message):
        produce(FrameSource(topic, frame), url)
