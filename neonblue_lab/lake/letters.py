"""Dead letters that have become events after a fix: read again byte for byte, and derived exactly once.

A round is fixed before anything is derived: the letters that are events now are written to `revived_letters` under the
round's number. Then each table takes their rows with that number as its mark, `events` last. A crash leaves a round that is
finished first; its letters have left the list of dead letters since it was fixed, and are in `dead_letters` for ever.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from neonblue_lab.events.enrichment import BY_RULE, Enricher
from neonblue_lab.events.records import RECORD_SCHEMA, RecordBatch
from neonblue_lab.lake.experiment_fold import fold_experiments
from neonblue_lab.lake.interpretation import BY_BATCH, Interpreter
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.rewriting import alone
from neonblue_lab.lake.tables import DERIVED

LETTERS, REVIVED = "dead_letters", "revived_letters"
_ROUND = "round"
_PLACE = ["topic", "partition", "offset"]
_AT_ONCE = 50_000


@dataclass
class RevivalReport:
    """What became of the letters that were read again.

    Attributes:
        read: letters that were read again.
        events, changes: of these, how many are events or changes of the registry now.
        remaining: how many are still dead letters.
    """

    read: int = 0
    events: int = 0
    changes: int = 0

    @property
    def remaining(self) -> int:
        return self.read - self.events - self.changes

    @property
    def nothing_to_do(self) -> bool:
        """Whether no letter has become anything."""
        return self.events == 0 and self.changes == 0

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {"read": self.read, "events": self.events, "changes": self.changes, "remaining": self.remaining}

    def __str__(self) -> str:
        became = f"{self.events:,} are events now" + (f", {self.changes:,} changes" if self.changes else "")
        return f"{self.read:,} dead letters read again: {became}, {self.remaining:,} are still dead letters."


def open_letters(lake: Lake, *, topic: str | None = None, reason: str | None = None) -> pl.LazyFrame:
    """The dead letters that have not become events, in the table's columns.

    Args:
        topic: only of this topic.
        reason: only those whose error contains this text.
    """
    letters = lake.scan(LETTERS, lake.ensure(LETTERS)).join(
        lake.scan(REVIVED, lake.ensure(REVIVED)), on=_PLACE, how="anti"
    )
    if topic is not None:
        letters = letters.filter(pl.col("topic") == topic)
    if reason is not None:
        letters = letters.filter(pl.col("error").str.contains(reason, literal=True))
    return letters


def replay_dead_letters(
    lake: Lake, *, topic: str | None = None, reason: str | None = None, enricher: Enricher = BY_RULE
) -> RevivalReport:
    """Read dead letters again, from their stored bytes; those that are events now are derived and leave the list.

    Args:
        lake: their lake.
        topic, reason: as of `open_letters`.
        enricher: says what the events mean.

    Raises:
        Conflict: another process is at the same, or at the upkeep of the lake, at this moment. Nothing is lost or doubled; run again.
    """
    lake.ensure_derived()
    with alone(lake):  # what retention deletes is not deleted in the middle of a round
        return _revive(lake, topic, reason, enricher)


def _revive(lake: Lake, topic: str | None, reason: str | None, enricher: Enricher) -> RevivalReport:
    finish_revival(lake, enricher)
    report = RevivalReport()
    places = open_letters(lake, topic=topic, reason=reason).select(_PLACE).unique().sort(_PLACE).collect()
    for part in places.iter_slices(_AT_ONCE):
        letters = _records(lake, part)
        revived = [place for batch in _batches(letters) for place in [_revived(batch, enricher)] if place.height]
        report.read += part.height
        if revived:
            events, changes = _fix_round(lake, pl.concat(revived), enricher)
            report.events += events
            report.changes += changes
    return report


def finish_revival(lake: Lake, enricher: Enricher = BY_RULE) -> None:
    """Finish a round that was fixed and not finished; `enricher` says what its events mean."""
    fixed = lake.open(REVIVED).transaction_version(_ROUND)
    if fixed is not None and fixed != lake.open("events").transaction_version(_ROUND):
        _derive_round(lake, fixed, enricher)


def _fix_round(lake: Lake, places: pl.DataFrame, enricher: Enricher) -> tuple[int, int]:
    table = lake.open(REVIVED)
    number = (table.transaction_version(_ROUND) or 0) + 1
    rows = places.with_columns(round=pl.lit(number, pl.Int64), revived_at=pl.lit(datetime.now(UTC)))
    schema = DERIVED[REVIVED].schema
    lake.commit(table, rows.select(pl.col(n).cast(k) for n, k in schema.items()), marks={_ROUND: number})
    return _derive_round(lake, number, enricher)


def _derive_round(lake: Lake, number: int, enricher: Enricher) -> tuple[int, int]:
    """Add the rows of a round's letters to each table that does not have them."""
    places = lake.scan(REVIVED, lake.open(REVIVED)).filter(pl.col("round") == number).select(_PLACE).collect()
    interpreter = Interpreter(enricher)
    read = [interpreter.interpret(batch) for batch in _batches(_records(lake, places))]
    for name in BY_BATCH:
        if name == LETTERS:
            continue
        rows = [one.rows[name] for one in read if name in one.rows and one.rows[name].height]
        table = lake.open(name)
        if (rows or name == "events") and (table.transaction_version(_ROUND) or 0) < number:
            added = pl.concat(rows) if rows else pl.DataFrame(schema=DERIVED[name].schema)
            lake.commit(table, added, marks={_ROUND: number})
    fold_experiments(lake)
    return sum(one.events.height for one in read), sum(one.changes.height for one in read)


def _records(lake: Lake, places: pl.DataFrame) -> pl.DataFrame:
    letters = lake.scan(LETTERS, lake.open(LETTERS)).join(places.lazy(), on=_PLACE, how="semi")
    return letters.select(*RECORD_SCHEMA).unique(subset=_PLACE, keep="first").sort(_PLACE).collect()


def _batches(records: pl.DataFrame) -> Iterator[RecordBatch]:
    for (topic,), frame in records.group_by("topic", maintain_order=True):
        yield RecordBatch(str(topic), frame)


def _revived(batch: RecordBatch, enricher: Enricher) -> pl.DataFrame:
    """The places of a batch's records that are no dead letters any more."""
    rejects = Interpreter(enricher).interpret(batch).rejects
    return batch.frame.select(_PLACE).join(rejects, on=["partition", "offset"], how="anti")
