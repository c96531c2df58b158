"""The PostgreSQL sink: rows are copied aside and merged by key, in one transaction."""

import io
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import ClassVar

import orjson
import polars as pl
import psycopg
from psycopg.conninfo import conninfo_to_dict

from neonblue_lab.errors import BadInput, Unavailable
from neonblue_lab.lake.tables import Table
from neonblue_lab.sinks import postgres_ddl as ddl
from neonblue_lab.sinks.address import postgres_address
from neonblue_lab.sinks.layout import stored_rows
from neonblue_lab.sinks.sink import Delivery, Health

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 120
LOCK_SECONDS = 30

# The server, or the way to it, is not up to it now: gone, full, too slow, a standby. The same rows are welcome later.
_PASSING = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)


class PostgresSink:
    """Rows of the lake in PostgreSQL 15 or newer, in the schema `neonblue`.

    The same delivery twice is stored once: rows are merged by key, and which of two rows with one key stays does not depend
    on which came first. Nothing has to be remembered about deliveries.
    """

    name: ClassVar[str] = "postgres"

    def __init__(self, url: str) -> None:
        """Nothing connects yet.

        Args:
            url: `postgresql://user:password@host:port/database`, with libpq's options (`?sslmode=verify-full`).

        Raises:
            BadInput: the url is none that libpq understands.
        """
        self._where = postgres_address(url)
        if not _is_understood(url):
            raise BadInput(f"{self._where} has options that PostgreSQL's client does not know; see those of libpq.")
        self._url = url
        self._connection: psycopg.Connection | None = None
        self._speaker = Lock()

    @property
    def address(self) -> str:
        return str(self._where)

    def prepare(self, tables: Mapping[str, Table]) -> None:
        with self._transaction("making its tables") as connection:
            # Two that make the same table at once: IF NOT EXISTS does not help the second.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('neonblue.prepare'))")
            connection.execute(ddl.CREATE_SCHEMA)
            connection.execute(ddl.CREATE_AS_JSONB)
            for name, table in tables.items():
                _execute(connection, ddl.create_table(name, table))
                _execute(connection, ddl.add_columns(name, table, _columns(connection, name)))
                _execute(connection, ddl.create_view(name))

    def write(self, delivery: Delivery) -> None:
        rows = stored_rows(delivery)
        with self._transaction(f"taking delivery {delivery.token} of {delivery.table}") as connection:
            if delivery.snapshot is not None:
                connection.execute(ddl.lock(delivery.table))
                newest = connection.execute(ddl.newest_snapshot(delivery.table)).fetchone()
                if newest is not None and newest[0] is not None and newest[0] > delivery.snapshot:
                    return
            if not rows.is_empty():
                connection.execute(ddl.create_incoming(rows))
                with connection.cursor() as cursor, cursor.copy(ddl.copy_incoming(rows)) as copy:
                    copy.write(_csv(rows))
                connection.execute(ddl.merge_incoming(delivery.table, rows))
            if delivery.snapshot is not None:
                connection.execute(ddl.remove_before(delivery.table), [delivery.snapshot])

    def health(self) -> Health:
        """Ask on a connection of its own: a delivery on its way neither delays the answer nor is disturbed."""
        try:
            with self._speaking("answering"), self._connect() as connection:
                started = time.perf_counter()
                connection.execute("SELECT 1")
                latency = 1000 * (time.perf_counter() - started)
                version = connection.info.server_version // 10_000
        except (BadInput, Unavailable) as error:
            return Health(False, None, str(error))
        return Health(True, latency, f"PostgreSQL {version} at {self.address}")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> psycopg.Connection:
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            application_name="neonblue",
            client_encoding="utf8",
        )
        connection.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'; SET lock_timeout = '{LOCK_SECONDS}s'")
        return connection

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[psycopg.Connection]:
        """A transaction on the one connection, opened now if there is none; what fails in it leaves nothing."""
        with self._speaker, self._speaking(doing):
            if self._connection is None or self._connection.closed:
                self._connection = self._connect()
            with self._connection.transaction():
                yield self._connection

    @contextmanager
    def _speaking(self, doing: str) -> Iterator[None]:
        """Turn the client's errors into ours: come back later, or this will never do."""
        try:
            yield
        except _PASSING as error:
            raise Unavailable(f"PostgreSQL at {self.address} failed while {doing}: {error}") from error
        except psycopg.Error as error:
            raise BadInput(f"PostgreSQL at {self.address} refused while {doing}: {error}") from error


def _is_understood(url: str) -> bool:
    """Whether libpq takes the url. Its own words are not passed on: they may hold a part of a password."""
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return False
    return True


def _execute(connection: psycopg.Connection, statements: Iterator[str]) -> None:
    for statement in statements:
        connection.execute(statement)


def _columns(connection: psycopg.Connection, table: str) -> set[str]:
    query = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
    return {column for (column,) in connection.execute(query, [ddl.SCHEMA, table])}


def _csv(rows: pl.DataFrame) -> bytes:
    """The rows as COPY reads them: texts quoted, nulls empty, lists and structs as JSON."""
    lists = [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.List)]
    structs = [pl.col(name) for name, dtype in rows.schema.items() if isinstance(dtype, pl.Struct)]
    flat = rows.with_columns(
        *(_json(rows[name]) for name in lists),
        *(pl.when(struct.is_not_null()).then(struct.struct.json_encode()) for struct in structs),
    )
    text = io.BytesIO()
    flat.write_csv(text, include_header=False, quote_style="non_numeric")
    return text.getvalue()


def _json(column: pl.Series) -> pl.Series:
    texts = [None if value is None else orjson.dumps(value).decode() for value in column.to_list()]
    return pl.Series(column.name, texts, dtype=pl.String)
