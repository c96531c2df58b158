"""A real Kafka broker that also listens for those with a password, with and without encryption."""

import shutil
import subprocess
from pathlib import Path

from tests.services.kafka_broker import KafkaBroker, KafkaUnavailable, free_ports

# The broker's certificate, signed by itself, is also the authority that clients have to trust.
SECURED = """\
listeners={listeners},SASL_PLAINTEXT://{sasl},SASL_SSL://{tls}
advertised.listeners=PLAINTEXT://{bootstrap},SASL_PLAINTEXT://{sasl},SASL_SSL://{tls}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.sasl_plaintext.plain.sasl.jaas.config={plain}
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config={scram}
listener.name.sasl_ssl.plain.sasl.jaas.config={plain}
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={scram}
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
"""
MODULES = "org.apache.kafka.common.security"


class SecuredKafkaBroker(KafkaBroker):
    """A broker with two more listeners.

    Attributes:
        sasl: `127.0.0.1:port` with a password (PLAIN or SCRAM-SHA-256), not encrypted.
        tls: `127.0.0.1:port` with a password, encrypted.
        username, password: who is let in.
    """

    sasl: str
    tls: str
    username = "analyst"
    password = "open sesame"
    format_options = ("--add-scram", f"SCRAM-SHA-256=[name={username},password={password}]")

    def __init__(self) -> None:
        super().__init__()
        if shutil.which("openssl") is None:
            raise KafkaUnavailable("a broker with TLS needs a certificate, and no `openssl` is on the path to make one")

    @property
    def cafile(self) -> Path:
        """The certificate to trust."""
        return self.folder / "certificate.pem"

    def more_properties(self, listeners: str) -> str:
        key, keystore = self.folder / "key.pem", self.folder / "keystore.pem"
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        names = ["-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run([*request, *names, "-keyout", key, "-out", self.cafile], check=True, capture_output=True)
        keystore.write_text(key.read_text() + self.cafile.read_text())
        self.sasl, self.tls = (f"127.0.0.1:{port}" for port in free_ports(2))
        who = f'user_{self.username}="{self.password}"'
        return SECURED.format(
            listeners=listeners,
            bootstrap=self.bootstrap,
            sasl=self.sasl,
            tls=self.tls,
            plain=f"{MODULES}.plain.PlainLoginModule required {who};",
            scram=f"{MODULES}.scram.ScramLoginModule required;",
            keystore=keystore,
        )
