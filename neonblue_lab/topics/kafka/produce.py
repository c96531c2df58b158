"""Putting the records of a source, usually an archive, on a Kafka cluster."""

from collections.abc import Callable, Mapping

import polars as pl
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import InvalidTimestampError, KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from neonblue_lab.errors import BadInput, Conflict, NeonBlueError, Unavailable
from neonblue_lab.events.records import RecordBatch, RecordSource
from neonblue_lab.topics.kafka.kafka_python import client_options, connecting, reaching
from neonblue_lab.topics.kafka.security import Cluster

ANSWER_MS = 10_000
LARGEST_RECORD = 64 << 20
"""Far above what clusters allow (1 MiB unless configured): the cluster's own limit is what decides."""

# An archive's timestamps lie as far in the past or future as they like: the usual seven days of retention, or the usual
# hour that a timestamp may be ahead, would delete or refuse its records.
TOPIC_SETTINGS = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": str(2**63 - 1),
}


def produce(
    source: RecordSource,
    url: str,
    *,
    append: bool = False,
    on_written: Callable[[str, int], None] | None = None,
) -> dict[str, int]:
    """Put every record of `source` on the cluster at `url` and return the number of records written per topic.

    Partition, order, key, value, headers and timestamp (to the millisecond; now, where it is null) are kept; offsets
    are the cluster's. A missing topic is made with as many partitions as the source has and without retention; a topic
    that is there keeps its settings. Every record is acknowledged by all in-sync replicas before this returns, and is
    there once, whatever was retried.

    Args:
        append: also write to topics that already have records.
        on_written: called with the topic and the number of records just acknowledged, for progress.

    Raises:
        Conflict: a topic already has records (and not `append`), or has too few partitions. Nothing was written.
        BadInput: the cluster cannot take a record: too large, neither key nor value, or a header without a value.
        Unavailable: the cluster does not answer, or stopped answering; the message says what was written until then.
    """
    written = dict.fromkeys(source.topics(), 0)
    partitions = {topic: max(source.end_offsets(topic), default=0) + 1 for topic in written}
    cluster = Cluster.at(url)
    options = client_options(cluster)
    with connecting(cluster):
        consumer = KafkaConsumer(**options, enable_auto_commit=False, allow_auto_create_topics=False)
    with reaching(url):
        with consumer:
            missing = partitions.keys() - consumer.topics()
            for topic in partitions.keys() - missing:
                _check_existing(consumer, url, topic, partitions[topic], append)
        if missing:
            with KafkaAdminClient(**options) as admin:
                admin.create_topics(
                    {topic: {"num_partitions": partitions[topic], "configs": TOPIC_SETTINGS} for topic in missing},
                    wait_for_metadata=True,
                )
        with _producer(options) as producer:
            for batch in source.read({topic: {} for topic in written}):
                try:
                    _send(producer, batch)
                except KafkaError as error:
                    raise _stopped(url, batch.topic, written, error) from error
                written[batch.topic] += batch.frame.height
                if on_written is not None:
                    on_written(batch.topic, batch.frame.height)
    return written


def _producer(options: Mapping[str, object]) -> KafkaProducer:
    return KafkaProducer(
        **options,
        acks="all",
        enable_idempotence=True,
        allow_auto_create_topics=False,
        batch_size=256 << 10,
        linger_ms=20,
        max_request_size=LARGEST_RECORD,
        delivery_timeout_ms=60_000,
    )


def _check_existing(consumer: KafkaConsumer, url: str, topic: str, partitions: int, append: bool) -> None:
    there = [TopicPartition(topic, partition) for partition in sorted(consumer.partitions_for_topic(topic))]
    if len(there) < partitions:
        raise Conflict(
            f"{url}: topic {topic} has {len(there)} partitions, and the records to write have {partitions}: "
            "give it more, or delete it and it will be made."
        )
    beginnings = consumer.beginning_offsets(there, timeout_ms=ANSWER_MS)
    ends = consumer.end_offsets(there, timeout_ms=ANSWER_MS)
    records = sum(ends[tp] - beginnings[tp] for tp in there)
    if records and not append:
        raise Conflict(
            f"{url}: topic {topic} already has {records:,} records: writing these as well could store them twice. "
            "Ask to append if that is meant, or delete the topic first."
        )


def _send(producer: KafkaProducer, batch: RecordBatch) -> None:
    """Send the records of a batch and wait until each is acknowledged."""
    frame = batch.frame
    _check_sendable(batch)
    rows = zip(
        frame["value"],
        frame["key"],
        (_pairs(headers) for headers in frame["headers"].to_list()),
        frame["partition"],
        frame["timestamp"].dt.epoch("ms"),
        strict=True,
    )
    try:
        futures = [producer.send(batch.topic, *row) for row in rows]
        producer.flush()
    except MessageSizeTooLargeError as error:
        raise BadInput(f"A record of topic {batch.topic} is larger than any cluster takes: {error}") from error
    for row, future in enumerate(futures):
        try:
            future.get(timeout=0)
        except (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTimestampError) as error:
            where = "{}-{} offset {}".format(*frame.select("topic", "partition", "offset").row(row))
            raise BadInput(f"The cluster refuses the record at {where} of the source: {error.description}") from error


def _check_sendable(batch: RecordBatch) -> None:
    """Refuse the two shapes of a record that the protocol can hold and the client cannot send."""
    unsendable = batch.frame.select(
        "partition",
        "offset",
        nothing=pl.col("key").is_null() & pl.col("value").is_null(),
        header=pl.col("headers").list.eval(pl.element().struct.field("value").is_null()).list.any().fill_null(False),
    ).filter(pl.col("nothing") | pl.col("header"))
    if unsendable.height:
        partition, offset, nothing, _ = unsendable.row(0)
        what = "neither a key nor a value" if nothing else "a header without a value"
        raise BadInput(f"The record at {batch.topic}-{partition} offset {offset} of the source has {what}.")


def _pairs(headers: list[dict[str, object]] | None) -> list[tuple[object, object]] | None:
    return None if headers is None else [(header["key"], header["value"]) for header in headers]


def _stopped(url: str, topic: str, written: Mapping[str, int], error: KafkaError) -> NeonBlueError:
    done = ", ".join(f"{name}: {records:,}" for name, records in written.items() if records) or "none"
    return Unavailable(
        f"{url} stopped taking records of topic {topic} ({error}). Records written before: {done}; some more of "
        f"{topic} may have been. Delete these topics before writing again, or records will be there twice."
    )
