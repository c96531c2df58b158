"""The README's code runs as it stands: its shell commands on the real data, its Python on what they made."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
README = (CHECKOUT / "README.md").read_text("utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def _run(command: list[str], folder: Path) -> str:
    scripts = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "NEONBLUE_HOME": str(folder / "lab"),
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, dataset: Callable[[str], Path]) -> Path:
    """A folder with the data set that the README names, after its shell commands have run there."""
    folder = tmp_path_factory.mktemp("readme")
    file = dataset("upworthy_exploratory.parquet")
    (folder / file.name).symlink_to(file)
    commands, _ = _blocks("sh")
    (folder / "said").write_text(_run(["bash", "-euc", commands], folder))
    return folder


def test_the_shell_commands_say_what_the_readme_says(folder: Path):
    said = (folder / "said").read_text()
    assert "27,539 records -> 27,539 new events, 0 dead letters" in said
    assert "Experiments: 4,873." in said
    assert "Verdict: " in said


def test_the_plan_is_the_one_that_the_readme_shows_and_its_models_learn(tmp_path: Path):
    _, commands = _blocks("sh")
    (plan,) = _blocks("text")
    said = _run(["bash", "-euc", commands], tmp_path)
    assert plan in said
    assert "\nVerdict: " in said
    assert "\nIn detail:\n" in said
    _, code = _blocks("python")
    learned = _run([sys.executable, "-c", code], tmp_path)
    for said in ("within_days", "converts within 7 days", "recommended", "One page: beats"):
        assert said in learned


def test_the_python_runs_on_what_they_made(folder: Path):
    code, _ = _blocks("python")
    said = _run([sys.executable, "-c", code], folder)
    assert "Experiments: 4,873." in said
    assert "Verdict: " in said
    assert "metric_total" in said


def test_every_file_that_the_documents_link_to_is_there():
    for document in ("README.md", "data/README.md", "mcp/README.md"):
        text = (CHECKOUT / document).read_text("utf-8")
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)\)", text):
            assert (CHECKOUT / document).parent.joinpath(target).exists(), f"{document} links to {target}"


def test_every_command_of_the_readme_exists():
    from typer.main import get_command

    from neonblue_lab.cli import app

    known = set(get_command(app).commands)
    named = set(re.findall(r"^\| `([a-z]+)", README, re.MULTILINE))
    assert named <= known
    assert known <= set(re.findall(r"`([a-z]+)[ `]", README.split("## Command line")[1]))
