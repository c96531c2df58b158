"""A follower takes each record in once, alone or with others of its group."""

import json
import threading
from pathlib import Path

import polars as pl
import pytest

from neonblue_lab.errors import Conflict
from neonblue_lab.lake.gaps import accepted_gaps
from neonblue_lab.lake.ingest import follow, replay
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.report import TopicProgress
from tests.services.log_source import LiveLog, Log, Record


def event(number: int, event_type: str = "click", **fields: object) -> bytes:
    envelope = {"event_id": f"e{number}", "event_type": event_type, "timestamp": "2026-03-02T10:00:00Z"}
    return json.dumps(envelope | fields).encode()


def records(partition: int, first: int, end: int) -> list[Record]:
    return [(partition, offset, event(1000 * partition + offset)) for offset in range(first, end)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def places(lake: Lake, table: str = "raw/t") -> list[tuple[int, int]]:
    return lake.read(table).sort("partition", "offset").select("partition", "offset").rows()


def test_what_arrives_is_stored_and_told(lake: Lake) -> None:
    lifecycle = (0, 3, event(3, "experiment_created", experiment_id="x1", properties={"name": "One"}))
    live = LiveLog([("t", records(0, 0, 3)), None, ("t", [lifecycle]), ("t", records(1, 0, 2)), None])
    told: list[tuple[int, int]] = []
    named: list[int] = []

    def between() -> None:
        named.append(lake.read("experiments").height)

    def on_progress(_: str, progress: TopicProgress) -> None:
        told.append((progress.records, sum(progress.lag.values())))

    report = follow(lake, live, ["t"], stop=threading.Event(), on_progress=on_progress, between=between)
    assert (report.records, report.events) == (6, 6)
    assert report.topics["t"].partitions == {0: 4, 1: 2}
    assert told == [(0, 0), (3, 3), (4, 2), (6, 0)]
    assert named == [0, 0, 1, 1, 1]  # the experiment is there as soon as its record is
    assert places(lake) == places(lake, "events") == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]


def test_a_follower_goes_on_where_a_replay_ended_and_the_other_way_round(lake: Lake) -> None:
    whole = Log({"t": records(0, 0, 9)})
    replay(lake, Log({"t": records(0, 0, 4)}))
    live = LiveLog([("t", records(0, 0, 3)), ("t", records(0, 3, 7))])
    follow(lake, live, ["t"], stop=threading.Event(), log=whole)
    assert replay(lake, whole).records == 2
    assert places(lake) == places(lake, "events") == [(0, offset) for offset in range(9)]


def test_another_log_is_not_followed(lake: Lake) -> None:
    replay(lake, Log({"t": records(0, 0, 4)}))
    other = Log({"t": [(0, offset, event(5000 + offset)) for offset in range(9)]})
    with pytest.raises(Conflict, match="t-0-3 is not the record"):
        follow(lake, LiveLog([]), ["t"], stop=threading.Event(), log=other)


def test_stopping_ends_with_the_batch_at_hand(lake: Lake) -> None:
    stop = threading.Event()
    live = LiveLog([("t", records(0, offset, offset + 1)) for offset in range(100)])
    report = follow(lake, live, ["t"], stop=stop, between=stop.set)
    assert 0 < report.records < 100
    assert places(lake) == places(lake, "events") == [(0, offset) for offset in range(report.records)]


def test_records_that_are_gone_end_it_unless_the_gap_is_accepted(lake: Lake) -> None:
    live = LiveLog([("t", records(0, 0, 3)), ("t", records(0, 8, 10))])
    with pytest.raises(
        Conflict, match=r"were deleted .* t-0 offsets 3 to 7 \(5\), the first one still there is 8.* --accept-gap"
    ):
        follow(lake, live, ["t"], stop=threading.Event())
    assert places(lake) == [(0, 0), (0, 1), (0, 2)]
    report = follow(lake, live, ["t"], stop=threading.Event(), accept_gap=True)
    assert (report.records, report.skipped) == (2, 5)
    assert accepted_gaps(lake).drop("accepted_at").rows() == [("t", 0, 3, 8)]
    assert places(lake, "events") == [(0, 0), (0, 1), (0, 2), (0, 8), (0, 9)]


@pytest.mark.parametrize("round_", range(3))
def test_followers_that_are_given_the_same_records_store_them_once(lake: Lake, round_: int) -> None:
    """What a rebalance does at its worst: every member reads everything, in batches of its own size."""
    whole = [*records(0, 0, 60), *records(1, 0, 60)]
    sizes = (3, 5, 7, 11)
    failures: list[BaseException] = []
    gate = threading.Barrier(len(sizes))

    def run(size: int) -> None:
        own = Lake(lake.path)
        ordered = sorted(whole, key=lambda record: (record[1] // (size + round_), record[0], record[1]))
        live = LiveLog([("t", ordered[first : first + size]) for first in range(0, len(ordered), size)])
        gate.wait()
        try:
            follow(own, live, ["t"], stop=threading.Event(), shared=True)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run, args=[size]) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert places(lake) == places(lake, "events") == [(p, offset) for p in (0, 1) for offset in range(60)]


def test_followers_alone_refuse_each_other(lake: Lake) -> None:
    first = follow(lake, LiveLog([("t", records(0, 0, 4))]), ["t"], stop=threading.Event())
    assert first.records == 4

    def overtaken() -> None:
        follow(Lake(lake.path), LiveLog([("t", records(0, 4, 6))]), ["t"], stop=threading.Event())

    live = LiveLog([("t", records(0, 4, 5)), None, ("t", records(0, 5, 9))])
    once = iter([overtaken])

    def between() -> None:
        next(once, lambda: None)()

    with pytest.raises(Conflict, match="another replay writes the same topic"):
        follow(lake, live, ["t"], stop=threading.Event(), between=between)
    assert places(lake) == places(lake, "events") == [(0, offset) for offset in range(6)]


def test_what_is_said_of_experiments_before_the_table_was_there_is_not_lost(lake: Lake) -> None:
    said = (0, 0, event(0, "experiment_created", experiment_id="x1", properties={"name": "One"}))
    replay(lake, Log({"t": [said]}))
    (lake.path / "lifecycle").rename(lake.path.parent / "lifecycle_of_a_newer_lake")
    renamed = (0, 1, event(1, "experiment_updated", experiment_id="x1", properties={"status": "running"}))
    replay(lake, Log({"t": [said, renamed]}))
    assert lake.read("experiments").select("name", "status").rows() == [("One", "running")]
    assert lake.read("lifecycle").select(pl.col("event_id").n_unique()).item() == 2
