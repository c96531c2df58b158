"""The commit and the libraries that a manifest names are those that were there."""

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from neonblue_lab.artifacts.manifest import GitState
from neonblue_lab.artifacts.provenance import git_state, imported_libraries


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_commit_and_dirt_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "--quiet")
    assert git_state(tmp_path) is None
    (tmp_path / "a").touch()
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "--quiet", "--message=a")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_state(tmp_path) == GitState(commit=commit, dirty=False)
    (tmp_path / "b").touch()
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as inside a git hook
    assert git_state(tmp_path) == GitState(commit=commit, dirty=True)


def test_no_commit_outside_the_root_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message=a")
    (tmp_path / "site-packages").mkdir()
    assert git_state(tmp_path / "site-packages") is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert git_state(tmp_path) is None


def test_libraries_are_those_imported() -> None:
    libraries = imported_libraries()
    assert libraries["pytest"] == version("pytest")
    assert libraries["pydantic"] == version("pydantic")
    assert "neonblue-lab" in libraries
