"""A real ClickHouse engine (chDB) behind ClickHouse's HTTP interface on loopback, for tests, benchmarks and developers.

What answers is the engine that servers run; what is made here is only the door: as much of the HTTP interface as
clickhouse-connect speaks. One process has one engine, so the front is a process of its own. It answers without compression
and takes bodies in gzip, deflate, lz4 and zstd. Run as a module, it starts a server, prints its url, and stops at Ctrl-C:

    .venv/bin/python -m tests.services.clickhouse_http
"""

import base64
import gzip
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from email import message_from_bytes
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.services.kafka_broker import free_ports
from tests.services.server import Server

CHECKOUT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 30
PASSWORD_VARIABLE = "CLICKHOUSE_FRONT_PASSWORD"

# Parameters of a request that are no settings of the query.
_TRANSPORT = frozenset(
    {"query", "database", "default_format", "user", "password", "role", "quota_key", "query_id", "stacktrace"}
    | {"session_id", "session_timeout", "session_check", "close_session", "client_protocol_version"}
    | {"compress", "decompress", "enable_http_compression", "buffer_size", "wait_end_of_query"}
    | {"send_progress_in_http_headers", "http_headers_progress_interval_ms"}
)
_INSERT = re.compile(rb"\s*INSERT\s+INTO\s.*?\sFORMAT\s+(\w+)[ \t]*(?:\r?\n|$)", re.IGNORECASE | re.DOTALL)
_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_ERROR_CODE = re.compile(r"Code: (\d+)")
_STATUS = {48: 501, 60: 404, 62: 400, 81: 404, 115: 400, 516: 403}


class ClickHouseUnavailable(Exception):
    """chDB is not installed here."""


class ClickHouseStartFailed(Exception):
    """chDB is installed but the front did not start; the message ends with its log."""


class ClickHouseServer(Server):
    """A running server with an empty data folder of its own, removed at the end.

    Attributes:
        port: it stays the same over `kill` and `restart`, as the data does.
    """

    port: int

    def __init__(self, password: str | None = None) -> None:
        """With a password, only the user `default` with that password is let in."""
        if importlib.util.find_spec("chdb") is None:
            raise ClickHouseUnavailable("ClickHouse's engine is not installed: pip install 'neonblue-lab[chdb]'")
        self._password = password

    @property
    def url(self) -> str:
        """Where it answers; user and password are the caller's to add."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="neonblue-clickhouse-"))
        self.port = 0
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self) -> None:
        for attempts_left in (2, 1, 0):
            port = self.port or free_ports(1)[0]
            try:
                self._launch(port)
            except ClickHouseStartFailed as failure:
                if self.port or attempts_left == 0 or "Address already in use" not in str(failure):
                    raise
                continue
            self.port = port
            return

    def _launch(self, port: int) -> None:
        command = [sys.executable, "-m", "tests.services.clickhouse_http", str(port), str(self.folder / "data")]
        environment = os.environ | ({PASSWORD_VARIABLE: self._password} if self._password else {})
        with (self.folder / "log").open("wb") as log:
            # A session of its own: Ctrl-C in the terminal reaches the tests, which then stop the server in order.
            self._process = subprocess.Popen(
                command, cwd=CHECKOUT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if _answers(port, self._process.pid):
                return
            time.sleep(0.02)
        self.stop()
        log_text = (self.folder / "log").read_text(errors="replace")
        raise ClickHouseStartFailed(f"no ClickHouse answered at port {port}; the end of its log:\n{log_text[-4000:]}")


def _answers(port: int, process: int) -> bool:
    """Whether this front, and not something else on its port, answers."""
    try:
        with closing(HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
            connection.request("GET", "/ping")
            return connection.getresponse().getheader("X-ClickHouse-Server-Display-Name") == f"front-{process}"
    except (OSError, HTTPException):
        return False


class _Refused(Exception):
    """A request that the front itself refuses, with ClickHouse's code and words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {message}")


class _Engine:
    """The one engine of this process. Each request has a connection of its own: its settings are gone with it."""

    def __init__(self, folder: str) -> None:
        import chdb

        self._open: Callable[[], Any] = lambda: chdb.connect(folder)
        self._lock = Lock()
        self._first = self._open()  # as long as it is open, the engine is
        self.timezone = self._first.query("SELECT timezone()", "TabSeparatedRaw").bytes().decode().strip()

    def run(
        self, sql: bytes, fmt: str, parameters: dict[str, str], database: str | None, settings: dict[str, str]
    ) -> Any:
        with self._lock, closing(self._open()) as connection:
            if database:
                connection.query(f"USE {_name(database)}")
            for name, value in settings.items():
                connection.query(f"SET {_name(name)} = {_text(value)}")
            return connection.query(sql.decode(), fmt, params=parameters)

    def insert(self, sql: bytes, fmt: str, body: bytes, database: str | None, settings: dict[str, str]) -> Any:
        with tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            head = sql[: _FORMAT.search(sql).start()] if _FORMAT.search(sql) else sql
            statement = f"{head.decode()} FROM INFILE {_text(file.name)} FORMAT {fmt}"
            return self.run(statement.encode(), "TabSeparated", {}, database, settings)


class _Door(BaseHTTPRequestHandler):
    """One HTTP request in, one statement to the engine, one answer out."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    engine: _Engine
    password: str | None

    def do_GET(self) -> None:
        if urlsplit(self.path).path == "/ping":
            self._send(200, b"Ok.\n")
        else:
            self._answer(b"", {"readonly": "2"})

    def do_POST(self) -> None:
        self._answer(b"".join(self._body()), {})

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: queries are not for a log."""

    def _answer(self, body: bytes, settings: dict[str, str]) -> None:
        try:
            self._admit()
            result, fmt = self._run(_decompressed(body, self.headers.get("Content-Encoding")), settings)
            summary = {"read_rows": str(result.rows_read()), "read_bytes": str(result.bytes_read())}
            output = bytes(result.bytes() or b"")
            told = {"X-ClickHouse-Format": fmt} if fmt else {"X-ClickHouse-Format": "TabSeparated"} if output else {}
            self._send(200, output, told | {"X-ClickHouse-Summary": json.dumps(summary)})
        except (RuntimeError, _Refused) as error:
            code = int(found[1]) if (found := _ERROR_CODE.search(str(error))) else 1000
            self._send(_STATUS.get(code, 500), f"{error}\n".encode(), {"X-ClickHouse-Exception-Code": str(code)})

    def _run(self, body: bytes, settings: dict[str, str]) -> tuple[Any, str | None]:
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        if (content := self.headers.get("Content-Type", "")).startswith("multipart/form-data"):
            parameters, body = parameters | _fields(content, body), b""
        bound = {name.removeprefix("param_"): value for name, value in parameters.items() if name.startswith("param_")}
        given = {n: v for n, v in parameters.items() if n not in _TRANSPORT and not n.startswith("param_")}
        settings, database = settings | given, parameters.get("database")
        query = parameters.get("query", "").encode()
        statement = b"\n".join(part for part in (query, body) if part)
        if insert := _INSERT.match(statement):
            fmt = insert[1].decode()
            data = statement[insert.end() :]
            return self.engine.insert(insert[0].rstrip(), fmt, data, database, settings), None
        explicit = _FORMAT.search(statement)
        fmt = explicit[1].decode() if explicit else parameters.get("default_format", "TabSeparated")
        return self.engine.run(statement, fmt, bound, database, settings), fmt if explicit else None

    def _admit(self) -> None:
        expected = base64.b64encode(f"default:{self.password}".encode()).decode()
        if self.password is not None and self.headers.get("Authorization") != f"Basic {expected}":
            raise _Refused(516, "Authentication failed: password is incorrect. (AUTHENTICATION_FAILED)")

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            yield self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        told = {
            "X-ClickHouse-Server-Display-Name": f"front-{os.getpid()}",
            "X-ClickHouse-Timezone": self.engine.timezone,
            "Content-Type": "text/plain; charset=UTF-8",
            "Content-Length": str(len(body)),
        }
        for name, value in (told | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _fields(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of a form, in which clients send a query with large parameters."""
    form = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    fields = {}
    for part in form.get_payload():
        if part.get_filename() is not None:
            raise _Refused(48, "External data is not supported. (NOT_IMPLEMENTED)")
        fields[part.get_param("name", header="Content-Disposition")] = part.get_payload(decode=True).decode()
    return fields


def _decompressed(body: bytes, encoding: str | None) -> bytes:
    if encoding in (None, "identity"):
        return body
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "deflate":
        return zlib.decompress(body)
    if encoding == "lz4":
        import lz4.frame

        return bytes(lz4.frame.decompress(body))
    if encoding == "zstd":
        from backports import zstd

        return bytes(zstd.decompress(body))
    raise _Refused(48, f"Content-Encoding {encoding} is not supported. (NOT_IMPLEMENTED)")


def _name(text: str) -> str:
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _serve(port: int, folder: str) -> None:
    _Door.engine = _Engine(folder)
    _Door.password = os.environ.get(PASSWORD_VARIABLE)
    ThreadingHTTPServer.daemon_threads = True
    with ThreadingHTTPServer(("127.0.0.1", port), _Door) as server:
        server.serve_forever()


def main() -> None:
    """With a port and a folder: serve. Without: run a server of one's own until Ctrl-C (or SIGTERM)."""
    if len(sys.argv) == 3:
        _serve(int(sys.argv[1]), sys.argv[2])
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ClickHouseServer() as server:
            print(server.url, flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("stopped", flush=True)


if __name__ == "__main__":
    main()
