"""The folder that clients are pointed at: it hides nothing, its configurations start the server, its README tells the truth."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from neonblue_lab.serving.address import loopback
from neonblue_lab.serving.server import RESOURCES, TOOLS
from neonblue_lab.settings import CHECKOUT

FOLDER = CHECKOUT / "mcp"
CLIENTS = sorted((FOLDER / "clients").glob("*.json"))
README = (FOLDER / "README.md").read_text(encoding="utf-8")
PLACES = ("/path/to/neonblue-lab", "${workspaceFolder}")


@pytest.mark.parametrize("way", ["cwd", "PYTHONPATH"])
def test_it_does_not_shadow_the_sdk(way: str) -> None:
    environment = os.environ | ({"PYTHONPATH": str(CHECKOUT)} if way == "PYTHONPATH" else {})
    code = "import mcp, mcp.server.mcpserver; print(mcp.__file__)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "site-packages" in run.stdout
    assert not (FOLDER / "__init__.py").exists()


@pytest.mark.parametrize("file", CLIENTS, ids=lambda file: file.stem)
def test_a_configuration_starts_or_reaches_the_server(file: Path) -> None:
    configuration = json.loads(file.read_text(encoding="utf-8"))
    server = configuration.get("mcpServers", configuration.get("servers"))["neonblue-lab"]

    if "url" in server:
        address = urlsplit(server["url"])
        assert loopback(address.netloc)[1] > 0
        assert (address.scheme, address.path) == ("http", "/mcp")
    else:
        command, script = (_in_checkout(path) for path in (server["command"], *server["args"]))
        assert script == FOLDER / "server.py"
        assert command == CHECKOUT / ".venv" / "bin" / "python"


def _in_checkout(path: str) -> Path:
    for place in PLACES:
        path = path.replace(place, str(CHECKOUT))
    return CHECKOUT / path


def test_the_readme_names_every_tool_resource_and_configuration() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == {tool.__name__ for tool in TOOLS}
    assert set(re.findall(r"^\| `(\w+://\S+)` \|", README, re.MULTILINE)) == {uri for uri, _, _ in RESOURCES}
    assert set(re.findall(r"\(clients/(\w+\.json)\)", README)) == {file.name for file in CLIENTS}


def test_the_readmes_example_runs(home: Path) -> None:
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example is not None
    code = example[1].replace('".venv/bin/python"', repr(sys.executable))
    code = code.replace('"mcp/server.py"', f'"mcp/server.py", "--home", {str(home)!r}')

    run = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False
    )

    assert run.returncode == 0, run.stderr
    assert (
        len(re.findall(r"^0\.\d+ sim3-exp-\d+ (win|loss|flat|running|broken split|unknown)$", run.stdout, re.MULTILINE))
        == 3
    )
