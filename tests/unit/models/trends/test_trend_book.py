"""Many trends in one artifact: what is loaded forecasts the very same numbers, and what is not there is named."""

import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.errors import BadInput, NotFound, NothingToDo
from neonblue_lab.models.trends import book as trend_book
from neonblue_lab.models.trends.book import fit_book


def _rows(experiment, metric, values, step=1):
    days = [date(2026, 1, 5) + timedelta(days=step * i) for i in range(len(values))]
    return pl.DataFrame({"timestamp": days, "value": values}).select(
        pl.lit(experiment).alias("experiment_id"),
        pl.lit(metric).alias("metric"),
        "timestamp",
        pl.col("value").cast(float),
    )


@pytest.fixture(scope="module")
def series():
    rng = np.random.default_rng(1)
    wave = 1 + 0.3 * np.sin(np.arange(80) * 2 * np.pi / 7)
    return pl.concat(
        [
            _rows("checkout", "conversions", rng.poisson(40 * wave)),
            _rows("checkout", "revenue", 900 * wave * np.exp(rng.normal(0, 0.1, 80))),
            _rows("pricing", "balance", rng.normal(-5, 3, 45)),
            _rows("search", "clicks", rng.poisson(300, 40), step=7),
            _rows("onboarding", "sign_ups", [3, 5, 4, 6]),
            _rows("onboarding", "conversions", [1, 2]),
        ]
    )


@pytest.fixture(scope="module")
def book(series):
    return fit_book(series)


def test_a_loaded_book_forecasts_exactly_the_same_numbers(book, tmp_path):
    store = ArtifactStore(tmp_path)
    artifact = trend_book.publish(store, book, data_versions={"metric_totals": 4})
    loaded = trend_book.load(store.get("metric_trends", "latest"))
    assert set(loaded.models) == set(book.models)
    for key, model in book.models.items():
        again = loaded.get(*key)
        steps = min(20, model.horizon)
        assert again.forecast(steps).equals(model.forecast(steps))
        assert again.series.frame.equals(model.series.frame)
        assert again.backtest.equals(model.backtest)
        assert (again.metrics, again.note, again.season) == (model.metrics, model.note, model.season)
    assert loaded.summary.equals(book.summary)
    assert loaded.skipped.equals(book.skipped)
    assert artifact.manifest.metrics == pytest.approx(book.metrics)


def test_serving_a_forecast_imports_no_statsmodels(book, tmp_path):
    trend_book.publish(ArtifactStore(tmp_path), book, data_versions={})
    code = (
        "import sys; from pathlib import Path; from neonblue_lab.artifacts import ArtifactStore;"
        "from neonblue_lab.models.trends import book as trend_book;"
        f"book = trend_book.load(ArtifactStore(Path({str(tmp_path)!r})).get('metric_trends', 'latest'));"
        "assert book.get('checkout', 'revenue').forecast(7).height == 7;"
        "assert not {'statsmodels', 'sklearn', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_each_series_is_forecast_in_its_own_steps(book):
    for key, step in ((("checkout", "conversions"), 1), (("search", "clicks"), 7)):
        model = book.get(*key)
        times = model.forecast(model.steps(timedelta(days=20)))["timestamp"]
        assert times.diff().drop_nulls().unique().to_list() == [timedelta(days=step)]
        last = model.series.frame["timestamp"][-1]
        assert timedelta(days=20) <= times[-1] - last < timedelta(days=20 + step)


def test_a_series_that_cannot_be_fitted_is_skipped_with_its_reason(book):
    assert book.skipped.select("experiment_id", "metric").rows() == [("onboarding", "conversions")]
    with pytest.raises(NotFound, match="needs at least 3"):
        book.get("onboarding", "conversions")


def test_what_is_not_there_is_answered_with_what_is(book):
    with pytest.raises(NotFound, match=r"It has: conversions, revenue\."):
        book.get("checkout", "latency")
    with pytest.raises(NotFound, match=r"There are 5: checkout conversions, .*search clicks"):
        book.get("banner", "conversions")


def test_the_list_of_what_is_there_stays_short():
    book = fit_book(pl.concat(_rows(f"experiment {i}", "clicks", [1, 2, 3]) for i in range(25)))
    with pytest.raises(NotFound, match="and 15 more") as raised:
        book.get("banner", "clicks")
    assert len(str(raised.value)) < 400


def test_the_card_states_what_was_measured(book, tmp_path):
    card = trend_book.publish(ArtifactStore(tmp_path), book, data_versions={}).card
    assert "5 series of 4 to 80 values; 1 more were skipped" in card
    assert f"| MASE | {book.metrics['mase']:.3f} | {book.metrics['naive_mase']:.3f} |" in card
    assert "1 series were too short" in card
    assert "When not to believe it" in card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop("metric"), "metric missing"),
        (lambda rows: rows.with_columns(metric=pl.lit(None, pl.String)), "null"),
    ],
)
def test_input_without_a_trend_is_refused(series, change, message):
    with pytest.raises(BadInput, match=message):
        fit_book(change(series))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("rows", "why"), [(0, "There is no series"), (2, "No series could be given a trend. .* at least 3")]
)
def test_a_lake_without_a_series_to_forecast_leaves_nothing_to_do(series, rows, why, workers):
    with pytest.raises(NothingToDo, match=why):
        fit_book(series.head(rows), workers=workers)


def test_the_book_is_the_same_whatever_the_number_of_processes(series, book, tmp_path):
    script = tmp_path / "fit.py"
    series.write_parquet(tmp_path / "series.parquet")
    script.write_text(
        "import polars as pl\n"
        "from neonblue_lab.models.trends.book import fit_book\n"
        "if __name__ == '__main__':\n"
        f"    series = pl.read_parquet({str(tmp_path / 'series.parquet')!r})\n"
        "    seen = []\n"
        "    book = fit_book(series, workers=2, progress=lambda done, all: seen.append((done, all)))\n"
        "    assert seen == [(i, 6) for i in range(1, 7)], seen\n"
        f"    book.get('checkout', 'revenue').forecast(7).write_parquet({str(tmp_path / 'path.parquet')!r})\n",
        encoding="utf-8",
    )
    subprocess.run([sys.executable, str(script)], check=True)
    assert pl.read_parquet(tmp_path / "path.parquet").equals(book.get("checkout", "revenue").forecast(7))


def test_a_book_of_an_older_format_is_refused_with_what_to_do(book, tmp_path):
    store = ArtifactStore(tmp_path)

    def write(folder):
        (folder / "models.json").write_text("[]", encoding="utf-8")

    options = {"parameters": {}, "metrics": {}, "data_versions": {}, "seed": None, "card": "# Old", "kind": "model"}
    artifact = store.publish("metric_trends", write, **options)
    with pytest.raises(BadInput, match=r"format 1, .* reads format 2: run notebooks/50_trends"):
        trend_book.load(artifact)
