"""Signals that end a process become an exception first, so that what it started can be ended in order."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signalled(BaseException):
    """The process was asked to end; not an Exception, as nothing but the clean-up may catch it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)


@contextmanager
def ending_signals_raise() -> Iterator[None]:
    """Raise Signalled in the block where SIGINT, SIGTERM or SIGHUP arrive; while that is handled, ignore more of them.

    Signals that the process ignores stay ignored (nohup). In another thread than the main one, which alone receives
    signals, the block runs as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in _ENDING}
    taken = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]

    def handle(number: int, frame: FrameType | None) -> None:
        for each in taken:
            signal.signal(each, signal.SIG_IGN)
        raise Signalled(number)

    for number in taken:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])
