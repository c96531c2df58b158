"""The history of runs: one folder per run with a `run.json` that is complete and readable at any moment."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from neonblue_lab.artifacts import GitState
from neonblue_lab.files import exclusive, replace_file
from neonblue_lab.settings import Settings

StepStatus = Literal["pending", "running", "succeeded", "failed", "skipped", "nothing_to_do", "interrupted"]
RunStatus = Literal["running", "succeeded", "failed", "nothing_to_do", "interrupted"]

DATA_VERSION = "data_version"
"""The recorded value that names the data a step has read: equal values mean equal data."""
RUN_FILE = "run.json"
INDEX_FILE = "index.html"
_LOCK = ".lock"
_ID_FORMAT = "%Y%m%dT%H%M%S.%fZ"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FailedCell(_Frozen):
    """A code cell: its number as the executed notebook shows it in brackets, and its first line of source."""

    number: int
    line: str


class StepError(_Frozen):
    """Why a step failed, or had nothing to do (`NothingToDo`).

    Attributes:
        cell: where; None when no cell had started.
        name: the exception's name; Timeout, DeadKernelError, Incomplete (a cell was left unrun) or Interrupted.
        message: what it said.
        notebook: the notebook as far as it came, to open and look; None when there is none.
    """

    cell: FailedCell | None
    name: str
    message: str
    notebook: Path | None


class StepResult(_Frozen):
    """What became of a step.

    Attributes:
        notebook, report: the executed notebook and its HTML page.
        seconds: from the start of its kernel to its end.
        recorded: what the notebook recorded, by name.
    """

    name: str
    status: StepStatus
    notebook: Path | None = None
    report: Path | None = None
    seconds: float | None = None
    recorded: dict[str, JsonValue] = {}
    error: StepError | None = None


class Inputs(_Frozen):
    """All that decides what a run computes from given data; equal inputs and equal data give equal results.

    Attributes:
        parameters: step -> parameter -> value, defaults and seeds included.
        notebooks: step -> SHA-256 of its notebook.
        code: SHA-256 over the package's source files.
        metric_definitions: SHA-256 of `metrics.yaml`; null where there is none.
        python, platform, libraries: the interpreter, and every installed distribution -> version.
    """

    parameters: dict[str, dict[str, JsonValue]]
    notebooks: dict[str, str]
    code: str
    metric_definitions: str | None
    python: str
    platform: str
    libraries: dict[str, str]


class RunResult(_Frozen):
    """One run of a pipeline: what `run.json` holds and `neonblue run --json` prints.

    Attributes:
        run_id: starts with the UTC time, so that names sort by time.
        pipeline: name; empty when a run died before it could write.
        note: a sentence where the status alone does not say enough.
        steps: in the order of the pipeline's file.
        data_versions: step -> the `data_version` that it recorded.
        inputs, git: what is needed to repeat the run; null when a run died before it could write.
        index: the page with all runs.
    """

    run_id: str
    pipeline: str
    status: RunStatus
    note: str | None = None
    started_at: datetime
    finished_at: datetime | None = None
    steps: tuple[StepResult, ...] = ()
    data_versions: dict[str, JsonValue] = {}
    inputs: Inputs | None = None
    git: GitState | None = None
    index: Path

    def step(self, name: str) -> StepResult:
        """Return the step called `name`."""
        return next(step for step in self.steps if step.name == name)

    def with_step(self, changed: StepResult) -> "RunResult":
        """Return a copy in which the step of this name is `changed`."""
        steps = tuple(changed if step.name == changed.name else step for step in self.steps)
        return self.model_copy(update={"steps": steps})


def new_run_id(now: datetime) -> str:
    """Return an id that sorts by time and that no other run has: UTC time and four random bytes."""
    return f"{now.astimezone(UTC).strftime(_ID_FORMAT)}-{secrets.token_hex(4)}"


@contextmanager
def alive(folder: Path) -> Iterator[None]:
    """Make a run's folder and show, for as long as this process lives in the block, that the run is alive."""
    folder.mkdir(parents=True)
    with exclusive(folder / _LOCK):
        yield


def save_run(run: RunResult, folder: Path) -> None:
    """Write `run.json` in one step: a reader finds the old state or the new one, whole."""
    replace_file(folder / RUN_FILE, run.model_dump_json(indent=2).encode())


def load_runs(settings: Settings) -> list[RunResult]:
    """All runs of a data folder, newest first.

    A run whose process died, or whose `run.json` is missing or cannot be read, has the status "interrupted" and a note.
    """
    found = [_load(folder) for folder in _folders(settings.runs)]
    return sorted(found, key=lambda run: (run.started_at, run.run_id), reverse=True)


def _folders(runs: Path) -> list[Path]:
    return [folder for folder in runs.iterdir() if _started(folder) is not None] if runs.is_dir() else []


def _started(folder: Path) -> datetime | None:
    """The time in a run folder's name; None when the folder is no run's."""
    try:
        return datetime.strptime(folder.name.partition("-")[0], _ID_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def _load(folder: Path) -> RunResult:
    living = _is_alive(folder)
    try:
        run = RunResult.model_validate_json((folder / RUN_FILE).read_bytes())
    except FileNotFoundError:
        return _unreadable(folder, "it ended before it had written anything", living)
    except ValidationError as error:
        return _unreadable(folder, f"its {RUN_FILE} cannot be read ({error.error_count()} errors)", living)
    return _moved(run if living or run.status != "running" else died(run, "its process ended without a word"), folder)


def died(run: RunResult, how: str) -> RunResult:
    """Return a running run as interrupted: the steps at work with it, those that waited skipped."""
    ended: dict[StepStatus, StepStatus] = {"running": "interrupted", "pending": "skipped"}
    steps = tuple(step.model_copy(update={"status": ended.get(step.status, step.status)}) for step in run.steps)
    return run.model_copy(update={"status": "interrupted", "note": f"The run was interrupted: {how}.", "steps": steps})


def _unreadable(folder: Path, why: str, living: bool) -> RunResult:
    started = _started(folder)
    assert started is not None, "only folders with a time in their name are looked at"
    return RunResult(
        run_id=folder.name,
        pipeline="",
        status="running" if living else "interrupted",
        note=None if living else f"The run was interrupted: {why}.",
        started_at=started,
        index=folder.parent / INDEX_FILE,
    )


def _moved(run: RunResult, folder: Path) -> RunResult:
    """The run with its files where the folder lies now, wherever it lay when it ran."""

    def here(file: Path | None) -> Path | None:
        return folder / file.name if file else None

    steps = []
    for step in run.steps:
        error = step.error and step.error.model_copy(update={"notebook": here(step.error.notebook)})
        files = {"notebook": here(step.notebook), "report": here(step.report), "error": error}
        steps.append(step.model_copy(update=files))
    return run.model_copy(update={"steps": tuple(steps), "index": folder.parent / INDEX_FILE})


def _is_alive(folder: Path) -> bool:
    """Whether a living process holds the folder's lock; the system lets go of it however a process ends."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
