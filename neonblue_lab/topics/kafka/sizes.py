"""How large the logs of a topic's partitions are, as the brokers say."""

from kafka import KafkaAdminClient
from kafka.errors import AuthorizationError

from neonblue_lab.topics.kafka.kafka_python import client_options, reaching
from neonblue_lab.topics.kafka.security import Cluster


def log_sizes(cluster: Cluster, topic: str) -> dict[int, int]:
    """Partition -> bytes of its largest replica; empty where this user may not ask.

    Raises:
        Unavailable: the cluster does not answer.
    """
    with reaching(cluster.url), KafkaAdminClient(**client_options(cluster)) as admin:
        try:
            brokers = admin.describe_log_dirs([topic])
        except AuthorizationError:
            return {}
    sizes: dict[int, int] = {}
    for directory in (directory for broker in brokers for directory in broker["log_dirs"]):
        for held in (held for held in directory["topics"] if held["name"] == topic):
            for part in held["partitions"]:
                number = part["partition_index"]
                sizes[number] = max(sizes.get(number, 0), part["partition_size"])
    return sizes
