"""Why a broker does not have the offset that is to be read next."""

from neonblue_lab.errors import Conflict
from neonblue_lab.events.records import OffsetsGone
from neonblue_lab.topics.kafka.client import Client, OutOfRange


def gone(connection: Client, name: str, reason: OutOfRange) -> Conflict:
    """The error to raise: records deleted before they were read (OffsetsGone), or another log, or one that was cut off."""
    (topic, partition), position = reason.partition, reason.position
    beginning = connection.beginnings([reason.partition])[reason.partition]
    end = connection.ends([reason.partition])[reason.partition]
    if position < beginning:
        return OffsetsGone(
            f"{name}: records were deleted while they were being read: {topic}-{partition} from offset {position} to "
            f"{beginning - 1} (retention, or somebody's request). Read them from an archive first, or start a new lake.",
            topic=topic,
            partition=partition,
            first=position,
            next=beginning,
        )
    return Conflict(
        f"{name}: {topic}-{partition} was to be read from offset {position}, but it ends at {end} ({reason}): the topic was "
        "made anew, or lost its last records when a broker failed. What was read of it may differ from what it holds now."
    )
