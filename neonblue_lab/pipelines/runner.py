"""Run a pipeline: steps in the order of their needs, every state of the run on disk, no kernel left behind.

Steps run in threads, two at a time. A kernel is a process of its own already, so a further process per step isolates
nothing more and costs the import of papermill once per step.
"""

import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import NamedTuple

import nbformat

from neonblue_lab.artifacts.provenance import git_state
from neonblue_lab.errors import NothingToDo
from neonblue_lab.files import replace_file
from neonblue_lab.pipelines.definition import Pipeline, load_pipeline, pipeline_file
from neonblue_lab.pipelines.index import write_index
from neonblue_lab.pipelines.inputs import gather_inputs
from neonblue_lab.pipelines.kernel import GRACE_SECONDS, KernelLaunch, Kernels
from neonblue_lab.pipelines.plan import PlannedStep, plan
from neonblue_lab.pipelines.report import render_report
from neonblue_lab.pipelines.runs import (
    DATA_VERSION,
    INDEX_FILE,
    RunResult,
    RunStatus,
    StepError,
    StepResult,
    StepStatus,
    alive,
    died,
    load_runs,
    new_run_id,
    save_run,
)
from neonblue_lab.pipelines.signals import Signalled, ending_signals_raise
from neonblue_lab.pipelines.step import execute, recorded_values
from neonblue_lab.settings import CHECKOUT, Settings

CONCURRENT_STEPS = 2


class Progress(NamedTuple):
    """A step has come to `status`; while it runs, `cell` of `cells` code cells has just started."""

    step: str
    status: StepStatus
    cell: int = 0
    cells: int = 0


def run_pipeline(
    settings: Settings,
    name: str,
    *,
    overrides: Mapping[str, Mapping[str, str]] | None = None,
    force: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    pipelines: Path | None = None,
    notebooks: Path | None = None,
) -> RunResult:
    """Run the pipeline called `name` and return what became of it; a failed step is a result, not an exception.

    The run leaves `runs/<run_id>/` in the data folder, with an executed notebook and a report for each step and
    `run.json`, and renews `runs/index.html`. Notebooks run in the folder that they lie in, as in JupyterLab.

    Args:
        settings: the data folder.
        name: file name of the pipeline without `.yaml`.
        overrides: step -> parameter -> text, which replace values of the pipeline's file.
        force: run all steps even where the gate finds nothing new.
        on_progress: called in the calling thread whenever a step or a cell starts or a step ends.
        pipelines, notebooks: their folders, where not the checkout's.

    Raises:
        NotFound: there is no such pipeline.
        BadInput: the pipeline, its notebooks or its parameters do not fit; nothing has run, and there is no run.
    """
    notebooks = notebooks or settings.notebooks
    pipeline = load_pipeline(pipeline_file(pipelines or settings.pipelines, name), notebooks=notebooks)
    planned = plan(pipeline, notebooks=notebooks, home=settings.home, overrides=overrides or {})
    started_at = datetime.now(UTC)
    run = RunResult(
        run_id=new_run_id(started_at),
        pipeline=pipeline.name,
        status="running",
        started_at=started_at,
        steps=tuple(StepResult(name=step.name, status="pending") for step in pipeline.steps),
        inputs=gather_inputs(planned, settings),
        git=git_state(CHECKOUT),
        index=settings.runs / INDEX_FILE,
    )
    before = None if force else _last_at_work(settings, pipeline.name)
    conductor = _Conductor(settings, pipeline, planned, notebooks, run, before, on_progress or (lambda progress: None))
    signalled = None
    with alive(conductor.folder), ending_signals_raise():
        try:
            conductor.conduct()
        except Signalled as stop:
            signalled = stop.number
    if signalled is not None:
        signal.raise_signal(signalled)
    return conductor.run


def _last_at_work(settings: Settings, pipeline: str) -> RunResult | None:
    """The newest run of a pipeline that did not find that there was nothing to do."""
    runs = (run for run in load_runs(settings) if run.pipeline == pipeline and run.status != "nothing_to_do")
    return next(runs, None)


class _Conductor:
    """One run: starts what is ready, takes what has ended, and writes down each change. Only `_work` is in threads."""

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        planned: Mapping[str, PlannedStep],
        notebooks: Path,
        run: RunResult,
        before: RunResult | None,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.settings = settings
        self.pipeline = pipeline
        self.planned = planned
        self.notebooks = notebooks
        self.run = run
        self.before = before
        self.on_progress = on_progress
        self.folder = settings.runs / run.run_id
        self.kernels = Kernels()
        self.nothing_new = False
        self.working: dict[str, Future[StepResult]] = {}
        self.events: SimpleQueue[Progress | str] = SimpleQueue()

    def conduct(self) -> None:
        save_run(self.run, self.folder)
        write_index(self.settings)
        with ThreadPoolExecutor(CONCURRENT_STEPS, thread_name_prefix="step") as pool:
            try:
                self._start_ready(pool)
                while self.working:
                    event = self.events.get()
                    if isinstance(event, Progress):
                        self.on_progress(event)
                    else:
                        self._take(self.working.pop(event).result())
                        self._start_ready(pool)
            except BaseException as error:
                self._abandon(error)
                raise
        self._finish()

    def _start_ready(self, pool: ThreadPoolExecutor) -> None:
        """Start steps whose needs have succeeded, and pass over those whose needs cannot any more, or had nothing to do."""
        for step in self.pipeline.ordered():
            if self.run.step(step.name).status != "pending":
                continue
            needs = {self.run.step(needed).status for needed in step.needs}
            if needs & {"failed", "skipped"}:
                self._change(step.name, "skipped")
            elif "nothing_to_do" in needs:
                self._change(step.name, "nothing_to_do")
            elif needs <= {"succeeded"} and len(self.working) < CONCURRENT_STEPS:
                self._change(step.name, "running")
                self.working[step.name] = pool.submit(self._work, self.planned[step.name])
                self.working[step.name].add_done_callback(partial(self._done, step.name))

    def _done(self, name: str, future: Future[StepResult]) -> None:
        self.events.put(name)

    def _take(self, result: StepResult) -> None:
        """Enter the result of a step; where the gate found nothing new, the other steps are done."""
        gate = result.name == self.pipeline.gate
        if gate and result.status == "succeeded" and DATA_VERSION not in result.recorded:
            message = f"the gate must call lab.record({DATA_VERSION}=...), by which new data are told from old."
            error = StepError(cell=None, name="NotRecorded", message=message, notebook=result.notebook)
            result = result.model_copy(update={"status": "failed", "error": error})
        self._enter(result)
        if gate and result.status == "succeeded" and self._nothing_new(result):
            self.nothing_new = True
            for step in self.run.steps:
                if step.status == "pending":
                    self._change(step.name, "nothing_to_do")

    def _nothing_new(self, gate: StepResult) -> bool:
        """Whether the last run that worked succeeded on the same data with the same inputs.

        An attempt that failed in between may have left results of other data or parameters: then all is done again.
        """
        before = self.before
        if before is None or before.status != "succeeded" or before.inputs != self.run.inputs:
            return False
        return before.data_versions.get(gate.name) == gate.recorded[DATA_VERSION]

    def _change(self, name: str, status: StepStatus) -> None:
        self._enter(self.run.step(name).model_copy(update={"status": status}))

    def _enter(self, step: StepResult) -> None:
        self.run = self.run.with_step(step)
        if DATA_VERSION in step.recorded:
            versions = {**self.run.data_versions, step.name: step.recorded[DATA_VERSION]}
            self.run = self.run.model_copy(update={"data_versions": versions})
        save_run(self.run, self.folder)
        self.on_progress(Progress(step.name, step.status))

    def _finish(self) -> None:
        status: RunStatus = "failed" if "failed" in {step.status for step in self.run.steps} else "succeeded"
        note = None
        if self.nothing_new and self.before is not None:
            status = "nothing_to_do"
            note = f"The data and everything else are as in run {self.before.run_id}."
        self._close(self.run.model_copy(update={"status": status, "note": note}))

    def _abandon(self, error: BaseException) -> None:
        """End the kernels at work, keep what they did so far, and write down that the run did not end by itself."""
        self.kernels.interrupt()
        wait(self.working.values(), timeout=GRACE_SECONDS)
        self.kernels.kill()
        for future in wait(self.working.values()).done:
            if future.exception() is None:
                self.run = self.run.with_step(future.result())
        how = error.number.name if isinstance(error, Signalled) else f"{type(error).__name__}: {error}"
        self._close(died(self.run, how))

    def _close(self, run: RunResult) -> None:
        self.run = run.model_copy(update={"finished_at": datetime.now(UTC)})
        save_run(self.run, self.folder)
        write_index(self.settings)

    def _work(self, planned: PlannedStep) -> StepResult:
        """Execute one step and write its notebook and report; runs in a thread of its own."""
        begun = time.monotonic()
        name = planned.step.name

        def on_cell(cell: int, cells: int) -> None:
            self.events.put(Progress(name, "running", cell, cells))

        with TemporaryDirectory(prefix="neonblue-") as private:
            executed = execute(
                planned.notebook,
                planned.parameters,
                launch=KernelLaunch(Path(private), self.settings.home, self.notebooks),
                kernels=self.kernels,
                timeout=planned.step.timeout,
                on_cell=on_cell,
            )
        error, notebook = executed.error, executed.notebook
        status: StepStatus = "succeeded"
        if error is not None:
            ended: StepStatus = "nothing_to_do" if error.name == NothingToDo.__name__ else "failed"
            status = "interrupted" if self.kernels.stopping.is_set() else ended
        file = self.folder / f"{name}.ipynb" if notebook is not None else None
        result = StepResult(
            name=name,
            status=status,
            notebook=file,
            report=file.with_suffix(".html") if file else None,
            seconds=round(time.monotonic() - begun, 3),
            recorded=recorded_values(notebook) if notebook is not None else {},
            error=error and error.model_copy(update={"notebook": file}),
        )
        if notebook is not None and result.notebook and result.report:
            content: str = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
            replace_file(result.notebook, content.encode())
            page = render_report(notebook, run=self.run, step=result, parameters=planned.parameters)
            replace_file(result.report, page.encode())
        return result
