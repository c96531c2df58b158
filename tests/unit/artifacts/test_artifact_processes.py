"""Many processes at once, and processes killed at any moment."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.artifacts.staging import PREFIX, staging, sweep

PUBLISH = """
import sys
from pathlib import Path
from neonblue_lab.artifacts import ArtifactStore

root, count, promote = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "promote"
store = ArtifactStore(root)

def write(folder):
    for part in range(5):
        (folder / f"part{part}").mkdir()
        (folder / f"part{part}" / "data.bin").write_bytes(bytes([part]) * 20_000)

print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    artifact = store.publish("model", write, parameters={"number": number}, metrics={}, data_versions={}, seed=None,
                             card="# Card")
    print(artifact.version, flush=True)
    if promote:
        store.promote("model", artifact.version)
        if number % 3 == 2:
            store.rollback("model")
"""


def start(root: Path, count: int, promote: bool) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", PUBLISH, str(root), str(count), "promote" if promote else "publish"]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def release(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


def staging_folders(root: Path) -> list[Path]:
    return list((root / "model").glob(f"{PREFIX}*"))


def test_eight_publishers_at_once_make_eight_distinct_complete_versions(root: Path) -> None:
    processes = [start(root, 1, promote=False) for _ in range(8)]
    for process in processes:
        release(process)
    versions = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sorted(versions) == list(range(1, 9))
    store = ArtifactStore(root)
    assert all(store.verify("model", version).ok for version in versions)
    assert staging_folders(root) == []


def test_promotions_at_once_lose_no_change(root: Path) -> None:
    processes = [start(root, 5, promote=True) for _ in range(3)]
    for process in processes:
        release(process)
    for process in processes:
        assert process.wait(timeout=60) == 0
        process.communicate()
    champion = ArtifactStore(root).champion("model")
    assert champion is not None
    promoted = [change.version for change in champion.log if change.action == "promote"]
    assert sorted(promoted) == list(range(1, 16))
    assert sum(change.action == "roll_back" for change in champion.log) == 3


def test_killed_at_random_moments_the_store_stays_readable(root: Path) -> None:
    chance = random.Random(20)
    store = ArtifactStore(root)
    first = start(root, 1, promote=True)
    release(first)
    first.communicate(timeout=60)
    completed = store.versions("model")
    for _ in range(12):
        process = start(root, 1000, promote=True)
        release(process)
        assert process.stdout is not None
        announced = int(process.stdout.readline())
        time.sleep(chance.uniform(0, 0.06))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        versions = store.versions("model")
        assert versions == tuple(range(1, len(versions) + 1))
        assert {*completed, announced} <= {*versions}
        completed = versions
        assert all(artifact.version in versions for artifact in store.list())
        assert all(store.verify("model", version).ok for version in versions[-4:])
        champion = store.champion("model")
        assert champion is not None
        assert store.get("model").version == champion.version
        assert len(staging_folders(root)) <= 1
    last = start(root, 1, promote=False)
    release(last)
    assert int(last.communicate(timeout=60)[0]) == len(completed) + 1
    assert staging_folders(root) == []


def test_a_slow_publisher_is_not_swept_away(tmp_path: Path) -> None:
    with staging(tmp_path) as content:
        (content / "half").touch()
        os.utime(content.parent, (0, 0))
        sweep(tmp_path)
        assert (content / "half").exists()
    assert list(tmp_path.iterdir()) == []


def test_sweeping_while_others_stage_disturbs_nobody(tmp_path: Path) -> None:
    done = threading.Event()
    failures: list[BaseException] = []

    def sweep_on() -> None:
        try:
            while not done.is_set():
                sweep(tmp_path)
        except BaseException as error:
            failures.append(error)
            raise

    sweepers = [threading.Thread(target=sweep_on) for _ in range(2)]
    for sweeper in sweepers:
        sweeper.start()
    try:
        for number in range(300):
            with staging(tmp_path) as content:
                (content / "x").write_text(str(number))
                assert (content / "x").read_text() == str(number)
    finally:
        done.set()
        for sweeper in sweepers:
            sweeper.join()
    assert failures == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [[], ["lock"], ["lock", "content/part/x"]])
def test_what_a_killed_publisher_left_is_removed(tmp_path: Path, left: list[str]) -> None:
    folder = tmp_path / f"{PREFIX}dead"
    folder.mkdir()
    for file in left:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch(mode=0o444 if file != "lock" else 0o600)
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
