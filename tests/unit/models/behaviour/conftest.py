"""Small journeys written down by hand, and simulated ones whose truth is known."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from neonblue_lab.events.parsing import EventParser
from neonblue_lab.events.schema import EVENT_SCHEMA
from neonblue_lab.events.simulator import simulate
from neonblue_lab.models.behaviour.sessions import COLUMNS

START = datetime(2026, 1, 5, tzinfo=UTC)
OUTCOMES = ("conversion", "purchase", "session_summary")
Events = Callable[[Iterable[dict[str, Any]]], pl.DataFrame]


@pytest.fixture(scope="session")
def written() -> Events:
    """Events from rows: event_type, minute (since START), and where wanted user_id, session_id, properties, topic."""

    def frame(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
        events = [
            {
                "event_type": row["event_type"],
                "topic": row.get("topic", "analytics_events" if row["event_type"] in OUTCOMES else "user_events"),
                "user_id": row.get("user_id", "u"),
                "session_id": row.get("session_id"),
                "timestamp": START + timedelta(minutes=row["minute"]),
                "properties": row.get("properties"),
                "experiment_id": row.get("experiment_id"),
            }
            for row in rows
        ]
        return pl.DataFrame(events, schema={name: EVENT_SCHEMA[name] for name in (*COLUMNS, "experiment_id")})

    return frame


@pytest.fixture(scope="session")
def simulated() -> pl.DataFrame:
    """Simulated events of 3,000 users, by time."""
    parser = EventParser()
    simulation = simulate(experiments=6, users=3_000, events=30_000, seed=3)
    events = pl.concat(parser.parse(batch).events for batch in simulation.batches())
    return events.unique("event_id", maintain_order=True).sort("timestamp", "event_id")


@pytest.fixture(scope="session")
def shop(written: Events) -> pl.DataFrame:
    """Simulated sessions in which a view is followed by a cart in half of them; of those with a cart 60 % convert, of those
    without one 10 %. Nothing else tells."""
    rng = np.random.default_rng(8)
    rows = []
    for user in range(4_000):
        minute = float(rng.uniform(0, 60 * 24 * 40))
        cart = rng.random() < 0.5
        kinds = ["page_view", *(["add_to_cart"] if cart else []), "click"]
        kinds += ["purchase"] if rng.random() < (0.6 if cart else 0.1) else []
        rows += [
            {"event_type": kind, "minute": minute + step, "user_id": f"u{user}", "session_id": f"s{user}"}
            for step, kind in enumerate(kinds)
        ]
    return written(rows)
