"""A Kafka cluster as a source of records, and as a place to put an archive."""

from neonblue_lab.topics.kafka.follower import KafkaFollower
from neonblue_lab.topics.kafka.produce import produce
from neonblue_lab.topics.kafka.source import KafkaSource

__all__ = ["KafkaFollower", "KafkaSource", "produce"]
