"""Many trends in one artifact: one for each experiment and metric, stored as numbers that forecast without a
library."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.models.trends.backtest import Width
from neonblue_lab.models.trends.forecasters import State
from neonblue_lab.models.trends.scale import Scale
from neonblue_lab.models.trends.series import RegularSeries
from neonblue_lab.models.trends.trend import BACKTEST_SCHEMA, TrendModel, fit_trend

NAME = "metric_trends"
KEY = ("experiment_id", "metric")
SHOWN = 10
"""Keys listed in a message about one that is not there."""

_KEY_SCHEMA: dict[str, pl.DataType] = {"experiment_id": pl.String(), "metric": pl.String()}
_SUMMARY_SCHEMA = _KEY_SCHEMA | {
    "model": pl.String(),
    "values": pl.Int64(),
    "step_days": pl.Float64(),
    "horizon": pl.Int64(),
    "mase": pl.Float64(),
    "naive_mase": pl.Float64(),
    "smape": pl.Float64(),
    "coverage": pl.Float64(),
    "note": pl.String(),
}
_MODELS, _SERIES, _BACKTESTS, _SKIPPED = "models.json", "series.parquet", "backtests.parquet", "skipped.parquet"


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

        Columns experiment_id, metric, model, values (their number), step_days, horizon (steps tried), mase, naive_mase,
        smape, coverage, note: see `TrendModel`.
        """
        rows = [
            {
                "experiment_id": experiment_id,
                "metric": metric,
                "model": model.model,
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


def fit_book(series: pl.DataFrame, *, season: int | None = None, horizon: int | None = None) -> TrendBook:
    """Fit a trend to each experiment's metrics.

    Args:
        series: experiment_id, metric, timestamp, value; one row for each step of each series (see `fit_trend`).
        season, horizon: as for `fit_trend`, for all series.

    Returns:
        The book. A series that `fit_trend` refuses is skipped, with its reason.

    Raises:
        BadInput: columns are missing, a key is null, or no series could be fitted.
    """
    missing = [name for name in (*KEY, "timestamp", "value") if name not in series.columns]
    if missing:
        raise BadInput(
            f"Trends need the columns experiment_id, metric, timestamp and value: {', '.join(missing)} missing."
        )
    if sum(series[name].null_count() for name in KEY):
        raise BadInput("Trends need an experiment_id and a metric on every row: some are null.")
    models, skipped = {}, []
    for key, rows in series.group_by(*KEY, maintain_order=True):
        experiment_id, metric = map(str, key)
        try:
            models[experiment_id, metric] = fit_trend(rows, season=season, horizon=horizon)
        except BadInput as error:
            skipped.append({"experiment_id": experiment_id, "metric": metric, "reason": str(error)})
    if not models:
        why = f" The first of {len(skipped)}: {skipped[0]['reason']}" if skipped else ""
        raise BadInput(f"No series could be given a trend.{why}")
    return TrendBook(models, pl.DataFrame(skipped, schema=_KEY_SCHEMA | {"reason": pl.String()}))


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
    """The book of an artifact. It forecasts the very numbers of the one that was published."""
    frames = {name: pl.read_parquet(artifact.file(name)) for name in (_SERIES, _BACKTESTS)}
    by_key = {name: frame.partition_by(*KEY, as_dict=True, include_key=False) for name, frame in frames.items()}
    stored = json.loads(artifact.file(_MODELS).read_text(encoding="utf-8"))
    return TrendBook(
        models={
            (entry["experiment_id"], entry["metric"]): _model(
                entry, *(by_key[name][entry["experiment_id"], entry["metric"]] for name in (_SERIES, _BACKTESTS))
            )
            for entry in stored
        },
        skipped=pl.read_parquet(artifact.file(_SKIPPED)),
    )


def _write(book: TrendBook, folder: Path) -> None:
    entries = [
        {
            "experiment_id": experiment_id,
            "metric": metric,
            "model": model.model,
            "season": model.season,
            "horizon": model.horizon,
            "step_seconds": model.series.step.total_seconds(),
            "states": {name: asdict(state) for name, state in model.states.items()},
            "scale": asdict(model.scale),
            "width": asdict(model.width),
            "metrics": model.metrics,
            "note": model.note,
        }
        for (experiment_id, metric), model in book.models.items()
    ]
    (folder / _MODELS).write_text(json.dumps(entries, indent=1, allow_nan=False), encoding="utf-8")
    _stacked(book, lambda model: model.series.frame).write_parquet(folder / _SERIES)
    _stacked(book, lambda model: model.backtest).write_parquet(folder / _BACKTESTS)
    book.skipped.write_parquet(folder / _SKIPPED)


def _stacked(book: TrendBook, frame: Callable[[TrendModel], pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(
        frame(model).select(pl.lit(experiment_id).alias("experiment_id"), pl.lit(metric).alias("metric"), pl.all())
        for (experiment_id, metric), model in book.models.items()
    )


def _model(entry: dict[str, Any], series: pl.DataFrame, backtest: pl.DataFrame) -> TrendModel:
    return TrendModel(
        series=RegularSeries(
            start=series["timestamp"][0],
            step=timedelta(seconds=entry["step_seconds"]),
            values=series["value"].to_numpy(),
            observed=series["observed"].to_numpy(),
        ),
        season=entry["season"],
        horizon=entry["horizon"],
        model=entry["model"],
        states={
            name: State(state["level"], state["slope"], state["damping"], tuple(state["seasonal"]))
            for name, state in entry["states"].items()
        },
        scale=Scale(**entry["scale"]),
        width=Width(**entry["width"]),
        backtest=backtest.select(pl.col(name).cast(dtype) for name, dtype in BACKTEST_SCHEMA.items()),
        metrics=entry["metrics"],
        note=entry["note"],
    )


def _few(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _card(book: TrendBook) -> str:
    summary, metrics = book.summary, book.metrics
    chosen = ", ".join(
        f"{name} ({count})" for name, count in summary["model"].value_counts(sort=True, name="n").iter_rows()
    )
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
        "**Method.** For each series the best of: seasonal naive, seasonal mean, theta, damped ETS, and the median of "
        "the last three, on the series' own past (up to 12 rolling origins, refitted at each). What is never negative "
        f"is modelled as log(1 + x / median) and never forecast below 0. Chosen: {chosen}.",
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
        "interval less certain than 95 %. Intervals are for single steps, not for the whole path or for sums. Nothing "
        "here knows of holidays, launches or a change of traffic split to come; beyond the horizon tried, widths are "
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
