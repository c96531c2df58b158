"""Running an iterator ahead of its consumer, in a thread of its own: the next batch is made while this one is stored."""

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar, cast

T = TypeVar("T")

STUCK_SECONDS = 5.0
"""How long closing waits for an item that is being made."""
_END = object()


def ahead(items: Iterator[T], depth: int = 1) -> Generator[T]:
    """Yield what `items` yields, making up to `depth` further ones meanwhile.

    An exception of `items` is raised here, in its place. When this iterator is closed or ends, so is `items`, in the thread
    that ran it.
    """
    made: queue.Queue[tuple[object, BaseException | None]] = queue.Queue(depth)
    closed = threading.Event()

    def put(item: object, error: BaseException | None = None) -> None:
        while not closed.is_set():
            try:
                made.put((item, error), timeout=0.1)
                return
            except queue.Full:
                continue

    def run() -> None:
        try:
            for item in items:
                put(item)
                if closed.is_set():
                    break
            put(_END)
        except BaseException as error:  # noqa: BLE001 - raised again where the items are consumed
            put(_END, error)
        finally:
            if isinstance(items, Generator):
                items.close()

    thread = threading.Thread(target=run, name="neonblue-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield cast(T, item)
    finally:
        closed.set()
        thread.join(STUCK_SECONDS)
