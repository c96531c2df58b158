"""What analytics can be asked for: the measures, the dimensions, and what each of them means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from neonblue_lab.errors import BadInput

Unit = Literal["count", "share", "currency", "seconds"]
Level = Literal["time", "event", "session", "user", "experiment"]


@dataclass(frozen=True)
class Measure:
    """One number of a group of events.

    Attributes:
        name: as it is asked for.
        sql: an aggregate over a slice of events (columns of `slice_sql`).
        unit: what it counts in.
        description: one sentence.
        per: the measure that it is divided by, for a ratio.
        across_types: it puts events of different types in relation, so that it cannot be split by what tells them apart.
    """

    name: str
    sql: str
    unit: Unit
    description: str
    per: str | None = None
    across_types: bool = False


@dataclass(frozen=True)
class Dimension:
    """One way to split events into groups.

    Attributes:
        name: as it is asked for, and the column of the answer.
        sql: an expression over the columns of `slice_sql`.
        level: what it belongs to. A dimension of a session or a user holds for all events of that session or user, also
            for those that do not state it themselves; one of an event only for the event that states it.
        description: one sentence.
    """

    name: str
    sql: str
    level: Level
    description: str


def _property(name: str) -> str:
    return f"json_extract_string(properties, '$.{name}')"


_CONVERTED = "count(DISTINCT user_id) FILTER (event_type = 'conversion')"
_REVENUE = "coalesce(fsum(value) FILTER (event_type = 'purchase'), 0)"

MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("events", "count(*)", "count", "Valid events, each event id once."),
        Measure("users", "count(DISTINCT user_id)", "count", "Users with at least one event."),
        Measure("sessions", "count(DISTINCT session_id)", "count", "Sessions with at least one event."),
        Measure("experiments", "count(DISTINCT names_experiment)", "count", "Experiments that events name."),
        Measure("conversions", "count(*) FILTER (event_type = 'conversion')", "count", "Conversion events."),
        Measure("converted_users", _CONVERTED, "count", "Users with at least one conversion event."),
        Measure("purchases", "count(*) FILTER (event_type = 'purchase')", "count", "Purchase events."),
        Measure("revenue", _REVENUE, "currency", "Sum of the values of purchases."),
        Measure(
            "conversion_rate",
            f"{_CONVERTED} / nullif(count(DISTINCT user_id), 0)",
            "share",
            "Users with a conversion event, divided by users.",
            per="users",
            across_types=True,
        ),
        Measure(
            "revenue_per_user",
            f"{_REVENUE} / nullif(count(DISTINCT user_id), 0)",
            "currency",
            "Revenue divided by users.",
            per="users",
            across_types=True,
        ),
        Measure(
            "average_purchase",
            "favg(value) FILTER (event_type = 'purchase')",
            "currency",
            "Mean value of purchases.",
            per="purchases",
        ),
        Measure(
            "events_per_session",
            "count(session_id) / nullif(count(DISTINCT session_id), 0)",
            "count",
            "Events of sessions, divided by sessions.",
            per="sessions",
            across_types=True,
        ),
        Measure(
            "average_session_seconds",
            "favg(value) FILTER (event_type = 'session_summary')",
            "seconds",
            "Mean duration of sessions, from their summaries.",
            per="sessions",
        ),
    )
}

DIMENSIONS: Mapping[str, Dimension] = {
    dimension.name: dimension
    for dimension in (
        Dimension("day", "CAST(timestamp AT TIME ZONE 'UTC' AS DATE)", "time", "Day in UTC."),
        Dimension(
            "week",
            "CAST(date_trunc('week', timestamp AT TIME ZONE 'UTC') AS DATE)",
            "time",
            "Monday of the week in UTC.",
        ),
        Dimension("topic", "topic", "event", "Topic that the event came by."),
        Dimension("event_type", "event_type", "event", "Type of the event."),
        Dimension("page", _property("page"), "event", "Page that the event states."),
        Dimension("device_type", _property("device_type"), "session", "Device of the session."),
        Dimension("traffic_source", _property("traffic_source"), "session", "Where the session came from."),
        Dimension("user_segment", _property("user_segment"), "user", "Segment of the user."),
        Dimension(
            "experiment",
            "experiment",
            "experiment",
            "Experiment that the user was exposed to: what its users did from first exposure until its end, users seen in more "
            "than one of its variants left out. An event counts in each experiment that its user was in.",
        ),
        Dimension("variant", "variant", "experiment", "Variant of the experiment; ask for `experiment` beside it."),
    )
}

_T = TypeVar("_T", Measure, Dimension)


def choose(metrics: Sequence[str], dimensions: Sequence[str]) -> tuple[list[Measure], list[Dimension]]:
    """The measures and dimensions of these names, each once, in the order asked for.

    Raises:
        BadInput: no metric, an unknown name, or a combination that would mean nothing; the message says what is possible.
    """
    measures = _named("metric", metrics, MEASURES)
    splits = _named("dimension", dimensions, DIMENSIONS)
    if not measures:
        raise BadInput(f"Name at least one metric; there are {', '.join(MEASURES)}.")
    names = [split.name for split in splits]
    if "variant" in names and "experiment" not in names:
        raise BadInput("`variant` means something only within an experiment: add the dimension `experiment`.")
    by_event = [split.name for split in splits if split.level == "event"]
    across = [measure.name for measure in measures if measure.across_types]
    if by_event and across:
        raise BadInput(
            f"{', '.join(across)} cannot be split by {', '.join(by_event)}: it relates events of different types, and each "
            f"{by_event[0]} holds only some. Split it by day, week, device_type, traffic_source, user_segment or experiment."
        )
    return measures, splits


def _named(kind: str, names: Sequence[str], known: Mapping[str, _T]) -> list[_T]:
    for name in names:
        if name not in known:
            raise BadInput(f"There is no {kind} {name!r}; there are {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(names)]


_EXPOSED = """exposed AS (
    SELECT experiment_id, user_id, min(variant_id) AS variant_id, min(first_exposed_at) AS exposed_at, max(ended_at) AS ended_at
    FROM assignments LEFT JOIN (SELECT experiment_id, ended_at FROM experiments) USING (experiment_id)
    WHERE ended_at IS NULL OR first_exposed_at <= ended_at
    GROUP BY experiment_id, user_id HAVING count(*) = 1)"""
_BY_EXPERIMENT = """(
    SELECT facts.*, exposed.experiment_id AS experiment, exposed.variant_id AS variant FROM facts JOIN exposed USING (user_id)
    WHERE (timestamp >= exposed_at AND (ended_at IS NULL OR timestamp <= ended_at))
       OR (event_type = 'exposure' AND names_experiment = exposed.experiment_id)
    UNION ALL
    SELECT facts.*, names_experiment, names_variant FROM facts WHERE user_id IS NULL AND names_experiment IS NOT NULL)"""
_OWNER = {"session": "session_id", "user": "user_id"}


def slice_sql(dimensions: Sequence[Dimension]) -> str:
    """SQL that begins a query (`WITH ...`) and defines `slice`: the events of a period, split as asked.

    Its parameters are $1 (from) and $2 (to, exclusive), each a timestamp or null. Columns: timestamp, topic, event_type,
    user_id, session_id, value, names_experiment, names_variant and one for each dimension, named like it.
    """
    columns = ["timestamp", "topic", "event_type", "user_id", "session_id", "value"]
    named = ["names_experiment", "names_variant"]
    computed = [split for split in dimensions if split.sql != split.name]
    stated = [*columns, "experiment_id AS names_experiment", "variant_id AS names_variant"]
    stated += [f"{_stated(split)} AS stated_{split.name}" for split in computed]
    facts = f"""
        stated AS (SELECT {", ".join(stated)} FROM events
            WHERE ($1 IS NULL OR timestamp >= $1) AND ($2 IS NULL OR timestamp < $2)),
        facts AS (SELECT {", ".join([*columns, *named, *map(_held, computed)])} FROM stated)"""
    if any(split.level == "experiment" for split in dimensions):
        return f"WITH {_EXPOSED}, {facts}, slice AS {_BY_EXPERIMENT}"
    return f"WITH {facts}, slice AS (FROM facts)"


def _stated(split: Dimension) -> str:
    """What the event itself says. An event without a session or user says nothing of one: an experiment's definition has a
    `user_segment` that is not a user's."""
    owner = _OWNER.get(split.level)
    return f"CASE WHEN {owner} IS NOT NULL THEN {split.sql} END" if owner else split.sql


def _held(split: Dimension) -> str:
    """The column of a dimension: as the event states it, else as its session or user states it elsewhere in the period
    (the alphabetically first, should it state several)."""
    if split.level not in _OWNER:
        return f"stated_{split.name} AS {split.name}"
    owner = _OWNER[split.level]
    return f"coalesce(stated_{split.name}, min(stated_{split.name}) OVER (PARTITION BY {owner})) AS {split.name}"
