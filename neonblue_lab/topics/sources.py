"""Opening a source of records from what a user types: a folder or a Kafka cluster."""

from collections.abc import Iterable
from pathlib import Path

from neonblue_lab.errors import BadInput
from neonblue_lab.events.records import RecordSource

KAFKA_SCHEME = "kafka://"


def open_source(location: str, *, topics: Iterable[str] | None = None, batch_records: int = 100_000) -> RecordSource:
    """Open a bounded source: its ends are fixed now.

    Args:
        location: the folder of an archive, or `kafka://host:port[,host:port...]`.
        topics: those that will be read, all when not given: each must be there, and a cluster is asked about no other.
        batch_records: the most records of a batch.

    Raises:
        BadInput: `location` is neither, or the archive cannot be read.
        NotFound: the source has no such topic.
        Unavailable: no Kafka broker answers.
    """
    if location.startswith(KAFKA_SCHEME):
        from neonblue_lab.topics.kafka import KafkaSource

        return KafkaSource(location, topics, batch_records)
    if not Path(location).expanduser().is_dir():
        raise BadInput(
            f"{location} is neither a folder nor a Kafka cluster: name an archive folder that holds <topic>/*.parquet "
            "(or *.ndjson), or a cluster as kafka://host:port[,host:port...]."
        )
    from neonblue_lab.topics.archive import ArchiveSource

    archive = ArchiveSource(Path(location).expanduser(), batch_records=batch_records)
    for topic in topics or ():
        archive.end_offsets(topic)
    return archive
