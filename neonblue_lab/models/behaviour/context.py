"""Events that a caller knows of and the lake does not yet: those of the session that runs while they ask."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.events.records import USER_EVENTS
from neonblue_lab.events.schema import EVENT_SCHEMA
from neonblue_lab.models.behaviour.sessions import COLUMNS

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
FIELDS = frozenset({"event_type", "timestamp", "session_id", "properties"})


def with_context(
    known: pl.DataFrame,
    user_id: str,
    context: Sequence[Mapping[str, Any]],
    *,
    now: datetime,
    gap: timedelta,
) -> pl.DataFrame:
    """What is known of a user, and the events of a context after it.

    Args:
        known: events of the user in the columns of COLUMNS, sorted by time.
        user_id: who.
        context: events in order, at least one: `event_type`, and where known `timestamp` (ISO text or datetime; `now` unless given),
            `session_id` (the running one of `known` unless given, a new one where none is running) and `properties`.
        now: when it is asked.
        gap: of sessions.

    Raises:
        BadInput: an event of the context cannot be read; the message says which and why.
    """
    rows = [_row(place, event, now) for place, event in enumerate(context)]
    schema = {name: EVENT_SCHEMA[name] for name in COLUMNS}
    added = pl.DataFrame([row | {"user_id": user_id} for row in rows], schema=schema)
    running = known.filter(pl.col("timestamp") >= min(row["timestamp"] for row in rows) - gap)
    session = running["session_id"].drop_nulls().last() if running["session_id"].count() else f"{user_id}/now"
    return pl.concat([known.select(COLUMNS), added.with_columns(pl.col("session_id").fill_null(pl.lit(session)))])


def _row(place: int, event: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    where = f"Event {place} of the context"
    if not isinstance(event, Mapping):
        raise BadInput(f"{where} is of type {type(event).__name__}: it must be an object.")
    unknown = sorted(map(str, set(event) - FIELDS))
    if unknown:
        raise BadInput(f"{where} has the fields {', '.join(unknown)}: known are {', '.join(sorted(FIELDS))}.")
    kind, properties, session = (event.get(name) for name in ("event_type", "properties", "session_id"))
    if not isinstance(kind, str) or not kind:
        raise BadInput(f"{where} needs an event_type, such as page_view; it is {kind!r}.")
    if properties is not None and not isinstance(properties, Mapping):
        raise BadInput(f"{where} has properties of type {type(properties).__name__}: they must be an object.")
    if session is not None and not isinstance(session, str):
        raise BadInput(f"{where} has the session_id {session!r}: it must be text.")
    return {
        "event_type": kind,
        "topic": USER_EVENTS,
        "session_id": session,
        "timestamp": _moment(where, event.get("timestamp"), now),
        "properties": None if properties is None else _json(where, properties),
    }


def _json(where: str, properties: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(dict(properties)).decode()
    except orjson.JSONEncodeError as error:
        raise BadInput(f"{where} has properties that are no JSON: {error}.") from error


def _moment(where: str, value: Any, now: datetime) -> datetime:
    if value is None:
        return now
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"{where} has the timestamp {value!r}: give it like 2026-03-01T12:30:00Z.") from error
    if moment < _EARLIEST:
        raise BadInput(f"{where} has the timestamp {value!r}, which lies before 1970.")
    return moment
