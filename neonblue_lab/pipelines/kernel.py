"""The kernel of a step: this very interpreter, reached through sockets in a private folder, gone when the step ends."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any, cast

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from neonblue_lab.settings import HOME_VARIABLE

GRACE_SECONDS = 5.0
"""How long an interrupted kernel may clean up before it is killed."""


@dataclass
class KernelLaunch:
    """Where one kernel starts, and what became of it.

    Attributes:
        folder: a private folder of a short path, for sockets, the log and the kernel's own settings.
        home: data folder, given as NEONBLUE_HOME so that a notebook without a `home` parameter uses it too.
        cwd: working directory.
        process: the kernel's process, once it was started.
    """

    folder: Path
    home: Path
    cwd: Path
    process: "Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        """What the process wrote outside its cells: the place to look when a kernel has died."""
        return self.folder / "log"

    def manager(self) -> type[AsyncKernelManager]:
        """A kernel manager class for this launch alone, as nbclient wants a class."""
        return type("LaunchedKernel", (_Kernel,), {"launch": self})


class _Kernel(AsyncKernelManager):
    """Ignores installed kernel specifications: the kernel is always `sys.executable`."""

    launch: KernelLaunch

    def __init__(self, **traits: Any) -> None:
        # Parallel kernels race for TCP ports; sockets in a folder of mode 700 have no race and no eavesdropper.
        super().__init__(transport="ipc", connection_file=str(self.launch.folder / "k.json"), **traits)

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python", language="python")

    async def _async_start_kernel(self, **options: Any) -> None:
        # IPYTHONDIR: no personal start-up files, hence the same run for everyone.
        personal = {HOME_VARIABLE: str(self.launch.home), "IPYTHONDIR": str(self.launch.folder)}
        with self.launch.log.open("wb") as log:
            streams = {"stdout": log, "stderr": log}
            environment = {**os.environ, **personal}
            await super()._async_start_kernel(**options, **streams, env=environment, cwd=str(self.launch.cwd))

    start_kernel = _async_start_kernel

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
        await super()._async_launch_kernel(kernel_cmd, **options)
        self.launch.process = cast(LocalProvisioner, self.provisioner).process


@dataclass
class Kernels:
    """The kernels that are running now, so that an interrupted run can end them all."""

    stopping: threading.Event = field(default_factory=threading.Event)
    _live: list[KernelLaunch] = field(default_factory=list)

    @contextmanager
    def holding(self, launch: KernelLaunch) -> Iterator[None]:
        """Count a kernel as running; at the end whatever is left of its process group is killed."""
        self._live.append(launch)
        try:
            yield
        finally:
            _signal(launch, signal.SIGKILL)
            self._live.remove(launch)

    def interrupt(self) -> None:
        """Start no further cell, and interrupt the cells that are running."""
        self.stopping.set()
        self._signal_all(signal.SIGINT)

    def kill(self) -> None:
        """End every kernel at once."""
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: signal.Signals) -> None:
        for launch in list(self._live):
            _signal(launch, number)


def _signal(launch: KernelLaunch, number: signal.Signals) -> None:
    """Signal the process group of a kernel: its session is its own, so that its children are in it too."""
    if launch.process is not None:
        with suppress(ProcessLookupError):
            os.killpg(launch.process.pid, number)
