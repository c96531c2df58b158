"""`neonblue lake dead-letters`: listed, chosen by reason, and read again after a fix."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from neonblue_lab import Lab
from neonblue_lab.lake.tables import DERIVED, RAW
from tests.services.neonblue_process import run

SIZE = ("--experiments", "4", "--users", "100", "--events", "1500", "--days", "14", "--seed", "5")
NOTHING_TO_DO = 3


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose lake holds a few dead letters, and one that a fix has made readable."""
    home = tmp_path_factory.mktemp("letters") / "home"
    assert run("simulate", "--out", home / "topics", *SIZE).code == 0
    assert run("replay", "--home", home).code == 0
    lake = Lab.open(home).lake
    raw, letters, events = (lake.open(name) for name in ("raw/user_events", "dead_letters", "events"))
    end = raw.transaction_version("user_events/0") or 0
    now = datetime.now(UTC)
    value = b'{"event_id":"fixed-1","event_type":"page_view","timestamp":"2026-01-05T10:00:00Z","user_id":"u1"}'
    record = {"topic": "user_events", "partition": 0, "offset": end, "timestamp": now, "value": value}
    stored = record | {"ingested_at": now, "ingest_date": now.date()}
    lake.commit(raw, _row(stored, RAW.schema), marks={"user_events/0": end + 1})
    letter = record | {"stage": "parse", "error": "a rule that is mended now", "failed_at": now}
    schema = DERIVED["dead_letters"].schema
    lake.commit(letters, _row(letter, schema), marks={"user_events/0": end + 1})
    lake.commit(events, pl.DataFrame(schema=DERIVED["events"].schema), marks={"user_events/0": end + 1})
    return home


def _row(values: dict[str, object], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame([dict.fromkeys(schema) | values], schema=schema)


def test_letters_are_listed_by_reason_and_a_mended_one_becomes_an_event_once(home: Path) -> None:
    def listed(*options: str) -> list[dict[str, object]]:
        answer = run("lake", "dead-letters", "--limit", "1000", "--home", home, "--json", *options)
        found: list[dict[str, object]] = json.loads(answer.out)["dead_letters"]
        return found

    every, (mended,) = listed(), listed("--reason", "mended now")
    assert mended["error"] == "a rule that is mended now"

    none = run("lake", "dead-letters", "replay", "--reason", "no such reason", "--home", home)
    assert (none.code, none.out.startswith("0 dead letters read again")) == (NOTHING_TO_DO, True)
    done = run("lake", "dead-letters", "replay", "--home", home, "--json")
    document = {"read": len(every), "events": 1, "changes": 0, "remaining": len(every) - 1}
    assert (done.code, json.loads(done.out)) == (0, document)

    assert listed("--reason", "mended now") == []
    assert len(listed()) == len(every) - 1
    assert Lab.open(home).warehouse.sql("SELECT count(*) FROM events WHERE event_id = 'fixed-1'").item() == 1
    assert run("lake", "dead-letters", "replay", "--home", home).code == NOTHING_TO_DO


def test_options_of_a_sub_command_stand_after_its_name(home: Path) -> None:
    answer = run("lake", "dead-letters", "--topic", "user_events", "replay", "--home", home)
    assert (answer.code, "Options of replay stand after its name" in answer.err) == (2, True)
