"""Click streams of an online clothing shop (UCI repository): one `click` event per row."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from neonblue_lab.events.encoding import RecordEncoder
from neonblue_lab.events.importers.tables import read_table
from neonblue_lab.events.records import TIMESTAMP, USER_EVENTS, RecordBatch

COLUMNS = {
    **dict.fromkeys(("year", "month", "day", "order", "country", "session_id", "main_category"), pl.Int32()),
    "clothing_model": pl.String(),
    **dict.fromkeys(
        ("colour", "location", "model_photography", "price", "price_above_category_mean", "page"),
        pl.Int32(),
    ),
}
PUBLISHED_NAMES = {
    "session ID": "session_id",
    "page 1 (main category)": "main_category",
    "page 2 (clothing model)": "clothing_model",
    "model photography": "model_photography",
    "price 2": "price_above_category_mean",
}
"""Columns of the repository's CSV file -> the names used here."""

CATEGORIES = {1: "trousers", 2: "skirts", 3: "blouses", 4: "sale"}
COLOURS = {
    1: "beige",
    2: "black",
    3: "blue",
    4: "brown",
    5: "burgundy",
    6: "gray",
    7: "green",
    8: "navy blue",
    9: "of many colors",
    10: "olive",
    11: "pink",
    12: "red",
    13: "violet",
    14: "white",
}
LOCATIONS = {
    1: "top left",
    2: "top middle",
    3: "top right",
    4: "bottom left",
    5: "bottom middle",
    6: "bottom right",
}
PHOTOGRAPHY = {1: "en face", 2: "profile"}
"""Codes as the data set's description explains them."""


def import_eshop(file: Path) -> Iterator[RecordBatch]:
    """Each click becomes a `click` event of a user who is known for one session only.

    The source has the date and the order of the clicks, no clock: a session's first click is taken to happen at noon
    UTC of its date and each further one a minute after the one before; `timestamp` is named in `properties.derived`.
    Codes are written as words, except `country`, which stays the source's number.

    Raises:
        BadInput: the file is not this table.
    """
    clicks = read_table(file, COLUMNS, aliases=PUBLISHED_NAMES)
    noon = pl.datetime("year", "month", "day", 12, time_unit="us", time_zone="UTC")
    clicks = clicks.with_columns(timestamp=(noon + pl.duration(minutes=pl.col("order") - 1)).cast(TIMESTAMP))
    encoder = RecordEncoder(USER_EVENTS)
    for part in clicks.sort("timestamp", "session_id").iter_slices(100_000):
        yield encoder.encode(_events(part))


def _events(clicks: pl.DataFrame) -> pl.DataFrame:
    category = pl.col("main_category").replace_strict(CATEGORIES, default=None, return_dtype=pl.String)
    return clicks.select(
        event_id=pl.format("eshop-{}-{}", "session_id", "order"),
        event_type=pl.lit("click"),
        timestamp="timestamp",
        user_id=pl.format("eshop-visitor-{}", "session_id"),
        session_id=pl.format("eshop-session-{}", "session_id"),
        properties=pl.struct(
            page=pl.format("/{}/{}", category, "clothing_model"),
            order="order",
            country="country",
            category=category,
            model="clothing_model",
            colour=pl.col("colour").replace_strict(COLOURS, default=None, return_dtype=pl.String),
            location=pl.col("location").replace_strict(LOCATIONS, default=None, return_dtype=pl.String),
            photography=pl.col("model_photography").replace_strict(PHOTOGRAPHY, default=None, return_dtype=pl.String),
            price="price",
            price_above_category_mean=pl.col("price_above_category_mean") == 1,
            listing_page="page",
            derived=pl.lit(["timestamp"]),
        ),
    )
