"""An archive that is followed gives what it holds and then every file that is added, once and in order."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from neonblue_lab.errors import BadInput, Conflict, NotFound
from neonblue_lab.events.records import OffsetsGone, RecordBatch
from neonblue_lab.topics.archive import write_archive
from neonblue_lab.topics.sources import open_live, open_source
from tests.services.frames import numbered

T = "t"


def following(
    path: Path, position: dict[int, int] | None = None, stop: threading.Event | None = None
) -> Iterator[RecordBatch | None]:
    live = open_live(str(path), topics=[T], batch_records=7)
    marks = position or {}
    return live.follow([T], lambda topic, p: marks.get(p, 0), stop=stop or threading.Event(), linger=0.01)


def until_idle(batches: Iterator[RecordBatch | None]) -> list[tuple[int, int]]:
    """Where the records lie that come before the next silence."""
    found: list[tuple[int, int]] = []
    while (batch := next(batches)) is not None:
        found += batch.frame.select("partition", "offset").rows()
    return found


def test_files_that_are_added_are_read_on(tmp_path: Path) -> None:
    write_archive(tmp_path, [RecordBatch(T, numbered(T, 9))])
    stop = threading.Event()
    batches = following(tmp_path, {0: 2, 1: 3}, stop)
    assert until_idle(batches) == [(2, 0), (2, 1), (0, 2), (2, 2)]
    assert until_idle(batches) == []
    write_archive(tmp_path, [RecordBatch(T, numbered(T, 4))])
    write_archive(tmp_path, [RecordBatch(T, numbered(T, 1))])
    assert sorted(until_idle(batches)) == [(0, 3), (0, 4), (0, 5), (1, 3), (2, 3)]
    stop.set()
    assert next(batches, "the end") == "the end"


def test_lines_are_counted_over_all_files(tmp_path: Path) -> None:
    (tmp_path / T).mkdir()
    live = open_live(str(tmp_path), topics=[T])
    batches = live.follow([T], lambda topic, p: 1, stop=threading.Event(), linger=0.01)
    assert until_idle(batches) == []
    (tmp_path / T / "a.ndjson").write_bytes(b"0\n1\n2")
    assert until_idle(batches) == [(0, 1), (0, 2)]
    (tmp_path / T / "b.ndjson").write_bytes(b"3\n4\n")
    batch = next(batches)
    assert batch is not None
    assert batch.frame.select("offset", "value").rows() == [(3, b"3"), (4, b"4")]
    assert live.end_offsets(T) == {0: 5}


def test_a_file_before_those_that_were_read_is_a_conflict(tmp_path: Path) -> None:
    (tmp_path / T).mkdir()
    (tmp_path / T / "b.ndjson").write_bytes(b"0\n")
    batches = following(tmp_path)
    until_idle(batches)
    (tmp_path / T / "a.ndjson").write_bytes(b"1\n")
    with pytest.raises(Conflict, match=r"a\.ndjson was put before files that were read"):
        until_idle(batches)


def test_a_file_that_goes_away_is_a_conflict(tmp_path: Path) -> None:
    (tmp_path / T).mkdir()
    (tmp_path / T / "b.ndjson").write_bytes(b"0\n")
    batches = following(tmp_path)
    until_idle(batches)
    (tmp_path / T / "b.ndjson").unlink()
    with pytest.raises(Conflict, match=r"b\.ndjson was removed"):
        until_idle(batches)


def test_a_position_that_is_no_longer_there_is_said(tmp_path: Path) -> None:
    write_archive(tmp_path, [RecordBatch(T, numbered(T, 30))])
    write_archive(tmp_path, [RecordBatch(T, numbered(T, 30))])
    (tmp_path / T / "part-00000.parquet").unlink()
    with pytest.raises(OffsetsGone) as caught:
        until_idle(following(tmp_path, {0: 4, 1: 10, 2: 10}))
    assert (caught.value.partition, caught.value.first, caught.value.next) == (0, 4, 10)
    with pytest.raises(Conflict, match="t-1 from offset 21, but it ends at 20"):
        until_idle(following(tmp_path, {1: 21}))


def test_what_cannot_be_followed_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no topic 't': there is no folder"):
        open_live(str(tmp_path), topics=[T])
    with pytest.raises(BadInput, match="neither a folder nor a Kafka cluster"):
        open_live(str(tmp_path / "none"), topics=[T])
    with pytest.raises(BadInput, match="only a cluster's partitions are shared by a group"):
        open_live(str(tmp_path), topics=[T], group="g")
    with pytest.raises(BadInput, match="can only be followed"):
        open_source("-")
