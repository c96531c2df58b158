"""Kafka Connect with the Debezium PostgreSQL connector, as a process of its own, for tests.

The jars come from Maven Central, once, into the git-ignored `.cache/` of the checkout, as the broker's do.
"""

import json
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from tests.services.kafka_broker import LOGGING, free_ports, jars, require_java
from tests.services.server import Server

POM = Path(__file__).with_suffix(".pom.xml")
START_SECONDS = 90

# Offsets are written seldom: what a killed worker had sent since, the next one sends again.
WORKER = """\
bootstrap.servers={kafka}
listeners=http://127.0.0.1:{port}
offset.storage.file.filename={folder}/offsets
offset.flush.interval.ms=60000
plugin.discovery=service_load
topic.creation.enable=true
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable={schemas}
value.converter.schemas.enable={schemas}
"""


def connect_jars() -> Path:
    """The folder with the jars, fetched now if this is the first time on this checkout. Raises KafkaUnavailable."""
    require_java()
    return jars("debezium", POM)


class ConnectStartFailed(Exception):
    """The worker is installed but its connector did not run; the message ends with its log."""


class Connect(Server):
    """A running worker with one connector: the tables of a PostgreSQL database to topics `<prefix>.<schema>.<table>`."""

    def __init__(self, kafka: str, database: str, *, prefix: str, tables: list[str], schemas: bool = False) -> None:
        """Take down how to run it.

        Args:
            kafka: `host:port` of a broker.
            database: url of the database.
            prefix: how the topics' names begin; also names the replication slot and the publication.
            tables: `schema.table` of each.
            schemas: whether each message carries its schema.
        """
        self._classpath = f"{connect_jars()}/*"
        self._worker = {"kafka": kafka, "schemas": str(schemas).lower()}
        self._name = prefix
        parts = urlsplit(database)
        self._settings = {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "database.hostname": parts.hostname,
            "database.port": str(parts.port),
            "database.user": parts.username,
            "database.password": "",
            "database.dbname": parts.path.strip("/"),
            "topic.prefix": prefix,
            "table.include.list": ",".join(tables),
            "plugin.name": "pgoutput",
            "slot.name": prefix,
            "publication.name": prefix,
            "publication.autocreate.mode": "filtered",
            "decimal.handling.mode": "string",
            "skipped.operations": "none",  # By default truncates are skipped.
            "topic.creation.default.replication.factor": "1",
            "topic.creation.default.partitions": "2",
            "poll.interval.ms": "50",
            "slot.retry.delay.ms": "200",  # The server may not have noticed yet that a killed worker is gone.
        }

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="neonblue-connect-"))
        try:
            (self.folder / "log4j2.properties").write_text(LOGGING)
            connector = {"name": self._name, "config": self._settings}
            (self.folder / "connector.json").write_text(json.dumps(connector))
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self) -> None:
        [self._port] = free_ports(1)
        worker = WORKER.format(port=self._port, folder=self.folder, **self._worker)
        (self.folder / "worker.properties").write_text(worker)
        quick = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
        logging = f"-Dlog4j2.configurationFile=file:{self.folder / 'log4j2.properties'}"
        main = ["org.apache.kafka.connect.cli.ConnectStandalone", "worker.properties", "connector.json"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["java", *quick, logging, "-cp", self._classpath, *main],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            states = self._states()
            if states == ["RUNNING", "RUNNING"]:
                return
            if "FAILED" in states:
                break
            time.sleep(0.1)
        self.stop()
        raise ConnectStartFailed(f"the connector {self._name} does not run; the end of its log:\n{self.log()[-6000:]}")

    def log(self) -> str:
        """What it wrote so far, on all its starts."""
        return (self.folder / "log").read_text(errors="replace")

    def _states(self) -> list[str]:
        """The states of the connector and its task; empty while it does not answer."""
        with suppress(URLError, OSError, KeyError):
            with urlopen(f"http://127.0.0.1:{self._port}/connectors/{self._name}/status", timeout=5) as answer:
                status = json.load(answer)
            return [status["connector"]["state"], *(task["state"] for task in status["tasks"])]
        return []
