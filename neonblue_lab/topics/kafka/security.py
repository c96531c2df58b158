"""How a cluster is to be reached: its brokers' addresses from the url, everything secret from the environment alone."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from neonblue_lab.errors import BadInput

SCHEME = "kafka://"
PREFIX = "NEONBLUE_KAFKA_"
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:/@?#\[\]]+):\d{1,5}")


@dataclass(frozen=True)
class Security:
    """What the environment says about encryption and who we are; the names are the usual ones after NEONBLUE_KAFKA_.

    Attributes:
        protocol: one of PROTOCOLS (SECURITY_PROTOCOL).
        mechanism: one of MECHANISMS (SASL_MECHANISM), where the protocol has SASL.
        username, password: SASL_USERNAME, SASL_PASSWORD.
        cafile: the certificates that are trusted (SSL_CAFILE); the system's where not given.
        certfile, keyfile, key_password: our own certificate (SSL_CERTFILE, SSL_KEYFILE, SSL_KEY_PASSWORD).
    """

    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    key_password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Security":
        """Read it. Raises BadInput, which names the variable and never a secret, where something is missing or unknown."""

        def given(name: str) -> str | None:
            return environment.get(PREFIX + name) or None

        protocol = given("SECURITY_PROTOCOL") or "PLAINTEXT"
        if protocol not in PROTOCOLS:
            raise BadInput(f"{PREFIX}SECURITY_PROTOCOL is {protocol!r}: it is one of {', '.join(PROTOCOLS)}.")
        mechanism = username = password = None
        if protocol.startswith("SASL"):
            mechanism, username, password = given("SASL_MECHANISM"), given("SASL_USERNAME"), given("SASL_PASSWORD")
            if mechanism not in MECHANISMS:
                raise BadInput(f"{PREFIX}SASL_MECHANISM is {mechanism!r}: it is one of {', '.join(MECHANISMS)}.")
            if username is None or password is None:
                missing = "SASL_USERNAME" if username is None else "SASL_PASSWORD"
                raise BadInput(f"{PREFIX}{missing} is not set, and {PREFIX}SECURITY_PROTOCOL={protocol} needs it.")
        if not protocol.endswith("SSL"):
            return cls(protocol, mechanism, username, password)
        cafile, certfile, keyfile = given("SSL_CAFILE"), given("SSL_CERTFILE"), given("SSL_KEYFILE")
        for name, path in (("SSL_CAFILE", cafile), ("SSL_CERTFILE", certfile), ("SSL_KEYFILE", keyfile)):
            if path is not None and not Path(path).is_file():
                raise BadInput(f"{PREFIX}{name} names {path}, which is not a file.")
        if (certfile is None) != (keyfile is None):
            raise BadInput(f"{PREFIX}SSL_CERTFILE and {PREFIX}SSL_KEYFILE are given together, or neither.")
        key_password = given("SSL_KEY_PASSWORD")
        return cls(protocol, mechanism, username, password, cafile, certfile, keyfile, key_password)


@dataclass(frozen=True)
class Cluster:
    """A cluster as a client is told of it: `url` for messages, addresses of some of its brokers, and how to get in."""

    url: str
    addresses: tuple[str, ...]
    security: Security

    @classmethod
    def at(cls, url: str) -> "Cluster":
        """The cluster at `kafka://host:port[,host:port...]`, with what the environment says of security.

        Raises BadInput where either has another form.
        """
        addresses = url.removeprefix(SCHEME).rstrip("/").split(",")
        if "@" in url:
            raise BadInput(
                f"{re.sub('//.*@', '//...@', url)} does not name a Kafka cluster: a user and password are never part of it, "
                f"but given as {PREFIX}SASL_USERNAME and {PREFIX}SASL_PASSWORD in the environment."
            )
        if not url.startswith(SCHEME) or not all(_ADDRESS.fullmatch(address) for address in addresses):
            raise BadInput(f"{url} does not name a Kafka cluster: the form is kafka://host:port[,host:port...].")
        return cls(url, tuple(addresses), Security.of(os.environ))
