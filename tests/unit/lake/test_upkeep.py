"""Upkeep changes files and no row: whatever is merged or deleted, every version that counts reads as before."""

import os
import time
from datetime import UTC, datetime, timedelta
from math import log2
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from neonblue_lab.errors import BadInput, Conflict, Corrupt, NotFound
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.rewriting import Part, alone, parts, put_in_place, scan, write
from neonblue_lab.lake.tables import RAW, raw_table
from neonblue_lab.lake.upkeep import SHORTEST_WINDOW, compact, mergeable, vacuum

DAY = timedelta(days=1)
RAW_TABLE = raw_table("clicks")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "a lake, 100% é")


def records(start: int, count: int = 10, day: int = 1) -> pl.DataFrame:
    stored = datetime(2026, 3, day, 12, tzinfo=UTC)
    return pl.DataFrame(
        {
            "topic": "clicks",
            "partition": [offset % 3 for offset in range(start, start + count)],
            "offset": range(start, start + count),
            "timestamp": [stored + timedelta(seconds=offset) for offset in range(start, start + count)],
            "key": None,
            "value": [b"value %d" % offset for offset in range(start, start + count)],
            "headers": [[{"key": "n", "value": b"1"}]] * count,
            "ingested_at": stored,
            "ingest_date": stored.date(),
        },
        schema=RAW.schema,
    )


def store(lake: Lake, start: int, count: int = 10, day: int = 1) -> None:
    table = lake.ensure(RAW_TABLE)
    lake.commit(table, records(start, count, day), marks={"clicks/0": start + count})


def rows(lake: Lake, version: int | None = None, name: str = RAW_TABLE) -> pl.DataFrame:
    return lake.read(name, version=version).sort("offset")


def data_files(lake: Lake, name: str = RAW_TABLE) -> set[str]:
    return {
        path.relative_to(lake.path / name).as_posix() for path in (lake.path / name).glob("ingest_date=*/*.parquet")
    }


def grow_old(lake: Lake, age: timedelta) -> None:
    """Let all that lies in the lake be written so long ago."""
    then = time.time() - age.total_seconds()
    for file in lake.path.rglob("*"):
        os.utime(file, (then, then))


def test_small_files_become_one_per_partition_and_nothing_else_changes(lake: Lake) -> None:
    for i in range(6):
        store(lake, 10 * i, day=1 + i % 2)
    before = lake.open(RAW_TABLE).version()
    report = compact(lake)
    (merged,) = report.tables
    assert (merged.table, merged.files_before, merged.files_after, merged.merged, merged.rows) == (
        RAW_TABLE,
        6,
        2,
        6,
        60,
    )
    assert (merged.bytes_before, merged.bytes_after) == tuple(
        sum(part.bytes for part in parts(RAW_TABLE, lake.open(RAW_TABLE, version))) for version in (before, None)
    )
    assert f"{RAW_TABLE}: 6 -> 2 files" in str(report)
    assert_frame_equal(rows(lake), rows(lake, before))
    assert report.to_dict()["tables"][0]["rows"] == 60
    again = compact(lake)
    assert (again.tables, str(again)) == ((), "Nothing to merge.")
    assert compact(Lake(lake.path / "none")).tables == ()


def test_rows_keep_the_order_in_which_they_were_written(lake: Lake) -> None:
    for i in (3, 0, 2, 1):
        store(lake, 10 * i)
        time.sleep(0.002)  # the order is told by milliseconds
    compact(lake)
    assert lake.read(RAW_TABLE)["offset"].to_list() == [10 * i + k for i in (3, 0, 2, 1) for k in range(10)]


def test_readers_can_still_pass_over_files(lake: Lake) -> None:
    for i in range(4):
        store(lake, 10 * i)
    compact(lake)
    (file,) = pl.DataFrame(lake.open(RAW_TABLE).get_add_actions(flatten=True)).to_dicts()
    assert (file["num_records"], file["min.offset"], file["max.offset"]) == (40, 0, 39)
    assert (file["min.partition"], file["max.partition"], file["null_count.offset"]) == (0, 2, 0)
    assert file["min.timestamp"] == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert file["max.timestamp"] == datetime(2026, 3, 1, 12, 0, 39, tzinfo=UTC)


def test_marks_survive_compaction_checkpoint_and_vacuum(lake: Lake) -> None:
    for i in range(5):
        store(lake, 10 * i)
    compact(lake)
    lake.open(RAW_TABLE).create_checkpoint()
    grow_old(lake, 30 * DAY)
    assert vacuum(lake, keep={}).tables[0].files == 5
    assert lake.open(RAW_TABLE).transaction_version("clicks/0") == 50
    store(lake, 50)
    assert rows(lake)["offset"].to_list() == list(range(60))


def test_tables_whose_writer_replaces_all_rows_are_left_to_it(lake: Lake) -> None:
    lake.ensure_derived()
    for _ in range(3):
        lake.commit(lake.open("experiments"), lake.read("experiments").clear())
    assert compact(lake).tables == ()


def test_a_table_that_is_not_there_and_sizes_that_mean_nothing_are_refused(lake: Lake) -> None:
    store(lake, 0)
    with pytest.raises(NotFound, match="nothing-here"):
        compact(lake, ["nothing-here"])
    for wrong in ({"target_bytes": 0}, {"min_files": 1}):
        with pytest.raises(BadInput, match="at least 2 files and 1 byte"):
            compact(lake, **wrong)


def test_one_process_at_a_time_keeps_up_a_lake(lake: Lake) -> None:
    for i in range(3):
        store(lake, 10 * i)
    with alone(lake):
        report = compact(lake)
        assert report.tables == ()
        assert "Nothing was merged" in str(report)
        with pytest.raises(Conflict, match="locked"):
            vacuum(lake, keep={})
    assert compact(lake).tables[0].files_after == 1


def merge(lake: Lake, table: DeltaTable) -> None:
    old = parts(RAW_TABLE, table)
    put_in_place(lake, RAW_TABLE, table, [write(lake, RAW_TABLE, scan(lake, RAW_TABLE, old), old[0].values)], old)


def test_of_two_that_merge_the_same_files_one_does_and_rows_are_there_once(lake: Lake) -> None:
    for i in range(3):
        store(lake, 10 * i)
    first, second = lake.open(RAW_TABLE), lake.open(RAW_TABLE)
    merge(lake, first)
    there = data_files(lake)
    with pytest.raises(Conflict, match=RAW_TABLE):
        merge(lake, second)
    assert rows(lake)["offset"].to_list() == list(range(30))
    assert data_files(lake) == there


def test_a_writer_that_is_under_way_is_not_disturbed(lake: Lake) -> None:
    for i in range(3):
        store(lake, 10 * i)
    writer = lake.open(RAW_TABLE)
    compact(lake)
    lake.commit(writer, records(30), marks={"clicks/0": 40})
    upkeep = lake.open(RAW_TABLE)
    store(lake, 40)
    merge(lake, upkeep)
    assert rows(lake)["offset"].to_list() == list(range(50))


FILES = st.lists(st.tuples(st.integers(1, 500), st.sampled_from("ab")), max_size=60).map(
    lambda sizes: [Part(f"{n}", size, size, {"day": day}, n) for n, (size, day) in enumerate(sizes)]
)


@given(FILES, st.integers(1, 400), st.integers(2, 20))
def test_groups_are_of_one_partition_within_the_target_and_worth_it(
    files: list[Part], target: int, min_files: int
) -> None:
    groups = list(mergeable(files, target, min_files))
    named = [file.path for group in groups for file in group]
    assert len(named) == len(set(named))
    for group in groups:
        assert len({file.values["day"] for file in group}) == 1
        assert len(group) > 1
        assert sum(file.bytes for file in group) <= target
        assert [file.written for file in group] == sorted(file.written for file in group)


@given(st.integers(1, 900), st.integers(2, 20))
def test_a_growing_table_has_few_files_and_rewrites_each_byte_few_times(commits: int, min_files: int) -> None:
    files: list[Part] = []
    rewritten = most = 0
    for n in range(commits):
        files.append(Part(f"{n}", 1, 1, {}, n))
        for group in list(mergeable(files, 10**9, min_files)):
            size = sum(file.bytes for file in group)
            rewritten += size
            files = [file for file in files if file not in group] + [Part(f"m{n}", size, size, {}, n)]
        most = max(most, len(files))
    assert sum(file.bytes for file in files) == commits
    assert rewritten <= commits * (1 + log2(max(1.0, commits / min_files)))
    assert most <= min_files + log2(commits) + 1


def test_what_was_replaced_is_deleted_after_the_window(lake: Lake) -> None:
    for i in range(4):
        store(lake, 10 * i)
    compact(lake)
    report = vacuum(lake, keep={})
    assert [(t.files, t.kept_files) for t in report.tables] == [(0, 4)]
    grow_old(lake, 6 * DAY)
    assert vacuum(lake, keep={}).tables[0].files == 0
    grow_old(lake, 8 * DAY)
    version, there = lake.open(RAW_TABLE).version(), data_files(lake)
    promised = vacuum(lake, keep={}, dry_run=True)
    assert data_files(lake) == there
    assert (promised.dry_run, promised.tables[0].files, promised.tables[0].orphans) == (True, 4, 0)
    assert "4 files" in str(promised)
    assert "to delete" in str(promised)
    done = vacuum(lake, keep={})
    assert done.tables == promised.tables
    assert (len(data_files(lake)), lake.open(RAW_TABLE).version()) == (1, version)
    assert rows(lake)["offset"].to_list() == list(range(40))
    assert str(vacuum(lake, keep={})) == "Nothing to delete."
    assert done.to_dict()["tables"][0]["kept_files"] == 0


def test_the_window_counts_from_the_replacement_not_from_the_writing(lake: Lake) -> None:
    for i in range(4):
        store(lake, 10 * i)
    grow_old(lake, 30 * DAY)
    compact(lake)
    assert vacuum(lake, keep={}).tables[0].files == 0
    assert rows(lake, 4)["offset"].to_list() == list(range(40))


def test_versions_that_are_named_stay_readable(lake: Lake) -> None:
    for i in range(4):
        store(lake, 10 * i)
    compact(lake)
    grow_old(lake, 30 * DAY)
    report = vacuum(lake, keep={RAW_TABLE: {2}})
    assert [(t.files, t.kept_files) for t in report.tables] == [(2, 2)]
    assert rows(lake, 2)["offset"].to_list() == list(range(20))


def test_what_dead_writers_left_goes_after_the_window(lake: Lake) -> None:
    store(lake, 0)
    write(lake, RAW_TABLE, records(10).lazy().drop("ingest_date"), {"ingest_date": "2026-03-01"})
    assert vacuum(lake, keep={}).tables[0].files == 0
    grow_old(lake, 8 * DAY)
    report = vacuum(lake, keep={})
    assert (report.tables[0].files, report.tables[0].orphans) == (1, 1)
    assert "1 of them left by writers that died" in str(report)
    assert rows(lake)["offset"].to_list() == list(range(10))


def test_versions_that_never_were_are_told(lake: Lake) -> None:
    store(lake, 0)
    report = vacuum(lake, keep={RAW_TABLE: {99}, "gone": {1}})
    assert report.notes == (
        "There is no table gone, of which versions were to be kept.",
        f"{RAW_TABLE} has no version 99: the newest is 1.",
    )


def test_a_window_that_could_hit_a_writer_is_refused(lake: Lake) -> None:
    with pytest.raises(BadInput, match="1:00:00 or more"):
        vacuum(lake, keep={}, window=SHORTEST_WINDOW / 2)


def test_a_log_with_a_gap_loses_nothing(lake: Lake) -> None:
    for i in range(4):
        store(lake, 10 * i)
    compact(lake)
    lake.open(RAW_TABLE).create_checkpoint()
    (lake.path / RAW_TABLE / "_delta_log" / f"{1:020}.json").unlink()
    grow_old(lake, 30 * DAY)
    there = data_files(lake)
    with pytest.raises(Corrupt, match="version 1 is missing"):
        vacuum(lake, keep={})
    assert data_files(lake) == there


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["store", "store", "merge"]), min_size=2, max_size=9),
    st.sets(st.integers(0, 9), max_size=3),
)
def test_whatever_happened_a_vacuum_keeps_what_is_needed_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], keep: set[int]
) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    store(lake, 0)
    for i, step in enumerate(steps, 1):
        if step == "store":
            store(lake, 10 * i, day=1 + i % 2)
        else:
            compact(lake)
    newest = lake.open(RAW_TABLE).version()
    readable = {version for version in keep if version <= newest} | {newest}
    before = {version: rows(lake, version) for version in readable}
    needed = {part.path for version in readable for part in parts(RAW_TABLE, lake.open(RAW_TABLE, version))}
    grow_old(lake, 30 * DAY)
    vacuum(lake, keep={RAW_TABLE: keep})
    assert data_files(lake) == needed
    for version, frame in before.items():
        assert_frame_equal(rows(lake, version), frame)
