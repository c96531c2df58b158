"""What came in: events by day and topic, and why records were rejected."""

import polars as pl

from neonblue_lab.errors import NotFound
from neonblue_lab.warehouse.warehouse import Warehouse


def daily_records(warehouse: Warehouse) -> pl.DataFrame:
    """Events by the day on which they happened (UTC): day, topic, records.

    Raises:
        NotFound: the lake holds no events.
    """
    records = warehouse.sql("""
        SELECT timestamp::DATE AS day, topic, count(*) AS records FROM events GROUP BY ALL ORDER BY ALL""")
    if records.is_empty():
        raise NotFound("The lake holds no events yet: `neonblue replay --from ...` brings them in.")
    return records


def rejection_reasons(warehouse: Warehouse) -> pl.DataFrame:
    """Dead letters by reason, without what was particular to the single record: error, count."""
    return warehouse.sql("""
        SELECT array_to_string(string_split(error, ': ')[:2], ': ') AS error, count(*) AS count
        FROM dead_letters GROUP BY ALL ORDER BY count DESC, error""")
