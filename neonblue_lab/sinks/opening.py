"""Opening a sink by its name, with the url from the environment or, where it holds no secret, as given."""

import os
from collections.abc import Callable

from neonblue_lab.errors import BadInput, Unavailable
from neonblue_lab.sinks.address import Address, clickhouse_address, postgres_address
from neonblue_lab.sinks.sink import Sink

CLICKHOUSE_CLUSTER = "NEONBLUE_CLICKHOUSE_CLUSTER"
"""Variable with the name of a cluster in ClickHouse's configuration; not set: a single server."""
URL_VARIABLES = {"clickhouse": "NEONBLUE_CLICKHOUSE_URL", "postgres": "NEONBLUE_POSTGRES_URL"}
"""Sink -> the variable with its url."""

_ADDRESSES: dict[str, Callable[[str], Address]] = {"clickhouse": clickhouse_address, "postgres": postgres_address}


def configured() -> tuple[str, ...]:
    """The sinks of which the environment holds a url."""
    return tuple(name for name, variable in URL_VARIABLES.items() if os.environ.get(variable))


def open_sink(name: str, url: str | None = None) -> Sink:
    """A sink that is not connected yet.

    Args:
        name: clickhouse or postgres.
        url: where it is, without a password; the environment's (`URL_VARIABLES`) where none is given, which may hold one.

    Raises:
        BadInput: no such sink, no url, one that cannot be used, or one with a password that is not from the environment.
        Unavailable: the package that speaks to it is not installed.
    """
    if name not in URL_VARIABLES:
        raise BadInput(f"There is no sink {name}; there are {', '.join(URL_VARIABLES)}.")
    variable = URL_VARIABLES[name]
    if url is None:
        url = os.environ.get(variable)
        if not url:
            raise BadInput(f"The sink {name} has no url: set {variable}.")
    elif _ADDRESSES[name](url).has_secret:
        raise BadInput(
            f"A url with a password is taken from the environment only, where no list of processes and no history shows it: "
            f"set {variable}."
        )
    if name == "clickhouse":
        from neonblue_lab.sinks.clickhouse import ClickHouseSink

        return ClickHouseSink(url, cluster=os.environ.get(CLICKHOUSE_CLUSTER) or None)
    try:
        from neonblue_lab.sinks.postgres import PostgresSink
    except ImportError as error:
        raise Unavailable("PostgreSQL needs a package: pip install 'neonblue-lab[postgres]'.") from error
    return PostgresSink(url)
