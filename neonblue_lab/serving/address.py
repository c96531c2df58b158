"""The address to listen on: this machine's own and no other."""

from neonblue_lab.errors import BadInput

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def loopback(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, such as `127.0.0.1:8765` or `[::1]:8765`; port 0 takes a free one.

    Raises:
        BadInput: another form, or a host that other machines can reach.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise BadInput(f"--http {text}: it looks like 127.0.0.1:8765.")
    if host not in LOOPBACK:
        raise BadInput(
            f"--http {text}: the server has no authentication, so it listens on this machine only. "
            f"Use {', '.join(LOOPBACK[:-1])} or {LOOPBACK[-1]} as the host."
        )
    return host, int(port)
