"""What a replay tells: its progress while it runs, and its report at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass
class TopicProgress:
    """What a replay did to one topic until now.

    Attributes:
        records: records stored by this replay.
        expected: records that it set out to store, an upper bound where offsets have gaps. A follower sets out to store
            what is there.
        events: valid events among them; an event id that a batch repeats counts once.
        duplicates: valid records whose event id the same batch had before.
        dead_letters: records kept aside with a reason.
        partitions: partition -> next offset.
        lag: partition -> offsets between that and the end, as far as the end is known.
        newest: the latest broker timestamp among them.
        commit_seconds: how long the last batch took to be stored, raw and derived.
    """

    records: int = 0
    expected: int = 0
    events: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    partitions: dict[int, int] = field(default_factory=dict)
    lag: dict[int, int] = field(default_factory=dict)
    newest: datetime | None = None
    commit_seconds: float = 0.0


Progress = Callable[[str, TopicProgress], None]
"""Called with the topic and its progress at the start of each topic and after each batch."""


@dataclass
class ReplayReport:
    """What a replay did: `records + caught_up == events + duplicates + changes + dead_letters + tombstones`.

    Attributes:
        records: raw records stored.
        valid: records that are events.
        events: distinct event ids that are new in the lake, an id counting once a day of event time.
        changes: records that are changes to the experiment registry's tables.
        dead_letters: records kept aside with a reason.
        tombstones: records without a value, or that say nothing to the lake.
        caught_up: records that an earlier, interrupted replay had stored and this one derived events from.
        skipped: offsets that were passed over because the user accepted the gap.
        topics: topic -> its progress.
    """

    records: int = 0
    valid: int = 0
    events: int = 0
    changes: int = 0
    dead_letters: int = 0
    tombstones: int = 0
    caught_up: int = 0
    skipped: int = 0
    topics: dict[str, TopicProgress] = field(default_factory=dict)

    @property
    def duplicates(self) -> int:
        """Valid records whose event id another record had before."""
        return self.valid - self.events

    def __str__(self) -> str:
        """What was done, in a line or two."""
        lines = []
        if self.skipped:
            lines.append(f"{self.skipped:,} offsets were passed over, as accepted: `neonblue lake gaps` lists them.")
        if self.nothing_to_do:
            return "\n".join([*lines, "Nothing to do: the lake already holds everything."])
        if self.caught_up:
            lines.append(f"{self.caught_up:,} records of an interrupted replay were finished first.")
        parts = [
            f"{self.events:,} new events",
            *([f"{self.changes:,} changes of the registry"] if self.changes else []),
            f"{self.dead_letters:,} dead letters",
            f"{self.duplicates:,} duplicates",
            f"{self.tombstones:,} tombstones",
        ]
        return "\n".join([*lines, f"{self.records:,} records -> {', '.join(parts)}."])

    @property
    def nothing_to_do(self) -> bool:
        """Whether the lake already held everything."""
        return self.records == 0 and self.caught_up == 0

    def to_dict(self) -> dict[str, Any]:
        """The report for machines: counts, and per topic the records and the next offset of each partition."""
        counts = ("records", "events", "duplicates", "changes", "dead_letters", "tombstones", "caught_up", "skipped")
        topics = {
            topic: {"records": p.records, "partitions": {str(number): end for number, end in p.partitions.items()}}
            for topic, p in self.topics.items()
        }
        return {name: getattr(self, name) for name in counts} | {"topics": topics}
