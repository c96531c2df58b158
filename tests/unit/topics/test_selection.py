"""What a user asks for is turned into offsets that lie within what a source has."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.topics.selection import Selection, parse_offsets, resolve
from tests.services.frames import MOMENT, FrameSource, numbered

T = "t"
SOURCE = FrameSource(T, numbered(T, 30))
"""Record i has the time MOMENT + i ms and lies at offset i // 3 of partition i % 3."""
ALL = {0: 10, 1: 10, 2: 10}
NOTHING = {0: 0, 1: 0, 2: 0}


def after(milliseconds: float) -> datetime:
    return MOMENT + timedelta(milliseconds=milliseconds)


@pytest.mark.parametrize(
    ("selection", "starts", "ends"),
    [
        (Selection(), NOTHING, ALL),
        (Selection(since=after(13)), {0: 5, 1: 4, 2: 4}, ALL),
        (Selection(until=after(13)), NOTHING, {0: 5, 1: 4, 2: 4}),
        (Selection(since=after(13), until=after(15)), {0: 5, 1: 4, 2: 4}, {0: 5, 1: 5, 2: 5}),
        (Selection(since=after(99)), ALL, ALL),
        (Selection(offsets={(T, 1): (3, 6)}), {0: 0, 1: 3, 2: 0}, {0: 0, 1: 6, 2: 0}),
        (Selection(offsets={(T, 1): (3, None), (T, 2): (8, 99)}), {0: 0, 1: 3, 2: 8}, {0: 0, 1: 10, 2: 10}),
        (Selection(offsets={("other", 1): (3, 6)}), NOTHING, NOTHING),
        (Selection(offsets={(T, 0): (0, 8)}, since=after(13)), {0: 5, 1: 4, 2: 4}, {0: 8, 1: 4, 2: 4}),
        (Selection(max_records=7), NOTHING, {0: 3, 1: 2, 2: 2}),
        (Selection(max_records=7, since=after(27)), {0: 9, 1: 9, 2: 9}, ALL),
    ],
)
def test_parts_of_a_selection_narrow_each_other(
    selection: Selection, starts: dict[int, int], ends: dict[int, int]
) -> None:
    assert resolve(SOURCE, T, selection) == (starts, ends)


def test_what_is_held_does_not_count() -> None:
    assert resolve(SOURCE, T, Selection(max_records=4), {0: 9, 1: 10}) == ({0: 9, 1: 10, 2: 0}, {0: 10, 1: 10, 2: 3})


@given(
    offsets=st.dictionaries(st.integers(0, 2), st.tuples(st.integers(0, 15), st.none() | st.integers(0, 15))),
    since=st.none() | st.integers(-5, 35),
    until=st.none() | st.integers(-5, 35),
    most=st.none() | st.integers(1, 40),
    held=st.dictionaries(st.integers(0, 2), st.integers(0, 10)),
)
def test_ranges_lie_within_the_source_and_what_is_asked(
    offsets: dict[int, tuple[int, int | None]],
    since: int | None,
    until: int | None,
    most: int | None,
    held: dict[int, int],
) -> None:
    if since is not None and until is not None and since > until:
        since, until = until, since
    selection = Selection(
        since=None if since is None else after(since),
        until=None if until is None else after(until),
        offsets={(T, p): asked for p, asked in offsets.items()},
        max_records=most,
    )
    starts, ends = resolve(SOURCE, T, selection, held)
    assert starts.keys() == ends.keys() == {0, 1, 2}
    everything = dict.fromkeys(range(3), (0, None))
    wanted = [
        (p, offset)
        for p, (first, end) in (offsets or everything).items()
        for offset in range(max(first, held.get(p, 0)), 10 if end is None else min(end, 10))
        if (since is None or 3 * offset + p >= since) and (until is None or 3 * offset + p < until)
    ]
    read = [(p, offset) for p in starts for offset in range(starts[p], ends[p])]
    assert set(read) <= set(wanted)
    assert len(read) == (len(wanted) if most is None else min(most, len(wanted)))


def test_offsets_are_parsed() -> None:
    assert parse_offsets(["user.events_1:0:5-9", "a-b:12:7-"]) == {("user.events_1", 0): (5, 9), ("a-b", 12): (7, None)}


@pytest.mark.parametrize("text", ["", "t", "t:0", "t:0:5", "t:0:-5", "t:x:1-2", "t:0:1-2-3", ":0:1-2", "t:0:1-2 "])
def test_another_form_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match="the form is topic:partition:from-to"):
        parse_offsets([text])


def test_contradictions_are_bad_input() -> None:
    with pytest.raises(BadInput, match="is empty"):
        parse_offsets(["t:0:5-5"])
    with pytest.raises(BadInput, match="t-0 was named before"):
        parse_offsets(["t:0:1-2", "t:0:5-6"])
    with pytest.raises(BadInput, match="without a time zone"):
        Selection(since=datetime(2026, 1, 1))
    with pytest.raises(BadInput, match="lies after until"):
        Selection(since=datetime(2026, 1, 2, tzinfo=UTC), until=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(BadInput, match="at least 1"):
        Selection(max_records=0)
    with pytest.raises(BadInput, match="has no partition 7; it has 3"):
        resolve(SOURCE, T, Selection(offsets={(T, 7): (0, 1)}))
