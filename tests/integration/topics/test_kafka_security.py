"""Clusters that want a password and encryption are reached with what the environment says, and no message tells a secret."""

from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

from neonblue_lab.errors import Unavailable
from neonblue_lab.topics.kafka import KafkaSource, produce
from neonblue_lab.topics.kafka.security import PREFIX, Cluster
from tests.services.frames import FrameSource, numbered
from tests.services.kafka_broker import KafkaUnavailable
from tests.services.kafka_secured import SecuredKafkaBroker


@pytest.fixture(scope="module")
def secured(unavailable: Callable[[str], NoReturn]) -> Iterator[SecuredKafkaBroker]:
    try:
        broker = SecuredKafkaBroker()
    except KafkaUnavailable as reason:
        unavailable(str(reason))
    with broker:
        yield broker


@pytest.fixture
def environment(secured: SecuredKafkaBroker, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set variables, given without their prefix."""

    def put(**variables: str) -> None:
        given = {"SASL_USERNAME": secured.username, "SASL_PASSWORD": secured.password} | variables
        for name, value in given.items():
            monkeypatch.setenv(PREFIX + name, value)

    return put


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_records_go_in_and_out(
    client: str,
    secured: SecuredKafkaBroker,
    environment: Callable[..., None],
    topic: str,
    protocol: str,
    mechanism: str,
) -> None:
    environment(SECURITY_PROTOCOL=protocol, SASL_MECHANISM=mechanism, SSL_CAFILE=str(secured.cafile))
    url = f"kafka://{secured.tls if protocol == 'SASL_SSL' else secured.sasl}"

    produce(FrameSource(topic, numbered(topic, 30)), url)

    source = KafkaSource(url, [topic], client=client)
    assert sum(batch.frame.height for batch in source.read({topic: {}})) == 30


def test_a_wrong_password_is_refused_and_not_told(
    client: str, secured: SecuredKafkaBroker, environment: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    environment(SECURITY_PROTOCOL="SASL_PLAINTEXT", SASL_MECHANISM="SCRAM-SHA-256", SASL_PASSWORD="hush hush")
    with pytest.raises(Unavailable, match=rf"kafka://{secured.sasl} refuses access") as caught:
        KafkaSource(f"kafka://{secured.sasl}", client=client)
    told: BaseException | None = caught.value
    while told is not None:
        assert "hush" not in repr(told)
        told = told.__cause__ or told.__context__
    assert "hush" not in caplog.text + repr(Cluster.at(f"kafka://{secured.sasl}"))


def test_a_certificate_that_is_not_trusted_is_said(
    client: str, secured: SecuredKafkaBroker, environment: Callable[..., None]
) -> None:
    environment(SECURITY_PROTOCOL="SASL_SSL", SASL_MECHANISM="PLAIN")
    with pytest.raises(Unavailable, match=r"(?i)certificate"):
        KafkaSource(f"kafka://{secured.tls}", client=client)
