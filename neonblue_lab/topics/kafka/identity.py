"""Whether topics are still the ones that they were: a topic that is deleted and made anew keeps its name, not its id."""

from collections.abc import Iterable

from kafka import KafkaAdminClient

from neonblue_lab.errors import Conflict
from neonblue_lab.topics.kafka.failures import unreachable
from neonblue_lab.topics.kafka.kafka_python import client_options, reaching
from neonblue_lab.topics.kafka.security import Cluster


class TopicIds:
    """The ids that topics have when this is made (KIP-516; brokers before 2.8 have none, and nothing is noticed there).

    Raises:
        Unavailable: no broker answers, or refuses.
    """

    def __init__(self, cluster: Cluster, topics: Iterable[str]) -> None:
        self._url, self._topics = cluster.url, list(topics)
        with reaching(cluster.url):
            self._admin = KafkaAdminClient(**client_options(cluster))
            self._ids = self._ask()

    def check(self) -> None:
        """What was read of the topics before this call is of these topics.

        Raises:
            Conflict: a topic was made anew: what was read of late may be of the other one.
            Unreachable: no broker answers, or none knows the topic now.
        """
        with reaching(self._url):
            now = self._ask()
        for topic, known in self._ids.items():
            if topic not in now:
                raise unreachable(self._url, f"it does not know topic {topic} now")
            if now[topic] != known:
                raise Conflict(
                    f"{self._url}: topic {topic} was deleted and made anew while it was followed: this is another log. What "
                    "was read since was not stored. Follow it into a data folder of its own (--home)."
                )

    def close(self) -> None:
        """End the connection."""
        with reaching(self._url):
            self._admin.close()

    def _ask(self) -> dict[str, object]:
        return {
            told["name"]: told["topic_id"]
            for told in self._admin.describe_topics(self._topics)
            if told["error_code"] == 0
        }
