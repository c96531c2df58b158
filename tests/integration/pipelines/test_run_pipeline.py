"""Pipelines run for real: papermill, nbclient and kernels of this interpreter, on small notebooks."""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import neonblue_lab
from neonblue_lab.errors import BadInput
from neonblue_lab.pipelines.runner import Progress, run_pipeline
from neonblue_lab.pipelines.runs import RunResult, load_runs
from neonblue_lab.settings import RECORD_MIME, Settings

RECORD = f"""\
from IPython.display import display
def record(**values):
    display({{{RECORD_MIME!r}: values, "text/plain": ""}}, raw=True)
"""


class Workshop:
    """Notebooks, a pipeline and a data folder, in folders whose names have blanks and braces."""

    def __init__(self, folder: Path) -> None:
        self.notebooks = folder / "note {books}"
        self.pipelines = folder / "pipelines"
        self.settings = Settings(folder / "data {home}")
        self.notebooks.mkdir()
        self.pipelines.mkdir()

    def notebook(self, name: str, *sources: str, parameters: str = 'home: str = ""') -> None:
        cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]}), *map(new_code_cell, sources)]
        kernel = {"name": "a-kernel-that-is-not-installed", "display_name": "None", "language": "python"}
        for cell in cells:  # As if it had been run and saved before.
            cell.execution_count = 99
        nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), self.notebooks / f"{name}.ipynb")

    def pipeline(self, *steps: dict[str, Any], gate: str | None = None) -> None:
        value = {"name": "p", "description": "", "gate": gate, "steps": steps}
        (self.pipelines / "p.yaml").write_text(json.dumps(value))

    def run(self, **options: Any) -> RunResult:
        return run_pipeline(self.settings, "p", pipelines=self.pipelines, notebooks=self.notebooks, **options)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def statuses(run: RunResult) -> dict[str, str]:
    return {step.name: step.status for step in run.steps}


def test_a_run_leaves_notebooks_reports_values_and_its_history(workshop: Workshop) -> None:
    workshop.notebook(
        "first",
        RECORD,
        "record(days=days, names=names, overwritten=1)",
        "import os, sys",
        'record(overwritten=2, python=sys.executable, cwd=os.getcwd(), home=home, variable=os.environ["NEONBLUE_HOME"])',
        "os.write(1, b'to the terminal?')",
        parameters='home: str = ""\ndays: int = 7\nnames: list[str] = ["a"]\nseed: int = 5',
    )
    workshop.notebook("second", "assert home", "print('second')")
    workshop.pipeline(
        {"name": "last", "notebook": "second", "needs": ["start"]},
        {"name": "start", "notebook": "first", "parameters": {"names": ["b", "{c}"]}},
    )
    progress: list[Progress] = []
    directory = os.getcwd()
    run = workshop.run(overrides={"start": {"days": "28"}}, on_progress=progress.append)

    assert run.status == "succeeded"
    assert statuses(run) == {"last": "succeeded", "start": "succeeded"}
    home = str(workshop.settings.home)
    assert run.step("start").recorded == {
        "days": 28,
        "names": ["b", "{c}"],
        "overwritten": 2,
        "python": sys.executable,
        "cwd": str(workshop.notebooks),
        "home": home,
        "variable": home,
    }
    assert os.getcwd() == directory

    folder = workshop.settings.runs / run.run_id
    for step in run.steps:
        assert step.notebook == folder / f"{step.name}.ipynb"
        assert step.report == folder / f"{step.name}.html"
        executed = nbformat.read(step.notebook, as_version=4)
        assert [cell.execution_count for cell in executed.cells] == list(range(1, len(executed.cells) + 1))
        assert step.report.read_text().startswith("<!DOCTYPE html>")
    assert {file.name for file in folder.iterdir()} == {
        ".lock",
        "run.json",
        *(f"{name}.{kind}" for name in ("start", "last") for kind in ("ipynb", "html")),
    }
    assert RunResult.model_validate_json((folder / "run.json").read_text()) == run
    assert load_runs(workshop.settings) == [run]
    assert run.run_id in run.index.read_text()

    assert run.inputs is not None
    assert run.inputs.parameters["start"] == {"home": home, "days": 28, "names": ["b", "{c}"], "seed": 5}
    assert run.inputs.libraries["papermill"]
    order = [(each.step, each.status) for each in progress if not each.cell]
    assert order == [("start", "running"), ("start", "succeeded"), ("last", "running"), ("last", "succeeded")]
    assert Progress("start", "running", 3, 7) in progress


def test_a_failed_step_is_named_and_only_its_dependants_are_skipped(workshop: Workshop) -> None:
    workshop.notebook("bad", "x = 1", "\n\n# the division\nx / 0", "print('never')")
    workshop.notebook("good", "print('here')")
    workshop.pipeline(
        {"name": "bad", "notebook": "bad"},
        {"name": "good", "notebook": "good"},
        {"name": "behind", "notebook": "good", "needs": ["bad"]},
        {"name": "further", "notebook": "good", "needs": ["behind", "good"]},
    )
    run = workshop.run()
    assert run.status == "failed"
    assert statuses(run) == {"bad": "failed", "good": "succeeded", "behind": "skipped", "further": "skipped"}
    error = run.step("bad").error
    assert error is not None
    assert error.cell is not None
    # Cells 1 and 2 are the parameters and those that were given; the number is the one in the notebook's brackets.
    assert (error.cell.number, error.cell.line) == (4, "# the division")
    assert (error.name, error.message) == ("ZeroDivisionError", "division by zero")
    assert error.notebook is not None
    executed = nbformat.read(error.notebook, as_version=4)
    assert [cell.execution_count for cell in executed.cells] == [1, 2, 3, 4, None]
    report = run.step("bad").report
    assert report is not None
    assert "ZeroDivisionError" in report.read_text()


def test_a_step_that_finds_nothing_of_its_kind_has_not_failed(workshop: Workshop) -> None:
    workshop.notebook("none", "from neonblue_lab.errors import NothingToDo\nraise NothingToDo('No users in it.')", "1")
    workshop.notebook("good", "print('here')")
    workshop.pipeline(
        {"name": "none", "notebook": "none"},
        {"name": "good", "notebook": "good"},
        {"name": "behind", "notebook": "good", "needs": ["none", "good"]},
    )
    run = workshop.run()
    assert run.status == "succeeded"
    assert statuses(run) == {"none": "nothing_to_do", "good": "succeeded", "behind": "nothing_to_do"}
    step = run.step("none")
    assert step.error is not None
    assert (step.error.name, step.error.message) == ("NothingToDo", "No users in it.")
    assert step.report is not None
    assert "No users in it." in step.report.read_text()


def test_every_way_to_leave_cells_unrun_is_a_failure(workshop: Workshop) -> None:
    workshop.notebook("leaves", "import sys", "sys.exit(0)", "print('never')", "print('never either')")
    workshop.notebook("ends", "raise SystemExit")
    workshop.notebook("dies", "import os, signal", "os.kill(os.getpid(), signal.SIGKILL)", "print('never')")
    workshop.notebook("lingers", "import time", "time.sleep(600)", "print('never')")
    workshop.notebook("passes_over", "x = 1")
    notebook = nbformat.read(workshop.notebooks / "passes_over.ipynb", as_version=4)
    notebook.cells[1].metadata["tags"] = ["skip-execution"]
    notebook.cells.append(new_code_cell("  "))
    nbformat.write(notebook, workshop.notebooks / "passes_over.ipynb")
    names = ("lingers", "leaves", "ends", "dies", "passes_over")
    workshop.pipeline(*({"name": name, "notebook": name, "timeout": 5 if name == "lingers" else 60} for name in names))
    run = workshop.run()
    assert statuses(run) == {**dict.fromkeys(names, "failed"), "passes_over": "succeeded"}
    errors = {step.name: step.error for step in run.steps if step.error}
    assert {name: error.name for name, error in errors.items()} == {
        "leaves": "Incomplete",
        "ends": "Incomplete",
        "dies": "DeadKernelError",
        "lingers": "Timeout",
    }
    assert {name: error.cell and error.cell.line for name, error in errors.items()} == {
        "leaves": "sys.exit(0)",
        "ends": "raise SystemExit",
        "dies": "os.kill(os.getpid(), signal.SIGKILL)",
        "lingers": "time.sleep(600)",
    }
    assert "2 more cells unrun" in errors["leaves"].message
    assert "SIGKILL" in errors["dies"].message
    assert "5 seconds" in errors["lingers"].message
    assert all(step.notebook and step.notebook.exists() and step.report for step in run.steps)


def test_independent_steps_run_at_the_same_time(workshop: Workshop) -> None:
    # Each waits for the other's sign: one after the other, both would fail.
    meet = "\n".join(
        [
            "import pathlib, time",
            "signs = pathlib.Path(home)",
            "(signs / mine).touch()",
            "end = time.monotonic() + 30",
            "while not (signs / other).exists():",
            "    assert time.monotonic() < end",
            "    time.sleep(0.02)",
        ]
    )
    workshop.notebook("meet", meet, parameters='home: str = ""\nmine: str = ""\nother: str = ""')
    workshop.pipeline(
        {"name": "a", "notebook": "meet", "parameters": {"mine": "a", "other": "b"}},
        {"name": "b", "notebook": "meet", "parameters": {"mine": "b", "other": "a"}},
    )
    assert workshop.run().status == "succeeded"


@pytest.fixture
def unchanging_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone may edit the package while the tests run; runs that are to be equal then look at a folder apart."""
    monkeypatch.setattr(neonblue_lab, "__file__", str(tmp_path / "package" / "__init__.py"))


def gated(workshop: Workshop) -> None:
    workshop.notebook("gate", RECORD, "record(data_version=version)", parameters="version: int = 1")
    broken = "if broken:\n    raise ValueError(broken)"
    workshop.notebook("work", broken, parameters='home: str = ""\nbroken: str = ""')
    workshop.settings.home.mkdir()
    (workshop.settings.home / "metrics.yaml").write_text("")
    steps = {"name": "gate", "notebook": "gate"}, {"name": "work", "notebook": "work", "needs": ["gate"]}
    workshop.pipeline(*steps, gate="gate")


@pytest.mark.usefixtures("unchanging_package")
def test_without_new_data_there_is_nothing_to_do_unless_the_last_attempt_failed(workshop: Workshop) -> None:
    gated(workshop)
    first = workshop.run()
    assert (first.status, first.data_versions) == ("succeeded", {"gate": 1})
    again = workshop.run()
    assert again.status == "nothing_to_do"
    assert statuses(again) == {"gate": "succeeded", "work": "nothing_to_do"}
    assert again.note is not None
    assert first.run_id in again.note
    assert workshop.run(force=True).status == "succeeded"
    assert workshop.run(overrides={"work": {"broken": "on purpose"}}).status == "failed"
    assert workshop.run().status == "succeeded"


def test_a_gate_that_records_no_version_is_a_failure(workshop: Workshop) -> None:
    gated(workshop)
    workshop.notebook("gate", "x = 1")
    run = workshop.run()
    assert statuses(run) == {"gate": "failed", "work": "skipped"}
    error = run.step("gate").error
    assert error is not None
    assert "data_version" in error.message


def test_nothing_has_run_when_a_parameter_does_not_fit(workshop: Workshop) -> None:
    gated(workshop)
    with pytest.raises(BadInput, match=r"-p work.brken: there is no parameter"):
        workshop.run(overrides={"work": {"brken": "x"}})
    assert not workshop.settings.runs.exists()


def test_an_error_in_the_callers_own_code_ends_the_run_in_order(workshop: Workshop) -> None:
    workshop.notebook("lingers", "import time", "time.sleep(600)")
    workshop.pipeline(
        {"name": "lingers", "notebook": "lingers"}, {"name": "after", "notebook": "lingers", "needs": ["lingers"]}
    )

    def complain(progress: Progress) -> None:
        if progress.cell == 4:
            raise OSError("the terminal is gone")

    begun = time.monotonic()
    with pytest.raises(OSError, match="the terminal is gone"):
        workshop.run(on_progress=complain)
    assert time.monotonic() - begun < 30
    [run] = load_runs(workshop.settings)
    assert run.status == "interrupted"
    assert statuses(run) == {"lingers": "interrupted", "after": "skipped"}
    assert run.note is not None
    assert "the terminal is gone" in run.note
    assert run.finished_at is not None


def test_a_run_may_be_started_from_another_thread(workshop: Workshop) -> None:
    workshop.notebook("good", "print('here')")
    workshop.pipeline({"name": "good", "notebook": "good"})
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(workshop.run).result().status == "succeeded"
