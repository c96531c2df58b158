"""Views over pinned versions: what a reader sees, that it stays, and that any path will do."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.lab import Lab
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import DERIVED
from neonblue_lab.warehouse.warehouse import Warehouse, parse_data_version

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def event(event_id: str, offset: int = 0, **fields: Any) -> dict[str, Any]:
    return {"event_id": event_id, "event_type": "click", "timestamp": NOON, "offset": offset} | fields


def test_a_repeated_event_id_is_seen_once_the_first_record_of_it(lake_of: Any) -> None:
    lake = lake_of(
        events=[
            event("a", 7, value=2.0, topic="user_events"),
            event("a", 5, value=1.0, topic="user_events"),
            event("a", 1, value=3.0, topic="user_events", partition=1),
            event("b", 0, value=4.0, topic="user_events"),
            event("a", 9, value=0.0, topic="analytics_events", timestamp=NOON + timedelta(days=3)),
        ]
    )

    seen = Warehouse(lake).sql("SELECT event_id, value FROM events ORDER BY event_id")

    assert seen.rows() == [("a", 0.0), ("b", 4.0)]


def test_an_assignment_is_the_first_of_its_exposures(lake_of: Any) -> None:
    exposures = [("u", "a", 5), ("u", "a", 2), ("u", "b", 3), ("v", "a", 1), ("v", "a", 1)]
    lake = lake_of(
        assignments=[
            {"experiment_id": "x", "user_id": u, "variant_id": v, "first_exposed_at": NOON + timedelta(hours=h)}
            for u, v, h in exposures
        ]
    )

    seen = Warehouse(lake).sql(
        "SELECT user_id, variant_id, hour(first_exposed_at) - 12 AS h FROM assignments ORDER BY ALL"
    )

    assert seen.rows() == [("u", "a", 2), ("u", "b", 3), ("v", "a", 1)]


def test_a_corrected_total_replaces_the_earlier_one(lake_of: Any) -> None:
    key = {"experiment_id": "x", "variant_id": "a", "metric": "m", "kind": "mean"}
    lake = lake_of(
        metric_totals=[
            key
            | {"n": n, "mean": 1.0, "as_of": NOON + timedelta(hours=h), "event_id": e, "segment": s, "period_start": p}
            for n, h, e, s, p in [
                (10, 0, "1", None, None),
                (11, 2, "2", None, None),
                (12, 1, "3", None, None),
                (13, 0, "4", "phone", None),
                (14, 0, "5", None, NOON),
                (14, 0, "5", None, NOON),
            ]
        ]
    )

    assert sorted(Warehouse(lake).sql("SELECT n FROM metric_totals")["n"]) == [11, 13, 14]


def test_what_is_written_after_the_pin_is_not_seen_until_a_new_one(lake_of: Any) -> None:
    lake = lake_of(events=[event("a")])
    before = Warehouse(lake)
    opened = Warehouse(lake)
    assert opened.sql("SELECT event_id FROM events").height == 1
    assert before.is_newest()

    lake.append("events", lake.read("events").with_columns(event_id=pl.lit("b")))

    for pinned in (before, opened):  # not only where the views were made before the write
        assert pinned.sql("SELECT event_id FROM events")["event_id"].to_list() == ["a"]
        assert not pinned.is_newest()
    assert Warehouse(lake).sql("SELECT event_id FROM events").height == 2


def test_a_data_version_brings_the_same_rows_back(lake_of: Any) -> None:
    lake = lake_of(events=[event("a")])
    text = Warehouse(lake).data_version
    lake.append("events", lake.read("events").with_columns(event_id=pl.lit("b")))

    again = Warehouse(lake, parse_data_version(text))

    assert again.data_version == text
    assert again.sql("SELECT event_id FROM events")["event_id"].to_list() == ["a"]
    assert again.versions == parse_data_version(text) == {**dict.fromkeys(DERIVED, 0), "events": 1}


@pytest.mark.parametrize(
    "text",
    ["", "events", "events@", "events@x", "events@-1", "event@1", "raw/user_events@1", "events@1,", "events@1;x@2"],
)
def test_what_is_no_data_version_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="looks like events@12,experiments@3"):
        parse_data_version(text)


def test_a_version_that_was_never_written_is_not_found(lake_of: Any) -> None:
    with pytest.raises(NotFound, match=r"events.*version 99"):
        Warehouse(lake_of(), {"events": 99})


def test_a_lab_refreshes_when_there_is_something_new(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path)
    lab.lake.ensure_derived()
    row = dict.fromkeys(DERIVED["events"].schema) | event("a", event_date=NOON.date())
    rows = pl.DataFrame([row], schema=DERIVED["events"].schema)
    first = lab.warehouse

    assert not lab.refresh()
    assert lab.warehouse is first
    lab.lake.append("events", rows)
    assert lab.warehouse is first
    assert lab.refresh()
    assert lab.warehouse.sql("SELECT count(*) AS n FROM events").item() == 1

    stated = Lab.open(tmp_path, data_version=first.data_version)
    assert not stated.refresh()
    assert stated.warehouse.sql("SELECT count(*) AS n FROM events").item() == 0


@pytest.mark.parametrize("created", [False, True])
def test_empty_tables_have_the_columns_of_full_ones(tmp_path: Path, created: bool) -> None:
    lake = Lake(tmp_path / "lake")
    if created:
        lake.ensure_derived()

    warehouse = Warehouse(lake)

    for name, table in DERIVED.items():
        rows = warehouse.sql(f"SELECT * FROM {name}")
        assert rows.is_empty()
        assert dict(rows.schema) == table.schema


@pytest.mark.parametrize("folder", ["with space", "a=b", "it's", "ü"])
def test_a_lake_may_lie_in_any_folder(tmp_path: Path, folder: str) -> None:
    lake = Lake(tmp_path / folder / "lake")
    lake.ensure_derived()
    for day in range(3):
        at = NOON + timedelta(days=day)
        row = dict.fromkeys(DERIVED["events"].schema) | event(f"e{day}", timestamp=at, event_date=at.date())
        lake.append("events", pl.DataFrame([row], schema=DERIVED["events"].schema))
    row = dict.fromkeys(DERIVED["experiments"].schema) | {"experiment_id": "x"}
    lake.append("experiments", pl.DataFrame([row], schema=DERIVED["experiments"].schema))

    warehouse = Warehouse(lake)

    events = warehouse.sql("SELECT * FROM events ORDER BY event_id")
    assert dict(events.schema) == DERIVED["events"].schema
    assert events["event_date"].to_list() == [(NOON + timedelta(days=day)).date() for day in range(3)]
    assert dict(warehouse.sql("SELECT * FROM experiments").schema) == DERIVED["experiments"].schema


def test_times_come_back_in_utc_and_rows_in_order(lake_of: Any) -> None:
    lake = lake_of(events=[event(f"e{i}", timestamp=NOON + timedelta(hours=i)) for i in range(50)])

    rows = Warehouse(lake).sql("SELECT timestamp FROM events ORDER BY timestamp DESC")

    assert rows.schema["timestamp"] == pl.Datetime("us", "UTC")
    assert rows["timestamp"].to_list() == [NOON + timedelta(hours=i) for i in reversed(range(50))]


def test_many_threads_get_their_own_answers(lake_of: Any) -> None:
    types = ["click", "view", "search"]
    lake = lake_of(events=[event(f"e{i}", event_type=types[i % 3]) for i in range(300)])
    warehouse = Warehouse(lake)

    def ask(i: int) -> tuple[str, int]:
        kind = types[i % 3]
        return kind, warehouse.sql("SELECT count(*) AS n FROM events WHERE event_type = $1", [kind]).item()

    with ThreadPoolExecutor(8) as pool:
        answers = Counter(pool.map(ask, range(60)))

    assert answers == {(kind, 100): 20 for kind in types}


def test_what_does_not_fit_into_memory_goes_to_the_temporary_folder(
    lake_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    warehouse = Warehouse(lake_of())

    folder = Path(warehouse.sql("SELECT current_setting('temp_directory') AS folder").item())

    assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
