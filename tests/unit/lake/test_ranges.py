"""A part of a log is read as asked; a lake never gets a hole that nobody accepted."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from neonblue_lab.errors import BadInput, Conflict
from neonblue_lab.events.records import RecordSource
from neonblue_lab.lake.gaps import accepted_gaps
from neonblue_lab.lake.ingest import plan, replay
from neonblue_lab.lake.lake import Lake
from neonblue_lab.topics.selection import Selection, resolve
from tests.services.log_source import MOMENT, Log


def event(number: int) -> bytes:
    return json.dumps({"event_id": f"e{number}", "event_type": "click", "timestamp": "2026-03-02T10:00:00Z"}).encode()


WHOLE = [(partition, offset, event(2 * offset + partition)) for offset in range(50) for partition in (0, 1)]


def bounds(selection: Selection):
    def of(source: RecordSource, topic: str, held: dict[int, int | None]):
        return resolve(source, topic, selection, {p: offset for p, offset in held.items() if offset is not None})

    return of


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def offsets(lake: Lake) -> dict[int, list[int]]:
    rows = lake.read("raw/t").sort("partition", "offset")
    return {p: rows.filter(partition=p)["offset"].to_list() for p in rows["partition"].unique(maintain_order=True)}


def test_a_time_range_is_read_and_then_continued(lake: Lake) -> None:
    log = Log({"t": WHOLE})
    middle = Selection(since=MOMENT + timedelta(milliseconds=10), until=MOMENT + timedelta(milliseconds=30))
    asked = plan(lake, log, bounds=bounds(middle))
    assert [(p.first, p.stop, p.held, p.lag) for p in asked.partitions] == [(10, 30, None, 50)] * 2
    assert replay(lake, log, bounds=bounds(middle)).records == 40
    assert offsets(lake) == {0: list(range(10, 30)), 1: list(range(10, 30))}
    assert plan(lake, log, bounds=bounds(middle)).nothing_to_do
    assert replay(lake, log).records == 40
    assert offsets(lake) == {0: list(range(10, 50)), 1: list(range(10, 50))}
    assert lake.read("events")["event_id"].n_unique() == 80


def test_one_partition_alone_leaves_the_other_whole(lake: Lake) -> None:
    log = Log({"t": WHOLE})
    assert replay(lake, log, bounds=bounds(Selection(offsets={("t", 1): (0, 7)}))).records == 7
    assert offsets(lake) == {1: list(range(7))}
    assert replay(lake, log).records == 93
    assert offsets(lake) == {0: list(range(50)), 1: list(range(50))}


def test_at_most_so_many_records_each_time_get_through_the_log(lake: Lake) -> None:
    log = Log({"t": WHOLE})
    read = [replay(lake, log, bounds=bounds(Selection(max_records=30))).records for _ in range(5)]
    assert read == [30, 30, 30, 10, 0]
    assert offsets(lake) == {0: list(range(50)), 1: list(range(50))}


def test_a_hole_is_refused_unless_it_is_accepted_and_then_written_down(lake: Lake) -> None:
    log = Log({"t": WHOLE})
    replay(lake, log, bounds=bounds(Selection(offsets={("t", 0): (0, 5), ("t", 1): (0, 9)})))
    later = bounds(Selection(offsets={("t", 0): (20, 25)}))
    for work in (plan, replay):
        with pytest.raises(BadInput, match=r"would leave out t-0 offsets 5 to 19 \(15\)"):
            work(lake, log, bounds=later)
    assert offsets(lake) == {0: list(range(5)), 1: list(range(9))}
    report = replay(lake, log, bounds=later, accept_gap=True)
    assert (report.records, report.skipped) == (5, 15)
    assert offsets(lake)[0] == [*range(5), *range(20, 25)]
    assert accepted_gaps(lake).drop("accepted_at").rows() == [("t", 0, 5, 20)]


def test_deleted_records_are_told_by_offset_and_accepted_only_when_asked(lake: Lake) -> None:
    replay(lake, Log({"t": WHOLE[:20]}))
    cut = Log({"t": [record for record in WHOLE if record[1] >= 13]}, beginnings={0: 13, 1: 13})
    with pytest.raises(
        Conflict, match=r"were deleted .* t-0 offsets 10 to 12 \(3\), .* t-1 offsets 10 to 12 .* --accept-gap"
    ):
        replay(lake, cut)
    assert replay(lake, Log({"t": WHOLE[:20]})).nothing_to_do
    report = replay(lake, cut, accept_gap=True)
    assert (report.records, report.skipped) == (74, 6)
    assert accepted_gaps(lake).drop("accepted_at").rows() == [("t", 0, 10, 13), ("t", 1, 10, 13)]
    assert replay(lake, cut).nothing_to_do


def test_a_log_of_which_nothing_is_left_is_told_too(lake: Lake) -> None:
    replay(lake, Log({"t": [(0, 0, event(1))]}))
    emptied = Log({"t": []}, beginnings={0: 4}, ends={0: 4})
    with pytest.raises(Conflict, match=r"t-0 offsets 1 to 3"):
        replay(lake, emptied)
    assert replay(lake, emptied, accept_gap=True).skipped == 3
    assert replay(lake, emptied).skipped == 0
    assert replay(lake, Log({"t": [(0, 4, event(2))]}, beginnings={0: 4})).records == 1


def test_a_plan_says_how_much_it_would_read(lake: Lake) -> None:
    log = Log({"t": WHOLE})
    sizes = {p: sum(len(value) for number, _, value in WHOLE if number == p) for p in (0, 1)}
    assert [part.bytes for part in plan(lake, log, sizes=True).partitions] == [sizes[0], sizes[1]]
    half = plan(lake, log, bounds=bounds(Selection(max_records=50)), sizes=True)
    assert [part.bytes for part in half.partitions] == [sizes[0] // 2, sizes[1] // 2]
    assert (
        half.to_dict()["partitions"][0] | {"from": 0, "to": 25, "records": 25, "lag": 50}
        == half.to_dict()["partitions"][0]
    )
    assert "50 records would be read." in str(half)


def test_what_is_deleted_from_a_partition_that_was_empty_is_a_gap(lake: Lake) -> None:
    full = [(0, 0, event(0))]
    replay(lake, Log({"t": full}, beginnings={0: 0, 1: 0}, ends={0: 1, 1: 0}))
    cut = Log({"t": [*full, (1, 3, event(2))]}, beginnings={0: 0, 1: 3}, ends={0: 1, 1: 4})
    with pytest.raises(Conflict, match=r"t-1 offsets 0 to 2 \(3\), the first one still there is 3"):
        replay(lake, cut)
    assert replay(lake, cut, accept_gap=True).skipped == 3
    assert accepted_gaps(lake).select("partition", "first", "next").rows() == [(1, 0, 3)]


def test_ends_that_another_member_of_the_group_has_passed_are_old(lake: Lake) -> None:
    replay(lake, Log({"t": WHOLE[:20]}))
    opened_before = Log({"t": WHOLE[:16]})
    with pytest.raises(Conflict, match="another log, or it was cut off"):
        plan(lake, opened_before)
    assert plan(lake, opened_before, shared=True).nothing_to_do
