"""What ClickHouse and PostgreSQL both promise: what was delivered is there once, as the lake's readers see it, whatever was
delivered again, in whichever order, and whoever was killed meanwhile."""

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from neonblue_lab.errors import BadInput, Unavailable
from neonblue_lab.events.enrichment import ENRICHMENT_SCHEMA
from neonblue_lab.lake.tables import Table
from neonblue_lab.sinks.opening import open_sink
from neonblue_lab.sinks.sink import Delivery
from tests.integration.sinks.conftest import TABLES, Frames, Store, comparable, deliveries

CHECKOUT = Path(__file__).resolve().parents[3]
MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rows(table: str, *given: dict[str, Any]) -> pl.DataFrame:
    """Rows in a table's columns; what a row does not state is null."""
    schema = TABLES[table].schema
    return pl.DataFrame([dict.fromkeys(schema) | row for row in given], schema=schema)


def event(event_id: str, offset: int, **stated: Any) -> dict[str, Any]:
    told = {"event_id": event_id, "event_type": "purchase", "topic": "user_events", "timestamp": MOMENT, "partition": 0}
    return {**told, "offset": offset, "event_date": MOMENT.date(), **stated}


def test_readers_see_what_the_lakes_readers_see(
    store: Store, frames: Frames, as_read: Callable[[Frames], Frames]
) -> None:
    for delivery in deliveries(frames):
        store.sink.write(delivery)
    assert {name: store.read(name) for name in frames} == {n: comparable(f) for n, f in as_read(frames).items()}


def test_order_and_repetition_do_not_matter(store: Store, frames: Frames, as_read: Callable[[Frames], Frames]) -> None:
    parts = deliveries(frames) * 2
    random.Random(3).shuffle(parts)
    for number, delivery in enumerate(parts):  # the tokens differ: nothing but the rows themselves tells of repetition
        store.sink.write(Delivery(delivery.table, f"{number}", delivery.frame, delivery.snapshot))
    assert {name: store.read(name) for name in frames} == {n: comparable(f) for n, f in as_read(frames).items()}


def test_the_same_delivery_twice_adds_nothing(store: Store, frames: Frames) -> None:
    first = deliveries(frames)[0]
    store.sink.write(first)
    held = store.count("events")
    store.sink.write(first)
    assert store.count("events") == held == first.frame["event_id"].n_unique()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_rows_with_one_key_the_lakes_choice_stays(
    store: Store, order: tuple[int, int, int], as_read: Callable[[Frames], Frames]
) -> None:
    cell = {"experiment_id": "e", "variant_id": "a", "metric": "m", "kind": "mean", "n": 1}
    exposure = {"experiment_id": "e", "user_id": "u", "variant_id": "a"}
    chapter = {"chunk_id": "1", "position": 0, "kind": "brief", "title": "t", "text": "words"}
    conflicting = {
        "events": [  # sent three times, each time stamped anew, the last time in another month
            event("x", 7, value=1.0, experiment_id="e"),
            event("x", 8, value=2.0, experiment_id="e", timestamp=MOMENT + timedelta(seconds=1)),
            event("x", 3, partition=1, value=3.0, experiment_id="e", timestamp=MOMENT + timedelta(days=40)),
        ],
        "assignments": [exposure | {"first_exposed_at": MOMENT + timedelta(hours=h)} for h in (5, 1, 3)],
        "metric_totals": [
            cell | {"as_of": MOMENT + timedelta(hours=h), "event_id": i, "mean": m}
            for h, i, m in ((1, "a", 0.1), (2, "c", 0.2), (2, "b", 0.3))
        ],
        "documents": [
            chapter | {"document_id": "d", "event_id": i, "updated_at": MOMENT + timedelta(hours=h)}
            for h, i in ((1, "a"), (3, "b"), (2, "c"))
        ],
    }
    for name, stated in conflicting.items():
        for part in order:
            store.sink.write(Delivery(name, f"{name}/{part}", rows(name, stated[part])))
    expected = as_read({n: rows(n, *conflicting[n]) for n in conflicting if n != "documents"})
    seen = {name: store.read(name) for name in conflicting}
    assert seen == {n: comparable(f) for n, f in expected.items()} | {
        "documents": comparable(rows("documents", conflicting["documents"][1]))
    }


def test_rows_with_one_key_may_come_in_one_delivery(store: Store) -> None:
    store.sink.write(Delivery("events", "t", rows("events", event("x", 2, value=2.0), event("x", 1, value=1.0))))
    assert [(row[0], row[8]) for row in store.read("events")] == [("x", 1.0)]


def test_every_change_is_there_once(store: Store) -> None:
    told = {"source_table": "users", "key": '{"user_id":"u"}', "position": 5, "snapshot": False, "topic": "r.p.users"}
    changes = rows(
        "changes",
        told | {"op": "c", "row": '{"user_id":"u"}', "partition": 0, "offset": 1, "committed_at": MOMENT},
        told | {"op": "d", "partition": 0, "offset": 2},
        told | {"op": "t", "key": None, "partition": 1, "offset": 1},
    )
    for token in ("a", "b"):
        store.sink.write(Delivery("changes", token, changes))
    assert store.read("changes") == comparable(changes)


def test_a_snapshot_replaces_the_one_before(store: Store) -> None:
    both = rows("experiments", {"experiment_id": "a", "name": "old"}, {"experiment_id": "b"})
    one = rows(
        "experiments", {"experiment_id": "a", "name": "new", "variants": [{"variant_id": "x", "allocation": 0.5}]}
    )
    store.sink.write(Delivery("experiments", "4", both, snapshot=4))
    store.sink.write(Delivery("experiments", "5", one, snapshot=5))
    store.sink.write(Delivery("experiments", "4", both, snapshot=4))  # by another process that is behind
    assert [row[:2] for row in store.read("experiments")] == [("a", "new")]
    store.sink.write(Delivery("experiments", "6", both.clear(), snapshot=6))
    assert store.read("experiments") == []


def test_a_snapshot_says_which_it_is(store: Store) -> None:
    with pytest.raises(BadInput, match="4 of experiments does not say which version"):
        store.sink.write(Delivery("experiments", "4", rows("experiments", {"experiment_id": "a"})))


def test_a_table_that_has_grown_gets_the_new_column(store: Store) -> None:
    table = TABLES["assignments"]
    grown = {"assignments": Table({**table.schema, "salt": pl.String()})}
    if store.sink.name == "clickhouse":
        grown = {"metric_totals": Table({**TABLES["metric_totals"].schema, "salt": pl.String()})}
    [(name, described)] = grown.items()
    for _ in range(2):
        store.sink.prepare(grown)
    source = "{database}." + (f"{name}_current" if store.sink.name == "clickhouse" else name)
    assert store.select(f"SELECT salt FROM {source}") == []
    assert "salt" in described.schema


def test_events_of_before_enrichment_and_of_after_lie_in_one_table(store: Store) -> None:
    source = "{database}.events"
    older = {name: kind for name, kind in TABLES["events"].schema.items() if name not in ENRICHMENT_SCHEMA}
    if store.sink.name == "clickhouse":
        store.select(f"DROP TABLE {source} SYNC")
    else:
        with psycopg.connect(store.url) as connection:
            connection.execute("DROP TABLE neonblue.events")
    store.sink.prepare({"events": Table(older, TABLES["events"].partition_by)})
    store.sink.write(Delivery("events", "old", rows("events", event("old", 1)).select(*older)))
    store.sink.prepare(TABLES)
    new = event("new", 2) | {"ai_classification": {"priority": "high", "target_servers": ["postgres"], "model": "m@1"}}
    store.sink.write(Delivery("events", "new", rows("events", new)))
    assert store.read("events") == comparable(rows("events", event("old", 1), new))
    priority = "ai_classification.priority" if store.sink.name == "clickhouse" else "ai_classification->>'priority'"
    found = store.select(f"SELECT event_id, {priority} FROM {source} ORDER BY event_id")
    assert found == [("new", "high"), ("old", None)]


def test_null_where_none_can_be_is_refused(store: Store) -> None:
    nameless = rows("events", event("x", 1) | {"event_id": None})
    with pytest.raises(BadInput, match="refused while taking delivery token-9 of events"):
        store.sink.write(Delivery("events", "token-9", nameless))
    assert store.count("events") == 0


def test_texts_of_any_kind_arrive(store: Store) -> None:
    texts = [
        "",
        " ",
        "NULL",
        "\\N",
        "\\.",
        "a,b",
        'say "hi"',
        "line\nbreak\r\n",
        "tab\t",
        "ünï 日本 🦊",
        "\ufffd",
        "'; --",
    ]
    frame = rows("events", *(event(f"e{i}", i, user_id=text) for i, text in enumerate(texts)))
    store.sink.write(Delivery("events", "t", frame))
    assert [row[3] for row in store.read("events")] == [row[3] for row in comparable(frame)]


def test_numbers_of_any_size_arrive(store: Store) -> None:
    values = [0.1, -0.0, 1e-310, 1.7976931348623157e308, 1 / 3, float("inf"), None]
    frame = rows("events", *(event(f"e{i}", i, value=value) for i, value in enumerate(values)))
    store.sink.write(Delivery("events", "t", frame))
    assert store.read("events") == comparable(frame)


def test_prepared_by_several_at_once(store: Store) -> None:
    def prepare(_: int) -> None:
        with closing(open_sink(store.sink.name)) as sink:
            sink.prepare(TABLES)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(prepare, range(4)))


def test_two_writers_of_the_same_rows_at_once(
    store: Store, frames: Frames, as_read: Callable[[Frames], Frames]
) -> None:
    def write(seed: int) -> None:
        parts = deliveries(frames, 4_000)
        random.Random(seed).shuffle(parts)
        with closing(open_sink(store.sink.name)) as sink:
            for delivery in parts:
                sink.write(delivery)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (1, 2)))
    assert {name: store.read(name) for name in frames} == {n: comparable(f) for n, f in as_read(frames).items()}


WRITER = """
import os, signal, sys
import polars as pl
from neonblue_lab.sinks.opening import open_sink
from neonblue_lab.sinks.sink import Delivery

if sys.argv[3] == "before commit":
    import psycopg
    psycopg.Transaction.__exit__ = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sink = open_sink(sys.argv[1])
sink.write(Delivery("events", "events/0", pl.read_parquet(sys.argv[2])))
os.kill(os.getpid(), signal.SIGKILL)  # acknowledged, and nobody has noted it
"""


def write_and_die(store: Store, frame: pl.DataFrame, folder: Path, moment: str) -> None:
    """Write a delivery in a process that is killed at that moment."""
    frame.write_parquet(folder / "events.parquet")
    command = [sys.executable, "-c", WRITER, store.sink.name, str(folder / "events.parquet"), moment]
    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def test_killed_between_the_write_and_its_bookkeeping(store: Store, frames: Frames, tmp_path: Path) -> None:
    frame = frames["events"].head(5_000)
    write_and_die(store, frame, tmp_path, "after")
    held = store.count("events")
    assert held == frame["event_id"].n_unique()
    store.sink.write(Delivery("events", "events/0", frame))
    assert store.count("events") == held


def test_killed_just_before_commit(postgres_store: Store, frames: Frames, tmp_path: Path) -> None:
    frame = frames["events"].head(5_000)
    write_and_die(postgres_store, frame, tmp_path, "before commit")
    assert postgres_store.count("events") == 0
    postgres_store.sink.write(Delivery("events", "events/0", frame))
    assert postgres_store.count("events") == frame["event_id"].n_unique()


def test_a_store_killed_in_the_middle_of_writes(
    store: Store, frames: Frames, as_read: Callable[[Frames], Frames]
) -> None:
    chance, parts = random.Random(11), deliveries(frames, 1_000)
    fatal = set(chance.sample(range(len(parts)), 6))
    for number, delivery in enumerate(parts):
        if number in fatal:
            kill = threading.Timer(chance.uniform(0, 0.02), store.server.kill)
            kill.start()
            with suppress(Unavailable):  # where the kill meets the write on its way
                store.sink.write(delivery)
            kill.join()
            with pytest.raises(Unavailable, match=f"failed while taking delivery {delivery.token} of {delivery.table}"):
                store.sink.write(delivery)
            assert not store.sink.health().ok
            store.server.restart()
            assert store.sink.health().ok
        store.sink.write(delivery)
    assert {name: store.read(name) for name in frames} == {n: comparable(f) for n, f in as_read(frames).items()}


def test_health_says_what_answers(store: Store) -> None:
    health = store.sink.health()
    assert health.ok
    assert health.latency_ms is not None
    assert health.latency_ms > 0
    assert store.sink.address in health.message
