"""The ways in: within a process, over stdio and over streamable HTTP. The same questions get the same answers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

from neonblue_lab.errors import BadInput
from neonblue_lab.serving.address import loopback
from neonblue_lab.serving.desk import Desk
from neonblue_lab.serving.server import build_server
from neonblue_lab.settings import CHECKOUT

Talk = Callable[[Any, Callable[[Client], Any]], Any]
SERVER = CHECKOUT / "mcp" / "server.py"
QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("list_experiments", {"status": "finished"}),
    ("analyze_experiment_performance", {"experiment_id": "sim3-exp-001"}),
    ("analyze_experiment_performance", {"experiment_id": "nobody"}),
    (
        "semantic_experiment_search",
        {"query": "fewer steps at the checkout", "filters": {"outcome": "flat"}, "limit": 3},
    ),
    ("predict_experiment_trends", {"experiment_id": "programme", "days_ahead": 5}),
    ("generate_analytics_insights", {"metrics": ["users", "conversion_rate"], "dimensions": ["week", "device_type"]}),
    ("generate_analytics_insights", {"metrics": ["riches"]}),
]
RESOURCES = ["experiments://list", "experiment://sim3-exp-002", "models://list", "model://experiments_index"]


async def interview(client: Client) -> dict[str, Any]:
    """Everything that a server says: tools, answers, errors, resources."""
    told: dict[str, Any] = {"name": client.server_info.name, "instructions": client.instructions}
    told["tools"] = [tool.model_dump(mode="json") for tool in (await client.list_tools()).tools]
    told["templates"] = [t.uri_template for t in (await client.list_resource_templates()).resource_templates]
    for name, arguments in QUESTIONS:
        result = await client.call_tool(name, arguments)
        answer = result.structured_content or result.content[0].text
        told[f"{name} {arguments}"] = (result.is_error, rounded(answer))
    for uri in RESOURCES:
        told[uri] = (await client.read_resource(uri)).contents[0].text
    return told


def rounded(answer: Any) -> Any:
    """Numbers to nine digits: sums over threads may differ in the last."""
    if isinstance(answer, float):
        return float(f"{answer:.9g}")
    if isinstance(answer, dict):
        return {key: rounded(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [rounded(value) for value in answer]
    return answer


def start(scratch: Path, *arguments: str) -> subprocess.Popen[str]:
    """`mcp/server.py` in a process of its own, with `scratch` as its working and its temporary folder."""
    return subprocess.Popen(
        [sys.executable, str(SERVER), *arguments],
        cwd=scratch,
        env=os.environ | {"TMPDIR": str(scratch)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class HttpServer:
    """`mcp/server.py --http` in a process of its own, on a free port that it chose."""

    def __init__(self, home: Path, scratch: Path) -> None:
        self.process = start(scratch, "--http", "127.0.0.1:0", "--home", str(home))
        assert self.process.stderr is not None
        self.log: list[str] = []
        self.url = ""
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/mcp", line):
                self.url = found[0]
                break
        assert self.url, "".join(self.log)
        self._reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr or []))
        self._reader.start()

    def stop(self) -> tuple[int, str]:
        """Ask it to stop; its exit code and what it wrote to stdout."""
        self.process.terminate()
        self._reader.join(20)
        written = self.process.stdout.read() if self.process.stdout else ""
        return self.process.wait(20), written


@pytest.fixture(scope="module")
def http(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    server = HttpServer(home, tmp_path_factory.mktemp("elsewhere"))
    yield server
    server.stop()


def test_the_same_answers_over_every_transport(home: Path, http: HttpServer, talk: Talk) -> None:
    # From the checkout's root, where a folder called mcp lies in the way of the SDK of that name.
    stdio = StdioServerParameters(command=sys.executable, args=[str(SERVER), "--home", str(home)], cwd=str(CHECKOUT))

    within = talk(build_server(Desk(home)), interview)
    over_stdio = talk(stdio, interview)
    over_http = talk(http.url, interview)

    assert within == over_stdio
    assert within == over_http
    assert sum(answer[0] for answer in within.values() if isinstance(answer, tuple)) == 2


def test_an_older_client_is_served_too(http: HttpServer) -> None:
    """One that begins with the `initialize` handshake."""

    async def ask() -> Any:
        async with Client(http.url, mode="legacy", read_timeout_seconds=60) as client:
            return await client.call_tool("list_experiments", {"limit": 1})

    assert anyio.run(ask).structured_content["total"] == 8


def test_a_page_of_another_site_cannot_ask(http: HttpServer) -> None:
    """A browser that was led here under another name, or by another site's script, is refused."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    for extra, status in (({"Host": "evil.example"}, 421), ({"Origin": "http://evil.example"}, 403)):
        request = urllib.request.Request(http.url, data=body, headers=headers | extra)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == status
        refused.value.close()


def test_over_http_it_stops_when_told_to_whoever_is_connected(home: Path, tmp_path: Path) -> None:
    server = HttpServer(home, tmp_path)

    async def ask_and_stop() -> tuple[int, str]:
        async with Client(server.url, mode="legacy", read_timeout_seconds=60) as client:
            await client.call_tool("semantic_experiment_search", {"query": "checkout"})
            assert len(list(tmp_path.glob("neonblue-index-*"))) == 1
            return await anyio.to_thread.run_sync(server.stop)

    code, written = anyio.run(ask_and_stop)

    assert (code, written) == (0, "")
    assert list(tmp_path.glob("neonblue-*")) == []


@pytest.mark.parametrize("farewell", ["end of input", "SIGTERM"])
def test_over_stdio_it_stops_when_the_client_leaves_or_ends_it(home: Path, tmp_path: Path, farewell: str) -> None:
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    search = {"name": "semantic_experiment_search", "arguments": {"query": "checkout"}}
    server = start(tmp_path, "--home", str(home))
    assert server.stdin is not None
    assert server.stdout is not None
    for message in (
        {"id": 1, "method": "initialize", "params": client},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": search},
    ):
        server.stdin.write(json.dumps({"jsonrpc": "2.0"} | message) + "\n")
    server.stdin.flush()
    answers = [json.loads(server.stdout.readline()) for _ in range(2)]
    assert answers[1]["result"]["structuredContent"]["search_results"]
    assert len(list(tmp_path.glob("neonblue-index-*"))) == 1

    if farewell == "SIGTERM":
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    written, _ = server.communicate(timeout=20)

    assert (server.returncode, written) == (0, "")
    assert list(tmp_path.glob("neonblue-*")) == []


@pytest.mark.parametrize(
    "address", ["0.0.0.0:8765", "[::]:8765", "192.168.1.4:8765", "lab.example:8765", "127.0.0.2:80"]
)
def test_an_address_that_others_can_reach_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match="no authentication, so it listens on this machine only"):
        loopback(address)


@pytest.mark.parametrize("address", ["8765", "localhost", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:99999", ""])
def test_a_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match=r"looks like 127\.0\.0\.1:8765"):
        loopback(address)


def test_loopback_addresses() -> None:
    assert loopback("127.0.0.1:8765") == ("127.0.0.1", 8765)
    assert loopback("localhost:0") == ("localhost", 0)
    assert loopback("[::1]:8765") == ("::1", 8765)


def run_server(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SERVER), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_refuses_to_listen_to_the_network(tmp_path: Path) -> None:
    run = run_server("--http", "0.0.0.0:8765", "--home", str(tmp_path))

    assert run.returncode == 2
    assert "no authentication" in run.stderr
    assert run.stdout == ""


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = run_server("--http", f"127.0.0.1:{port}", "--home", str(tmp_path))

    assert run.returncode == 1
    assert f"Cannot listen on 127.0.0.1 port {port}" in run.stderr
    assert "Traceback" not in run.stderr
