"""Real services for the integration tests; where one cannot be had, its tests skip and say why."""

from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

from tests.services.clickhouse_http import ClickHouseServer, ClickHouseUnavailable
from tests.services.kafka_broker import KafkaBroker, KafkaUnavailable
from tests.services.postgres import Postgres, PostgresUnavailable


@pytest.fixture(scope="session")
def kafka(unavailable: Callable[[str], NoReturn]) -> Iterator[KafkaBroker]:
    """A running broker: `.bootstrap`, `.kill()`, `.restart()`.

    One broker serves the whole session: a test names its topics so that no other test's are in the way.
    """
    try:
        broker = KafkaBroker()
    except KafkaUnavailable as reason:
        unavailable(str(reason))
    with broker:
        yield broker


@pytest.fixture(scope="session")
def postgres(unavailable: Callable[[str], NoReturn]) -> Iterator[Postgres]:
    """A running PostgreSQL server: `.url`, `.database(name)`, `.kill()`, `.restart()`.

    One server serves the whole session: a test makes a database of its own.
    """
    try:
        server = Postgres()
    except PostgresUnavailable as reason:
        unavailable(str(reason))
    with server:
        yield server


@pytest.fixture(scope="session")
def clickhouse(unavailable: Callable[[str], NoReturn]) -> Iterator[ClickHouseServer]:
    """ClickHouse's engine behind its HTTP interface: `.url`, `.kill()`, `.restart()`.

    One server serves the whole session: a test writes to a database of its own (`url/database`).
    """
    try:
        server = ClickHouseServer()
    except ClickHouseUnavailable as reason:
        unavailable(str(reason))
    with server:
        yield server
