"""Journeys out of events: whose steps, in which order, in which sessions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from neonblue_lab.errors import BadInput, NothingToDo
from neonblue_lab.events.classification import classify
from neonblue_lab.events.journey_stages import BY_EVENT_TYPE
from neonblue_lab.models.behaviour.sequences import UNKNOWN, Sequences
from neonblue_lab.stats.arrays import Integers
from neonblue_lab.warehouse.warehouse import Warehouse

GAP = timedelta(minutes=30)
"""Steps without a session id belong to one session until nothing was heard of the user for so long."""

COLUMNS = ("event_type", "topic", "user_id", "session_id", "timestamp", "properties")
"""What is read of an event."""

JOIN = ":"
"""Between an action's event type and its detail."""

MOST_ACTIONS = 500
"""A vocabulary has no more: rarer actions are unknown ones."""

_ONE_EVENT_EACH = 'QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY topic, partition, "offset") = 1'


@dataclass(frozen=True, eq=False)
class Steps:
    """What users did, one entry a step, sorted by user, session and time; the sessions of a user never overlap.

    Attributes:
        event: the row of the events that the step was made of.
        user: number of the user, a position in `users`.
        session: number of the session, from 0, ascending.
        time: microseconds since 1970.
        action: code in `actions`; UNKNOWN for one that is not there.
        actions: the vocabulary: event types, each with a detail (`click:sale`) where one was asked for.
        users: their ids, each with a step; of steps without a user, the id of their session.
        traits: one row a session: what its first step says of the user and of how they came, such as device_type; null
            where it does not say.
    """

    event: Integers
    user: Integers
    session: Integers
    time: Integers
    action: Integers
    actions: tuple[str, ...]
    users: pl.Series
    traits: pl.DataFrame

    def __len__(self) -> int:
        return int(self.event.size)

    @property
    def first(self) -> Integers:
        """The place of the first step of each session."""
        return starts(self.session)

    @property
    def sequences(self) -> Sequences:
        """The actions of each session."""
        return Sequences.of_lengths(self.action, np.diff(np.append(self.first, len(self))))

    @property
    def journeys(self) -> Sequences:
        """The actions of each user, over all sessions; in the order of `users` where each has a step."""
        return Sequences.of_lengths(self.action, np.diff(np.append(starts(self.user), len(self))))

    def codes(self, event_types: Sequence[str]) -> Integers:
        """The codes of the actions that are of some event types."""
        return np.array([c for c, name in enumerate(self.actions) if type_of(name) in event_types], dtype=np.int64)


def type_of(action: str) -> str:
    """The event type of an action."""
    return action.partition(JOIN)[0]


def starts(group: Integers) -> Integers:
    """The place of the first entry of each run of equal numbers."""
    return np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if group.size else np.empty(0, dtype=np.int64)


def read_events(
    warehouse: Warehouse, *, user_id: str | None = None, users: int | None = None, seed: int = 0
) -> pl.DataFrame:
    """Events in the columns of COLUMNS: of one user, or of so many users at most, chosen by a hash of id and seed.

    Raises:
        NotFound: no event of the lake has a user or a session.
    """
    columns = ", ".join(COLUMNS)
    if user_id is not None:
        # By way of the stored rows: the view would first look for repeated deliveries among the events of everyone.
        own = f"SELECT * FROM stored.events WHERE coalesce(user_id, session_id) = $1 {_ONE_EVENT_EACH}"
        return warehouse.sql(f"SELECT {columns} FROM ({own}) ORDER BY timestamp, event_id", [user_id])
    chosen = "" if users is None else "AND coalesce(user_id, session_id) IN (SELECT who FROM chosen)"
    found = warehouse.sql(
        f"""
        WITH everyone AS (SELECT DISTINCT coalesce(user_id, session_id) AS who FROM stored.events),
             chosen AS (SELECT who FROM everyone ORDER BY hash(who, $1), who LIMIT $2)
        SELECT {columns} FROM events WHERE coalesce(user_id, session_id) IS NOT NULL {chosen}
        ORDER BY timestamp, event_id
        """,
        [seed, users],
    )
    if found.is_empty():
        raise NothingToDo(
            "No event of the lake has a user or a session: there is no behaviour to learn from. "
            "`neonblue replay --from ...` brings events in."
        )
    return found


def step_types(events: pl.DataFrame) -> pl.DataFrame:
    """The event types that are steps of users: event_type, topic.

    A type is one if the table of journey stages has it, or else if it is classified as user_behavior: what the lab notes of
    users (exposures, session summaries) is none.
    """
    types = events.select("event_type", "topic").unique(maintain_order=True)
    behaviour = classify(types)["data_type"] == "user_behavior"
    return types.filter(pl.col("event_type").is_in(list(BY_EVENT_TYPE)) | behaviour)


def steps(
    events: pl.DataFrame,
    *,
    traits: Sequence[str] = (),
    detail: str | None = None,
    actions: Sequence[str] | None = None,
    gap: timedelta = GAP,
) -> Steps:
    """The steps of events, in sessions: those with the same session id, or without one those that follow within `gap`.

    A step belongs to the session of the user's step before it, or begins a new one: what comes later never changes it. So
    sessions of a user that overlap in time, as on two devices, fall into parts, one after the other.

    Args:
        events: columns of COLUMNS, in any order; equal times keep it.
        traits: names of properties of a session's first step to keep.
        detail: name of a property that tells steps of one event type apart.
        actions: the vocabulary; the MOST_ACTIONS most frequent ones, most frequent first, unless given.
        gap: see GAP.

    Raises:
        BadInput: a column is missing.
    """
    missing = [column for column in COLUMNS if column not in events.columns]
    if missing:
        raise BadInput(f"Steps need the columns {', '.join(COLUMNS)} of events: {', '.join(missing)} is missing.")
    kept = _steps_only(events, detail)
    vocabulary = tuple(actions) if actions is not None else _by_frequency(kept["action"])
    coded = kept.with_columns(row=pl.int_range(pl.len())).select(
        "event",
        user=pl.col("row").first().over("who"),
        key=pl.when(pl.col("session_id").is_null()).then(-1).otherwise(pl.col("row").first().over("session_id")),
        time=pl.col("timestamp").dt.epoch("us"),
        action=pl.col("action").replace_strict(
            {name: code for code, name in enumerate(vocabulary)}, default=UNKNOWN, return_dtype=pl.Int64
        ),
    )
    event, user_row, key, time, action = (coded[name].cast(pl.Int64).to_numpy() for name in coded.columns)
    is_first = user_row == np.arange(user_row.size)
    user = (np.cumsum(is_first) - 1)[user_row]
    order = np.lexsort((time, user))
    user, time, event = user[order], time[order], event[order]
    session = _sessions(user, key[order], time, int(gap / timedelta(microseconds=1)))
    return Steps(
        event=event,
        user=user,
        session=session,
        time=time,
        action=action[order],
        actions=vocabulary,
        users=kept["who"].filter(pl.Series(is_first)).alias("user_id"),
        traits=_traits(events["properties"].gather(event[starts(session)]), traits),
    )


def _steps_only(events: pl.DataFrame, detail: str | None) -> pl.DataFrame:
    """event (its row), action, who, session_id, timestamp of the events that are steps of someone."""
    kind = pl.col("event_type")
    if detail is not None:
        value = pl.col("properties").str.json_path_match(_path(detail))
        kind = pl.concat_str([kind, pl.lit(JOIN) + value], separator="", ignore_nulls=True)
    who = pl.coalesce("user_id", "session_id")
    rows = events.select(
        "event_type", "topic", "session_id", "timestamp", event=pl.int_range(pl.len()), who=who, action=kind
    )
    wanted = step_types(events)
    known = rows.join(wanted, on=["event_type", "topic"], how="semi", nulls_equal=True, maintain_order="left")
    return known.filter(pl.col("who").is_not_null())


def _by_frequency(actions: pl.Series) -> tuple[str, ...]:
    counts = actions.value_counts(name="n").sort("n", actions.name, descending=[True, False])
    return tuple(counts[actions.name].head(MOST_ACTIONS))


def _sessions(user: Integers, key: Integers, time: Integers, gap: int) -> Integers:
    """The number of each row's session; rows are sorted by user and time.

    Args:
        key: of the session id, -1 for rows without one.
    """
    same_user = user[1:] == user[:-1]
    both_known = (key[1:] >= 0) & (key[:-1] >= 0)
    same_session = np.where(both_known, key[1:] == key[:-1], time[1:] - time[:-1] <= gap)
    return np.cumsum(np.r_[True, ~(same_user & same_session)])[: user.size] - 1


def _traits(properties: pl.Series, names: Sequence[str]) -> pl.DataFrame:
    """Looked up among distinct properties: the first steps of many sessions say the same."""
    told = properties.alias("properties").to_frame()
    read = told.unique().with_columns(pl.col("properties").str.json_path_match(_path(n)).alias(n) for n in names)
    return told.join(read, on="properties", how="left", nulls_equal=True, maintain_order="left").drop("properties")


def _path(name: str) -> str:
    return f'$["{name}"]'


def trait_levels(traits: pl.DataFrame, *, least_share: float = 0.02, most: int = 8) -> Mapping[str, tuple[str, ...]]:
    """The values of each trait that at least this share of sessions have, most frequent first."""
    levels = {}
    for name in traits.columns:
        counts = traits[name].drop_nulls().value_counts(name="n").sort("n", name, descending=[True, False])
        frequent = counts.filter(pl.col("n") >= max(1, least_share * traits.height))
        levels[name] = tuple(frequent[name].head(most))
    return levels
