"""What models are trained on: a sample of the lake's events, the same for the same seed and data version."""

import polars as pl

from neonblue_lab.errors import NotFound
from neonblue_lab.warehouse.warehouse import Warehouse


def training_events(warehouse: Warehouse, *, limit: int = 50_000, seed: int = 1) -> pl.DataFrame:
    """Events in the columns of the view `events`: at most `limit`, evenly over the event types, chosen by a hash of id and
    seed.

    Raises:
        NotFound: the lake holds no events.
    """
    events = warehouse.sql(
        """
        WITH ranked AS (
            SELECT *, row_number() OVER (PARTITION BY event_type ORDER BY hash(event_id, $1), event_id) AS rank
            FROM events)
        SELECT * EXCLUDE (rank) FROM ranked ORDER BY rank, event_type LIMIT $2
        """,
        [seed, limit],
    )
    if events.is_empty():
        raise NotFound("The lake holds no events to learn from: `neonblue replay --from ...` brings them in.")
    return events
