"""Which queries the warehouse runs: one SELECT that reads its views and can do nothing else, judged by its syntax tree.

That a statement is a SELECT says little in DuckDB: `WITH x AS (COPY ... TO ...) SELECT` is one, and so is a SELECT from a
function that runs text as SQL, imports a database or changes a setting. What is not named here is refused.
"""

from collections.abc import Iterator
from typing import Any

import duckdb
import orjson

from neonblue_lab.errors import BadInput

_QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "unnest"})


def check_query(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Pass a single SELECT from tables, views, subqueries and functions that make rows out of their arguments.

    Raises:
        BadInput: it is anything else; the message says what.
    """
    [(text,)] = connection.execute("SELECT json_serialize_sql($1)", [query]).fetchall()
    tree = orjson.loads(text)
    if tree["error"] and tree["error_type"] == "parser":
        raise BadInput(f"The warehouse refuses this query: {tree['error_message']}")
    if tree["error"] or len(tree["statements"]) != 1:
        raise BadInput("Only a single SELECT can be run here.")
    for node in _nodes(tree):
        kind = node.get("type")
        if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _QUERIES:
            raise BadInput(f"Only a single SELECT can be run here; a part of this one is a {kind.split('_')[0]}.")
        if kind == "TABLE_FUNCTION" and (name := node["function"]["function_name"].lower()) not in _TABLE_FUNCTIONS:
            raise BadInput(
                f"A query cannot select from the function {name} here: it can from the warehouse's views and from "
                f"{', '.join(sorted(_TABLE_FUNCTIONS))}."
            )


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON document."""
    remaining = [tree]
    while remaining:
        value = remaining.pop()
        if isinstance(value, dict):
            yield value
            remaining += value.values()
        elif isinstance(value, list):
            remaining += value
