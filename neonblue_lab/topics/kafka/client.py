"""What every connection to a cluster shares: its options, read from the url, and its failures, said in sentences."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka.errors import (
    AuthorizationError,
    CorruptRecordError,
    KafkaError,
    RetriableError,
    SaslAuthenticationFailedError,
    UnsupportedCodecError,
)

from neonblue_lab.errors import BadInput, Corrupt, Unavailable

SCHEME = "kafka://"
CONNECT_MS = 6_000
"""How long a cluster may take to answer at first."""
RECONNECT_MS = 1_000
"""The longest pause between two attempts: a broker that is restarted is found again at once."""
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:/@?#\[\]]+):\d{1,5}")

# What goes wrong is raised as an error of ours; without a handler the client would also print it to stderr.
logging.getLogger("kafka").addHandler(logging.NullHandler())


def client_options(url: str) -> dict[str, Any]:
    """The options that consumers, producers and admin clients of the cluster at `url` take.

    Args:
        url: `kafka://host:port[,host:port...]`, addresses of some of the cluster's brokers.

    Raises:
        BadInput: the url has another form.
    """
    addresses = url.removeprefix(SCHEME).rstrip("/").split(",")
    if not url.startswith(SCHEME) or not all(_ADDRESS.fullmatch(address) for address in addresses):
        raise BadInput(f"{url} does not name a Kafka cluster: the form is kafka://host:port[,host:port...].")
    return {
        "bootstrap_servers": addresses,
        "client_id": "neonblue-lab",
        "bootstrap_timeout_ms": CONNECT_MS,
        "reconnect_backoff_max_ms": RECONNECT_MS,
    }


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turn what the client raises into errors that say what to check.

    Raises:
        Unavailable: the cluster does not answer, refuses, or compresses with a codec that is not installed.
        Corrupt: a record does not match its checksum.
    """
    try:
        yield
    except UnsupportedCodecError as error:
        raise Unavailable(
            f"{url}: records are compressed with a codec that is not installed ({error}): "
            "pip install 'kafka-python[snappy,lz4,zstd]'."
        ) from error
    except CorruptRecordError as error:
        raise Corrupt(f"{url}: {error}") from error
    except (AuthorizationError, SaslAuthenticationFailedError) as error:
        raise Unavailable(f"{url} refuses access: {error}") from error
    except RetriableError as error:
        raise Unavailable(
            f"No Kafka broker answers at {url} ({error}): check the address, that the broker runs, and that the "
            "addresses it advertises (advertised.listeners) can be reached from here."
        ) from error
    except KafkaError as error:
        raise Unavailable(f"{url} failed: {error}") from error
