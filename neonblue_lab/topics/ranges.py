"""The range of offsets to read of each partition, checked against what a source holds: never a silent gap."""

from neonblue_lab.errors import Conflict
from neonblue_lab.events.records import Offsets, OffsetsGone

Range = tuple[int, int]
"""The first offset to read, and one past the last."""


def ranges_to_read(
    name: str, topic: str, starts: Offsets, ends: Offsets | None, beginnings: Offsets, fixed_ends: Offsets
) -> dict[int, Range]:
    """Partition -> what to read of it, for those of which there is something to read.

    Args:
        name: what messages call the source.
        topic: the topic.
        starts: where to start; a partition that is not named, or at 0, starts at the first record that is there.
        ends: where to end, if before `fixed_ends`.
        beginnings: the first offsets that the source has.
        fixed_ends: one past the last offsets, as of opening.

    Raises:
        OffsetsGone: records from a start on are no longer there.
        Conflict: a start lies beyond the end: it comes from another log.
    """
    for partition, start in starts.items():
        check_start(name, topic, partition, start, beginnings.get(partition, 0), fixed_ends.get(partition, 0))
    found = {}
    for partition, fixed_end in fixed_ends.items():
        start = max(starts.get(partition, 0), beginnings.get(partition, 0))
        end = min(fixed_end, (ends or {}).get(partition, fixed_end))
        if start < end:
            found[partition] = (start, end)
    return found


def check_start(name: str, topic: str, partition: int, start: int, beginning: int, end: int) -> None:
    """Raise OffsetsGone where `start` lies below what is still there (0 asks for whatever there is), Conflict beyond its end."""
    if start > end:
        raise Conflict(
            f"{name}: asked to read {topic}-{partition} from offset {start}, but it ends at {end}: this is not the log "
            "that was read before, or it was made anew, or a part of it was removed."
        )
    if 0 < start < beginning:
        raise OffsetsGone(
            f"{name}: asked to read {topic}-{partition} from offset {start}, but its first record is at {beginning}: the "
            f"{beginning - start} offsets between were deleted before they were read. Bring them back or read them from "
            "an archive first, or start a new lake.",
            topic=topic,
            partition=partition,
            first=start,
            next=beginning,
        )
