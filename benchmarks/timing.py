"""What the benchmarks share: runs side by side, each in a process of its own where memory counts, and the printed table."""

import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

CHECKOUT = Path(__file__).resolve().parent.parent
DATASETS = Path(os.environ.get("NEONBLUE_DATASETS", CHECKOUT.parent / "shared" / "datasets"))

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One run in a process of its own: its seconds, and the megabytes that the process held at most."""

    seconds: float
    megabytes: float


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(runs: int, *subjects: Callable[[], T]) -> list[list[T]]:
    """Call all subjects in turn, `runs` times, so that a busy moment of the machine meets each of them.

    Returns:
        One list for each subject, of what its calls returned.
    """
    rounds = [[subject() for subject in subjects] for _ in range(runs)]
    return [list(of_one) for of_one in zip(*rounds, strict=True)]


def in_child(work: Callable[..., float], *arguments: object) -> Run:
    """Call `work`, a function of a module that returns its seconds, in a new process.

    A process starts with its parent's peak of memory: a parent that wants a child's holds no data itself.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as child:
        return child.submit(_run, work, arguments).result()


def _run(work: Callable[..., float], arguments: Sequence[object]) -> Run:
    took = work(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Run(took, peak / (1e6 if sys.platform == "darwin" else 1e3))


def dataset(name: str) -> Path:
    """The path of a public data set; without it the script gives up."""
    path = DATASETS / name
    if not path.exists():
        give_up(f"Data set {name} is not in {DATASETS}: set NEONBLUE_DATASETS to its folder.")
    return path


def give_up(reason: str) -> NoReturn:
    """Leave with a sentence on stderr and exit code 2."""
    print(reason, file=sys.stderr)
    sys.exit(2)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table, and the machine below it."""
    print(f"| {' | '.join(header)} |")
    print(f"|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(f"\n{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}.")
