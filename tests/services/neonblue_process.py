"""The command line as a process of its own, to be watched, stopped and killed; none outlives its block or its deadline."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NEONBLUE = Path(sys.executable).with_name("neonblue")
DEADLINE_SECONDS = 120
POLL_SECONDS = 0.02


class TooLate(Exception):
    """Something did not happen before its deadline; the message says what."""


@dataclass(frozen=True)
class Answer:
    """What a finished command left: its exit code (minus the signal's number where one ended it) and its two texts."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """The last line for the user: of what it answered where it did what it should, else of its complaints."""
        lines = ((self.out if self.code in (0, 3) else self.err).strip()).splitlines()
        return lines[-1] if lines else ""


class NeonblueProcess:
    """A running command."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process, self._folder = process, folder

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def err(self) -> str:
        """What it has said on stderr so far."""
        return self._text("err")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the command and all that it started; to one that has ended, nothing."""
        if self.running:
            os.killpg(self._process.pid, number)

    def answer(self, seconds: float = DEADLINE_SECONDS) -> Answer:
        """Wait for its end.

        Raises:
            TooLate: it still runs; it is killed.
        """
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as late:
            self.kill()
            raise TooLate(
                f"{self._process.args} still ran after {seconds} s; it had said: {self._text('err')}"
            ) from late
        return Answer(code, self._text("out"), self._text("err"))

    def kill(self) -> Answer:
        """SIGKILL: it has no chance to say goodbye."""
        self.send(signal.SIGKILL)
        self._process.wait()
        return Answer(self._process.returncode, self._text("out"), self._text("err"))

    def _text(self, name: str) -> str:
        return (self._folder / name).read_text(errors="replace")


@contextmanager
def started(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> Iterator[NeonblueProcess]:
    """Start `neonblue ARGUMENTS` and kill it at the end of the block if it still runs.

    Args:
        environment: variables beside those of this process, of which the ones of NeonBlue are left out.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NEONBLUE_")}
    with tempfile.TemporaryDirectory(prefix="neonblue-process-") as name:
        folder = Path(name)
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                [NEONBLUE, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=inherited | dict(environment or {}),
                start_new_session=True,
            )
        running = NeonblueProcess(process, folder)
        try:
            yield running
        finally:
            running.kill()


def run(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> Answer:
    """Run a command to its end."""
    with started(*arguments, environment=environment) as process:
        return process.answer()


def wait_until(
    condition: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS, every: float = POLL_SECONDS
) -> None:
    """Poll until `condition` holds.

    Raises:
        TooLate: it does not after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TooLate(f"after {seconds} s still not: {what}")
        time.sleep(every)
