"""Settings of a cluster come from its url and the environment; what is wrong with them is said, and never a secret."""

from pathlib import Path

import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.topics.kafka.security import Cluster, Security

SASL = {"NEONBLUE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "NEONBLUE_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512"}
WHO = {"NEONBLUE_KAFKA_SASL_USERNAME": "analyst", "NEONBLUE_KAFKA_SASL_PASSWORD": "open sesame"}


def test_nothing_said_is_plaintext() -> None:
    assert Security.of({}) == Security("PLAINTEXT")
    assert Security.of(WHO) == Security("PLAINTEXT")


def test_everything_said_is_taken(tmp_path: Path) -> None:
    files = {}
    for name in ("SSL_CAFILE", "SSL_CERTFILE", "SSL_KEYFILE"):
        (tmp_path / name).touch()
        files[f"NEONBLUE_KAFKA_{name}"] = str(tmp_path / name)
    read = Security.of(SASL | WHO | files | {"NEONBLUE_KAFKA_SSL_KEY_PASSWORD": "hush"})
    assert read == Security("SASL_SSL", "SCRAM-SHA-512", "analyst", "open sesame", *files.values(), "hush")
    assert "sesame" not in repr(read)
    assert "hush" not in repr(read)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"NEONBLUE_KAFKA_SECURITY_PROTOCOL": "TLS"}, "SECURITY_PROTOCOL is 'TLS': it is one of PLAINTEXT, SSL"),
        (SASL | WHO | {"NEONBLUE_KAFKA_SASL_MECHANISM": "GSSAPI"}, "SASL_MECHANISM is 'GSSAPI'"),
        (SASL | {"NEONBLUE_KAFKA_SASL_USERNAME": "analyst"}, "NEONBLUE_KAFKA_SASL_PASSWORD is not set"),
        (SASL | {"NEONBLUE_KAFKA_SASL_PASSWORD": "open sesame"}, "NEONBLUE_KAFKA_SASL_USERNAME is not set"),
        (SASL | WHO | {"NEONBLUE_KAFKA_SSL_CAFILE": "/nowhere/ca.pem"}, "SSL_CAFILE names /nowhere/ca.pem"),
        (SASL | WHO | {"NEONBLUE_KAFKA_SSL_CERTFILE": __file__}, "are given together"),
    ],
)
def test_what_is_wrong_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        Security.of(environment)
    assert "sesame" not in str(caught.value)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadInput, match=r"kafka://\.\.\.@host:9092 .* NEONBLUE_KAFKA_SASL_PASSWORD") as caught:
        Cluster.at("kafka://analyst:sesame@host:9092")
    assert "sesame" not in str(caught.value)
