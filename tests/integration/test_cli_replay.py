"""`neonblue replay` with all its options, as another program sees it."""

import json
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from neonblue_lab import Lab
from neonblue_lab.topics.archive import ArchiveSource
from tests.services.kafka_broker import KafkaBroker
from tests.services.neonblue_process import NEONBLUE, Answer, NeonblueProcess, run, started, wait_until

DONE, USAGE, NOTHING_TO_DO = 0, 2, 3
SIZE = ("--experiments", "4", "--users", "100", "--events", "1500", "--days", "14", "--seed", "5")


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of simulated topics."""
    folder = tmp_path_factory.mktemp("replay") / "topics"
    assert run("simulate", "--out", folder, *SIZE).code == DONE
    return folder


@pytest.fixture(scope="module")
def records(topics: Path) -> pl.DataFrame:
    """Topic, partition, offset and timestamp of each of its records."""
    source = ArchiveSource(topics)
    batches = source.read({topic: {} for topic in source.topics()})
    return pl.concat([batch.frame.select("topic", "partition", "offset", "timestamp") for batch in batches])


def held(home: Path, topic: str) -> pl.DataFrame:
    """Partition and offset of the raw records that the lake holds."""
    return Lab.open(home).lake.read(f"raw/{topic}", ["partition", "offset"]).sort("partition", "offset")


# --- a part of a source -----------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_read_and_writes_nothing(
    topics: Path, records: pl.DataFrame, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    answer = run("replay", "--from", topics, "--dry-run", "--home", home, "--json")
    assert (answer.code, answer.err) == (DONE, "")
    planned = {(part["topic"], part["partition"]): part for part in json.loads(answer.out)["partitions"]}
    for topic, partition, count in records.group_by("topic", "partition").len().iter_rows():
        assert planned[topic, partition]["records"] == count
        assert planned[topic, partition]["held"] is None
    assert not home.exists()
    text = run("replay", "user_events", "--from", topics, "--dry-run", "--home", home).out
    assert re.search(r"^topic\s+partition\s+from\s+to\s+records", text, re.MULTILINE)
    assert "analytics_events" not in text


def test_a_dry_run_with_nothing_to_read_says_so(topics: Path, tmp_path: Path) -> None:
    assert run("replay", "--from", topics, "--home", tmp_path / "home").code == DONE
    assert run("replay", "--from", topics, "--home", tmp_path / "home", "--dry-run").code == NOTHING_TO_DO


def test_times_choose_records(topics: Path, records: pl.DataFrame, tmp_path: Path) -> None:
    since, until = datetime.fromisoformat("2026-01-08T00:00:00Z"), datetime.fromisoformat("2026-01-11T12:00:00Z")
    bounds = ("--since", "2026-01-08", "--until", "2026-01-11T13:00+01:00")
    answer = run("replay", "user_events", "--from", topics, *bounds, "--home", tmp_path, "--json")
    assert answer.code == DONE
    within = records.filter(topic="user_events").filter(pl.col("timestamp").is_between(since, until, closed="left"))
    assert (
        held(tmp_path, "user_events").rows() == within.select("partition", "offset").sort("partition", "offset").rows()
    )


def test_offsets_choose_records(topics: Path, tmp_path: Path) -> None:
    chosen = ("--offsets", "user_events:0:10-25", "--offsets", "user_events:1:3-4")
    assert run("replay", "user_events", "--from", topics, *chosen, "--home", tmp_path).code == DONE
    assert held(tmp_path, "user_events").rows() == [*((0, offset) for offset in range(10, 25)), (1, 3)]


def test_records_can_be_counted_out(topics: Path, tmp_path: Path) -> None:
    for total in (100, 200):
        answer = run("replay", "user_events", "--from", topics, "--max-records", "100", "--home", tmp_path, "--json")
        assert json.loads(answer.out)["records"] == 100
        assert held(tmp_path, "user_events").height == total


def test_a_hole_is_refused_or_accepted_and_then_listed(topics: Path, tmp_path: Path) -> None:
    def replay(*options: str) -> Answer:
        return run("replay", "user_events", "--from", topics, *options, "--home", tmp_path)

    assert replay("--offsets", "user_events:0:0-10").code == DONE
    assert run("lake", "gaps", "--home", tmp_path).out == "No gaps.\n"
    refused = replay("--offsets", "user_events:0:20-25")
    assert (refused.code, "--accept-gap" in refused.err) == (USAGE, True)
    assert held(tmp_path, "user_events").height == 10

    assert replay("--offsets", "user_events:0:20-25", "--accept-gap").code == DONE

    (gap,) = json.loads(run("lake", "gaps", "--home", tmp_path, "--json").out)["gaps"]
    assert (gap["topic"], gap["partition"], gap["first"], gap["next"]) == ("user_events", 0, 10, 20)
    assert re.search(r"user_events +0 +10 +20 +10 ", run("lake", "gaps", "--home", tmp_path).out)
    doctor = json.loads(run("doctor", "--home", tmp_path, "--json").out)
    (found,) = (check for check in doctor["checks"] if check["name"] == "gaps")
    assert (found["status"], found["message"]) == ("warning", "10 offsets were passed over in 1 gap.")


WRONG = [
    ("--since yesterday", "--since yesterday: give a moment as 2026-01-05"),
    ("--since 2026-01-09 --until 2026-01-08", "lies after until"),
    ("--offsets user_events:0", "the form is topic:partition:from-to"),
    ("--offsets user_events:99:0-5", "no partition 99"),
    ("--max-records 0", "--max-records"),
    ("--follow --since 2h", "--since does not go with --follow"),
    ("--linger 2", "--linger only goes with --follow"),
    ("--client confluent", "--client only goes with --from kafka://"),
    ("--client jdbc", "--client"),
    ("--log-format xml", "--log-format"),
    ("--dry-run --sync", "--sync does not go with --dry-run"),
]


@pytest.mark.parametrize(("options", "reason"), WRONG, ids=[options for options, _ in WRONG])
def test_options_that_make_no_sense_are_refused(topics: Path, tmp_path: Path, options: str, reason: str) -> None:
    answer = run("replay", "user_events", "--from", topics, *options.split(), "--home", tmp_path / "home", "--json")
    assert answer.code == USAGE
    assert reason in answer.err
    assert reason in json.loads(answer.out)["error"]["message"]
    assert "records" not in json.loads(answer.out)


# --- standard input ---------------------------------------------------------------------------------------------------


def piped(text: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [NEONBLUE, "replay", *arguments, "--from", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)


def test_lines_of_standard_input_are_records_and_go_on_where_the_last_ended(tmp_path: Path) -> None:
    event = '{{"event_id":"e{}","event_type":"page_view","timestamp":"2026-01-05T00:00:00Z","user_id":"u"}}\n'
    for start in (0, 3):
        text = "".join(event.format(number) for number in range(start, start + 3))
        done = piped(text, "user_events", "--home", tmp_path, "--json")
        assert done.returncode == DONE, done.stderr
        assert (json.loads(done.stdout)["records"], json.loads(done.stdout)["events"]) == (3, 3)
    assert held(tmp_path, "user_events").rows() == [(0, offset) for offset in range(6)]
    assert piped("", "user_events", "--home", tmp_path).returncode == NOTHING_TO_DO


def test_standard_input_is_of_one_topic(tmp_path: Path) -> None:
    done = piped("", "--home", tmp_path)
    assert (done.returncode, "name it" in done.stderr) == (USAGE, True)


# --- following --------------------------------------------------------------------------------------------------------


@pytest.fixture
def followed(topics: Path, tmp_path: Path) -> Iterator[NeonblueProcess]:
    """A follower of the archive that logs JSON and serves metrics."""
    options = ("--follow", "--linger", "0.1", "--log-format", "json", "--metrics-port", "0", "--json")
    with started("replay", "--from", topics, *options, "--home", tmp_path / "home") as process:
        yield process


def logged(process: NeonblueProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.err.splitlines()]


def test_a_follower_is_seen_and_leaves_in_order(followed: NeonblueProcess, records: pl.DataFrame) -> None:
    wait_until(lambda: any(line["event"] == "metrics" for line in logged(followed)), "metrics are served")
    address = next(line["address"] for line in logged(followed) if line["event"] == "metrics")
    assert address.startswith("http://127.0.0.1:")
    counts = dict(records.group_by("topic").len().iter_rows())

    def scraped() -> str:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return str(answer.read().decode())

    wait_until(
        lambda: all(f'neonblue_records_total{{topic="{t}"}} {float(n)}' in scraped() for t, n in counts.items()),
        "everything is stored",
    )
    metrics = scraped()
    assert 'neonblue_lag_records{partition="0",topic="user_events"} 0.0' in metrics
    assert "neonblue_commit_seconds_count" in metrics
    assert "neonblue_last_commit_timestamp_seconds" in metrics

    followed.send(signal.SIGTERM)
    answer = followed.answer()

    assert answer.code == DONE
    assert json.loads(answer.out)["records"] == records.height
    lines = [json.loads(line) for line in answer.err.splitlines()]
    assert all({"ts", "level", "event"} <= set(line) for line in lines)
    assert [line["event"] for line in lines if line["event"] != "progress"] == [
        "metrics",
        "following",
        "stopping",
        "finished",
    ]
    assert lines[-1]["event"] == "finished"
    last = {line["topic"]: line for line in lines if line["event"] == "progress"}
    assert {topic: line["records"] for topic, line in last.items()} == counts


def test_a_taken_metrics_port_stops_a_follower_before_it_reads(topics: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        answer = run("replay", "--from", topics, "--follow", "--metrics-port", port, "--home", tmp_path / "home")
    assert (answer.code, f"--metrics-port {port}: the port is in use" in answer.err) == (USAGE, True)
    assert not (tmp_path / "home").exists()


def test_an_error_in_a_json_log_is_a_line_too(tmp_path: Path) -> None:
    answer = run("replay", "--from", tmp_path / "none", "--log-format", "json", "--home", tmp_path / "home")
    (*_, line) = (json.loads(line) for line in answer.err.splitlines())
    assert answer.code == USAGE
    assert (line["level"], line["event"], line["kind"]) == ("error", "failed", "BadInput")
    assert "neither a folder nor a Kafka cluster" in line["message"]


def test_a_follower_of_kafka_stores_what_is_produced_meanwhile(
    kafka: KafkaBroker, topics: Path, records: pl.DataFrame, tmp_path: Path
) -> None:
    url, home, topic = f"kafka://{kafka.bootstrap}", tmp_path / "home", "cli_replay_user_events"
    archive = tmp_path / "archive"
    (archive / topic).mkdir(parents=True)
    for file in (topics / "user_events").iterdir():
        pl.read_parquet(file).with_columns(topic=pl.lit(topic)).write_parquet(archive / topic / file.name)
    assert run("produce", archive, "--to", url).code == DONE
    count = records.filter(topic="user_events").height
    options = ("--follow", "--linger", "0.2", "--group", "cli-replay")
    with started("replay", topic, "--from", url, *options, "--home", home) as follower:
        wait_until(lambda: topic in Lab.open(home).lake.topics(), "the follower makes a table")
        wait_until(lambda: held(home, topic).height == count, "all is stored")
        assert run("produce", archive, "--to", url, "--append").code == DONE
        wait_until(lambda: held(home, topic).height == 2 * count, "all is stored again")
        follower.send(signal.SIGINT)
        answer = follower.answer()
    assert answer.code == DONE
    assert f"{2 * count:,} records -> " in answer.out
    assert "Finishing the batch" in answer.err
