"""DuckDB over pinned versions of the lake: the same pins give the same numbers, whatever is written meanwhile."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar
from uuid import uuid4

import duckdb
import polars as pl
import polars.selectors as cs

from neonblue_lab.errors import BadInput
from neonblue_lab.lake.lake import Lake, Pin
from neonblue_lab.lake.tables import QUERIED
from neonblue_lab.warehouse.guard import check_query
from neonblue_lab.warehouse.reading import VIEWS


class Warehouse:
    """A read-only DuckDB with a view for each of the tables QUERIED, and those of `reading`, over the files of pinned versions.

    It reads those files and no other: external access is off and its settings are locked. It writes nothing: `guard` lets
    only queries pass that read. What does not fit into memory is spilled to a folder of its own in the system's temporary
    one, and removed with the database. Several threads may use it at once.

    Attributes:
        dialect: the name of its SQL, for compilers.
        pins: table -> what is read of it. A table that is not pinned reads as empty.
    """

    dialect: ClassVar[str] = "duckdb"

    def __init__(self, lake: Lake, versions: Mapping[str, int] | None = None) -> None:
        """Pin the newest versions, or those given (table -> version)."""
        self.pins = lake.pin(versions)
        self._lake = lake
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._opening = Lock()

    @property
    def versions(self) -> dict[str, int]:
        """Table -> pinned version."""
        return {name: pin.version for name, pin in self.pins.items()}

    def is_newest(self) -> bool:
        """Whether nothing has been written to the pinned tables since."""
        return self.versions == {name: version for name, version in self._lake.versions().items() if name in QUERIED}

    @property
    def data_version(self) -> str:
        """The pinned versions as one text, such as `events@12,experiments@3`; `parse_data_version` reads it back."""
        return ",".join(f"{name}@{version}" for name, version in self.versions.items())

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor of the locked database, for one thread."""
        with self._opening:
            if self._connection is None:
                self._connection = _open(self.pins)
        return self._connection.cursor()

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """The result of one SELECT over these tables and the views of `reading`.

        Raises:
            BadInput: more than one statement, anything but a SELECT of these (see `guard`), SQL that DuckDB refuses (the
                message is DuckDB's), or columns that a data frame cannot hold (two of one name, intervals).
        """
        try:
            with self.cursor() as cursor:
                check_query(cursor, query)
                result = cursor.sql(query, params=list(parameters)).to_arrow_table()
            frame = pl.DataFrame(result)
        except (duckdb.Error, pl.exceptions.PolarsError) as error:
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
        if name not in QUERIED or not mark or not version.isdecimal():
            raise BadInput(f"{text!r} is no data version: it looks like events@12,experiments@3.")
        versions[name] = int(version)
    return versions


def _open(pins: Mapping[str, Pin]) -> duckdb.DuckDBPyConnection:
    """A database in memory with the views; its settings are locked."""
    connection = duckdb.connect()
    files = [file for pin in pins.values() for file in pin.files]
    connection.execute("SET GLOBAL TimeZone = 'UTC'")  # cursors take over global settings only
    connection.execute("SET temp_directory = ?", [str(Path(tempfile.gettempdir(), f"neonblue-{uuid4().hex}"))])
    connection.execute("SET allowed_paths = ?", [files])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    connection.execute("CREATE SCHEMA stored")
    for name in QUERIED:
        connection.execute(f"CREATE VIEW stored.{name} AS {_rows(connection, name, pins.get(name))}")
    for name, reading in ({name: f"FROM stored.{name}" for name in QUERIED} | VIEWS).items():
        connection.execute(f"CREATE VIEW {name} AS {reading}")
    return connection


def _rows(connection: duckdb.DuckDBPyConnection, name: str, pin: Pin | None) -> str:
    """SQL for the rows of a pinned table in the columns of its schema; a table without files is an empty relation of them."""
    schema = QUERIED[name].schema
    if pin is None or not pin.files:
        return f"SELECT {', '.join(_nulls(connection, schema).values())} WHERE false"
    # Folders above the lake may look like partitions (`a=b`): only the column that is one is taken from a file's path.
    hive = "false"
    if pin.partition_by:
        kind = "DATE" if schema[pin.partition_by] == pl.Date else "VARCHAR"
        hive = f"true, hive_types = {{'{pin.partition_by}': {kind}}}"
    groups: dict[frozenset[str], list[str]] = {}
    for file in pin.files:
        groups.setdefault(pin.lacking.get(file, frozenset()), []).append(file)
    selects = []
    for lacking, files in groups.items():
        nulls = _nulls(connection, {column: schema[column] for column in sorted(lacking)})
        columns = ", ".join(nulls.get(column, f'"{column}"') for column in schema)
        paths = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        selects.append(f"SELECT {columns} FROM read_parquet([{paths}], hive_partitioning = {hive})")
    return " UNION ALL ".join(selects)


def _nulls(connection: duckdb.DuckDBPyConnection, columns: Mapping[str, pl.DataType]) -> dict[str, str]:
    """Column -> SQL for a null of its type under its name."""
    if not columns:
        return {}
    empty = connection.from_arrow(pl.DataFrame(schema=columns).to_arrow())
    return {column: f'NULL::{dtype} AS "{column}"' for column, dtype in zip(empty.columns, empty.types, strict=True)}
