"""How fast do records become rows of the lake, against a peer that only reads them?

Archive to lake (raw, events and the other derived tables) against `polars.read_ndjson` of the same values; Kafka to lake with
each client against a loop of the same client that throws the records away; and how fast topics are simulated.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import BinaryIO

import polars as pl
from timing import CHECKOUT, Run, in_child, interleaved, print_table, seconds

TOPIC = "user_events"
PAGE_BYTES = 25
"""Of the event's type and its page together: it makes every event 218 bytes long."""
BATCH = 100_000
FEWEST = 2_000


def write_topic(folder: Path, records: int) -> float:
    """Write events of 218 bytes as an archive (`archive/`) and as lines (`lines.ndjson`)."""
    from neonblue_lab.events.encoding import RecordEncoder
    from neonblue_lab.events.records import RecordBatch
    from neonblue_lab.topics.archive import write_archive

    def batches(lines: BinaryIO) -> Iterator[RecordBatch]:
        encoder = RecordEncoder(TOPIC)
        for first in range(0, records, BATCH):
            batch = encoder.encode(events(first, min(BATCH, records - first)))
            lines.write(b"\n".join(batch.frame["value"]) + b"\n")
            yield batch

    with (folder / "lines.ndjson").open("wb") as lines:
        return seconds(lambda: write_archive(folder / "archive", batches(lines)))


def events(first: int, count: int) -> pl.DataFrame:
    """Events like the simulator's, numbered from `first`, all of one size: one in ten is an exposure, the others are steps."""
    number, person = pl.col("number"), pl.col("number") // 10
    kinds = pl.Series(["exposure", *["page_view", "click", "search"] * 3])
    rows = pl.DataFrame({"number": range(first, first + count)}).with_columns(
        event_type=pl.lit(kinds).gather(number % 10)
    )
    page_bytes = PAGE_BYTES - pl.col("event_type").str.len_bytes()
    return rows.select(
        event_id=pl.format("event-{}", number.cast(pl.String).str.zfill(9)),
        event_type="event_type",
        timestamp=pl.datetime(2026, 3, 2, time_unit="us", time_zone="UTC") + pl.duration(microseconds=number * 7_919),
        user_id=pl.format("user-{}", person.cast(pl.String).str.zfill(8)),
        experiment_id=pl.format("experiment-{}", person % 10),
        variant_id=pl.when(person % 20 < 10).then(pl.lit("control")).otherwise(pl.lit("variant")),
        properties=pl.struct(page=pl.lit("/product/").str.pad_end(page_bytes, "0")),
    )


def to_lake(location: str, client: str | None = None) -> float:
    """Replay a source into a new lake."""
    from neonblue_lab.lake.ingest import replay
    from neonblue_lab.lake.lake import Lake
    from neonblue_lab.topics.sources import open_source

    with TemporaryDirectory() as folder:
        return seconds(lambda: replay(Lake(Path(folder) / "lake"), open_source(location, client=client)))


def read_ndjson(file: Path) -> float:
    """Parse lines into columns, and do nothing with them."""
    return seconds(lambda: pl.read_ndjson(file))


def discard(address: str, records: int) -> float:
    """Consume a topic, and do nothing with its records."""
    from kafka import KafkaConsumer, TopicPartition

    def consume() -> None:
        with KafkaConsumer(bootstrap_servers=address, group_id=None, enable_auto_commit=False) as consumer:
            partitions = [TopicPartition(TOPIC, number) for number in consumer.partitions_for_topic(TOPIC)]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            left = records
            while left > 0:
                left -= sum(len(some) for some in consumer.poll(1_000, max_records=BATCH).values())

    return seconds(consume)


def discard_confluent(address: str, records: int) -> float:
    """The same with confluent-kafka, told not to rest between fetches as its default would."""
    from confluent_kafka import Consumer, TopicPartition

    def consume() -> None:
        consumer = Consumer(
            {"bootstrap.servers": address, "group.id": "discard", "enable.auto.commit": False}
            | {"fetch.queue.backoff.ms": 10, "check.crcs": True}
        )
        partitions = consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        consumer.assign([TopicPartition(TOPIC, number, 0) for number in partitions])
        left = records
        while left > 0:
            left -= len(consumer.consume(10_000, timeout=1))
        consumer.close()

    return seconds(consume)


def to_kafka(archive: Path, url: str) -> float:
    """Put an archive on a cluster."""
    from neonblue_lab.topics.archive import ArchiveSource
    from neonblue_lab.topics.kafka import produce

    return seconds(lambda: produce(ArchiveSource(archive), url))


def simulate_topics(events: int) -> float:
    """Simulate topics and write them as an archive."""
    from neonblue_lab.events.simulator import simulate
    from neonblue_lab.topics.archive import write_archive

    with TemporaryDirectory() as folder:
        return seconds(
            lambda: write_archive(folder, simulate(experiments=8, events=events, users=events // 10).batches())
        )


def row(what: str, records: int, ours: Sequence[Run], peer: Sequence[Run] = (), peer_name: str = "") -> list[str]:
    """One row of the table, out of the medians."""
    rate = records / median(run.seconds for run in ours)
    cells = [what, f"{rate:,.0f}/s", f"{median(run.megabytes for run in ours):,.0f} MB"]
    if not peer:
        return [*cells, "", "", "", ""]
    peer_rate = records / median(run.seconds for run in peer)
    megabytes = f"{median(run.megabytes for run in peer):,.0f} MB"
    return [*cells, peer_name, f"{peer_rate:,.0f}/s", megabytes, f"{rate / peer_rate:.2f}"]


def kafka_rows(folder: Path, records: int, runs: int) -> list[list[str]]:
    """Rows measured on a real broker; none where it cannot be had, which stderr says."""
    sys.path.append(str(CHECKOUT))
    from tests.services.kafka_broker import KafkaBroker, KafkaUnavailable

    try:
        broker = KafkaBroker()
    except KafkaUnavailable as reason:
        print(f"The rows of Kafka are left out: {reason}.", file=sys.stderr)
        return []
    with broker:
        url = f"kafka://{broker.bootstrap}"
        produced = in_child(to_kafka, folder / "archive", url)
        ours, peer, fast, fast_peer = interleaved(
            runs,
            lambda: in_child(to_lake, url, "kafka-python"),
            lambda: in_child(discard, broker.bootstrap, records),
            lambda: in_child(to_lake, url, "confluent"),
            lambda: in_child(discard_confluent, broker.bootstrap, records),
        )
    return [
        row("Kafka to lake", records, ours, peer, "kafka-python, discarding"),
        row("Kafka to lake, confluent", records, fast, fast_peer, "confluent-kafka, discarding"),
        row("archive to Kafka", records, [produced]),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=300_000, help=f"at least {FEWEST:,} (default: %(default)s)")
    parser.add_argument(
        "--runs", type=int, default=3, help="of each, interleaved; medians count (default: %(default)s)"
    )
    options = parser.parse_args()
    if options.records < FEWEST or options.runs < 1:
        parser.error(f"--records must be at least {FEWEST:,} and --runs at least 1")
    records, runs = options.records, options.runs
    with TemporaryDirectory() as name:
        folder = Path(name)
        in_child(write_topic, folder, records)
        ours, peer = interleaved(
            runs,
            lambda: in_child(to_lake, str(folder / "archive")),
            lambda: in_child(read_ndjson, folder / "lines.ndjson"),
        )
        rows = [row("archive to lake", records, ours, peer, "polars.read_ndjson"), *kafka_rows(folder, records, runs)]
    (simulated,) = interleaved(runs, lambda: in_child(simulate_topics, records))
    rows.append(row("simulate to archive", records, simulated))
    print_table(
        [f"{records:,} records", "ours", "peak", "peer", "its rate", "its peak", "ours / peer"],
        rows,
    )


if __name__ == "__main__":
    main()
