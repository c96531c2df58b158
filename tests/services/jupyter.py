"""A real JupyterLab server on loopback, and a notebook run in it the way a person does."""

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.request import urlopen

from playwright.sync_api import Page, expect

START_SECONDS = 60
STOP_SECONDS = 20
OPEN_SECONDS = 60
RUN_SECONDS = 180
ERRORS = '.jp-NotebookPanel [data-mime-type="application/vnd.jupyter.stderr"]'
"""Selects what cells wrote on stderr, and tracebacks, which JupyterLab shows in the same way."""
PROMPTS = ".jp-NotebookPanel .jp-CodeCell .jp-InputPrompt"
"""Selects `[*]:` of a cell that is waiting, `[7]:` of one that was run, `[ ]:` of one that was not."""


class JupyterLab:
    """A server with settings of its own: nothing personal is read, nothing but the notebooks' folder is written.

    Attributes:
        address: `http://127.0.0.1:port/`.
    """

    address: str

    def __init__(self, notebooks: Path, home: Path) -> None:
        """Serve the folder `notebooks`, with `home` as the data folder of their kernels."""
        self._notebooks = notebooks
        self._home = home
        self._token = secrets.token_hex()

    def __enter__(self) -> Self:
        self._own = tempfile.TemporaryDirectory(prefix="neonblue-jupyter-")
        folder = Path(self._own.name)
        options = {
            "ServerApp": {
                "ip": "127.0.0.1",
                "port": 0,  # Whichever is free.
                "root_dir": str(self._notebooks),
                "open_browser": False,
                "allow_root": True,
            },
            "IdentityProvider": {"token": self._token},  # Not on the command line, where everyone can read it.
        }
        notifications = (
            folder / "config/lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
        )
        notifications.parent.mkdir(parents=True)
        notifications.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
        (folder / "config" / "jupyter_lab_config.json").write_text(json.dumps(options))
        own = {f"JUPYTER_{kind.upper()}_DIR": str(folder / kind) for kind in ("config", "data", "runtime")}
        environment = {**os.environ, **own, "IPYTHONDIR": str(folder), "NEONBLUE_HOME": str(self._home)}
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab"], env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self.address = self._await_address(folder)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()  # It ends its kernels.
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._own.cleanup()

    def run_all(self, page: Page, notebook: str) -> None:
        """Open a notebook, choose Run > Run All Cells, and return when its last cell is done or one has failed."""
        page.goto(f"{self.address}lab/tree/{notebook}?reset&token={self._token}")
        idle = page.get_by_text("Python 3 (ipykernel) | Idle", exact=True)
        expect(idle).to_be_visible(timeout=OPEN_SECONDS * 1000)
        page.get_by_role("menubar").get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        prompts = page.locator(PROMPTS)
        expect(prompts.first).to_have_text(re.compile(r"\[\d+\]"), timeout=OPEN_SECONDS * 1000)
        expect(prompts.filter(has_text="[*]")).to_have_count(0, timeout=RUN_SECONDS * 1000)
        expect(idle).to_be_visible(timeout=OPEN_SECONDS * 1000)

    def _await_address(self, folder: Path) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            for written in (folder / "runtime").glob("jpserver-*.json"):
                # The file is there, perhaps half written, before the server listens.
                with suppress(ValueError, OSError):
                    address: str = json.loads(written.read_text())["url"]
                    urlopen(f"{address}api", timeout=START_SECONDS).close()
                    return address
            time.sleep(0.05)
        log = (folder / "log").read_text(errors="replace")
        raise RuntimeError(f"JupyterLab did not start; the end of its log:\n{log[-4000:]}")
