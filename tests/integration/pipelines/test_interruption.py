"""However a run's process is ended, no kernel is left behind and the history says what happened."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from neonblue_lab.pipelines.runs import RunResult, load_runs
from neonblue_lab.settings import Settings

PIPELINE = """\
name: p
description: one step that lingers, and one behind it
steps:
  - {name: lingers, notebook: lingers}
  - {name: behind, notebook: lingers, needs: [lingers]}
"""
PROGRAM = """\
import signal, sys
from pathlib import Path
from neonblue_lab.pipelines.runner import run_pipeline
from neonblue_lab.settings import Settings
signal.signal(signal.SIGINT, signal.default_int_handler)  # A test run in the background would leave it ignored.
folder = Path(sys.argv[1])
run_pipeline(Settings(folder / "home"), "p", pipelines=folder, notebooks=folder)
"""
STUBBORN = """\
import os, pathlib, subprocess, time
child = subprocess.Popen(["sleep", "600"])
pathlib.Path(home, "pids.part").write_text(f"{os.getpid()} {child.pid}")
pathlib.Path(home, "pids.part").rename(pathlib.Path(home, "pids"))
time.sleep(600)
"""


def wait_until(what: str, seconds: float, done: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_kernel_outlives_its_run(tmp_path: Path, number: signal.Signals) -> None:
    cells = [new_code_cell('home: str = ""', metadata={"tags": ["parameters"]}), new_code_cell(STUBBORN)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "lingers.ipynb")
    (tmp_path / "p.yaml").write_text(PIPELINE)
    settings = Settings(tmp_path / "home")
    with TemporaryDirectory(prefix="nb-") as private:  # What a killed run leaves there goes with it.
        command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
        runner = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": private})
        end(runner, number, settings)

    run = history(settings)
    assert run.status == "interrupted"
    assert [step.status for step in run.steps] == ["interrupted", "skipped"]
    assert run.note is not None
    if number == signal.SIGKILL:
        return
    assert number.name in run.note
    assert runner.returncode == -number
    assert "interrupted" in run.index.read_text()
    notebook = run.step("lingers").notebook
    assert notebook is not None
    executed = nbformat.read(notebook, as_version=4)
    assert executed.cells[0].execution_count == 1


def end(runner: "subprocess.Popen[bytes]", number: signal.Signals, settings: Settings) -> None:
    """Send the signal once the notebook works, and wait until neither runner nor kernel is there any more."""
    pids = settings.home / "pids"
    try:
        wait_until("the kernel works", 60, pids.exists)
        kernel, child = map(int, pids.read_text().split())
        assert is_running(kernel)
        assert history(settings).status == "running"
        os.kill(runner.pid, number)
        runner.wait(30)
        wait_until("the kernel is gone", 10, lambda: not is_running(kernel))
        if number != signal.SIGKILL:
            assert not is_running(child)
    finally:
        runner.kill()
        runner.communicate()
        if pids.exists():
            end_group(int(pids.read_text().split()[0]))


def history(settings: Settings) -> RunResult:
    [run] = load_runs(settings)
    return run


def end_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
