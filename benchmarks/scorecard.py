"""How long does the scorecard of 4,873 real experiments take, against a peer that takes them one after the other?

The headline tests of Upworthy lie in a lake, imported once. Ours is timed in a process that has them open and as a command,
its start included; the peers are tea-tasting in a loop over the same aggregates, and the bare arithmetic on arrays.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtr
from timing import dataset, interleaved, print_table, seconds

from neonblue_lab import Lab
from neonblue_lab.events.importers import IMPORTERS
from neonblue_lab.topics.archive import write_archive

NEONBLUE = Path(sys.executable).with_name("neonblue")


def fill(home: Path, file: Path) -> None:
    """Import the tests and replay them into the lake of a new data folder."""
    write_archive(home / "topics", IMPORTERS["upworthy"].batches(file))
    Lab.open(home).replay()


def command(home: Path) -> bytes:
    """The JSON document that the command prints."""
    return subprocess.run([NEONBLUE, "scorecard", "--json", "--home", home], capture_output=True, check=True).stdout


def one_by_one(experiments: list[tuple[list[Any], list[Any]]]) -> list[float]:
    """The p-values by tea-tasting, out of each experiment's control and variants."""
    import tea_tasting as tt

    experiment = tt.Experiment(click_rate=tt.Mean("clicks"))
    return [
        experiment.analyze({0: control, 1: variant}, control=0)["click_rate"].pvalue
        for controls, variants in experiments
        for control, variant in zip(controls, variants, strict=True)
    ]


def aggregates(rows: pl.DataFrame) -> list[tuple[list[Any], list[Any]]]:
    """Each experiment's arms as tea-tasting takes them; a variant's control beside it."""
    from tea_tasting.aggr import Aggregates

    def arms(frame: pl.DataFrame, arm: str) -> list[Any]:
        counted = zip(frame[f"n_{arm}"], frame[f"mean_{arm}"], strict=True)
        return [Aggregates(n, {"clicks": mean}, {"clicks": mean * (1 - mean)}) for n, mean in counted]

    return [(arms(frame, "control"), arms(frame, "variant")) for _, frame in rows.group_by("experiment_id")]
