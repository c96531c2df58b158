"""Filters of a search: conditions on an experiment's facts, checked and written as Chroma understands them."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from math import isfinite
from typing import Any

import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.knowledge.documents import DOCUMENT_SCHEMA

FACTS: dict[str, pl.DataType] = {
    name: dtype for name, dtype in DOCUMENT_SCHEMA.items() if name not in ("experiment_id", "document")
}
"""What an index keeps beside each document, and a search may filter by."""

Filters = Mapping[str, Any]
"""Field -> a value that it must equal, or {">=": low, "<=": high} for numbers and times. All conditions must hold."""

_OPERATORS = {">=": "$gte", "<=": "$lte"}


def chroma_where(filters: Filters | None) -> dict[str, Any] | None:
    """Filters as Chroma's `where`; None for none.

    Raises:
        BadInput: an unknown field (the message lists the known ones), an unknown operator, or a value of a wrong type.
    """
    conditions = [condition for field, wanted in (filters or {}).items() for condition in _conditions(field, wanted)]
    if len(conditions) < 2:
        return conditions[0] if conditions else None
    return {"$and": conditions}


def stored(field: str, value: Any) -> str | int | float:
    """A fact as Chroma keeps it: a time becomes seconds since 1970.

    Raises:
        BadInput: the value is not of the field's type.
    """
    dtype = FACTS[field]
    if dtype == pl.String and isinstance(value, str):
        return value
    if dtype.is_numeric() and isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        return float(value)
    if isinstance(dtype, pl.Datetime):
        return _seconds(field, value)
    raise BadInput(f"Filter {field}: {value!r} is not {_wanted(dtype)}.")


def shown(field: str, value: str | int | float) -> str | int | float:
    """A fact as a JSON value, from what Chroma keeps: a time is ISO-8601 in UTC."""
    dtype = FACTS[field]
    if isinstance(dtype, pl.Datetime):
        return datetime.fromtimestamp(float(value), UTC).isoformat().replace("+00:00", "Z")
    return int(value) if dtype.is_integer() else value


def _conditions(field: str, wanted: Any) -> list[dict[str, Any]]:
    if field not in FACTS:
        raise BadInput(f"Experiments have no field {field!r} to filter by. They have: {', '.join(FACTS)}.")
    if not isinstance(wanted, Mapping):
        return [{field: {"$eq": stored(field, wanted)}}]
    if FACTS[field] == pl.String:
        raise BadInput(f"Filter {field}: a text can only be equal to one value; give that value.")
    unknown = [operator for operator in wanted if operator not in _OPERATORS]
    if unknown or not wanted:
        raise BadInput(f"Filter {field}: give a value, or bounds such as {{'>=': 1, '<=': 2}}, not {dict(wanted)!r}.")
    return [{field: {_OPERATORS[operator]: stored(field, value)}} for operator, value in wanted.items()]


def _seconds(field: str, value: Any) -> float:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise BadInput(f"Filter {field}: {value!r} is not {_wanted(FACTS[field])}.") from None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    raise BadInput(f"Filter {field}: {value!r} is not {_wanted(FACTS[field])}.")


def _wanted(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Datetime):
        return "a time such as 2026-03-02 or 2026-03-02T10:00:00Z"
    return "a number" if dtype.is_numeric() else "a text"
