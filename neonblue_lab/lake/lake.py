"""A folder of Delta tables: opening, appending, reading, and pinning the versions that a piece of work reads."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError

from neonblue_lab.errors import BadInput, Conflict, NotFound, Unavailable
from neonblue_lab.files import exclusive
from neonblue_lab.lake.growth import add_columns, delta_schema, lacking, missing_columns
from neonblue_lab.lake.tables import DERIVED, QUERIED, TABLES, Table, layout
from neonblue_lab.lake.writing import write_files

# Versions named by runs and artifacts stay readable: by default, commits older than 30 days would be deleted.
_CONFIGURATION = {"delta.checkpointInterval": "100", "delta.enableExpiredLogCleanup": "false"}
_FILE = "neonblue.file"
_UNUSABLE = re.compile(r"%[0-9A-Fa-f]{2}|[\[\]\\^|\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Pin:
    """One version of one table: the Parquet files that make it up.

    Attributes:
        version: the Delta version.
        files: absolute paths; empty for a table without rows.
        partition_by: the column that lies in the folders' names and not in the files, or None.
        lacking: those of `files` that were written before the table had all its columns -> the columns that they lack.
    """

    version: int
    files: tuple[str, ...]
    partition_by: str | None
    lacking: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class TableStatus:
    """Size of a table's current version."""

    version: int
    rows: int
    files: int
    bytes: int


class Lake:
    """The Delta tables below one folder. Many processes may read and write at once; commits are atomic.

    Opening makes nothing; the first write does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """The tables that exist, sorted."""
        logs = [*self.path.glob("*/_delta_log"), *self.path.glob("raw/*/_delta_log")]
        return sorted(log.parent.relative_to(self.path).as_posix() for log in logs)

    def topics(self) -> list[str]:
        """The topics of which raw records are held, sorted."""
        return [name.removeprefix("raw/") for name in self.names() if name.startswith("raw/")]

    def open(self, name: str, version: int | None = None) -> DeltaTable:
        """A table, at its newest version unless one is named.

        Raises:
            NotFound: there is no such table, or not that version of it.
        """
        path = self.path / name
        if not DeltaTable.is_deltatable(str(path)):
            raise NotFound(f"The lake at {self.path} has no table {name}; `neonblue replay` fills it.")
        try:
            return DeltaTable(path, version=version)
        except DeltaError as error:
            if version is None:
                raise
            raise NotFound(f"Table {name} in {self.path} cannot be read at version {version}: {error}") from error

    def ensure(self, name: str) -> DeltaTable:
        """A table, created empty if it does not exist, and with the columns that it lacks if it is older than they are. Two
        who do so at once both succeed.

        Raises:
            BadInput: the folder's path has characters that Delta Lake cannot tell from an encoding of others.
        """
        path, table = self.path / name, layout(name)
        if unusable := _UNUSABLE.search(str(path.absolute())):
            raise BadInput(
                f"A lake table cannot lie in {path}: {unusable.group()!r} is not usable in its path. "
                "Choose a folder (--home) or topic name without it."
            )
        if not DeltaTable.is_deltatable(str(path)):
            self.path.mkdir(parents=True, exist_ok=True)
            with exclusive(self.path / ".create.lock"):  # creation is the one commit that Delta does not make alone
                return DeltaTable.create(
                    path,
                    schema=delta_schema(table.schema),
                    mode="ignore",
                    partition_by=table.partition_by,
                    configuration=_CONFIGURATION,
                )
        found = DeltaTable(path)
        if missing_columns(found, table):
            with exclusive(self.path / ".create.lock"):
                found.update_incremental()
                if missing := missing_columns(found, table):
                    add_columns(found, missing)
        return found

    def ensure_derived(self) -> None:
        """Create the derived tables that do not exist yet, so that readers find each of them, empty or not."""
        for name in DERIVED:
            self.ensure(name)

    def append(self, name: str, frame: pl.DataFrame) -> None:
        """Append rows to one of the lab's own tables.

        Raises:
            BadInput: the columns are not the table's.
        """
        _check_columns(name, frame, layout(name))
        self.commit(self.ensure(name), frame.select(*layout(name).schema))

    def commit(
        self,
        table: DeltaTable,
        frame: pl.DataFrame,
        *,
        marks: Mapping[str, int] | None = None,
        mode: Literal["append", "overwrite"] = "append",
    ) -> None:
        """Write rows and application transactions in one atomic commit on top of the version that `table` shows.

        Args:
            table: as opened before the rows were worked out; a commit by someone else to the same marks since then fails.
            frame: rows in the table's columns; may be empty.
            marks: application id -> number, kept in the table's log (`DeltaTable.transaction_version`).
            mode: `overwrite` replaces all rows.

        Raises:
            Conflict: another writer moved the same marks first. Nothing was written.
            Unavailable: the disk is full, or the folder cannot be written.
        """
        transactions = [Transaction(key, number) for key, number in sorted((marks or {}).items())]
        folder = Path(unquote(table.table_uri.removeprefix("file://")))
        partition_by = next(iter(table.metadata().partition_columns), None)
        try:
            table.create_write_transaction(
                [*write_files(folder, frame, partition_by)],
                mode,
                table.schema(),
                partition_by,
                commit_properties=CommitProperties(app_transactions=transactions or None),
            )
            table.update_incremental()
        except CommitFailedError as error:
            raise Conflict(
                f"Another process wrote {table.table_uri} at the same moment ({error}). "
                "Nothing was written here; run the command again to go on from where the other one is."
            ) from error
        except (OSError, DeltaError, pl.exceptions.ComputeError) as error:
            raise Unavailable(
                f"{folder} cannot be written: {error}. What was committed before stays; see to the disk (space, permissions), "
                "and run the command again to go on from there."
            ) from error

    def read(
        self, name: str, columns: Iterable[str] | None = None, where: pl.Expr | None = None, version: int | None = None
    ) -> pl.DataFrame:
        """Rows of a table as they lie there (repeated event ids included); a table of the lab that was never written is empty.

        Raises:
            NotFound: no such table or version.
        """
        if name in TABLES and version is None and name not in self.names():
            frame = pl.DataFrame(schema=layout(name).schema).lazy()
        else:
            frame = self.scan(name, self.open(name, version))
        if where is not None:
            frame = frame.filter(where)
        return (frame.select(list(columns)) if columns is not None else frame).collect()

    def scan(self, name: str, table: DeltaTable, only: pl.Expr | None = None) -> pl.LazyFrame:
        """A lazy frame over the table `name` as opened.

        Args:
            only: over the columns of its add actions (`min.offset`, `partition.event_date`, ...): files for which it is
                false are passed over; unknown counts as true.
        """
        described = layout(name)
        paths = files(table) if only is None else _files_where(table, only)
        if not paths:
            return pl.LazyFrame(schema=described.schema)
        stored = {column: kind for column, kind in described.schema.items() if column != described.partition_by}
        rows = pl.scan_parquet(
            list(paths),
            schema=stored,
            missing_columns="insert",
            hive_partitioning=False,
            glob=False,
            include_file_paths=_FILE,
        )
        if column := described.partition_by:
            # Not by Polars' own reading of paths: it would take folders above the lake (`a=b`) for partitions as well.
            text = pl.col(_FILE).str.extract(f"/{column}=([^/]*)/[^/]*$")
            value = text.str.to_date() if described.schema[column] == pl.Date else text
            rows = rows.with_columns(value.alias(column))
        return rows.select(*described.schema)

    def versions(self) -> dict[str, int]:
        """Table -> newest version, for every table that exists."""
        return {name: self.open(name).version() for name in self.names()}

    def pin(self, versions: Mapping[str, int] | None = None) -> dict[str, Pin]:
        """Fix what is read: the tables that warehouses show at their newest versions, or at those named.

        Raises:
            NotFound: a named table or version is not there.
        """
        names = [name for name in self.names() if name in QUERIED] if versions is None else sorted(versions)
        pins = {}
        for name in names:
            table = self.open(name, None if versions is None else versions[name])
            described, found = layout(name), files(table)
            pins[name] = Pin(
                table.version(), found, described.partition_by, lacking(self.path / name, described, found)
            )
        return pins

    def status(self) -> dict[str, TableStatus]:
        """Table -> version, rows, files and bytes, read from the logs alone."""
        found = {}
        for name in self.names():
            table = self.open(name)
            files = pl.DataFrame(table.get_add_actions(flatten=True))
            found[name] = TableStatus(
                version=table.version(),
                rows=int(files["num_records"].sum()) if files.height else 0,
                files=files.height,
                bytes=int(files["size_bytes"].sum()) if files.height else 0,
            )
        return found

    def overview(self) -> pl.DataFrame:
        """The status of every table as a frame: table, version, rows, files, megabytes."""
        rows = [(name, t.version, t.rows, t.files, t.bytes / 1e6) for name, t in self.status().items()]
        columns = {
            "table": pl.String,
            "version": pl.Int64,
            "rows": pl.Int64,
            "files": pl.Int64,
            "megabytes": pl.Float64,
        }
        return pl.DataFrame(rows, schema=columns, orient="row").with_columns(pl.col("megabytes").round(2))


def files(table: DeltaTable) -> tuple[str, ...]:
    """Absolute paths of the Parquet files that make up a table as opened (its log percent-encodes them)."""
    return tuple(unquote(uri.removeprefix("file://")) for uri in table.file_uris())


def _files_where(table: DeltaTable, only: pl.Expr) -> tuple[str, ...]:
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    if actions.is_empty():
        return ()
    root = Path(unquote(table.table_uri.removeprefix("file://")))
    return tuple(str(root / unquote(path)) for path in actions.filter(only.fill_null(True))["path"])


def _check_columns(name: str, frame: pl.DataFrame, table: Table) -> None:
    if dict(frame.schema) != table.schema:
        raise BadInput(f"Rows for {name} have columns {dict(frame.schema)}; the table has {table.schema}.")
