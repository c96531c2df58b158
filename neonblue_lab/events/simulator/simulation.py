"""One simulation: programme, users, sessions and their defects put together, and the truth about them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.events.encoding import RecordEncoder, encode_values
from neonblue_lab.events.records import RecordBatch
from neonblue_lab.events.simulator import tables
from neonblue_lab.events.simulator.defects import SOUND, Rates, Sending, damage, send
from neonblue_lab.events.simulator.journeys import walk
from neonblue_lab.events.simulator.programme import Programme, plan_programme
from neonblue_lab.events.simulator.tables import Calendar, EventTable
from neonblue_lab.events.simulator.traffic import SEGMENTS, draw_sessions, draw_users

BATCH = 100_000


@dataclass(frozen=True)
class Simulation:
    """A simulated set of topics.

    Attributes:
        truth: what is true of it: parameters, experiments with their lifts, segments, and counts per topic; plain JSON.
    """

    truth: dict[str, Any]
    _calendar: Calendar
    _sendings: tuple[tuple[EventTable, Sending], ...]

    def batches(self) -> Iterator[RecordBatch]:
        """The records of all topics, one topic after the other, each in the order of sending with offsets from 0."""
        for table, sending in self._sendings:
            encoder = RecordEncoder(table.topic)
            for first in range(0, sending.row.size, BATCH):
                part = slice(first, first + BATCH)
                events = table.columns(sending.row[part])
                values = events["encoded"] if "encoded" in events.columns else encode_values(events)
                yield encoder.encode(
                    events.with_columns(
                        encoded=_damaged(values, sending.defect[part]),
                        sent_at=self._calendar.timestamps(sending.sent[part]),
                    )
                )


def simulate(
    *,
    experiments: int = 24,
    users: int = 20_000,
    events: int = 200_000,
    seed: int = 1,
    start: date = date(2026, 1, 5),
    days: int = 56,
    duplicates: float = 0.01,
    late: float = 0.02,
    malformed: float = 0.005,
) -> Simulation:
    """Simulate an experimentation programme and the four topics that it would fill.

    Args:
        experiments: how many; at least 3, as one is an A/A test and one has a broken split.
        users: how many enter experiments.
        events: number of records over all topics (kept to within 1 %), repeated and malformed ones included.
        start: day 0, in UTC.
        days: length; at least 14.
        duplicates: share of events whose record is sent again, with the same bytes.
        late: share of exposures, steps, outcomes and totals that are sent an hour to some days later.
        malformed: share of events beside which a broken copy is sent.

    Raises:
        BadInput: a parameter is out of range, or the events are too few for the users.
    """
    _check(experiments=experiments, users=users, events=events, seed=seed, days=days)
    rates = Rates(duplicates=duplicates, late=late, malformed=malformed)
    _check_rates(rates)
    for_programme, for_users, for_sessions, for_steps, for_tables, for_defects = (
        np.random.default_rng(sequence) for sequence in np.random.SeedSequence(seed).spawn(6)
    )
    prefix = f"sim{seed}"
    calendar = Calendar(start)
    programme = plan_programme(for_programme, experiments, days, prefix)
    people, exposures = draw_users(for_users, programme, users, days, start.weekday())
    sessions = draw_sessions(for_sessions, people, _sessions_per_user(events / users), days, start.weekday())

    about_experiments = tables.experiment_table(programme, people, sessions, exposures, calendar, prefix, days)
    totals = tables.metric_table(programme, calendar, prefix, days, for_tables)
    sound = round(events / (1 + rates.duplicates + rates.malformed))
    steps, summaries = walk(for_steps, people, sessions, sound - about_experiments.time.size - totals.time.size)
    all_tables = (
        about_experiments,
        tables.user_table(people, sessions, steps, calendar, prefix, for_tables),
        tables.outcome_table(people, sessions, steps, summaries, calendar, prefix),
        totals,
    )
    sendings = tuple((table, send(for_defects, table.time, table.may_be_late, rates)) for table in all_tables)
    parameters = {
        "experiments": experiments,
        "users": users,
        "events": events,
        "seed": seed,
        "start": start.isoformat(),
        "days": days,
        **asdict(rates),
    }
    return Simulation(_truth(parameters, programme, days, sendings), calendar, sendings)


def _sessions_per_user(events_per_user: float) -> float:
    """So many sessions that about three steps of each are browsing."""
    return max(1.1, (events_per_user - 3.5) / 5.5)


def _damaged(values: pl.Series, defects: np.ndarray[Any, np.dtype[np.int8]]) -> pl.Series:
    broken = np.flatnonzero(defects != SOUND)
    if not broken.size:
        return values
    return values.scatter(broken, [damage(values[int(row)], int(defects[row])) for row in broken])


def _truth(
    parameters: dict[str, Any], programme: Programme, days: int, sendings: tuple[tuple[EventTable, Sending], ...]
) -> dict[str, Any]:
    return {
        "simulated": True,
        "parameters": parameters,
        "experiments": [
            {
                "experiment_id": experiment.experiment_id,
                "name": experiment.name,
                "kind": experiment.kind,
                "status": "finished" if experiment.end <= days else "running",
                "control_id": experiment.variants[0].variant_id,
                "variants": [variant.variant_id for variant in experiment.variants],
                "lifts": {
                    metric: {v.variant_id: v.lifts[metric] for v in experiment.variants[1:]}
                    for metric in experiment.variants[0].lifts
                },
            }
            for experiment in programme.experiments
        ],
        "segments": [
            {"name": segment.name, "share": segment.share, "conversion": segment.conversion} for segment in SEGMENTS
        ],
        "topics": {table.topic: _counts(table, sending) for table, sending in sendings},
    }


def _counts(table: EventTable, sending: Sending) -> dict[str, int]:
    """Records of a topic by what they are; `late` counts events, the others count records."""
    malformed = int((sending.defect != SOUND).sum())
    valid = sending.row.size - malformed
    return {
        "records": sending.row.size,
        "valid": valid,
        "distinct_event_ids": table.time.size,
        "malformed": malformed,
        "duplicates": valid - table.time.size,
        "late": sending.late,
    }


def _check(*, experiments: int, users: int, events: int, seed: int, days: int) -> None:
    for name, value, least in (
        ("experiments", experiments, 3),
        ("users", users, 1),
        ("events", events, 1),
        ("seed", seed, 0),
        ("days", days, 14),
    ):
        if value < least:
            raise BadInput(f"{name} is {value}, but must be at least {least}.")


def _check_rates(rates: Rates) -> None:
    for name, value in asdict(rates).items():
        if not 0 <= value <= 0.5:
            raise BadInput(f"{name} is {value}, but must lie between 0 and 0.5: it is a share of the events.")
