"""What does a whole programme of real experiments say of its own method? Peeking, a broken split, and winners that shrink.

ASOS's running totals are read as someone would who looks at every checkpoint, with a fixed-horizon test and with an
always-valid one. Upworthy's headline tests are searched for the weeks in which traffic was split wrongly; outside of them the
programme prior is learned from one random half of all traffic, and has to foretell the other half.
"""

import argparse
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from timing import dataset, print_table

from neonblue_lab import Lab
from neonblue_lab.events.importers import IMPORTERS
from neonblue_lab.stats import Moments, homogeneity, sample_ratio, welch
from neonblue_lab.stats.always_valid import confidence_sequence
from neonblue_lab.stats.effects import differences, log_lifts
from neonblue_lab.stats.normal_mixtures import NormalMixtures
from neonblue_lab.stats.ratio_diagnosis import broken_span
from neonblue_lab.stats.shrinkage import fit
from neonblue_lab.topics.archive import write_archive

ALPHA = 0.05
FLAGGED = 0.001
"""A sample-ratio test below this is a broken split, as on the scorecard."""

COMPARISON = ["experiment_id", "variant_id", "metric"]


def totals(source: str, file: Path) -> pl.DataFrame:
    """The totals of every variant as they lie in a lake that was filled from the data set."""
    with TemporaryDirectory() as home:
        write_archive(Path(home) / "topics", IMPORTERS[source].batches(file))
        lab = Lab.open(Path(home))
        lab.replay()
        return lab.warehouse.sql(
            "SELECT experiment_id, variant_id, metric, period_start, period_end, n, mean, variance FROM metric_totals "
            "ORDER BY ALL"
        )


def against(rows: pl.DataFrame, control: str, moment: list[str]) -> tuple[pl.DataFrame, Moments, Moments]:
    """Each variant's rows in order of time, its control's moments and its own."""
    is_control = pl.col("variant_id") == control
    pairs = rows.filter(~is_control).join(rows.filter(is_control), on=["experiment_id", *moment], suffix="_control")
    pairs = pairs.sort("experiment_id", "variant_id", *moment)

    def moments(suffix: str) -> Moments:
        return Moments(*(pairs[f"{name}{suffix}"].cast(pl.Float64).to_numpy() for name in ("n", "mean", "variance")))

    return pairs, moments("_control"), moments("")


# --- ASOS: peeking ----------------------------------------------------------------------------------------------------


def looks(rows: pl.DataFrame) -> pl.DataFrame:
    """Every checkpoint of every comparison: its day, and what either test says there.

    The always-valid interval is tuned at the units that the experiment ended with: its size is taken as planned.
    """
    pairs, control, variant = against(rows, "control", ["metric", "period_end"])
    units, effects = control.n + variant.n, differences(control, variant)
    fixed = welch(control, variant, alpha=ALPHA)
    pairs = pairs.with_columns(
        day=(pl.col("period_end") - pl.col("period_start")).dt.total_seconds() / 86_400,
        units=pl.Series(units),
        p_value=pl.Series(fixed.p_value).fill_nan(None),
        lift=pl.Series(fixed.lift),
    )
    tuned_at = pairs.select(pl.col("units").max().over(COMPARISON)).to_series().to_numpy()
    always = confidence_sequence(effects.estimate, effects.standard_error, units, tuned_at=tuned_at, alpha=ALPHA)
    return pairs.with_columns(always_p_value=pl.Series(always.p_value).fill_nan(None))


def decisions(looks: pl.DataFrame) -> pl.DataFrame:
    """One row a comparison that can be tested: what is found by peeking, at the end and always-valid, and when."""
    fixed, always = pl.col("p_value") < ALPHA, pl.col("always_p_value") < ALPHA
    by_comparison = looks.sort("day").group_by(COMPARISON, maintain_order=True)
    return by_comparison.agg(
        tested=pl.col("p_value").is_not_null().any(),
        peeking=fixed.any(),
        at_end=fixed.last(),
        always=always.any(),
        days=pl.col("day").last(),
        decided=pl.col("day").filter(always).first(),
        lift=pl.col("lift").filter(always).first(),
        lift_at_end=pl.col("lift").last(),
    ).filter("tested")


def peeking_table(decided: pl.DataFrame) -> Iterable[list[str]]:
    """A row a metric: how many comparisons each way of reading calls significant, and when always-valid ones could stop."""
    for (metric,), rows in decided.sort("metric").group_by("metric", maintain_order=True):
        early = rows.filter("always")
        reversed_ = early.filter(pl.col("lift") * pl.col("lift_at_end") < 0)
        yield [
            str(metric),
            *(f"{rows[name].sum()} of {rows.height}" for name in ("peeking", "at_end", "always")),
            f"{early['at_end'].sum()}",
            f"{reversed_.height}",
            f"{early['decided'].median():.3g} of {early['days'].median():.3g}",
            f"{(1 - early['decided'] / early['days']).median():.0%}",
        ]


def decision_table(decided: pl.DataFrame) -> Iterable[list[str]]:
    """A row a decision that the always-valid test allows: its day, and what the end says."""
    for row in decided.filter("always").sort(*COMPARISON).iter_rows(named=True):
        yield [
            f"{row['experiment_id']} {row['variant_id']} {row['metric']}",
            f"{row['decided']:g}",
            f"{row['days']:g}",
            f"{1 - row['decided'] / row['days']:.0%}",
            f"{row['lift']:+.2%}",
            f"{row['lift_at_end']:+.2%}",
            "yes" if row["at_end"] else "no",
        ]


# --- Upworthy: the broken split ---------------------------------------------------------------------------------------


def experiments(arms: pl.DataFrame) -> pl.DataFrame:
    """One row a test, in order of time: its week, sample-ratio and omnibus p-values."""
    tests = arms.group_by("experiment_id").agg(week=pl.col("period_start").min()).sort("week", "experiment_id")
    index = arms.join(tests.with_row_index("row"), on="experiment_id", maintain_order="left")["row"].to_numpy()
    n, clicks = arms["n"].to_numpy(), (arms["n"] * arms["mean"]).round().to_numpy()
    return tests.with_columns(
        ratio_p_value=pl.Series(sample_ratio(index.astype(int), n, np.ones(n.size)).p_value),
        omnibus_p_value=pl.Series(homogeneity(index.astype(int), n, clicks).p_value).fill_nan(None),
    )


def broken_weeks(tests: pl.DataFrame) -> tuple[pl.Expr, list[list[str]]]:
    """Where the weeks lie whose tests fail the sample-ratio check more often than the others', and a table of both."""
    failed = (pl.col("ratio_p_value") < FLAGGED).sum()
    weeks = tests.group_by("week").agg(failed=failed, passed=pl.len() - failed).sort("week")
    span = broken_span(weeks.select("failed", "passed").to_numpy())
    first, last = weeks["week"][int(span.first)], weeks["week"][int(span.last)]
    broken = pl.col("week").is_between(first, last)
    table = [
        [name, f"{part.height:,}", f"{(part['ratio_p_value'] < FLAGGED).mean():.2%}"]
        for name, part in (
            (f"{iso_week(first)} to {iso_week(last)}: found", tests.filter(broken)),
            ("all other weeks", tests.filter(~broken)),
        )
    ]
    table[0].append("below 1e-300" if span.p_value == 0 else f"{float(span.p_value):.0e}")
    table[1].append("")
    return broken, table


def iso_week(monday: datetime) -> str:
    """2013-06-17 as 201325, as the source numbers its weeks."""
    year, week, _ = monday.isocalendar()
    return f"{year}{week:02}"


# --- Upworthy: the programme prior ------------------------------------------------------------------------------------


def halves(arms: pl.DataFrame, rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every impression put into one of two halves by a coin, its click with it: two independent runs of each test."""
    n = arms["n"].to_numpy()
    clicks = (arms["n"] * arms["mean"]).round().cast(pl.Int64).to_numpy()
    clicks_one = rng.binomial(clicks, 0.5)
    n_one = clicks_one + rng.binomial(n - clicks, 0.5)

    def half(n: np.ndarray, clicks: np.ndarray) -> pl.DataFrame:
        rate = pl.Series(clicks / n)
        return arms.with_columns(n=pl.Series(n), mean=rate, variance=rate * (1 - rate))

    return half(n_one, clicks_one), half(n - n_one, clicks - clicks_one)


def foretelling(arms: pl.DataFrame, rng: np.random.Generator) -> tuple[list[list[str]], str]:
    """How well one half's log lifts foretell the other's: raw, and shrunk by a prior learned from the same half."""
    paired, *_ = against(arms, "arm-1", [])
    one, other = (log_lifts(*against(half, "arm-1", [])[1:]) for half in halves(arms, rng))
    both = one.known & other.known
    raw, noise, truth, blur = (
        values[both] for values in (one.estimate, one.standard_error, other.estimate, other.standard_error)
    )
    tests = paired["experiment_id"].to_numpy()[both]
    best = pl.DataFrame({"test": tests, "raw": raw}).select(
        (pl.col("raw") == pl.col("raw").max().over("test")) & (pl.col("raw") > 0)
    )
    winner = best.to_series().to_numpy() & (np.abs(raw) > 1.96 * noise)

    def row(name: str, effect: np.ndarray, posterior: NormalMixtures | None) -> list[str]:
        squares = np.mean((effect - truth) ** 2)
        cells = [
            name,
            f"{np.sqrt(squares):.4f}",
            f"{np.sqrt(squares - np.mean(blur**2)):.4f}",
            f"{np.expm1(effect[winner].mean()):+.1%}",
        ]
        sd = noise[:, None] if posterior is None else posterior.sd
        weight = np.ones_like(sd) if posterior is None else posterior.weight
        mean = effect[:, None] if posterior is None else posterior.mean
        foretold = NormalMixtures(weight, mean, np.hypot(sd, blur[:, None]))
        covered = (foretold.quantile(0.025) <= truth) & (truth <= foretold.quantile(0.975))
        flips = np.where(effect > 0, foretold.at_most(0.0), foretold.at_least(0.0))
        return [*cells, f"{covered.mean():.1%}", f"{flips[winner].mean():.1%}"]

    table = [row("raw", raw, None)]
    for family in ("normal", "scale-mixture"):
        prior = fit(raw, noise, family=family)
        posterior = prior.posterior(raw, noise)
        table.append(row(f"shrunk, {family}", posterior.expected(), posterior))
    seen = (
        f"{both.sum():,} of {both.size:,} comparisons have clicks in all four cells. The {winner.sum():,} winners (a test's "
        f"best arm, significant in the first half) gain {np.expm1(truth[winner].mean()):+.1%} in the other half, where "
        f"{(truth[winner] < 0).mean():.1%} of them lose."
    )
    return table, seen


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--decisions", action="store_true", help="print every decision of the always-valid test too")
    parser.add_argument("--seed", type=int, default=1, help="of the coin that halves traffic (default: %(default)s)")
    options = parser.parse_args()
    files = dataset("asos_digital_experiments.parquet"), dataset("upworthy_exploratory.parquet")

    decided = decisions(looks(totals("asos", files[0])))
    print_table(
        [
            "ASOS",
            "ever p < 0.05",
            "p < 0.05 at the end",
            "always-valid",
            "of these, significant at the end",
            "and reversed",
            "median days",
            "median time saved",
        ],
        peeking_table(decided),
    )
    if options.decisions:
        print()
        print_table(
            ["decision", "day", "last day", "time saved", "lift then", "lift at the end", "p < 0.05 then"],
            decision_table(decided),
        )

    arms = totals("upworthy", files[1])
    tests = experiments(arms)
    broken, weeks = broken_weeks(tests)
    print()
    print_table(["Upworthy's weeks", "tests", "broken split", "p-value of the span"], weeks)
    share = (tests["omnibus_p_value"] < ALPHA).mean()
    print(f"\nOmnibus tests below {ALPHA}: {share:.1%} of {tests.height:,}.\n")

    trusted = arms.join(tests.filter(~broken), on="experiment_id", how="semi", maintain_order="left")
    table, seen = foretelling(trusted, np.random.default_rng(options.seed))
    print_table(
        [
            "log lift",
            "error to the other half",
            "to the truth",
            "winners' lift",
            "95 % covers",
            "winners foretold to lose",
        ],
        table,
    )
    print(seen)


if __name__ == "__main__":
    main()
