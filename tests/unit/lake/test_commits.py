"""A table is followed by version: what each commit added, once, in an order that never changes."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neonblue_lab.errors import Conflict, NotFound
from neonblue_lab.lake import commits as followed
from neonblue_lab.lake.commits import DataFile, commits, newest_version, read_slices, snapshot
from neonblue_lab.lake.lake import Lake

DAYS = [datetime(2026, 5, day, 12, tzinfo=UTC) for day in (1, 2, 3)]


def add_events(lake: Lake, *ids: str) -> None:
    """One commit of an event per id, over three days."""
    schema = lake.read("events").schema
    rows = [
        dict.fromkeys(schema)
        | {"event_id": id, "event_type": "click", "topic": "user_events", "partition": 0, "offset": i}
        | {"timestamp": DAYS[i % 3], "event_date": DAYS[i % 3].date()}
        for i, id in enumerate(ids)
    ]
    lake.append("events", pl.DataFrame(rows, schema=schema))


def rows_of(files: tuple[DataFile, ...]) -> pl.DataFrame:
    return pl.concat([frame for file in files for frame in read_slices("events", file)])


@pytest.fixture
def lake(lake_of: Callable[..., Lake]) -> Lake:
    return lake_of()


def test_each_commit_tells_the_rows_that_it_added(lake: Lake) -> None:
    add_events(lake, "a", "b", "c", "d")
    add_events(lake, "e")
    created, first, second = commits(lake, "events", -1)
    assert (created.version, created.rows, created.data_change) == (0, 0, False)
    assert (first.version, first.rows, first.data_change, first.overwrite) == (1, 4, True, False)
    assert {file.partition["event_date"] for file in first.files} == {"2026-05-01", "2026-05-02", "2026-05-03"}
    assert_frame_equal(
        rows_of((*first.files, *second.files)).sort("event_id"), lake.read("events").sort("event_id"), check_exact=True
    )
    assert first.committed_at <= second.committed_at <= datetime.now(UTC).timestamp() + 1
    assert [commit.version for commit in commits(lake, "events", 0, 1)] == [1]
    assert newest_version(lake, "events", 0) == 2


def test_a_compaction_adds_nothing_and_tells_that_files_went(lake: Lake) -> None:
    add_events(lake, "a")
    add_events(lake, "b")
    lake.open("events").optimize.compact()
    compaction = next(commits(lake, "events", 2))
    assert (compaction.rows, compaction.files, compaction.data_change, compaction.overwrite) == (0, (), False, False)
    assert compaction.removes
    assert rows_of(snapshot(lake, "events", 3)).height == 2


def test_what_a_deletion_writes_again_was_there_before(lake: Lake) -> None:
    add_events(lake, "a", "x", "y", "b")  # a and b share a day, and so a file
    lake.open("events").delete("event_id = 'a'")
    deletion = next(commits(lake, "events", 1))
    assert (deletion.rows, deletion.data_change, deletion.overwrite, deletion.removes) == (0, True, True, True)
    assert sorted(rows_of(snapshot(lake, "events", 2))["event_id"]) == ["b", "x", "y"]


def test_an_overwrite_is_told_from_an_append(lake: Lake) -> None:
    for names in (["one"], ["two", "three"]):
        schema = lake.read("experiments").schema
        rows = pl.DataFrame([dict.fromkeys(schema) | {"experiment_id": name} for name in names], schema=schema)
        lake.commit(lake.open("experiments"), rows, mode="overwrite")
    first, second = list(commits(lake, "experiments", 0))
    assert (first.overwrite, second.overwrite, second.rows) == (False, True, 2)


def test_slices_are_the_file_in_order(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    add_events(lake, *(f"e{i:03}" for i in range(30)))
    (file,) = [file for file in snapshot(lake, "events", 1) if file.partition["event_date"] == "2026-05-02"]
    whole = pl.concat(list(read_slices("events", file)))
    for rows in (1, 3, 10, 11):
        monkeypatch.setattr(followed, "SLICE_ROWS", rows)
        slices = list(read_slices("events", file))
        assert max(part.height for part in slices) <= rows
        assert_frame_equal(pl.concat(slices), whole)
    assert whole["event_id"].to_list() == [f"e{i:03}" for i in range(1, 30, 3)]
    assert whole["event_date"].unique().to_list() == [date(2026, 5, 2)]


def test_columns_that_a_file_is_older_than_are_null(lake: Lake) -> None:
    add_events(lake, "a")
    columns = lake.read("events").columns
    (file,) = snapshot(lake, "events", 1)
    pl.read_parquet(file.path).drop("session_id").write_parquet(file.path)
    (frame,) = read_slices("events", file)
    assert frame.columns == columns
    assert frame["session_id"].to_list() == [None]


def test_paths_with_unusual_characters(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "a b'é#?")
    lake.ensure_derived()
    add_events(lake, "a")
    assert rows_of(snapshot(lake, "events", 1))["event_id"].to_list() == ["a"]
    assert rows_of(next(commits(lake, "events", 0)).files)["event_id"].to_list() == ["a"]


def test_what_is_gone_is_named(lake: Lake) -> None:
    add_events(lake, "a")
    add_events(lake, "b")
    (first, second) = list(commits(lake, "events", 0))
    first.files[0].path.unlink()
    with pytest.raises(NotFound, match=first.files[0].path.name):
        rows_of(first.files)
    log = lake.path / "events" / "_delta_log" / f"{1:020}.json"
    log.rename(log.with_suffix(".gone"))
    with pytest.raises(NotFound, match="version 1 of table events is not there"):
        list(commits(lake, "events", 0, 2))
    assert [commit.version for commit in commits(lake, "events", 1, 2)] == [second.version]


def test_a_table_that_was_put_back_is_told(lake: Lake) -> None:
    add_events(lake, "a")
    with pytest.raises(Conflict, match="at version 1, and was at 7 before"):
        list(commits(lake, "events", 7))
    with pytest.raises(NotFound):
        list(commits(lake, "no_such_table", -1))
