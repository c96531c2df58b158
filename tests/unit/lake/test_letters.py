"""Dead letters that a fix makes events become events once, and leave the list; their bytes and history stay."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from neonblue_lab.lake.ingest import replay
from neonblue_lab.lake.interpretation import Interpretation, Interpreter
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.letters import open_letters, replay_dead_letters
from neonblue_lab.warehouse.warehouse import Warehouse
from tests.services.log_source import Log, Record


def event(number: int, event_type: str = "click", **fields: object) -> bytes:
    envelope = {"event_id": f"e{number}", "event_type": event_type, "timestamp": "2026-03-02T10:00:00Z"}
    return json.dumps(envelope | fields).encode()


EXPOSURE = {"user_id": "u1", "experiment_id": "x1", "variant_id": "a"}
RECORDS: list[Record] = [
    (0, 0, event(0)),
    (0, 1, b"not JSON"),
    (0, 2, event(2, "exposure", **EXPOSURE)),
    (0, 3, event(3, "experiment_created", experiment_id="x1", properties={"name": "One"})),
    (0, 4, b"{}"),
    (0, 5, event(5)),
]
LATER = [2, 3, 5]
"""Offsets that a reader before the fix does not understand."""


@contextmanager
def before_the_fix() -> Iterator[None]:
    """An interpreter that rejects the records at LATER as well."""
    interpret = Interpreter.interpret

    def rejecting(self: Interpreter, batch: Any) -> Interpretation:
        read = interpret(self, batch)
        broken = read.events.filter(pl.col("offset").is_in(LATER))
        rejects = broken.select("partition", "offset", stage=pl.lit("validate"), error=pl.lit("unknown dialect"))
        left = {name: getattr(read, name).filter(~pl.col("offset").is_in(LATER)) for name in ("events", "enriched")}
        return replace(read, **left, rejects=pl.concat([read.rejects, rejects]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Interpreter, "interpret", rejecting)
        yield


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    with before_the_fix():
        replay(lake, Log({"t": RECORDS, "other": [(0, 0, b"[]")]}))
        report = replay_dead_letters(lake)
    assert (report.read, report.events, report.remaining, report.nothing_to_do) == (6, 0, 6, True)
    return lake


def listed(lake: Lake) -> list[int]:
    letters = Warehouse(lake).sql("SELECT \"offset\" FROM dead_letters WHERE topic = 't' ORDER BY 1")
    assert letters["offset"].to_list() == open_letters(lake, topic="t").collect()["offset"].sort().to_list()
    return letters["offset"].to_list()


def check(lake: Lake) -> None:
    assert listed(lake) == [1, 4]
    events = lake.read("events").sort("offset")
    assert events["event_id"].to_list() == ["e0", "e2", "e3", "e5"]
    assert lake.read("assignments").height == 1
    assert lake.read("experiments")["name"].to_list() == ["One"]
    kept = lake.read("dead_letters", where=pl.col("topic") == "t").sort("offset")
    assert kept["value"].to_list() == [value for _, offset, value in RECORDS if offset in (1, 2, 3, 4, 5)]


def test_after_a_fix_they_are_events_and_off_the_list(lake: Lake) -> None:
    assert listed(lake) == [1, 2, 3, 4, 5]
    report = replay_dead_letters(lake)
    assert report.to_dict() == {"read": 6, "events": 3, "changes": 0, "remaining": 3}
    check(lake)
    versions = lake.versions()
    assert replay_dead_letters(lake).nothing_to_do
    assert lake.versions() == versions
    check(lake)


def test_only_what_is_asked_for_is_read_again(lake: Lake) -> None:
    assert replay_dead_letters(lake, topic="other").to_dict() == {"read": 1, "events": 0, "changes": 0, "remaining": 1}
    assert replay_dead_letters(lake, reason="not JSON").read == 1
    assert replay_dead_letters(lake, topic="t", reason="dialect").events == 3
    check(lake)


def test_a_crash_between_any_two_commits_loses_and_doubles_nothing(tmp_path: Path) -> None:
    class Crash(Exception):
        pass

    commit = Lake.commit
    commits = crashes = 0

    def crashing(self: Lake, *args: Any, **options: Any) -> None:
        nonlocal commits
        commits += 1
        if commits == crashes + 1:
            raise Crash
        commit(self, *args, **options)

    while True:
        lake = Lake(tmp_path / str(crashes))
        with before_the_fix():
            replay(lake, Log({"t": RECORDS}))
        commits = 0
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Lake, "commit", crashing)
            try:
                replay_dead_letters(lake)
                break
            except Crash:
                crashes += 1
        if crashes % 2:  # whatever comes next finishes it
            replay(lake, Log({"t": RECORDS}))
        replay_dead_letters(lake)
        check(lake)
    assert crashes == commits >= 4
