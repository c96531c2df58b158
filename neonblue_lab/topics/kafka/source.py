"""Reading topics of a Kafka cluster up to the ends they had when the source was opened."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import datetime

import polars as pl

from neonblue_lab.errors import NotFound, Unavailable
from neonblue_lab.events.records import Offsets, RecordBatch
from neonblue_lab.topics.batching import BATCH_RECORDS, Batching, check_batch_records
from neonblue_lab.topics.kafka.client import Client, OutOfRange, Partition
from neonblue_lab.topics.kafka.connecting import chosen_client, connect
from neonblue_lab.topics.kafka.gone import gone
from neonblue_lab.topics.kafka.security import Cluster
from neonblue_lab.topics.kafka.sizes import log_sizes
from neonblue_lab.topics.ranges import Range, ranges_to_read

STALL_SECONDS = 30
"""How long reading waits for a broker that has gone quiet: long enough for one to be restarted."""
FETCH_SECONDS = 0.2


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
        client: `kafka-python` or `confluent`; by NEONBLUE_KAFKA_CLIENT, else kafka-python, when not given.

    Raises:
        BadInput: the url has another form, there is no such client, or the environment's security settings are wrong.
        NotFound: the cluster has no such topic.
        Unavailable: no broker answers, or refuses, or the client is not installed.
    """

    def __init__(
        self,
        url: str,
        topics: Iterable[str] | None = None,
        batch_records: int = BATCH_RECORDS,
        client: str | None = None,
    ) -> None:
        check_batch_records(batch_records)
        self._cluster = Cluster.at(url)
        self._batch_records = batch_records
        self._client = chosen_client(client)
        with self._connect() as connection:
            there = connection.partitions()
            wanted = sorted(there if topics is None else set(topics))
            if missing := set(wanted) - there.keys():
                raise NotFound(f"{url} has no topic {_names(missing)}; it has: {_names(there) or 'none'}.")
            partitions = [(topic, partition) for topic in wanted for partition in there[topic]]
            self._beginnings = _by_topic(wanted, connection.beginnings(partitions))
            self._ends = _by_topic(wanted, connection.ends(partitions))

    @property
    def name(self) -> str:
        return self._cluster.url

    def topics(self) -> list[str]:
        """The topics it holds, sorted."""
        return list(self._ends)

    def beginning_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> the first offset that the cluster still had when the source was opened."""
        return dict(self._opened(topic, self._beginnings))

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> one past the last committed offset, as of opening."""
        return dict(self._opened(topic, self._ends))

    def offsets_at(self, topic: str, moment: datetime) -> dict[int, int]:
        """Partition -> the first offset whose timestamp is at or after `moment`; the end where there is none."""
        ends = self.end_offsets(topic)
        milliseconds = max(0, math.ceil(moment.timestamp() * 1000))
        with self._connect() as connection:
            found = connection.offsets_at([(topic, partition) for partition in ends], milliseconds)
        at = {partition: found[topic, partition] for partition in ends}
        return {p: end if (offset := at[p]) is None else min(offset, end) for p, end in ends.items()}

    def stored_bytes(self, topic: str) -> dict[int, int]:
        """Partition -> bytes of its log on the brokers; of none where they do not tell this client."""
        sizes = log_sizes(self._cluster, topic)
        return {partition: sizes[partition] for partition in self.end_offsets(topic) if partition in sizes}

    def read(self, starts: Mapping[str, Offsets], ends: Mapping[str, Offsets] | None = None) -> Iterator[RecordBatch]:
        """Yield the records of the topics in `starts` from the given offsets to the ends, one topic after the other.

        A partition that is not named, or whose start is 0, is read from the first record that the cluster still has.

        Raises:
            NotFound: the source was not opened for a topic.
            OffsetsGone: records between a start and the first one still there were deleted.
            Conflict: a start lies beyond the end: the topic is not the one that the starts come from.
            Unavailable: the brokers stopped answering for STALL_SECONDS.
        """
        fixed = {topic: self.end_offsets(topic) for topic in starts}
        with self._connect() as connection:
            for topic, offsets in starts.items():
                partitions = [(topic, partition) for partition in fixed[topic]]
                beginnings = {p: offset for (_, p), offset in connection.beginnings(partitions).items()}
                limits = None if ends is None else ends.get(topic)
                ranges = ranges_to_read(self.name, topic, offsets, limits, beginnings, fixed[topic])
                yield from self._read_topic(connection, topic, ranges)

    def _opened(self, topic: str, offsets: Mapping[str, Offsets]) -> Offsets:
        if topic not in offsets:
            raise NotFound(f"{self.name} was not opened for topic {topic!r}; it was for: {_names(offsets)}.")
        return offsets[topic]

    def _connect(self) -> "closing[Client]":
        return closing(connect(self._cluster, self._client))

    def _read_topic(self, connection: Client, topic: str, ranges: Mapping[int, Range]) -> Iterator[RecordBatch]:
        if not ranges:
            return
        positions = {(topic, p): start for p, (start, _) in ranges.items()}
        ends = {(topic, p): end for p, (_, end) in ranges.items()}
        end = pl.col("partition").replace_strict({p: e for p, (_, e) in ranges.items()}, return_dtype=pl.Int64)
        connection.take(positions)
        batching = Batching(topic, self._batch_records)
        heard = time.monotonic()
        while positions:
            try:
                fetched = connection.fetch(batching.room, FETCH_SECONDS)
            except OutOfRange as reason:
                raise gone(connection, self.name, reason) from reason
            for _, frame in fetched.frames:
                for batch in batching.add(frame.filter(pl.col("offset") < end)):
                    yield batch
                    heard = time.monotonic()
            for partition in positions.keys() & fetched.positions.keys():
                if fetched.positions[partition] != positions[partition]:
                    heard = time.monotonic()
                positions[partition] = fetched.positions[partition]
                if positions[partition] >= ends[partition]:
                    connection.release(partition)
                    del positions[partition]
            if positions and time.monotonic() - heard > STALL_SECONDS:
                where = ", ".join(f"{name}-{p} at {offset}" for (name, p), offset in positions.items())
                raise Unavailable(f"{self.name} has sent nothing for {STALL_SECONDS} s, waiting for {where}.")
        yield from batching.rest()


def _by_topic(topics: Iterable[str], offsets: Mapping[Partition, int]) -> dict[str, dict[int, int]]:
    grouped: dict[str, dict[int, int]] = {topic: {} for topic in sorted(topics)}
    for (topic, partition), offset in sorted(offsets.items()):
        grouped[topic][partition] = offset
    return grouped


def _names(topics: Iterable[str]) -> str:
    return ", ".join(sorted(topics))
