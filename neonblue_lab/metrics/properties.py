"""Expressions of metric definitions in each engine's SQL: reading JSON is where DuckDB and ClickHouse differ."""

from collections.abc import Callable
from functools import reduce
from operator import add, and_, eq, ge, gt, le, lt, mul, ne, or_, sub
from typing import Any

import ibis
import ibis.expr.types as ir

from neonblue_lab.errors import BadInput
from neonblue_lab.metrics.expressions import Constant, Field, Node, Operation

_NUMBER = r"^-?[0-9]{1,300}([.][0-9]+)?([eE][-+]?[0-9]{1,2})?$"
"""Texts that every engine reads as the same number; no power of ten that would be infinite."""

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": add,
    "-": sub,
    "*": mul,
    "==": eq,
    "!=": ne,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}


@ibis.udf.scalar.builtin(name="json_extract_string", signature=(("string", "string"), "string"))
def _duckdb_text(document, path):  # type: ignore[no-untyped-def]
    """DuckDB: a JSON text without its quotes, anything else as it is written."""


@ibis.udf.scalar.builtin(name="json_type", signature=(("string", "string"), "string"))
def _duckdb_type(document, path):  # type: ignore[no-untyped-def]
    """DuckDB: VARCHAR, BOOLEAN, ..."""


@ibis.udf.scalar.builtin(name="JSONExtract", signature=(("string", "string", "string"), "string"))
def _clickhouse_text(document, key, reads):  # type: ignore[no-untyped-def]
    """ClickHouse: as `_duckdb_text`, where `reads` is Nullable(String)."""


@ibis.udf.scalar.builtin(name="JSONExtractRaw", signature=(("string", "string"), "string"))
def _clickhouse_inner(document, key):  # type: ignore[no-untyped-def]
    """ClickHouse: what is below a key, as JSON."""


@ibis.udf.scalar.builtin(name="JSONType", signature=(("string", "string"), "string"))
def _clickhouse_type(document, key):  # type: ignore[no-untyped-def]
    """ClickHouse: String, Bool, ..."""


class Reader:
    """Takes expressions of definitions to Ibis expressions over one table of events, for one engine."""

    def __init__(self, events: ir.Table, dialect: str) -> None:
        """`events` has the columns `value` and `properties`. Raises BadInput for an engine that is not known."""
        if dialect not in ("duckdb", "clickhouse"):
            raise BadInput(f"Metrics are computed by duckdb or clickhouse, not by {dialect!r}.")
        self._events = events
        self._dialect = dialect

    def read(self, node: Node) -> Any:
        """A value or a condition for each event; null where the event lacks what it needs, or divides by 0."""
        match node:
            case Constant(value):
                return ibis.literal(value)
            case Field(()):
                return self._events.value
            case Field(path, reads):
                return getattr(self, f"_{reads}")(path)
            case Operation("present", (Field(path, _),)):
                return self._text_of_any(path).notnull()
            case Operation("/", (left, right)):
                return self.read(left) / self.read(right).nullif(0.0)
            case Operation("in", (left, *options)):
                # Not SQL's IN, which is false in ClickHouse where the left side is null, and true when negated.
                found = self.read(left)
                return reduce(or_, [found == self.read(option) for option in options])
            case Operation("not", (operand,)):
                return ~self.read(operand)
            case Operation("and" | "or" as operator, operands):
                return reduce(and_ if operator == "and" else or_, map(self.read, operands))
            case Operation(operator, (left, right)):
                return _BINARY[operator](self.read(left), self.read(right))
        raise AssertionError(node)

    def _text_of_any(self, path: tuple[str, ...]) -> Any:
        if self._dialect == "duckdb":
            return _duckdb_text(self._events.properties, _duckdb_path(path))
        return _clickhouse_text(self._parent(path), path[-1], "Nullable(String)")

    def _type(self, path: tuple[str, ...]) -> Any:
        if self._dialect == "duckdb":
            return _duckdb_type(self._events.properties, _duckdb_path(path))
        return _clickhouse_type(self._parent(path), path[-1]).cast("string")

    def _parent(self, path: tuple[str, ...]) -> Any:
        return reduce(_clickhouse_inner, path[:-1], self._events.properties)

    def _text(self, path: tuple[str, ...]) -> Any:
        kind = "VARCHAR" if self._dialect == "duckdb" else "String"
        return (self._type(path) == kind).ifelse(self._text_of_any(path), ibis.null("string"))

    def _truth(self, path: tuple[str, ...]) -> Any:
        kind = "BOOLEAN" if self._dialect == "duckdb" else "Bool"
        return (self._type(path) == kind).ifelse(self._text_of_any(path) == "true", ibis.null("boolean"))

    def _number(self, path: tuple[str, ...]) -> Any:
        text = self._text_of_any(path)
        return text.re_search(_NUMBER).ifelse(text, ibis.null("string")).try_cast("float64")


def _duckdb_path(path: tuple[str, ...]) -> str:
    return "$" + "".join(f'."{key}"' for key in path)
