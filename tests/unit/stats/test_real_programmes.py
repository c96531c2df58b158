"""What public programmes of experiments say of the methods: peeking, a broken split, and winners that shrink."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from neonblue_lab.stats.always_valid import confidence_sequence
from neonblue_lab.stats.effects import Effects, differences, log_lifts
from neonblue_lab.stats.moments import Moments
from neonblue_lab.stats.normal_mixtures import NormalMixtures
from neonblue_lab.stats.omnibus import homogeneity
from neonblue_lab.stats.ratio_diagnosis import broken_span
from neonblue_lab.stats.sample_ratio import sample_ratio
from neonblue_lab.stats.shrinkage import fit
from neonblue_lab.stats.two_sample import welch

Dataset = Callable[[str], Path]


@pytest.fixture(scope="module")
def arms(dataset: Dataset) -> pl.DataFrame:
    """Upworthy's arms, tests numbered from 0, the test's first week beside each arm."""
    columns = ["clickability_test_id", "test_week", "impressions", "clicks"]
    table = pl.read_parquet(dataset("upworthy_exploratory.parquet"), columns=columns)
    test = pl.col("clickability_test_id")
    return table.with_columns(
        test=test.rank("dense").cast(pl.Int64) - 1, week=pl.col("test_week").min().over(test)
    ).sort("test", maintain_order=True)


def test_whoever_peeks_at_asos_finds_twice_what_is_there_at_the_end(dataset: Dataset) -> None:
    comparison = ["experiment_id", "variant_id", "metric_id"]
    rows = pl.read_parquet(dataset("asos_digital_experiments.parquet")).sort(*comparison, "time_since_start")
    control, variant = (
        Moments(*(rows[f"{name}_{arm}"].to_numpy().astype(float) for name in ("count", "mean", "variance")))
        for arm in "ct"
    )
    units, effects = control.n + variant.n, differences(control, variant)
    planned = rows.select(pl.Series(units, dtype=pl.Float64).alias("n"), *comparison)
    tuned_at = planned.select(pl.col("n").max().over(comparison)).to_series().to_numpy()
    always = confidence_sequence(effects.estimate, effects.standard_error, units, tuned_at=tuned_at)
    found = (
        rows.with_columns(
            fixed=pl.Series(welch(control, variant).p_value).fill_nan(None) < 0.05,
            always=pl.Series(always.p_value).fill_nan(None) < 0.05,
        )
        .group_by(comparison)
        .agg(
            pl.col("fixed").is_not_null().any().alias("tested"),
            pl.col("fixed").any().alias("peeking"),
            pl.col("fixed").last().alias("at_end"),
            pl.col("always").any(),
            decided=pl.col("time_since_start").filter("always").min() / pl.col("time_since_start").max(),
        )
        .filter("tested")
        .group_by("metric_id")
        .agg(pl.len(), pl.col("peeking", "at_end", "always").sum(), pl.col("decided").median())
        .sort("metric_id")
    )
    assert found["len"].to_list() == [99, 94, 94, 94]
    assert found["peeking"].to_list() == [46, 64, 57, 58]
    assert found["at_end"].to_list() == [26, 27, 25, 27]
    assert (found["always"] < 0.6 * found["peeking"]).all()
    assert (found["decided"] < 0.5).all()


def test_upworthys_broken_weeks_are_found_from_the_splits_alone(arms: pl.DataFrame) -> None:
    """The authors: randomisation was broken from 2013-06-25 to 2014-01-10."""
    p_value = sample_ratio(arms["test"].to_numpy(), arms["impressions"].to_numpy(), np.ones(arms.height)).p_value
    tests = arms.group_by("test").agg(pl.col("week").first()).sort("test").with_columns(p_value=pl.Series(p_value))
    weeks = (
        tests.group_by("week").agg(failed=(pl.col("p_value") < 0.001).sum(), n=pl.len()).sort("week")
    ).with_columns(passed=pl.col("n") - pl.col("failed"))
    span = broken_span(weeks.select("failed", "passed").to_numpy())
    assert weeks["week"][int(span.first)] == 201325
    assert weeks["week"][int(span.last)] in (201401, 201402)
    assert span.p_value < 1e-100

    omnibus = homogeneity(arms["test"].to_numpy(), arms["impressions"].to_numpy(), arms["clicks"].to_numpy())
    assert np.mean(omnibus.p_value[~np.isnan(omnibus.p_value)] < 0.05) == pytest.approx(0.452, abs=5e-4)


@pytest.mark.parametrize("family", ["normal", "scale-mixture"])
def test_shrunk_lifts_of_half_the_traffic_foretell_the_other_half_better(arms: pl.DataFrame, family: str) -> None:
    rng = np.random.default_rng(1)
    trusted = arms.filter(~pl.col("week").is_between(201325, 201402))
    n, clicks = trusted["impressions"].to_numpy(), trusted["clicks"].to_numpy()
    control = np.searchsorted(trusted["test"].to_numpy(), trusted["test"].to_numpy())
    is_variant = control != np.arange(control.size)
    clicks_one = rng.binomial(clicks, 0.5)
    n_one = clicks_one + rng.binomial(n - clicks, 0.5)

    def lifts(n: np.ndarray, clicks: np.ndarray) -> Effects:
        rate = clicks / n
        arm = [n, rate, rate * (1 - rate)]
        return log_lifts(Moments(*(x[control[is_variant]] for x in arm)), Moments(*(x[is_variant] for x in arm)))

    one, other = lifts(n_one, clicks_one), lifts(n - n_one, clicks - clicks_one)
    both = one.known & other.known
    raw, noise, truth, blur = (
        e[both] for e in (one.estimate, one.standard_error, other.estimate, other.standard_error)
    )
    posterior = fit(raw, noise, family=family).posterior(raw, noise)
    shrunk = posterior.expected()

    assert both.mean() > 0.99
    assert np.mean((shrunk - truth) ** 2) < 0.8 * np.mean((raw - truth) ** 2)
    foretold = NormalMixtures(posterior.weight, posterior.mean, np.hypot(posterior.sd, blur[:, None]))
    covered = (foretold.quantile(0.025) <= truth) & (truth <= foretold.quantile(0.975))
    assert covered.mean() == pytest.approx(0.95, abs=0.01)
    winner = raw > 1.96 * noise
    assert abs(shrunk[winner].mean() - truth[winner].mean()) < 0.5 * (raw[winner].mean() - truth[winner].mean())
