"""Stores that are fed by processes that die, from a lake that grows, and that are down themselves, end up with what the lake
holds."""

import random
import subprocess
import sys
import time
from pathlib import Path

from neonblue_lab.events.classification import classify
from neonblue_lab.lake.lake import Lake
from neonblue_lab.sinks.delivery import Deliverer
from neonblue_lab.sinks.policy import DEFAULT
from neonblue_lab.warehouse.warehouse import Warehouse
from tests.integration.sinks.conftest import Frames, Store, comparable

CHECKOUT = Path(__file__).resolve().parents[3]
KILLS = 24

# Says a line after each delivery.
SYNC = """
import sys
from pathlib import Path
from neonblue_lab.lake.lake import Lake
from neonblue_lab.sinks import feed
from neonblue_lab.sinks.delivery import Deliverer
from neonblue_lab.sinks.opening import open_sink
from neonblue_lab.sinks.policy import DEFAULT

feed.DELIVERY_ROWS = 500
def told(store, lane, rows, seconds, ok):
    print(store, lane, rows, ok, flush=True)
sinks = [open_sink("postgres"), open_sink("clickhouse")]
with Deliverer(Lake(Path(sys.argv[1])), sinks, DEFAULT, Path(sys.argv[2]), observer=told) as deliverer:
    report = deliverer.run()
    print("done" if report.ok else report, flush=True)
"""


def start(lake: Lake, ledgers: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SYNC, str(lake.path), str(ledgers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)


class Growing:
    """A lake that gets the simulated rows bit by bit."""

    def __init__(self, folder: Path, frames: Frames, steps: int) -> None:
        self.lake = Lake(folder)
        self.lake.ensure_derived()
        self._parts = {
            name: list(frame.iter_slices(-(-frame.height // steps))) for name, frame in frames.items() if frame.height
        }
        self._experiments = frames["experiments"]
        del self._parts["experiments"]
        self._step = 0

    def grow(self) -> None:
        for name, parts in self._parts.items():
            if self._step < len(parts):
                self.lake.append(name, parts[self._step])
        self._step += 1
        some = self._experiments.sample(fraction=0.7, seed=self._step)  # others were deleted, or are not there yet
        self.lake.commit(self.lake.open("experiments"), some, mode="overwrite")
        if self._step % 6 == 0:
            for name in self._parts:
                self.lake.open(name).optimize.compact()


def assert_equal(store: Store, lake: Lake) -> None:
    """A store's readers see what the lake's readers see of what is routed to it."""
    warehouse = Warehouse(lake)
    routed = DEFAULT.of_store(store.sink.name)
    for table in sorted({route.table for route in routed} & set(lake.names())):
        expected = warehouse.sql(f"SELECT * FROM {table}").select(*lake.read(table).columns)
        if table == "events":
            lanes = DEFAULT.lanes(classify(expected))
            expected = expected.filter(lanes.is_in([route.lane for route in routed]))
        assert store.read(table) == comparable(expected), table


def distinct_events(lake: Lake, store: str) -> int:
    """Distinct ids of the events that are routed to a store."""
    events = lake.read("events")
    lanes = [route.lane for route in DEFAULT.of_store(store)]
    return events.filter(DEFAULT.lanes(classify(events)).is_in(lanes))["event_id"].n_unique()


def test_killed_at_random_instants_nothing_is_lost_or_doubled(
    postgres_store: Store, clickhouse_store: Store, frames: Frames, tmp_path: Path
) -> None:
    growing = Growing(tmp_path / "lake", frames, KILLS)
    rng = random.Random(11)
    unfinished = 0
    for _ in range(KILLS):
        growing.grow()
        process = start(growing.lake, tmp_path / "sinks")
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(rng.randint(1, 12))]
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        said.append(process.communicate()[0])
        unfinished += "done" not in "".join(said)
    assert unfinished >= KILLS / 2
    last = start(growing.lake, tmp_path / "sinks")
    assert last.communicate()[0].splitlines()[-1] == "done"
    for store in (postgres_store, clickhouse_store):
        assert_equal(store, growing.lake)
    assert postgres_store.count("events") == distinct_events(growing.lake, "postgres")
    idle = start(growing.lake, tmp_path / "sinks")
    assert idle.communicate()[0].splitlines() == ["done"]


def test_a_store_that_is_killed_while_it_is_fed_catches_up(
    postgres_store: Store, clickhouse_store: Store, frames: Frames, tmp_path: Path
) -> None:
    growing = Growing(tmp_path / "lake", frames, 6)
    moment = [time.time()]
    sinks = [postgres_store.sink, clickhouse_store.sink]
    deliverer = Deliverer(growing.lake, sinks, DEFAULT, tmp_path / "sinks", clock=lambda: moment[0])
    growing.grow()
    assert deliverer.run().ok
    for down, other in ((postgres_store, clickhouse_store), (clickhouse_store, postgres_store)):
        growing.grow()
        down.server.kill()
        try:
            report = deliverer.run()
            growing.grow()
            still = deliverer.run()
        finally:
            down.server.restart()
        assert report.troubles("down").keys() == still.troubles("down").keys() == {down.sink.name}
        assert any(lane.routing_strategy == "fallback" for lane in report.lanes)
        assert_equal(other, growing.lake)
        assert {entry.store for entry in deliverer.backlog() if entry.rows} == {down.sink.name}
        moment[0] += 600
        assert deliverer.run().ok
        assert_equal(down, growing.lake)


def test_two_at_once_double_nothing(
    postgres_store: Store, clickhouse_store: Store, frames: Frames, tmp_path: Path
) -> None:
    growing = Growing(tmp_path / "lake", frames, 2)
    growing.grow()
    growing.grow()
    both = [start(growing.lake, tmp_path / "sinks") for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert any(text.splitlines()[-1] == "done" for text in said)
    assert start(growing.lake, tmp_path / "sinks").communicate()[0].splitlines()[-1] == "done"
    for store in (postgres_store, clickhouse_store):
        assert_equal(store, growing.lake)
    assert postgres_store.count("events") == distinct_events(growing.lake, "postgres")
