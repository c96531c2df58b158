"""A topic of one's own on the session's broker, and each of the clients that can read it."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient

from neonblue_lab.topics.kafka import produce
from tests.services.frames import FrameSource, numbered


@pytest.fixture(params=["kafka-python", "confluent"])
def client(request: pytest.FixtureRequest) -> str:
    if request.param == "confluent":
        pytest.importorskip("confluent_kafka", reason="the extra `fast` is not installed")
    return str(request.param)


@pytest.fixture
def url(kafka: Any) -> str:
    return f"kafka://{kafka.bootstrap}"


@pytest.fixture
def topic() -> str:
    return f"test_{uuid.uuid4().hex}"


@pytest.fixture
def admin(kafka: Any) -> Iterator[KafkaAdminClient]:
    with KafkaAdminClient(bootstrap_servers=kafka.bootstrap) as connection:
        yield connection


@pytest.fixture
def filled(url: str, topic: str) -> str:
    """A topic of 30 records, ten in each partition."""
    produce(FrameSource(topic, numbered(topic, 30)), url)
    return topic
