"""What a Kafka client has to do for a reader: one connection, told where to read, asked for what has arrived."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

CONNECT_SECONDS = 6.0
"""How long a cluster may take to answer at first."""
ANSWER_SECONDS = 10.0
"""How long it may take to answer a question later."""
RECONNECT_MS = 1_000
"""The longest pause between two attempts: a broker that is restarted is found again at once."""
FETCH_BYTES = 4 << 20
AT_ONCE = 10_000
"""The most records taken from a client in one call: their objects are short-lived, and waiting for them is short."""
METADATA_MS = 3_000
"""How old what a client knows of a topic's partitions may be."""
SESSION_MS = 15_000
"""How long a group waits for a member that was killed before it gives its partitions to the others."""

Partition = tuple[str, int]
"""A topic's name and a partition of it."""


@dataclass
class Fetched:
    """What has arrived, or happened, since the last fetch.

    Attributes:
        frames: (topic, columns of RECORD_SCHEMA); offsets ascend within each partition.
        positions: where reading stands now of each partition that moved. It may have passed records that are not shown:
            aborted ones, markers of transactions, compacted ones.
        taken: partitions that the group gave to this client; they are read once `take` says from where.
        lost: partitions that the group took away; they happened before `taken`.
    """

    frames: list[tuple[str, pl.DataFrame]] = field(default_factory=list)
    positions: dict[Partition, int] = field(default_factory=dict)
    taken: set[Partition] = field(default_factory=set)
    lost: set[Partition] = field(default_factory=set)


class OutOfRange(Exception):
    """A broker does not have the offset that is to be read next."""

    def __init__(self, partition: Partition, position: int, reason: str) -> None:
        super().__init__(reason)
        self.partition, self.position = partition, position


class Client(Protocol):
    """A connection that sees committed records only and checks their checksums. In a group or not, it neither reads nor
    commits group offsets. Where nothing is said it raises Unavailable when the cluster does not answer, and Corrupt."""

    def partitions(self) -> dict[str, list[int]]:
        """The partitions of every topic but Kafka's internal ones."""

    def partitions_of(self, topics: Sequence[str], seconds: float) -> dict[str, list[int]]:
        """The partitions of some topics that are being read, at most METADATA_MS old; none of a topic that is gone."""

    def beginnings(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The first offsets still there."""

    def ends(self, partitions: Iterable[Partition], seconds: float = ANSWER_SECONDS) -> dict[Partition, int]:
        """One past the last committed offsets."""

    def offsets_at(self, partitions: Iterable[Partition], milliseconds: int) -> dict[Partition, int | None]:
        """The first offsets whose timestamp (milliseconds since 1970) is not less, None where there is none."""

    def join(self, topics: Sequence[str], group: str) -> None:
        """Become a member of a consumer group, which from then on says what is read."""

    def take(self, positions: Mapping[Partition, int]) -> None:
        """Read these partitions, besides those that are read, from the given positions on."""

    def release(self, partition: Partition) -> None:
        """Fetch no more of one partition."""

    def fetch(self, most: int, seconds: float) -> Fetched:
        """At most `most` records, waiting at most about `seconds` for the first.

        While no broker answers it returns nothing and goes on trying. Raises OutOfRange.
        """

    def close(self) -> None:
        """Leave the group and end the connection."""
