"""How near do forecasts come on the 414 hourly series of the M4 competition, by its own measures?

sMAPE and MASE (season 24) over 48 hours, share of values in the 95 % interval, processor seconds a series on one core. All
choices are made by back-tests inside the training part. A second table checks other frequencies: daily page views of Upworthy
and simulated daily, weekly and short series, against repeating the last season.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from timing import dataset, print_table

from neonblue_lab.models.training.threads import one_thread
from neonblue_lab.models.trends.backtest import naive_scale, smape
from neonblue_lab.models.trends.forecasters import seasonal_naive
from neonblue_lab.models.trends.series import DAY, HOUR, WEEK, Floats
from neonblue_lab.models.trends.trend import fit_trend

SEASON, WEEKLY, HORIZON = 24, 168, 48
START = datetime(2026, 1, 5, tzinfo=UTC)
SEED, RESAMPLES = 1, 2000
REFERENCE = {
    "competition: seasonal naive": ("13.912", "1.193"),
    "competition: Theta": ("18.138", "2.455"),
    "competition: winner (Smyl)": ("9.328", "0.893"),
    "bar": ("9.6", "0.95"),
}
Z = 1.959964

Interval = tuple[Floats, Floats, Floats]
"""Mean, low and high."""


@dataclass(frozen=True)
class Row:
    """One method over all series: means with 95 % bootstrap intervals over series."""

    method: str
    smape: tuple[float, float, float]
    mase: tuple[float, float, float]
    coverage: float
    seconds: float
    series: int
    statsmodels: float | None
    """Share of the series with a statsmodels forecaster in the combination beyond the one that always has a seat, for ours."""


def m4() -> dict[str, tuple[Floats, Floats]]:
    """Series -> what was to be learned from, and what came."""
    parts = []
    for part in ("train", "test"):
        frame = pl.read_parquet(dataset(f"m4_hourly_{part}.parquet")).sort("series_id", "step")
        parts.append({str(key[0]): rows["value"].to_numpy() for key, rows in frame.group_by("series_id")})
    ids = sorted(parts[0], key=lambda name: int(name[1:]))
    return {name: (parts[0][name], parts[1][name]) for name in ids}


def naive(values: Floats, season: int) -> Interval:
    """The last season again; normal intervals of the differences a season apart, wider with each season."""
    mean = seasonal_naive(values, season).forecast(HORIZON)
    seasons = np.arange(HORIZON) // season + 1
    width = Z * np.std(values[season:] - values[:-season]) * np.sqrt(seasons)
    return mean, mean - width, mean + width


def log_mstl(values: Floats, rest: str) -> Interval:
    """statsmodels' MSTL of logarithms (24 and 168), what is left continued by damped ETS or AR(1); its own intervals."""
    from statsmodels.tsa.ar_model import AutoReg
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel
    from statsmodels.tsa.seasonal import MSTL

    logarithms = np.log(np.maximum(values, 1e-9))
    found = np.asarray(MSTL(logarithms, periods=(SEASON, WEEKLY)).fit().seasonal)
    left = logarithms - found.sum(axis=1)
    seasonal = np.resize(found[-SEASON:, 0], HORIZON) + found[-WEEKLY:, 1][:HORIZON]
    if rest == "ets":
        # Its intervals want a series with an index.
        model = ETSModel(pd.Series(left), trend="add", damped_trend=True, initialization_method="heuristic").fit(
            disp=False
        )
        frame = model.get_prediction(len(left), len(left) + HORIZON - 1).summary_frame(alpha=0.05)
        mean, low, high = (frame[name].to_numpy() for name in ("mean", "pi_lower", "pi_upper"))
    else:
        prediction = AutoReg(left, 1, trend="c").fit().get_prediction(len(left), len(left) + HORIZON - 1)
        mean = np.asarray(prediction.predicted_mean)
        low, high = np.asarray(prediction.conf_int(alpha=0.05)).T
    return np.exp(mean + seasonal), np.exp(low + seasonal), np.exp(high + seasonal)


def theta(values: Floats) -> Interval:
    """statsmodels' theta method with a season of 168; its own intervals."""
    from statsmodels.tsa.forecasting.theta import ThetaModel

    result = ThetaModel(values, period=WEEKLY).fit()
    limits = np.asarray(result.prediction_intervals(HORIZON, alpha=0.05))
    return np.asarray(result.forecast(HORIZON)), limits[:, 0], limits[:, 1]


def ours(values: Floats) -> tuple[Floats, Floats, Floats, int]:
    """`fit_trend`, and how many of its members are statsmodels'."""
    model = fit_trend(_frame(values, HOUR))
    path = model.forecast(HORIZON)
    mean, low, high = (path[name].to_numpy() for name in ("mean", "low", "high"))
    return mean, low, high, model.statsmodels_members


METHODS: dict[str, Callable[[Floats], Any]] = {
    "seasonal naive 24": partial(naive, season=SEASON),
    "seasonal naive 168": partial(naive, season=WEEKLY),
    "statsmodels log-MSTL + ETS": partial(log_mstl, rest="ets"),
    "statsmodels log-MSTL + AR(1)": partial(log_mstl, rest="ar"),
    "statsmodels Theta(168)": theta,
    "ours": ours,
}


def table(sample: int = 1, methods: Sequence[str] = tuple(METHODS), workers: int = 1) -> list[Row]:
    """Every method on every `sample`-th series.

    Args:
        sample: 1: all.
        methods: of METHODS.
        workers: processes; the seconds are those of the processor that a series took.
    """
    tasks = [(name, *parts) for name in methods for parts in list(m4().values())[::sample]]
    if workers == 1:
        results = [_scored(task) for task in tasks]
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            results = list(pool.map(_scored, tasks, chunksize=4))
    rows = []
    for name in methods:
        scores = np.array([score for (of, *_), score in zip(tasks, results, strict=True) if of == name])
        rows.append(
            Row(
                method=name,
                smape=_interval(scores[:, 0]),
                mase=_interval(scores[:, 1]),
                coverage=float(scores[:, 2].mean()),
                seconds=float(scores[:, 3].mean()),
                series=len(scores),
                statsmodels=float((scores[:, 4] > 1).mean()) if name == "ours" else None,
            )
        )
    return rows


def _scored(task: tuple[str, Floats, Floats]) -> tuple[float, float, float, float, int]:
    name, train, test = task
    with one_thread(), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        start = process_time()
        mean, low, high, *members = METHODS[name](train)
        took = process_time() - start
    error = float(np.abs(test - mean).mean()) / (naive_scale(train, SEASON) or np.nan)
    inside = float(((test >= low) & (test <= high)).mean())
    return smape(test, mean) or 0.0, error, inside, took, *(members or [0])


def _interval(values: Floats) -> tuple[float, float, float]:
    chosen = np.random.default_rng(SEED).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[chosen].mean(axis=1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def other_frequencies(cuts: int = 6) -> list[tuple[str, int, float, float, float]]:
    """Series, forecasts, our MASE, that of the seasonal naive forecast, and the share of values in the 95 % interval."""
    found = []
    for name, values, step, horizon in _others():
        scores = []
        for end in np.linspace(len(values) // 2, len(values) - horizon, cuts).astype(int):
            with one_thread():
                model = fit_trend(_frame(values[:end], step))
            path, came = model.forecast(horizon), values[end : end + horizon]
            scale = naive_scale(values[:end], model.season) or np.nan
            repeated = seasonal_naive(values[:end], model.season).forecast(horizon)
            inside = (came >= path["low"].to_numpy()) & (came <= path["high"].to_numpy())
            errors = [np.abs(came - line).mean() / scale for line in (path["mean"].to_numpy(), repeated)]
            scores.append((*errors, inside.mean()))
        mean = np.mean(scores, axis=0)
        found.append((name, cuts, float(mean[0]), float(mean[1]), float(mean[2])))
    return found


def _others() -> Iterator[tuple[str, Floats, timedelta, int]]:
    views = pl.read_csv(dataset("upworthy_daily_pageviews.csv"), encoding="utf8-lossy", new_columns=["day", "views"])
    counts = views["views"].drop_nulls().str.strip_chars().str.replace_all(",", "").cast(pl.Float64)
    yield "Upworthy page views, daily", counts.to_numpy(), DAY, 14
    rng = np.random.default_rng(SEED)
    week = np.array([1.0, 1.1, 1.05, 1.0, 0.95, 0.7, 0.65])
    for name, days, noise in (("simulated: weekly season, noise", 200, 0.08), ("simulated: short", 60, 0.08)):
        time = np.arange(days)
        yield name, 500 * week[time % 7] * (1 + 0.003 * time) * np.exp(noise * rng.normal(size=days)), DAY, 14
    walk = 300 * np.exp(0.04 * np.cumsum(rng.normal(size=200)))
    yield "simulated: random walk, daily", walk * week[np.arange(200) % 7], DAY, 14
    yield "simulated: Poisson counts, daily", rng.poisson(3 * week[np.arange(200) % 7]).astype(float), DAY, 14
    weeks = np.arange(180)
    year = 1 + 0.3 * np.sin(2 * np.pi * weeks / 52)
    yield "simulated: yearly season, weekly", 900 * year * np.exp(0.05 * rng.normal(size=180)), WEEK, 8


def _frame(values: Floats, step: timedelta) -> pl.DataFrame:
    return pl.DataFrame({"timestamp": [START + step * place for place in range(len(values))], "value": values})


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=1, help="only every so many series; 1: all, which takes minutes")
    parser.add_argument("--methods", nargs="*", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--workers", type=int, default=1, help="processes")
    options = parser.parse_args()
    rows = table(options.sample, options.methods, options.workers)
    lines = [[name, *figures, "", "", ""] for name, figures in REFERENCE.items()]
    lines += [
        [r.method, _with(r.smape), _with(r.mase), f"{r.coverage:.3f}", f"{r.seconds:.2f}", str(r.series)] for r in rows
    ]
    print_table(("method", "sMAPE", "MASE", "in 95 % interval", "s a series", "series"), lines)
    for row in rows:
        if row.statsmodels is not None:
            print(
                "One forecaster of statsmodels is always among the twelve; more than one in "
                f"{row.statsmodels:.1%} of the series.\n"
            )
    others = [[n, str(c), f"{m:.3f}", f"{o:.3f}", f"{s:.3f}"] for n, c, m, o, s in other_frequencies()]
    print_table(("other frequencies", "forecasts", "MASE", "seasonal naive", "in 95 % interval"), others)


def _with(figures: tuple[float, float, float]) -> str:
    return "{:.3f} ({:.3f} to {:.3f})".format(*figures)


if __name__ == "__main__":
    main()
