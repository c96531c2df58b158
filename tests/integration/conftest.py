"""Real services for the integration tests; where one cannot be had, its tests skip and say why."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

SERVICES = Path(__file__).resolve().parent.parent / "services"


def _service(name: str) -> ModuleType:
    """Load `tests/services/<name>.py` under a name of its own: the folder is not on the path."""
    spec = importlib.util.spec_from_file_location(f"neonblue_test_services.{name}", SERVICES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def kafka(unavailable: Callable[[str], NoReturn]) -> Iterator[Any]:
    """A running `KafkaBroker` (tests/services/kafka_broker.py): `.bootstrap`, `.kill()`, `.restart()`.

    One broker serves the whole session: a test names its topics so that no other test's are in the way.
    """
    service = _service("kafka_broker")
    try:
        broker = service.KafkaBroker()
    except service.KafkaUnavailable as reason:
        unavailable(str(reason))
    with broker:
        yield broker
