"""Retention deletes what its rules name and nothing else, and a replay goes on as if nothing had happened."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neonblue_lab.errors import BadInput, Conflict
from neonblue_lab.events.records import RECORD_SCHEMA, RecordBatch
from neonblue_lab.lake.ingest import replay
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.retention import Rules, retention
from neonblue_lab.lake.rewriting import alone
from neonblue_lab.lake.tables import RAW, raw_table
from neonblue_lab.topics.archive import ArchiveSource, write_archive

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LATER = datetime.now(UTC) + timedelta(days=100)
"""Of what is stored while a test runs, all is older than 90 days then."""
TOPIC = "user_events"


def event(number: int, event_type: str, days_ago: float, **fields: object) -> bytes:
    happened = (NOW - timedelta(days=days_ago)).isoformat()
    return json.dumps({"event_id": f"e{number}", "event_type": event_type, "timestamp": happened} | fields).encode()


VALUES = [
    event(0, "click", 200),
    event(1, "click", 10),
    event(2, "purchase", 200, value=3),
    event(3, "add_to_cart", 800),
    event(4, "never heard of", 800),
    event(5, "never heard of", 600),
    b"broken",
    event(7, "page_view", 91),
    event(8, "page_view", 89),
    event(9, "experiment_created", 900, experiment_id="x1", properties={"name": "One"}),
]


def batch(first: int, values: list[bytes], topic: str = TOPIC) -> RecordBatch:
    rows = [
        {"topic": topic, "partition": n % 2, "offset": n // 2, "timestamp": NOW, "value": value}
        for n, value in enumerate(values, first)
    ]
    return RecordBatch(topic, pl.DataFrame(rows, schema=RECORD_SCHEMA))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_archive(tmp_path / "topics", [batch(0, VALUES)])
    return tmp_path / "topics"


@pytest.fixture
def lake(tmp_path: Path, archive: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    replay(lake, ArchiveSource(archive))
    return lake


def ids(lake: Lake, version: int | None = None) -> list[str]:
    return lake.read("events", ["event_id"], version=version)["event_id"].sort().to_list()


def versions(lake: Lake) -> dict[str, int]:
    return {name: lake.open(name).version() for name in lake.names()}


def test_without_rules_everything_is_kept(lake: Lake) -> None:
    before = versions(lake)
    report = retention(lake, Rules(), now=LATER)
    forever = retention(lake, Rules(events={"ninety_days": None, "permanent": None}, raw={TOPIC: None}), now=LATER)
    assert (report.expired, forever.expired) == ((), ())
    assert str(report) == "Nothing is older than the rules allow."
    assert versions(lake) == before
    assert retention(Lake(lake.path / "none"), Rules(raw={TOPIC: 1}), now=NOW).expired == ()


def test_events_go_by_their_class_and_their_own_time(lake: Lake) -> None:
    before = lake.open("events").version()
    rules = Rules(events={"ninety_days": 90, "two_years": 730})
    promised = retention(lake, rules, now=NOW, dry_run=True)
    assert len(ids(lake)) == 9
    report = retention(lake, rules, now=NOW)
    assert [(e.table, e.group, e.rows) for e in report.expired] == [
        ("events", "ninety_days", 2),
        ("events", "two_years", 2),
    ]
    assert promised.expired == report.expired
    assert promised.dry_run
    assert "2 rows" in str(promised)
    assert "to delete" in str(promised)
    assert ids(lake) == ["e1", "e2", "e5", "e8", "e9"]
    assert len(ids(lake, before)) == 9
    assert retention(lake, rules, now=NOW).expired == ()
    assert report.to_dict()["expired"][0]["rows"] == 2


def test_rows_that_stay_are_not_touched(lake: Lake) -> None:
    whole = lake.read("events").sort("event_id")
    retention(lake, Rules(events={"ninety_days": 90}), now=NOW)
    assert_frame_equal(lake.read("events").sort("event_id"), whole.filter(~pl.col("event_id").is_in(["e0", "e7"])))


def test_dead_letters_go_by_topic(lake: Lake) -> None:
    assert retention(lake, Rules(dead_letters={"another": 1}), now=LATER).expired == ()
    assert retention(lake, Rules(dead_letters={TOPIC: 101}), now=LATER).expired == ()
    (gone,) = retention(lake, Rules(dead_letters={TOPIC: 90}), now=LATER).expired
    assert (gone.table, gone.group, gone.rows) == ("dead_letters", TOPIC, 1)
    assert lake.read("dead_letters").is_empty()


def test_replay_goes_on_after_raw_records_are_gone(lake: Lake, archive: Path) -> None:
    (gone,) = retention(lake, Rules(raw={TOPIC: 90}), now=LATER).expired
    assert (gone.table, gone.group, gone.rows) == (raw_table(TOPIC), TOPIC, 8)
    assert lake.read(raw_table(TOPIC)).select("partition", "offset").sort("partition").rows() == [(0, 4), (1, 4)]
    assert replay(lake, ArchiveSource(archive)).nothing_to_do
    write_archive(archive, [batch(10, [event(10, "click", 1), event(11, "click", 1)])])
    report = replay(lake, ArchiveSource(archive))
    assert (report.records, report.events, report.caught_up) == (2, 2, 0)
    assert len(ids(lake)) == 11
    assert lake.read(raw_table(TOPIC)).height == 4


def test_a_replay_still_knows_its_source_after_raw_records_are_gone(lake: Lake, tmp_path: Path) -> None:
    retention(lake, Rules(raw={TOPIC: 90}), now=LATER)
    write_archive(tmp_path / "other", [batch(0, [event(n, "click", 1) for n in range(10)])])
    with pytest.raises(Conflict, match="another log"):
        replay(lake, ArchiveSource(tmp_path / "other"))


def test_raw_records_without_their_events_stay(tmp_path: Path, archive: Path) -> None:
    """As a replay leaves them that was killed between a raw commit and that of the events."""
    lake = Lake(tmp_path / "lake")
    stored = batch(0, VALUES).frame.with_columns(
        ingested_at=pl.lit(NOW).cast(RAW.schema["ingested_at"]), ingest_date=pl.lit(date(2026, 6, 1))
    )
    lake.ensure_derived()
    table = lake.ensure(raw_table(TOPIC))
    lake.commit(table, stored.select(*RAW.schema), marks={f"{TOPIC}/0": 5, f"{TOPIC}/1": 5})
    report = retention(lake, Rules(raw={TOPIC: 90}), now=LATER)
    assert report.expired == ()
    assert "partition 0, 1" in str(report)
    assert "Replay first" in str(report)
    assert replay(lake, ArchiveSource(archive)).caught_up == 10
    assert len(ids(lake)) == 9
    (gone,) = retention(lake, Rules(raw={TOPIC: 90}), now=LATER).expired
    assert gone.rows == 8


def test_a_rule_for_a_topic_that_is_not_there_is_told(lake: Lake) -> None:
    assert retention(lake, Rules(raw={"mistyped": 3}), now=NOW).notes == (
        "There are no raw records of mistyped, which has a rule.",
    )


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"events": {"forever": 3}}, "forever: the policies are ninety_days, permanent, two_years"),
        ({"events": {"permanent": 9000}}, "kept for ever"),
        ({"raw": {"t": 0}}, "whole days"),
        ({"raw": {"t": True}}, "whole days"),
        ({"dead_letters": {"t": 1.5}}, "whole days"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: dict[str, dict[str, int]], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Rules(**rules)


def test_one_process_at_a_time(lake: Lake) -> None:
    with alone(lake), pytest.raises(Conflict, match="locked"):
        retention(lake, Rules(raw={TOPIC: 1}), now=LATER)
