"""What of a topic to read, as a user says it: by time, by offset, by number; resolved to offsets of a source."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from neonblue_lab.errors import BadInput
from neonblue_lab.events.records import Offsets, RecordSource

_OFFSETS = re.compile(r"(?P<topic>[^:\s]+):(?P<partition>\d+):(?P<first>\d+)-(?P<end>\d+)?")


@dataclass(frozen=True)
class Selection:
    """The records to read: those that every given part asks for.

    Attributes:
        since: from the first record of each partition whose timestamp is at or after this moment, with a time zone.
        until: up to, and without, the first one at or after this moment.
        offsets: (topic, partition) -> first offset, and the one to stop before (None: the end). Where any is given, the
            partitions that are not named are not read at all.
        max_records: the most offsets to read of a topic, shared evenly over its partitions; fewer records where a log
            has gaps.
    """

    since: datetime | None = None
    until: datetime | None = None
    offsets: Mapping[tuple[str, int], tuple[int, int | None]] = field(default_factory=dict)
    max_records: int | None = None

    def __post_init__(self) -> None:
        for name, moment in (("since", self.since), ("until", self.until)):
            if moment is not None and moment.utcoffset() is None:
                raise BadInput(
                    f"{name} is {moment.isoformat()}, without a time zone: add one, as in {moment.isoformat()}Z."
                )
        if self.since is not None and self.until is not None and self.since > self.until:
            raise BadInput(f"since ({self.since.isoformat()}) lies after until ({self.until.isoformat()}).")
        if self.max_records is not None and self.max_records < 1:
            raise BadInput(f"max_records is {self.max_records}: it is at least 1.")


def parse_offsets(texts: Iterable[str]) -> dict[tuple[str, int], tuple[int, int | None]]:
    """The `offsets` of a Selection from texts of the form `topic:partition:from-to`.

    `to` is the offset to stop before, as in a partition's end offset; without it (`topic:0:500-`) everything from `from`.

    Raises:
        BadInput: a text has another form, names an empty range, or a partition named before.
    """
    found: dict[tuple[str, int], tuple[int, int | None]] = {}
    for text in texts:
        match = _OFFSETS.fullmatch(text)
        if match is None:
            raise BadInput(f"{text!r} names no offsets: the form is topic:partition:from-to, or topic:partition:from-.")
        first, end = int(match["first"]), int(match["end"]) if match["end"] else None
        if end is not None and end <= first:
            raise BadInput(f"{text!r} is empty: `to` is the offset to stop before, and greater than `from`.")
        key = (match["topic"], int(match["partition"]))
        if key in found:
            raise BadInput(f"{text!r}: {key[0]}-{key[1]} was named before; one range for each partition.")
        found[key] = (first, end)
    return found


def resolve(
    source: RecordSource, topic: str, selection: Selection, held: Offsets | None = None
) -> tuple[dict[int, int], dict[int, int]]:
    """The first offset to read of each partition of a topic, and the one to stop before: equal where there is nothing.

    Both lie within what the source has.

    Args:
        source: the source to read.
        topic: one of its topics.
        selection: what is wanted of it.
        held: partition -> the next offset that is needed: what lies before is not read, and does not count to max_records.

    Raises:
        BadInput: `since` or `until`, and the records have no timestamps; or a partition that the topic does not have.
    """
    beginnings, ends = source.beginning_offsets(topic), source.end_offsets(topic)
    starts = {partition: beginnings.get(partition, 0) for partition in ends}
    limits = dict(ends)
    if selection.since is not None:
        starts = _clipped(source.offsets_at(topic, selection.since), starts, limits)
    if selection.until is not None:
        limits = _clipped(source.offsets_at(topic, selection.until), starts, limits)
    if selection.offsets:
        named = {partition: asked for (name, partition), asked in selection.offsets.items() if name == topic}
        if unknown := named.keys() - ends.keys():
            raise BadInput(f"{source.name}: topic {topic} has no partition {min(unknown)}; it has {len(ends)}.")
        firsts = {partition: first for partition, (first, _) in named.items()}
        lasts = {partition: end for partition, (_, end) in named.items() if end is not None}
        starts = _clipped(firsts, starts, limits)
        limits = _clipped({p: lasts.get(p, limits[p]) if p in named else starts[p] for p in ends}, starts, limits)
    if held is not None:
        starts = _clipped({p: max(start, held.get(p, 0)) for p, start in starts.items()}, starts, limits)
    if selection.max_records is not None:
        shares = _shares(selection.max_records, {p: limits[p] - start for p, start in starts.items()})
        limits = {partition: start + shares[partition] for partition, start in starts.items()}
    return starts, limits


def _clipped(offsets: Offsets, lowest: Offsets, highest: Offsets) -> dict[int, int]:
    return {p: min(max(offsets.get(p, low), low), highest[p]) for p, low in lowest.items()}


def _shares(total: int, sizes: Mapping[int, int]) -> dict[int, int]:
    """Divide `total` evenly over the partitions, none getting more than its size, the lowest numbers what does not divide."""
    shares = {}
    by_size = sorted(sizes, key=lambda partition: (sizes[partition], -partition))
    for left, partition in zip(range(len(sizes), 0, -1), by_size, strict=True):
        shares[partition] = min(sizes[partition], total // left)
        total -= shares[partition]
    return shares
