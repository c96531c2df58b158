"""A table's rows, read from the changes to it, are those of the database: now and as of every position of its log, however
often changes are sent again, wherever a snapshot falls, and whatever a change leaves out."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neonblue_lab.events.changes import CHANGE_SCHEMA
from neonblue_lab.lake.history import current, moment, versions

ABSENT = "__debezium_unavailable_value"
Rows = dict[str, dict[str, Any]]


@dataclass
class Database:
    """A table of rows {id, v, big}, its log as a connector sends it, and what it held from which position on."""

    partitions: int
    rows: Rows = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)
    held: list[tuple[int, Rows]] = field(default_factory=list)
    position: int = 0
    resumable: int = 0

    def send(self, op: str, key: str | None, row: dict[str, Any] | None = None, snapshot: str | None = None) -> None:
        text = None if row is None else as_json(row)
        self.sent.append(
            {
                "source_table": "users",
                "op": op,
                "key": None if key is None else as_json({"id": key}),
                "row": text,
                "position": self.position,
                "snapshot": snapshot,
                "topic": "p.public.users",
                "partition": 0 if key is None else ord(key) % self.partitions,
            }
        )

    def hold(self) -> None:
        self.held.append((self.position, {key: dict(row) for key, row in self.rows.items()}))

    def change(self, what: str, key: str, other: str, value: int, big: str | None, leave: bool) -> None:
        """One statement, where it applies."""
        self.position += 10
        present = self.rows.get(key)
        if what == "truncate":
            self.rows.clear()
            self.send("t", None)
        elif what == "insert" and present is None:
            self.rows[key] = {"id": key, "v": value, "big": big}
            self.send("c", key, self.rows[key])
        elif what == "update" and present is not None:
            left = leave and present["big"] is not None
            self.rows[key] = {"id": key, "v": value, "big": present["big"] if left else big}
            self.send("u", key, self.rows[key] | ({"big": ABSENT} if left else {}))
        elif what == "rename" and present is not None and other not in self.rows:
            row = self.rows.pop(key)
            self.rows[other] = row | {"id": other}
            self.send("d", key, {"id": key, "v": None, "big": None})
            self.send("c", other, self.rows[other] | ({"big": ABSENT} if row["big"] is not None else {}))
        elif what == "delete" and present is not None:
            del self.rows[key]
            self.send("d", key, {"id": key, "v": None, "big": None})
        self.hold()

    def take_snapshot(self, across: Callable[[], None]) -> None:
        """Send all rows; `across` is a statement from before it whose transaction ended after it.

        Not a truncate: whoever reads waits for its transaction, and then finds the table empty. And of several partitions, a
        row that appears in one of which the snapshot shows none is not told from an older one.
        """
        shown = {key: dict(row) for key, row in self.rows.items()}
        before = len(self.sent), len(self.held)
        across()
        late, self.sent = self.sent[before[0] :], self.sent[: before[0]]
        del self.held[before[1] :]
        if not shown:
            self.sent += late
            self.hold()
            return
        self.position += 10
        for number, (key, row) in enumerate(shown.items()):
            self.send("r", key, row, "last" if number == len(shown) - 1 else "true")
        self.resumable = len(self.sent)
        self.sent += late
        self.hold()

    def crash(self, back: int) -> None:
        """Send again what was sent last, but nothing from before a snapshot."""
        self.sent += self.sent[max(self.resumable, len(self.sent) - back) :]


def as_json(row: dict[str, Any]) -> str:
    return json.dumps(row, separators=(",", ":"))


def as_changes(sent: list[dict[str, Any]]) -> pl.DataFrame:
    ends = [0] * 4
    rows = []
    for record in sent:
        rows.append(dict.fromkeys(CHANGE_SCHEMA) | record | {"offset": ends[record["partition"]]})
        ends[record["partition"]] += 1
    return pl.DataFrame(rows, schema=CHANGE_SCHEMA)


@cache
def connection() -> duckdb.DuckDBPyConnection:
    made = duckdb.connect()
    made.execute("SET TimeZone = 'UTC'")
    return made


def query(sql: str, changes: pl.DataFrame) -> pl.DataFrame:
    connection().register("changes", changes.to_arrow())
    return pl.DataFrame(connection().sql(sql).to_arrow_table())


def rows_of(found: pl.DataFrame) -> Rows:
    return {row["id"]: row for row in map(json.loads, found["row"])}


KEYS = st.sampled_from("abcd")
STATEMENTS = st.tuples(
    st.sampled_from(["insert", "insert", "update", "update", "rename", "delete", "truncate"]),
    KEYS,
    KEYS,
    st.integers(0, 9),
    st.none() | st.sampled_from(["x" * 3, 'y"\\ü']),
    st.booleans(),
)
STEPS = st.lists(
    st.tuples(st.just("statement"), STATEMENTS)
    | st.tuples(st.just("snapshot"), STATEMENTS)
    | st.tuples(st.just("crash"), st.integers(1, 6)),
    max_size=25,
)


@given(STEPS, st.sampled_from([1, 4]))
@settings(max_examples=80)
def test_rows_are_those_of_the_database_now_and_as_of_each_position(
    steps: list[tuple[str, Any]], partitions: int
) -> None:
    database = Database(partitions)
    for kind, argument in steps:
        if kind == "statement":
            database.change(*argument)
        elif kind == "snapshot":
            impossible = argument[0] == "truncate" or (partitions > 1 and argument[0] in ("insert", "rename"))
            across = ("update", *argument[1:]) if impossible else argument
            database.take_snapshot(partial(database.change, *across))
        else:
            database.crash(argument)
    changes = as_changes(database.sent)
    history = query(f"FROM {versions('changes', 'users')}", changes)
    assert rows_of(history.filter(pl.col("position_end").is_null())) == database.rows
    for position, rows in database.held:
        then = (pl.col("position") <= position) & (pl.col("position_end") > position).fill_null(True)
        assert rows_of(history.filter(then)) == rows, position


@given(st.lists(STATEMENTS, max_size=15), st.data())
def test_order_of_arrival_does_not_count(statements: list[Any], data: st.DataObject) -> None:
    database = Database(1)
    for statement in statements:
        database.change(*statement)
    shuffled = data.draw(st.permutations(database.sent + database.sent[::2]))
    assert rows_of(query(f"FROM {current('changes', 'users')}", as_changes(shuffled))) == database.rows


def test_a_snapshot_taken_anew_ends_what_was_deleted_unsaid() -> None:
    database = Database(1)
    for key in "abc":
        database.change("insert", key, key, 1, None, False)
    del database.rows["b"]
    database.take_snapshot(lambda: None)
    assert rows_of(query(f"FROM {current('changes', 'users')}", as_changes(database.sent))) == database.rows
    unfinished = as_changes(database.sent).filter(pl.col("snapshot").is_null() | (pl.col("snapshot") != "last"))
    assert set(rows_of(query(f"FROM {current('changes', 'users')}", unfinished))) == {"a", "b", "c"}


def test_an_incremental_snapshot_ends_nothing() -> None:
    database = Database(1)
    for key in "abc":
        database.change("insert", key, key, 1, None, False)
    database.send("r", "a", {"id": "a", "v": 1, "big": None}, "incremental")
    assert rows_of(query(f"FROM {current('changes', 'users')}", as_changes(database.sent))) == database.rows


def test_a_large_value_that_no_change_ever_told_is_null() -> None:
    database = Database(1, rows={"a": {"id": "a", "v": 1, "big": "before all"}})
    database.change("update", "a", "a", 2, None, True)
    assert rows_of(query(f"FROM {current('changes', 'users')}", as_changes(database.sent)))["a"]["big"] is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('"2026-11-21T05:13:13.223781Z"', "2026-11-21 05:13:13.223781+00"),
        ('"2026-11-21T06:13:13+01:00"', "2026-11-21 05:13:13+00"),
        ("1795237996", "2026-11-21 05:13:16+00"),
        ("1795237996016", "2026-11-21 05:13:16.016+00"),
        ("1795237996016054", "2026-11-21 05:13:16.016054+00"),
        ("1795237996016054321", "2026-11-21 05:13:16.016054+00"),
        ("20778", "2026-11-21 00:00:00+00"),
        ('"infinity"', None),
        ('"soon"', None),
        ("123456789012345678901234567890123456789012345", None),
        ("null", None),
        ("true", None),
    ],
)
def test_times_are_read_as_debezium_writes_them(written: str, expected: str | None) -> None:
    row = f"""SELECT '{{"at":{written}}}' AS row"""
    assert query(f"SELECT {moment('at')}::VARCHAR FROM ({row})", as_changes([])).item() == expected
