"""Public experiments from their files to the scorecard, against published figures and scipy."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from neonblue_lab.errors import NotFound
from neonblue_lab.events.importers import IMPORTERS
from neonblue_lab.insights.scorecard import Scorecard
from neonblue_lab.lab import Lab
from neonblue_lab.topics.archive import write_archive

Dataset = Callable[[str], Path]


@pytest.fixture(scope="module")
def replayed(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Lab]:
    """A lab that holds a public data set."""

    def replay(source: str, file: str, **options: bool) -> Lab:
        home = tmp_path_factory.mktemp(source)
        write_archive(home / "topics", IMPORTERS[source].batches(dataset(file), **options))
        lab = Lab.open(home)
        report = lab.replay()
        assert report.records == report.events > 0
        assert report.dead_letters == report.duplicates == 0
        return lab

    return replay


# --- Upworthy ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def upworthy(replayed: Callable[..., Lab]) -> Lab:
    return replayed("upworthy", "upworthy_exploratory.parquet")


@pytest.fixture(scope="module")
def headlines(upworthy: Lab) -> Scorecard:
    return upworthy.experiments.scorecard()


@pytest.fixture(scope="module")
def arms(dataset: Dataset) -> pl.DataFrame:
    """The file itself, in its order."""
    columns = ["clickability_test_id", "test_week", "impressions", "clicks"]
    table = pl.read_parquet(dataset("upworthy_exploratory.parquet"), columns=columns)
    return table.rename({"clickability_test_id": "experiment_id"})


def test_the_lake_holds_every_arm(upworthy: Lab) -> None:
    assert upworthy.lake.status()["raw/experiment_metrics"].rows == 22_666
    assert upworthy.lake.status()["raw/experiments_events"].rows == 4_873
    assert upworthy.dead_letters().is_empty()
    totals = upworthy.warehouse.sql(
        "SELECT sum(n)::BIGINT AS n, sum(round(n * mean))::BIGINT AS clicks FROM metric_totals"
    )
    assert totals.row(0) == (81_024_151, 1_231_208)


def test_every_test_is_on_the_scorecard(headlines: Scorecard) -> None:
    assert headlines.experiments == headlines.checks.height == 4_873
    assert headlines.rows.height == 22_666 - 4_873
    assert headlines.checks["n_total"].sum() == 81_024_151
    assert headlines.checks["variants"].sum() == 22_666
    assert headlines.without_definition == ()
    assert headlines.unknown_variants.is_empty()


def test_the_sample_ratio_check_finds_the_broken_weeks_by_itself(headlines: Scorecard, arms: pl.DataFrame) -> None:
    """The authors: randomisation was broken from 2013-06-25 to 2014-01-10."""
    week = arms.group_by("experiment_id").agg(pl.col("test_week").min())
    flagged = headlines.checks.join(week, on="experiment_id").select(
        block=pl.col("test_week").is_between(201325, 201402), flagged=pl.col("srm_p_value") < 0.001
    )
    rates = dict(flagged.group_by("block").agg(pl.col("flagged").mean()).iter_rows())

    assert rates[True] == pytest.approx(0.668, abs=5e-4)
    assert rates[False] == pytest.approx(0.0045, abs=5e-5)
    assert headlines.broken_splits.height == flagged["flagged"].sum()


def test_headlines_matter_in_under_half_of_the_tests(headlines: Scorecard) -> None:
    assert (headlines.checks["omnibus_p_value"] < 0.05).mean() == pytest.approx(0.452, abs=5e-4)


def test_p_values_equal_scipys(headlines: Scorecard, arms: pl.DataFrame) -> None:
    """Worked out arm by arm from the file."""
    numbered = arms.with_columns(variant_id=pl.format("arm-{}", pl.int_range(1, pl.len() + 1).over("experiment_id")))
    control = numbered.filter(pl.col("variant_id") == "arm-1").select("experiment_id", m="impressions", h="clicks")
    pairs = headlines.rows.join(numbered, on=["experiment_id", "variant_id"]).join(control, on="experiment_id")
    assert pairs.height == headlines.rows.height
    n, k, m, h = (pairs[name].cast(pl.Float64).to_numpy() for name in ("impressions", "clicks", "m", "h"))
    with np.errstate(divide="ignore", invalid="ignore"):
        e, f = k / n * (1 - k / n) / n, h / m * (1 - h / m) / m
        df = (e + f) ** 2 / (e**2 / (n - 1) + f**2 / (m - 1))
        expected = 2 * stats.t.sf(np.abs(k / n - h / m) / np.sqrt(e + f), df)
    known = pairs["p_value"].is_not_null().to_numpy()

    assert (known == ~np.isnan(expected)).all()
    assert pairs["p_value"].to_numpy()[known] == pytest.approx(expected[known], rel=1e-12)
    assert known.mean() > 0.99
    adjusted = stats.false_discovery_control(expected[known])
    assert pairs["p_adjusted"].to_numpy()[known] == pytest.approx(adjusted, rel=1e-10)


def test_checks_equal_scipys(headlines: Scorecard, arms: pl.DataFrame) -> None:
    counts = {key: part for (key,), part in arms.group_by("experiment_id", maintain_order=True)}
    for row in headlines.checks.sample(300, seed=1).iter_rows(named=True):
        n, k = (counts[row["experiment_id"]][name].to_numpy() for name in ("impressions", "clicks"))
        assert row["srm_p_value"] == pytest.approx(stats.chisquare(n).pvalue, rel=1e-10)
        if k.sum() > 0:
            test = stats.chi2_contingency([k, n - k], correction=False)
            assert row["omnibus_p_value"] == pytest.approx(test.pvalue, rel=1e-10)


def test_one_test_is_read_as_on_the_scorecard(upworthy: Lab, headlines: Scorecard) -> None:
    for experiment in headlines.checks["experiment_id"].sample(5, seed=2):
        readout = upworthy.experiments.analyze(experiment)
        rows = headlines.rows.filter(pl.col("experiment_id") == experiment)
        assert [row["p_value"] for row in readout.rows] == pytest.approx(rows["p_value"].to_list())
        assert readout.data_version == headlines.data_version


def test_the_same_data_version_gives_the_same_scorecard(upworthy: Lab, headlines: Scorecard) -> None:
    again = Lab.open(upworthy.settings.home, data_version=headlines.data_version).experiments.scorecard()

    assert again.rows.equals(headlines.rows)
    assert again.checks.equals(headlines.checks)


# --- the landing page -------------------------------------------------------------------------------------------------


def test_the_landing_page_as_published(replayed: Callable[..., Lab]) -> None:
    lab = replayed("landing-page", "landing_page_ab.parquet", clean=True)
    card = lab.experiments.scorecard(metrics=["conversion"])
    [row], [check] = card.rows.to_dicts(), card.checks.to_dicts()

    assert row["n_control"] + row["n_variant"] == check["n_total"] == 290_584
    assert (round(row["mean_control"], 6), round(row["mean_variant"], 6)) == (0.120386, 0.118808)
    half_width = (row["difference_high"] - row["difference_low"]) / 2
    z = row["difference"] / (half_width / stats.norm.ppf(0.975))
    assert round(-z, 4) == 1.3109
    assert round(row["p_value"], 4) == 0.1899
    assert check["srm_p_value"] > 0.5
    readout = lab.experiments.analyze("landing-page")
    assert (readout.verdict, readout.primary_metric, readout.crossovers) == ("no difference seen", "conversion", 0)


def test_the_landing_page_uncleaned_leaves_out_who_saw_both(replayed: Callable[..., Lab], dataset: Dataset) -> None:
    """The group decides; only one user is there twice, with the same group both times."""
    lab = replayed("landing-page", "landing_page_ab.parquet")
    visits = pl.read_parquet(dataset("landing_page_ab.parquet"))
    by_user = visits.group_by("user_id").agg(groups=pl.col("group").n_unique())
    [check] = lab.experiments.scorecard(metrics=["conversion"]).checks.to_dicts()

    assert check["n_total"] == by_user.filter(pl.col("groups") == 1).height
    assert lab.experiments.analyze("landing-page").crossovers == by_user.filter(pl.col("groups") > 1).height


# --- ASOS -------------------------------------------------------------------------------------------------------------


def _significant(rows: Iterable[dict[str, Any]]) -> tuple[int, int]:
    known = [row["p_value"] for row in rows if row["p_value"] is not None]
    return sum(p < 0.05 for p in known), len(known)


def test_running_totals_are_judged_at_their_last_checkpoint(replayed: Callable[..., Lab]) -> None:
    card = replayed("asos", "asos_digital_experiments.parquet").experiments.scorecard()

    found = [
        _significant(card.rows.filter(pl.col("metric") == f"metric_{i}").iter_rows(named=True)) for i in (1, 2, 3, 4)
    ]
    assert found == [(26, 99), (27, 94), (25, 94), (27, 94)]
    assert card.rows.filter(pl.col("metric") == "metric_2").height == 99
    assert card.experiments == 78


# --- an online shop ---------------------------------------------------------------------------------------------------


def test_a_shop_without_experiments_has_clicks_and_says_that_nothing_can_be_compared(
    replayed: Callable[..., Lab],
) -> None:
    lab = replayed("eshop", "eshop_clothing_2008.parquet")

    counted = lab.warehouse.sql(
        "SELECT event_type, count(*) AS n, count(DISTINCT session_id) AS s FROM events GROUP BY ALL"
    )
    assert counted.rows() == [("click", 165_474, 24_026)]
    with pytest.raises(NotFound, match=r"no assignments and no metric totals to compare: `neonblue replay"):
        lab.experiments.scorecard()
    with pytest.raises(NotFound, match=r"no experiment anything .*knows 0 experiments"):
        lab.experiments.analyze("anything")
    assert lab.experiments.list().is_empty()
    assert lab.experiments.documents().is_empty()
