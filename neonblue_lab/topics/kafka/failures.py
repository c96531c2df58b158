"""What can go wrong with a cluster, in sentences that say what to check: the same whichever client met it."""

from neonblue_lab.errors import Corrupt, Unavailable


class Unreachable(Unavailable):
    """No broker answers now. One may answer later."""


def unreachable(url: str, reason: object) -> Unreachable:
    """No broker answers."""
    return Unreachable(
        f"No Kafka broker answers at {url} ({reason}): check the address, that the broker runs, and that the "
        "addresses it advertises (advertised.listeners) can be reached from here."
    )


def refused(url: str, reason: object) -> Unavailable:
    """A broker answers, and does not let us in."""
    return Unavailable(f"{url} refuses access: {reason}. Check NEONBLUE_KAFKA_SECURITY_PROTOCOL and the user's rights.")


def undecodable(url: str, reason: object) -> Unavailable:
    """Records are compressed in a way that the client cannot read."""
    return Unavailable(
        f"{url}: records are compressed with a codec that is not installed ({reason}): "
        "pip install 'kafka-python[snappy,lz4,zstd]'."
    )


def corrupt(url: str, reason: object) -> Corrupt:
    """A record does not match its checksum."""
    return Corrupt(f"{url}: {reason}")


def failed(url: str, reason: object) -> Unavailable:
    """Anything else that a client raises."""
    return Unavailable(f"{url} failed: {reason}")
