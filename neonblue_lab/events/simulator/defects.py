"""What goes wrong on the way to a topic: late events, records sent twice, and bytes that are no event."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

MINUTE = 60_000_000
LATE = 60 * MINUTE
"""An event is late when its first record is sent so many microseconds after it happened, or more."""

SOUND = -1


@dataclass(frozen=True)
class Rates:
    """Shares of a topic's events: `duplicates` and `malformed` come on top of them, `late` are among them."""

    duplicates: float
    late: float
    malformed: float


@dataclass(frozen=True)
class Sending:
    """The records of a topic in the order in which they are sent.

    Attributes:
        row: the event that the record carries.
        sent: microseconds from the beginning of day 0.
        defect: SOUND, or a number into DAMAGES.
    """

    row: NDArray[np.int64]
    sent: NDArray[np.int64]
    defect: NDArray[np.int8]
    late: int


def send(rng: np.random.Generator, time: NDArray[np.int64], may_be_late: NDArray[np.bool_], rates: Rates) -> Sending:
    """Draw which events are sent late (an hour to some days), which twice (minutes apart), and which also damaged.

    A damaged record is a broken copy: the event itself is sent as well, so that damage never loses one.
    """
    events = time.size
    late = np.flatnonzero(may_be_late & (rng.random(events) < rates.late))
    sent = time.copy()
    sent[late] += LATE + (np.minimum(rng.lognormal(1.5, 1.0, late.size), 96) * 60 * MINUTE).astype(np.int64)

    again = rng.integers(0, max(events, 1), round(rates.duplicates * events))
    broken = rng.integers(0, max(events, 1), round(rates.malformed * events))
    row = np.concatenate([np.arange(events), again, broken])
    delay = np.concatenate(
        [
            np.zeros(events, dtype=np.int64),
            rng.integers(1, 10 * MINUTE, again.size),
            rng.integers(0, MINUTE, broken.size),
        ]
    )
    defect = np.full(row.size, SOUND, dtype=np.int8)
    defect[events + again.size :] = rng.integers(0, len(DAMAGES), broken.size)
    sent_rows = sent[row] + delay
    order = np.argsort(sent_rows, kind="stable")
    return Sending(row[order], sent_rows[order], defect[order], late.size)


def damage(value: bytes, defect: int) -> bytes:
    """The value of an event, broken in the way that `defect` says."""
    return DAMAGES[defect](value)


def _changed(**fields: object) -> Callable[[bytes], bytes]:
    def change(value: bytes) -> bytes:
        event = {name: old for name, old in orjson.loads(value).items() if fields.get(name, old) is not None}
        return orjson.dumps(event | {name: new for name, new in fields.items() if new is not None})

    return change


DAMAGES: tuple[Callable[[bytes], bytes], ...] = (
    lambda value: value[: len(value) * 2 // 3],
    lambda value: b"<html><body>502 Bad Gateway</body></html>",
    _changed(event_id=None),
    _changed(timestamp="yesterday"),
    _changed(properties="none"),
    lambda value: value[:20] + b"\xff\xfe" + value[20:],
    lambda value: b"",
)
"""Truncated, not JSON, no event_id, no time, properties of a wrong type, not UTF-8, empty."""
