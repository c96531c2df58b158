"""An iterator that runs ahead of its consumer changes nothing but the time at which its items are made."""

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.lake.ahead import ahead


@given(st.lists(st.integers()), st.integers(1, 4))
def test_items_come_in_order_and_whole(items: list[int], depth: int) -> None:
    assert list(ahead(iter(items), depth)) == items


def test_the_next_items_are_made_while_one_is_used() -> None:
    made = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    running = ahead(items(), depth=1)
    assert next(running) == 0
    assert made[2].wait(5)  # one lies ready, one more is in the maker's hands
    assert not made[3].wait(0.2)
    running.close()


def test_what_goes_wrong_is_raised_after_what_went_well() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the third")

    running = ahead(items())
    assert [next(running), next(running)] == [1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(running)


def test_closing_closes_the_items_in_the_thread_that_made_them() -> None:
    threads: list[int] = []

    def items() -> Iterator[int]:
        try:
            threads.append(threading.get_ident())
            while True:
                yield 0
        finally:
            threads.append(threading.get_ident())

    running = ahead(items())
    next(running)
    running.close()
    assert len(threads) == 2
    assert threads[0] == threads[1] != threading.get_ident()
    deadline = time.monotonic() + 5
    while any(thread.name == "neonblue-ahead" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
