"""A data folder as the nightly run leaves it on simulated topics: made once for all workers of a test session."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from neonblue_lab.events.simulator import simulate
from neonblue_lab.pipelines.runner import run_pipeline
from neonblue_lab.pipelines.runs import RunResult
from neonblue_lab.settings import Settings
from neonblue_lab.topics.archive import write_archive


def run_nightly(home: Path, *, experiments: int, users: int, events: int, days: int = 56) -> RunResult:
    """Write simulated topics into the new data folder `home`, and run the nightly pipeline on it."""
    simulation = simulate(experiments=experiments, users=users, events=events, seed=1, days=days)
    write_archive(home / "topics", simulation.batches())
    run = run_pipeline(Settings(home), "nightly")
    if run.status != "succeeded":
        raise RuntimeError("\n".join(f"{step.name}: {step.status} {step.error or ''}" for step in run.steps))
    return run


def nightly_home(temporary: pytest.TempPathFactory) -> Path:
    """A copy, to change at will, of the data folder that the session's first caller makes."""
    own = temporary.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    made, complete = shared / "nightly", shared / "nightly.complete"
    with (shared / "nightly.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(made, ignore_errors=True)  # What a caller left whose run failed.
            run_nightly(made, experiments=8, users=3_000, events=20_000)
            complete.touch()
    return Path(shutil.copytree(made, temporary.mktemp("home") / "data"))
