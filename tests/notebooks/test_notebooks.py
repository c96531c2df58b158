"""The committed notebooks: clean and thin on disk, run by nbval cell for cell, and showing what they promise."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

import nbformat
import pytest
import yaml
from nbformat import NotebookNode

from neonblue_lab import plots
from neonblue_lab.errors import Unavailable
from neonblue_lab.knowledge.minilm import model_folder
from neonblue_lab.pipelines.parameters import declared_parameters
from neonblue_lab.pipelines.runner import run_pipeline
from neonblue_lab.pipelines.runs import load_runs
from neonblue_lab.settings import CHECKOUT, RECORD_MIME, Settings
from tests.services.workbench import nightly_home

NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
NIGHTLY = yaml.safe_load((CHECKOUT / "pipelines/nightly.yaml").read_text())["steps"]
TOUR = {"name": "tour", "notebook": "00_tour"}
CHARTS = set(plots.__all__) - {"use_theme"}
OWN_LOGIC = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.Lambda,
    ast.ClassDef,
    ast.If,
    ast.For,
    ast.While,
    ast.Try,
    ast.With,
)
A_PLACE_ON_A_MACHINE = re.compile(r"(?<![\w.])(/(home|Users|root|tmp|var|usr|opt|mnt|work)/|[A-Za-z]:\\)")
SVG = "{http://www.w3.org/2000/svg}svg"

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def charts_drawn(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells that draw a chart of `neonblue_lab.plots`."""
    return [cell for cell in code_cells(notebook) if CHARTS & set(map(ast.unparse, called(ast.parse(cell.source))))]


def called(tree: ast.AST) -> Iterator[ast.expr]:
    return (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))


# --- as committed -----------------------------------------------------------------------------------------------------


@every_notebook
def test_is_clean(path: Path) -> None:
    text = path.read_text()
    notebook = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata.language_info) == {"name"}  # A version would change with whoever saves it.
    assert not A_PLACE_ON_A_MACHINE.search(text)
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}
    for cell in code_cells(notebook):
        assert cell.execution_count is None
        assert not cell.outputs or "NBVAL_CHECK_OUTPUT" in cell.source, "an output that no test compares"


@every_notebook
def test_has_typed_parameters_with_defaults(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.AnnAssign), "a parameter without a type"
        assert statement.value is not None, "a parameter without a default"
        ast.literal_eval(statement.value)
    parameters = declared_parameters(notebook)
    assert all(parameter.kind for parameter in parameters.values())
    assert parameters["home"].default == ""
    assert code_cells(notebook)[0] is cell


@every_notebook
def test_is_thin_draws_and_records(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    for cell in code_cells(notebook):
        logic = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, OWN_LOGIC)]
        assert not logic, f"belongs into the package: {ast.unparse(logic[0])}"
    assert charts_drawn(notebook)
    assert "lab.record" in map(ast.unparse, called(ast.parse(code_cells(notebook)[-1].source)))


def test_all_but_the_tour_run_every_night() -> None:
    assert {path.stem for path in NOTEBOOKS} == {step["notebook"] for step in [*NIGHTLY, TOUR]}


# --- run --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, unavailable: Callable[[str], NoReturn]) -> Path:
    """A data folder after a nightly run."""
    try:
        model_folder()
    except Unavailable as reason:
        unavailable(str(reason))
    return nightly_home(tmp_path_factory)


@pytest.fixture(scope="module")
def executed(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, NotebookNode]:
    """Every notebook with its outputs: those of the nightly run, and the tour run on what that run made."""
    pipelines = tmp_path_factory.mktemp("pipelines")
    (pipelines / "tour.yaml").write_text(yaml.safe_dump({"name": "tour", "description": "", "steps": [TOUR]}))
    run_pipeline(Settings(home), "tour", pipelines=pipelines)
    made_from = {step["name"]: step["notebook"] for step in [*NIGHTLY, TOUR]}
    outputs = {}
    for run in load_runs(Settings(home)):
        assert run.status == "succeeded", [step.error for step in run.steps]
        for step in run.steps:
            file = Settings(home).runs / run.run_id / f"{step.name}.ipynb"
            outputs[made_from[step.name]] = nbformat.read(file, as_version=4)
    return outputs


@every_notebook
@pytest.mark.timeout(180)
def test_nbval_runs_every_cell(path: Path, home: Path, tmp_path: Path) -> None:
    own = {"NEONBLUE_HOME": str(home), "IPYTHONDIR": str(tmp_path)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    nbval = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", "-p", "no:xdist", str(path)],
        cwd=CHECKOUT,
        env=inherited | own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert nbval.returncode == 0, nbval.stdout + nbval.stderr
    cells = len(code_cells(nbformat.read(path, as_version=4)))
    assert re.search(rf"^{cells} passed in ", nbval.stdout, re.MULTILINE), nbval.stdout


@every_notebook
def test_shows_every_chart_as_a_picture_that_needs_no_network(path: Path, executed: dict[str, NotebookNode]) -> None:
    for cell in charts_drawn(executed[path.stem]):
        (svg,) = (o.data["image/svg+xml"] for o in cell.outputs if "image/svg+xml" in o.get("data", {}))
        picture = ElementTree.fromstring(svg)
        assert picture.tag == SVG
        assert float(picture.attrib["width"]) > 100
        assert float(picture.attrib["height"]) > 100
        assert not re.search(r"(href|src|url\()\W*https?:", svg)


@every_notebook
def test_records_what_it_learned(path: Path, executed: dict[str, NotebookNode]) -> None:
    (output,) = code_cells(executed[path.stem])[-1].outputs
    recorded = output.data[RECORD_MIME]
    assert "events@" in recorded["data_version"]
    assert len(recorded) > 1
    assert all(f"{name}: " in output.data["text/plain"] for name in recorded)


@every_notebook
def test_runs_no_script_and_warns_of_nothing(path: Path, executed: dict[str, NotebookNode]) -> None:
    outputs = [output for cell in code_cells(executed[path.stem]) for output in cell.outputs]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    for data in (output.data for output in outputs if "data" in output):
        assert not [mime for mime in data if "javascript" in mime or "vega" in mime]
        assert "<script" not in data.get("text/html", "")
