"""Promises of reading a real Kafka cluster, with each client: byte for byte, bounded, committed only, never a silent gap."""

import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from polars.testing import assert_frame_equal

from neonblue_lab.errors import BadInput, Conflict, Corrupt, NotFound, Unavailable
from neonblue_lab.events.records import RECORD_SCHEMA, Offsets, OffsetsGone
from neonblue_lab.topics.kafka import KafkaSource, produce
from neonblue_lab.topics.sources import open_source
from tests.services.frames import MOMENT, PARTITIONS, FrameSource, numbered, records_frame


def collect(source: KafkaSource, starts: Mapping[str, Offsets]) -> pl.DataFrame:
    frames = [batch.frame for batch in source.read(starts)]
    return pl.concat([pl.DataFrame(schema=RECORD_SCHEMA), *frames])


def test_round_trip_is_byte_exact(client: str, url: str, topic: str) -> None:
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

    source = KafkaSource(url, [topic], client=client)
    assert source.topics() == [topic]
    assert source.end_offsets(topic) == {0: 2, 1: 3, 2: 2}
    assert_frame_equal(collect(source, {topic: {}}).sort("partition", "offset"), sent)


def test_headers_may_repeat_a_key_and_have_no_value(client: str, url: str, kafka: Any, filled: str) -> None:
    """Written by librdkafka: kafka-python cannot send a header without a value."""
    producer = pytest.importorskip("confluent_kafka").Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(filled, b"v", None, 0, headers=[("h", None), ("h", b""), ("h", b"\xff")])
    producer.flush()

    read = collect(KafkaSource(url, [filled], client=client), {filled: {0: 10, 1: 10, 2: 10}})
    pairs = [[(header["key"], header["value"]) for header in headers] for headers in read["headers"].to_list()]
    assert pairs == [[("h", None), ("h", b""), ("h", b"\xff")]]


def test_batches_are_as_large_as_asked_and_ascend_within_each_partition(client: str, url: str, topic: str) -> None:
    sent = numbered(topic, 5_000)
    produce(FrameSource(topic, sent), url)

    batches = list(KafkaSource(url, [topic], client=client, batch_records=1_200).read({topic: {}}))

    assert [batch.frame.height for batch in batches] == [1_200, 1_200, 1_200, 1_200, 200]
    read = pl.concat(batch.frame for batch in batches)
    for partition in range(PARTITIONS):
        there = pl.col("partition") == partition
        assert_frame_equal(read.filter(there), sent.filter(there))


def test_read_resumes_at_the_given_offsets(client: str, url: str, filled: str) -> None:
    read = collect(KafkaSource(url, [filled], client=client), {filled: {0: 10, 1: 7}})

    offsets = read.group_by("partition").agg(pl.col("offset").sort()).sort("partition").rows()
    assert offsets == [(1, [7, 8, 9]), (2, list(range(10)))]


def test_ends_shorten_what_is_read_and_never_lengthen_it(client: str, url: str, filled: str) -> None:
    source = KafkaSource(url, [filled], client=client)
    read = pl.concat(batch.frame for batch in source.read({filled: {0: 2}}, {filled: {0: 5, 1: 0, 2: 99}}))

    offsets = read.group_by("partition").agg(pl.col("offset").sort()).sort("partition").rows()
    assert offsets == [(0, [2, 3, 4]), (2, list(range(10)))]


def test_offsets_at_a_moment_are_the_first_not_before_it(client: str, url: str, filled: str) -> None:
    """Record i has the time MOMENT + i ms and lies at offset i // 3 of partition i % 3."""
    source = KafkaSource(url, [filled], client=client)
    at = [source.offsets_at(filled, MOMENT + timedelta(milliseconds=after)) for after in (-9, 13, 13.001, 29, 30)]
    assert at == [
        {0: 0, 1: 0, 2: 0},
        {0: 5, 1: 4, 2: 4},
        {0: 5, 1: 5, 2: 4},
        {0: 10, 1: 10, 2: 9},
        {0: 10, 1: 10, 2: 10},
    ]
    assert source.offsets_at(filled, datetime(1950, 1, 1, tzinfo=UTC)) == {0: 0, 1: 0, 2: 0}


def test_a_value_larger_than_a_fetch_is_read(
    client: str, url: str, kafka: Any, topic: str, admin: KafkaAdminClient
) -> None:
    large = {"max.message.bytes": str(16 << 20)}
    admin.create_topics({topic: {"num_partitions": 1, "configs": large}}, wait_for_metadata=True)
    values = [b"before", bytes(10 << 20), b"after"]
    with KafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=16 << 20) as producer:
        for value in values:
            producer.send(topic, value, partition=0)
        producer.flush()

    assert collect(KafkaSource(url, [topic], client=client), {topic: {}})["value"].to_list() == values


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_are_read(client: str, url: str, kafka: Any, filled: str, codec: str) -> None:
    values = [b'{"n": %d, "text": "%s"}' % (i, b"abc" * 50) for i in range(500)]
    with KafkaProducer(bootstrap_servers=kafka.bootstrap, compression_type=codec, linger_ms=50) as producer:
        for value in values:
            producer.send(filled, value, partition=0)
        producer.flush()

    assert (
        collect(KafkaSource(url, [filled], client=client), {filled: {0: 10, 1: 10, 2: 10}})["value"].to_list() == values
    )


def test_a_compacted_topic_is_read_to_its_end(
    client: str, url: str, kafka: Any, topic: str, admin: KafkaAdminClient
) -> None:
    """What compaction removed is no gap that is complained of, and the last offsets may be among it."""
    eager = {
        "cleanup.policy": "compact",
        "segment.ms": "100",
        "min.cleanable.dirty.ratio": "0.01",
        "delete.retention.ms": "0",
    }
    admin.create_topics({topic: {"num_partitions": 1, "configs": eager}}, wait_for_metadata=True)
    with KafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for i in range(60):
            producer.send(topic, b"%d" % i, key=b"%d" % (i % 3), partition=0)
        producer.send(topic, None, key=b"0", partition=0)
        producer.flush()
        deadline = time.monotonic() + 60
        while True:  # a record with another key closes the segment; the cleaner then takes its time
            producer.send(topic, b"closing", key=b"other", partition=0)
            producer.flush()
            read = collect(KafkaSource(url, [topic], client=client), {topic: {}})
            left = read.filter(pl.col("key") != b"other")
            if left.height <= 3:
                break
            assert time.monotonic() < deadline, f"not compacted: {left}"
            time.sleep(0.3)

    kept = dict(left.filter(pl.col("value").is_not_null()).select("key", "value").iter_rows())
    assert kept == {b"1": b"58", b"2": b"59"}
    assert read["offset"].is_sorted()


def test_a_record_that_does_not_match_its_checksum_is_corrupt(client: str, url: str, kafka: Any, filled: str) -> None:
    (segment,) = (kafka.data / f"{filled}-1").glob("*.log")
    stored = segment.read_bytes()
    segment.write_bytes(stored.replace(b"value 13", b"value 99"))

    with pytest.raises(Corrupt, match=r"(?i)crc"):
        collect(KafkaSource(url, [filled], client=client), {filled: {}})


def test_each_read_starts_anew(client: str, url: str, filled: str) -> None:
    source = KafkaSource(url, [filled], client=client)
    abandoned = source.read({filled: {}})
    next(abandoned)
    abandoned.close()

    assert collect(source, {filled: {}}).height == 30
    assert collect(source, {filled: {}}).height == 30


def test_ends_are_fixed_when_the_source_is_opened(client: str, url: str, kafka: Any, filled: str) -> None:
    source = KafkaSource(url, [filled], client=client, batch_records=4)
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


def test_only_committed_transactions_are_seen(
    client: str, url: str, kafka: Any, topic: str, admin: KafkaAdminClient
) -> None:
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

        source = KafkaSource(url, [topic], client=client)
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


def test_deleted_records_are_never_a_silent_gap(client: str, url: str, filled: str, admin: KafkaAdminClient) -> None:
    admin.delete_records({TopicPartition(filled, 1): 6}, partition_leader_id=1)
    source = KafkaSource(url, [filled], client=client)
    assert source.beginning_offsets(filled) == {0: 0, 1: 6, 2: 0}

    with pytest.raises(Conflict, match=rf"{filled}-1 from offset 4, but its first record is at 6"):
        collect(source, {filled: {1: 4}})
    assert collect(source, {filled: {0: 10, 1: 6, 2: 10}})["offset"].to_list() == [6, 7, 8, 9]
    assert collect(source, {filled: {0: 10, 1: 0, 2: 10}})["offset"].to_list() == [6, 7, 8, 9]
    assert collect(source, {filled: {0: 10, 2: 10}})["offset"].to_list() == [6, 7, 8, 9]


def test_records_deleted_during_a_read_are_a_conflict(
    client: str, url: str, topic: str, admin: KafkaAdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is larger than what the client fetches ahead, so that the rest is gone when it is asked for."""
    if client == "confluent":
        monkeypatch.setattr("neonblue_lab.topics.kafka.confluent.PREFETCH_KBYTES", 2_000)
    produce(FrameSource(topic, numbered(topic, 180, lambda i: b"%d" % i * 100_000)), url)
    batches = KafkaSource(url, [topic], client=client, batch_records=1).read({topic: {}})
    read = [next(batches).frame]
    admin.delete_records({TopicPartition(topic, p): 60 for p in range(PARTITIONS)}, partition_leader_id=1)

    with pytest.raises(OffsetsGone, match="deleted while they were being read") as caught:
        read.extend(batch.frame for batch in batches)
    lost = caught.value
    assert (lost.topic, lost.next) == (topic, 60)
    offsets = pl.concat(read).filter(pl.col("partition") == lost.partition)["offset"].to_list()
    assert offsets == list(range(lost.first))  # all until there was handed over, and nothing was lost unsaid
    assert lost.first < 60


def test_a_start_beyond_the_end_is_a_conflict(client: str, url: str, filled: str) -> None:
    with pytest.raises(Conflict, match=rf"{filled}-2 from offset 11, but it ends at 10"):
        collect(KafkaSource(url, [filled], client=client), {filled: {2: 11}})


def test_a_topic_that_is_not_there_is_named_with_those_that_are(client: str, url: str, filled: str) -> None:
    with pytest.raises(NotFound, match=rf"no topic nowhere; it has: .*{filled}"):
        KafkaSource(url, ["nowhere"], client=client)
    with pytest.raises(NotFound, match="'nowhere'"):
        next(KafkaSource(url, [filled], client=client).read({"nowhere": {}}))
    assert filled in KafkaSource(url, client=client).topics()


def test_a_broker_that_does_not_answer_is_said_within_ten_seconds(client: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(Unavailable, match=rf"kafka://{address}.*check the address"):
            KafkaSource(f"kafka://{address}", client=client)
    assert time.monotonic() - started < 10


def test_a_killed_broker_is_waited_for_and_then_given_up(
    client: str, url: str, kafka: Any, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = numbered(topic, 300, lambda i: b"%d" % i * 150_000)  # more than a client fetches ahead
    produce(FrameSource(topic, sent), url)

    patient, impatient = (
        KafkaSource(url, [topic], client=client, batch_records=10).read({topic: {}}) for _ in range(2)
    )
    read = [next(patient).frame]
    next(impatient)
    kafka.kill()
    try:
        with monkeypatch.context() as patch:
            patch.setattr("neonblue_lab.topics.kafka.source.STALL_SECONDS", 1)
            with pytest.raises(Unavailable, match=rf"sent nothing for 1 s, waiting for {topic}-"):
                list(impatient)
    finally:
        kafka.restart()
    read += [batch.frame for batch in patient]

    assert_frame_equal(pl.concat(read).sort("partition", "offset"), sent.sort("partition", "offset"))


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


def test_an_unknown_client_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="no Kafka client 'rdkafka': choose kafka-python or confluent"):
        open_source("kafka://127.0.0.1:1", client="rdkafka")
    monkeypatch.setenv("NEONBLUE_KAFKA_CLIENT", "other")
    with pytest.raises(BadInput, match="NEONBLUE_KAFKA_CLIENT"):
        open_source("kafka://127.0.0.1:1")


@pytest.mark.parametrize("location", ["kafka://", "kafka://host", "kafka://host:1/topic", "kafka://a:1,,b:2"])
def test_a_malformed_cluster_url_is_bad_input(location: str) -> None:
    with pytest.raises(BadInput, match=r"kafka://host:port"):
        open_source(location)


def test_a_location_that_is_neither_is_bad_input() -> None:
    with pytest.raises(BadInput, match="neither a folder nor a Kafka cluster"):
        open_source("s3://bucket/topics")


def test_stored_bytes_are_what_the_brokers_hold(client: str, url: str, filled: str, kafka: Any) -> None:
    source = KafkaSource(url, [filled], client=client)
    logs = {int(folder.name.rpartition("-")[2]): folder for folder in kafka.data.glob(f"{filled}-*")}
    held = {p: sum(file.stat().st_size for file in folder.glob("*.log")) for p, folder in logs.items()}
    assert source.stored_bytes(filled) == {partition: held[partition] for partition in source.end_offsets(filled)}
