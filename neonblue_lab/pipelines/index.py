"""The page with all runs: what ran when, what came out, and where its reports and notebooks are."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from neonblue_lab.files import exclusive, replace_file
from neonblue_lab.pipelines.pages import render
from neonblue_lab.pipelines.runs import INDEX_FILE, RunResult, load_runs
from neonblue_lab.settings import Settings

_RECENT = 40
_LOWEST = 12.0


@dataclass(frozen=True)
class PipelineHistory:
    """The runs of one pipeline, newest first."""

    name: str
    runs: list[RunResult]

    @property
    def latest(self) -> RunResult:
        return self.runs[0]

    @property
    def recent(self) -> list[RunResult]:
        """The last runs, oldest first."""
        return self.runs[:_RECENT][::-1]

    @property
    def good(self) -> int:
        """Number of runs that ended as a run should."""
        return sum(run.status in ("succeeded", "nothing_to_do") for run in self.runs)

    def height(self, run: RunResult) -> float:
        """Height of a run's bar in percent: its duration beside that of the longest recent run."""
        longest = max(_seconds(each) for each in self.recent)
        return round(_LOWEST + (100 - _LOWEST) * (_seconds(run) / longest if longest else 0), 1)


def write_index(settings: Settings) -> None:
    """Write `runs/index.html` anew from the `run.json` files there are."""
    with exclusive(settings.runs / ".index.lock"):
        page = render_index(load_runs(settings), home=str(settings.home), now=datetime.now(UTC))
        replace_file(settings.runs / INDEX_FILE, page.encode())


def render_index(runs: list[RunResult], *, home: str, now: datetime) -> str:
    """Return the page for `runs`, newest first; it loads nothing from anywhere."""
    named = sorted((run for run in runs if run.pipeline), key=lambda run: run.pipeline)
    pipelines = [PipelineHistory(name, list(group)) for name, group in groupby(named, key=lambda run: run.pipeline)]
    return render("index.html.j2", runs=runs, pipelines=pipelines, home=home, now=now)


def _seconds(run: RunResult) -> float:
    return (run.finished_at - run.started_at).total_seconds() if run.finished_at else 0.0
