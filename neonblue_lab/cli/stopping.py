"""Leaving in order: the first SIGINT or SIGTERM asks work to stop, the second ends the process."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by_signals(on_first: Callable[[], None]) -> Iterator[Event]:
    """Yield what the first signal sets. `on_first` is then called, in a thread of its own.

    A second signal meets the system's default, which ends the process wherever it is: also within a call that does not
    come back. What was committed stays.
    """
    stop, asked = Event(), Event()

    def ask(number: int, frame: FrameType | None) -> None:
        for ending in _ENDING:
            signal.signal(ending, signal.SIG_DFL)
        asked.set()
        stop.set()

    def tell() -> None:
        stop.wait()
        if asked.is_set():
            on_first()

    before = {ending: signal.signal(ending, ask) for ending in _ENDING}
    # A handler may interrupt a write to the very stream that it would write to; a thread waits its turn.
    teller = Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield stop
    finally:
        stop.set()
        teller.join()
        for ending, handler in before.items():
            signal.signal(ending, handler)
