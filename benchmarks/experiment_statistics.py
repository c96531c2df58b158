"""How fast, and in how much memory, do ten million users come down to tests, to a quantile, and a whole programme to intervals?

Simulated users lie in Parquet, and as a table in a DuckDB file. Ours and tea-tasting analyse a mean, a proportion, a ratio, a
mean adjusted by CUPED, and the sample ratio, each in a process of its own that has analysed a small table before.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import duckdb
import ibis
import ibis.expr.types as ir
import numpy as np
import tea_tasting as tt
from tea_tasting.aggr import Aggregates
from timing import Run, in_child, interleaved, print_table, seconds

from neonblue_lab.metrics.statistics import joint
from neonblue_lab.metrics.user_tables import UserMetric, user_statistics
from neonblue_lab.stats.always_valid import confidence_sequence
from neonblue_lab.stats.cuped import adjusted
from neonblue_lab.stats.moments import Moments
from neonblue_lab.stats.sample_ratio import sample_ratio
from neonblue_lab.stats.two_sample import two_proportions, welch

METRICS = {
    "orders_value": UserMetric("mean", "value"),
    "paid": UserMetric("proportion", "paid"),
    "value_per_visit": UserMetric("ratio", "value", d="visits"),
    "adjusted_value": UserMetric("mean", "value", x="value_before"),
}
P90 = {"p90": UserMetric("quantile", "value", quantile=0.9)}
SMALL = 1_000
SHAPE = (10_000, 10, 30)
"""Experiments, metrics, days."""
FILES = {"Parquet": "users.parquet", "DuckDB file": "users.duckdb"}


def simulate(folder: Path, users: int) -> float:
    """Write users of one experiment as Parquet and into a DuckDB file, and a few of them as `small_...` of both: seconds."""
    return seconds(lambda: _simulate(folder, users))


def _simulate(folder: Path, users: int) -> None:
    for prefix, rows in (("", users), ("small_", SMALL)):
        with duckdb.connect(str(folder / f"{prefix}users.duckdb")) as connection:
            connection.execute("SELECT setseed(0.5)")
            connection.execute(f"""
                CREATE TABLE users AS
                SELECT i AS user_id, CASE WHEN random() < 0.5 THEN 'control' ELSE 'variant' END AS variant_id,
                    (random() < 0.1)::DOUBLE AS paid, floor(1 + 9 * random()) AS visits, before AS value_before,
                    0.5 * before - 20 * ln(1 - random()) AS value
                FROM (SELECT i, -40 * ln(1 - random()) AS before FROM range({rows}) AS r(i))""")
            connection.execute(f"COPY users TO '{folder / f'{prefix}users.parquet'}'")


def opened(folder: Path, file: str) -> ir.Table:
    """The table of users in one of FILES."""
    if file.endswith(".parquet"):
        return ibis.duckdb.connect().read_parquet(folder / file)
    return ibis.duckdb.connect(folder / file, read_only=True).table("users")


def ours(table: ir.Table) -> dict[str, float]:
    """Metric -> p-value, after all tests, intervals and the sample ratio."""
    rows = user_statistics(table, METRICS, experiment_id="simulated")
    arms = {(row["metric"], row["variant_id"]): row for row in rows.iter_rows(named=True)}

    def moments(metric: str, variant: str) -> Moments:
        arm = arms[metric, variant]
        return Moments(arm["n"], arm["mean"], arm["variance"])

    out = {m: welch(moments(m, "control"), moments(m, "variant")) for m in ("orders_value", "value_per_visit")}
    control, variant = (arms["paid", v] for v in ("control", "variant"))
    counts = [n for arm in (control, variant) for n in (arm["n"], round(arm["n"] * arm["mean"]))]
    out["paid"] = two_proportions(*counts)
    before = {(row["metric"], row["variant_id"]): rows[i : i + 1] for i, row in enumerate(rows.iter_rows(named=True))}
    with_covariate = adjusted(*(joint(before["adjusted_value", v], ("y", "x")) for v in ("control", "variant")))
    out["adjusted_value"] = welch(with_covariate.control, with_covariate.variant)
    split = sample_ratio([0, 0], [control["n"], variant["n"]], [1.0, 1.0])
    return {m: float(np.squeeze(test.p_value)) for m, test in (out | {"sample_ratio": split}).items()}


def tea_tasting(table: ir.Table) -> dict[str, float]:
    """The same by tea-tasting."""
    experiment = tt.Experiment(
        {
            "orders_value": tt.Mean("value"),
            "paid": tt.Mean("paid"),
            "value_per_visit": tt.RatioOfMeans("value", "visits"),
            "adjusted_value": tt.Mean("value", "value_before"),
            "sample_ratio": tt.SampleRatio(correction=False),
        },
        variant="variant_id",
    )
    result = experiment.analyze(table)
    return {name: float(result[name].pvalue) for name in result}


def p90(table: ir.Table) -> None:
    """The 90th percentile of both arms, with intervals."""
    user_statistics(table, P90, experiment_id="simulated")


def bootstrapped(table: ir.Table) -> None:
    """The same by tea-tasting's bootstrap."""
    tt.Experiment({"p90": tt.Quantile("value", 0.9)}, variant="variant_id").analyze(table)


WORK: dict[str, Callable[[ir.Table], object]] = {
    "ours": ours,
    "tea-tasting": tea_tasting,
    "p90": p90,
    "bootstrapped": bootstrapped,
}


def timed(folder: Path, file: str, work: str) -> float:
    """Seconds of one of WORK from opening the file on, in a process in which it has been done once on a small one."""
    WORK[work](opened(folder, f"small_{file}"))
    return seconds(lambda: WORK[work](opened(folder, file)))


def programme() -> tuple[Moments, Moments]:
    """Simulated running totals of a control and a variant, of SHAPE each."""
    random = np.random.default_rng(1)

    def arm() -> Moments:
        return Moments(random.integers(500, 5_000, SHAPE), random.normal(10, 0.1, SHAPE), random.gamma(5, 1, SHAPE))

    return arm(), arm()


def arrays() -> float:
    """Seconds of tests, fixed intervals and always-valid ones for all running totals, the first of them done before."""

    def analysed(control: Moments, variant: Moments) -> None:
        fixed = welch(control, variant)
        error = np.abs(fixed.difference / fixed.statistic)
        confidence_sequence(fixed.difference, error, control.n + variant.n, tuned_at=5_000)

    arms = programme()
    analysed(*(Moments(arm.n[0], arm.mean[0], arm.variance[0]) for arm in arms))
    return seconds(lambda: analysed(*arms))


def loop(sample: int = 300) -> float:
    """Seconds of tea-tasting's tests and intervals of them, one after the other: those of a sample, scaled."""
    control, variant = programme()

    def aggregates(moments: Moments, i: int) -> Aggregates:
        n, mean, variance = (column.flat[i] for column in (moments.n, moments.mean, moments.variance))
        return Aggregates(int(n), {"m": float(mean)}, {"m": float(variance)})

    pairs = [{0: aggregates(control, i), 1: aggregates(variant, i)} for i in range(sample)]
    experiment = tt.Experiment({"m": tt.Mean("m")})
    return seconds(lambda: [experiment.analyze(pair, control=0) for pair in pairs]) * control.n.size / sample


def medians(runs: list[Run]) -> tuple[float, float]:
    """Median seconds and megabytes."""
    return median(run.seconds for run in runs), median(run.megabytes for run in runs)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=10_000_000, help="simulated users (default: %(default)s)")
    parser.add_argument(
        "--bootstrap", type=int, default=5_000, help="users for tea-tasting's p90 (default: %(default)s)"
    )
    parser.add_argument(
        "--runs", type=int, default=3, help="of each, interleaved; medians count (default: %(default)s)"
    )
    options = parser.parse_args()
    if min(options.users, options.bootstrap) < SMALL or options.runs < 1:
        parser.error(f"--users and --bootstrap must be at least {SMALL}, --runs at least 1")
    rows = []
    with TemporaryDirectory() as folder, TemporaryDirectory() as few:
        in_child(simulate, Path(folder), options.users)
        in_child(simulate, Path(few), options.bootstrap)
        for name, file in FILES.items():
            a, b = map(
                medians,
                interleaved(
                    options.runs,
                    lambda file=file: in_child(timed, Path(folder), file, "ours"),
                    lambda file=file: in_child(timed, Path(folder), file, "tea-tasting"),
                ),
            )
            rows.append((f"four metrics and sample ratio, {name}", a, "tea-tasting", b))
        a, b = map(
            medians,
            interleaved(
                options.runs,
                lambda: in_child(timed, Path(folder), FILES["Parquet"], "p90"),
                lambda: in_child(timed, Path(few), FILES["Parquet"], "bootstrapped"),
            ),
        )
        rows.append(("p90 with interval, Parquet", a, f"tea-tasting, of {options.bootstrap:,} users", b))
        a, b = map(medians, interleaved(options.runs, lambda: in_child(arrays), lambda: in_child(loop)))
        rows.append(("10,000 experiments x 10 metrics x 30 days", a, "tea-tasting in a loop, scaled", b))
        table = opened(Path(folder), FILES["Parquet"])
        mine, theirs = ours(table), tea_tasting(table)
    print_table(
        ["ours", "its time", "its peak", "peer", "peer's time", "peer's peak", "peer / ours"],
        [
            [what, f"{a[0]:.3g} s", f"{a[1]:.0f} MB", peer, f"{b[0]:.3g} s", f"{b[1]:.0f} MB", f"{b[0] / a[0]:.2g}"]
            for what, a, peer, b in rows
        ],
    )
    gaps = ", ".join(f"{name} {abs(mine[name] - theirs[name]):.0e}" for name in mine)
    print(f"{options.users:,} simulated users. p-values of ours and tea-tasting differ by: {gaps}.")


if __name__ == "__main__":
    main()
