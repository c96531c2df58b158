"""Versions that somebody counts on."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from neonblue_lab import Lab
from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.cli.pinned import pinned_versions
from neonblue_lab.errors import BadInput
from neonblue_lab.pipelines.runs import RunResult, new_run_id, save_run


def ran(home: Path, data_version: str) -> None:
    """A finished run whose step `replay` recorded a data version."""
    now = datetime.now(UTC)
    run_id = new_run_id(now)
    (home / "runs" / run_id).mkdir(parents=True)
    run = RunResult(
        run_id=run_id,
        pipeline="nightly",
        status="succeeded",
        started_at=now,
        finished_at=now,
        data_versions={"replay": data_version},
        index=home / "runs" / "index.html",
    )
    save_run(run, home / "runs" / run_id)


def test_runs_and_artifacts_pin_the_versions_that_they_name(tmp_path: Path) -> None:
    assert pinned_versions(Lab.open(tmp_path)) == {}
    ran(tmp_path, "events@12,experiments@3")
    ran(tmp_path, "events@14")
    ArtifactStore(tmp_path / "artifacts").publish(
        "classifier",
        lambda path: (path / "labels.json").write_text("[]"),
        parameters={},
        metrics={},
        data_versions={"events": 9},
        seed=1,
        card="# Card",
    )
    assert pinned_versions(Lab.open(tmp_path)) == {"events": {9, 12, 14}, "experiments": {3}}


def test_a_run_that_names_no_version_is_not_passed_over(tmp_path: Path) -> None:
    ran(tmp_path, "yesterday's")
    with pytest.raises(BadInput, match="is no data version"):
        pinned_versions(Lab.open(tmp_path))


def test_a_record_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    ran(tmp_path, "events@12")
    (record,) = (tmp_path / "runs").glob("*/run.json")
    record.write_text("{")
    with pytest.raises(BadInput, match=r"run\.json cannot be read: which versions"):
        pinned_versions(Lab.open(tmp_path))
