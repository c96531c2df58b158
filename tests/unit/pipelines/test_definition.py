"""A pipeline's file says what is wrong with it, and on which line, before anything runs."""

from pathlib import Path

import pytest

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.pipelines.definition import load_pipeline, pipeline_file
from neonblue_lab.pipelines.plan import plan
from neonblue_lab.settings import CHECKOUT


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("10_first", "20_second"):
        (folder / f"{name}.ipynb").write_text("{}")
    return folder


def write(folder: Path, text: str) -> Path:
    file = folder / "nightly.yaml"
    file.write_text(text)
    return file


GOOD = """\
name: nightly
description: two steps
gate: first
steps:
  - {name: second, notebook: 20_second, needs: [first], timeout: 60, parameters: {days: 7}}
  - name: first
    notebook: 10_first
"""


def test_a_good_file_becomes_steps_in_the_order_of_the_file(tmp_path: Path, notebooks: Path) -> None:
    pipeline = load_pipeline(write(tmp_path, GOOD), notebooks=notebooks)
    assert [step.name for step in pipeline.steps] == ["second", "first"]
    assert [step.name for step in pipeline.ordered()] == ["first", "second"]
    assert pipeline.steps[0].parameters == {"days": 7}
    assert pipeline.steps[0].timeout == 60


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("description: two", "descripton: two", 2, 'unknown key "descripton"'),
        ("description: two steps\n", "", 1, 'key "description" is missing'),
        ("timeout: 60", "timeouts: 60", 5, 'unknown key "timeouts"; the known ones are name, notebook, needs'),
        ("timeout: 60", "timeout: 0", 5, '"timeout" cannot be 0'),
        ("timeout: 60", "timeout: soon", 5, "\"timeout\" cannot be 'soon'"),
        ("notebook: 10_first", "notebook: ../10_first", 7, '"notebook" cannot be'),
        ("notebook: 10_first", "notebook: 11_first", 7, 'no notebook "11_first" in'),
        ("name: first", "name: second", 6, 'already a step "second"'),
        ("needs: [first]", "needs: [frist]", 5, 'needs "frist", which is no step here; the steps are second, first'),
        ("needs: [first]", "needs: [second]", 5, "in a circle: second needs second"),
        ("notebook: 10_first\n", "notebook: 10_first\n    needs: [second]\n", 5, "in a circle: "),
        ("gate: first", "gate: frist", 3, 'gate "frist" is no step'),
        ("needs: [first], ", "", 5, 'step "second" must need the gate "first"'),
        ("name: nightly", "name: weekly", 1, 'is called "nightly", not "weekly"'),
        ("    notebook: 10_first", "    name: again", 7, 'key "name" is already on line 6'),
        ("steps:", "steps: [", 5, "this is not YAML"),
    ],
)
def test_a_bad_file_is_told_with_its_line(
    tmp_path: Path, notebooks: Path, old: str, new: str, line: int, says: str
) -> None:
    assert old in GOOD
    file = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(BadInput) as error:
        load_pipeline(file, notebooks=notebooks)
    told = [each for each in str(error.value).splitlines() if says in each]
    assert told, str(error.value)
    assert told[0].startswith(f"{file}, line {line}: ")
    assert told[0].endswith(".")


def test_all_problems_are_told_at_once(tmp_path: Path, notebooks: Path) -> None:
    text = GOOD.replace("20_second", "21_second").replace("10_first", "11_first")
    with pytest.raises(BadInput) as error:
        load_pipeline(write(tmp_path, text), notebooks=notebooks)
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["", "- a list", "just text", "name: \x00"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, notebooks: Path, text: str) -> None:
    with pytest.raises(BadInput, match="nightly"):
        load_pipeline(write(tmp_path, text), notebooks=notebooks)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path, notebooks: Path) -> None:
    file = tmp_path / "nightly.yaml"
    file.write_bytes("name: é".encode("latin-1"))
    with pytest.raises(BadInput, match="UTF-8"):
        load_pipeline(file, notebooks=notebooks)


def test_an_unknown_pipeline_lists_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    with pytest.raises(NotFound, match=r'no pipeline "\.\./nightly".*there is: nightly'):
        pipeline_file(tmp_path, "../nightly")


def test_the_pipelines_of_the_checkout_fit_its_notebooks(tmp_path: Path) -> None:
    for file in (CHECKOUT / "pipelines").glob("*.yaml"):
        pipeline = load_pipeline(file, notebooks=CHECKOUT / "notebooks")
        planned = plan(pipeline, notebooks=CHECKOUT / "notebooks", home=tmp_path, overrides={})
        assert all(step.parameters["home"] == str(tmp_path) for step in planned.values())
