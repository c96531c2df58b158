"""What is piped in is read line by line, byte for byte, until the pipe is closed or the reader is told to stop."""

import os
import threading
from collections.abc import Iterator

import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.events.records import RecordBatch
from neonblue_lab.topics.sources import open_live
from neonblue_lab.topics.standard_input import StandardInput


@pytest.fixture
def pipe() -> Iterator[tuple[int, list[int]]]:
    """The end to read, and the end to write while it is open."""
    reading, writing = os.pipe()
    writers = [writing]
    yield reading, writers
    os.close(reading)
    for descriptor in writers:
        os.close(descriptor)


def follow(reading: int, stop: threading.Event | None = None, batch_records: int = 3) -> Iterator[RecordBatch | None]:
    live = StandardInput(["t"], batch_records, reading)
    return live.follow(["t"], lambda topic, p: 100, stop=stop or threading.Event(), linger=0.02)


def rows(batches: list[RecordBatch | None]) -> list[tuple[int, bytes]]:
    return [row for batch in batches if batch for row in batch.frame.select("offset", "value").rows()]


def test_lines_go_on_from_the_position_until_the_end(pipe: tuple[int, list[int]]) -> None:
    reading, writers = pipe
    os.write(writers[0], b'{"a": 1}\n\n\xff\xfe\nfourth\nno newline')
    os.close(writers.pop())
    batches = list(follow(reading))
    assert [batch.frame.height for batch in batches if batch] == [3, 2]
    assert rows(batches) == [(100, b'{"a": 1}'), (101, b""), (102, b"\xff\xfe"), (103, b"fourth"), (104, b"no newline")]


def test_a_slow_pipe_is_handed_over_after_the_linger(pipe: tuple[int, list[int]]) -> None:
    reading, writers = pipe
    stop = threading.Event()
    batches = follow(reading, stop)
    assert next(batches) is None
    os.write(writers[0], b"one\ntw")
    assert rows([next(batches)]) == [(100, b"one")]
    os.write(writers[0], b"o\nthree\nhal")
    assert rows([next(batches)]) == [(101, b"two"), (102, b"three")]
    stop.set()
    assert rows(list(batches)) == []


def test_what_was_read_is_handed_over_when_told_to_stop(pipe: tuple[int, list[int]]) -> None:
    reading, writers = pipe
    stop = threading.Event()
    batches = follow(reading, stop)
    os.write(writers[0], b"1\n2\n3\n4\n")
    assert rows([next(batches)]) == [(100, b"1"), (101, b"2"), (102, b"3")]
    stop.set()
    assert rows(list(batches)) == [(103, b"4")]


def test_lines_belong_to_exactly_one_topic() -> None:
    for topics in ([], ["a", "b"]):
        with pytest.raises(BadInput, match="read as one topic"):
            open_live("-", topics=topics)
