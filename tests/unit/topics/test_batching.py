"""Batches are bounded in records and in bytes, and nothing is lost or moved on the way into them."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.topics import batching
from neonblue_lab.topics.batching import Batching
from tests.services.frames import records_frame


def frame(first: int, sizes: list[int | None]) -> pl.DataFrame:
    rows = [
        {"partition": offset % 2, "offset": offset, "value": None if size is None else bytes(size)}
        for offset, size in enumerate(sizes, first)
    ]
    return records_frame("t", rows)


@given(
    frames=st.lists(st.lists(st.none() | st.integers(0, 40), max_size=12), max_size=6),
    most=st.integers(1, 8),
    most_bytes=st.integers(1, 60),
)
def test_every_record_is_in_one_batch_in_order(frames: list[list[int | None]], most: int, most_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "BATCH_BYTES", most_bytes)
        gathering = Batching("t", most)
        batches, first = [], 0
        for sizes in frames:
            batches += list(gathering.add(frame(first, sizes)))
            first += len(sizes)
            assert 0 <= gathering.waiting < most
            assert gathering.room >= 1
        batches += list(gathering.rest())
    assert [offset for batch in batches for offset in batch.frame["offset"]] == list(range(first))
    for batch in batches:
        values = sum(len(value or b"") for value in batch.frame["value"])
        assert 1 <= batch.frame.height <= most
        assert values <= most_bytes or batch.frame.height == 1


def test_what_waits_of_a_partition_can_be_dropped() -> None:
    gathering = Batching("t", 6)
    assert list(gathering.add(frame(0, [1, 1, 1, 1]))) == []
    gathering.drop({1})
    assert gathering.waiting == 2
    (batch,) = gathering.add(frame(4, [1, 1, 1, 1]))
    assert batch.frame["offset"].to_list() == [0, 2, 4, 5, 6, 7]


def test_room_follows_the_size_of_values() -> None:
    gathering = Batching("t", 100_000)
    assert gathering.room == 10_001
    list(gathering.add(frame(0, [1 << 20] * 4)))
    assert gathering.room == 59
