"""Opening a source of records from what a user types: a folder or a Kafka cluster."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from neonblue_lab.errors import BadInput
from neonblue_lab.events.records import LiveSource, RecordSource
from neonblue_lab.topics.batching import BATCH_RECORDS

KAFKA_SCHEME = "kafka://"
STDIN = "-"


def open_source(
    location: str,
    *,
    topics: Iterable[str] | None = None,
    batch_records: int = BATCH_RECORDS,
    client: str | None = None,
) -> RecordSource:
    """Open a bounded source: its ends are fixed now.

    Args:
        location: the folder of an archive, or `kafka://host:port[,host:port...]`.
        topics: those that will be read, all when not given: each must be there, and a cluster is asked about no other.
        batch_records: the most records of a batch.
        client: the Kafka client, `kafka-python` or `confluent`; by NEONBLUE_KAFKA_CLIENT, else kafka-python, when not given.

    Raises:
        BadInput: `location` is neither, the archive cannot be read, or the cluster's settings are wrong.
        NotFound: the source has no such topic.
        Unavailable: no Kafka broker answers.
    """
    if location.startswith(KAFKA_SCHEME):
        from neonblue_lab.topics.kafka import KafkaSource

        return KafkaSource(location, topics, batch_records, client)
    if location == STDIN:
        raise BadInput("Standard input (-) has no end that is known beforehand: it can only be followed (--follow).")
    from neonblue_lab.topics.archive import ArchiveSource

    archive = ArchiveSource(_folder(location), batch_records=batch_records)
    for topic in topics or ():
        archive.end_offsets(topic)
    return archive


def open_live(
    location: str,
    *,
    topics: Sequence[str],
    batch_records: int = BATCH_RECORDS,
    client: str | None = None,
    group: str | None = None,
) -> LiveSource:
    """Open a source to follow.

    Args:
        location: the folder of an archive, to which files are added; `kafka://host:port[,host:port...]`; or `-`, lines from
            standard input, which belong to one topic.
        topics: those that will be followed; each must be there.
        batch_records: the most records of a batch.
        client: the Kafka client, `kafka-python` or `confluent`; by NEONBLUE_KAFKA_CLIENT, else kafka-python, when not given.
        group: the Kafka consumer group whose members share the partitions; alone when not given.

    Raises:
        BadInput: `location` is none of these, a group is named and it is no cluster, or the cluster's settings are wrong.
        NotFound: the source has no such topic.
        Unavailable: no Kafka broker answers.
    """
    if location.startswith(KAFKA_SCHEME):
        from neonblue_lab.topics.kafka import KafkaFollower

        return KafkaFollower(location, topics, batch_records, client, group)
    if group is not None:
        raise BadInput(f"{location} is no Kafka cluster: only a cluster's partitions are shared by a group ({group}).")
    if location == STDIN:
        from neonblue_lab.topics.standard_input import StandardInput

        return StandardInput(topics, batch_records)
    from neonblue_lab.topics.archive_follower import ArchiveFollower

    return ArchiveFollower(_folder(location), topics, batch_records)


def _folder(location: str) -> Path:
    if not Path(location).expanduser().is_dir():
        raise BadInput(
            f"{location} is neither a folder nor a Kafka cluster: name an archive folder that holds <topic>/*.parquet "
            "(or *.ndjson), or a cluster as kafka://host:port[,host:port...]."
        )
    return Path(location).expanduser()
