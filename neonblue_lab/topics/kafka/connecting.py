"""Which Kafka client is used, and a connection by it: the two are imported only where they are asked for."""

import os

from neonblue_lab.errors import BadInput
from neonblue_lab.topics.kafka.client import Client
from neonblue_lab.topics.kafka.security import Cluster

VARIABLE = "NEONBLUE_KAFKA_CLIENT"
KAFKA_PYTHON = "kafka-python"
CONFLUENT = "confluent"
NAMES = (KAFKA_PYTHON, CONFLUENT)


def chosen_client(name: str | None) -> str:
    """The client called `name`, else by the environment variable NEONBLUE_KAFKA_CLIENT, else kafka-python.

    Raises BadInput where there is no such client.
    """
    chosen = name or os.environ.get(VARIABLE) or KAFKA_PYTHON
    if chosen not in NAMES:
        raise BadInput(f"There is no Kafka client {chosen!r}: choose {' or '.join(NAMES)} (--client or {VARIABLE}).")
    return chosen


def connect(cluster: Cluster, client: str, group: str | None = None) -> Client:
    """Connect to a cluster. Raises Unavailable where no broker answers, or the client is not installed."""
    if client == CONFLUENT:
        from neonblue_lab.topics.kafka.confluent import ConfluentClient

        return ConfluentClient(cluster, group)
    from neonblue_lab.topics.kafka.kafka_python import KafkaPythonClient

    return KafkaPythonClient(cluster, group)
