"""Following topics of a Kafka cluster for ever, alone or sharing their partitions with others."""

import logging
import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

import polars as pl

from neonblue_lab.errors import Conflict, NotFound
from neonblue_lab.events.records import Position, RecordBatch
from neonblue_lab.topics.batching import BATCH_RECORDS, Batching, check_batch_records
from neonblue_lab.topics.kafka.client import (
    METADATA_MS,
    Client,
    Fetched,
    OutOfRange,
    Partition,
)
from neonblue_lab.topics.kafka.connecting import chosen_client, connect
from neonblue_lab.topics.kafka.failures import Unreachable
from neonblue_lab.topics.kafka.gone import gone
from neonblue_lab.topics.kafka.identity import TopicIds
from neonblue_lab.topics.kafka.security import Cluster

FETCH_SECONDS = 0.2
LOOK_SECONDS = METADATA_MS / 1000
"""How often ends and new partitions are looked for: one that is added is read within twice that."""
LOOK_WAIT_SECONDS = 1.0
PAUSE_SECONDS = 1.0
"""The pause between two attempts to reach a cluster that does not answer."""

_LOG = logging.getLogger(__name__)


class KafkaFollower:
    """A reader that follows a cluster's topics (a LiveSource). Only committed records are seen.

    With a `group`, the members of that consumer group share the partitions, and take over from each other: where a partition
    is read from is still asked of the caller, each time one is given to this reader. Group offsets are neither read nor
    committed, with a group or without.

    While no broker answers it goes on trying: that is logged once, and once more when one answers again.

    Args:
        url: `kafka://host:port[,host:port...]`.
        topics: the topics that will be followed. Each must be there: one that is made later is not waited for.
        batch_records: the most records of a batch.
        client: `kafka-python` or `confluent`; by NEONBLUE_KAFKA_CLIENT, else kafka-python, when not given.
        group: the consumer group to be a member of.

    Raises:
        BadInput: the url has another form, there is no such client, or the environment's security settings are wrong.
        NotFound: the cluster has no such topic.
        Unavailable: no broker answers, or refuses, or the client is not installed.
    """

    def __init__(
        self,
        url: str,
        topics: Iterable[str],
        batch_records: int = BATCH_RECORDS,
        client: str | None = None,
        group: str | None = None,
    ) -> None:
        check_batch_records(batch_records)
        self._cluster = Cluster.at(url)
        self._batch_records = batch_records
        self._client = chosen_client(client)
        self._group = group
        self._silent = False
        with closing(connect(self._cluster, self._client)) as connection:
            there = connection.partitions()
            wanted = list(topics)
            if missing := sorted(set(wanted) - there.keys()):
                raise NotFound(
                    f"{url} has no topic {', '.join(missing)}; it has: {', '.join(sorted(there)) or 'none'}."
                )
            self._ends = connection.ends([(topic, partition) for topic in wanted for partition in there[topic]])
        self._ids = TopicIds(self._cluster, wanted)

    @property
    def name(self) -> str:
        return self._cluster.url

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Partition -> one past the last committed offset, as of the last LOOK_SECONDS."""
        return {partition: end for (name, partition), end in self._ends.items() if name == topic}

    def follow(
        self, topics: Sequence[str], position: Position, *, stop: threading.Event, linger: float
    ) -> Iterator[RecordBatch | None]:
        """Yield batches as records arrive, None when none was yielded for `linger` seconds; see LiveSource.

        Records that wait for their batch are given up when `stop` is set, or the group takes their partition away: nothing
        of them was handed over, and they are read again from the caller's position.

        Raises:
            OffsetsGone: records between a position and the first one still there were deleted.
            Conflict: a position lies beyond the end: the topic was made anew, or cut off; or it was made anew since this
                reader was. No batch is of another topic than the one that was there then.
            Unavailable: a broker refuses, or records cannot be decoded.
        """
        with closing(self._ids):
            yield from self._follow(topics, position, stop, linger)

    def _follow(
        self, topics: Sequence[str], position: Position, stop: threading.Event, linger: float
    ) -> Iterator[RecordBatch | None]:
        while not stop.is_set():
            try:
                connection = connect(self._cluster, self._client, self._group)
            except Unreachable as error:
                self._note_silence(error)
                yield None
                stop.wait(PAUSE_SECONDS)
                continue
            with closing(connection):
                yield from self._batches(
                    _Following(self.name, connection, topics, position, self._batch_records), stop, linger
                )

    def _batches(self, following: "_Following", stop: threading.Event, linger: float) -> Iterator[RecordBatch | None]:
        if self._group is not None:
            following.join(self._group)
        quiet_since, look_at = time.monotonic(), 0.0
        unsure: list[RecordBatch] = []
        while not stop.is_set():
            closed: list[RecordBatch] = []
            try:
                if time.monotonic() >= look_at:
                    self._ends = following.look()
                    self._note_answer()
                    look_at = time.monotonic() + LOOK_SECONDS
                unsure += following.fetch(linger)
                closed = self._of_the_same_topics(unsure)
            except Conflict as lost:
                # What was read before is not lost with the rest.
                yield from self._of_the_same_topics([*unsure, *following.rest()])
                raise lost
            except Unreachable as error:
                self._note_silence(error)
                look_at = time.monotonic() + PAUSE_SECONDS
                stop.wait(FETCH_SECONDS)
            for batch in closed:
                yield batch
                quiet_since = time.monotonic()
            if time.monotonic() - quiet_since >= linger:
                yield None
                quiet_since = time.monotonic()

    def _of_the_same_topics(self, unsure: list[RecordBatch]) -> list[RecordBatch]:
        """Take all batches out of the list, once it is sure whose they are."""
        if unsure:
            self._ids.check()
        sure = list(unsure)
        unsure.clear()
        return sure

    def _note_silence(self, reason: Unreachable) -> None:
        if not self._silent:
            _LOG.warning("%s Trying on.", reason)
        self._silent = True

    def _note_answer(self) -> None:
        if self._silent:
            _LOG.warning("%s answers again.", self.name)
        self._silent = False


class _Following:
    """One connection's way along its topics: which partitions it reads, and the records that wait for their batch."""

    def __init__(
        self, name: str, connection: Client, topics: Sequence[str], position: Position, batch_records: int
    ) -> None:
        self._name = name
        self._connection = connection
        self._position = position
        self._shared = False
        self._ours: set[Partition] = set()
        self._read: set[Partition] = set()
        self._waiting = {topic: Batching(topic, batch_records) for topic in topics}
        self._due: dict[str, float] = {}

    def join(self, group: str) -> None:
        """Let a consumer group say which partitions are read."""
        self._connection.join(list(self._waiting), group)
        self._shared = True

    def look(self) -> dict[Partition, int]:
        """The ends of all partitions of the topics; outside a group, those that are new are read from now on."""
        there = self._connection.partitions_of(list(self._waiting), LOOK_WAIT_SECONDS)
        partitions = {(topic, partition) for topic, numbers in there.items() for partition in numbers}
        if not self._shared:
            self._ours = partitions
        return self._connection.ends(partitions, LOOK_WAIT_SECONDS)

    def fetch(self, linger: float) -> list[RecordBatch]:
        """Wait a moment for records; the batches that are full now, or whose first record came `linger` seconds ago."""
        self._take_up()
        next_due = min(self._due.values(), default=math.inf) - time.monotonic()
        try:
            fetched = self._connection.fetch(
                min(batching.room for batching in self._waiting.values()),
                max(0.0, min(FETCH_SECONDS, linger, next_due)),
            )
        except OutOfRange as reason:
            raise gone(self._connection, self._name, reason) from reason
        self._rebalance(fetched)
        closed = [batch for topic, frame in fetched.frames for batch in self._add(topic, frame, linger)]
        for topic, due in list(self._due.items()):
            if due <= time.monotonic():
                closed += self._waiting[topic].rest()
                del self._due[topic]
        return closed

    def rest(self) -> list[RecordBatch]:
        """What waits for its batch, as it is."""
        return [batch for batching in self._waiting.values() for batch in batching.rest()]

    def _add(self, topic: str, frame: pl.DataFrame, linger: float) -> list[RecordBatch]:
        closed = list(self._waiting[topic].add(frame))
        if closed:
            self._due.pop(topic, None)
        if self._waiting[topic].waiting:
            self._due.setdefault(topic, time.monotonic() + linger)
        return closed

    def _rebalance(self, fetched: Fetched) -> None:
        """Give up what was read of partitions that the group took away, or gave anew, and note whose they are now."""
        moved = fetched.lost | fetched.taken
        if not moved:
            return
        self._ours = (self._ours - fetched.lost) | fetched.taken
        self._read -= moved
        for topic, batching in self._waiting.items():
            others = {partition for name, partition in moved if name == topic}
            batching.drop(others)
            fetched.frames = [
                (name, frame.filter(~pl.col("partition").is_in(list(others))) if name == topic else frame)
                for name, frame in fetched.frames
            ]

    def _take_up(self) -> None:
        """Start reading the partitions that are ours and not yet read; where nothing was read before, at the first record."""
        new = sorted(self._ours - self._read)
        if new:
            positions = {partition: self._position(*partition) for partition in new}
            known = {partition: offset for partition, offset in positions.items() if offset is not None}
            self._connection.take(known | self._connection.beginnings(positions.keys() - known.keys()))
            self._read.update(new)
