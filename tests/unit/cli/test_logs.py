"""What is written on stderr while a replay runs."""

import json
import logging
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from neonblue_lab.cli.logs import JsonProgress, TextLines, json_log
from neonblue_lab.cli.watch import SinkReading, TopicReading

READING = TopicReading(
    records=1200,
    expected=0,
    events=1190,
    dead_letters=1,
    duplicates=9,
    offsets={0: 700, 1: 500},
    lag={0: 4, 1: 1},
    newest=datetime(2026, 1, 5, tzinfo=UTC),
    rate=61.5,
)


def lines(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_json_line_says_what_happened_and_when(capsys: pytest.CaptureFixture[str]) -> None:
    with json_log() as log:
        log.tell("info", "following", "Following topics.", source="topics")
    (line,) = lines(capsys)
    assert datetime.fromisoformat(line.pop("ts")).tzinfo == UTC
    assert line == {"level": "info", "event": "following", "message": "Following topics.", "source": "topics"}


def test_what_libraries_say_is_a_json_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    with json_log():
        logging.getLogger("some.library").warning("disk %s", "slow")
        logging.getLogger("some.library").info("not said")
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    first, second = lines(capsys)
    assert (first["level"], first["event"], first["logger"], first["message"]) == (
        "warning",
        "library",
        "some.library",
        "disk slow",
    )
    assert "old way" in second["message"]


def test_progress_is_a_line_a_second_for_what_has_moved_and_one_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    progress = JsonProgress(clock=lambda: now[0])
    progress.show({"a": READING, "b": READING}, {})
    assert lines(capsys) == []
    now[0] = 1.5
    progress.show({"a": READING, "b": READING}, {"postgres": SinkReading(up=False, backlog=7)})
    a, b, sink = lines(capsys)
    assert (a["event"], a["topic"], b["topic"]) == ("progress", "a", "b")
    assert {
        name: a[name] for name in ("offsets", "records", "rate", "lag", "dead_letters", "duplicates", "newest")
    } == {
        "offsets": {"0": 700, "1": 500},
        "records": 1200,
        "rate": 61.5,
        "lag": 5,
        "dead_letters": 1,
        "duplicates": 9,
        "newest": "2026-01-05T00:00:00Z",
    }
    assert (sink["level"], sink["event"], sink["sink"], sink["up"], sink["backlog"]) == (
        "warning",
        "sink",
        "postgres",
        False,
        7,
    )
    now[0] = 1.6
    moved = replace(READING, offsets={0: 701, 1: 500})
    progress.show({"a": READING, "b": moved}, {"postgres": SinkReading(up=False, backlog=7)})
    assert lines(capsys) == []
    progress.finish()
    assert [line["topic"] for line in lines(capsys)] == ["b"]


def test_a_follower_without_a_terminal_writes_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    text = TextLines(clock=lambda: now[0])
    for now[0] in (0.0, 9.9):
        text.show({"user_events": READING}, {})
    assert capsys.readouterr().err == ""
    now[0] = 10.1
    text.show({"user_events": READING}, {"postgres": SinkReading(up=False, backlog=1)})
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("user_events: 1,200 records, 61.5/s, lag 5, 1 dead letter, newest event ")
    assert said[1] == "postgres: down, 1 row behind"
    now[0] = 12.0
    text.show({"user_events": READING}, {})
    assert capsys.readouterr().err == ""
