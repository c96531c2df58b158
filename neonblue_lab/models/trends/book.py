"""Many trends in one artifact: one for each experiment and metric, stored as numbers that forecast without a
library."""

import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.errors import BadInput, NotFound, NothingToDo
from neonblue_lab.models.trends.backtest import COMBINATION
from neonblue_lab.models.trends.intervals import Width
from neonblue_lab.models.trends.scale import Scale
from neonblue_lab.models.trends.series import RegularSeries
from neonblue_lab.models.trends.state import Member, State
from neonblue_lab.models.trends.trend import (
    BACKTEST_SCHEMA,
    HOLIDAYS_SCHEMA,
    SHIFTS_SCHEMA,
    TrendModel,
    fit_trend,
)

NAME = "metric_trends"
KEY = ("experiment_id", "metric")
SHOWN = 10
"""Keys listed in a message about one that is not there."""

_KEY_SCHEMA: dict[str, pl.DataType] = {"experiment_id": pl.String(), "metric": pl.String()}
_SUMMARY_SCHEMA = _KEY_SCHEMA | {
    "model": pl.String(),
    "statsmodels_members": pl.Int64(),
    "shifts": pl.Int64(),
    "values": pl.Int64(),
    "step_days": pl.Float64(),
    "horizon": pl.Int64(),
    "mase": pl.Float64(),
    "naive_mase": pl.Float64(),
    "smape": pl.Float64(),
    "coverage": pl.Float64(),
    "note": pl.String(),
}
_MODELS, _SKIPPED = "models.json", "skipped.parquet"
_SERIES, _BACKTESTS, _MEMBERS, _SHIFTS, _HOLIDAYS = (
    "series.parquet",
    "backtests.parquet",
    "members.parquet",
    "shifts.parquet",
    "holidays.parquet",
)
FORMAT = 2
"""Of the files of an artifact. Those of format 1 held one state a series, and were published without saying so."""
AT_ONCE = 8
"""Series that a process is handed at a time."""

_MEMBERS_SCHEMA: dict[str, pl.DataType] = {
    "name": pl.String(),
    "unit": pl.Float64(),
    "positive": pl.Boolean(),
    "ceiling": pl.Float64(),
    "level": pl.Float64(),
    "slope": pl.Float64(),
    "damping": pl.Float64(),
    "deviation": pl.Float64(),
    "decay": pl.Float64(),
    "seasonal": pl.List(pl.Float64()),
}


@dataclass(frozen=True)
class TrendBook:
    """Trends by experiment and metric.

    Attributes:
        models: (experiment_id, metric) -> trend.
        skipped: series without a model: experiment_id, metric, reason.
    """

    models: Mapping[tuple[str, str], TrendModel]
    skipped: pl.DataFrame

    def get(self, experiment_id: str, metric: str) -> TrendModel:
        """The trend of one metric of one experiment.

        Raises:
            NotFound: there is none; the message says why, or which there are.
        """
        model = self.models.get((experiment_id, metric))
        if model is not None:
            return model
        reasons = self.skipped.filter(experiment_id=experiment_id, metric=metric)["reason"]
        if len(reasons):
            raise NotFound(f"No trend of {metric} for experiment {experiment_id}: {reasons[0]}")
        metrics = [known for experiment, known in self.models if experiment == experiment_id]
        if metrics:
            raise NotFound(f"No trend of {metric!r} for experiment {experiment_id}. It has: {_few(metrics)}.")
        raise NotFound(
            f"No trend for experiment {experiment_id!r}. There are {len(self.models)}: "
            f"{_few(f'{experiment} {known}' for experiment, known in self.models)}."
        )

    @property
    def summary(self) -> pl.DataFrame:
        """One row a trend: what was chosen and what to expect of it.

        Columns experiment_id, metric, model, statsmodels_members (how many forecasters of statsmodels are in it), shifts
        (their number), values (their number), step_days, horizon (steps tried), mase, naive_mase, smape, coverage, note: see
        `TrendModel`.
        """
        rows = [
            {
                "experiment_id": experiment_id,
                "metric": metric,
                "model": model.model,
                "statsmodels_members": model.statsmodels_members,
                "shifts": model.shifts.height,
                "values": len(model.series),
                "step_days": model.series.step / timedelta(days=1),
                "horizon": model.horizon,
                "note": model.note,
                **model.metrics,
            }
            for (experiment_id, metric), model in self.models.items()
        ]
        return pl.DataFrame(rows, schema=_SUMMARY_SCHEMA)

    @property
    def metrics(self) -> dict[str, float | None]:
        """Of the whole book: what to expect of a trend in it.

        The number of series and of those skipped; means of mase, naive_mase, smape and coverage over the trends that
        could be measured, None where none could; and the share of those in which choosing beat the seasonal naive
        forecast.
        """
        summary = self.summary
        measured = summary.drop_nulls(["mase", "naive_mase"])
        figures = measured.select(
            pl.mean("mase", "naive_mase", "smape", "coverage"),
            share_better_than_naive=(pl.col("mase") < pl.col("naive_mase")).mean(),
        )
        return {"series": summary.height, "skipped": self.skipped.height, **figures.row(0, named=True)}


def fit_book(
    series: pl.DataFrame,
    *,
    seasons: tuple[int, ...] | None = None,
    horizon: int | None = None,
    country: str | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> TrendBook:
    """Fit a trend to each experiment's metrics.

    Args:
        series: experiment_id, metric, timestamp, value; one row for each step of each series (see `fit_trend`).
        seasons, horizon, country: as for `fit_trend`, for all series.
        workers: processes that share the series; 1: this one alone. The book is the same whatever their number. A script that
            asks for more is guarded by `if __name__ == "__main__":`.
        progress: called with how many series are done, and how many there are, after each.

    Returns:
        The book. A series that `fit_trend` refuses is skipped, with its reason.

    Raises:
        BadInput: columns are missing, a key is null, or workers is below 1.
        NothingToDo: there is no series, or none that could be fitted.
    """
    missing = [name for name in (*KEY, "timestamp", "value") if name not in series.columns]
    if missing:
        raise BadInput(
            f"Trends need the columns experiment_id, metric, timestamp and value: {', '.join(missing)} missing."
        )
    if sum(series[name].null_count() for name in KEY):
        raise BadInput("Trends need an experiment_id and a metric on every row: some are null.")
    if workers < 1:
        raise BadInput(f"workers is {workers}: it is a number of processes, 1 or more.")
    groups = [(key, rows.select("timestamp", "value")) for key, rows in series.group_by(*KEY, maintain_order=True)]
    fitted = partial(_fitted, seasons=seasons, horizon=horizon, country=country)
    models, skipped = {}, []
    for done, (key, found) in enumerate(_each(fitted, groups, workers), start=1):
        experiment_id, metric = map(str, key)
        if isinstance(found, str):
            skipped.append({"experiment_id": experiment_id, "metric": metric, "reason": found})
        else:
            models[experiment_id, metric] = found
        if progress is not None:
            progress(done, len(groups))
    if not models:
        if not skipped:
            raise NothingToDo("There is no series to forecast: `neonblue replay --from ...` brings measurements in.")
        raise NothingToDo(f"No series could be given a trend. The first of {len(skipped)}: {skipped[0]['reason']}")
    return TrendBook(models, pl.DataFrame(skipped, schema=_KEY_SCHEMA | {"reason": pl.String()}))


_Group = tuple[tuple[object, ...], pl.DataFrame]


def _each(
    fitted: Callable[[pl.DataFrame], TrendModel | str], groups: list[_Group], workers: int
) -> Iterator[tuple[tuple[object, ...], TrendModel | str]]:
    keys = [key for key, _ in groups]
    frames = [rows for _, rows in groups]
    if workers == 1 or len(groups) <= 1:
        yield from zip(keys, map(fitted, frames), strict=True)
        return
    # A process that is spawned inherits no threads or locks of this one, as a forked one would.
    with ProcessPoolExecutor(min(workers, len(groups)), multiprocessing.get_context("spawn")) as pool:
        yield from zip(keys, pool.map(fitted, frames, chunksize=AT_ONCE), strict=True)


def _fitted(
    rows: pl.DataFrame, *, seasons: tuple[int, ...] | None, horizon: int | None, country: str | None
) -> TrendModel | str:
    """The trend of a series, or why there is none."""
    try:
        return fit_trend(rows, seasons=seasons, horizon=horizon, country=country)
    except BadInput as error:
        return str(error)


def publish(store: ArtifactStore, book: TrendBook, *, data_versions: Mapping[str, int]) -> Artifact:
    """Publish a book as the next version of `metric_trends`."""
    return store.publish(
        NAME,
        partial(_write, book),
        parameters={"horizons": sorted({model.horizon for model in book.models.values()})},
        metrics=book.metrics,
        data_versions=data_versions,
        seed=None,
        card=_card(book),
        kind="model",
    )


def load(artifact: Artifact) -> TrendBook:
    """The book of an artifact. It forecasts the very numbers of the one that was published.

    Raises:
        BadInput: the artifact is of a format that this version does not read.
    """
    stored = json.loads(artifact.file(_MODELS).read_text(encoding="utf-8"))
    written = stored.get("format") if isinstance(stored, dict) else 1
    if written != FORMAT:
        raise BadInput(
            f"{artifact.name}@{artifact.version} holds trends in format {written}, and this version reads format {FORMAT}: "
            "run notebooks/50_trends.ipynb again to publish them anew."
        )
    parts = {}
    for name in (_SERIES, _BACKTESTS, _MEMBERS, _SHIFTS, _HOLIDAYS):
        frame = pl.read_parquet(artifact.file(name))
        parts[name] = frame.partition_by(*KEY, as_dict=True, include_key=False, maintain_order=True), frame.drop(KEY)
    models = {}
    for entry in stored["models"]:
        key = (entry["experiment_id"], entry["metric"])
        models[key] = _model(entry, {name: of_key.get(key, every.head(0)) for name, (of_key, every) in parts.items()})
    return TrendBook(models=models, skipped=pl.read_parquet(artifact.file(_SKIPPED)))


def _write(book: TrendBook, folder: Path) -> None:
    entries = [
        {
            "experiment_id": experiment_id,
            "metric": metric,
            "seasons": model.seasons,
            "horizon": model.horizon,
            "step_seconds": model.series.step.total_seconds(),
            "scale": asdict(model.scale),
            "width": asdict(model.width),
            "metrics": model.metrics,
            "holidays_ahead": model.holidays_ahead,
            "note": model.note,
        }
        for (experiment_id, metric), model in book.models.items()
    ]
    stored = {"format": FORMAT, "models": entries}
    (folder / _MODELS).write_text(json.dumps(stored, indent=1, allow_nan=False), encoding="utf-8")
    _stacked(book, lambda model: model.series.frame).write_parquet(folder / _SERIES)
    _stacked(book, lambda model: model.backtest).write_parquet(folder / _BACKTESTS)
    _stacked(book, _member_frame).write_parquet(folder / _MEMBERS)
    _stacked(book, lambda model: model.shifts).write_parquet(folder / _SHIFTS)
    _stacked(book, lambda model: model.holidays).write_parquet(folder / _HOLIDAYS)
    book.skipped.write_parquet(folder / _SKIPPED)


def _stacked(book: TrendBook, frame: Callable[[TrendModel], pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(
        frame(model).select(pl.lit(experiment_id).alias("experiment_id"), pl.lit(metric).alias("metric"), pl.all())
        for (experiment_id, metric), model in book.models.items()
    )


def _member_frame(model: TrendModel) -> pl.DataFrame:
    rows = [{"name": member.name, **asdict(member.scale), **asdict(member.state)} for member in model.members]
    return pl.DataFrame(rows, schema=_MEMBERS_SCHEMA)


def _member(row: dict[str, Any]) -> Member:
    return Member(
        name=row["name"],
        scale=Scale(row["unit"], row["positive"], row["ceiling"]),
        state=State(row["level"], row["slope"], row["damping"], row["deviation"], row["decay"], tuple(row["seasonal"])),
    )


def _model(entry: dict[str, Any], parts: dict[str, pl.DataFrame]) -> TrendModel:
    series = parts[_SERIES]
    return TrendModel(
        series=RegularSeries(
            start=series["timestamp"][0],
            step=timedelta(seconds=entry["step_seconds"]),
            values=series["value"].to_numpy(),
            observed=series["observed"].to_numpy(),
        ),
        seasons=tuple(entry["seasons"]),
        horizon=entry["horizon"],
        members=tuple(_member(row) for row in parts[_MEMBERS].iter_rows(named=True)),
        scale=Scale(**entry["scale"]),
        width=Width(**entry["width"]),
        backtest=_typed(parts[_BACKTESTS], BACKTEST_SCHEMA),
        metrics=entry["metrics"],
        shifts=_typed(parts[_SHIFTS], SHIFTS_SCHEMA),
        holidays=_typed(parts[_HOLIDAYS], HOLIDAYS_SCHEMA),
        holidays_ahead={int(step): added for step, added in entry["holidays_ahead"].items()},
        note=entry["note"],
    )


def _typed(frame: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _few(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _card(book: TrendBook) -> str:
    summary, metrics = book.summary, book.metrics
    combined = summary.filter(model=COMBINATION)
    with_statsmodels = (combined["statsmodels_members"] > 0).sum()
    shifted = (summary["shifts"] > 0).sum()
    alone = sum(model.backtest["model"].n_unique() == 1 for model in book.models.values())
    least, most = min(summary["values"].to_list()), max(summary["values"].to_list())
    lines = [
        "# Metric trends",
        "",
        "**What it is for.** Forecasts with 95 % intervals of an experiment's metric by day (or hour, or week).",
        "",
        f"**Data.** {summary.height} series of {least} to {most} values"
        + (f"; {book.skipped.height} more were skipped (see skipped.parquet)." if book.skipped.height else "."),
        "",
        "**Method.** For each series the median of 12 forecasters that did best on its own past (up to 14 rolling origins): of "
        "some thousand profiles of its seasons, plain and logarithmic, and of statsmodels' forecasters (STL with damped ETS, "
        "AR(1), theta, or unobserved components; seasonal ETS). What is never negative is never forecast below 0. "
        f"{combined.height} series are forecast so; one of statsmodels' is among the 12 in {with_statsmodels}. "
        f"Level shifts were found in {shifted}; of the time before them only the shape counts. Intervals are conformal: "
        "quantiles of the errors that the choice made where it had not been chosen.",
        "",
        "**How good it is** (mean over the series that could be measured; the choice at each origin is made without "
        "it):",
        "",
        "| | this | seasonal naive |",
        "|---|---|---|",
        f"| MASE | {_figure(metrics['mase'])} | {_figure(metrics['naive_mase'])} |",
        "",
        f"Better than seasonal naive in {_percent(metrics['share_better_than_naive'])} of the series. "
        f"sMAPE {_figure(metrics['smape'])}. Intervals calibrated on earlier times hold "
        f"{_percent(metrics['coverage'])} of later values; 95 % is promised.",
        "",
        "**When not to believe it.** A series whose level wanders, or that is only a few seasons long, leaves its "
        "interval less certain than 95 %. Intervals are for single steps, not for the whole path or for sums, and do not "
        "reckon with another level shift. Nothing here knows of launches or a change of traffic split to come, nor of "
        "holidays that did not come twice (of none, unless a country was given); beyond the horizon tried, widths are "
        "extrapolated.",
    ]
    if alone:
        lines += [
            "",
            f"{alone} series were too short (or too constant) to choose on and repeat their last season or value; each "
            "note says so.",
        ]
    return "\n".join(lines) + "\n"


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "(not measured)" if value is None else f"{value:.0%}"
