"""Every benchmark runs as its README says, prints its table, and says what it misses. No figure is judged."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from neonblue_lab.errors import Unavailable
from neonblue_lab.knowledge.minilm import model_folder

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def _run(script: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARKS / f"{script}.py", *options]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=120, check=False)


def _table(done: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    """The first cell of each row -> its other cells; rows with the same first cell count once."""
    assert done.returncode == 0, done.stderr
    table, _, machine = done.stdout.partition("\n\n")
    header, rule, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rule == ["---"] * len(header)
    assert all(len(row) == len(header) for row in rows)
    assert f"{os.cpu_count()} cores, Python 3." in machine
    return {first: cells for first, *cells in rows}


def test_enrichment():
    table = _table(_run("enrichment", "--records", "2000", "--runs", "1"))
    assert {"events of one size, without", "events of one size, by rule", "simulated topics, by rule"} <= set(table)


def test_replay(unavailable: Callable[[str], NoReturn]):
    done = _run("replay", "--records", "2000", "--runs", "1")
    table = _table(done)
    assert {"archive to lake", "simulate to archive"} <= set(table)
    if "Kafka to lake" not in table:
        unavailable(done.stderr)
    kafka = {"Kafka to lake", "Kafka to lake, confluent", "archive to Kafka"}
    assert set(table) == kafka | {"archive to lake", "simulate to archive"}


def test_the_replayed_events_are_of_the_stated_size_and_all_valid():
    code = (
        "import replay; from neonblue_lab.events.encoding import RecordEncoder; "
        "from neonblue_lab.events.parsing import EventParser; "
        "batch = RecordEncoder(replay.TOPIC).encode(replay.events(0, 5000)); "
        "parsed = EventParser().parse(batch); "
        "print(batch.frame['value'].bin.size().unique().to_list(), parsed.events['event_id'].n_unique())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "[218] 5000", done.stderr


def test_scorecard(dataset: Callable[[str], Path]):
    dataset("upworthy_exploratory.parquet")
    done = _run("scorecard", "--sample", "20", "--runs", "1")
    ours = {"`two_proportions`, from arrays", "scorecard, lab open", "`neonblue scorecard --json`"}
    assert set(_table(done)) == ours
    assert "4,873 experiments, 17,793 comparisons" in done.stdout


def test_programme(dataset: Callable[[str], Path]):
    dataset("asos_digital_experiments.parquet")
    dataset("upworthy_exploratory.parquet")
    done = _run("programme")
    peeking = {metric: cells[0] for metric, cells in _table(done).items()}
    assert peeking == {
        f"metric_{i}": f"{found} of {of}" for i, found, of in ((1, 46, 99), (2, 64, 94), (3, 57, 94), (4, 58, 94))
    }
    assert "| 201325 to 201401: found | 1,058 | 69.47% |" in done.stdout
    assert "Omnibus tests below 0.05: 45.2% of 4,873." in done.stdout


def test_calibration():
    done = _run("calibration", "--experiments", "400")
    assert {"false positives at 5 %", "95 % interval covers", "power, planned 80 %"} <= set(_table(done))
    assert "| NO |" not in done.stdout
    assert "nothing there | Welch at 5 %, fixed horizon" in done.stdout


def test_retrieval(dataset: Callable[[str], Path], unavailable: Callable[[str], NoReturn]):
    dataset("upworthy_exploratory.parquet")
    try:
        model_folder()
    except Unavailable as reason:
        unavailable(str(reason))
    done = _run("retrieval", "--sample", "60", "--runs", "1")
    measures = _table(done)
    difference = float(done.stdout.split("Largest difference to the published model")[1].split(":")[1].strip(" .\n"))
    assert difference < 1e-4
    assert {"standard retriever", "MiniLM", "TF-IDF, words and pieces", "corpus (PMI-SIF)", "LSA, unseen texts"} <= set(
        measures
    )


@pytest.mark.parametrize("script", ["scorecard", "retrieval"])
def test_without_its_data_set_a_script_says_so(script: str, tmp_path: Path):
    done = _run(script, NEONBLUE_DATASETS=str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.strip() == (
        f"Data set upworthy_exploratory.parquet is not in {tmp_path}: set NEONBLUE_DATASETS to its folder."
    )


def test_the_readme_names_every_script():
    readme = (BENCHMARKS / "README.md").read_text("utf-8")
    scripts = {file.name for file in BENCHMARKS.glob("*.py")} - {"timing.py"}
    assert {name for name in scripts if f"benchmarks/{name}" in readme} == scripts


def test_event_labels(dataset: Callable[[str], Path]):
    dataset("eshop_clothing_2008.parquet")
    done = _run("event_labels", "--events", "60")
    assert set(_table(done)) == {"simulated", "and imported"}
    assert "events a second labelled" in done.stdout


def test_next_action(dataset: Callable[[str], Path]):
    dataset("eshop_clothing_2008.parquet")
    done = _run("models", "--quick", "next_action")
    heading, rule, table = done.stdout.partition("\n| ")
    assert done.returncode == 0, done.stderr
    assert heading.startswith("## Next action")
    rows = {line.split("|")[1].strip() for line in (rule + table).splitlines() if line.startswith("|")}
    assert {"popularity", "Markov-1", "ours", "PMI-SVD"} <= rows


def test_models_names_its_parts():
    done = _run("models", "nowhere")
    assert done.returncode == 2
    assert "there is no part nowhere; there are retrieval, outcome, next_action, m4_hourly" in done.stderr


def test_m4_hourly(dataset: Callable[[str], Path]):
    dataset("m4_hourly_train.parquet")
    done = _run("m4_hourly", "--sample", "400")
    assert {"ours", "seasonal naive 24", "seasonal naive 168"} <= set(_table(done))


def test_outcome(dataset: Callable[[str], Path]):
    dataset("upworthy_exploratory.parquet")
    table = _table(_run("outcome", "--sample", "80", "--without-neural"))
    assert set(table) == {"5 folds", "later weeks"}
