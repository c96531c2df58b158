"""Real services for the integration tests; where one cannot be had, its tests skip and say why."""

from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

from tests.services.kafka_broker import KafkaBroker, KafkaUnavailable


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
