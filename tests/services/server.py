"""What every server that the tests start has in common: it runs in a folder of its own, is killed, stopped and started again."""

import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType

STOP_SECONDS = 10


class Server:
    """A process that serves, with a folder that is removed at the end.

    Attributes:
        folder: where everything of it lies.
        stop_signal: what asks it to leave in order.
    """

    folder: Path
    stop_signal = signal.SIGTERM
    _process: subprocess.Popen[bytes]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL: it has no chance to say goodbye."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask it to leave, and SIGKILL if that is not heeded."""
        process = getattr(self, "_process", None)
        if process is None or process.poll() is not None:
            return
        process.send_signal(self.stop_signal)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def restart(self) -> None:
        """Start again on the same port and data, stopping it first if it still runs; return when it answers."""
        self.stop()
        self._start()

    def _start(self) -> None:
        """Start it and wait until it answers."""
        raise NotImplementedError
