"""DuckDB over pinned versions of the lake: the same pins give the same numbers, whatever is written meanwhile."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import polars as pl
import polars.selectors as cs

from neonblue_lab.errors import BadInput
from neonblue_lab.lake.lake import Lake, Pin
from neonblue_lab.lake.tables import DERIVED

# What a reader sees of an append-only table: repeated deliveries count once, later statements replace earlier ones.
_READING = {
    "events": 'SELECT * FROM {rows} QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY topic, partition, "offset") = 1',
    "assignments": """SELECT experiment_id, user_id, variant_id, min(first_exposed_at) AS first_exposed_at
        FROM {rows} GROUP BY experiment_id, user_id, variant_id""",
    "metric_totals": """SELECT * FROM {rows} QUALIFY row_number() OVER (
        PARTITION BY experiment_id, variant_id, metric, segment, period_start, period_end ORDER BY as_of DESC, event_id) = 1""",
}


class Warehouse:
    """A read-only DuckDB with one view for each derived table, over the files of pinned versions.

    It can read the lake's folder and nothing else; its settings are locked; it writes nothing.

    Attributes:
        dialect: the name of its SQL, for compilers.
        pins: table -> what is read of it.
    """

    dialect: ClassVar[str] = "duckdb"

    def __init__(self, lake: Lake, versions: Mapping[str, int] | None = None) -> None:
        """Pin the newest versions, or those given (table -> version)."""
        self.pins = lake.pin(versions)
        self._lake = lake

    @property
    def versions(self) -> dict[str, int]:
        """Table -> pinned version."""
        return {name: pin.version for name, pin in self.pins.items()}

    def is_newest(self) -> bool:
        """Whether nothing has been written to the pinned tables since."""
        return self.versions == {name: version for name, version in self._lake.versions().items() if name in DERIVED}

    @property
    def data_version(self) -> str:
        """The pinned versions as one text, such as `events@12,experiments@3`; `parse_data_version` reads it back."""
        return ",".join(f"{name}@{version}" for name, version in self.versions.items())

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The locked connection."""
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET allowed_directories = [?]", [f"{self._lake.path}/"])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        for name in DERIVED:
            rows = _rows(connection, name, self.pins.get(name))
            connection.execute(f"CREATE VIEW {name} AS {_READING.get(name, 'SELECT * FROM {rows}').format(rows=rows)}")
        return connection

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """The result of one SELECT over the views `events`, `experiments`, `assignments`, `metric_totals`, `dead_letters`.

        Raises:
            BadInput: more than one statement, anything but a SELECT, or SQL that DuckDB refuses; the message is DuckDB's.
        """
        try:
            statements = self.connection.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise BadInput("Only a single SELECT can be run here.")
            result = self.connection.cursor().sql(query, params=list(parameters))
            frame = pl.DataFrame(result.to_arrow_table())
        except duckdb.Error as error:
            raise BadInput(f"The warehouse refuses this query: {error}") from error
        return frame.with_columns(cs.datetime(time_zone="*").dt.convert_time_zone("UTC"))


def parse_data_version(text: str) -> dict[str, int]:
    """Table -> version, from a text such as `events@12,experiments@3`.

    Raises:
        BadInput: the text has another form.
    """
    versions = {}
    for part in text.split(","):
        name, mark, version = part.strip().partition("@")
        if name not in DERIVED or not mark or not version.isdecimal():
            raise BadInput(f"{text!r} is no data version: it looks like events@12,experiments@3.")
        versions[name] = int(version)
    return versions


def _rows(connection: duckdb.DuckDBPyConnection, name: str, pin: Pin | None) -> str:
    """SQL for the rows of a pinned table; a table without files is an empty relation of its columns."""
    if pin is None or not pin.files:
        empty = pl.DataFrame(schema=DERIVED[name].schema).to_arrow()
        connection.register("empty_table", empty)
        connection.execute(f"CREATE TABLE empty_{name} AS FROM empty_table")
        connection.unregister("empty_table")
        return f"empty_{name}"
    files = ", ".join("'" + str(Path(file)).replace("'", "''") + "'" for file in pin.files)
    hive = f", hive_partitioning = true, hive_types = {{'{pin.partition_by}': DATE}}" if pin.partition_by else ""
    return f"read_parquet([{files}]{hive})"
