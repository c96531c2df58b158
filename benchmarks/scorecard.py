"""How long does the scorecard of 4,873 real experiments take, against peers that only compute its comparisons?

The headline tests of Upworthy lie in a lake, imported once. Ours is timed in a process that has the lab open, and as a
command, its start and its JSON included. The peers get every arm's numbers ready in memory: tea-tasting, one experiment after
the other, and plain arithmetic on arrays.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import tea_tasting as tt
from scipy.special import ndtr, ndtri
from tea_tasting.aggr import Aggregates
from timing import dataset, interleaved, print_table, seconds

from neonblue_lab import Lab
from neonblue_lab.events.importers import IMPORTERS
from neonblue_lab.stats import two_proportions
from neonblue_lab.topics.archive import write_archive

NEONBLUE = Path(sys.executable).with_name("neonblue")
METRIC = "click_rate"
SEED = 1
REPEATS = 100
"""Of the arithmetic in a run: once is over too soon for a busy machine to disturb it as it disturbs the others."""


def fill(home: Path, file: Path) -> None:
    """Import the tests and replay them into the lake of a new data folder."""
    write_archive(home / "topics", IMPORTERS["upworthy"].batches(file))
    Lab.open(home).replay()


def command(home: Path) -> None:
    """Run the command, and throw its JSON away."""
    subprocess.run([NEONBLUE, "scorecard", "--json", "--home", home], stdout=subprocess.DEVNULL, check=True)


def aggregates(rows: pl.DataFrame) -> list[dict[object, Aggregates]]:
    """Each experiment's arms as tea-tasting takes them, the control under 0 and the variants in the order of `rows` from 1."""

    def arm(n: int, mean: float) -> Aggregates:
        return Aggregates(n, {METRIC: mean}, {METRIC: mean * (1 - mean)})

    return [
        {0: arm(*of_one.select("n_control", "mean_control").row(0))}
        | {i: arm(*pair) for i, pair in enumerate(of_one.select("n_variant", "mean_variant").iter_rows(), 1)}
        for of_one in rows.partition_by("experiment_id", maintain_order=True)
    ]


def one_by_one(experiments: list[dict[object, Aggregates]]) -> list[float]:
    """The p-values of all variants against their controls by tea-tasting."""
    experiment = tt.Experiment({METRIC: tt.Mean(METRIC)})
    results = (experiment.analyze(arms, control=0, all_variants=True) for arms in experiments)
    return [result[METRIC].pvalue for of_one in results for result in of_one.values()]


def arithmetic(n0: np.ndarray, p0: np.ndarray, n1: np.ndarray, p1: np.ndarray) -> tuple[np.ndarray, ...]:
    """Two-proportion z-tests with intervals of the difference and, on the log scale, of the lift."""
    with np.errstate(divide="ignore", invalid="ignore"):
        difference, quantile = p1 - p0, ndtri(0.975)
        variance0, variance1 = p0 * (1 - p0) / n0, p1 * (1 - p1) / n1
        half = np.sqrt(variance0 + variance1)
        ratio, log_half = np.log(p1 / p0), quantile * np.sqrt(variance0 / p0**2 + variance1 / p1**2)
        p_value = 2 * ndtr(-np.abs(difference / half))
    half *= quantile
    return p_value, difference - half, difference + half, np.expm1(ratio - log_half), np.expm1(ratio + log_half)


def duration(took: float) -> str:
    """Seconds, or milliseconds below one second, in two or three digits."""
    return f"{took:.3g} s" if took >= 1 else f"{1e3 * took:.3g} ms"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", type=int, default=300, help="experiments for tea-tasting (default: %(default)s)")
    parser.add_argument(
        "--runs", type=int, default=5, help="of each, interleaved; medians count (default: %(default)s)"
    )
    options = parser.parse_args()
    if options.sample < 1 or options.runs < 1:
        parser.error("--sample and --runs must be at least 1")
    file = dataset("upworthy_exploratory.parquet")
    with TemporaryDirectory() as folder:
        home = Path(folder)
        fill(home, file)
        lab = Lab.open(home)
        card = lab.experiments.scorecard()
        ids = card.rows["experiment_id"].unique(maintain_order=True)
        chosen = ids.sample(min(options.sample, ids.len()), seed=SEED)
        sample = card.rows.filter(pl.col("experiment_id").is_in(chosen.implode()))
        arms = aggregates(sample)
        columns = ("n_control", "mean_control", "n_variant", "mean_variant")
        arrays = [card.rows[name].to_numpy().astype(float) for name in columns]
        n_control, mean_control, n_variant, mean_variant = arrays
        successes = [np.round(n_control * mean_control), np.round(n_variant * mean_variant)]
        all_runs = interleaved(
            options.runs,
            lambda: seconds(lab.experiments.scorecard),
            lambda: seconds(lambda: command(home)),
            lambda: seconds(lambda: one_by_one(arms)),
            lambda: seconds(lambda: [arithmetic(*arrays) for _ in range(REPEATS)]) / REPEATS,
            lambda: (
                seconds(
                    lambda: [two_proportions(n_control, successes[0], n_variant, successes[1]) for _ in range(REPEATS)]
                )
                / REPEATS
            ),
        )
    opened, commanded, of_sample, bare, tested = map(median, all_runs)
    peer = of_sample * card.rows.height / sample.height
    gap = np.nanmax(np.abs(np.array(one_by_one(arms)) - sample["p_value"].to_numpy()))
    rows = [
        ("`two_proportions`, from arrays", tested, "tea-tasting in a loop", peer),
        ("scorecard, lab open", opened, "tea-tasting in a loop", peer),
        ("`neonblue scorecard --json`", commanded, "tea-tasting in a loop", peer),
        ("scorecard, lab open", opened, "z-tests on arrays", bare),
    ]
    print_table(
        ["ours", "its time", "peer", "peer's time", "peer / ours"],
        [
            [ours, duration(a), name, duration(b), f"{b / a:,.0f}" if b > 10 * a else f"{b / a:.2g}"]
            for ours, a, name, b in rows
        ],
    )
    print(
        f"{card.experiments:,} experiments, {card.rows.height:,} comparisons. tea-tasting was timed on {len(arms):,} of the "
        f"experiments ({sample.height:,} comparisons) and scaled by the comparisons; p-values differ by at most {gap:.0e}."
    )


if __name__ == "__main__":
    main()
