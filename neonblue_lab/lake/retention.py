"""Rows older than the rules allow are deleted from the lake; without a rule, every row is kept for ever."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from deltalake import DeltaTable

from neonblue_lab.errors import BadInput
from neonblue_lab.events.classification import BY_EVENT_TYPE, BY_TOPIC, UNKNOWN, classify
from neonblue_lab.events.records import TIMESTAMP
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.letters import finish_revival
from neonblue_lab.lake.rewriting import Part, alone, parts, put_in_place, scan, write
from neonblue_lab.lake.tables import raw_table

PERMANENT = "permanent"
POLICIES = frozenset(rule.retention_policy for rule in (*BY_EVENT_TYPE.values(), *BY_TOPIC.values(), UNKNOWN))


@dataclass(frozen=True)
class Rules:
    """For how many days rows are kept; None, or no entry: for ever.

    Attributes:
        events: label retention_policy -> days since an event's own time. What is permanent stays.
        raw: topic -> days since its records were stored.
        dead_letters: topic -> days since its records were rejected.

    Raises:
        BadInput: an unknown policy, a limit for what is permanent, or days that are no positive whole number.
    """

    events: Mapping[str, int | None] = field(default_factory=dict)
    raw: Mapping[str, int | None] = field(default_factory=dict)
    dead_letters: Mapping[str, int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.events) - POLICIES):
            raise BadInput(f"Retention of {', '.join(unknown)}: the policies are {', '.join(sorted(POLICIES))}.")
        if self.events.get(PERMANENT) is not None:
            raise BadInput(f"Events that are {PERMANENT} are kept for ever: experiments are made anew out of them.")
        for rules in (self.events, self.raw, self.dead_letters):
            for name, days in rules.items():
                if days is not None and (isinstance(days, bool) or not isinstance(days, int) or days < 1):
                    raise BadInput(f"Retention of {name} is {days!r}: give whole days, at least 1, or null for ever.")


@dataclass(frozen=True)
class Expired:
    """Rows that are older than their rule allows.

    Attributes:
        table: where they lie.
        group: the retention policy of events; else the topic.
        rows: how many.
        bytes: about how much they take in their files.
    """

    table: str
    group: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class RetentionReport:
    """What a retention deleted.

    Attributes:
        expired: by table and group.
        notes: sentences about old rows that had to stay.
        dry_run: whether nothing was deleted.
    """

    expired: tuple[Expired, ...]
    notes: tuple[str, ...]
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """The report for machines."""
        return asdict(self)

    def __str__(self) -> str:
        """What was deleted, or would be, a line for each table and group."""
        verb = "to delete" if self.dry_run else "deleted"
        lines = [f"{e.table}, {e.group}: {e.rows:,} rows (about {e.bytes / 1e6:,.1f} MB) {verb}." for e in self.expired]
        if lines:
            lines.append("Versions made before still hold them, until a vacuum finds that nobody needs those any more.")
        return "\n".join([*(lines or ["Nothing is older than the rules allow."]), *self.notes])


def retention(lake: Lake, rules: Rules, *, now: datetime, dry_run: bool = False) -> RetentionReport:
    """Delete what is older than the rules allow, table by table, each in one commit.

    Deletion makes new versions: those made before stay readable until `vacuum` deletes files that no version needs. A
    replay goes on from where it was: of raw records those stay that events have not been derived from, and the last one of
    each partition, by which a replay knows its source.

    Args:
        lake: whose rows.
        rules: how long what is kept.
        now: the moment to count back from.
        dry_run: delete nothing, only count.

    Raises:
        Conflict: another process keeps up the lake. Tables that are in no report yet are as they were.
    """
    expired: list[Expired] = []
    notes: list[str] = []
    names = lake.names()
    if names:
        with alone(lake):
            if not dry_run and _cutoffs(rules.dead_letters, now):
                finish_revival(lake)  # what it has still to derive lies in the letters
            for task in _tasks(lake, rules, names, now, notes):
                expired += _delete(lake, task, dry_run)
    return RetentionReport(tuple(expired), tuple(notes), dry_run)


@dataclass(frozen=True)
class _Task:
    """The rows of one table that have to go.

    Attributes:
        name, table: the table, as opened.
        suspects: files that may hold some.
        is_expired: of a row; never null.
        group: what a row is counted under.
    """

    name: str
    table: DeltaTable
    suspects: list[Part]
    is_expired: pl.Expr
    group: pl.Expr


def _tasks(lake: Lake, rules: Rules, names: list[str], now: datetime, notes: list[str]) -> Iterator[_Task]:
    if "events" in names and (cutoffs := _cutoffs(rules.events, now)):
        yield _events_task(lake, cutoffs)
    if "dead_letters" in names and (cutoffs := _cutoffs(rules.dead_letters, now)):
        yield _dead_letters_task(lake, cutoffs)
    for topic, cutoff in _cutoffs(rules.raw, now).items():
        if raw_table(topic) in names:
            yield _raw_task(lake, topic, cutoff, notes)
        else:
            notes.append(f"There are no raw records of {topic}, which has a rule.")


def _cutoffs(rules: Mapping[str, int | None], now: datetime) -> dict[str, datetime]:
    return {name: now - timedelta(days=days) for name, days in rules.items() if days is not None}


def _suspects(name: str, table: DeltaTable, time_column: str, before: datetime) -> list[Part]:
    files = parts(name, table, time_column=time_column)
    return [part for part in files if part.earliest is None or part.earliest < before]


def _before(keys: pl.Expr, cutoffs: Mapping[str, datetime], time_column: str) -> pl.Expr:
    """Whether a row's time lies before the cutoff of its key."""
    cutoff = keys.replace_strict(list(cutoffs), list(cutoffs.values()), default=None, return_dtype=TIMESTAMP)
    return (pl.col(time_column) < cutoff).fill_null(value=False)


def _events_task(lake: Lake, cutoffs: Mapping[str, datetime]) -> _Task:
    table = lake.open("events")
    suspects = _suspects("events", table, "timestamp", max(cutoffs.values()))
    kinds = pl.DataFrame(schema={"event_type": pl.String, "topic": pl.String})
    if suspects:
        kinds = scan(lake, "events", suspects).select("event_type", "topic").unique().collect(engine="streaming")
    kind = pl.concat_str("event_type", pl.lit("\x1f"), "topic")
    policies = dict(zip(kinds.select(kind).to_series(), classify(kinds)["retention_policy"], strict=True))
    of_kind = {name: cutoffs[policy] for name, policy in policies.items() if policy in cutoffs}
    policy = kind.replace_strict(list(policies), list(policies.values()), default=None, return_dtype=pl.String)
    return _Task("events", table, suspects if of_kind else [], _before(kind, of_kind, "timestamp"), policy)


def _dead_letters_task(lake: Lake, cutoffs: Mapping[str, datetime]) -> _Task:
    table = lake.open("dead_letters")
    suspects = _suspects("dead_letters", table, "failed_at", max(cutoffs.values()))
    return _Task("dead_letters", table, suspects, _before(pl.col("topic"), cutoffs, "failed_at"), pl.col("topic"))


def _raw_task(lake: Lake, topic: str, cutoff: datetime, notes: list[str]) -> _Task:
    # The marks are read first: records that are derived meanwhile stay until the next time.
    events = lake.open("events")
    name = raw_table(topic)
    table = lake.open(name)
    offsets = (
        scan(lake, name, files).group_by("partition").agg(pl.col("offset").max())
        if (files := parts(name, table))
        else None
    )
    last = dict(offsets.collect(engine="streaming").iter_rows()) if offsets is not None else {}
    derived = {partition: events.transaction_version(f"{topic}/{partition}") or 0 for partition in last}
    if behind := [partition for partition, offset in last.items() if offset >= derived[partition]]:
        named = ", ".join(map(str, sorted(behind)))
        notes.append(
            f"{name}: events were not derived yet from all records of partition {named}; those stay. Replay first."
        )
    limits = {partition: min(offset, derived[partition]) for partition, offset in last.items()}
    limit = pl.col("partition").replace_strict(list(limits), list(limits.values()), default=0, return_dtype=pl.Int64)
    is_expired = (pl.col("ingested_at") < cutoff) & (pl.col("offset") < limit)
    return _Task(
        name, table, _suspects(name, table, "ingested_at", cutoff), is_expired.fill_null(value=False), pl.lit(topic)
    )


def _delete(lake: Lake, task: _Task, dry_run: bool) -> list[Expired]:
    """Delete the rows of a task, in one commit, and say what they were."""
    found: dict[str, Expired] = {}
    old, new = [], []
    for part in task.suspects:
        rows = scan(lake, task.name, [part])
        counts = rows.filter(task.is_expired).group_by(group=task.group).len().collect(engine="streaming")
        gone = int(counts["len"].sum())
        if not gone:
            continue
        for group, count in counts.iter_rows():
            so_far = found.get(group, Expired(task.name, group, 0, 0))
            share = part.bytes * count // part.rows
            found[group] = Expired(task.name, group, so_far.rows + count, so_far.bytes + share)
        old.append(part)
        if not dry_run and gone < part.rows:
            new.append(write(lake, task.name, rows.filter(~task.is_expired), part.values))
    if old and not dry_run:
        put_in_place(lake, task.name, task.table, new, old)
    return [found[group] for group in sorted(found)]
