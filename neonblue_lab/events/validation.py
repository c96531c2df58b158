"""What the fields of an event must be, as SQL over the columns of a batch: null, or what is wrong with a record.

The expressions speak of `document`, the JSON of a record; of the fields of the envelope, where an empty id is null; and of
`total` and `definition`, which TOTAL and DEFINITION take out of `properties`.
"""

from collections.abc import Iterable

import orjson

from neonblue_lab.events.documents import FORMATS, KINDS
from neonblue_lab.events.schema import (
    DOCUMENT,
    EARLIEST,
    EXPERIMENT_LIFECYCLE,
    LATEST,
    LONGEST_ID,
    METRIC_TOTAL,
    REQUIRED_FIELDS,
)

IDS = ("event_id", "event_type", "user_id", "session_id", "experiment_id", "variant_id")
"""The fields of the envelope that name something."""

FIRST_TIME, END_OF_TIME = (f"TIMESTAMPTZ '{day} 00:00:00+00'" for day in (EARLIEST, LATEST))
_BETWEEN = f"between {EARLIEST} and {LATEST}"

_TOTAL_FIELDS = ("metric", "kind", "segment", "n", "mean", "variance", "period_start", "period_end")
_TOTAL = orjson.dumps(dict.fromkeys(_TOTAL_FIELDS, "VARCHAR")).decode()
_DEFINITION_TIMES = ("started_at", "ended_at", "created_at")
_DEFINITION = orjson.dumps(dict.fromkeys(_DEFINITION_TIMES, "VARCHAR") | {"variants": "JSON"}).decode()

TOTAL = f"CASE WHEN event_type = '{METRIC_TOTAL}' THEN json_transform(properties, '{_TOTAL}') END"
DEFINITION = f"CASE WHEN event_type IN {EXPERIMENT_LIFECYCLE} THEN json_transform(properties, '{_DEFINITION}') END"


def number(text: str) -> str:
    """The number that a text spells, infinite beyond a double, or null. Of what DuckDB would take, 1_000 and true are none."""
    return f"CASE WHEN regexp_full_match({text}, '-?[0-9]+([.][0-9]*)?([eE][-+]?[0-9]+)?') THEN try_cast({text} AS DOUBLE) END"


def _rules(*rules: tuple[str, str]) -> str:
    """The sentence of the first rule whose condition holds."""
    return "CASE " + "\n".join(f"WHEN {condition} THEN {sentence}" for condition, sentence in rules) + " END"


def _named(field: str, wrong: str, text: str | None = None) -> str:
    """The sentence that names a field, says what is wrong and shows the beginning of its text."""
    return f"'{field}: {wrong}: ' || left({text or field}, 60)"


def _too_long(text: str, field: str) -> tuple[str, str]:
    return f"strlen({text}) > {LONGEST_ID}", _named(field, f"longer than {LONGEST_ID} bytes", text)


def _looks_structured(field: str) -> str:
    return f"{field} >= '[' AND {field} < '\\' OR {field} >= '{{' AND {field} < '|' OR {field} IN ('true', 'false')"


def _structured(field: str) -> tuple[str, str]:
    return (
        f"json_type(document, '$.{field}') IN ('OBJECT', 'ARRAY', 'BOOLEAN')",
        _named(field, "neither a text nor a number"),
    )


def _not_a_time(struct: str, field: str) -> tuple[str, str]:
    time = f"try_cast({struct}.{field} AS TIMESTAMPTZ)"
    return (
        f"{struct}.{field} IS NOT NULL AND NOT coalesce({time} >= {FIRST_TIME} AND {time} < {END_OF_TIME}, false)",
        _named(f"properties.{field}", f"not an ISO 8601 time {_BETWEEN}", f"{struct}.{field}"),
    )


# A record is read once more only where an id looks like JSON of another type, and measured only where it is long enough to
# hold a long one.
_IDS_ERROR = f"""coalesce(
    CASE WHEN {" OR ".join(map(_looks_structured, IDS))} THEN {_rules(*map(_structured, IDS))} END,
    CASE WHEN strlen(document) > {LONGEST_ID} THEN {_rules(*(_too_long(field, field) for field in IDS))} END
)"""

_N, _MEAN, _VARIANCE = (number(f"total.{field}") for field in ("n", "mean", "variance"))
_TOTAL_ERROR = _rules(
    (
        "total.kind NOT IN ('proportion', 'mean')",
        _named("properties.kind", "neither proportion nor mean", "total.kind"),
    ),
    ("coalesce(total.metric, '') = ''", "'properties.metric: missing'"),
    _too_long("total.metric", "properties.metric"),
    _too_long("total.segment", "properties.segment"),
    (f"NOT coalesce({_N} >= 0 AND {_N} = floor({_N}) AND {_N} < 9e15, false)", "'properties.n: not a count'"),
    (f"NOT coalesce(isfinite({_MEAN}), false)", "'properties.mean: not a finite number'"),
    (
        f"total.kind = 'proportion' AND {_MEAN} NOT BETWEEN 0 AND 1",
        "'properties.mean: not between 0 and 1, as a proportion is'",
    ),
    (
        f"total.variance IS NOT NULL AND NOT coalesce({_VARIANCE} >= 0 AND isfinite({_VARIANCE}), false)",
        "'properties.variance: not a non-negative number'",
    ),
    _not_a_time("total", "period_start"),
    _not_a_time("total", "period_end"),
)

_VARIANTS = """json_transform(definition.variants, '[{"variant_id":"VARCHAR","allocation":"VARCHAR"}]')"""
_VARIANT_IDS = f"[v.variant_id FOR v IN {_VARIANTS}]"
_ALLOCATION = number("v.allocation")
_SOUND_ALLOCATION = f"v.allocation IS NULL OR coalesce({_ALLOCATION} >= 0 AND isfinite({_ALLOCATION}), false)"
_DEFINITION_ERROR = _rules(
    *(_not_a_time("definition", field) for field in _DEFINITION_TIMES),
    ("json_type(definition.variants) NOT IN ('ARRAY', 'NULL')", "'properties.variants: not a list'"),
    (
        f"NOT list_bool_and([coalesce(v.variant_id, '') <> '' FOR v IN {_VARIANTS}])",
        "'properties.variants: each needs a variant_id'",
    ),
    (
        f"NOT list_bool_and([strlen(v.variant_id) <= {LONGEST_ID} FOR v IN {_VARIANTS}])",
        f"'properties.variants: a variant_id is longer than {LONGEST_ID} bytes'",
    ),
    (
        f"list_unique({_VARIANT_IDS}) < len({_VARIANT_IDS})",
        "'properties.variants: two have the same variant_id'",
    ),
    (
        f"NOT list_bool_and([{_SOUND_ALLOCATION} FOR v IN {_VARIANTS}])",
        "'properties.variants: an allocation is not a non-negative number'",
    ),
)


def _no_text(field: str) -> tuple[str, str]:
    return (
        f"json_type(properties, '$.{field}') IS DISTINCT FROM 'VARCHAR' OR trim(properties->>'$.{field}') = ''",
        f"'properties.{field}: missing, or not a text'",
    )


def _not_one_of(field: str, values: Iterable[str]) -> tuple[str, str]:
    known = tuple(values)
    return (
        f"coalesce(properties->>'$.{field}', '') NOT IN {known}",
        _named(
            f"properties.{field}", f"not one of {', '.join(known)}", f"coalesce(properties->>'$.{field}', 'missing')"
        ),
    )


def _if_not_text(field: str) -> tuple[str, str]:
    return f"json_type(properties, '$.{field}') NOT IN ('VARCHAR', 'NULL')", f"'properties.{field}: not a text'"


_DOCUMENT_ERROR = _rules(
    _no_text("document_id"),
    _too_long("(properties->>'$.document_id')", "properties.document_id"),
    _no_text("text"),
    _not_one_of("kind", KINDS),
    _not_one_of("format", FORMATS),
    _if_not_text("title"),
    _if_not_text("source"),
)

# Of the types in REQUIRED_FIELDS.
_TYPE_ERROR = _rules(
    *(
        (f"event_type = '{event_type}' AND {field} IS NULL", f"'{field}: missing, {event_type} needs it'")
        for event_type, fields in REQUIRED_FIELDS.items()
        for field in fields
    ),
    (f"event_type = '{METRIC_TOTAL}'", _TOTAL_ERROR),
    (f"event_type IN {EXPERIMENT_LIFECYCLE}", _DEFINITION_ERROR),
    (f"event_type = '{DOCUMENT}'", _DOCUMENT_ERROR),
)

_NO_TIME = "neither ISO 8601 nor epoch seconds, milliseconds or microseconds"
_ENVELOPE_ERROR = _rules(
    ("event_id IS NULL", "'event_id: missing'"),
    ("event_type IS NULL", "'event_type: missing'"),
    ("coalesce(timestamp, '') = ''", "'timestamp: missing'"),
    ("happened IS NULL", _named("timestamp", _NO_TIME)),
    (
        f"happened < epoch_us({FIRST_TIME}) OR happened >= epoch_us({END_OF_TIME})",
        _named("timestamp", f"not {_BETWEEN}"),
    ),
    ("value IS NOT NULL AND NOT coalesce(isfinite(number), false)", _named("value", "not a finite number")),
    ("NOT starts_with(properties, '{')", "'properties: not an object'"),
)

ERROR = f"""coalesce(
    {_ENVELOPE_ERROR},
    {_IDS_ERROR},
    CASE WHEN event_type IN {tuple(REQUIRED_FIELDS)} THEN {_TYPE_ERROR} END
)"""
"""What is wrong with a JSON object as an event. Further columns: `happened`, its time in microseconds since the epoch, and
`number`, its value as spelt."""
