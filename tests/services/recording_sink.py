"""A store made of files: it keeps the first delivery of each token, and says when a token comes back with other rows."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from neonblue_lab.errors import Unavailable
from neonblue_lab.lake.tables import Table, layout
from neonblue_lab.sinks.sink import Delivery, Health


class RecordingSink:
    """Keeps what it is given in a folder, in the order of arrival.

    Attributes:
        down: while true, it answers nothing.
        tokens: of the deliveries that this object took, in order.
        on_write: called with each delivery before it is kept.
    """

    def __init__(self, name: str, folder: Path, on_write: Callable[[Delivery], None] = lambda delivery: None) -> None:
        self.name = name
        self.folder = folder
        self.on_write = on_write
        self.down = False
        self.tokens: list[str] = []
        self.prepared: list[Mapping[str, Table]] = []

    @property
    def address(self) -> str:
        return f"{self.name}://{self.folder}"

    def prepare(self, tables: Mapping[str, Table]) -> None:
        self._answer()
        self.prepared.append(tables)
        for table in tables:
            (self.folder / table).mkdir(parents=True, exist_ok=True)

    def write(self, delivery: Delivery) -> None:
        self._answer()
        self.on_write(delivery)
        place = self.folder / delivery.table / f"{hashlib.sha256(delivery.token.encode()).hexdigest()}.parquet"
        if place.exists():
            assert pl.read_parquet(place).equals(delivery.frame), f"{delivery.token} came back with other rows"
        else:
            aside = place.with_suffix(".new")
            delivery.frame.write_parquet(aside)
            aside.rename(place)
        self.tokens.append(delivery.token)

    def rows(self, table: str) -> pl.DataFrame:
        """All rows of a table, in no particular order; empty where it has none."""
        files = sorted((self.folder / table).glob("*.parquet"))
        return pl.concat([pl.DataFrame(schema=layout(table).schema), *map(pl.read_parquet, files)])

    def health(self) -> Health:
        return Health(ok=not self.down, latency_ms=None if self.down else 0.0, message="files")

    def close(self) -> None:
        pass

    def _answer(self) -> None:
        if self.down:
            raise Unavailable(f"{self.address} does not answer.")
