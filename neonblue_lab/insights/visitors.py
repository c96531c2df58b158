"""Who comes: users by day, and how many of them an experiment would not have met yet after so many days."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neonblue_lab.errors import NotFound
from neonblue_lab.warehouse.warehouse import Warehouse


@dataclass(frozen=True, eq=False)
class Visitors:
    """Users of a site, day by day.

    Attributes:
        daily: columns day (a date, UTC) and users (different ones on that day), without gaps.
        newcomers: share of a day's users who were not there on any of the 0, 1, 2, ... days before: what an experiment
            that started so many days ago has not met yet. From 1 downwards; its last value stands for later days, too.
    """

    daily: pl.DataFrame
    newcomers: NDArray[np.float64]


def visitors(warehouse: Warehouse, *, event: str | None = None) -> Visitors:
    """Users by day, and the newcomers among them, from the events of the lake.

    The last day is left out, as it may not be over. How many of a day's users were not there in the d days before is
    counted on the days that have so many before them in the lake, for d up to half of its days.

    Args:
        warehouse: where to ask.
        event: the type of event that would expose a user to the experiment; any unless given.

    Raises:
        NotFound: the lake holds no such events of users on at least two days.
    """
    gaps = warehouse.sql(
        """
        WITH visits AS (
            SELECT DISTINCT user_id, timestamp::DATE AS day FROM events
            WHERE user_id IS NOT NULL AND ($1 IS NULL OR event_type = $1)),
        whole AS (SELECT * FROM visits WHERE day < (SELECT max(day) FROM visits)),
        gaps AS (
            SELECT day, day - lag(day) OVER (PARTITION BY user_id ORDER BY day) AS gap FROM whole)
        SELECT day, gap, count(*) AS users FROM gaps GROUP BY ALL ORDER BY ALL""",
        [event],
    )
    if gaps.is_empty():
        of = f" of type {event}" if event else ""
        raise NotFound(f"The lake holds no events{of} of users on two days or more: there is no traffic to plan with.")
    seen = gaps.group_by("day").agg(pl.sum("users")).sort("day")
    daily = seen.upsample("day", every="1d").with_columns(pl.col("users").fill_null(0))
    return Visitors(daily, _newcomers(gaps, daily.height))


def _newcomers(gaps: pl.DataFrame, days: int) -> NDArray[np.float64]:
    """Share of visits after a gap of more than d days, for each d, among the visits with d days before them."""
    before = (gaps["day"] - gaps["day"].min()).dt.total_days().to_numpy()
    gap = gaps["gap"].fill_null(days).to_numpy()
    users = gaps["users"].to_numpy()
    ages = np.arange(days // 2 + 1)[:, None]
    counted = before >= ages
    shares: NDArray[np.float64] = ((gap > ages) & counted) @ users / (counted @ users)
    return shares
