"""A metric's values at regular times: its step and season inferred, its gaps filled by a stated rule."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neonblue_lab.errors import BadInput
from neonblue_lab.events.records import TIMESTAMP

Floats = NDArray[np.float64]

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
SEASONS = {HOUR: (24, 168), DAY: (7, 364), WEEK: (52,)}
"""Step -> steps in its seasons, each a multiple of the one before: a day and a week of hours, a week and 52 weeks of days
(not 365, so that a day meets its own weekday), a year of weeks."""
HORIZONS = {HOUR: 48, DAY: 14, WEEK: 8}
"""Step -> how many steps ahead a model is tried."""
OTHER_HORIZON = 8
MINIMUM = 3
"""Values below which there is nothing to continue."""


@dataclass(frozen=True)
class RegularSeries:
    """Values at `start`, `start + step`, ...

    Attributes:
        start: of the first value, UTC.
        step: between two values.
        values: without a gap.
        observed: False where the value was filled in.
    """

    start: datetime
    step: timedelta
    values: Floats
    observed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def frame(self) -> pl.DataFrame:
        """timestamp, value, observed."""
        return pl.DataFrame(
            {"timestamp": self.times(0, len(self)), "value": self.values, "observed": self.observed},
            schema_overrides={"timestamp": TIMESTAMP},
        )

    def times(self, first: int, count: int) -> pl.Series:
        """`count` times beginning with that of value number `first`, which may lie after the last."""
        return pl.Series("timestamp", [self.start + self.step * (first + i) for i in range(count)], dtype=TIMESTAMP)


def regular_series(series: pl.DataFrame, *, seasons: tuple[int, ...] | None = None) -> RegularSeries:
    """Put a series on regular times.

    The step is the greatest that meets every timestamp. A gap takes the value one (shortest) season earlier, else one
    season later, else lies on the line between its neighbours.

    Args:
        series: timestamp (date or datetime; without a time zone it is UTC) and value (null: a gap), in any order.
        seasons: steps in each season, for filling gaps; None: by `default_seasons`.

    Raises:
        BadInput: a column is missing, a time is null or occurs twice, a value is not finite, fewer than 3 values, or
            times so irregular that more than half of the regular ones would have to be filled.
    """
    missing = [name for name in ("timestamp", "value") if name not in series.columns]
    if missing:
        raise BadInput(f"A series needs the columns timestamp and value: {', '.join(missing)} missing.")
    points = _points(series)
    step = timedelta(microseconds=int(np.gcd.reduce(np.diff(points["timestamp"].to_physical().to_numpy()))))
    start, end = points["timestamp"][0], points["timestamp"][-1]
    count = (end - start) // step + 1
    if points.height < count / 2:
        raise BadInput(
            f"A series of {points.height} values from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} is not regular: "
            f"its times agree only in steps of {step}, and most of those are missing. Sum or average it by day first, "
            "and give a day on which nothing was counted the value 0."
        )
    row = ((points["timestamp"] - start).to_physical().to_numpy() // (step // timedelta(microseconds=1))).astype(int)
    values = np.full(count, np.nan)
    values[row] = points["value"].to_numpy()
    observed = ~np.isnan(values)
    return RegularSeries(start, step, _filled(values, (seasons or default_seasons(step, count))[0]), observed)


def default_seasons(step: timedelta, count: int) -> tuple[int, ...]:
    """Steps in each season, the shortest first: a day and a week of hours, a week and a year of days, a year of weeks; (1,)
    for any other step.

    A week of hours and a year of days count only once there are two of them and four horizons to try them on; a year of
    weeks needs two and one horizon.
    """
    known = SEASONS.get(step, (1,))
    enough = [season for season in known[1:] if count >= 2 * season + 4 * HORIZONS[step]]
    if step == WEEK and count < 2 * known[0] + HORIZONS[WEEK]:
        return (1,)
    return (known[0], *enough)


def default_horizon(step: timedelta) -> int:
    """How many steps ahead a model is tried: two days of hours, two weeks of days, eight weeks, else 8 steps."""
    return HORIZONS.get(step, OTHER_HORIZON)


def _points(series: pl.DataFrame) -> pl.DataFrame:
    dtype: Any = series.schema["timestamp"]
    if not dtype.is_temporal() or dtype in (pl.Time, pl.Duration):
        raise BadInput(f"The column timestamp of a series holds {dtype}: it must be a date or a datetime.")
    if not series.schema["value"].is_numeric():
        raise BadInput(f"The column value of a series holds {series.schema['value']}: it must be numbers.")
    aware = getattr(dtype, "time_zone", None)
    time = (
        pl.col("timestamp").cast(TIMESTAMP)
        if aware
        else pl.col("timestamp").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    )
    points = series.select(time, pl.col("value").cast(pl.Float64))
    if points["timestamp"].null_count():
        raise BadInput("A series has a value without a timestamp: leave such rows out, or find their time.")
    repeated = points.filter(pl.col("timestamp").is_duplicated())
    if repeated.height:
        raise BadInput(
            f"A series has {repeated['timestamp'][0]:%Y-%m-%d %H:%M} more than once: it must hold one value for each "
            "time. Is it a mix of several metrics, variants or experiments?"
        )
    points = points.drop_nulls("value").sort("timestamp")
    if not points["value"].is_finite().all():
        raise BadInput("A series holds values that are not finite numbers: a gap is a null or a missing row.")
    if points.height < MINIMUM:
        raise BadInput(f"A series of {points.height} value(s) has no trend: it needs at least {MINIMUM}.")
    return points


def _filled(values: Floats, season: int) -> Floats:
    values = values.copy()
    if season > 1:
        for i in np.flatnonzero(np.isnan(values)):
            earlier = values[i - season] if i >= season else np.nan
            later = values[i + season] if i + season < len(values) else np.nan
            values[i] = later if np.isnan(earlier) else earlier
    gaps = np.isnan(values)
    values[gaps] = np.interp(np.flatnonzero(gaps), np.flatnonzero(~gaps), values[~gaps])
    return values
