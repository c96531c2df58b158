"""One notebook, executed: papermill runs it in a kernel of its own, and every cell must have completed."""

import logging
import math
import re
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import papermill
from jupyter_core.utils import ensure_event_loop
from nbclient.exceptions import CellTimeoutError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from papermill.execute import remove_error_markers

from neonblue_lab.pipelines.kernel import KernelLaunch, Kernels
from neonblue_lab.pipelines.runs import FailedCell, StepError
from neonblue_lab.settings import RECORD_MIME

START_SECONDS = 60
"""How long a kernel may take to answer for the first time."""
OUTPUT_SECONDS = 30
"""How long a cell's last outputs may follow its end."""

_INTERRUPTED = ("Interrupted", "the run was interrupted before this cell was done.")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

# What goes wrong is told by the step's error; without a handler the libraries would also print it on stderr.
logging.getLogger("papermill").addHandler(logging.NullHandler())


class Stopped(Exception):
    """The run is being interrupted: no further cell is to start."""


@dataclass(frozen=True)
class Executed:
    """A notebook with its outputs, complete or as far as it came; None where not even a kernel started.

    `error` says why it did not complete; which file it will be is not its to know.
    """

    notebook: NotebookNode | None
    error: StepError | None


def execute(
    notebook: NotebookNode,
    parameters: Mapping[str, Any],
    *,
    launch: KernelLaunch,
    kernels: Kernels,
    timeout: float,
    on_cell: Callable[[int, int], None],
) -> Executed:
    """Run a notebook from its first cell to its last; to be called in a thread that has no event loop of its own.

    Args:
        notebook: with a cell tagged `parameters`.
        parameters: values that replace its defaults.
        launch: where its kernel starts.
        kernels: where the kernel is held as long as it runs.
        timeout: seconds for the whole notebook.
        on_cell: called with the number of a code cell that starts, and the number of code cells.
    """
    deadline = time.monotonic() + timeout
    seen: list[NotebookNode] = []
    started: list[int] = []

    def notebook_starts(notebook: NotebookNode) -> None:
        seen.append(notebook)

    def cell_starts(cell: NotebookNode, cell_index: int) -> None:
        if kernels.stopping.is_set():
            raise Stopped
        started.append(cell_index)
        numbers = [index for index, each in enumerate(seen[0].cells) if _runs(each)]
        on_cell(numbers.index(cell_index) + 1, len(numbers))

    def remaining(cell: NotebookNode) -> int:
        # nbclient counts a cell's time in whole seconds, and takes 0 for "for ever".
        return max(1, math.ceil(deadline - time.monotonic()))

    failure: tuple[str, str] | None = None
    # nbclient's event loop of this thread would stay open until some garbage collection.
    with closing(ensure_event_loop()), kernels.holding(launch):
        try:
            papermill.execute_notebook(
                notebook,
                None,  # papermill would change the process's working directory to write.
                dict(parameters),
                kernel_name="python3",
                language="python",
                progress_bar=False,
                start_timeout=START_SECONDS,
                kernel_manager_class=launch.manager(),
                timeout_func=remaining,
                iopub_timeout=OUTPUT_SECONDS,
                skip_cells_with_tag="",
                on_notebook_start=notebook_starts,
                on_cell_execute=cell_starts,
            )
        except PapermillExecutionError as error:
            failure = error.ename, _ANSI.sub("", error.evalue)
        except CellTimeoutError as error:
            late = time.monotonic() >= deadline
            step = f"the step took longer than its {timeout:g} seconds and was stopped in this cell."
            failure = "Timeout", step if late else f"the outputs of this cell did not arrive: {error}"
        except Stopped:
            failure = _INTERRUPTED
        except RuntimeError as error:  # DeadKernelError, and a kernel that does not start.
            if launch.process is None:
                raise
            failure = type(error).__name__, _death(launch, str(error))
    if failure is not None and kernels.stopping.is_set():
        failure = _INTERRUPTED  # Whatever form it took: a KeyboardInterrupt, a kernel that was killed.
    executed = remove_error_markers(seen[0]) if seen else None
    if executed is not None:
        del executed.metadata["papermill"]["input_path"]  # papermill puts the whole notebook here.
    return Executed(executed, _judge(executed, failure, started))


def recorded_values(notebook: NotebookNode) -> dict[str, Any]:
    """Everything that the notebook recorded (outputs of type RECORD_MIME), by name; later values replace earlier."""
    values: dict[str, Any] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            values |= output.get("data", {}).get(RECORD_MIME, {})
    return values


def cell_number(notebook: NotebookNode, index: int) -> int:
    """The number of a code cell among the code cells that run, from 1: what the executed notebook shows as [n]."""
    return sum(_runs(cell) for cell in notebook.cells[: index + 1])


def _judge(notebook: NotebookNode | None, failure: tuple[str, str] | None, started: list[int]) -> StepError | None:
    if notebook is None:
        return _error(*(failure or ("NotStarted", "the notebook did not start.")), cell=None)
    if failure is not None:
        return _error(*failure, cell=_place(notebook, started[-1]) if started else None)
    # `sys.exit()` ends a notebook without an error and leaves the cells after it unrun.
    open_cells = [index for index, cell in enumerate(notebook.cells) if _runs(cell) and not _completed(cell)]
    if not open_cells:
        return None
    ended = _place(notebook, open_cells[0])
    left = f" and left {len(open_cells) - 1} more cells unrun" if len(open_cells) > 1 else ""
    return _error("Incomplete", f"the notebook ended in this cell{left}; every cell must complete.", ended)


def _error(name: str, message: str, cell: FailedCell | None) -> StepError:
    return StepError(cell=cell, name=name, message=message, notebook=None)


def _runs(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


def _completed(cell: NotebookNode) -> bool:
    return cell.execution_count is not None and all(output.output_type != "error" for output in cell.outputs)


def _place(notebook: NotebookNode, index: int) -> FailedCell:
    first = next(line for line in notebook.cells[index].source.splitlines() if line.strip())
    return FailedCell(number=cell_number(notebook, index), line=first.strip())


def _death(launch: KernelLaunch, reason: str) -> str:
    code = launch.process.poll() if launch.process else None
    how = f"with exit code {code}" if code is None or code >= 0 else f"by {signal.Signals(-code).name}"
    if code == -signal.SIGKILL:
        how += ", as a system out of memory does"
    log = [line for line in launch.log.read_text(errors="replace").splitlines() if line.strip()]
    return f"the kernel ended {how} ({reason})." + (f" Its last words: {log[-1].strip()}" if log else "")
