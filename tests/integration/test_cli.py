"""The command line as another program sees it: one JSON document on stdout, reasons on stderr, an exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from neonblue_lab import Lab
from neonblue_lab.artifacts import ArtifactStore

NEONBLUE = Path(sys.executable).with_name("neonblue")
FAILED, USAGE, NOTHING_TO_DO = 1, 2, 3
HEAVY = {
    "altair", "chromadb", "deltalake", "duckdb", "ibis", "kafka", "mcp", "numpy", "onnxruntime", "pandas", "papermill",
    "polars", "pyarrow", "scipy", "sklearn", "statsmodels",
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


Neonblue = Callable[..., Answer]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def neonblue(folder: Path) -> Neonblue:
    """Run a command in a folder of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEONBLUE_")}

    def run(*arguments: str | Path, **variables: str) -> Answer:
        done = subprocess.run(
            [NEONBLUE, *map(str, arguments)], capture_output=True, text=True, cwd=folder, env=environment | variables
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="module")
def simulated(neonblue: Neonblue, folder: Path) -> Answer:
    """Simulated topics in home/topics, as their command answers."""
    size = ("--experiments", "6", "--users", "400", "--events", "4000", "--seed", "3")
    return neonblue("simulate", "--out", folder / "home" / "topics", *size, "--json")


@pytest.fixture(scope="module")
def replayed(neonblue: Neonblue, folder: Path, simulated: Answer) -> Answer:
    """The replay of them, as its command answers."""
    assert simulated.code == 0
    return neonblue("replay", "--home", folder / "home", "--json")


@pytest.fixture(scope="module")
def home(replayed: Answer, folder: Path) -> Path:
    """A data folder with a filled lake and two versions of an artifact."""
    assert replayed.code == 0
    store = ArtifactStore(folder / "home" / "artifacts")
    for depth in (3, 4):
        store.publish(
            "classifier",
            lambda path: (path / "labels.json").write_text("[]"),
            parameters={"depth": depth},
            metrics={"accuracy": 0.9},
            data_versions={"events": 1},
            seed=1,
            card="# A card",
        )
    store.promote("classifier", 1)
    return folder / "home"


# --- one JSON document ------------------------------------------------------------------------------------------------


def test_simulate(simulated: Answer, folder: Path) -> None:
    document = simulated.json
    assert set(document["topics"]) == {"experiments_events", "user_events", "analytics_events", "experiment_metrics"}
    assert sum(document["topics"].values()) == pytest.approx(4000, rel=0.05)
    assert Path(document["truth"]) == folder / "home" / "topics" / "truth.json"
    assert simulated.err == ""


def test_replay(replayed: Answer, simulated: Answer, neonblue: Neonblue, home: Path) -> None:
    document = replayed.json
    sent = simulated.json["topics"]
    assert document["records"] == sum(sent.values())
    assert (
        document["events"] + document["duplicates"] + document["dead_letters"] + document["tombstones"]
        == document["records"]
    )
    for topic, records in sent.items():
        assert document["topics"][topic]["records"] == records
        assert sum(document["topics"][topic]["partitions"].values()) == records
    assert replayed.err == ""

    again = neonblue("replay", "--from", home / "topics", "user_events", "--home", home, "--json")

    assert again.code == NOTHING_TO_DO
    assert (again.json["records"], again.json["events"]) == (0, 0)
    assert set(again.json["topics"]) == {"user_events"}


def test_lake_status(neonblue: Neonblue, home: Path, replayed: Answer) -> None:
    tables = neonblue("lake", "status", "--home", home, "--json").json["tables"]
    assert all(set(table) == {"version", "rows", "files", "bytes"} for table in tables.values())
    assert tables["raw/user_events"]["rows"] == replayed.json["topics"]["user_events"]["records"]
    assert tables["dead_letters"]["rows"] == replayed.json["dead_letters"]


def test_dead_letters(neonblue: Neonblue, home: Path, replayed: Answer) -> None:
    every = neonblue("lake", "dead-letters", "--limit", "1000", "--home", home, "--json").json["dead_letters"]
    assert len(every) == replayed.json["dead_letters"]
    assert all(letter["error"] and letter["topic"] for letter in every)
    some = neonblue("lake", "dead-letters", "--topic", every[0]["topic"], "--limit", "1", "--home", home, "--json")
    assert [letter["topic"] for letter in some.json["dead_letters"]] == [every[0]["topic"]]


ROW = {
    "experiment_id", "metric", "variant_id", "control_id", "n_control", "n_variant", "mean_control", "mean_variant",
    "difference", "difference_ci", "lift", "lift_ci", "p_value", "p_adjusted",
}  # fmt: skip
CHECK = {"experiment_id", "metric", "srm_p_value", "omnibus_p_value", "n_total", "variants"}


def test_scorecard(neonblue: Neonblue, home: Path) -> None:
    document = neonblue("scorecard", "--home", home, "--json").json
    assert document["data_version"].startswith("assignments@1,changes@")
    assert document["experiments"] == 6
    assert all(set(row) >= ROW for row in document["rows"])
    assert all(set(check) >= CHECK for check in document["checks"])
    assert {check["experiment_id"] for check in document["checks"]} == {
        row["experiment_id"] for row in document["rows"]
    }
    for row in document["rows"]:
        low, high = row["difference_ci"]
        assert low is None or low <= row["difference"] <= high

    some = neonblue("scorecard", "--metric", "conversion", "--alpha", "0.2", "--home", home, "--json").json
    assert {row["metric"] for row in some["rows"]} == {"conversion"}
    assert some["alpha"] == 0.2


def test_analyze(neonblue: Neonblue, home: Path) -> None:
    experiment = neonblue("scorecard", "--home", home, "--json").json["rows"][0]["experiment_id"]
    document = neonblue("analyze", experiment, "--home", home, "--json").json
    assert document["experiment_id"] == experiment
    assert document["verdict"] in (
        "ship",
        "stop",
        "keep running",
        "no difference seen",
        "do not trust",
        "not enough data",
    )
    assert document["reasons"]
    assert document["recommendations"]
    assert all(set(row) >= ROW for row in document["rows"])


def test_analyze_in_detail(neonblue: Neonblue, home: Path) -> None:
    experiment = neonblue("scorecard", "--home", home, "--json").json["rows"][0]["experiment_id"]
    without = neonblue("analyze", experiment, "--home", home)
    detailed = neonblue("analyze", experiment, "--details", "--home", home)
    document = neonblue("analyze", experiment, "--details", "--home", home, "--json").json
    assert document["findings"] == Lab.open(home).experiments.details(experiment).findings
    assert detailed.out.startswith(without.out)
    assert all(detailed.out.count(finding) == 1 for finding in document["findings"])
    assert "findings" not in neonblue("analyze", experiment, "--home", home, "--json").json


def test_plan(neonblue: Neonblue, home: Path) -> None:
    asked = ("plan", "conversion", "--lift", "0.3", "--variants", "2", "--power", "0.9", "--reading", "pocock")
    document = neonblue(*asked, "--home", home, "--json").json
    planned = Lab.open(home).experiments.plan("conversion", lift=0.3, variants=2, power=0.9, reading="pocock")
    assert document == json.loads(json.dumps(planned.to_dict()))
    answer = neonblue(*asked, "--home", home)
    assert (answer.code, answer.out) == (0, f"{planned}\n")


def test_models(neonblue: Neonblue, home: Path) -> None:
    listed = neonblue("models", "list", "--home", home, "--json").json
    assert [{"name", "version", "alias", "created_at", "metrics"} <= set(model) for model in listed] == [True, True]
    assert {model["version"]: model["alias"] for model in listed} == {1: "champion", 2: "challenger"}

    shown = neonblue("models", "show", "classifier", "--home", home, "--json").json
    assert (shown["version"], shown["metrics"]) == (1, {"accuracy": 0.9})
    assert "A card" in shown["card"]
    assert "A card" in neonblue("models", "show", "classifier", "--version", "latest", "--home", home).out
    assert (
        neonblue("models", "verify", "classifier", "--version", "2", "--home", home, "--json").json["verified"] is True
    )
    assert neonblue("models", "promote", "classifier", "2", "--home", home, "--json").json["version"] == 2
    assert neonblue("models", "rollback", "classifier", "--home", home, "--json").json["version"] == 1


def test_import_then_replay(neonblue: Neonblue, folder: Path, dataset: Callable[[str], Path]) -> None:
    file = dataset("landing_page_ab.parquet")
    imported = neonblue("import", "landing-page", file, "--clean", "--out", folder / "landing" / "topics", "--json")
    assert imported.json["topics"]["experiments_events"] == 290_585
    assert neonblue("replay", "--home", folder / "landing", "--json").json["dead_letters"] == 0
    row = neonblue("scorecard", "--metric", "conversion", "--home", folder / "landing", "--json").json["rows"][0]
    assert (round(row["mean_control"], 6), round(row["mean_variant"], 6)) == (0.120386, 0.118808)


def test_an_empty_home_has_no_runs_no_models_and_no_tables(neonblue: Neonblue, folder: Path) -> None:
    empty = folder / "empty"
    for command, document in (("runs", []), ("models list", []), ("lake status", {"tables": {}})):
        answer = neonblue(*command.split(), "--home", empty, "--json")
        assert (answer.code, answer.json, answer.err) == (0, document, "")
    assert not empty.exists()


def test_for_a_person_it_prints_text(neonblue: Neonblue, home: Path) -> None:
    texts = {
        "scorecard": "Experiments: 6. ",
        "lake status": "table ",
        "lake dead-letters": "user_events-",
        "models list": "classifier",
        "runs": "No runs yet: `neonblue run nightly`",
    }
    for command, text in texts.items():
        answer = neonblue(*command.split(), "--home", home)
        assert (answer.code, text in answer.out, answer.err) == (0, True, ""), command


def test_the_home_may_come_from_the_environment(neonblue: Neonblue, home: Path) -> None:
    assert neonblue("lake", "status", "--json", NEONBLUE_HOME=str(home)).json["tables"]["experiments"]["rows"] == 6


# --- what goes wrong --------------------------------------------------------------------------------------------------

WRONG = [
    ("scorecard --home {empty}", USAGE, "no assignments and no metric totals to compare: `neonblue replay --from"),
    ("scorecard --home {file}", USAGE, "is not a folder: --home"),
    ("scorecard --metric nope --home {home}", USAGE, "There is no metric nope; there are "),
    ("scorecard --alpha 2 --home {home}", USAGE, "alpha is 2.0: it must lie between 0 and 1"),
    ("scorecard --alpha x", USAGE, "--alpha"),
    ("scorecard --homme x", USAGE, "No such option: --homme"),
    ("nonsense", USAGE, "No such command 'nonsense'"),
    ("analyze", USAGE, "Missing argument 'experiment'"),
    ("analyze nope --home {home}", USAGE, "There is no experiment nope"),
    ("analyze nope --details --home {home}", USAGE, "There is no experiment nope"),
    ("plan conversion --home {home}", USAGE, "Missing option '--lift'"),
    ("plan convers --lift 0.05 --home {home}", USAGE, "There is no metric convers; there are "),
    ("plan conversion --lift 0 --home {home}", USAGE, "is no change"),
    ("plan conversion --lift 0.1 --share 2 --home {home}", USAGE, "share is 2.0: of the users who take part"),
    ("plan conversion --lift 0.1 --reading daily --home {home}", USAGE, "reading is 'daily': it must be one of fixed"),
    ("plan page_load_ms --lift 0.1 --home {home}", USAGE, "page_load_ms arrives as aggregates"),
    ("simulate --out {home}", USAGE, "is not empty"),
    ("simulate --days 3 --out {empty}", USAGE, "--days"),
    ("import nope {file} --out {empty}", USAGE, "There is no importer nope; there are upworthy, asos, landing-page, eshop"),
    ("import upworthy {file} --out {empty}", USAGE, "lacks the columns clickability_test_id"),
    ("import eshop {file} --clean --out {empty}", USAGE, "no cleaning"),
    ("replay --from {empty} --home {empty}", USAGE, "neither a folder nor a Kafka cluster"),
    ("replay nope --from {home}/topics --home {empty}2", USAGE, "has no topic 'nope'; it has: analytics_events"),
    ("replay --from kafka://127.0.0.1:1 --home {empty}2", FAILED, "No Kafka broker answers at kafka://127.0.0.1:1"),
    ("search words --home {empty}", USAGE, "notebooks/30_experiment_knowledge.ipynb makes it"),
    ("forecast --home {empty}", USAGE, "notebooks/50_trends.ipynb makes it"),
    ("models show nope --home {home}", USAGE, "No artifact 'nope'"),
    ("models show classifier --version x --home {home}", USAGE, "--version x: a number, `champion`"),
    ("models promote classifier 9 --home {home}", USAGE, "9"),
    ("run nope --home {empty}", USAGE, "no pipeline \"nope\""),
    ("run nightly -p bad --home {empty}", USAGE, "step.parameter=value"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "code", "reason"), WRONG, ids=[command for command, *_ in WRONG])
def test_an_error_is_a_sentence_on_stderr_and_a_document(
    neonblue: Neonblue, home: Path, folder: Path, command: str, code: int, reason: str
) -> None:
    file = folder / "words.csv"
    file.write_text("word\nswordfish\n")
    arguments = command.format(home=home, empty=folder / "empty", file=file).split()

    answer = neonblue(*arguments, "--json")

    assert answer.code == code
    assert answer.err.startswith("neonblue: ")
    assert reason in answer.err
    assert "Traceback" not in answer.err
    assert reason in answer.json["error"]["message"]
    assert set(answer.json) == {"error"}


def test_a_command_is_missing(neonblue: Neonblue) -> None:
    for command, known in (((), "scorecard"), (("lake",), "status")):
        answer = neonblue(*command)
        assert (answer.code, answer.out) == (USAGE, "")
        assert known in answer.err


def test_an_address_that_is_open_to_all_is_refused(neonblue: Neonblue) -> None:
    answer = neonblue("serve", "--http", "0.0.0.0:8080")

    assert answer.code == USAGE
    assert "no authentication" in answer.err


def test_a_reader_that_closes_early_is_no_error(home: Path) -> None:
    command = f"'{NEONBLUE}' scorecard --home '{home}' --json | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)

    assert done.stdout == "{"
    assert done.stderr == ""


# --- light to start ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "import neonblue_lab",
        "from neonblue_lab.lab import Lab; Lab.open('.')",
        "import neonblue_lab.cli as c; sys.argv = ['neonblue', '--help']; sys.stdout = sys.stderr; c.main()",
    ],
    ids=["import", "open a lab", "--help"],
)
def test_starting_loads_no_heavy_library(statement: str) -> None:
    script = (
        f"import sys, atexit; out = sys.stdout; atexit.register(lambda: print(*sys.modules, file=out))\n{statement}"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert HEAVY.isdisjoint(module.partition(".")[0] for module in done.stdout.split())
    assert "neonblue_lab" in done.stdout.split()


def test_a_scorecard_of_aggregates_loads_only_what_it_needs(home: Path) -> None:
    script = (
        "import sys, atexit; out = sys.stdout; atexit.register(lambda: print(*sys.modules, file=out))\n"
        f"from neonblue_lab.lab import Lab; Lab.open({str(home)!r}).experiments.scorecard().to_dict()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    needless = {
        "altair",
        "chromadb",
        "kafka",
        "mcp",
        "onnxruntime",
        "pandas",
        "papermill",
        "sklearn",
        "statsmodels",
        "scipy.stats",
    }
    assert needless.isdisjoint(done.stdout.split())


def test_an_unknown_topic_has_no_dead_letters_to_show(neonblue: Neonblue, home: Path) -> None:
    answer = neonblue("lake", "dead-letters", "--topic", "nosuch", "--home", home)
    assert (answer.code, "user_events" in answer.err) == (2, True)


def test_simulating_onto_a_file_is_refused(neonblue: Neonblue, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    answer = neonblue("simulate", "--out", tmp_path / "file")
    assert (answer.code, "is a file" in answer.err) == (2, True)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_search_and_a_readout_tell_the_same_of_an_experiment(neonblue: Neonblue, home: Path) -> None:
    documents = {row["experiment_id"]: row for row in Lab.open(home).experiments.documents().to_dicts()}
    verdicts = {name: neonblue("analyze", name, "--home", home, "--json").json["verdict"] for name in documents}
    assert len(verdicts) == 6
    for name, verdict in verdicts.items():
        outcome = documents[name]["outcome"]
        assert (verdict == "do not trust") == (outcome == "broken split")
        assert verdict != "ship" or outcome == "win"
        assert verdict != "no difference seen" or outcome == "flat"
