"""The history can be read whatever became of a run, and its page says what there is to say."""

import fcntl
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from neonblue_lab.pipelines.index import render_index, write_index
from neonblue_lab.pipelines.pages import seconds, shown
from neonblue_lab.pipelines.runs import FailedCell, RunResult, StepError, StepResult, load_runs, new_run_id, save_run
from neonblue_lab.settings import Settings

START = datetime(2026, 3, 2, 10, 4, 5, 678901, tzinfo=UTC)


def run(settings: Settings, status: str = "succeeded", at: datetime = START) -> RunResult:
    run_id = new_run_id(at)
    folder = settings.runs / run_id
    error = StepError(
        cell=FailedCell(number=3, line="<b>broken</b>()"),
        name="ValueError",
        message="5 < 6",
        notebook=folder / "b.ipynb",
    )
    steps = (
        StepResult(
            name="a",
            status="succeeded",
            notebook=folder / "a.ipynb",
            report=folder / "a.html",
            seconds=1.5,
            recorded={"records": 122555, "share": 0.0123456, "topics": {"x": 1}},
        ),
        StepResult(name="b", status="running" if status == "running" else "failed", error=error),
        StepResult(name="c", status="pending" if status == "running" else "skipped"),
    )
    return RunResult(
        run_id=run_id,
        pipeline="nightly",
        status=status,
        started_at=at,
        finished_at=None if status == "running" else at + timedelta(seconds=75),
        steps=steps,
        index=settings.runs / "index.html",
    )


def saved(settings: Settings, result: RunResult) -> Path:
    folder = settings.runs / result.run_id
    folder.mkdir(parents=True)
    save_run(result, folder)
    return folder


def test_ids_sort_by_time_and_differ() -> None:
    times = [START + timedelta(microseconds=step) for step in (0, 1, 999_999, 10_000_000, 86_400_000_000)]
    ids = [new_run_id(time) for time in times]
    assert sorted(ids) == ids
    assert len({new_run_id(START) for _ in range(100)}) == 100


def test_what_is_saved_is_loaded_newest_first(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    old, new = run(settings), run(settings, at=START + timedelta(days=1))
    saved(settings, new)
    saved(settings, old)
    assert load_runs(settings) == [new, old]


def test_no_runs_at_all(tmp_path: Path) -> None:
    assert load_runs(Settings(tmp_path / "nowhere")) == []


def test_files_are_found_after_the_data_folder_moved(tmp_path: Path) -> None:
    before, after = Settings(tmp_path / "a"), Settings(tmp_path / "b")
    result = run(before)
    saved(before, result)
    before.home.rename(after.home)
    [loaded] = load_runs(after)
    assert loaded.steps[0].notebook == after.runs / result.run_id / "a.ipynb"
    assert loaded.steps[0].report == after.runs / result.run_id / "a.html"
    assert loaded.steps[1].error is not None
    assert loaded.steps[1].error.notebook == after.runs / result.run_id / "b.ipynb"
    assert loaded.index == after.runs / "index.html"


def test_a_run_whose_process_is_gone_was_interrupted(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    folder = saved(settings, run(settings, "running"))
    (folder / ".lock").touch()
    [loaded] = load_runs(settings)
    assert loaded.status == "interrupted"
    assert [step.status for step in loaded.steps] == ["succeeded", "interrupted", "skipped"]
    with (folder / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        [loaded] = load_runs(settings)
    assert loaded.status == "running"


@pytest.mark.parametrize("content", [None, b"", b'{"run_id": "x", "pipel', b"[]", b"\xff\xfe", b'{"run_id": "x"}'])
def test_a_run_file_that_cannot_be_read_is_an_interrupted_run(tmp_path: Path, content: bytes | None) -> None:
    settings = Settings(tmp_path)
    good = run(settings, at=START + timedelta(days=1))
    saved(settings, good)
    folder = settings.runs / new_run_id(START)
    folder.mkdir()
    if content is not None:
        (folder / "run.json").write_bytes(content)
    first, second = load_runs(settings)
    assert first == good
    assert (second.run_id, second.status, second.started_at) == (folder.name, "interrupted", START)
    assert second.note
    write_index(settings)
    assert folder.name in (settings.runs / "index.html").read_text()


def test_other_folders_and_files_are_no_runs(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    (settings.runs / "notes").mkdir(parents=True)
    write_index(settings)
    assert load_runs(settings) == []


def test_the_index_shows_every_run_escaped_and_loads_nothing(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    results = [run(settings, "failed", START + timedelta(hours=hour)) for hour in range(50)][::-1]
    page = render_index(results, home="/data & more", now=START)
    assert all(f'id="{result.run_id}"' in page for result in results)
    assert f'href="{results[0].run_id}/a.html"' in page
    assert f'href="{results[0].run_id}/a.ipynb"' in page
    assert "122,555" in page
    assert "0.01235" in page
    assert "&lt;b&gt;broken&lt;/b&gt;()" in page
    assert "5 &lt; 6" in page
    assert "/data &amp; more" in page
    assert "0 of 50 without a failure" in page
    assert not re.search(r"https?://|<script|@import|url\(", page)


@pytest.mark.parametrize(
    ("time", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (38.4, "38 s"), (59.7, "1 min 0 s"), (250, "4 min 10 s"), (7500, "2 h 5 min")],
)
def test_durations_are_written_for_reading(time: float, text: str) -> None:
    assert seconds(time) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (True, "true"),
        (None, "null"),
        (0.000123456, "0.0001235"),
        (1234567.8, "1,234,568"),
        ("", '""'),
        ({"a": 1}, '{"a": 1}'),
        ("x" * 200, "x" * 80 + "…"),
        (list(range(100)), "100 values"),
    ],
)
def test_values_are_written_for_reading(value: object, text: str) -> None:
    assert shown(value) == text
