"""A lake keeps what is written, at every version, wherever it lies and whoever else writes."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neonblue_lab.errors import BadInput, Conflict, NotFound
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import DERIVED, RAW, TABLES, raw_table


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def rows(*names: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "experiment_id": names,
            "user_id": "u",
            "variant_id": "a",
            "first_exposed_at": datetime(2026, 3, 2, tzinfo=UTC),
        },
        schema=DERIVED["assignments"].schema,
    )


def names(lake: Lake, version: int | None = None) -> list[str]:
    return lake.read("assignments", ["experiment_id"], version=version)["experiment_id"].sort().to_list()


def at_once(*works: Callable[[], object]) -> list[object]:
    """The results of works that start at the same moment, each in a thread; an exception is a result."""
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> object:
        gate.wait()
        try:
            return work()
        except Exception as error:  # noqa: BLE001
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def test_opening_makes_nothing(lake: Lake) -> None:
    assert lake.names() == []
    assert lake.topics() == []
    assert lake.versions() == {}
    assert lake.pin() == {}
    assert lake.status() == {}
    assert lake.overview().is_empty()
    for name, table in TABLES.items():
        assert_frame_equal(lake.read(name), pl.DataFrame(schema=table.schema))
    assert not lake.path.exists()


def test_every_table_has_its_columns_from_the_start(lake: Lake) -> None:
    lake.ensure_derived()
    lake.ensure(raw_table("a.topic-1"))
    assert lake.names() == sorted([*DERIVED, "raw/a.topic-1"])
    assert lake.topics() == ["a.topic-1"]
    for name, table in DERIVED.items():
        assert_frame_equal(lake.read(name), pl.DataFrame(schema=table.schema))
    assert lake.read("raw/a.topic-1").schema == pl.Schema(RAW.schema)


def test_many_create_a_table_at_once_and_all_write_to_it(lake: Lake) -> None:
    for round_ in range(5):
        lakes = [Lake(lake.path / str(round_)) for _ in range(8)]
        outcomes = at_once(
            *(lambda i=i, own=own: own.append("assignments", rows(f"x{i}")) for i, own in enumerate(lakes))
        )
        assert outcomes == [None] * 8
        assert names(lakes[0]) == [f"x{i}" for i in range(8)]


@pytest.mark.parametrize(
    "wrong",
    [
        rows("x").drop("user_id"),
        rows("x").with_columns(more=1),
        rows("x").rename({"user_id": "user"}),
        rows("x").with_columns(pl.col("first_exposed_at").dt.replace_time_zone(None)),
        rows("x").with_columns(user_id=1),
    ],
)
def test_rows_with_other_columns_are_refused(lake: Lake, wrong: pl.DataFrame) -> None:
    with pytest.raises(BadInput, match="assignments"):
        lake.append("assignments", wrong)
    assert names(lake) == []


def test_columns_in_another_order_are_the_same_columns(lake: Lake) -> None:
    lake.append("assignments", rows("x").select("variant_id", "first_exposed_at", "user_id", "experiment_id"))
    assert_frame_equal(lake.read("assignments"), rows("x"))


def test_what_was_written_is_read(lake: Lake) -> None:
    vectors = pl.DataFrame(
        {"embedder": ["m", "m"], "text_sha256": [b"\x00\xff", b""], "vector": [[0.25, -1.0], []]},
        schema=TABLES["vectors"].schema,
    )
    lake.append("vectors", vectors)
    assert_frame_equal(lake.read("vectors"), vectors)
    assert_frame_equal(lake.read("vectors", ["vector"], pl.col("text_sha256") == b""), vectors[1:].select("vector"))


def test_a_partition_column_comes_back_with_its_type(lake: Lake) -> None:
    moment = datetime(2026, 3, 2, 23, 59, tzinfo=UTC)
    event = {"event_id": "e", "event_type": "x", "topic": "t", "timestamp": moment, "partition": 0, "offset": 0}
    frame = pl.DataFrame([event | {"event_date": date(2026, 3, 2)}], schema=DERIVED["events"].schema)
    lake.append("events", frame)
    assert_frame_equal(lake.read("events"), frame, check_column_order=False)


def test_versions_stay_as_they_were(lake: Lake) -> None:
    lake.append("assignments", rows("x"))
    pins = lake.pin()
    assert {name: pin.version for name, pin in pins.items()} == lake.versions() == {"assignments": 1}
    lake.append("assignments", rows("y"))
    lake.commit(lake.open("assignments"), rows("z"), mode="overwrite")
    assert [names(lake, version) for version in range(4)] == [[], ["x"], ["x", "y"], ["z"]]
    assert lake.pin({"assignments": 1}) == pins
    assert pl.read_parquet(pins["assignments"].files)["experiment_id"].to_list() == ["x"]
    assert lake.pin()["assignments"].version == 3


def test_versions_outlive_checkpoints_and_months(lake: Lake) -> None:
    table = lake.ensure("assignments")
    lake.commit(table, rows("first"), marks={"t/0": 7})
    while table.version() < 102:
        lake.commit(table, rows("x"))
    long_ago = time.time() - 400 * 86_400
    for entry in (lake.path / "assignments" / "_delta_log").iterdir():
        os.utime(entry, (long_ago, long_ago))
    while table.version() < 202:
        lake.commit(table, rows("x"))
    assert len(list((lake.path / "assignments" / "_delta_log").glob("*.checkpoint.parquet"))) == 2
    assert names(lake, 1) == ["first"]
    reopened = lake.open("assignments")
    assert reopened.transaction_version("t/0") == 7
    assert lake.status()["assignments"].rows == 202


def test_what_is_not_there_is_named(lake: Lake) -> None:
    with pytest.raises(NotFound, match="no table events; `neonblue replay` fills it"):
        lake.open("events")
    with pytest.raises(NotFound, match="no table events"):
        lake.pin({"events": 0})
    with pytest.raises(NotFound, match="no table events"):
        lake.read("events", version=0)
    lake.ensure("events")
    with pytest.raises(NotFound, match=r"events .* version 5"):
        lake.open("events", 5)
    with pytest.raises(NotFound, match=r"events .* version 5"):
        lake.pin({"events": 5})


def test_status_counts_the_current_version(lake: Lake) -> None:
    lake.append("assignments", rows("x", "y"))
    lake.append("assignments", rows("z"))
    lake.ensure("events")
    status = lake.status()
    files = list((lake.path / "assignments").glob("*.parquet"))
    assert (status["assignments"].version, status["assignments"].rows, status["assignments"].files) == (2, 3, 2)
    assert status["assignments"].bytes == sum(file.stat().st_size for file in files)
    assert (status["events"].version, status["events"].rows, status["events"].files, status["events"].bytes) == (
        0,
        0,
        0,
        0,
    )
    assert lake.overview()["table"].to_list() == ["assignments", "events"]


def test_of_two_writers_of_one_mark_the_second_is_refused(lake: Lake) -> None:
    first = lake.ensure("assignments")
    second = lake.open("assignments")
    lake.commit(first, rows("x"), marks={"t/0": 5})
    with pytest.raises(Conflict, match="Nothing was written"):
        lake.commit(second, rows("x"), marks={"t/0": 5})
    assert names(lake) == ["x"]


def test_writers_of_different_marks_do_not_hinder_each_other(lake: Lake) -> None:
    lake.ensure("assignments")
    outcomes = at_once(
        *(
            lambda i=i: [
                lake.commit(lake.open("assignments"), rows(f"x{i}-{n}"), marks={f"t/{i}": n + 1}) for n in range(5)
            ]
            for i in range(4)
        )
    )
    assert outcomes == [[None] * 5] * 4
    assert names(lake) == sorted(f"x{i}-{n}" for i in range(4) for n in range(5))
    table = lake.open("assignments")
    assert [table.transaction_version(f"t/{i}") for i in range(4)] == [5] * 4


@pytest.mark.parametrize(
    "name", ["two words", "Größe", "雪", "100%", "50% off", "a#b", "what?", "it's", "a&b=c;d", "*", "~{x}"]
)
def test_a_lake_lies_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    lake = Lake(tmp_path / name / "lake")
    lake.append("assignments", rows("x"))
    lake.ensure("events")
    assert names(lake) == ["x"]
    assert names(lake, 1) == ["x"]
    assert lake.names() == ["assignments", "events"]
    assert all(Path(file).is_file() for file in lake.pin()["assignments"].files)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a%20b", "a%2Fb", "a[1]", "a^b", "a|b", "a\\b", "a\nb"])
def test_a_name_that_would_become_another_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="cannot lie in"):
        Lake(tmp_path / name).ensure("events")
    with pytest.raises(BadInput, match="cannot lie in"):
        Lake(tmp_path / "lake").ensure(raw_table(name))
    assert not list(tmp_path.rglob("_delta_log"))


def test_a_folder_above_that_looks_like_a_partition_is_none(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "event_date=2020-01-01" / "a=b" / "lake")
    moment = datetime(2026, 3, 2, 23, 59, tzinfo=UTC)
    event = {"event_id": "e", "event_type": "x", "topic": "t", "timestamp": moment, "partition": 0, "offset": 7}
    frame = pl.DataFrame([event | {"event_date": date(2026, 3, 2)}], schema=DERIVED["events"].schema)
    lake.append("events", frame)
    assert_frame_equal(lake.read("events"), frame)
    table = lake.open("events")
    for only, rows in ((pl.col("max.offset") >= 8, 0), (pl.col("partition.event_date") == date(2026, 3, 2), 1)):
        assert lake.scan("events", table, only).collect().height == rows
