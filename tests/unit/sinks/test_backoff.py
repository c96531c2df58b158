"""A store that fails is left alone longer each time, but never for ever, and no clock can make it so."""

from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.sinks.backoff import FIRST_SECONDS, LONGEST_SECONDS, Backoff


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_the_pauses_double_up_to_a_limit() -> None:
    clock = Clock()
    backoff = Backoff(clock, jitter=lambda: 1.0)
    pauses = []
    for _ in range(12):
        backoff.failed()
        pauses.append(backoff.remaining)
        clock.now += pauses[-1]
        assert backoff.remaining == 0
    assert pauses == [min(LONGEST_SECONDS, FIRST_SECONDS * 2**n) for n in range(12)]
    backoff.succeeded()
    backoff.failed()
    assert backoff.remaining == FIRST_SECONDS


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_pause_is_between_half_the_limit_and_the_limit(failures: int, luck: float) -> None:
    backoff = Backoff(lambda: 0.0, jitter=lambda: luck)
    for _ in range(failures):
        backoff.failed()
    longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 60))
    assert longest / 2 <= backoff.remaining <= longest


@given(st.lists(st.floats(-1e9, 1e9), min_size=1))
def test_whatever_the_clock_does_no_pause_is_longer_than_the_limit(jumps: list[float]) -> None:
    clock = Clock()
    backoff = Backoff(clock)
    backoff.failed()
    for jump in jumps:
        clock.now += jump
        assert 0 <= backoff.remaining <= LONGEST_SECONDS
    clock.now = 999_999.0  # before the failure
    assert backoff.remaining == 0
