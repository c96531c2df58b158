"""kafka-python as a client: pure Python, always installed."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from operator import attrgetter
from typing import Any

import polars as pl
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import (
    AuthorizationError,
    CorruptRecordError,
    KafkaError,
    KafkaTimeoutError,
    LogTruncationError,
    OffsetOutOfRangeError,
    RequestTimedOutError,
    RetriableError,
    SaslAuthenticationFailedError,
    UnsupportedCodecError,
)

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

CLOSE_MS = 3_000

# What goes wrong is raised as an error of ours; without a handler the client would also print it to stderr.
logging.getLogger("kafka").addHandler(logging.NullHandler())

_FIELDS = [attrgetter(name) for name in ("offset", "timestamp", "key", "value", "headers")]


def client_options(cluster: Cluster) -> dict[str, Any]:
    """The options that consumers, producers and admin clients of a cluster take."""
    security = cluster.security
    options = {
        "bootstrap_servers": list(cluster.addresses),
        "client_id": "neonblue-lab",
        "bootstrap_timeout_ms": int(CONNECT_SECONDS * 1000),
        "reconnect_backoff_max_ms": RECONNECT_MS,
        "security_protocol": security.protocol,
        "sasl_mechanism": security.mechanism,
        "sasl_plain_username": security.username,
        "sasl_plain_password": security.password,
        "ssl_cafile": security.cafile,
        "ssl_certfile": security.certfile,
        "ssl_keyfile": security.keyfile,
        "ssl_password": security.key_password,
    }
    return {name: value for name, value in options.items() if value is not None}


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turn what the client raises into errors that say what to check.

    Raises:
        Unavailable: the cluster does not answer, refuses, or compresses with a codec that is not installed.
        Corrupt: a record does not match its checksum.
    """
    try:
        yield
    except UnsupportedCodecError as error:
        raise failures.undecodable(url, error) from error
    except CorruptRecordError as error:
        raise failures.corrupt(url, error) from error
    except (AuthorizationError, SaslAuthenticationFailedError) as error:
        raise failures.refused(url, error) from error
    except RetriableError as error:
        raise failures.unreachable(url, error) from error
    except KafkaError as error:
        raise failures.failed(url, error) from error


@contextmanager
def connecting(cluster: Cluster) -> Iterator[None]:
    """As `reaching`, for the first time: the client then says only that it took too long, and logs why."""
    heard = _Hearing()
    logger = logging.getLogger("kafka")
    logger.addHandler(heard)
    try:
        with reaching(cluster.url):
            yield
    except failures.Unreachable as error:
        reason = heard.reason or error.__cause__
        if isinstance(reason, (AuthorizationError, SaslAuthenticationFailedError)):
            raise failures.refused(cluster.url, reason) from error
        if cluster.security.password is not None and "disconnected" in str(reason):
            # The answer of a broker that refuses a password is not seen, only that it hangs up then.
            told = f"it ends the connection when told the user and password ({reason})"
            raise failures.refused(cluster.url, told) from error
        raise failures.unreachable(cluster.url, reason) from error
    finally:
        logger.removeHandler(heard)


class _Hearing(logging.Handler):
    """Remembers the last exception that was logged, other than that time is up."""

    reason: Exception | None = None

    def emit(self, record: logging.LogRecord) -> None:
        for told in record.args or ():
            if isinstance(told, Exception) and not isinstance(told, (KafkaTimeoutError, RequestTimedOutError)):
                self.reason = told


class KafkaPythonClient:
    """A Client on a KafkaConsumer."""

    def __init__(self, cluster: Cluster, group: str | None) -> None:
        self._url = cluster.url
        self._rebalances: _Rebalances | None = None
        with connecting(cluster):
            self._consumer = KafkaConsumer(
                **client_options(cluster),
                group_id=group,
                session_timeout_ms=SESSION_MS,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                allow_auto_create_topics=False,
                max_partition_fetch_bytes=FETCH_BYTES,
                metadata_max_age_ms=METADATA_MS,
            )

    def partitions(self) -> dict[str, list[int]]:
        with reaching(self._url):
            return {topic: sorted(self._consumer.partitions_for_topic(topic)) for topic in self._consumer.topics()}

    def partitions_of(self, topics: Sequence[str], seconds: float) -> dict[str, list[int]]:
        with reaching(self._url):
            return {topic: sorted(self._consumer.partitions_for_topic(topic)) for topic in topics}

    def beginnings(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        with reaching(self._url):
            return _plain(self._consumer.beginning_offsets(_named(partitions), timeout_ms=_ms(ANSWER_SECONDS)))

    def ends(self, partitions: Iterable[Partition], seconds: float = ANSWER_SECONDS) -> dict[Partition, int]:
        with reaching(self._url):
            return _plain(self._consumer.end_offsets(_named(partitions), timeout_ms=_ms(seconds)))

    def offsets_at(self, partitions: Iterable[Partition], milliseconds: int) -> dict[Partition, int | None]:
        wanted = dict.fromkeys(_named(partitions), milliseconds)
        with reaching(self._url):
            found = self._consumer.offsets_for_times(wanted, timeout_ms=_ms(ANSWER_SECONDS))
        return {(tp.topic, tp.partition): None if at is None else at.offset for tp, at in found.items()}

    def join(self, topics: Sequence[str], group: str) -> None:
        self._rebalances = _Rebalances(self._consumer)
        self._consumer.subscribe(list(topics), listener=self._rebalances)

    def take(self, positions: Mapping[Partition, int]) -> None:
        taken = _named(positions)
        if self._rebalances is None:
            self._consumer.assign([*self._consumer.assignment(), *taken])
        for tp in taken:
            self._consumer.seek(tp, positions[tp])
        self._consumer.resume(*taken)

    def release(self, partition: Partition) -> None:
        self._consumer.pause(TopicPartition(*partition))

    def fetch(self, most: int, seconds: float) -> Fetched:
        with reaching(self._url):
            try:
                polled = self._consumer.poll(_ms(seconds), max_records=min(most, AT_ONCE))
            except OffsetOutOfRangeError as error:
                tp, position = next(iter(error.args[0].items()))
                raise OutOfRange((tp.topic, tp.partition), getattr(position, "offset", position), str(error)) from error
            except LogTruncationError as error:
                tp, position = next(iter(error.divergent_offsets.items()))
                raise OutOfRange((tp.topic, tp.partition), position.offset, str(error)) from error
            fetched = Fetched() if self._rebalances is None else self._rebalances.told()
            fetched.frames = [(tp.topic, _frame(records)) for tp, records in polled.items()]
            fetched.positions = {(tp.topic, tp.partition): records[-1].offset + 1 for tp, records in polled.items()}
            # The last offset may be a transaction's marker or compacted away: the position passes it, unseen.
            for tp in self._consumer.assignment() - self._consumer.paused():
                with suppress(KafkaTimeoutError):  # of a broker that has just died: what it sent is there all the same
                    fetched.positions[tp.topic, tp.partition] = self._consumer.position(tp, timeout_ms=0)
        return fetched

    def close(self) -> None:
        with reaching(self._url):
            self._consumer.close(timeout_ms=CLOSE_MS)


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes what a group gives and takes. What is given stays paused until `take` says from where to read it: the listener
    runs on the client's own thread, which must not wait for whoever knows."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self._taken: set[Partition] = set()
        self._lost: set[Partition] = set()

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        lost = {(tp.topic, tp.partition) for tp in revoked}
        self._lost |= lost
        self._taken -= lost

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        for tp in assigned:
            self._consumer.pause(tp)
            self._consumer.seek(tp, 0)  # Without a position the client would ask for the group's.
            self._taken.add((tp.topic, tp.partition))

    def told(self) -> Fetched:
        """What happened since this was asked last."""
        fetched = Fetched(taken=self._taken, lost=self._lost)
        self._taken, self._lost = set(), set()
        return fetched


def _frame(records: list[ConsumerRecord]) -> pl.DataFrame:
    """The records of one partition."""
    offsets, timestamps, keys, values, headers = (list(map(get, records)) for get in _FIELDS)
    return record_columns(records[0].topic, records[0].partition, offsets, timestamps, keys, values, headers)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _named(partitions: Iterable[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*partition) for partition in partitions]


def _plain(offsets: Mapping[TopicPartition, int]) -> dict[Partition, int]:
    return {(tp.topic, tp.partition): offset for tp, offset in offsets.items()}
