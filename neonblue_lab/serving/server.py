"""The server: which tools and resources it has, and how it is reached."""

import atexit
import logging
import os
import signal
import socket
import sys

import anyio
import uvicorn
from mcp.server.mcpserver import MCPServer

from neonblue_lab import __version__
from neonblue_lab.errors import Unavailable
from neonblue_lab.serving import resources
from neonblue_lab.serving.address import loopback
from neonblue_lab.serving.analytics import generate_analytics_insights
from neonblue_lab.serving.desk import Desk
from neonblue_lab.serving.experiments import analyze_experiment_performance, list_experiments
from neonblue_lab.serving.search import semantic_experiment_search
from neonblue_lab.serving.tool import resource, tool
from neonblue_lab.serving.trends import predict_experiment_trends
from neonblue_lab.settings import Settings

NAME = "neonblue-lab"
INSTRUCTIONS = """\
NeonBlue Lab knows the experiments (A/B tests) of one programme: their definitions, results, texts, trends and the events
that they came from. Everything here only reads.

Begin with list_experiments (by status or words) or semantic_experiment_search (by meaning). analyze_experiment_performance
judges one experiment: read its verdict and reasons first, and trust no number where the sample-ratio check has not passed.
predict_experiment_trends forecasts a metric with intervals. generate_analytics_insights measures events by named metrics and
dimensions.

Each answer names the version of the data and the artifacts that it was made with; two answers of the same data version agree.
Where an artifact is missing the error says what makes it. Resources: experiment://{experiment_id}, experiments://list,
model://{name} (model cards), models://list."""

TOOLS = (
    list_experiments,
    analyze_experiment_performance,
    semantic_experiment_search,
    predict_experiment_trends,
    generate_analytics_insights,
)
RESOURCES = (
    ("experiments://list", resources.experiments, "application/json"),
    ("experiment://{experiment_id}", resources.experiment, "application/json"),
    ("models://list", resources.models, "application/json"),
    ("model://{name}", resources.model_card, "text/markdown"),
)


def build_server(desk: Desk) -> MCPServer:
    """A server of the lab at this desk, not yet listening."""
    server = MCPServer(
        NAME,
        title="NeonBlue Lab",
        description="Experiments of an A/B-testing programme: results, search by meaning, trends, analytics.",
        instructions=INSTRUCTIONS,
        version=__version__,
        tools=[tool(function, desk) for function in TOOLS],
    )
    for uri, function, mime_type in RESOURCES:
        server.resource(uri, mime_type=mime_type)(resource(function, desk))
    return server


def serve(settings: Settings, *, http: str | None = None) -> None:
    """Serve until the client leaves (stdio) or the process is told to stop (HTTP). Logs go to stderr.

    Args:
        settings: which workbench.
        http: HOST:PORT of this machine for streamable HTTP at /mcp; stdio unless given.

    Raises:
        BadInput: an address that is malformed or that other machines could reach.
        Unavailable: the port is taken.
    """
    address = None if http is None else loopback(http)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _leave)
    server = build_server(Desk(settings.home))
    if address is None:
        server.run("stdio")
    else:
        _serve_http(server, *address)


def _leave(*_: object) -> None:
    """Stop because of SIGTERM: remove what lies in temporary folders, such as the copy of an open index, and end, without
    waiting for the thread that reads stdin (it ends only when the client closes it)."""
    atexit._run_exitfuncs()
    os._exit(0)


def _serve_http(server: MCPServer, host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise Unavailable(f"Cannot listen on {host} port {port}: {error.strerror}. Name another port.") from error
    with listener:
        shown = f"[{host}]" if ":" in host else host
        logging.getLogger(__name__).info("Serving MCP at http://%s:%d/mcp", shown, listener.getsockname()[1])
        # log_config=None: uvicorn's own would write requests to stdout.
        config = uvicorn.Config(server.streamable_http_app(host=host), log_config=None, log_level="info")
        anyio.run(lambda: uvicorn.Server(config).serve(sockets=[listener]))
