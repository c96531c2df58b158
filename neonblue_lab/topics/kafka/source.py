"""Reading topics of a Kafka cluster up to the ends they had when the source was opened."""

import time
from collections.abc import Iterable, Iterator, Mapping

import polars as pl
import pyarrow as pa
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import LogTruncationError, OffsetOutOfRangeError

from neonblue_lab.errors import BadInput, Conflict, NotFound, Unavailable
from neonblue_lab.events.records import HEADERS, RECORD_SCHEMA, TIMESTAMP, Offsets, RecordBatch
from neonblue_lab.topics.kafka.client import client_options, reaching

STALL_SECONDS = 30
"""How long reading waits for a broker that has gone quiet: long enough for one to be restarted."""
POLL_MS = 200
ANSWER_MS = 10_000
FETCH_BYTES = 4 << 20
_ARROW_HEADERS = pa.large_list(pa.struct([("key", pa.large_string()), ("value", pa.large_binary())]))


class KafkaSource:
    """A bounded reader of a cluster's topics (a RecordSource), in no consumer group: it neither reads nor commits
    group offsets, so that nobody else's position moves.

    Only committed records are seen: those of aborted transactions, and of transactions open at the time of opening, are
    not. Timestamps are the broker's, to the millisecond; a record without headers has null headers. No connection is
    held but while a method runs: closing the iterator of `read` closes its connection.

    Args:
        url: `kafka://host:port[,host:port...]`.
        topics: the only topics it holds; all but Kafka's internal ones when not given.
        batch_records: the most records of a batch.

    Raises:
        BadInput: the url has another form.
        NotFound: the cluster has no such topic.
        Unavailable: no broker answers.
    """

    def __init__(self, url: str, topics: Iterable[str] | None = None, batch_records: int = 100_000) -> None:
        if batch_records < 1:
            raise BadInput(f"batch_records is {batch_records}: a batch has at least one record.")
        self._url = url
        self._batch_records = batch_records
        with reaching(url), self._connect() as consumer:
            there = consumer.topics()
            wanted = there if topics is None else set(topics)
            if missing := wanted - there:
                raise NotFound(f"{url} has no topic {_names(missing)}; it has: {_names(there) or 'none'}.")
            partitions = [TopicPartition(topic, p) for topic in wanted for p in consumer.partitions_for_topic(topic)]
            self._beginnings = _by_topic(wanted, consumer.beginning_offsets(partitions, timeout_ms=ANSWER_MS))
            self._ends = _by_topic(wanted, consumer.end_offsets(partitions, timeout_ms=ANSWER_MS))

    @property
    def name(self) -> str:
        return self._url

    def topics(self) -> list[str]:
        """The topics it holds, sorted."""
        return list(self._ends)

    def beginning_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> the first offset that the cluster still had when the source was opened."""
        return dict(self._opened(topic, self._beginnings))

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> one past the last committed offset, as of opening."""
        return dict(self._opened(topic, self._ends))

    def read(self, starts: Mapping[str, Offsets]) -> Iterator[RecordBatch]:
        """Yield the records of the topics in `starts` from the given offsets to the ends, one topic after the other.

        A partition that is not named, or whose start is 0, is read from the first record that the cluster still has.

        Raises:
            NotFound: the source was not opened for a topic.
            Conflict: records between a start and the first one still there were deleted, or a start lies beyond the
                end: the topic is not the one that the starts come from.
            Unavailable: the brokers stopped answering for STALL_SECONDS.
        """
        ends = {topic: self.end_offsets(topic) for topic in starts}
        with reaching(self._url), self._connect() as consumer:
            for topic, offsets in starts.items():
                yield from self._read_topic(consumer, topic, offsets, ends[topic])

    def _opened(self, topic: str, offsets: Mapping[str, Offsets]) -> Offsets:
        if topic not in offsets:
            raise NotFound(f"{self._url} was not opened for topic {topic!r}; it was for: {_names(offsets)}.")
        return offsets[topic]

    def _connect(self) -> KafkaConsumer:
        return KafkaConsumer(
            **client_options(self._url),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            max_partition_fetch_bytes=FETCH_BYTES,
        )

    def _read_topic(self, consumer: KafkaConsumer, topic: str, starts: Offsets, ends: Offsets) -> Iterator[RecordBatch]:
        partitions = [TopicPartition(topic, partition) for partition in ends]
        beginnings = consumer.beginning_offsets(partitions, timeout_ms=ANSWER_MS)
        first = self._first_offsets(topic, starts, {tp.partition: offset for tp, offset in beginnings.items()}, ends)
        positions = {TopicPartition(topic, p): offset for p, offset in first.items() if offset < ends[p]}
        consumer.assign(list(positions))
        for tp, offset in positions.items():
            consumer.seek(tp, offset)

        frames: list[pl.DataFrame] = []
        room = self._batch_records
        heard = time.monotonic()
        while positions:
            for tp, records in self._poll(consumer, room).items():
                frame = _frame(records).filter(pl.col("offset") < ends[tp.partition])
                if frame.height:
                    frames.append(frame)
                    room -= frame.height
            # The last offset may be a transaction's marker or compacted away: the position passes it, unseen.
            for tp, before in list(positions.items()):
                position = consumer.position(tp, timeout_ms=POLL_MS)
                if position != before:
                    heard = time.monotonic()
                positions[tp] = position
                if position >= ends[tp.partition]:
                    consumer.pause(tp)
                    del positions[tp]
            if frames and (room <= 0 or not positions):
                yield RecordBatch(topic, pl.concat(frames))
                frames, room = [], self._batch_records
                heard = time.monotonic()
            if positions and time.monotonic() - heard > STALL_SECONDS:
                where = ", ".join(f"{tp.topic}-{tp.partition} at {offset}" for tp, offset in positions.items())
                raise Unavailable(f"{self._url} has sent nothing for {STALL_SECONDS} s, waiting for {where}.")

    def _poll(self, consumer: KafkaConsumer, room: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        try:
            polled: dict[TopicPartition, list[ConsumerRecord]] = consumer.poll(POLL_MS, max_records=room)
        except (OffsetOutOfRangeError, LogTruncationError) as error:
            raise Conflict(f"{self._url}: records were deleted while they were being read ({error}).") from error
        return polled

    def _first_offsets(self, topic: str, starts: Offsets, beginnings: Offsets, ends: Offsets) -> dict[int, int]:
        for partition, start in starts.items():
            beginning, end = beginnings.get(partition, 0), ends.get(partition, 0)
            if start > end:
                raise Conflict(
                    f"{self._url}: asked to read {topic}-{partition} from offset {start}, but it ends at {end}: this "
                    "is not the topic that was read before, or it was made anew."
                )
            if 0 < start < beginning:
                raise Conflict(
                    f"{self._url}: asked to read {topic}-{partition} from offset {start}, but its first record is at "
                    f"{beginning}: the {beginning - start} offsets between were deleted (retention) before they were "
                    "read. Read them from an archive first, or start a new lake."
                )
        return {partition: max(starts.get(partition, 0), beginnings[partition]) for partition in ends}


def _frame(records: list[ConsumerRecord]) -> pl.DataFrame:
    """The records of one partition as columns of RECORD_SCHEMA."""
    headers = [record.headers for record in records]
    if any(headers):
        header_column = pl.Series(pl.from_arrow(pa.array([pairs or None for pairs in headers], _ARROW_HEADERS)))
    else:
        header_column = pl.Series([None], dtype=HEADERS).new_from_index(0, len(records))
    milliseconds = pl.Series([record.timestamp for record in records], dtype=pl.Int64)
    return pl.DataFrame(
        {
            "topic": pl.repeat(records[0].topic, len(records), eager=True),
            "partition": pl.repeat(records[0].partition, len(records), dtype=pl.Int32, eager=True),
            "offset": pl.Series([record.offset for record in records], dtype=pl.Int64),
            "timestamp": (milliseconds.set(milliseconds < 0, None) * 1000).cast(TIMESTAMP),
            "key": pl.Series([record.key for record in records], dtype=pl.Binary),
            "value": pl.Series([record.value for record in records], dtype=pl.Binary),
            "headers": header_column,
        },
        schema=RECORD_SCHEMA,
    )


def _by_topic(topics: Iterable[str], offsets: Mapping[TopicPartition, int]) -> dict[str, dict[int, int]]:
    grouped: dict[str, dict[int, int]] = {topic: {} for topic in sorted(topics)}
    for (topic, partition), offset in sorted(offsets.items()):
        grouped[topic][partition] = offset
    return grouped


def _names(topics: Iterable[str]) -> str:
    return ", ".join(sorted(topics))
