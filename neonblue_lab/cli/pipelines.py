"""Pipelines: run one, and look back on the runs."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from neonblue_lab.cli.options import Home, Json, open_settings
from neonblue_lab.cli.output import DONE, FAILED, NOTHING_TO_DO, answer, table

if TYPE_CHECKING:
    from neonblue_lab.pipelines.runner import Progress
    from neonblue_lab.pipelines.runs import StepError, StepResult


def run(
    pipeline: Annotated[str, typer.Argument(help="Name of a file in pipelines/, without .yaml.")],
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="step.parameter=value; may be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run all steps even where nothing has changed.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> int:
    """Run a pipeline's notebooks, with reports."""
    from neonblue_lab.pipelines.parameters import parse_overrides
    from neonblue_lab.pipelines.runner import run_pipeline

    result = run_pipeline(
        open_settings(home), pipeline, overrides=parse_overrides(parameter or []), force=force, on_progress=_tell_step
    )
    rows = [[s.name, s.status, f"{s.seconds:.1f} s" if s.seconds is not None else ""] for s in result.steps]
    told = [line for s in result.steps if s.error for line in _told(s, s.error)]
    if result.status != "nothing_to_do" and (behind := [s.name for s in result.steps if _passed_over(s)]):
        told.append(f"Passed over, since a step before had nothing to do: {', '.join(behind)}.")
    text = [table(["step", "status", "time"], rows), *told, f"{result.run_id}: {result.status}"]
    answer(result.model_dump(mode="json"), as_json, "\n".join([*text, f"Reports: {result.index}"]))
    return {"succeeded": DONE, "nothing_to_do": NOTHING_TO_DO}.get(result.status, FAILED)


def runs(
    limit: Annotated[int, typer.Option(min=1, help="Number of runs, the newest first.")] = 20,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """History of pipeline runs."""
    from neonblue_lab.pipelines.index import write_index
    from neonblue_lab.pipelines.runs import load_runs

    settings = open_settings(home)
    found = load_runs(settings)[:limit]
    if found:
        write_index(settings)  # a run that was killed could not say so on the page itself
    rows = [
        [
            r.run_id,
            r.pipeline,
            r.status,
            f"{(r.finished_at - r.started_at).total_seconds():.0f} s" if r.finished_at else "",
        ]
        for r in found
    ]
    answer(
        [r.model_dump(mode="json") for r in found],
        as_json,
        table(["run", "pipeline", "status", "time"], rows) if rows else "No runs yet: `neonblue run nightly`.",
    )


def _told(step: "StepResult", error: "StepError") -> list[str]:
    if step.status == "nothing_to_do":
        return [f"{step.name} had nothing to do: {error.message}"]
    where = f" in cell [{error.cell.number}] `{error.cell.line}`" if error.cell else ""
    seen = [f"  the notebook as far as it came: {error.notebook}"] if error.notebook else []
    return [f"{step.name} failed{where}: {error.name}: {error.message}", *seen]


def _passed_over(step: "StepResult") -> bool:
    return step.status == "nothing_to_do" and step.error is None


def _tell_step(progress: "Progress") -> None:
    """One line on stderr each time a step starts."""
    if progress.status == "running" and progress.cell == 0:
        print(f"{progress.step} ...", file=sys.stderr, flush=True)
