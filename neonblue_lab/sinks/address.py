"""Where a store is, told without its secrets."""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from neonblue_lab.errors import BadInput

CLICKHOUSE_EXAMPLE = "https://user@host:8443/database, or chdb:///folder for the engine in this process"
POSTGRES_EXAMPLE = "postgresql://user@host:5432/database"

_SECRET_OPTIONS = frozenset({"password", "sslpassword"})


@dataclass(frozen=True, repr=False)
class Address:
    """The parts of a store's url. It has no repr of its own fields: `str()` is what may be shown.

    Attributes:
        scheme: in lower case.
        host: None where the url names none.
        port: None where the url names none.
        user: None where the url names none.
        password: None where the url names none.
        path: with its leading slash, percent-decoded; empty where the url has none.
        options: what stands behind the question mark.
    """

    scheme: str
    host: str | None
    port: int | None
    user: str | None
    password: str | None
    path: str
    options: dict[str, str]

    @property
    def has_secret(self) -> bool:
        """Whether the url carries something that only its owner may see."""
        return self.password is not None or not _SECRET_OPTIONS.isdisjoint(self.options)

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host or ""
        return f"{self.scheme}://{host}{f':{self.port}' if self.port else ''}{self.path}"


def clickhouse_address(url: str) -> Address:
    """The parts of the url of a ClickHouse server, or of the engine in this process.

    Raises:
        BadInput: it is none. The message repeats nothing of it but the scheme.
    """
    return _parse(url, ("http", "https", "chdb"), CLICKHOUSE_EXAMPLE)


def postgres_address(url: str) -> Address:
    """The parts of the url of a PostgreSQL database.

    Raises:
        BadInput: it is none. The message repeats nothing of it but the scheme.
    """
    return _parse(url, ("postgresql", "postgres"), POSTGRES_EXAMPLE)


def _parse(url: str, schemes: Collection[str], example: str) -> Address:
    scheme, mark, rest = url.partition("://")
    if not mark or scheme.lower() not in schemes:
        raise BadInput(f"This is not the url of a store of this kind; it looks like {example}.")
    parts, port = _split(scheme.lower(), rest, example)
    # A password with an unescaped / ? or # would end the host early, and be taken for a port, a path or an option.
    if parts.netloc and "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise _unclear(scheme.lower(), example)
    return Address(
        scheme=scheme.lower(),
        host=parts.hostname,
        port=port,
        user=_decoded(parts.username),
        password=_decoded(parts.password),
        path=unquote(parts.path),
        options=dict(parse_qsl(parts.query, keep_blank_values=True)),
    )


def _split(scheme: str, rest: str, example: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        return parts, parts.port
    except ValueError:
        pass
    raise _unclear(scheme, example)  # outside of the handler: the error's own words may hold a part of the password


def _unclear(scheme: str, example: str) -> BadInput:
    return BadInput(
        f"This {scheme}:// url cannot be taken apart. Write it like {example}, and any of : / ? # [ ] @ % in a user or "
        "password percent-encoded."
    )


def _decoded(text: str | None) -> str | None:
    return None if text is None else unquote(text)
