"""A real PostgreSQL server on loopback, ready for logical decoding, for tests, benchmarks and developers.

Debian's package (`apt-get install postgresql`) brings the binaries. The server refuses to run as root, so that under root
it runs as the package's user. Anyone on this machine may log in: nothing but test data belongs in it.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import psycopg

from tests.services.kafka_broker import free_ports
from tests.services.server import Server

BINARIES = Path("/usr/lib/postgresql")
START_SECONDS = 30
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_connections": "50",
    "shared_buffers": "32MB",
}


class PostgresUnavailable(Exception):
    """PostgreSQL's binaries, or a user that may run them, are not on this machine."""


class PostgresStartFailed(Exception):
    """The server is installed but did not start; the message ends with its log."""


def _binaries() -> Path:
    """The folder of the newest installed server's programs."""
    versions = [path.parent for path in BINARIES.glob("*/bin/postgres")]
    if versions:
        return max(versions, key=lambda path: float(path.parent.name))
    if found := shutil.which("postgres"):
        return Path(found).parent
    raise PostgresUnavailable(f"no PostgreSQL server is in {BINARIES} or on the path")


def _owner() -> str | None:
    """Whom the server runs as; None means whoever runs this."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise PostgresUnavailable("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


class Postgres(Server):
    """A running server with an empty data folder of its own, removed at the end.

    Attributes:
        port: it stays the same over `kill` and `restart`.
    """

    port: int
    stop_signal = signal.SIGINT  # What PostgreSQL calls a fast shutdown; SIGTERM waits for clients to leave.

    def __init__(self) -> None:
        self._bin = _binaries()
        self._owner = _owner()

    @property
    def url(self) -> str:
        """The database `postgres`, as a superuser."""
        return self._url("postgres")

    def database(self, name: str) -> str:
        """Make a database, empty; return its url. A test that needs a database to itself asks for one."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return self._url(name)

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="neonblue-postgres-"))
        try:
            if self._owner is not None:
                shutil.chown(self.folder, self._owner)
            self._initialise()
            for attempts_left in (2, 1, 0):
                [self.port] = free_ports(1)
                try:
                    self._start()
                    break
                except PostgresStartFailed as failure:
                    if attempts_left == 0 or "Address already in use" not in str(failure):
                        raise
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def kill(self) -> None:
        """SIGKILL to the server and all its processes: nobody has a chance to say goodbye."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._process.kill()
        for child in map(int, children):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait()

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _initialise(self) -> None:
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        command = [str(self._bin / "initdb"), "-D", str(self._data), *options]
        made = subprocess.run(command, user=self._owner, cwd=self.folder, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise PostgresStartFailed(f"initdb failed:\n{made.stdout[-2000:]}{made.stderr[-2000:]}")

    def _start(self) -> None:
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        command = [str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port), *settings]
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with (self.folder / "log").open("wb") as log:
                # A session of its own: Ctrl-C in the terminal reaches the tests, which then stop the server in order.
                self._process = subprocess.Popen(
                    command, user=self._owner, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
                )
            while time.monotonic() < deadline and self._process.poll() is None:
                if self._answers():
                    return
                time.sleep(0.05)
            written = (self.folder / "log").read_text(errors="replace")
            if "is still in use" not in written:  # By a process of a killed server that has yet to notice.
                break
            time.sleep(0.05)
        self.stop()
        raise PostgresStartFailed(
            f"PostgreSQL did not answer at port {self.port}; the end of its log:\n{written[-4000:]}"
        )

    def _answers(self) -> bool:
        """Whether this server, and not another one on its port, takes queries."""
        with suppress(psycopg.Error), psycopg.connect(self.url, connect_timeout=2) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
            return row == (str(self._data),)
        return False
