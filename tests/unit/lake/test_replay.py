"""Replay stores every record once, whatever interrupts it and however often it runs."""

import json
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neonblue_lab.errors import Conflict, NotFound
from neonblue_lab.events.records import RECORD_SCHEMA
from neonblue_lab.lake import topic_replay
from neonblue_lab.lake.ingest import replay
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.report import ReplayReport, TopicProgress
from neonblue_lab.warehouse.warehouse import Warehouse
from tests.services.log_source import MOMENT, Log, Record, as_frame


def document(event_id: str, event_type: str = "click", minute: float = 0, **fields: Any) -> bytes:
    happened = (MOMENT + timedelta(minutes=minute)).isoformat()
    return json.dumps({"event_id": event_id, "event_type": event_type, "timestamp": happened} | fields).encode()


def exposure(event_id: str, user: str, minute: float, variant: str = "a") -> bytes:
    return document(event_id, "exposure", minute, user_id=user, experiment_id="x1", variant_id=variant)


def lifecycle(
    event_id: str, minute: float, kind: str = "experiment_updated", experiment: str = "x1", **said: Any
) -> bytes:
    return document(event_id, kind, minute, experiment_id=experiment, properties=said)


def total(event_id: str, minute: float, n: int, start: str) -> bytes:
    properties = {"metric": "rate", "kind": "proportion", "n": n, "mean": 0.5, "variance": 0.25, "period_start": start}
    return document(event_id, "metric_total", minute, experiment_id="x1", variant_id="a", properties=properties)


def interleaved(*values: bytes | None, partitions: int = 2) -> list[Record]:
    """The values over several partitions in turn."""
    return [(i % partitions, i // partitions, value) for i, value in enumerate(values)]


MIXED = interleaved(
    lifecycle(
        "c1", 0, "experiment_created", name="One", status="draft", variants=[{"variant_id": "a"}, {"variant_id": "b"}]
    ),
    exposure("e1", "u1", 5),
    b"not JSON",
    None,
    lifecycle("c2", 9, status="finished", ended_at="2026-03-03"),
    exposure("e2", "u1", 3),
    exposure("e1", "u1", 5),
    total("m1", 60, 10, "2026-03-02"),
    lifecycle("c3", 4, status="running", hypothesis="late", started_at="2026-03-02 10:04"),
    b"\xff\x00\xfe",
    exposure("e3", "u2", 1, "b"),
    total("m2", 70, 20, "2026-03-02T00:00:00Z"),
    document("p1", "purchase", 8, user_id="u1", value=9.5),
    lifecycle("c4", 2, "experiment_created", experiment="x2", name="Two"),
    b"",
    total("m1", 60, 10, "2026-03-02"),
)
OTHER = interleaved(
    document("o1"),
    lifecycle("o2", 20, name="One, renamed"),
    b"{}",
    document("p1", "purchase", 8, user_id="u1", value=9.5),
)
TOPICS: dict[str, Sequence[Record]] = {"mixed": MIXED, "other": OTHER}


def state(lake: Lake) -> dict[str, pl.DataFrame]:
    """All that a lake says: raw records, dead letters and the views of a warehouse, in a fixed order."""
    records = ["topic", "partition", "offset"]
    order = {
        "events": ["event_id"],
        "experiments": ["experiment_id"],
        "assignments": ["experiment_id", "user_id", "variant_id"],
        "metric_totals": ["event_id"],
        "dead_letters": records,
    }
    views = {name: Warehouse(lake).sql(f"SELECT * FROM {name}").sort(keys) for name, keys in order.items()}
    views["dead_letters"] = views["dead_letters"].drop("failed_at")
    raw = {topic: lake.read(f"raw/{topic}", RECORD_SCHEMA).sort(records) for topic in lake.topics()}
    stored = {name: lake.read(name).height for name in ("metric_totals", "dead_letters", "experiments")}
    return raw | views | {"stored": pl.DataFrame(stored)}


def assert_same(found: dict[str, pl.DataFrame], expected: dict[str, pl.DataFrame]) -> None:
    assert found.keys() == expected.keys()
    for name, frame in expected.items():
        assert_frame_equal(found[name], frame)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    lake = Lake(tmp_path_factory.mktemp("undisturbed") / "lake")
    replay(lake, Log(TOPICS))
    return state(lake)


def test_the_tables_say_what_the_records_said(undisturbed: dict[str, pl.DataFrame]) -> None:
    for topic, records in TOPICS.items():
        assert_frame_equal(undisturbed[topic], as_frame(topic, records).sort("partition", "offset"))
    assert undisturbed["events"]["event_id"].to_list() == [
        "c1",
        "c2",
        "c3",
        "c4",
        "e1",
        "e2",
        "e3",
        "m1",
        "m2",
        "o1",
        "o2",
        "p1",
    ]
    assert undisturbed["assignments"].rows() == [
        ("x1", "u1", "a", MOMENT + timedelta(minutes=3)),
        ("x1", "u2", "b", MOMENT + timedelta(minutes=1)),
    ]
    one, two = undisturbed["experiments"].to_dicts()
    assert (one["name"], one["status"], one["hypothesis"]) == ("One, renamed", "finished", "late")
    assert [variant["variant_id"] for variant in one["variants"]] == ["a", "b"]
    assert one["started_at"] == MOMENT + timedelta(minutes=4)
    assert one["ended_at"] == datetime(2026, 3, 3, tzinfo=UTC)
    assert one["updated_at"] == MOMENT + timedelta(minutes=20)
    assert (two["experiment_id"], two["name"], two["variants"]) == ("x2", "Two", None)
    totals = undisturbed["metric_totals"]
    assert totals.select("event_id", "n", "mean", "variance", "period_start").rows() == [
        ("m2", 20, 0.5, 0.25, datetime(2026, 3, 2, tzinfo=UTC))  # the later statement of the same period
    ]


def test_dead_letters_are_kept_byte_for_byte(undisturbed: dict[str, pl.DataFrame]) -> None:
    records = {
        (topic, partition, offset)
        for topic, partition, offset in (("mixed", 0, 1), ("mixed", 0, 7), ("mixed", 1, 4), ("other", 0, 1))
    }
    sent = pl.concat([as_frame(topic, found) for topic, found in TOPICS.items()]).sort("topic", "partition", "offset")
    expected = sent.filter(
        pl.struct("topic", "partition", "offset").map_elements(lambda r: tuple(r.values()) in records, pl.Boolean)
    )
    assert_frame_equal(undisturbed["dead_letters"].select(*RECORD_SCHEMA), expected)
    assert undisturbed["dead_letters"].select("stage", "error").rows() == [
        ("parse", "value: not JSON"),
        ("parse", "value: empty"),
        ("decode", "value: not UTF-8"),
        ("validate", "event_id: missing"),
    ]


def test_the_report_accounts_for_every_record(lake: Lake) -> None:
    told: list[tuple[str, int, int]] = []

    def on_progress(topic: str, progress: TopicProgress) -> None:
        told.append((topic, progress.records, progress.expected))

    report = replay(lake, Log(TOPICS), on_progress=on_progress)
    assert report.to_dict() == {
        "records": 20,
        "events": 12,
        "duplicates": 3,
        "changes": 0,
        "dead_letters": 4,
        "tombstones": 1,
        "caught_up": 0,
        "skipped": 0,
        "topics": {
            "mixed": {"records": 16, "partitions": {"0": 8, "1": 8}},
            "other": {"records": 4, "partitions": {"0": 2, "1": 2}},
        },
    }
    assert told == [*(("mixed", n, 16) for n in (0, 4, 8, 12, 16)), *(("other", n, 4) for n in (0, 4))]


def test_a_second_replay_adds_nothing(lake: Lake, undisturbed: dict[str, pl.DataFrame]) -> None:
    replay(lake, Log(TOPICS))
    versions = lake.versions()
    again = replay(lake, Log(TOPICS, batch_records=3))
    assert again.nothing_to_do
    assert again.topics["mixed"].partitions == {0: 8, 1: 8}
    assert lake.versions() == versions
    assert_same(state(lake), undisturbed)


@pytest.mark.parametrize("batch_records", [1, 3, 100])
def test_a_log_that_grows_is_followed(lake: Lake, undisturbed: dict[str, pl.DataFrame], batch_records: int) -> None:
    stored = 0
    for length in (1, 2, 9, 16):
        report = replay(lake, Log({topic: records[:length] for topic, records in TOPICS.items()}, batch_records))
        assert report.records == length + min(length, 4) - stored
        stored = length + min(length, 4)
    assert_same(state(lake), undisturbed)


def test_topics_are_replayed_as_asked(lake: Lake, undisturbed: dict[str, pl.DataFrame]) -> None:
    with pytest.raises(NotFound, match="no topic others; it has mixed, other"):
        replay(lake, Log(TOPICS), ["others"])
    assert replay(lake, Log(TOPICS), ["other", "other"]).records == 4
    assert lake.topics() == ["other"]
    assert replay(lake, Log(TOPICS)).records == 16
    assert_same(state(lake), undisturbed)


class Crash(Exception):
    """What stands for the end of the process."""


def test_a_crash_between_any_two_commits_loses_and_doubles_nothing(
    tmp_path: Path, undisturbed: dict[str, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Lake.commit
    commits = crashes = 0

    def crashing(self: Lake, *args: Any, **options: Any) -> None:
        nonlocal commits
        commits += 1
        if commits == crashes + 1:
            raise Crash
        commit(self, *args, **options)

    while True:
        lake = Lake(tmp_path / str(crashes))
        commits = 0
        with monkeypatch.context() as patched:
            patched.setattr(Lake, "commit", crashing)
            try:
                replay(lake, Log(TOPICS, batch_records=8))
                break
            except Crash:
                crashes += 1
        report = replay(lake, Log(TOPICS, batch_records=8))
        assert report.valid + report.dead_letters + report.tombstones == report.records + report.caught_up
        assert_same(state(lake), undisturbed)
        assert replay(lake, Log(TOPICS, batch_records=8)).nothing_to_do
    assert crashes == commits > 12


def test_a_process_that_crashes_again_and_again_gets_there(
    lake: Lake, undisturbed: dict[str, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Lake.commit
    commits = 0

    def crashing(self: Lake, *args: Any, **options: Any) -> None:
        nonlocal commits
        commit(self, *args, **options)
        commits += 1
        raise Crash

    monkeypatch.setattr(Lake, "commit", crashing)
    while True:
        try:
            replay(lake, Log(TOPICS))
            break
        except Crash:
            continue
    assert commits > 12
    assert_same(state(lake), undisturbed)


def test_what_was_left_undone_is_caught_up_in_parts(
    lake: Lake, undisturbed: dict[str, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_replay, "CATCH_UP_RECORDS", 3)
    source = Log({"mixed": [(partition, 10**12 + 10**9 * offset, value) for partition, offset, value in MIXED]}, 100)
    with monkeypatch.context() as crashing:

        def crash(*_: object) -> pl.DataFrame:
            raise Crash

        crashing.setattr(topic_replay.TopicReplay, "_derive", crash)
        with pytest.raises(Crash):
            replay(lake, source)
    assert lake.read("raw/mixed").height == 16
    assert lake.read("events").is_empty()
    report = replay(lake, source)
    assert (report.records, report.caught_up, report.tombstones, report.dead_letters) == (0, 16, 1, 3)
    assert_frame_equal(state(lake)["assignments"], undisturbed["assignments"])


@pytest.mark.parametrize("lost", ["raw/mixed", "events"])
def test_a_table_that_was_deleted_is_made_anew(lake: Lake, undisturbed: dict[str, pl.DataFrame], lost: str) -> None:
    def rows() -> dict[str, int]:
        return {name: status.rows for name, status in lake.status().items() if name != lost}

    replay(lake, Log(TOPICS, batch_records=5))
    before = rows()
    shutil.rmtree(lake.path / lost)
    replay(lake, Log(TOPICS, batch_records=5))
    assert rows() == before
    assert_same(state(lake), undisturbed)


@pytest.mark.parametrize("partition", [0, 1])
def test_another_log_is_refused(lake: Lake, partition: int) -> None:
    replay(lake, Log({"t": MIXED[:8]}))
    before = state(lake)
    other = [(p, o, document("other") if (p, o) == (partition, 3) else value) for p, o, value in MIXED]
    with pytest.raises(Conflict, match=f"t-{partition}-3 is not the record .* this is another log"):
        replay(lake, Log({"t": other}))
    assert_same(state(lake), before)


def test_a_log_that_differs_in_one_topic_leaves_every_topic_alone(lake: Lake) -> None:
    replay(lake, Log({"late": MIXED[:8]}))
    before = lake.read("events")
    other = [(p, o, document("other") if (p, o) == (0, 3) else value) for p, o, value in MIXED]
    with pytest.raises(Conflict, match="late-0-3 is not the record"):
        replay(lake, Log({"early": OTHER, "late": other}))
    assert lake.read("events").equals(before)
    assert lake.read("raw/early").is_empty()


def test_a_shorter_log_is_refused(lake: Lake) -> None:
    replay(lake, Log({"t": MIXED}))
    before = state(lake)
    with pytest.raises(Conflict, match="t-1 ends at offset 7, but the lake holds it up to 8"):
        replay(lake, Log({"t": MIXED[:15]}))
    assert_same(state(lake), before)


def test_a_log_that_forgot_what_is_stored_goes_on(lake: Lake, undisturbed: dict[str, pl.DataFrame]) -> None:
    replay(lake, Log({"mixed": MIXED[:8]}))
    report = replay(lake, Log({"mixed": MIXED[8:], "other": OTHER}))
    assert report.records == 12
    assert_same(state(lake), undisturbed)


def test_a_log_that_forgot_what_is_not_stored_is_refused(lake: Lake) -> None:
    replay(lake, Log({"t": MIXED[:8]}))
    before = state(lake)
    with pytest.raises(Conflict, match=r"were deleted .* t-0 offsets 4 to 4 .* --accept-gap"):
        replay(lake, Log({"t": MIXED[10:]}))
    assert_same(state(lake), before)


def test_a_log_begins_where_it_begins_and_has_gaps(lake: Lake) -> None:
    records = [(0, 7, document("a")), (0, 9, document("b")), (1, 100, document("c"))]
    source = Log({"t": records}, ends={0: 12, 1: 101, 2: 5})
    report = replay(lake, source)
    assert (report.records, report.events) == (3, 3)
    assert report.topics["t"].partitions == {0: 12, 1: 101, 2: 5}
    assert replay(lake, source).nothing_to_do
    longer = Log({"t": [*records, (0, 12, document("d")), (2, 5, document("e"))]})
    assert replay(lake, longer).records == 2
    assert lake.read("events")["event_id"].sort().to_list() == ["a", "b", "c", "d", "e"]


def test_another_log_is_told_by_its_last_record_below_a_gap(lake: Lake) -> None:
    replay(lake, Log({"t": [(0, 0, document("a")), (0, 1, document("b"))]}, ends={0: 5}))
    other = [(0, offset, document(f"other {offset}")) for offset in range(9)]
    with pytest.raises(Conflict, match="t-0-1 is not the record"):
        replay(lake, Log({"t": other}))
    assert lake.read("raw/t").height == 2


def test_an_empty_log_is_no_failure(lake: Lake) -> None:
    assert replay(lake, Log({"t": []})).nothing_to_do
    assert replay(lake, Log({"t": []}, ends={0: 3})).topics["t"].partitions == {0: 3}
    assert replay(lake, Log({"t": [(0, 3, document("a"))]})).records == 1


def at_once(works: Sequence[Callable[[], ReplayReport]]) -> list[ReplayReport | Exception]:
    """What works that start at the same moment end with, each in a thread."""
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], ReplayReport]) -> ReplayReport | Exception:
        gate.wait()
        try:
            return work()
        except Exception as error:  # noqa: BLE001
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def test_replays_of_one_topic_at_once_double_nothing(tmp_path: Path, undisturbed: dict[str, pl.DataFrame]) -> None:
    conflicts = 0
    for round_ in range(3):
        lake = Lake(tmp_path / str(round_))
        ends = at_once([lambda path=lake.path: replay(Lake(path), Log(TOPICS, batch_records=2))] * 3)
        assert all(isinstance(end, ReplayReport | Conflict) for end in ends), ends
        conflicts += sum(isinstance(end, Conflict) for end in ends)
        replay(lake, Log(TOPICS))
        assert_same(state(lake), undisturbed)
    assert conflicts


def test_replays_of_different_topics_at_once_all_succeed(tmp_path: Path, undisturbed: dict[str, pl.DataFrame]) -> None:
    for round_ in range(3):
        lake = Lake(tmp_path / str(round_))
        ends = at_once([lambda p=lake.path, t=topic: replay(Lake(p), Log(TOPICS, 2), [t]) for topic in TOPICS])
        assert all(isinstance(end, ReplayReport) for end in ends), ends
        assert_same(state(lake), undisturbed)
