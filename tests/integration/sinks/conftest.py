"""Stores with nothing in them, rows to deliver to them, and what the lake's readers see of those rows."""

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import clickhouse_connect
import polars as pl
import psycopg
import pytest

from neonblue_lab.events.enrichment import BY_RULE, ENRICHMENT_SCHEMA
from neonblue_lab.events.parsing import EventParser
from neonblue_lab.events.schema import EVENT_SCHEMA, EXPERIMENT_LIFECYCLE
from neonblue_lab.events.simulator import simulate
from neonblue_lab.lake.derive import assignment_rows, event_rows, experiment_rows, metric_total_rows
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import DERIVED
from neonblue_lab.sinks.layout import LAYOUTS
from neonblue_lab.sinks.opening import URL_VARIABLES, open_sink
from neonblue_lab.sinks.sink import Delivery, Sink
from neonblue_lab.warehouse.warehouse import Warehouse
from tests.services.clickhouse_http import ClickHouseServer
from tests.services.postgres import Postgres

TABLES = {name: DERIVED[name] for name in LAYOUTS}
Frames = Mapping[str, pl.DataFrame]
Select = Callable[[str], list[tuple[Any, ...]]]


class Server(Protocol):
    """A service that a test may kill."""

    def kill(self) -> None: ...

    def restart(self) -> None: ...


@dataclass(frozen=True)
class Store:
    """A sink whose database is empty, and eyes that see into it without the sink.

    Attributes:
        sink: prepared for every table.
        server: what it writes to.
        url: where; the sink's variable holds it too.
        select: the rows of a query. `{database}` in it is replaced.
    """

    sink: Sink
    server: Server
    url: str
    select: Select

    def read(self, table: str) -> list[tuple[Any, ...]]:
        """The rows of a table as its readers see them, sorted; JSON as Python values."""
        columns = list(DERIVED[table].schema)
        names = ", ".join(f'"{column}"' for column in columns)
        view = f"{table}_current" if self.sink.name == "clickhouse" or table == "documents" else table
        return _comparable(columns, self.select(f"SELECT {names} FROM {{database}}.{view}"))

    def count(self, table: str) -> int:
        """The rows that lie in a table, repeated ones included."""
        [(count,)] = self.select(f"SELECT count(*) FROM {{database}}.{table}")
        return int(count)


def comparable(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Rows as sorted tuples; a null list is an empty one, a null struct one of nulls, and JSON says the same in whatever
    order."""
    return _comparable(frame.columns, frame.rows())


def _comparable(columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted((tuple(map(_plain, columns, row)) for row in rows), key=repr)


def _plain(column: str, value: Any) -> Any:
    if column in ("variants", "derived") and value is None:
        return "[]"
    if column in ENRICHMENT_SCHEMA:
        fields = [field.name for field in ENRICHMENT_SCHEMA[column].fields]
        value = dict(zip(fields, value, strict=True)) if isinstance(value, tuple) else value or dict.fromkeys(fields)
        value = {name: None if held == [] else held for name, held in value.items()}
    if column in ("properties", "row") and isinstance(value, str):
        value = json.loads(value)
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    if hasattr(value, "tzinfo"):
        return value.replace(tzinfo=None)
    return value


def _clickhouse(server: ClickHouseServer) -> tuple[str, Select]:
    database = f"t{secrets.token_hex(6)}"

    def select(query: str) -> list[tuple[Any, ...]]:
        host, port = server.url.removeprefix("http://").split(":")
        client = clickhouse_connect.get_client(host=host, port=int(port))
        return [tuple(row) for row in client.query(query.replace("{database}", database)).result_rows]

    return f"{server.url}/{database}", select


def _postgres(url: str) -> tuple[str, Select]:
    def select(query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(query.replace("{database}", "neonblue")).fetchall()

    with psycopg.connect(url) as connection:
        connection.execute("DROP SCHEMA IF EXISTS neonblue CASCADE")
    return url, select


def _open(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    server = request.getfixturevalue(name)
    if name == "clickhouse":
        url, select = _clickhouse(server)
    else:
        url, select = _postgres(request.getfixturevalue("postgres_database"))
    monkeypatch.setenv(URL_VARIABLES[name], url)
    sink = open_sink(name)
    sink.prepare(TABLES)
    yield Store(sink, server, url, select)
    sink.close()


@pytest.fixture(scope="session")
def postgres_database(postgres: Postgres) -> str:
    """The url of a database for these tests, one after the other: making one takes longer than most of them."""
    return postgres.database("sinks")


@pytest.fixture(params=["clickhouse", "postgres"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Either store: what is promised of one is promised of the other."""
    yield from _open(request.param, request, monkeypatch)


@pytest.fixture
def clickhouse_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    yield from _open("clickhouse", request, monkeypatch)


@pytest.fixture
def postgres_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    yield from _open("postgres", request, monkeypatch)


@pytest.fixture(scope="session")
def frames() -> Frames:
    """Lake table -> its rows from simulated topics, as a replay stores them batch by batch: sent again, late, out of order."""
    parser, parts = EventParser(), {name: [pl.DataFrame(schema=TABLES[name].schema)] for name in TABLES}
    for batch in simulate(experiments=6, users=1_500, events=20_000, seed=5, duplicates=0.05, malformed=0).batches():
        for records in batch.frame.iter_slices(3_000):
            parsed = parser.parse(type(batch)(batch.topic, records))
            events = parsed.events
            parts["events"].append(event_rows(events, parsed.arrivals, BY_RULE))
            parts["assignments"].append(assignment_rows(events))
            parts["metric_totals"].append(metric_total_rows(events))
    events = pl.concat(parts["events"])
    lifecycle = events.filter(pl.col("event_type").is_in(EXPERIMENT_LIFECYCLE)).select(*EVENT_SCHEMA)
    parts["experiments"].append(experiment_rows(lifecycle, pl.DataFrame(schema=TABLES["changes"].schema)))
    return {name: pl.concat(frames) for name, frames in parts.items()}


@pytest.fixture(scope="session")
def as_read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Frames], Frames]:
    """`as_read(frames)`: what the lake's readers see of these rows."""

    def read(frames: Frames) -> Frames:
        lake = Lake(tmp_path_factory.mktemp("lake"))
        lake.ensure_derived()
        for name, frame in frames.items():
            lake.append(name, frame)
        warehouse = Warehouse(lake)
        return {name: warehouse.sql(f"SELECT * FROM {name}").select(*TABLES[name].schema) for name in frames}

    return read


def deliveries(frames: Frames, rows: int = 2_000) -> list[Delivery]:
    """The rows in deliveries of `rows` rows, as a lake hands them over."""
    parts = [
        Delivery(name, f"{name}/{number}", part)
        for name, frame in frames.items()
        if name != "experiments"
        for number, part in enumerate(frame.iter_slices(rows))
    ]
    if "experiments" in frames:
        parts.append(Delivery("experiments", "experiments/3", frames["experiments"], snapshot=3))
    return parts
