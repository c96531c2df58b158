"""Which events models learn from, are watched on and are corrected: the same for the same seed and data version."""

from datetime import datetime

import polars as pl

from neonblue_lab.errors import NothingToDo
from neonblue_lab.warehouse.warehouse import Warehouse

_FIELDS = "event_id, event_type, topic, user_id, session_id, experiment_id, variant_id, timestamp, value, properties"


def training_events(warehouse: Warehouse, *, limit: int = 50_000, seed: int = 1) -> pl.DataFrame:
    """Events in the columns of the envelope: at most `limit`, evenly over the event types; first of each type those that a
    person corrected, the others chosen by a hash of id and seed.

    Raises:
        NotFound: the lake holds no events.
    """
    events = warehouse.sql(
        f"""
        WITH ranked AS (
            SELECT {_FIELDS}, row_number() OVER (PARTITION BY event_type ORDER BY
                event_id IN (SELECT event_id FROM corrections WHERE scope = 'event') DESC,
                hash(event_id, $1), event_id) AS rank
            FROM events)
        SELECT * EXCLUDE (rank) FROM ranked ORDER BY rank, event_type LIMIT $2
        """,
        [seed, limit],
    )
    if events.is_empty():
        raise NothingToDo("The lake holds no events to learn from: `neonblue replay --from ...` brings them in.")
    return events


def stream_events(
    warehouse: Warehouse, *, after: datetime | None = None, limit: int = 20_000, seed: int = 1
) -> pl.DataFrame:
    """Events as they come, in the columns of the envelope: at most `limit`, chosen by a hash of id and seed.

    Args:
        after: only those that happened later.
    """
    return warehouse.sql(
        f"""SELECT {_FIELDS} FROM events WHERE $1 IS NULL OR timestamp > $1
            ORDER BY hash(event_id, $2), event_id LIMIT $3""",
        [after, seed, limit],
    )
