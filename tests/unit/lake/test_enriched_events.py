"""What events mean is stored with them, once, also in a lake that was filled before there was a place for it."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from neonblue_lab.events.enrichment import BY_RULE, ENRICHMENT_SCHEMA, RULES
from neonblue_lab.lake import tables
from neonblue_lab.lake.commits import read_slices, snapshot
from neonblue_lab.lake.ingest import replay
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.retention import Rules, retention
from neonblue_lab.lake.tables import DERIVED, Table
from neonblue_lab.lake.upkeep import compact
from neonblue_lab.warehouse.warehouse import Warehouse
from tests.services.log_source import MOMENT, Log, Record

GROUPS = list(ENRICHMENT_SCHEMA)
PRIORITIES = "SELECT ai_classification.priority, count(*) AS events FROM events GROUP BY 1 ORDER BY 1"


def records(first: int, count: int) -> list[Record]:
    """Clicks and searches on two days, one of two repeated."""
    found: list[Record] = []
    for offset in range(first, first + count):
        event = {
            "event_id": f"e{offset - (offset % 7 == 6)}",
            "event_type": "search" if offset % 2 else "click",
            "timestamp": (MOMENT + timedelta(days=offset % 2)).isoformat(),
            "user_id": "u",
            "properties": {"query": "lovely boots", "page": "/search"},
        }
        found.append((0, offset, json.dumps(event).encode()))
    return found


def filled(folder: Path, count: int, batch_records: int = 5) -> Lake:
    lake = Lake(folder)
    replay(lake, Log({"user_events": records(0, count)}, batch_records))
    return lake


@contextmanager
def before_enrichment() -> Iterator[None]:
    """Tables are written as they were before events were enriched."""
    described = DERIVED["events"]
    older = Table({n: k for n, k in described.schema.items() if n not in GROUPS}, described.partition_by)
    with pytest.MonkeyPatch.context() as patch:
        for names in (DERIVED, tables.TABLES, tables.QUERIED):
            patch.setitem(names, "events", older)
        yield


@pytest.fixture
def old_lake(tmp_path: Path) -> Lake:
    """A lake of 12 records that has no columns for what events mean."""
    with before_enrichment():
        return filled(tmp_path / "lake", 12)


def test_replay_stores_what_events_mean(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake", 20)
    stored = lake.read("events")
    assert stored["ai_classification"].struct.field("model").to_list() == [RULES] * stored.height
    assert stored["semantic_context"].struct.field("sentiment_score").null_count() == 0
    assert stored["routing_metadata"].struct.field("timeliness").null_count() == 0
    assert Warehouse(lake).sql(PRIORITIES).rows() == [("low", 9), ("medium", 9)]


def test_how_records_come_in_batches_does_not_matter(tmp_path: Path) -> None:
    one, many = (filled(tmp_path / name, 30, batch) for name, batch in (("one", 100), ("many", 3)))
    by_id = [Warehouse(lake).sql("SELECT * FROM events ORDER BY event_id") for lake in (one, many)]
    assert_frame_equal(*by_id)


def test_an_old_lake_is_read_as_it_is(old_lake: Lake) -> None:
    version = old_lake.open("events").version()
    events = Warehouse(old_lake).sql("SELECT * FROM events")
    assert events.select(*GROUPS).null_count().row(0) == (events.height,) * len(GROUPS)
    assert events.height == 11
    assert old_lake.read("events").select(*GROUPS).null_count().row(0) == (11,) * len(GROUPS)
    assert Warehouse(old_lake).sql(PRIORITIES).rows() == [(None, 11)]
    assert old_lake.open("events").version() == version


def test_an_old_lake_goes_on_with_enriched_events(old_lake: Lake) -> None:
    before = old_lake.open("events").version()
    report = replay(old_lake, Log({"user_events": records(0, 24)}))
    assert report.records == 12
    stored = old_lake.read("events")
    model = stored["ai_classification"].struct.field("model")
    assert model.to_list() == [None if offset < 12 else RULES for offset in stored["offset"]]
    assert dict(stored.schema) == DERIVED["events"].schema
    assert Warehouse(old_lake).sql(PRIORITIES).rows() == [("low", 5), ("medium", 5), (None, 11)]
    assert Warehouse(old_lake, {"events": before}).sql(PRIORITIES).rows() == [(None, 11)]
    assert replay(old_lake, Log({"user_events": records(0, 24)})).nothing_to_do


def test_old_and_new_files_are_delivered_compacted_and_deleted_alike(old_lake: Lake) -> None:
    replay(old_lake, Log({"user_events": records(0, 24)}))
    expected = old_lake.read("events").sort("offset")

    def delivered() -> pl.DataFrame:
        files = snapshot(old_lake, "events", old_lake.open("events").version())
        return pl.concat(part for file in files for part in read_slices("events", file)).sort("offset")

    assert_frame_equal(delivered(), expected)
    assert compact(old_lake, ["events"]).tables
    assert_frame_equal(delivered(), expected)
    assert_frame_equal(
        Warehouse(old_lake).sql('SELECT * FROM events ORDER BY "offset"').select(*GROUPS),
        expected.unique("event_id", keep="first", maintain_order=True).select(*GROUPS),
    )
    rules = Rules(events={"ninety_days": 1})
    report = retention(old_lake, rules, now=datetime(2026, 3, 4, 9, tzinfo=UTC))
    assert (
        sum(gone.rows for gone in report.expired)
        == expected.filter(pl.col("timestamp") < MOMENT + timedelta(hours=1)).height
    )
    assert_frame_equal(delivered(), expected.filter(pl.col("timestamp") > MOMENT + timedelta(hours=1)))


def test_two_may_add_the_columns_at_once(old_lake: Lake) -> None:
    before = old_lake.open("events").version()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: Lake(old_lake.path).ensure("events").version(), range(8)))
    assert found == [before + 1] * 8
    assert {field.name for field in DeltaTable(old_lake.path / "events").schema().fields} == DERIVED[
        "events"
    ].schema.keys()


def test_what_an_interrupted_replay_left_is_enriched_as_well(tmp_path: Path) -> None:
    whole = filled(tmp_path / "whole", 20)
    lake = Lake(tmp_path / "lake")

    class Dies:
        name = "dies"

        def enrich(self, events: pl.DataFrame) -> pl.DataFrame:
            if events["offset"].max() >= 10:
                raise KeyboardInterrupt
            return BY_RULE.enrich(events)

    with pytest.raises(KeyboardInterrupt):
        replay(lake, Log({"user_events": records(0, 20)}, 5), enricher=Dies())
    replay(lake, Log({"user_events": records(0, 20)}, 5))
    assert_frame_equal(lake.read("events").sort("offset"), whole.read("events").sort("offset"))
