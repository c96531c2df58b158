"""`neonblue doctor`: what is wrong is found, each thing by itself, and what to do is said."""

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from neonblue_lab import Lab
from neonblue_lab.artifacts import ArtifactStore
from tests.services.neonblue_process import Answer, run

SIZE = ("--experiments", "4", "--users", "100", "--events", "1500", "--days", "14", "--seed", "5")


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a filled lake and an artifact, which nothing is wrong with but a few dead letters."""
    home = tmp_path_factory.mktemp("doctor") / "home"
    assert run("simulate", "--out", home / "topics", *SIZE).code == 0
    assert run("replay", "--home", home).code == 0
    store = ArtifactStore(home / "artifacts")
    facts: dict[str, Any] = {
        "parameters": {},
        "metrics": {},
        "data_versions": {"events": 1},
        "seed": 1,
        "card": "# Card",
    }
    store.publish("classifier", lambda path: (path / "labels.json").write_text("[]"), **facts)
    store.promote("classifier", 1)
    return home


@pytest.fixture
def home(replayed: Path, tmp_path: Path) -> Path:
    """A copy of it, to break."""
    return Path(shutil.copytree(replayed, tmp_path / "home"))


def doctor(home: Path, *options: str, **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the findings by name."""
    answer = run("doctor", "--home", home, "--json", *options, environment=environment)
    assert answer.err == ""
    document = json.loads(answer.out)
    assert document["ok"] == (answer.code == 0)
    return answer.code, {check["name"]: check for check in document["checks"]}


def test_a_sound_workbench_has_no_problem(replayed: Path) -> None:
    code, found = doctor(replayed)
    assert code == 0
    assert {"python", "extras", "home", "disk", "lake", "files", "replays", "dead letters", "artifacts", "runs"} <= set(
        found
    )
    assert all(set(check) == {"name", "status", "message", "advice"} for check in found.values())
    assert {name for name, check in found.items() if check["status"] == "problem"} == set()
    assert found["dead letters"]["status"] == "warning"
    assert "dead-letters replay" in found["dead letters"]["advice"]


def test_an_empty_home_is_sound_and_stays_untouched(tmp_path: Path) -> None:
    code, found = doctor(tmp_path / "none")
    assert code == 0
    assert "the first replay makes it" in found["home"]["message"]
    assert not (tmp_path / "none").exists()


def test_for_a_person_it_is_a_table(replayed: Path) -> None:
    answer: Answer = run("doctor", "--home", replayed)
    assert answer.out.splitlines()[0].split() == ["status", "check", "found"]
    assert any(line.startswith("ok ") and " artifacts " in line for line in answer.out.splitlines())


def test_a_missing_file_and_a_changed_artifact_are_both_found(home: Path) -> None:
    (victim, *_) = sorted((home / "lake" / "events").rglob("*.parquet"))
    victim.unlink()
    label = home / "artifacts" / "classifier" / "1" / "labels.json"
    label.chmod(stat.S_IRUSR | stat.S_IWUSR)
    label.write_text("{}")

    code, found = doctor(home)

    assert code == 1
    assert (found["lake: events"]["status"], str(victim) in found["lake: events"]["message"]) == ("problem", True)
    assert found["artifact: classifier 1"]["status"] == "problem"
    assert found["runs"]["status"] == "ok"


def test_a_table_whose_log_is_broken_does_not_hide_the_others(home: Path) -> None:
    for commit in (home / "lake" / "raw" / "user_events" / "_delta_log").glob("*.json"):
        commit.write_text("{")

    code, found = doctor(home)

    assert code == 1
    assert found["lake: raw/user_events"]["status"] == "problem"
    assert {"lake", "dead letters", "artifacts", "runs"} <= set(found)


def test_records_from_which_nothing_was_derived_are_told(home: Path) -> None:
    lake = Lab.open(home).lake
    raw = lake.open("raw/user_events")
    records = lake.scan("raw/user_events", raw).filter(pl.col("partition") == 0).sort("offset").tail(3).collect()
    end = raw.transaction_version("user_events/0")
    assert end is not None
    lake.commit(raw, records.with_columns(pl.col("offset") + 3), marks={"user_events/0": end + 3})

    code, found = doctor(home)

    assert code == 0
    assert found["replays"]["status"] == "warning"
    assert "user_events-0 3" in found["replays"]["message"]


def test_a_store_that_is_down_is_a_problem_and_its_password_stays_unsaid(home: Path) -> None:
    code, found = doctor(home, NEONBLUE_POSTGRES_URL="postgresql://lab:swordfish@127.0.0.1:1/lab")
    assert code == 1
    assert found["postgres"]["status"] == "problem"
    assert "It lacks rows of" in found["postgres"]["message"]
    assert "neonblue sync" in found["postgres"]["advice"]
    assert "swordfish" not in json.dumps(found)


def test_a_store_that_cannot_be_used_does_not_hide_the_rest(home: Path) -> None:
    code, found = doctor(home, NEONBLUE_CLICKHOUSE_URL="ftp://nowhere")
    assert code == 1
    assert found["sinks"]["status"] == "problem"
    assert found["artifacts"]["status"] == "ok"


def test_a_run_that_was_cut_off_is_told(home: Path) -> None:
    (home / "runs" / "20260105T000000.000000Z-00000000").mkdir(parents=True)
    code, found = doctor(home)
    (name,) = (name for name in found if name.startswith("run: "))
    assert (code, found[name]["status"]) == (0, "warning")
    assert "interrupted" in found[name]["message"]


def test_a_source_that_does_not_answer_is_a_problem(home: Path) -> None:
    answer = run("doctor", "--home", home, "--from", "kafka://127.0.0.1:1", "--json")
    (found,) = (check for check in json.loads(answer.out)["checks"] if check["name"] == "source")
    assert (answer.code, found["status"]) == (1, "problem")
    assert "No Kafka broker answers at kafka://127.0.0.1:1" in found["message"]


def test_the_lag_behind_a_source_is_told(home: Path) -> None:
    code, found = doctor(home, "--from", str(home / "topics"))
    assert (code, found["source"]["status"]) == (0, "ok")
    assert "lacks 0 records" in found["source"]["message"]
