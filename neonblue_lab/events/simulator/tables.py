"""The simulated events of each topic as columns, ready to be encoded a batch at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neonblue_lab.events.encoding import encode_values, iso
from neonblue_lab.events.records import ANALYTICS_EVENTS, EXPERIMENT_METRICS, EXPERIMENTS_EVENTS, TIMESTAMP, USER_EVENTS
from neonblue_lab.events.simulator.journeys import (
    CART,
    CLICK,
    CONVERSION,
    OUTCOMES,
    PLACES,
    PRODUCTS,
    PURCHASE,
    SEARCH,
    SECOND,
    STEPS,
    SUMMARY,
    Steps,
    Summaries,
)
from neonblue_lab.events.simulator.programme import PAGE_LOAD, Experiment, Programme
from neonblue_lab.events.simulator.traffic import DAY, DEVICES, SEGMENTS, SOURCES, Exposures, Sessions, Users

QUERIES = (
    "running shoes",
    "rain jacket",
    "gift for her",
    "wireless headphones",
    "desk lamp",
    "organic coffee",
    "city trip april",
    "garden chairs",
    "python course",
    "size 42",
    "sale",
    "return policy",
)
ELEMENTS = ("product_card", "filter", "sort", "picture", "reviews", "banner", "size_guide", "recommendation")

LOADS_PER_DAY = 400
"""Page loads that an arm of weight 1 and full allocation measures in a day, on average."""

LOAD_SPREAD = 0.45
"""Standard deviation of page load times relative to their mean."""


@dataclass(frozen=True)
class EventTable:
    """The events of one topic.

    Attributes:
        topic: its name.
        time: microseconds from the beginning of day 0, one per event.
        may_be_late: whether a network may hold the event back.
        columns: numbers of events -> those events in the columns of an event (see encoding.encode_values).
    """

    topic: str
    time: NDArray[np.int64]
    may_be_late: NDArray[np.bool_]
    columns: Callable[[NDArray[np.int64]], pl.DataFrame]


class Calendar:
    """Turns microseconds from the beginning of day 0 into timestamps."""

    def __init__(self, start: date) -> None:
        self._zero = (start - date(1970, 1, 1)).days * DAY

    def timestamps(self, time: NDArray[np.int64]) -> pl.Series:
        return pl.Series("timestamp", time + self._zero).cast(TIMESTAMP)


def experiment_table(
    programme: Programme,
    users: Users,
    sessions: Sessions,
    exposures: Exposures,
    calendar: Calendar,
    prefix: str,
    days: int,
) -> EventTable:
    """Lifecycle events of all experiments, then an exposure per user and experiment, early in the entry session."""
    lifecycle, times = _lifecycle(programme, calendar, prefix, days)
    exposed_at = users.entry[exposures.user] + SECOND // 2
    entry_session = np.flatnonzero(sessions.entry)[exposures.user]
    ids = pl.Series([e.experiment_id for e in programme.experiments])
    arms = pl.Series([variant.variant_id for variant in programme.arms])
    exposed = pl.DataFrame(
        {
            "event_id": _numbered(f"{prefix}-x", np.arange(exposures.user.size)),
            "event_type": pl.repeat("exposure", exposures.user.size, eager=True),
            "timestamp": calendar.timestamps(exposed_at),
            "user_id": _numbered(f"{prefix}-u", exposures.user),
            "session_id": _numbered(f"{prefix}-s", entry_session),
            "experiment_id": ids[exposures.experiment],
            "variant_id": arms[exposures.arm],
        }
    )
    values = pl.concat([encode_values(lifecycle), encode_values(exposed)])
    keys = pl.concat([lifecycle["experiment_id"], exposed["experiment_id"]])
    encoded = pl.DataFrame({"experiment_id": keys, "encoded": values})
    return EventTable(
        topic=EXPERIMENTS_EVENTS,
        time=np.concatenate([times, exposed_at]),
        may_be_late=np.arange(encoded.height) >= lifecycle.height,
        columns=lambda rows: encoded[rows],
    )


def user_table(
    users: Users, sessions: Sessions, steps: Steps, calendar: Calendar, prefix: str, rng: np.random.Generator
) -> EventTable:
    """Behaviour: every step that is no measured outcome."""
    own = np.flatnonzero(steps.kind < CONVERSION)
    query, element = (rng.integers(0, len(words), own.size) for words in (QUERIES, ELEMENTS))
    kinds, pages = pl.Series(STEPS), _page_names()

    def columns(rows: NDArray[np.int64]) -> pl.DataFrame:
        step = own[rows]
        kind, page, session = steps.kind[step], steps.page[step], steps.session[step]
        about = _about(users, sessions, session, prefix)
        return about.with_columns(
            event_id=_numbered(f"{prefix}-b", rows),
            event_type=kinds[kind],
            timestamp=calendar.timestamps(steps.time[step]),
            properties=pl.struct(
                pages[page].alias("page"),
                _where(kind == SEARCH, pl.Series(QUERIES)[query[rows]]).alias("query"),
                _where(kind == CLICK, pl.Series(ELEMENTS)[element[rows]]).alias("element"),
                _where(kind == CART, pl.Series(page.astype(np.int64) - len(PLACES))).alias("product"),
                pl.col("device_type", "traffic_source", "user_segment"),
            ),
        )

    return EventTable(USER_EVENTS, steps.time[own], np.ones(own.size, dtype=bool), columns)


def outcome_table(
    users: Users, sessions: Sessions, steps: Steps, summaries: Summaries, calendar: Calendar, prefix: str
) -> EventTable:
    """Measured outcomes: conversions, purchases with their value, and a summary per session."""
    own = np.flatnonzero(steps.kind >= CONVERSION)
    kinds, pages = pl.Series(STEPS), _page_names()

    def columns(rows: NDArray[np.int64]) -> pl.DataFrame:
        step = own[rows]
        kind, session = steps.kind[step], steps.session[step]
        summary = kind == SUMMARY
        value = np.select(
            [kind == PURCHASE, summary], [sessions.order_value[session], summaries.seconds[session]], np.nan
        )
        return _about(users, sessions, session, prefix).with_columns(
            event_id=_numbered(f"{prefix}-o", rows),
            event_type=kinds[kind],
            timestamp=calendar.timestamps(steps.time[step]),
            value=pl.Series(value).fill_nan(None),
            properties=pl.struct(
                _where(~summary, pages[steps.page[step]]).alias("page"),
                _where(summary, pl.Series(summaries.length[session])).alias("journey_length"),
                _where(summary, pl.Series(OUTCOMES)[summaries.outcome[session]]).alias("conversion_outcome"),
                pl.col("device_type", "traffic_source", "user_segment"),
            ),
        )

    return EventTable(ANALYTICS_EVENTS, steps.time[own], np.ones(own.size, dtype=bool), columns)


def metric_table(
    programme: Programme, calendar: Calendar, prefix: str, days: int, rng: np.random.Generator
) -> EventTable:
    """Daily totals of page load times per arm: disjoint periods that add up."""
    rows = [
        (experiment, variant, day)
        for experiment in programme.experiments
        for day in range(experiment.start, min(experiment.end, days))
        for variant in experiment.variants
    ]
    share = np.array([experiment.weight * variant.allocation for experiment, variant, _ in rows])
    mean = np.array([experiment.load_ms * (1 + variant.load_lift) for experiment, variant, _ in rows])
    n = 2 + rng.poisson(LOADS_PER_DAY * share)
    spread = LOAD_SPREAD * mean
    day = np.array([day for _, _, day in rows], dtype=np.int64)
    observed = rng.normal(mean, spread / np.sqrt(n))
    totals = pl.DataFrame(
        {
            "event_id": _numbered(f"{prefix}-m", np.arange(len(rows))),
            "timestamp": calendar.timestamps((day + 1) * DAY),
            "period_start": calendar.timestamps(day * DAY),
            "experiment_id": [experiment.experiment_id for experiment, _, _ in rows],
            "variant_id": [variant.variant_id for _, variant, _ in rows],
            "n": n,
            "value": observed,
            "variance": spread**2 * rng.chisquare(n - 1) / (n - 1),
        }
    ).with_columns(
        event_type=pl.lit("metric_total"),
        properties=pl.struct(
            pl.lit(PAGE_LOAD).alias("metric"),
            pl.lit("mean").alias("kind"),
            "n",
            pl.col("value").alias("mean"),
            "variance",
            iso(pl.col("period_start")),
            iso(pl.col("timestamp")).alias("period_end"),
            pl.lit("simulator").alias("source"),
        ),
    )
    return EventTable(
        EXPERIMENT_METRICS, (day + 1) * DAY, np.ones(len(rows), dtype=bool), lambda chosen: totals[chosen]
    )


def _lifecycle(
    programme: Programme, calendar: Calendar, prefix: str, days: int
) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Created three days ahead, started, and ended if the end has come: (events, microseconds from day 0)."""
    moments: list[tuple[Experiment, str, int]] = []
    for experiment in programme.experiments:
        moments.append((experiment, "experiment_created", experiment.start - 3))
        moments.append((experiment, "experiment_started", experiment.start))
        if experiment.end <= days:
            moments.append((experiment, "experiment_ended", experiment.end))
    time = np.array([day for _, _, day in moments], dtype=np.int64) * DAY
    at = calendar.timestamps(time)
    said = at.to_frame().select(iso(pl.col("timestamp"))).to_series().to_list()
    events = pl.DataFrame(
        {
            "event_id": [f"{prefix}-l{number:06d}" for number in range(len(moments))],
            "event_type": [event_type for _, event_type, _ in moments],
            "timestamp": at,
            "experiment_id": [experiment.experiment_id for experiment, _, _ in moments],
            "properties": [
                _definition(experiment, event_type, text)
                for (experiment, event_type, _), text in zip(moments, said, strict=True)
            ],
        }
    )
    return events, time


def _definition(experiment: Experiment, event_type: str, at: str) -> dict[str, object]:
    """The properties that a lifecycle event carries."""
    created = event_type == "experiment_created"
    variants = [
        {"variant_id": v.variant_id, "name": v.name, "description": v.description, "allocation": v.allocation}
        for v in experiment.variants
    ]
    return {
        "name": experiment.name if created else None,
        "hypothesis": experiment.idea.hypothesis if created else None,
        "experiment_type": experiment.idea.experiment_type if created else None,
        "industry": experiment.industry if created else None,
        "user_segment": experiment.user_segment if created else None,
        "variants": variants if created else None,
        "primary_metric": experiment.primary_metric if created else None,
        "status": {"experiment_created": "draft", "experiment_started": "running"}.get(event_type, "finished"),
        "created_at": at if created else None,
        "started_at": at if event_type == "experiment_started" else None,
        "ended_at": at if event_type == "experiment_ended" else None,
    }


def _about(users: Users, sessions: Sessions, session: NDArray[np.int64], prefix: str) -> pl.DataFrame:
    """Who acted, in which session, and how they came."""
    user = sessions.user[session]
    return pl.DataFrame(
        {
            "user_id": _numbered(f"{prefix}-u", user),
            "session_id": _numbered(f"{prefix}-s", session),
            "device_type": pl.Series(DEVICES)[users.device[user]],
            "traffic_source": pl.Series(SOURCES)[users.source[user]],
            "user_segment": pl.Series([segment.name for segment in SEGMENTS])[users.segment[user]],
        }
    )


def _page_names() -> pl.Series:
    return pl.Series([*PLACES, *(f"/products/{number}" for number in range(PRODUCTS))])


def _numbered(prefix: str, numbers: NDArray[np.int64]) -> pl.Series:
    """prefix000042: ids of equal length, made of numbers."""
    digits = pl.Series("number", numbers).cast(pl.String).str.zfill(7)
    return digits.to_frame().select(pl.concat_str(pl.lit(prefix), "number")).to_series()


def _where(condition: NDArray[np.bool_], values: pl.Series) -> pl.Series:
    """The values where the condition holds, null elsewhere."""
    return values.zip_with(pl.Series(condition), pl.Series([None], dtype=values.dtype))
