"""confluent-kafka (librdkafka) as a client: several times as fast, installed by the extra `fast`."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

import polars as pl

from neonblue_lab.errors import NeonBlueError, Unavailable
from neonblue_lab.topics.kafka import failures
from neonblue_lab.topics.kafka.client import (
    ANSWER_SECONDS,
    AT_ONCE,
    CONNECT_SECONDS,
    FETCH_BYTES,
    METADATA_MS,
    RECONNECT_MS,
    SESSION_MS,
    Fetched,
    OutOfRange,
    Partition,
)
from neonblue_lab.topics.kafka.columns import record_columns
from neonblue_lab.topics.kafka.security import Cluster

try:
    from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message
    from confluent_kafka import TopicPartition as _TopicPartition
except ImportError as error:
    raise Unavailable(
        "The Kafka client `confluent` is not installed: pip install 'neonblue-lab[fast]', or use kafka-python."
    ) from error

ATTEMPT_SECONDS = 1.0
PREFETCH_KBYTES = 64 << 10

_LOG = logging.getLogger(__name__)
_FIELDS: list[Any] = [
    Message.partition,
    Message.offset,
    Message.timestamp,
    Message.key,
    Message.value,
    Message.headers,
]
_REFUSALS = {
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
_SILENCE = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE}
_INTERNAL = {"__consumer_offsets", "__transaction_state", "__share_group_state"}
_GONE = {KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION, KafkaError.OFFSET_OUT_OF_RANGE}
_ABSENCE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}


def client_options(cluster: Cluster) -> dict[str, Any]:
    """The options that every client of a cluster takes, by librdkafka's names."""
    security = cluster.security
    options = {
        "bootstrap.servers": ",".join(cluster.addresses),
        "client.id": "neonblue-lab",
        "reconnect.backoff.max.ms": RECONNECT_MS,
        "security.protocol": security.protocol,
        "sasl.mechanism": security.mechanism,
        "sasl.username": security.username,
        "sasl.password": security.password,
        "ssl.ca.location": security.cafile,
        "ssl.certificate.location": security.certfile,
        "ssl.key.location": security.keyfile,
        "ssl.key.password": security.key_password,
    }
    return {name: value for name, value in options.items() if value is not None}


class ConfluentClient:
    """A Client on a confluent_kafka.Consumer."""

    def __init__(self, cluster: Cluster, group: str | None) -> None:
        self._url = cluster.url
        self._heard: KafkaError | None = None
        self._out_of_range: OutOfRange | None = None
        self._positions: dict[Partition, int] = {}
        self._taken: set[Partition] = set()
        self._lost: set[Partition] = set()
        self._consumer = Consumer(
            client_options(cluster)
            | {
                # librdkafka wants a name even where there is no group.
                "group.id": group or "neonblue-lab-without-group",
                "partition.assignment.strategy": "range,roundrobin",
                "session.timeout.ms": SESSION_MS,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "check.crcs": True,
                "allow.auto.create.topics": False,
                "enable.partition.eof": True,
                "topic.metadata.refresh.interval.ms": METADATA_MS,
                "max.partition.fetch.bytes": FETCH_BYTES,
                "queued.max.messages.kbytes": PREFETCH_KBYTES,
                "fetch.wait.max.ms": 100,
                # A second unless told: fetching would pause that long each time the queue has filled.
                "fetch.queue.backoff.ms": 10,
                "error_cb": self._hear,
                "log_level": 0,  # What matters is told to error_cb.
            }
        )
        try:
            self._await_answer()
        except NeonBlueError:
            self._consumer.close()
            raise

    def partitions(self) -> dict[str, list[int]]:
        metadata = self._metadata(None, ANSWER_SECONDS)
        return {name: numbers for name, numbers in metadata.items() if name not in _INTERNAL}

    def partitions_of(self, topics: Sequence[str], seconds: float) -> dict[str, list[int]]:
        return {topic: self._metadata(topic, seconds).get(topic, []) for topic in topics}

    def beginnings(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        return self._offsets(partitions, OFFSET_BEGINNING, ANSWER_SECONDS)

    def ends(self, partitions: Iterable[Partition], seconds: float = ANSWER_SECONDS) -> dict[Partition, int]:
        return self._offsets(partitions, OFFSET_END, seconds)

    def offsets_at(self, partitions: Iterable[Partition], milliseconds: int) -> dict[Partition, int | None]:
        found = self._offsets(partitions, milliseconds, ANSWER_SECONDS)
        return {partition: None if offset < 0 else offset for partition, offset in found.items()}

    def join(self, topics: Sequence[str], group: str) -> None:
        self._consumer.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def take(self, positions: Mapping[Partition, int]) -> None:
        self._positions |= positions
        with self._reaching():
            self._consumer.assign([_TopicPartition(*p, offset) for p, offset in self._positions.items()])

    def release(self, partition: Partition) -> None:
        del self._positions[partition]
        with self._reaching():
            self._consumer.incremental_unassign([_TopicPartition(*partition)])

    def fetch(self, most: int, seconds: float) -> Fetched:
        if self._out_of_range is not None:
            raise self._out_of_range
        deadline = time.monotonic() + seconds
        with self._reaching():
            messages = self._consumer.consume(1, seconds)
            # What is there already comes at once; a batch that is not full is not waited for.
            if messages and most > 1:
                messages += self._consumer.consume(
                    min(most, AT_ONCE) - 1, min(0.02, max(0.0, deadline - time.monotonic()))
                )
        fetched = Fetched(taken=self._taken, lost=self._lost)
        self._taken, self._lost = set(), set()
        events = [message for message in messages if message.error() is not None]
        if events:
            messages = [message for message in messages if message.error() is None]
        for topic, own in self._by_topic(messages).items():
            frame = _frame(topic, own)
            fetched.frames.append((topic, frame))
            for partition, last in frame.group_by("partition").agg(pl.col("offset").max()).iter_rows():
                fetched.positions[topic, partition] = max(last + 1, fetched.positions.get((topic, partition), 0))
        for event in events:
            self._happened(event, fetched)
        self._positions |= {p: position for p, position in fetched.positions.items() if p in self._positions}
        return fetched

    def close(self) -> None:
        self._consumer.close()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                self._metadata(None, ATTEMPT_SECONDS)
                return
            except failures.Unreachable as error:
                self._consumer.poll(0)  # Lets error_cb speak.
                if self._heard is not None and self._heard.code() in _REFUSALS:
                    raise failures.refused(self._url, self._heard.str()) from error
                if time.monotonic() >= deadline:
                    if self._heard is None:
                        raise
                    raise failures.unreachable(self._url, self._heard.str()) from error

    def _metadata(self, topic: str | None, seconds: float) -> dict[str, list[int]]:
        with self._reaching():
            metadata = self._consumer.list_topics(topic, timeout=seconds)
        return {name: sorted(found.partitions) for name, found in metadata.topics.items() if found.error is None}

    def _offsets(self, partitions: Iterable[Partition], at: int, seconds: float) -> dict[Partition, int]:
        """What a broker answers to a moment, or to OFFSET_BEGINNING or OFFSET_END in its place."""
        wanted = [_TopicPartition(*partition, at) for partition in partitions]
        with self._reaching():
            found = self._consumer.offsets_for_times(wanted, timeout=seconds) if wanted else []
            for one in found:
                if one.error is not None:
                    raise KafkaException(one.error)
        return {(one.topic, one.partition): one.offset for one in found}

    def _by_topic(self, messages: list[Any]) -> dict[str, list[Any]]:
        if messages and len({topic for topic, _ in self._positions}) == 1:
            return {messages[0].topic(): messages}
        found: dict[str, list[Any]] = {}
        for message in messages:
            found.setdefault(message.topic(), []).append(message)
        return found

    def _assigned(self, consumer: Consumer, partitions: list[_TopicPartition]) -> None:
        self._taken |= {(one.topic, one.partition) for one in partitions}
        consumer.assign([])  # Until `take` says from where to read them.

    def _revoked(self, consumer: Consumer, partitions: list[_TopicPartition]) -> None:
        lost = {(one.topic, one.partition) for one in partitions}
        self._lost |= lost
        self._taken -= lost
        self._positions = {p: position for p, position in self._positions.items() if p not in lost}
        consumer.unassign()

    def _hear(self, error: KafkaError) -> None:
        self._heard = error

    def _happened(self, event: Any, fetched: Fetched) -> None:
        """Take note of an event between the messages, or raise what it means."""
        error, partition = event.error(), (event.topic(), event.partition())
        if error.code() == KafkaError._PARTITION_EOF:
            fetched.positions[partition] = max(event.offset(), fetched.positions.get(partition, 0))
        elif error.code() in _GONE:
            # Raised by the next fetch: what came with it is handed over first.
            position = fetched.positions.get(partition, self._positions.get(partition, 0))
            self._out_of_range = OutOfRange(partition, position, error.str())
        elif error.code() in _SILENCE | _ABSENCE or error.retriable():
            _LOG.info("%s: %s", self._url, error.str())
        else:
            raise self._failure(error)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn what the client raises into errors that say what to check."""
        try:
            yield
        except KafkaException as error:
            raise self._failure(error.args[0]) from error

    def _failure(self, error: KafkaError) -> NeonBlueError:
        code = error.code()
        if code in _REFUSALS:
            return failures.refused(self._url, error.str())
        if code == KafkaError._NOT_IMPLEMENTED:
            return failures.undecodable(self._url, error.str())
        if code == KafkaError._BAD_MSG:
            return failures.corrupt(self._url, error.str())
        if code in _SILENCE or error.retriable():
            return failures.unreachable(self._url, error.str())
        return failures.failed(self._url, error.str())


def _frame(topic: str, messages: list[Any]) -> pl.DataFrame:
    partitions, offsets, timestamps, keys, values, headers = (list(map(get, messages)) for get in _FIELDS)
    milliseconds = list(map(itemgetter(1), timestamps))
    return record_columns(topic, partitions, offsets, milliseconds, keys, values, headers)
