"""A real Apache Kafka broker (KRaft, one node) on loopback, for tests, benchmarks and developers.

The jars come from Maven Central, once, into the git-ignored `.cache/` of the checkout; Java 17 or newer and Maven must
be on the path. As a script it starts a broker, prints its address, and stops at Ctrl-C:

    .venv/bin/python tests/services/kafka_broker.py
"""

import base64
import fcntl
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from xml.etree import ElementTree

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tests.services.server import Server

CACHE = Path(__file__).resolve().parent.parent.parent / ".cache"
POM = Path(__file__).with_name("kafka_broker.pom.xml")
JAVA_MAJOR = 17
START_SECONDS = 60
PORTS = range(20_000, 30_000)
"""Below the ephemeral range, so that no outgoing connection takes a broker's port between its kill and its restart."""

# The short session lets a broker killed with SIGKILL register again at once rather than after nine seconds.
# Retention is off: replayed records carry timestamps of the past, which the default of seven days would delete.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
log.retention.ms=-1
log.cleaner.backoff.ms=200
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=400
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""
LOGGING = """\
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=OUT
appender.out.type=Console
appender.out.name=OUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
"""


class KafkaUnavailable(Exception):
    """Java, Maven or the jars cannot be had on this machine."""


class KafkaStartFailed(Exception):
    """The broker is installed but did not start; the message ends with its log."""


def require_java() -> None:
    """Raise KafkaUnavailable unless a Java is there that runs Kafka."""
    if shutil.which("java") is None:
        raise KafkaUnavailable(f"a Kafka broker needs Java {JAVA_MAJOR} or newer, and no `java` is on the path")
    answer = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(\d+)', answer.stderr)
    if version is None or int(version[1]) < JAVA_MAJOR:
        raise KafkaUnavailable(f"a Kafka broker needs Java {JAVA_MAJOR} or newer, not:\n{answer.stderr.strip()}")


def jars(name: str, pom: Path) -> Path:
    """The folder with the jars that a Maven project needs, fetched now if this is the first time on this checkout.

    `name` is what they are there for: the project's property `<name>.version` says which version of it.
    """
    home = CACHE / f"{name}-{ElementTree.parse(pom).findtext(f'.//{{*}}{name}.version')}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            if shutil.which("mvn") is None:
                raise KafkaUnavailable(
                    f"the jars of {home.name} are not in {home}, and no `mvn` is there to fetch them"
                )
            staging = Path(tempfile.mkdtemp(prefix=f"{home.name}.", dir=CACHE))
            command = ["mvn", "-q", "-B", "-C", "-f", str(pom), "dependency:copy-dependencies"]
            options = ["-DincludeScope=runtime", f"-DoutputDirectory={staging / 'libs'}"]
            fetched = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
            if fetched.returncode != 0:
                shutil.rmtree(staging)
                raise KafkaUnavailable(f"Maven could not fetch the jars of {home.name}:\n{fetched.stdout[-2000:]}")
            staging.rename(home)
    return home / "libs"


def free_ports(count: int) -> list[int]:
    """Ports nothing listens on now. Somebody may still take one: a start that fails for it chooses again."""
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.choice(PORTS)
            try:
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
        return ports


class KafkaBroker(Server):
    """A running broker with an empty data folder of its own, removed at the end.

    Attributes:
        bootstrap: `127.0.0.1:port`; it stays the same over `kill` and `restart`.
        format_options: what its storage is formatted with besides the usual.
    """

    bootstrap: str
    format_options: tuple[str, ...] = ()

    def __init__(self) -> None:
        require_java()
        self._classpath = f"{jars('kafka', POM)}/*"
        self._cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="neonblue-kafka-"))
        try:
            (self.folder / "log4j2.properties").write_text(LOGGING)
            self._configure()
            self._java(
                *("kafka.tools.StorageTool", "format", f"--cluster-id={self._cluster_id}", "-c", self._properties),
                *self.format_options,
            ).wait()
            for attempts_left in (2, 1, 0):
                try:
                    self._start()
                    break
                except KafkaStartFailed as failure:
                    if attempts_left == 0 or "Address already in use" not in str(failure):
                        raise
                    self._configure()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self) -> None:
        self._process = self._java("kafka.Kafka", self._properties)
        self._await_answer()

    @property
    def data(self) -> Path:
        """Where the log segments lie, in a folder for each partition."""
        return self.folder / "data"

    @property
    def _properties(self) -> str:
        return str(self.folder / "server.properties")

    def _configure(self) -> None:
        port, controller_port = free_ports(2)
        self.bootstrap = f"127.0.0.1:{port}"
        text = PROPERTIES.format(port=port, controller_port=controller_port, data=self.data)
        listeners = f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller_port}"
        Path(self._properties).write_text(text + self.more_properties(listeners))

    def more_properties(self, listeners: str) -> str:
        """Lines to add to the broker's properties, whose listeners are these; the last line of a name counts."""
        return ""

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        # C1 only and one collector thread: two seconds to start rather than five on two cores.
        quick = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
        logging = f"-Dlog4j2.configurationFile=file:{self.folder / 'log4j2.properties'}"
        command = ["java", *quick, logging, "-cp", self._classpath, *arguments]
        with (self.folder / "broker.log").open("ab") as log:
            # A session of its own: Ctrl-C in the terminal reaches the tests, which then stop the broker in order.
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def _await_answer(self) -> None:
        """Wait until this broker, and not another one on its port, says who it is."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.05)
        self.kill()
        log = (self.folder / "broker.log").read_text(errors="replace")
        raise KafkaStartFailed(
            f"the Kafka broker did not answer at {self.bootstrap}; the end of its log:\n{log[-4000:]}"
        )

    def _answers(self) -> bool:
        host, port = self.bootstrap.split(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            with KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=5000) as admin:
                return bool(admin.describe_cluster()["cluster_id"] == self._cluster_id)
        except (OSError, KafkaError):
            return False


def main() -> None:
    """Run a broker until Ctrl-C (or SIGTERM)."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with KafkaBroker() as broker:
            print(f"kafka://{broker.bootstrap}", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("stopped", flush=True)


if __name__ == "__main__":
    main()
