"""The faults of benchmarks/faults.py, a few times each: nothing is lost, nothing is doubled, and the user is told clearly."""

from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from benchmarks.fault_cases.scene import DONE, Scene, Size
from benchmarks.faults import suffer
from tests.services.kafka_broker import KafkaBroker

QUICK = Size(kills=4, times=1, records=2_000, commits=200)
FAULTS = (
    "killed-while-replaying",
    "killed-while-following",
    "broker-killed-while-following",
    "partition-added",
    "log-truncated",
    "log-truncated-where-nothing-was",
    "log-truncated-while-following",
    "topic-made-anew-while-following",
    "disk-full-while-replaying",
    "clock-backwards",
    "two-replays",
    "two-in-a-group",
    "restarted-on-an-old-lake",
)


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_loses_and_doubles_nothing(fault: str, kafka: KafkaBroker, tmp_path: Path) -> None:
    outcome = suffer(fault, kafka, tmp_path, QUICK)
    if outcome.times == 0:
        pytest.skip(outcome.seen)
    assert (outcome.lost, outcome.doubled, outcome.flaws) == (0, 0, ())


@pytest.fixture(scope="module")
def whole(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A lake that lacks nothing."""
    scene = Scene(kafka, tmp_path_factory.mktemp("audited"))
    scene.topic.produce(2_000)
    assert scene.replay().code == DONE
    audit = scene.topic.audit(scene.home)
    assert (audit.lost, audit.doubled) == ({}, {})
    return scene


@pytest.mark.parametrize("table", ["raw", "dead_letters", "events", "assignments", "metric_totals"])
def test_audit_sees_a_row_that_is_gone(whole: Scene, table: str) -> None:
    opened = DeltaTable(stored(whole, table))
    before = opened.version()
    try:
        drop_one(opened, table)
        audit = whole.topic.audit(whole.home)
    finally:
        opened.restore(before)
    assert (audit.lost, audit.doubled) == ({table: 1}, {})


@pytest.mark.parametrize("table", ["raw", "dead_letters"])
def test_audit_sees_a_row_twice_and_a_byte_changed(whole: Scene, table: str) -> None:
    opened = DeltaTable(stored(whole, table))
    before = opened.version()
    row = pl.read_delta(str(stored(whole, table))).filter(pl.col("value").bin.size() > 0).head(1)
    try:
        write_deltalake(opened, row.to_arrow(), mode="append")
        twice = whole.topic.audit(whole.home)
        opened.restore(before)
        drop_one(opened, table, row)
        changed = row.with_columns(value=pl.lit(row["value"].item() + b"\x00"))
        write_deltalake(opened, changed.to_arrow(), mode="append")
        damaged = whole.topic.audit(whole.home)
    finally:
        opened.restore(before)
    assert (twice.lost, twice.doubled) == ({}, {table: 1})
    assert (damaged.lost, damaged.doubled) == ({table: 1}, {table: 1})


def stored(scene: Scene, table: str) -> Path:
    return scene.home / "lake" / (f"raw/{scene.topic.name}" if table == "raw" else table)


def drop_one(table: DeltaTable, name: str, row: pl.DataFrame | None = None) -> None:
    """Delete one row that is the only one of its kind."""
    if name in ("raw", "dead_letters"):
        chosen = row if row is not None else pl.read_delta(table.table_uri).head(1)
        partition, offset = chosen.select("partition", "offset").row(0)
        table.delete(f'partition = {partition} AND "offset" = {offset}')
        return
    frame = pl.read_delta(table.table_uri)
    keys = ["experiment_id", "user_id", "variant_id"] if name == "assignments" else ["event_id"]
    if name == "events":  # one that only counts as an event
        frame = frame.filter(pl.col("event_type") == "click")
    (chosen_keys,) = frame.select(keys).head(1).rows()
    table.delete(" AND ".join(f"{key} = '{value}'" for key, value in zip(keys, chosen_keys, strict=True)))
