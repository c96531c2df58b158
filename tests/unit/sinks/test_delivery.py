"""Stores get what the lake holds: each row to its stores, in the same parts however often, what matters first."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from neonblue_lab.events.classification import classify
from neonblue_lab.lake.commits import commits
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import DERIVED
from neonblue_lab.sinks import feed
from neonblue_lab.sinks.delivery import Deliverer
from neonblue_lab.sinks.needed import versions_needed
from neonblue_lab.sinks.policy import DEFAULT, DEFAULT_TEXT, Policy
from neonblue_lab.sinks.sink import Delivery
from tests.services.recording_sink import RecordingSink

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MIXED = [
    "page_view",
    "purchase",
    "exposure",
    "add_to_cart",
    "metric_total",
    "click",
    "experiment_created",
    "unheard_of",
]


class Killed(BaseException):
    """What a kill is to a process: nothing runs after it."""


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC).timestamp()

    def __call__(self) -> float:
        return self.now


class Workbench:
    """A lake, two stores, and what moves between them."""

    def __init__(self, lake: Lake, folder: Path) -> None:
        self.lake = lake
        self.folder = folder
        self.clock = Clock()
        self.postgres = RecordingSink("postgres", folder / "p")
        self.clickhouse = RecordingSink("clickhouse", folder / "c")
        self.told: list[tuple[str, str, int, bool]] = []
        self.serial = 0

    @property
    def ledgers(self) -> Path:
        return self.folder / "sinks"

    def deliverer(self, policy: Policy = DEFAULT) -> Deliverer:
        return Deliverer(
            self.lake,
            [self.postgres, self.clickhouse],
            policy,
            self.ledgers,
            clock=self.clock,
            observer=lambda store, lane, rows, seconds, ok: self.told.append((store, lane, rows, ok)),
        )

    def add(self, *event_types: str) -> None:
        """One commit of one event for each type."""
        first, self.serial = self.serial, self.serial + len(event_types)
        rows = [
            dict.fromkeys(DERIVED["events"].schema)
            | {"event_id": f"e{first + i}", "event_type": kind, "topic": "some_topic", "partition": 0}
            | {"offset": first + i, "timestamp": NOON, "event_date": NOON.date()}
            for i, kind in enumerate(event_types)
        ]
        self.lake.append("events", pl.DataFrame(rows, schema=DERIVED["events"].schema))

    def define(self, *experiments: str) -> None:
        """Make the experiments anew."""
        schema = DERIVED["experiments"].schema
        rows = pl.DataFrame([dict.fromkeys(schema) | {"experiment_id": name} for name in experiments], schema=schema)
        self.lake.commit(self.lake.open("experiments"), rows, mode="overwrite")

    def assert_delivered(self, policy: Policy = DEFAULT) -> None:
        """Each store has each event that is routed to it once, and no other."""
        events = self.lake.read("events")
        lanes = policy.lanes(classify(events))
        for sink in (self.postgres, self.clickhouse):
            routed = [route.lane for route in policy.of_store(sink.name) if route.table == "events"]
            expected = events.filter(lanes.is_in(routed)).sort("event_id")
            assert_frame_equal(sink.rows("events").select(events.columns).sort("event_id"), expected)


@pytest.fixture
def bench(lake_of: Callable[..., Lake], tmp_path: Path) -> Workbench:
    return Workbench(lake_of(), tmp_path)


def lanes_of(tokens: Iterable[str]) -> list[str]:
    return [token.split("/")[1] for token in tokens if token.startswith("events@")]


def test_each_event_reaches_its_stores_once(bench: Workbench) -> None:
    bench.add(*MIXED)
    first = bench.deliverer().run()
    bench.add(*MIXED, *MIXED)
    bench.add("click")
    second = bench.deliverer().run()
    bench.assert_delivered()
    assert (first.ok, second.ok) == (True, True)
    # decisive, experimental and needed_everywhere are in PostgreSQL, and everything in ClickHouse
    assert (first.rows, second.rows) == ({"postgres": 4, "clickhouse": 8}, {"postgres": 8, "clickhouse": 17})
    assert "17 rows delivered; it has everything" in str(second)


def test_results_are_told_by_lane(bench: Workbench) -> None:
    bench.add("purchase", "purchase", "click")
    told = bench.deliverer().run().to_dict()
    json.dumps(told)
    (decisive,) = [lane for lane in told["lanes"] if lane["lane"] == "decisive"]
    assert decisive["routing_strategy"] == "real_time"
    assert decisive["primary_result"] | {"through": 0} == {
        "store": "postgres", "state": "up_to_date", "rows": 2, "deliveries": 1, "through": 0, "message": ""
    }  # fmt: skip
    assert decisive["secondary_results"]["clickhouse"]["rows"] == 2
    (experiments,) = [lane for lane in told["lanes"] if lane["lane"] == "experiments"]
    assert experiments["secondary_results"]["chromadb"]["state"] == "left_out"


def test_with_nothing_new_nothing_is_sent_or_written(bench: Workbench) -> None:
    bench.add(*MIXED)
    deliverer = bench.deliverer()
    deliverer.run()
    sent, ledgers = len(bench.postgres.tokens), {f: f.stat().st_mtime_ns for f in bench.ledgers.glob("*.json")}
    for again in (deliverer, bench.deliverer()):
        assert again.run().nothing_to_do
    assert len(bench.postgres.tokens) == sent
    assert {f: f.stat().st_mtime_ns for f in bench.ledgers.glob("*.json")} == ledgers
    bench.lake.open("events").optimize.compact()
    assert bench.deliverer().run().nothing_to_do


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_dies_at_any_delivery_leaves_nothing_lost_or_doubled(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The recording store itself refuses a token that comes back with other rows."""
    monkeypatch.setattr(feed, "DELIVERY_ROWS", 3)
    bench.define("a", "b")
    for round_ in range(30):
        bench.add(*MIXED[round_ % 4 :])
        if round_ % 7 == 3:
            bench.lake.open("events").optimize.compact()
        for sink in (bench.postgres, bench.clickhouse):
            left = [round_ % 5]

            def die(delivery: Delivery, sink: RecordingSink = sink, left: list[int] = left) -> None:
                left[0] -= 1
                if left[0] < 0:
                    if when == "after":
                        sink.on_write = lambda delivery: None
                        sink.write(delivery)
                    raise Killed

            sink.on_write = die
        with pytest.raises(Killed):
            bench.deliverer().run()
    for sink in (bench.postgres, bench.clickhouse):
        sink.on_write = lambda delivery: None
    assert bench.deliverer().run().ok
    bench.assert_delivered()
    assert sorted(bench.postgres.rows("experiments")["experiment_id"]) == ["a", "b"]


def test_a_large_table_comes_in_parts_and_goes_on_where_it_was(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "DELIVERY_ROWS", 10)
    bench.add(*["click"] * 7)
    bench.add(*["click"] * 28)

    def die(delivery: Delivery) -> None:
        if len(lanes_of(bench.clickhouse.tokens)) == 2:
            raise Killed

    bench.clickhouse.on_write = die
    with pytest.raises(Killed):
        bench.deliverer().run()
    bench.add(*["click"] * 5)
    bench.clickhouse.on_write = lambda delivery: None
    bench.deliverer().run()
    heights = [height for _, lane, height, _ in bench.told if lane == "bulk"]
    assert heights == [10, 10, 10, 5, 5]  # what was acknowledged is not sent again
    bench.assert_delivered()


def test_many_small_commits_are_one_delivery(bench: Workbench) -> None:
    bench.deliverer().run()
    for _ in range(20):
        bench.add("click", "purchase")
    report = bench.deliverer().run()
    sent = [r.deliveries for lane in report.lanes for r in lane.results if r.rows]
    assert sent == [1, 1, 1]  # decisive to both, bulk to one
    bench.assert_delivered()


def test_what_matters_more_overtakes(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "DELIVERY_ROWS", 10)
    bench.add(*["click"] * 40)

    def arrive(delivery: Delivery) -> None:
        if delivery.token.split("/")[1:3] == ["bulk", "1"]:
            bench.add("purchase")

    bench.clickhouse.on_write = arrive
    bench.deliverer().run()
    assert lanes_of(bench.clickhouse.tokens) == ["bulk", "bulk", "decisive", "bulk", "bulk"]
    assert lanes_of(bench.postgres.tokens) == ["decisive"]
    bench.assert_delivered()


def test_a_store_that_is_down_holds_nobody_up_and_catches_up(bench: Workbench) -> None:
    bench.add(*MIXED)
    bench.postgres.down = True
    deliverer = bench.deliverer()
    report = deliverer.run()
    assert not report.ok
    assert "does not answer" in report.troubles("down")["postgres"]
    by_lane = {lane.lane: lane for lane in report.lanes}
    assert by_lane["decisive"].routing_strategy == "fallback"
    assert by_lane["decisive"].primary_result.state == "down"
    assert by_lane["decisive"].secondary_results["clickhouse"].rows == 2
    assert by_lane["bulk"].routing_strategy == "batch"
    assert len(bench.clickhouse.rows("events")) == len(MIXED)
    failures = [told for told in bench.told if told[0] == "postgres"]
    assert failures == [("postgres", "decisive", 0, False)]  # one lane tried, the others waited

    bench.add("purchase")
    behind = {(b.store, b.lane): b for b in deliverer.backlog()}
    waiting = behind["postgres", "decisive"]
    assert (waiting.commits, waiting.rows) == (2, len(MIXED) + 1)
    assert waiting.oldest_seconds is not None
    assert 0 < waiting.retry_seconds <= 1
    assert behind["clickhouse", "decisive"].commits == 1

    bench.postgres.down = False
    assert deliverer.run().rows["postgres"] == 0  # left alone for now
    bench.clock.now += 1
    assert deliverer.run().rows["postgres"] == 5
    assert all(b.commits == b.retry_seconds == 0 for b in deliverer.backlog())
    bench.assert_delivered()


def test_a_clock_that_goes_back_keeps_nothing_waiting(bench: Workbench) -> None:
    bench.add(*MIXED)
    bench.postgres.down = True
    deliverer = bench.deliverer()
    deliverer.run()
    bench.clock.now -= 10_000
    bench.postgres.down = False
    assert all((b.oldest_seconds or 0) >= 0 for b in deliverer.backlog())
    deliverer.run(flush=False)
    deliverer.run()
    bench.assert_delivered()


def test_strategies_say_when_a_lane_is_due_while_records_arrive(bench: Workbench) -> None:
    policy = Policy.model_validate(
        yaml.safe_load(DEFAULT_TEXT) | {"stream_rows": 4, "stream_seconds": 5, "batch_seconds": 60}
    )
    deliverer = bench.deliverer(policy)
    deliverer.run()

    def delivered() -> Counter[str]:
        report = deliverer.run(flush=False)
        assert report.ok
        return Counter({lane.lane: n for lane in report.lanes if (n := sum(r.rows for r in lane.results))})

    bench.clock.now = datetime.now(UTC).timestamp() + 1
    bench.add("purchase", "exposure", "click")
    assert delivered() == {"decisive": 2}  # to both stores
    bench.add("click")
    assert delivered() == {"experimental": 2}  # four rows of the table wait, among them one of the lane
    bench.add("exposure", "add_to_cart", "click")
    assert delivered() == {}
    bench.clock.now += 6
    assert delivered() == {"experimental": 2, "current": 1}
    bench.clock.now += 60
    assert delivered() == {"bulk": 3}
    bench.assert_delivered(policy)


def test_a_changed_policy_delivers_anew_what_may_be_routed_otherwise(bench: Workbench) -> None:
    bench.add(*MIXED)
    bench.deliverer().run()
    sent = len(bench.postgres.tokens), len(bench.clickhouse.tokens)
    document = yaml.safe_load(DEFAULT_TEXT)
    document["routes"][0]["when"] = {"priority": "high", "processing_strategy": "real_time", "data_type": "experiment"}
    policy = Policy.model_validate(document)  # purchases are no longer decisive
    bench.deliverer(policy).run()
    assert set(bench.clickhouse.tokens[sent[1] :]).isdisjoint(bench.clickhouse.tokens[: sent[1]])
    assert "current" in lanes_of(bench.clickhouse.tokens[sent[1] :])
    assert bench.deliverer(policy).run().nothing_to_do
    held = bench.clickhouse.rows("events")
    assert set(held["event_id"]) == set(bench.lake.read("events")["event_id"])


def test_only_the_newest_version_of_the_experiments_is_sent_and_sent_whole(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "DELIVERY_ROWS", 1)
    seen: list[tuple[list[str], int | None]] = []
    bench.postgres.on_write = lambda delivery: seen.append((sorted(delivery.frame["experiment_id"]), delivery.snapshot))
    for experiments in (["a"], ["a", "b"], ["a", "b", "c"]):
        bench.define(*experiments)
    bench.deliverer().run()
    bench.define("b")
    bench.define()
    bench.deliverer().run()
    assert seen == [(["a", "b", "c"], 3), ([], 5)]


def test_another_process_feeds_the_store(bench: Workbench) -> None:
    bench.add(*MIXED)
    bench.deliverer().run()
    bench.add("purchase")
    hold = "import sys; from pathlib import Path; from neonblue_lab.sinks.ledger import Ledger\n"
    hold += "with Ledger(Path(sys.argv[1]), 'postgres', 'x').held(): print('held', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(bench.ledgers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    report = bench.deliverer().run()
    other.kill()
    other.communicate()
    assert not report.ok
    assert "Another process feeds postgres://" in report.troubles("busy")["postgres"]
    assert report.rows == {"postgres": 0, "clickhouse": 1}
    bench.deliverer().run()
    bench.assert_delivered()


def test_what_a_vacuum_took_is_delivered_from_what_is_left(bench: Workbench) -> None:
    bench.add(*MIXED)
    bench.deliverer().run()
    bench.add(*MIXED)
    bench.lake.open("events").optimize.compact()
    (lost,) = list(commits(bench.lake, "events", 1, 2))
    for file in lost.files:
        file.path.unlink()
    report = bench.deliverer().run()
    assert report.ok
    remarks = {r.message for lane in report.lanes for r in lane.results if r.rows}
    assert len(remarks) == 1
    assert "Everything was delivered anew." in remarks.pop()
    held = bench.clickhouse.rows("events")["event_id"]
    assert set(held) == set(bench.lake.read("events")["event_id"])


def test_a_lake_that_was_put_back_is_told(bench: Workbench) -> None:
    for _ in range(3):
        bench.add(*MIXED)
    bench.deliverer().run()
    (bench.lake.path / "events" / "_delta_log" / f"{3:020}.json").unlink()
    report = bench.deliverer().run()
    assert not report.ok
    assert "neonblue sync --anew" in report.troubles("failed")["clickhouse"]
    assert bench.deliverer().run(anew=True).ok


def test_a_table_made_anew_is_another_table(bench: Workbench, lake_of: Callable[..., Lake]) -> None:
    bench.add(*MIXED)
    bench.deliverer().run()
    other = Workbench(lake_of(), bench.folder)
    other.add("purchase")
    other.add("click")
    assert other.deliverer().run().rows == {"postgres": 1, "clickhouse": 2}


def test_needed_versions_hold_the_files_of_everything_that_is_not_delivered(bench: Workbench) -> None:
    bench.add(*MIXED)
    deliverer = bench.deliverer()
    deliverer.run()
    assert versions_needed(bench.lake, bench.ledgers, DEFAULT) == {}
    bench.postgres.down = True
    for _ in range(3):
        bench.add(*MIXED)
        bench.add(*MIXED)
        bench.lake.open("events").optimize.compact()
    deliverer.run()
    needed = versions_needed(bench.lake, bench.ledgers, DEFAULT)
    newest = bench.lake.open("events").version()
    undelivered = {f.path.name for commit in commits(bench.lake, "events", 1) for f in commit.files}
    readable = {Path(uri).name for v in (*needed["events"], newest) for uri in bench.lake.open("events", v).file_uris()}
    assert undelivered <= readable
    assert needed == {"events": {3, 6, 9}}  # the versions before each compaction
    bench.postgres.down = False
    bench.clock.now += 1_000
    assert deliverer.run().ok
    assert versions_needed(bench.lake, bench.ledgers, DEFAULT) == {}


def test_a_snapshot_under_way_stays_readable(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "DELIVERY_ROWS", 3)
    bench.add(*["click"] * 8)

    def die(delivery: Delivery) -> None:
        if lanes_of(bench.clickhouse.tokens):
            raise Killed

    bench.clickhouse.on_write = die
    with pytest.raises(Killed):
        bench.deliverer().run()
    assert versions_needed(bench.lake, bench.ledgers, DEFAULT) == {"events": {1}}


def test_stores_are_made_ready_again_after_a_failure(bench: Workbench) -> None:
    bench.add("purchase")
    deliverer = bench.deliverer()
    deliverer.run()
    assert [set(tables) <= set(DERIVED) for tables in bench.postgres.prepared] == [True]
    bench.add("purchase")
    bench.postgres.down = True
    deliverer.run()
    bench.postgres.down = False
    bench.clock.now += 10
    deliverer.run()
    assert len(bench.postgres.prepared) == 2
