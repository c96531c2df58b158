"""The disk fills up, the clock is set back, the lake has grown old."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from statistics import median

from benchmarks.fault_cases.scene import DONE, SOON_SECONDS, NotHere, Outcome, Scene, Size
from benchmarks.timing import seconds
from tests.services.neonblue_process import Answer, wait_until
from tests.services.old_lake import split_commits
from tests.services.shifted_clock import ClockUnavailable, ShiftedClock

ENOUGH = 256 << 10
"""Kilobytes that hold the whole lake."""


def disk_full_while_replaying(scene: Scene, size: Size) -> Outcome:
    """Let the disk fill up at several instants of a replay, each a little later than the last, then make space."""
    growth = 1.5 if size.times > 1 else 4
    kilobytes = 100.0
    refusals: list[Answer] = []
    with small_disk(scene.home, f"{kilobytes:.0f}k"):
        scene.topic.produce(10 * size.records)
        while (answer := scene.replay()).code != DONE and kilobytes < ENOUGH:
            scene.expect_refusal(answer, "space", str(scene.home))
            refusals.append(answer)
            kilobytes *= growth
            resize_disk(scene.home, f"{kilobytes:.0f}k")
        resize_disk(scene.home, f"{ENOUGH}k")
        return scene.outcome("disk full during a replay", len(refusals), refusals[-1].said)


def disk_full_while_following(scene: Scene, size: Size) -> Outcome:
    """Let the disk fill up under a follower, make space, and follow again."""
    with small_disk(scene.home, "2m"):
        for number in range(size.times):
            with scene.following() as follower, scene.records_arriving(at_once=2_000):
                wait_until(lambda: not follower.running, "a follower on a full disk leaves", SOON_SECONDS)
                answer = scene.heard(follower.answer())
            scene.expect_refusal(answer, "space", str(scene.home))
            resize_disk(scene.home, f"{4 << number}m")
        resize_disk(scene.home, f"{ENOUGH}k")
        with scene.following() as follower:
            scene.await_caught_up()
            scene.leave(follower)
        return scene.outcome("disk full while following", size.times, answer.said)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own at `folder`, of that size."""
    folder.mkdir(parents=True)
    options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "neonblue-faults", str(folder)]
    mounted = subprocess.run(options, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        raise NotHere(f"no small file system can be mounted here ({mounted.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize_disk(folder: Path, size: str) -> None:
    """Give a `small_disk` another size."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def clock_backwards(scene: Scene, size: Size) -> Outcome:
    """Set a follower's clock back by two days, again and again. (Timestamps of records go back and forth anyway.)"""
    try:
        clock = ShiftedClock(scene.folder)
    except ClockUnavailable as reason:
        raise NotHere(str(reason)) from reason
    with scene.following(environment=clock.environment) as follower:
        for days in range(0, 2 * size.times + 1, 2):
            clock.shift(-days * 86_400)
            scene.topic.produce(size.records // 10)
            scene.await_caught_up()
        scene.leave(follower)
    dates = scene.ingest_dates()
    scene.expect(len(dates) == size.times + 1, f"the clock was not set back: rows were stored on {', '.join(dates)}")
    return scene.outcome("clock set back while following", size.times, f"nothing; rows lie under {len(dates)} dates")


def restarted_on_an_old_lake(scene: Scene, size: Size) -> Outcome:
    """Start a follower of a lake that has many commits while a new record waits: how soon is it in the lake?

    The same on a lake filled at once says what of that is due to the commits, and a process that only imports the libraries
    what is due to Python.
    """
    scene.topic.produce(size.commits)
    scene.replay()
    young = copy(scene)
    young.home = scene.home.with_name(f"{scene.home.name}-young")
    shutil.copytree(scene.home, young.home)
    scene.topic.remember()
    by_arrival = sorted(scene.topic.held, key=lambda at: at[::-1])
    for table in scene.logs():
        split_commits(table, scene.topic.name, by_arrival)
    imports = [sys.executable, "-c", "import deltalake, duckdb, kafka, polars, pyarrow"]
    took: dict[str, list[float]] = {"old": [], "young": [], "imports": []}
    for _ in range(size.times):
        took["imports"].append(seconds(lambda: subprocess.run(imports, check=True)))
        scene.topic.produce(1)
        took["old"].append(seconds_to_first_commit(scene))
        took["young"].append(seconds_to_first_commit(young))
    old, others = median(took["old"]), (median(took["young"]), median(took["imports"]))
    seen = (
        f"a waiting record was in the lake {old:.2f} s after the start; {others[0]:.2f} s on a lake filled at once; "
        f"the imports alone take {others[1]:.2f} s"
    )
    return scene.outcome(f"restart on a lake of {size.commits:,} commits", size.times, seen)


def seconds_to_first_commit(scene: Scene) -> float:
    """Start a follower and stop the time until raw and events have one more commit; ask it to leave."""
    logs = [table / "_delta_log" for table in scene.logs()]
    following = [max(log.glob("*.json")) for log in logs]
    following = [last.with_name(f"{int(last.stem) + 1:020d}.json") for last in following]
    begun = time.perf_counter()
    with scene.following() as follower:
        wait_until(lambda: all(map(Path.exists, following)), "a follower commits what waited for it", SOON_SECONDS)
        took = time.perf_counter() - begun
        scene.leave(follower)
    return took
