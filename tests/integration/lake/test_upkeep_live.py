"""Upkeep while others work: a replay and readers in processes and threads of their own, and upkeep killed at random."""

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from neonblue_lab.events.simulator import simulate
from neonblue_lab.lake.ingest import replay
from neonblue_lab.lake.lake import Lake, files
from neonblue_lab.lake.upkeep import compact, vacuum
from neonblue_lab.topics.archive import ArchiveSource, write_archive
from neonblue_lab.warehouse.warehouse import Warehouse

REPLAY = """
import sys
from pathlib import Path
from neonblue_lab.lake.ingest import replay
from neonblue_lab.lake.lake import Lake
from neonblue_lab.topics.archive import ArchiveSource
replay(Lake(Path(sys.argv[1])), ArchiveSource(sys.argv[2], batch_records=int(sys.argv[3])))
"""
COMPACT = """
import sys
from pathlib import Path
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.upkeep import compact
print("ready", flush=True)
compact(Lake(Path(sys.argv[1])))
"""
CONSISTENT = """SELECT count(*), count(DISTINCT event_id), count(DISTINCT (topic, partition, "offset")) FROM events"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("topics")
    write_archive(folder, simulate(experiments=4, users=1_000, events=12_000, days=20, seed=9).batches())
    return folder


@pytest.fixture(scope="module")
def untouched(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """What the archive makes of a lake without upkeep."""
    lake = Lake(tmp_path_factory.mktemp("untouched"))
    replay(lake, ArchiveSource(archive))
    return lake


def assert_same(lake: Lake, other: Lake) -> None:
    """The lakes hold the same raw records, and readers see the same in them."""
    assert lake.topics() == other.topics()
    order = ["partition", "offset"]
    for topic in lake.topics():
        raw = [one.read(f"raw/{topic}").drop("ingested_at", "ingest_date").sort(order) for one in (lake, other)]
        assert_frame_equal(*raw)
    for name in ("events", "experiments", "assignments", "metric_totals"):
        views = [Warehouse(one).sql(f"SELECT * FROM {name} ORDER BY ALL") for one in (lake, other)]
        assert_frame_equal(*views)


def test_a_replay_and_readers_go_on_while_files_are_merged(tmp_path: Path, archive: Path, untouched: Lake) -> None:
    lake = Lake(tmp_path / "lake")
    lake.ensure_derived()
    replaying = subprocess.Popen(
        [sys.executable, "-c", REPLAY, lake.path, archive, "300"], stderr=subprocess.PIPE, text=True
    )
    done, seen, failures = threading.Event(), [0], []

    def read() -> None:
        while not done.is_set():
            try:
                rows, ids, offsets = Warehouse(lake).sql(CONSISTENT).row(0)
            except Exception as error:  # noqa: BLE001
                failures.append(error)
                return
            if not seen[-1] <= rows == ids == offsets:
                failures.append(AssertionError((seen[-1], rows, ids, offsets)))
            seen.append(rows)

    reader = threading.Thread(target=read)
    reader.start()
    reports = []
    try:
        while replaying.poll() is None:
            reports.append(compact(lake, min_files=4))
    finally:
        done.set()
        reader.join()
        _, errors = replaying.communicate()
    assert (replaying.returncode, errors, failures) == (0, "", [])
    assert [sentence for report in reports for sentence in report.skipped] == []
    assert sum(len(report.tables) for report in reports) > 5
    assert len(set(seen)) > 3
    before = lake.status()
    compact(lake)
    assert_same(lake, untouched)
    after = lake.status()
    assert {name: status.rows for name, status in after.items()} == {name: s.rows for name, s in before.items()}
    assert after["raw/user_events"].files < 8
    assert replay(lake, ArchiveSource(archive)).nothing_to_do


def test_upkeep_killed_at_any_moment_loses_and_doubles_nothing(tmp_path: Path, archive: Path, untouched: Lake) -> None:
    scattered = Lake(tmp_path / "scattered")
    replay(scattered, ArchiveSource(archive, batch_records=300))
    rows = {name: status.rows for name, status in scattered.status().items()}
    when, took, cut_short = random.Random(5), 1.0, 0
    for attempt in range(8):
        lake = Lake(tmp_path / f"attempt {attempt}")
        shutil.copytree(scattered.path, lake.path)
        working = subprocess.Popen([sys.executable, "-c", COMPACT, lake.path], stdout=subprocess.PIPE)
        assert working.stdout is not None
        with working.stdout as says:
            says.readline()
            began = time.monotonic()
            if attempt:
                time.sleep(when.uniform(0, took))
                working.kill()
            working.wait()
        if not attempt:
            took = time.monotonic() - began
        cut_short += working.returncode != 0
        assert {name: status.rows for name, status in lake.status().items()} == rows
        compact(lake)
        for file in lake.path.rglob("*"):
            os.utime(file, (0, 0))
        vacuum(lake, keep={})
        needed = {file for name in lake.names() for file in files(lake.open(name))}
        assert {str(file) for file in lake.path.rglob("*.parquet") if "_delta_log" not in file.parts} == needed
        assert_same(lake, untouched)
    assert cut_short > 3
