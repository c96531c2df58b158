"""What a replay is going to read: the offsets of each partition, related to what the lake holds already."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from neonblue_lab.errors import BadInput, Conflict, NotFound
from neonblue_lab.events.records import Offsets, RecordSource
from neonblue_lab.lake.gaps import Gap
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import raw_table

OTHER_LOG = (
    "Nothing was written. Replay another log into a data folder of its own (--home); of this one, only the end may grow: no file "
    "may change, and none may come before the last by name."
)


@dataclass(frozen=True)
class PartitionPlan:
    """One partition.

    Attributes:
        first: the first offset to read.
        stop: the one to stop before; nothing is read where both are equal.
        held: the next offset that the lake lacks; None where it has nothing of the partition.
        beginning, end: what the source has.
        bytes: about how much of the source's storage the records to read take; None where it is not known.
    """

    topic: str
    partition: int
    first: int
    stop: int
    held: int | None
    beginning: int
    end: int
    bytes: int | None = None

    @property
    def records(self) -> int:
        """Offsets to read: records, where the log has no gaps."""
        return max(0, self.stop - self.first)

    @property
    def lag(self) -> int:
        """Offsets of the source that the lake lacks."""
        return max(0, self.end - max(self.held or 0, self.beginning))

    @property
    def begins(self) -> bool:
        """Whether the lake has nothing of it yet and reads from its first record: from there on, what goes is missed, be it
        that there is nothing to read yet."""
        return self.held is None and self.first == self.beginning

    @property
    def gap(self) -> Gap | None:
        """What lies between what the lake holds and the first offset to read."""
        if self.held is None or self.first <= self.held or not (self.records or self.first <= self.beginning):
            return None
        return Gap(self.topic, self.partition, self.held, self.first)


@dataclass(frozen=True)
class ReplayPlan:
    """All partitions of the topics to read."""

    partitions: tuple[PartitionPlan, ...]

    @property
    def nothing_to_do(self) -> bool:
        """Whether the lake holds all that was asked for."""
        return not any(partition.records for partition in self.partitions)

    @property
    def gaps(self) -> list[Gap]:
        """What will be passed over."""
        return [partition.gap for partition in self.partitions if partition.gap]

    def of(self, topic: str) -> list[PartitionPlan]:
        """A topic's partitions."""
        return [partition for partition in self.partitions if partition.topic == topic]

    def to_dict(self) -> dict[str, Any]:
        """For machines: partitions with `from`, `to`, `records`, `held`, `lag`; and the gaps."""
        rows = [
            {"topic": p.topic, "partition": p.partition, "from": p.first, "to": p.stop, "records": p.records}
            | {"bytes": p.bytes, "held": p.held, "beginning": p.beginning, "end": p.end, "lag": p.lag}
            for p in self.partitions
        ]
        records = sum(partition.records for partition in self.partitions)
        return {"records": records, "partitions": rows, "gaps": [asdict(gap) for gap in self.gaps]}

    def __str__(self) -> str:
        """A table, and what it comes to."""
        header = ["topic", "partition", "from", "to", "records", "MB", "held up to", "lag"]
        rows = []
        for p in self.partitions:
            offsets = (f"{number:,}" for number in (p.partition, p.first, p.stop, p.records))
            megabytes = "?" if p.bytes is None else f"{p.bytes / 1e6:,.1f}"
            rows.append([p.topic, *offsets, megabytes, f"{p.held or 0:,}", f"{p.lag:,}"])
        widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
            for row in [header, *rows]
        ]
        records = sum(partition.records for partition in self.partitions)
        told = f"{records:,} records would be read." if records else "Nothing to do: the lake already holds everything."
        passed = [f"{gap} would be passed over." for gap in self.gaps]
        return "\n".join([*lines, *passed, told])


def chosen_topics(source: RecordSource, topics: Sequence[str] | None) -> list[str]:
    """The topics asked for, each once; all of the source's where none is.

    Raises:
        NotFound: the source has no such topic.
    """
    there = source.topics()
    wanted = list(dict.fromkeys(topics or there))
    for topic in wanted:
        if topic not in there:
            raise NotFound(f"{source.name} has no topic {topic}; it has {', '.join(there) or 'none'}.")
    return wanted


def held_offsets(lake: Lake, topic: str, partitions: Sequence[int]) -> dict[int, int | None]:
    """Partition -> the next offset that the lake lacks; None where it has nothing of it."""
    if raw_table(topic) not in lake.names():
        return dict.fromkeys(partitions)
    table = lake.open(raw_table(topic))
    return {partition: table.transaction_version(f"{topic}/{partition}") for partition in partitions}


def plan_topic(
    source: RecordSource, topic: str, held: Mapping[int, int | None], asked: tuple[Offsets, Offsets] | None
) -> list[PartitionPlan]:
    """What to read of a topic.

    Args:
        source: where from.
        topic: which.
        held: as of `held_offsets`.
        asked: first offsets and those to stop before, as a selection resolves to; None for everything that is new.

    Raises:
        Conflict: the source ends before what the lake holds.
        BadInput: what is asked for lies before what the lake holds, which begins later.
    """
    beginnings, ends = source.beginning_offsets(topic), source.end_offsets(topic)
    plans = []
    for partition, end in sorted(ends.items()):
        mark, beginning = held[partition], beginnings.get(partition, 0)
        if mark is not None and end < mark:
            raise Conflict(
                f"{source.name}: {topic}-{partition} ends at offset {end}, but the lake holds it up to {mark}: this is "
                f"another log, or it was cut off. {OTHER_LOG}"
            )
        first, stop = (beginning, end) if asked is None else (asked[0][partition], asked[1][partition])
        first = max(first, mark or 0)
        plans.append(PartitionPlan(topic, partition, first, max(first, stop), mark, beginning, end))
    return plans


def with_sizes(source: RecordSource, plans: Sequence[PartitionPlan]) -> list[PartitionPlan]:
    """The plans with `bytes`: the share, by offsets, of what each partition takes where it is stored."""
    stored = {topic: source.stored_bytes(topic) for topic in {plan.topic for plan in plans}}
    return [
        replace(plan, bytes=stored[plan.topic][plan.partition] * plan.records // max(1, plan.end - plan.beginning))
        if plan.partition in stored[plan.topic]
        else plan
        for plan in plans
    ]


def check_gaps(name: str, plans: Sequence[PartitionPlan]) -> None:
    """Refuse to pass over what the lake does not hold.

    Raises:
        Conflict: records between what the lake holds and the first to read are gone from the source.
        BadInput: they are there, but were not asked for.
    """
    if lost := [plan.gap for plan in plans if plan.gap and plan.gap.next <= plan.beginning]:
        raise Conflict(gone(name, lost))
    for gap in (plan.gap for plan in plans if plan.gap):
        raise BadInput(
            f"{name}: reading {gap.topic}-{gap.partition} from offset {gap.next} would leave out {gap}, which the lake "
            "lacks: a lake holds each partition without holes. Ask for everything from there on, use a data folder of its own "
            "(--home) for a part, or accept the hole with --accept-gap."
        )


def gone(name: str, gaps: Sequence[Gap]) -> str:
    """What a user is told of records that were deleted before they were read, and what can be done."""
    lost = "; ".join(f"{gap}, the first one still there is {gap.next}" for gap in gaps)
    return (
        f"{name}: records were deleted (retention) before the lake had them: {lost}. They were not passed over. Read them from "
        "an archive first; or accept that they are lost with --accept-gap, which goes on behind them and writes the gap down "
        "(`neonblue lake gaps`)."
    )
