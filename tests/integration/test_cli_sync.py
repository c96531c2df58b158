"""`neonblue sync`: the lake's rows in a real ClickHouse engine, once."""

import json
import signal
from pathlib import Path

import pytest

from tests.services.neonblue_process import run, started, wait_until

chdb = pytest.importorskip("chdb", reason="the extra chdb is not installed")
SIZE = ("--experiments", "4", "--users", "100", "--events", "1500", "--days", "14", "--seed", "5")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("sync") / "home"
    assert run("simulate", "--out", home / "topics", *SIZE).code == 0
    assert run("replay", "--home", home).code == 0
    return home


def test_what_a_store_lacks_is_delivered_once(home: Path, tmp_path: Path) -> None:
    variables = {"NEONBLUE_CLICKHOUSE_URL": f"chdb://{tmp_path / 'clickhouse'}"}
    first = run("sync", "--sink", "clickhouse", "--home", home, "--json", environment=variables)
    document = json.loads(first.out)
    assert (first.code, first.err, document["ok"]) == (0, "", True)
    events = sum(
        result["rows"]
        for lane in document["lanes"]
        if lane["table"] == "events"
        for result in (lane["primary_result"], *lane["secondary_results"].values())
        if result["store"] == "clickhouse"
    )
    status = json.loads(run("lake", "status", "--home", home, "--json").out)
    assert events == status["tables"]["events"]["rows"]

    again = run("sync", "--sink", "clickhouse", "--home", home, environment=variables)
    assert (again.code, "0 rows delivered; it has everything." in again.out) == (3, True)

    doctor = json.loads(run("doctor", "--home", home, "--json", environment=variables).out)
    (found,) = (check for check in doctor["checks"] if check["name"] == "clickhouse")
    assert found["status"] == "ok"
    assert "It has everything." in found["message"]


def test_a_follower_delivers_meanwhile_and_at_its_end(home: Path, tmp_path: Path) -> None:
    variables = {"NEONBLUE_CLICKHOUSE_URL": f"chdb://{tmp_path / 'clickhouse'}"}
    options = ("--follow", "--sync", "--linger", "0.1", "--log-format", "json", "--json")
    with started(
        "replay", "--from", home / "topics", *options, "--home", tmp_path / "home", environment=variables
    ) as one:

        def delivered() -> bool:
            lines = [json.loads(line) for line in one.err.splitlines()]
            return any(line["event"] == "sink" and line["sink"] == "clickhouse" and line["up"] for line in lines)

        wait_until(delivered, "the store is heard of")
        one.send(signal.SIGTERM)
        answer = one.answer()
    assert answer.code == 0, answer.err
    document = json.loads(answer.out)
    assert document["sync"]["ok"] is True
    again = run("sync", "--sink", "clickhouse", "--home", tmp_path / "home", environment=variables)
    assert (again.code, "0 rows delivered; it has everything." in again.out) == (3, True)


def test_a_replay_delivers_at_its_end_and_fails_where_a_store_is_down(home: Path, tmp_path: Path) -> None:
    variables = {"NEONBLUE_POSTGRES_URL": "postgresql://lab:swordfish@127.0.0.1:1/lab"}
    arguments = ("replay", "--sync", "--from", home / "topics", "--home", tmp_path / "home", "--json")
    answer = run(*arguments, environment=variables)
    document = json.loads(answer.out)
    assert (answer.code, document["sync"]["ok"]) == (1, False)
    assert document["records"] > 1_000
    assert "swordfish" not in answer.out + answer.err


def test_a_store_that_is_down_fails_and_says_so(home: Path) -> None:
    variables = {"NEONBLUE_POSTGRES_URL": "postgresql://lab:swordfish@127.0.0.1:1/lab"}
    answer = run("sync", "--sink", "postgres", "--home", home, "--json", environment=variables)
    assert answer.code == 1
    assert json.loads(answer.out)["ok"] is False
    assert "swordfish" not in answer.out + answer.err


def test_a_store_without_a_url_is_refused(home: Path) -> None:
    answer = run("sync", "--sink", "clickhouse", "--home", home)
    assert (answer.code, "set NEONBLUE_CLICKHOUSE_URL" in answer.err) == (2, True)
    answer = run("sync", "--sink", "nope", "--home", home)
    assert (answer.code, "There is no sink nope" in answer.err) == (2, True)
