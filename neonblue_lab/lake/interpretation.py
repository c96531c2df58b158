"""What a batch of records says: the rows that it adds to the derived tables."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from neonblue_lab.events.changes import CHANGE_SCHEMA, ChangeParser, is_change_topic
from neonblue_lab.events.enrichment import Enricher
from neonblue_lab.events.parsing import EventParser
from neonblue_lab.events.records import RecordBatch
from neonblue_lab.events.schema import EVENT_SCHEMA
from neonblue_lab.lake.derive import (
    assignment_rows,
    dead_letter_rows,
    event_rows,
    lifecycle_rows,
    metric_total_rows,
)
from neonblue_lab.lake.documents import document_rows
from neonblue_lab.lake.tables import DERIVED

_FROM_EVENTS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "assignments": assignment_rows,
    "metric_totals": metric_total_rows,
    "lifecycle": lifecycle_rows,
    "documents": document_rows,
}
BY_BATCH = ("dead_letters", *_FROM_EVENTS, "changes", "events")
"""The tables that batches add to, in the order in which they are written: `events` says that a batch is done."""


@dataclass(frozen=True)
class Interpretation:
    """A batch, and what became of its records.

    Attributes:
        batch: the records.
        events, changes, rejects: as of EventParser and ChangeParser.
        enriched: rows of the table `events`: each event id once, and what its event means.
        silent: the number of records that say nothing: tombstones, messages.
    """

    batch: RecordBatch
    events: pl.DataFrame
    enriched: pl.DataFrame
    changes: pl.DataFrame
    rejects: pl.DataFrame
    silent: int

    @cached_property
    def rows(self) -> dict[str, pl.DataFrame]:
        """Table of BY_BATCH -> the rows that the batch adds; none but `events` is there without rows."""
        rows = {"dead_letters": dead_letter_rows(self.batch, self.rejects)} if self.rejects.height else {}
        rows |= {name: rows_of(self.events) for name, rows_of in _FROM_EVENTS.items()}
        rows |= {"changes": self.changes}
        return {name: frame for name, frame in rows.items() if frame.height} | {"events": self.enriched}

    def beyond(self, keep: Callable[[pl.DataFrame], pl.DataFrame]) -> "Interpretation":
        """Of the same batch, what `keep` leaves of a frame with the columns partition and offset."""
        kept = {name: keep(getattr(self, name)) for name in ("events", "enriched", "changes", "rejects")}
        return Interpretation(self.batch, **kept, silent=self.silent)


class Interpreter:
    """Reads batches. Not thread-safe: one a thread."""

    def __init__(self, enricher: Enricher) -> None:
        """`enricher` says what events mean; it may be another interpreter's too."""
        self._enricher = enricher
        self._events = EventParser()
        self._changes = ChangeParser()

    def interpret(self, batch: RecordBatch) -> Interpretation:
        """Read a batch and work out its rows. Never raises for what a record holds."""
        if is_change_topic(batch.topic):
            told = self._changes.parse(batch)
            silent = told.tombstones + told.messages
            no_events, no_rows = pl.DataFrame(schema=EVENT_SCHEMA), pl.DataFrame(schema=DERIVED["events"].schema)
            read = Interpretation(batch, no_events, no_rows, told.changes, told.rejects, silent)
        else:
            parsed = self._events.parse(batch)
            enriched = event_rows(parsed.events, parsed.arrivals, self._enricher)
            no_changes = pl.DataFrame(schema=CHANGE_SCHEMA)
            read = Interpretation(batch, parsed.events, enriched, no_changes, parsed.rejects, parsed.tombstones)
        read.rows  # noqa: B018 - worked out here, in the thread that reads ahead
        return read
