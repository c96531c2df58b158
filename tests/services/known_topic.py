"""A topic of which every record is known, and what a lake or a store filled from it lost or doubled.

Record number n is a function of n: most are events, some repeat an earlier event's id, some are malformed, some have no
value. Its key is n, so that whatever lies in the broker's log is recognised. The log is read back with a bare consumer: what
counts is what the broker holds, not what was sent.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import polars as pl
from deltalake import DeltaTable
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import CoordinatorNotAvailableError, GroupIdNotFoundError

from neonblue_lab.lake.lake import Lake
from neonblue_lab.warehouse.warehouse import Warehouse

BEGINNING = datetime(2026, 3, 2, tzinfo=UTC)
ANSWER_MS = 10_000
MALFORMED = (
    b"",
    b"[]",
    b"null",
    b"\xff\xfe\x00",
    b'{"event_id": "cut off',
    b'{"event_type": "page_view", "timestamp": "2026-03-02T00:00:00Z"}',
    b'{"event_id": "no-type", "timestamp": "2026-03-02T00:00:00Z"}',
    b'{"event_id": "no-time", "event_type": "page_view"}',
    b'{"event_id": "late", "event_type": "page_view", "timestamp": "9999-12-31T23:59:59Z"}',
    b'{"event_id": "nan", "event_type": "page_view", "timestamp": "2026-03-02T00:00:00Z", "value": NaN}',
    b'{"event_id": "huge", "event_type": "page_view", "timestamp": "2026-03-02T00:00:00Z", "value": 1e999}',
    b'{"event_id": "no-user", "event_type": "exposure", "timestamp": "2026-03-02T00:00:00Z", "experiment_id": "e"}',
    b'{"event_id": "deep", "event_type": "page_view", "timestamp": "2026-03-02T00:00:00Z", "properties": '
    + b'{"a":' * 3_000
    + b"1"
    + b"}" * 3_000
    + b"}",
)
"""Values that are no event, of kinds that producers really send."""


@dataclass(frozen=True)
class Record:
    """A record as it was sent. `event` is what its value says, None where that is no event."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp: int
    event: Mapping[str, Any] | None

    @cached_property
    def stored(self) -> tuple[Any, ...]:
        """What a lake must hold of it, beside where it lay."""
        return self.timestamp, self.key, self.value, self.headers


def record(number: int) -> Record:
    """Record `number` of every known topic."""
    rng = random.Random(number)
    key, headers = b"%d" % number, (("trace", b"\x00%d" % number),) if number % 7 == 0 else ()
    # Clocks of producers disagree: timestamps go back by up to an hour.
    moment = BEGINNING + timedelta(milliseconds=number * 250 - rng.randrange(3_600_000))
    timestamp = int(moment.timestamp() * 1000)
    draw = rng.random()
    if draw < 0.01:
        return Record(key, None, headers, timestamp, None)
    if draw < 0.06:
        return Record(key, rng.choice(MALFORMED), headers, timestamp, None)
    repeats = draw < 0.11 and number > 0
    event = _event(rng.randrange(number) if repeats else number)
    return Record(key, json.dumps(event).encode(), headers, timestamp, event)


def _event(number: int) -> dict[str, Any]:
    rng = random.Random(-1 - number)
    experiment = rng.randrange(10)
    event = {
        "event_id": f"event-{number}",
        "timestamp": (BEGINNING + timedelta(seconds=number)).isoformat(),
        "user_id": f"user-{rng.randrange(500)}",
        "experiment_id": f"experiment-{experiment}",
        "variant_id": rng.choice(["control", "variant"]),
        "padding": rng.randbytes(60).hex(),
    }
    draw = rng.random()
    if draw < 0.10:
        return event | {"event_type": "exposure"}
    if draw < 0.12:
        total = {"metric": f"metric-{number}", "n": 10, "mean": 0.5, "variance": 0.25}
        return event | {"event_type": "metric_total", "properties": total}
    if draw < 0.125:
        return event | {"event_type": "experiment_created", "properties": {"name": f"Test {experiment}"}}
    return event | {"event_type": rng.choice(["page_view", "click", "purchase"])}


Rows = Counter[tuple[Any, ...]]


@dataclass(frozen=True)
class Audit:
    """What a lake or a store lacks and has too much of, by table: both are empty where it holds everything exactly once.

    A row that differs from the record that it stands for in a single byte counts as one lost and one doubled.
    """

    lost: Counter[str]
    doubled: Counter[str]
    examples: tuple[str, ...]

    @classmethod
    def of(cls, due: Mapping[str, Rows], found: Mapping[str, Rows]) -> Self:
        """Compare what is due with what was found, table by table of `found`."""
        lost = {table: due[table] - rows for table, rows in found.items()}
        doubled = {table: rows - due[table] for table, rows in found.items()}
        examples = [f"{table} lacks {row}"[:300] for table, rows in lost.items() for row in list(rows)[:2]]
        examples += [f"{table} has too much: {row}"[:300] for table, rows in doubled.items() for row in list(rows)[:2]]
        return cls(_totals(lost), _totals(doubled), tuple(examples))


def _totals(rows: Mapping[str, Rows]) -> Counter[str]:
    return +Counter({table: counted.total() for table, counted in rows.items()})


class KnownTopic:
    """A topic on a broker. What it has ever held is remembered when `remember` is called, also after it was deleted there.

    Attributes:
        name: the topic's.
        sent: how many records were sent; the next one's number.
        held: (partition, offset) -> record, of the log as remembered.
    """

    def __init__(self, bootstrap: str, name: str, partitions: int = 3) -> None:
        self.name = name
        self.sent = 0
        self.held: dict[tuple[int, int], Record] = {}
        self._bootstrap = bootstrap
        self._is_there = True
        self._read = dict.fromkeys(range(partitions), 0)
        with self._admin() as admin:
            admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1}}, wait_for_metadata=True)

    def produce(self, count: int, partitions: list[int] | None = None) -> None:
        """Send the next `count` records, to all partitions in turn unless some are named."""
        targets = partitions or list(self._read)
        # A broker that is down for a while is waited for; what was acknowledged is in the log once.
        with KafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            bootstrap_timeout_ms=90_000,
            delivery_timeout_ms=90_000,
        ) as producer:
            acknowledged = []
            for number in range(self.sent, self.sent + count):
                one = record(number)
                acknowledged.append(
                    producer.send(
                        self.name,
                        partition=targets[number % len(targets)],
                        key=one.key,
                        value=one.value,
                        headers=list(one.headers),
                        timestamp_ms=one.timestamp,
                    )
                )
            for one_sent in acknowledged:
                one_sent.get(timeout=90)
        self.sent += count

    @property
    def partitions(self) -> int:
        """How many it has."""
        return len(self._read)

    def shares(self, group: str) -> list[list[int]]:
        """The partitions of each member of a consumer group that has some."""
        with self._admin() as admin:
            try:
                members = admin.describe_groups([group])[group]["members"]
            except (CoordinatorNotAvailableError, GroupIdNotFoundError):  # nobody has joined yet
                return []
        assigned = [
            member["member_assignment"]["assigned_partitions"] for member in members if member["member_assignment"]
        ]
        return [one["partitions"] for topics in assigned for one in topics if one["topic"] == self.name]

    def ends(self) -> dict[int, int]:
        """Partition -> one past its last offset, now."""
        with self._consumer() as consumer:
            return self._ends(consumer)

    def add_partition(self) -> int:
        """Give the topic one more partition and return its number."""
        added = len(self._read)
        with self._admin() as admin:
            admin.create_partitions({self.name: added + 1})
        self._read[added] = 0
        return added

    def delete_before(self, offsets: Mapping[int, int]) -> None:
        """Delete the records below the given offset of each partition, as retention does."""
        self.remember()
        with self._admin() as admin:
            admin.delete_records({TopicPartition(self.name, p): offset for p, offset in offsets.items()})

    def made_anew(self) -> Self:
        """Delete the topic and make another of its name, with other records: this one is no more, but remembers what it held."""
        self.remember()
        self._is_there = False
        with self._admin() as admin:
            admin.delete_topics([self.name])
            deadline = time.monotonic() + ANSWER_MS / 1000
            while self.name in admin.list_topics() and time.monotonic() < deadline:
                time.sleep(0.05)
        other = type(self)(self._bootstrap, self.name, self.partitions)
        other.sent = self.sent + 1_000_000
        return other

    def remember(self) -> None:
        """Read what the log has gained, and compare it with what was sent."""
        if not self._is_there:
            return
        with self._consumer() as consumer:
            ends = self._ends(consumer)
            consumer.assign([TopicPartition(self.name, partition) for partition in ends])
            for partition in ends:
                consumer.seek(TopicPartition(self.name, partition), self._read[partition])
            while any(self._read[partition] < end for partition, end in ends.items()):
                for tp, records in consumer.poll(500, max_records=10_000).items():
                    for one in records:
                        known = record(int(one.key))
                        headers = tuple((name, value) for name, value in one.headers or ())
                        assert (one.timestamp, one.key, one.value, headers) == known.stored, (
                            "the broker changed a record"
                        )
                        self.held[tp.partition, one.offset] = known
                    self._read[tp.partition] = records[-1].offset + 1

    def audit(self, home: Path, gone: Mapping[int, range] | None = None) -> Audit:
        """Compare the lake in `home` with the log, byte for byte.

        Args:
            gone: partition -> offsets that were deleted from the log before the lake had them.
        """
        warehouse = Warehouse(Lake(home / "lake"))
        found = {name: Counter(warehouse.sql(sql).rows()) for name, sql in READ.items()}
        for table in ("raw", "dead_letters"):
            found[table] = _stored(home / "lake" / (f"raw/{self.name}" if table == "raw" else table))
        return Audit.of(self.due(gone), found)

    def due(self, gone: Mapping[int, range] | None = None) -> dict[str, Rows]:
        """Table -> the rows that a reader must find, each once, of what the log holds or has held."""
        self.remember()
        held = {at: one for at, one in self.held.items() if at[1] not in (gone or {}).get(at[0], ())}
        events = {one.event["event_id"]: one.event for one in held.values() if one.event is not None}
        totals = [event for event in events.values() if event["event_type"] == "metric_total"]
        created = {event["experiment_id"] for event in events.values() if event["event_type"] == "experiment_created"}
        exposed: dict[tuple[str, ...], list[int]] = {}
        for event in events.values():
            if event["event_type"] == "exposure":
                key = event["experiment_id"], event["user_id"], event["variant_id"]
                exposed.setdefault(key, []).append(_milliseconds(event["timestamp"]))
        malformed = {at: one for at, one in held.items() if one.event is None and one.value is not None}
        return {
            "raw": Counter([(*at, *one.stored) for at, one in held.items()]),
            "dead_letters": Counter([(*at, *one.stored) for at, one in malformed.items()]),
            "events": Counter([(i, e["event_type"], _milliseconds(e["timestamp"])) for i, e in events.items()]),
            "assignments": Counter([(*key, min(moments)) for key, moments in exposed.items()]),
            "metric_totals": Counter([(event["event_id"], event["properties"]["metric"]) for event in totals]),
            "experiments": Counter([(experiment,) for experiment in created]),
        }

    def _consumer(self) -> KafkaConsumer:
        return KafkaConsumer(
            bootstrap_servers=self._bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="none"
        )

    def _ends(self, consumer: KafkaConsumer) -> dict[int, int]:
        partitions = [TopicPartition(self.name, partition) for partition in self._read]
        return {tp.partition: end for tp, end in consumer.end_offsets(partitions, timeout_ms=ANSWER_MS).items()}

    def _admin(self) -> KafkaAdminClient:
        return KafkaAdminClient(bootstrap_servers=self._bootstrap)


READ = {
    "events": "SELECT event_id, event_type, epoch_ms(timestamp) FROM events",
    "assignments": "SELECT experiment_id, user_id, variant_id, epoch_ms(first_exposed_at) FROM assignments",
    "metric_totals": "SELECT event_id, metric FROM metric_totals",
    "experiments": "SELECT experiment_id FROM experiments",
}
"""Table -> what is asked of the warehouse."""


def _milliseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)


def _stored(path: Path) -> Rows:
    """Rows of a table in the columns of a record, as they lie there: read by Delta Lake's own reader."""
    if not DeltaTable.is_deltatable(str(path)):
        return Counter()
    columns = ["partition", "offset", pl.col("timestamp").dt.epoch("ms"), "key", "value", "headers"]
    return Counter(
        (*row[:5], tuple((header["key"], header["value"]) for header in row[5] or ()))
        for row in pl.read_delta(str(path)).select(columns).iter_rows()
    )
