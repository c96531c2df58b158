"""Keeping the lake in order from the command line."""

import json
from pathlib import Path

import pytest

from neonblue_lab import Lab
from tests.services.neonblue_process import run

SIZE = ("--experiments", "4", "--users", "100", "--events", "1500", "--days", "14", "--seed", "5")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose lake was filled topic by topic."""
    home = tmp_path_factory.mktemp("upkeep") / "home"
    assert run("simulate", "--out", home / "topics", *SIZE).code == 0
    for topic in ("experiments_events", "user_events", "analytics_events", "experiment_metrics"):
        assert run("replay", topic, "--home", home).code == 0
    return home


def test_compacting_merges_what_its_dry_run_says_and_no_row_changes(home: Path) -> None:
    before = Lab.open(home).warehouse.sql("SELECT * FROM events ORDER BY event_id")
    told = json.loads(run("lake", "compact", "--dry-run", "--home", home, "--json").out)
    assert told["dry_run"] is True
    assert told["tables"]["events"] > 14

    done = json.loads(run("lake", "compact", "--home", home, "--json").out)

    assert {table["table"]: table["merged"] for table in done["tables"]} == told["tables"]
    assert Lab.open(home).warehouse.sql("SELECT * FROM events ORDER BY event_id").equals(before)
    assert run("lake", "compact", "--home", home).out == "Nothing to merge.\n"


def test_a_vacuum_keeps_what_the_window_and_versions_need(home: Path) -> None:
    run("lake", "compact", "--home", home)
    told = json.loads(run("lake", "vacuum", "--dry-run", "--home", home, "--json").out)
    assert told["dry_run"] is True
    assert sum(table["files"] for table in told["tables"]) == 0
    assert sum(table["kept_files"] for table in told["tables"]) > 14
    short = run("lake", "vacuum", "--window", "0.001", "--home", home)
    assert (short.code, "take 1:00:00 or more" in short.err) == (2, True)


def test_retention_deletes_what_its_dry_run_says(home: Path) -> None:
    told = json.loads(run("lake", "retention", "--dry-run", "--home", home, "--json").out)
    assert told["dry_run"] is True
    done = json.loads(run("lake", "retention", "--home", home, "--json").out)
    assert done["expired"] == told["expired"]
    assert run("lake", "retention", "--home", home).out == "Nothing is older than the rules allow.\n"
