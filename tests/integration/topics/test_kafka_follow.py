"""Promises of following a real Kafka cluster, with each client: every record once, whatever happens to brokers and members."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from neonblue_lab.errors import BadInput, Conflict, NotFound
from neonblue_lab.events.records import OffsetsGone, RecordBatch
from neonblue_lab.topics.kafka import KafkaFollower, produce
from neonblue_lab.topics.sources import open_live
from tests.services.frames import FrameSource, numbered

PATIENCE = 60
LINGER = 0.1


class Reader:
    """Someone who follows, remembers what came of which partition, and says where to go on: what a lake does."""

    def __init__(
        self, follower: KafkaFollower, topics: list[str], marks: dict[tuple[str, int], int] | None = None
    ) -> None:
        self.marks = {} if marks is None else marks
        self.frames: list[pl.DataFrame] = []
        self.asked: list[tuple[str, int]] = []
        self.stop = threading.Event()
        self.idle = 0
        self._batches = follower.follow(topics, self._position, stop=self.stop, linger=LINGER)

    def _position(self, topic: str, partition: int) -> int | None:
        self.asked.append((topic, partition))
        return self.marks.get((topic, partition))

    def take(self, batch: RecordBatch | None) -> None:
        if batch is None:
            self.idle += 1
            return
        for partition in batch.frame["partition"].unique().to_list():
            own = batch.frame.filter(pl.col("partition") == partition)
            mark = self.marks.get((batch.topic, partition), 0)
            assert own["offset"].is_sorted()
            new = own.filter(pl.col("offset") >= mark)  # what another member read meanwhile is refused by the marks
            self.frames.append(new)
            self.marks[batch.topic, partition] = max(mark, own["offset"][-1] + 1)

    def until(self, done: Callable[[], bool]) -> None:
        """Follow until `done`, which is asked after each batch and each silence."""
        deadline = time.monotonic() + PATIENCE
        for batch in self._batches:
            self.take(batch)
            if done():
                return
            assert time.monotonic() < deadline, f"waited in vain at {self.marks}"

    def close(self) -> None:
        """Leave, as a follower that was told to stop does."""
        self.stop.set()
        for batch in self._batches:
            self.take(batch)

    @property
    def values(self) -> list[bytes]:
        return sorted(value for frame in self.frames for value in frame["value"].to_list())


@pytest.fixture
def producer(kafka: Any) -> Iterator[KafkaProducer]:
    with KafkaProducer(bootstrap_servers=kafka.bootstrap) as connection:
        yield connection


def send(producer: KafkaProducer, topic: str, partition: int, *values: bytes) -> None:
    for value in values:
        producer.send(topic, value, partition=partition)
    producer.flush()


def test_records_are_handed_over_as_they_arrive_and_silence_is_told(
    client: str, url: str, filled: str, producer: KafkaProducer
) -> None:
    follower = KafkaFollower(url, [filled], client=client)
    assert follower.end_offsets(filled) == {0: 10, 1: 10, 2: 10}
    reader = Reader(follower, [filled], {(filled, 0): 4})
    reader.until(lambda: len(reader.values) == 26)
    assert sorted(reader.asked) == [(filled, 0), (filled, 1), (filled, 2)]

    reader.until(lambda: reader.idle >= 2)
    send(producer, filled, 1, b"new")
    reader.until(lambda: b"new" in reader.values)
    reader.close()

    assert reader.marks == {(filled, 0): 10, (filled, 1): 11, (filled, 2): 10}
    assert len(reader.values) == 27


def test_batches_are_closed_when_they_are_full(client: str, url: str, filled: str) -> None:
    follower = KafkaFollower(url, [filled], batch_records=7, client=client)
    reader = Reader(follower, [filled])
    heights: list[int] = []
    reader.take = lambda batch: heights.append(batch.frame.height) if batch else None  # type: ignore[method-assign]
    reader.until(lambda: sum(heights) == 30)
    reader.close()
    assert heights == [7, 7, 7, 7, 2]


def test_several_topics_are_followed_at_once(client: str, url: str, topic: str) -> None:
    names = [f"{topic}_{end}" for end in "ab"]
    for name in names:
        produce(FrameSource(name, numbered(name, 30)), url)
    reader = Reader(KafkaFollower(url, names, client=client), names)
    reader.until(lambda: len(reader.values) == 60)
    reader.close()
    assert reader.marks == {(name, partition): 10 for name in names for partition in range(3)}


def test_a_partition_that_is_added_is_read_from_where_the_caller_says(
    client: str, url: str, filled: str, admin: KafkaAdminClient
) -> None:
    reader = Reader(KafkaFollower(url, [filled], client=client), [filled])
    reader.until(lambda: len(reader.values) == 30)
    admin.create_partitions({filled: 5})
    with KafkaProducer(bootstrap_servers=url.removeprefix("kafka://")) as fresh:
        send(fresh, filled, 4, b"on the new partition")
    reader.until(lambda: b"on the new partition" in reader.values)
    reader.close()
    assert (filled, 4) in reader.asked
    assert len(reader.values) == 31


def test_a_killed_broker_is_waited_for(
    client: str, url: str, kafka: Any, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Alone and in a group: nothing is raised, silence is told, and both go on when the broker is back."""
    produce(FrameSource(topic, numbered(topic, 30)), url)
    alone = Reader(KafkaFollower(url, [topic], client=client), [topic])
    member = Reader(KafkaFollower(url, [topic], client=client, group=topic), [topic])
    for reader in (alone, member):
        reader.until(lambda reader=reader: len(reader.values) == 30)
    with caplog.at_level(logging.WARNING, "neonblue_lab.topics.kafka.follower"):
        kafka.kill()
        for number, reader in enumerate((alone, member), 1):
            before = reader.idle
            reader.until(lambda number=number: caplog.text.count("Trying on.") >= number)
            reader.until(lambda reader=reader, before=before: reader.idle > before + 3)
        assert caplog.text.count("Trying on.") == 2, "each says it once, however long it lasts"
        kafka.restart()
        produce(FrameSource(topic, numbered(topic, 30, lambda i: b"later %d" % i)), url, append=True)
        for number, reader in enumerate((alone, member), 1):
            reader.until(lambda reader=reader: len(reader.values) == 60)
            reader.until(lambda number=number: caplog.text.count("answers again.") >= number)
            reader.close()
            assert len(set(reader.values)) == 60


def test_offsets_deleted_below_a_position_are_said_exactly(
    client: str, url: str, filled: str, admin: KafkaAdminClient
) -> None:
    admin.delete_records({TopicPartition(filled, 1): 6}, partition_leader_id=1)
    reader = Reader(KafkaFollower(url, [filled], client=client), [filled], {(filled, 1): 4})
    with pytest.raises(OffsetsGone) as caught:
        reader.until(lambda: False)
    gone = caught.value
    assert (gone.topic, gone.partition, gone.first, gone.next) == (filled, 1, 4, 6)

    admin.delete_records({TopicPartition(filled, p): 6 for p in range(3)}, partition_leader_id=1)
    fresh = Reader(KafkaFollower(url, [filled], client=client), [filled])
    fresh.until(lambda: len(fresh.values) == 12)
    fresh.close()


def test_a_position_beyond_the_end_is_another_topic(client: str, url: str, filled: str) -> None:
    reader = Reader(KafkaFollower(url, [filled], client=client), [filled], {(filled, 2): 11})
    with pytest.raises(Conflict, match=rf"{filled}-2 was to be read from offset 11, but it ends at 10"):
        reader.until(lambda: False)


def test_members_of_a_group_share_partitions_and_take_over(url: str, filled: str, producer: KafkaProducer) -> None:
    """Both clients in one group; every record is taken once, as the marks are shared as they are in a lake."""
    pytest.importorskip("confluent_kafka")
    marks: dict[tuple[str, int], int] = {}
    sent = [b"value %d" % i for i in range(30)]
    readers = [
        Reader(KafkaFollower(url, [filled], client=name, group=filled), [filled], marks)
        for name in ("kafka-python", "confluent")
    ]
    done = threading.Event()

    def wanted() -> bool:
        return sorted(readers[0].values + readers[1].values) == sorted(sent)

    threads = [threading.Thread(target=reader.until, args=(done.is_set,)) for reader in readers]
    for thread in threads:
        thread.start()

    def settle() -> None:
        deadline = time.monotonic() + PATIENCE
        while not wanted():
            assert time.monotonic() < deadline, f"waited in vain at {marks}"
            time.sleep(0.05)

    settle()
    deadline = time.monotonic() + PATIENCE
    while not all(reader.asked for reader in readers):  # both have been given some
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for partition in range(3):
        values = [b"shared %d-%d" % (partition, i) for i in range(20)]
        send(producer, filled, partition, *values)
        sent += values
    settle()
    done.set()
    for thread in threads:
        thread.join(PATIENCE)
    readers[0].close()

    for partition in range(3):
        send(producer, filled, partition, b"after one left %d" % partition)
        sent.append(b"after one left %d" % partition)
    readers[1].until(wanted)
    readers[1].close()


def test_what_cannot_be_followed_is_said(client: str, url: str, filled: str) -> None:
    with pytest.raises(NotFound, match=rf"no topic nowhere; it has: .*{filled}"):
        open_live(url, topics=["nowhere", filled], client=client)
    with pytest.raises(BadInput, match="no Kafka cluster: only a cluster's partitions are shared"):
        open_live("/tmp", topics=[filled], group="g")
    assert open_live(url, topics=[filled], client=client).name == url
