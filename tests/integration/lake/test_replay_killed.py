"""A replay that is killed (SIGKILL) twenty times stores what one that nobody disturbs stores."""

import json
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neonblue_lab.events.records import RECORD_SCHEMA, RecordBatch
from neonblue_lab.events.simulator import Simulation, simulate
from neonblue_lab.lake.ingest import replay
from neonblue_lab.lake.lake import Lake
from neonblue_lab.topics.archive import ArchiveSource, write_archive
from neonblue_lab.topics.kafka import produce
from neonblue_lab.topics.sources import open_source
from neonblue_lab.warehouse.warehouse import Warehouse

KILLS = 20
BATCH = 250
RECORD = ["topic", "partition", "offset"]

# Says a line when a topic begins and after each batch, and at the end what was done.
REPLAY = """
import json, sys
from pathlib import Path
from neonblue_lab.errors import Conflict
from neonblue_lab.lake.ingest import replay
from neonblue_lab.lake.lake import Lake
from neonblue_lab.topics.sources import open_source

location, lake, batch_records, *topics = sys.argv[1:]
source = open_source(location, topics=topics, batch_records=int(batch_records))
try:
    report = replay(Lake(Path(lake)), source, topics, on_progress=lambda topic, done: print(topic, flush=True))
    print(json.dumps(report.to_dict()))
except Conflict as conflict:
    print(json.dumps({"conflict": str(conflict)}))
"""


class Topics:
    """Simulated topics under names of their own, as an archive."""

    def __init__(self, folder: Path) -> None:
        self.simulation: Simulation = simulate(experiments=6, users=2_000, events=20_000, seed=7, days=14)
        self.suffix = uuid.uuid4().hex[:8]
        self.names = sorted(self.name(topic) for topic in self.simulation.truth["topics"])
        self.archive = folder / "archive"
        write_archive(self.archive, self._batches())
        self.lake = Lake(folder / "undisturbed")
        replay(self.lake, ArchiveSource(self.archive))

    def name(self, topic: str) -> str:
        return f"{topic}-{self.suffix}"

    def _batches(self) -> Iterator[RecordBatch]:
        for batch in self.simulation.batches():
            name = self.name(batch.topic)
            yield RecordBatch(name, batch.frame.with_columns(topic=pl.lit(name)))

    def sent(self, topic: str) -> pl.DataFrame:
        source = ArchiveSource(self.archive)
        return pl.concat([batch.frame for batch in source.read({topic: {}})]).sort(RECORD)

    @property
    def distinct_event_ids(self) -> int:
        return sum(counts["distinct_event_ids"] for counts in self.simulation.truth["topics"].values())


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Topics:
    return Topics(tmp_path_factory.mktemp("killed"))


def start(location: str, lake: Lake, topics: Topics, batch_records: int = BATCH) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", REPLAY, location, str(lake.path), str(batch_records), *topics.names]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_midway(process: subprocess.Popen[str], rng: random.Random, lake: Lake, aimed: bool) -> None:
    """Kill a replay that has begun, after some batches: at any moment of the next, or aimed at the one in which raw has it and
    the tables derived from it do not."""
    assert process.stdout is not None
    for _ in range(rng.randint(1, 3)):
        process.stdout.readline()
    if aimed:
        stored = raw_commits(lake)
        while process.poll() is None and raw_commits(lake) == stored:
            time.sleep(0.0005)
    else:
        time.sleep(rng.uniform(0, 0.08))
    process.kill()
    process.communicate()


def raw_commits(lake: Lake) -> int:
    """How many commits the logs of the raw tables hold."""
    return sum(1 for _ in (lake.path / "raw").glob("*/_delta_log/*.json"))


def marks(lake: Lake, table: str, topic: str, partitions: list[int]) -> dict[int, int]:
    """The next offsets of a topic as a table states them; 0 where the table is not there yet."""
    if table not in lake.names():
        return dict.fromkeys(partitions, 0)
    opened = lake.open(table)
    return {partition: opened.transaction_version(f"{topic}/{partition}") or 0 for partition in partitions}


def progress(lake: Lake, topics: Topics, ends: dict[str, dict[int, int]]) -> tuple[bool, bool]:
    """Whether a lake lacks something, and whether a batch is stored in raw that `events` does not know of."""
    unfinished = torn = False
    for topic in topics.names:
        events = marks(lake, "events", topic, list(ends[topic]))
        unfinished |= events != ends[topic]
        torn |= events != marks(lake, f"raw/{topic}", topic, list(ends[topic]))
    return unfinished, torn


def derived(lake: Lake) -> dict[str, pl.DataFrame]:
    """The views of a lake and what its append-only tables hold, in a fixed order."""
    keys = {
        "events": ["event_id"],
        "experiments": ["experiment_id"],
        "assignments": ["experiment_id", "user_id", "variant_id"],
        "metric_totals": ["experiment_id", "variant_id", "metric", "segment", "period_start", "period_end"],
        "dead_letters": RECORD,
    }
    tables = {name: Warehouse(lake).sql(f"SELECT * FROM {name}").sort(by) for name, by in keys.items()}
    tables["stored totals"] = lake.read("metric_totals").sort("event_id", "as_of")
    tables["dead_letters"] = tables["dead_letters"].drop("failed_at")
    return tables


def assert_whole(lake: Lake, topics: Topics, kafka_times: bool) -> None:
    """A lake holds every record that was sent once, byte for byte, and says what an undisturbed one says."""
    for topic in topics.names:
        stored = lake.read(f"raw/{topic}", RECORD_SCHEMA).sort(RECORD)
        assert stored.select(RECORD).is_unique().all()
        sent = topics.sent(topic)
        assert_frame_equal(stored, sent.with_columns(pl.col("timestamp").dt.truncate("1ms")) if kafka_times else sent)
    found, expected = derived(lake), derived(topics.lake)
    if kafka_times:
        expected["dead_letters"] = expected["dead_letters"].with_columns(pl.col("timestamp").dt.truncate("1ms"))
    assert found["events"].height == topics.distinct_event_ids
    for name, frame in expected.items():
        assert_frame_equal(found[name], frame)


def kill_again_and_again(location: str, lake: Lake, topics: Topics, seed: int) -> None:
    source = open_source(location, topics=topics.names)
    ends = {topic: source.end_offsets(topic) for topic in topics.names}
    rng = random.Random(seed)
    unfinished = torn = 0
    for number in range(KILLS):
        kill_midway(start(location, lake, topics), rng, lake, aimed=number % 2 == 1)
        lacks, halfway = progress(lake, topics, ends)
        unfinished += lacks
        torn += halfway
    assert unfinished >= KILLS / 2
    assert torn >= 1

    last = start(location, lake, topics, batch_records=100_000)
    report: dict[str, Any] = json.loads(last.communicate()[0].splitlines()[-1])
    assert last.returncode == 0
    assert report["records"] > 0
    assert {
        topic: {int(p): end for p, end in done["partitions"].items()} for topic, done in report["topics"].items()
    } == ends
    assert replay(lake, source, topics.names).nothing_to_do


def test_killed_twenty_times_from_an_archive(tmp_path: Path, topics: Topics) -> None:
    lake = Lake(tmp_path / "lake")
    kill_again_and_again(str(topics.archive), lake, topics, seed=1)
    assert_whole(lake, topics, kafka_times=False)


def test_killed_twenty_times_from_kafka(tmp_path: Path, topics: Topics, kafka: Any) -> None:
    url = f"kafka://{kafka.bootstrap}"
    produce(ArchiveSource(topics.archive), url)
    lake = Lake(tmp_path / "lake")
    kill_again_and_again(url, lake, topics, seed=2)
    assert_whole(lake, topics, kafka_times=True)


def test_processes_at_once_double_nothing(tmp_path: Path, topics: Topics) -> None:
    lake = Lake(tmp_path / "lake")
    both = [start(str(topics.archive), lake, topics, batch_records=2_000) for _ in range(2)]
    for process in both:
        json.loads(process.communicate()[0].splitlines()[-1])  # a report or a conflict, nothing else
    assert [process.returncode for process in both] == [0, 0]
    replay(lake, ArchiveSource(topics.archive))
    assert_whole(lake, topics, kafka_times=False)
