"""Serving the lab over MCP."""

from typing import Annotated

import typer

from neonblue_lab.cli.options import Home, open_settings


def serve(
    http: Annotated[
        str | None, typer.Option(help="HOST:PORT for streamable HTTP on this machine; stdio unless given.")
    ] = None,
    home: Home = None,
) -> None:
    """Serve the lab to MCP clients."""
    from neonblue_lab.serving.server import serve as start

    start(open_settings(home), http=http)
