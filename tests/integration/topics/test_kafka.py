"""Promises of reading and writing a real Kafka cluster: byte for byte, bounded, committed only, never a silent gap."""

import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from polars.testing import assert_frame_equal

from neonblue_lab.errors import BadInput, Conflict, NotFound, Unavailable
from neonblue_lab.events.records import RECORD_SCHEMA, Offsets, RecordBatch
from neonblue_lab.topics.kafka import KafkaSource, produce
from neonblue_lab.topics.sources import open_source

MOMENT = datetime(2026, 3, 2, 10, 0, 0, 123000, tzinfo=UTC)
PARTITIONS = 3


class FrameSource:
    """A source of the records of one frame: what an archive would give."""

    def __init__(self, topic: str, frame: pl.DataFrame, batch_records: int = 1_000) -> None:
        self._topic = topic
        self._frame = frame
        self._batch_records = batch_records
        self.name = "frame"

    def topics(self) -> list[str]:
        return [self._topic]

    def end_offsets(self, topic: str) -> dict[int, int]:
        return dict(self._frame.group_by("partition").agg(pl.col("offset").max() + 1).iter_rows())

    def read(self, starts: Mapping[str, Offsets]) -> Iterator[RecordBatch]:
        for frame in self._frame.iter_slices(self._batch_records):
            yield RecordBatch(self._topic, frame)


def records_frame(topic: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([{"topic": topic, "headers": None} | row for row in rows], schema=RECORD_SCHEMA)


def numbered(topic: str, count: int, value: Callable[[int], bytes] = lambda i: b"value %d" % i) -> pl.DataFrame:
    """`count` records over three partitions, offsets from 0 in each."""
    return records_frame(
        topic,
        [
            {
                "partition": i % PARTITIONS,
                "offset": i // PARTITIONS,
                "timestamp": MOMENT + timedelta(milliseconds=i),
                "key": b"user %d" % (i % 7),
                "value": value(i),
            }
            for i in range(count)
        ],
    )


def collect(source: KafkaSource, starts: Mapping[str, Offsets]) -> pl.DataFrame:
    frames = [batch.frame for batch in source.read(starts)]
    return pl.concat([pl.DataFrame(schema=RECORD_SCHEMA), *frames])


@pytest.fixture
def url(kafka: Any) -> str:
    return f"kafka://{kafka.bootstrap}"


@pytest.fixture
def topic() -> str:
    return f"test_{uuid.uuid4().hex}"


@pytest.fixture
def admin(kafka: Any) -> Iterator[KafkaAdminClient]:
    with KafkaAdminClient(bootstrap_servers=kafka.bootstrap) as client:
        yield client


@pytest.fixture
def filled(url: str, topic: str) -> str:
    """A topic of 30 records, ten in each partition."""
    produce(FrameSource(topic, numbered(topic, 30)), url)
    return topic


def test_round_trip_is_byte_exact(url: str, topic: str) -> None:
    every_byte = bytes(range(256))
    trace = {"key": "trace", "value": every_byte}
    at = {"timestamp": MOMENT}
    sent = records_frame(
        topic,
        [
            {"partition": 0, "offset": 0, **at, "key": b"k", "value": every_byte, "headers": [trace]},
            {"partition": 0, "offset": 1, **at, "key": None, "value": b"no key", "headers": [trace, trace]},
            {"partition": 1, "offset": 0, **at, "key": b"tombstone", "value": None},
            {"partition": 1, "offset": 1, **at, "key": b"", "value": b""},
            {"partition": 1, "offset": 2, **at, "key": None, "value": b"", "headers": [{"key": "", "value": b""}]},
            {
                "partition": 2,
                "offset": 0,
                "timestamp": datetime(1970, 1, 1, tzinfo=UTC),
                "key": b"k",
                "value": b"\xff\xfe",
            },
            {"partition": 2, "offset": 1, "timestamp": datetime(2100, 1, 1, tzinfo=UTC), "key": b"k", "value": b"{}"},
        ],
    )

    assert produce(FrameSource(topic, sent), url) == {topic: 7}

    source = KafkaSource(url, [topic])
    assert source.topics() == [topic]
    assert source.end_offsets(topic) == {0: 2, 1: 3, 2: 2}
    assert_frame_equal(collect(source, {topic: {}}).sort("partition", "offset"), sent)


def test_topic_is_made_with_the_partitions_of_the_source_even_where_some_are_empty(
    url: str, topic: str, admin: KafkaAdminClient
) -> None:
    only_last = numbered(topic, 9).filter(pl.col("partition") == 2)

    produce(FrameSource(topic, only_last), url)

    assert KafkaSource(url, [topic]).end_offsets(topic) == {0: 0, 1: 0, 2: 3}


def test_batches_are_as_large_as_asked_and_ascend_within_each_partition(url: str, topic: str) -> None:
    sent = numbered(topic, 5_000)
    produce(FrameSource(topic, sent), url)

    batches = list(KafkaSource(url, [topic], batch_records=1_200).read({topic: {}}))

    assert [batch.frame.height for batch in batches] == [1_200, 1_200, 1_200, 1_200, 200]
    read = pl.concat(batch.frame for batch in batches)
    for partition in range(PARTITIONS):
        there = pl.col("partition") == partition
        assert_frame_equal(read.filter(there), sent.filter(there))


def test_read_resumes_at_the_given_offsets(url: str, filled: str) -> None:
    read = collect(KafkaSource(url, [filled]), {filled: {0: 10, 1: 7}})

    offsets = read.group_by("partition").agg(pl.col("offset").sort()).sort("partition").rows()
    assert offsets == [(1, [7, 8, 9]), (2, list(range(10)))]


def test_each_read_starts_anew(url: str, filled: str) -> None:
    source = KafkaSource(url, [filled])
    abandoned = source.read({filled: {}})
    next(abandoned)
    abandoned.close()

    assert collect(source, {filled: {}}).height == 30
    assert collect(source, {filled: {}}).height == 30


def test_ends_are_fixed_when_the_source_is_opened(url: str, kafka: Any, filled: str) -> None:
    source = KafkaSource(url, [filled], batch_records=4)
    batches = []
    with KafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for batch in source.read({filled: {}}):
            batches.append(batch.frame)
            for partition in range(PARTITIONS):
                producer.send(filled, b"later", partition=partition)
            producer.flush()

    assert source.end_offsets(filled) == {0: 10, 1: 10, 2: 10}
    read = pl.concat(batches)
    assert read.height == 30
    assert read.filter(pl.col("value") == b"later").height == 0


def test_only_committed_transactions_are_seen(url: str, kafka: Any, topic: str, admin: KafkaAdminClient) -> None:
    admin.create_topics({topic: {"num_partitions": 1}}, wait_for_metadata=True)

    def transaction(name: str, count: int, producer: KafkaProducer) -> None:
        producer.begin_transaction()
        for i in range(count):
            producer.send(topic, f"{name} {i}".encode(), partition=0)
        producer.flush()

    with KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic) as producer:
        producer.init_transactions()
        transaction("kept", 3, producer)
        producer.commit_transaction()  # offsets 0-2 and the marker 3
        transaction("dropped", 5, producer)
        producer.abort_transaction()  # 4-8 and the marker 9
        transaction("kept too", 2, producer)
        producer.commit_transaction()  # 10-11 and the marker 12
        transaction("aborted at the end", 4, producer)
        producer.abort_transaction()  # 13-16 and the marker 17
        transaction("still open", 6, producer)  # from 18

        source = KafkaSource(url, [topic])
        read = collect(source, {topic: {}})
        nothing = collect(source, {topic: {0: 12}})
        producer.abort_transaction()

    assert source.end_offsets(topic) == {0: 18}
    assert read.select("offset", "value").rows() == [
        (0, b"kept 0"),
        (1, b"kept 1"),
        (2, b"kept 2"),
        (10, b"kept too 0"),
        (11, b"kept too 1"),
    ]
    assert nothing.height == 0


def test_deleted_records_are_never_a_silent_gap(url: str, filled: str, admin: KafkaAdminClient) -> None:
    admin.delete_records({TopicPartition(filled, 1): 6}, partition_leader_id=1)
    source = KafkaSource(url, [filled])
    assert source.beginning_offsets(filled) == {0: 0, 1: 6, 2: 0}

    with pytest.raises(Conflict, match=rf"{filled}-1 from offset 4, but its first record is at 6"):
        collect(source, {filled: {1: 4}})
    assert collect(source, {filled: {0: 10, 1: 6, 2: 10}})["offset"].to_list() == [6, 7, 8, 9]
    assert collect(source, {filled: {0: 10, 1: 0, 2: 10}})["offset"].to_list() == [6, 7, 8, 9]
    assert collect(source, {filled: {0: 10, 2: 10}})["offset"].to_list() == [6, 7, 8, 9]


def test_records_deleted_during_a_read_are_a_conflict(url: str, topic: str, admin: KafkaAdminClient) -> None:
    """The log is larger than what the client fetches ahead, so that the rest is gone when it is asked for."""
    produce(FrameSource(topic, numbered(topic, 180, lambda i: b"%d" % i * 100_000)), url)
    batches = KafkaSource(url, [topic], batch_records=1).read({topic: {}})
    next(batches)
    admin.delete_records({TopicPartition(topic, p): 60 for p in range(PARTITIONS)}, partition_leader_id=1)

    with pytest.raises(Conflict, match="deleted while they were being read"):
        list(batches)


def test_a_start_beyond_the_end_is_a_conflict(url: str, filled: str) -> None:
    with pytest.raises(Conflict, match=rf"{filled}-2 from offset 11, but it ends at 10"):
        collect(KafkaSource(url, [filled]), {filled: {2: 11}})


def test_a_topic_that_is_not_there_is_named_with_those_that_are(url: str, filled: str) -> None:
    with pytest.raises(NotFound, match=rf"no topic nowhere; it has: .*{filled}"):
        KafkaSource(url, ["nowhere"])
    with pytest.raises(NotFound, match="'nowhere'"):
        next(KafkaSource(url, [filled]).read({"nowhere": {}}))
    assert filled in KafkaSource(url).topics()


def test_a_broker_that_does_not_answer_is_said_within_ten_seconds() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(Unavailable, match=rf"kafka://{address}.*check the address"):
            KafkaSource(f"kafka://{address}")
    assert time.monotonic() - started < 10


def test_reading_goes_on_over_a_killed_and_restarted_broker(url: str, kafka: Any, topic: str) -> None:
    sent = numbered(topic, 300, lambda i: b"%d" % i * 50_000)
    produce(FrameSource(topic, sent), url)

    batches = KafkaSource(url, [topic], batch_records=10).read({topic: {}})
    read = [next(batches).frame]
    kafka.kill()
    kafka.restart()
    read += [batch.frame for batch in batches]

    assert_frame_equal(pl.concat(read).sort("partition", "offset"), sent.sort("partition", "offset"))


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


def test_open_source_tells_a_cluster_from_a_folder(url: str, filled: str) -> None:
    source = open_source(url, topics=[filled], batch_records=7)
    assert source.name == url
    assert [batch.frame.height for batch in source.read({filled: {}})] == [7, 7, 7, 7, 2]


def test_open_source_opens_an_archive_folder(tmp_path: Path) -> None:
    (tmp_path / "clicks").mkdir()
    (tmp_path / "clicks" / "all.ndjson").write_bytes(b"one\ntwo\n")

    source = open_source(str(tmp_path), topics=["clicks"])

    assert source.end_offsets("clicks") == {0: 2}
    with pytest.raises(NotFound, match="nowhere"):
        open_source(str(tmp_path), topics=["nowhere"])


@pytest.mark.parametrize("location", ["kafka://", "kafka://host", "kafka://host:1/topic", "kafka://a:1,,b:2"])
def test_a_malformed_cluster_url_is_bad_input(location: str) -> None:
    with pytest.raises(BadInput, match=r"kafka://host:port"):
        open_source(location)


def test_a_location_that_is_neither_is_bad_input() -> None:
    with pytest.raises(BadInput, match="neither a folder nor a Kafka cluster"):
        open_source("s3://bucket/topics")
