"""The ClickHouse sink: a server or cluster over HTTP(S), or the engine inside this process (chDB)."""

import io
import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any, ClassVar

import clickhouse_connect
import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, Error, OperationalError, ProgrammingError

from neonblue_lab.errors import BadInput, Unavailable
from neonblue_lab.lake.tables import Table
from neonblue_lab.sinks.address import CLICKHOUSE_EXAMPLE, Address, clickhouse_address
from neonblue_lab.sinks.clickhouse_ddl import ClickHouseDdl
from neonblue_lab.sinks.layout import stored_rows
from neonblue_lab.sinks.sink import Delivery, Health

DATABASE = "neonblue"
CONNECT_SECONDS = 5
ANSWER_SECONDS = 60
PING_SECONDS = 3

_EMBEDDED = "chdb"
_OPTIONS = frozenset({"verify", "ca_cert", "client_cert", "client_cert_key"})
WRONG_LOGIN = {"UNKNOWN_USER": 192, "WRONG_PASSWORD": 193, "REQUIRED_PASSWORD": 194, "AUTHENTICATION_FAILED": 516}
PASSING = {
    "UNEXPECTED_END_OF_FILE": 3,
    "TIMEOUT_EXCEEDED": 159,
    "TOO_MANY_SIMULTANEOUS_QUERIES": 202,
    "SOCKET_TIMEOUT": 209,
    "NETWORK_ERROR": 210,
    "NO_ZOOKEEPER": 225,
    "ABORTED": 236,
    "MEMORY_LIMIT_EXCEEDED": 241,
    "TABLE_IS_READ_ONLY": 242,
    "NOT_ENOUGH_SPACE": 243,
    "TOO_MANY_PARTS": 252,
    "ALL_CONNECTION_TRIES_FAILED": 279,
    "TOO_FEW_LIVE_REPLICAS": 285,
    "REPLICA_IS_NOT_IN_QUORUM": 289,
    "UNKNOWN_STATUS_OF_INSERT": 319,
    "QUERY_WAS_CANCELLED": 394,
    "CANNOT_SCHEDULE_TASK": 439,
    "KEEPER_EXCEPTION": 999,
}
"""ClickHouse's errors after which the same rows are welcome later."""

_INSERT = {
    "async_insert": 0,  # answers when the rows are stored, not when they are queued
    "input_format_null_as_default": 0,  # a null where none is expected is an error, not an empty text
    "max_partitions_per_insert_block": 0,  # a replay of years is one delivery like any other
}

for talkative in ("clickhouse_connect", "urllib3.connectionpool"):  # what they warn about is raised as well
    logging.getLogger(talkative).setLevel(logging.ERROR)


class ClickHouseSink:
    """Rows of the lake in ClickHouse.

    The same delivery twice is stored once: the server recognises its token, and where it has forgotten it (or was started
    anew), the tables' sort keys make equal rows one. Until ClickHouse merges them, only the views `<table>_current` (and
    FINAL) show them as one.
    """

    name: ClassVar[str] = "clickhouse"

    def __init__(self, url: str, *, cluster: str | None = None) -> None:
        """Nothing connects yet.

        Args:
            url: `http(s)://user:password@host:port/database` (database: `neonblue` where the url names none; options:
                verify, ca_cert, client_cert, client_cert_key), or `chdb:///folder`, the engine in this process.
            cluster: the name of a cluster in the server's configuration: tables are replicated and distributed.

        Raises:
            BadInput: the url is none of these.
        """
        self._where = clickhouse_address(url)
        _check(self._where, cluster)
        named = "" if self._where.scheme == _EMBEDDED else self._where.path.strip("/")
        self._ddl = ClickHouseDdl(named or DATABASE, cluster)
        self._client: Client | None = None
        self._opening = Lock()

    @property
    def address(self) -> str:
        return str(self._where)

    def prepare(self, tables: Mapping[str, Table]) -> None:
        ddl = self._ddl
        with self._speaking("making its tables"):
            client = self._connected()
            client.command(ddl.create_database())
            for name, table in tables.items():
                for statement in ddl.create_table(name, table):
                    client.command(statement)
            held = self._columns(client)
            for name, table in tables.items():
                for statement in ddl.add_columns(name, table, held[name]):
                    client.command(statement)
                client.command(ddl.create_view(name, table))

    def write(self, delivery: Delivery) -> None:
        rows = stored_rows(delivery)
        with self._speaking(f"taking delivery {delivery.token} of {delivery.table}"):
            client = self._connected()
            if rows.is_empty():
                if delivery.snapshot is not None:
                    client.command(self._ddl.empty(delivery.table))
                return
            client.raw_insert(
                self._ddl.name(delivery.table),
                rows.columns,
                _arrow(rows),
                self._settings(delivery.token),
                "ArrowStream",
            )

    def health(self) -> Health:
        try:
            with self._speaking("answering"):
                client = self._connected()
                started = time.perf_counter()
                if not client.ping(PING_SECONDS):
                    return Health(False, None, f"ClickHouse at {self.address} does not answer.")
                version = client.server_version
        except (BadInput, Unavailable) as error:
            return Health(False, None, str(error))
        return Health(True, 1000 * (time.perf_counter() - started), f"ClickHouse {version} at {self.address}")

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self) -> Client:
        with self._opening:
            if self._client is None:
                self._client = _connect(self._where)
        return self._client

    def _columns(self, client: Client) -> defaultdict[str, set[str]]:
        """Table -> the columns that it has now."""
        query = "SELECT table, name FROM system.columns WHERE database = {database:String}"
        held = defaultdict[str, set[str]](set)
        for table, column in client.query(query, {"database": self._ddl.database}).result_rows:
            held[table].add(column)
        return held

    def _settings(self, token: str) -> dict[str, Any]:
        shards = {"distributed_foreground_insert": 1} if self._ddl.cluster else {}
        return _INSERT | shards | {"insert_deduplication_token": token}

    @contextmanager
    def _speaking(self, doing: str) -> Iterator[None]:
        """Turn the client's errors into ours: come back later, or this will never do."""
        try:
            yield
        except ImportError as error:
            raise Unavailable(
                f"{self.address} needs the engine that runs in this process: pip install 'neonblue-lab[chdb]'."
            ) from error
        except Error as error:
            if error.code in WRONG_LOGIN.values():
                raise BadInput(
                    f"ClickHouse at {self.address} does not let this user in: check user and password in its url."
                ) from error
            if _is_passing(error):
                raise Unavailable(f"ClickHouse at {self.address} failed while {doing}: {error}") from error
            raise BadInput(f"ClickHouse at {self.address} refused while {doing}: {error}") from error


def _is_passing(error: Error) -> bool:
    """Whether the same words may be welcome later. An answer without ClickHouse's code comes from something before it."""
    if isinstance(error, OperationalError) or error.code in PASSING.values():
        return True
    return type(error) is DatabaseError and error.code is None


def _check(where: Address, cluster: str | None) -> None:
    if where.scheme == _EMBEDDED:
        if where.host or where.options or cluster:
            raise BadInput("chdb:// takes a folder (chdb:///folder) and nothing else: no host, no options, no cluster.")
        if not where.path.strip("/"):
            raise BadInput(
                "chdb:// takes a folder (chdb:///folder): in memory, what was delivered would be gone at the end."
            )
        return
    if where.host is None:
        raise BadInput(f"The url of ClickHouse names no host; it looks like {CLICKHOUSE_EXAMPLE}.")
    if unknown := sorted(where.options.keys() - _OPTIONS):
        raise BadInput(
            f"ClickHouse at {where} takes the options {', '.join(sorted(_OPTIONS))}, not {', '.join(unknown)}."
        )
    if "/" in where.path.strip("/"):
        raise BadInput(f"{where} names more than a database behind the host; it looks like {CLICKHOUSE_EXAMPLE}.")


def _connect(where: Address) -> Client:
    if where.scheme == _EMBEDDED:
        try:
            return clickhouse_connect.get_client(interface=_EMBEDDED, path=where.path)
        except ProgrammingError as error:
            raise Unavailable(
                f"{where} cannot be opened; one process has one engine, and a folder belongs to one process: {error}"
            ) from error
    options: dict[str, Any] = {**where.options}
    return clickhouse_connect.get_client(
        interface=where.scheme,
        host=where.host,
        port=where.port,
        username=where.user,
        password=where.password or "",
        connect_timeout=CONNECT_SECONDS,
        send_receive_timeout=ANSWER_SECONDS,
        autogenerate_session_id=False,  # several threads may speak at once
        **options,
    )


def _arrow(rows: pl.DataFrame) -> bytes:
    """The rows as one Arrow batch: one block for the server, which it stores whole or not at all.

    A tuple is never null there: where a struct is, its fields are.
    """
    structs = [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.Struct)]
    filled = rows.with_columns(rows[name].struct.unnest().to_struct(name) for name in structs)
    stream = io.BytesIO()
    filled.rechunk().write_ipc_stream(stream, compression="lz4", compat_level=pl.CompatLevel.oldest())
    return stream.getvalue()
