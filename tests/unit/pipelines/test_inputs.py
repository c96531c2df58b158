"""Two runs have equal inputs only where nothing that decides their results differs."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from neonblue_lab.pipelines.definition import Pipeline, Step
from neonblue_lab.pipelines.inputs import gather_inputs
from neonblue_lab.pipelines.plan import plan
from neonblue_lab.pipelines.runs import Inputs
from neonblue_lab.settings import Settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "metrics.yaml").write_text("metrics: []")
    cell = new_code_cell("days: int = 7\nseed: int = 1", metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    return home


def inputs(home: Path, **overrides: str) -> Inputs:
    pipeline = Pipeline(name="p", description="", steps=(Step(name="a", notebook="a"),))
    given = {"a": overrides} if overrides else {}
    return gather_inputs(plan(pipeline, notebooks=home.parent, home=home, overrides=given), Settings(home))


def test_the_same_is_equal_also_after_writing_and_reading(home: Path) -> None:
    first = inputs(home)
    assert Inputs.model_validate_json(first.model_dump_json()) == first
    assert inputs(home) == first
    assert inputs(home, days="7") == first
    assert first.parameters == {"a": {"days": 7, "seed": 1}}
    assert first.libraries["nbformat"] == nbformat.__version__


def test_a_changed_parameter_notebook_or_metric_differs(home: Path) -> None:
    first = inputs(home)
    assert inputs(home, seed="2").parameters != first.parameters
    notebook = home.parent / "a.ipynb"
    notebook.write_text(notebook.read_text() + "\n")
    assert inputs(home).notebooks != first.notebooks
    (home / "metrics.yaml").write_text("metrics: [] # changed")
    assert inputs(home).metric_definitions != first.metric_definitions
