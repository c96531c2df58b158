"""Parameters fit the notebook that takes them, or a sentence says why not, before anything runs."""

import json
from pathlib import Path
from typing import Any

import nbformat
import nbformat.v4
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.pipelines.definition import Pipeline, Step
from neonblue_lab.pipelines.parameters import (
    Kind,
    Parameter,
    check,
    declared_parameters,
    parse,
    parse_overrides,
    refuse_secret,
)
from neonblue_lab.pipelines.plan import plan

CELL = """\
home: str = ""  # the data folder
days: int = 7
rate: float = 0.5
fast: bool = False
names: list[str] = [
    "a",  # first
    "b=c",
]
seed: int | None = None
text = "a=b"
numbers = [1, 2]
since = date.today()
options: dict = {}
"""


def notebook(source: str, tag: str = "parameters") -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, metadata={"tags": [tag]})])


def test_the_cell_is_read_as_python() -> None:
    declared = declared_parameters(notebook(CELL))
    kinds = {name: str(parameter.kind) for name, parameter in declared.items()}
    assert kinds == {
        "home": "str",
        "days": "int",
        "rate": "float",
        "fast": "bool",
        "names": "list[str]",
        "seed": "int | None",
        "text": "str",
        "numbers": "list[int]",
        "since": "None",
        "options": "None",
    }
    assert declared["names"].default == ["a", "b=c"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("days", "14", 14),
        ("rate", "1e-3", 0.001),
        ("rate", "2", 2.0),
        ("fast", "TRUE", True),
        ("names", '["x"]', ["x"]),
        ("seed", "3", 3),
        ("seed", "null", None),
        ("text", "14", "14"),
        ("text", "", ""),
    ],
)
def test_texts_become_the_declared_type(name: str, text: str, value: Any) -> None:
    got = parse(declared_parameters(notebook(CELL))[name], text)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("days", "seven"),
        ("days", "1.5"),
        ("rate", "nan"),
        ("rate", "inf"),
        ("fast", "yes"),
        ("names", "x"),
        ("names", "[1]"),
        ("names", '{"a": 1}'),
        ("since", "2026-01-01"),
        ("options", "{}"),
        ("days", "null"),
    ],
)
def test_other_texts_are_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(BadInput, match=f'parameter "{name}"'):
        parse(declared_parameters(notebook(CELL))[name], text)


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("days", 7, True),
        ("days", "7", False),
        ("days", True, False),
        ("days", 7.0, False),
        ("rate", 1, True),
        ("rate", True, False),
        ("rate", float("inf"), False),
        ("text", 7, False),
        ("fast", 1, False),
        ("names", ["a"], True),
        ("names", ["a", 1], False),
        ("names", "a", False),
        ("seed", None, True),
        ("days", None, False),
    ],
)
def test_values_of_a_file_are_not_converted(name: str, value: Any, fits: bool) -> None:
    parameter = declared_parameters(notebook(CELL))[name]
    if fits:
        assert check(parameter, value) == value
    else:
        with pytest.raises(BadInput, match=f'parameter "{name}"'):
            check(parameter, value)


@given(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.lists(st.text()))
def test_what_is_written_out_is_read_back(number: int, real: float, texts: list[str]) -> None:
    assert parse(Parameter("n", Kind("int"), 0), str(number)) == number
    assert parse(Parameter("x", Kind("float"), 0.0), repr(real)) == real
    assert parse(Parameter("l", Kind("list", item="str"), []), json.dumps(texts)) == texts


@pytest.mark.parametrize(
    "name", ["password", "db_password", "API_KEY", "slack_token", "aws_secret_access_key", "apikey"]
)
def test_secrets_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="environment variable"):
        refuse_secret(name)
    with pytest.raises(BadInput, match="environment variable"):
        declared_parameters(notebook(f'{name} = ""'))


@pytest.mark.parametrize("name", ["max_tokens", "tokenizer", "keys", "secretary", "home", "key_metric"])
def test_innocent_names_pass(name: str) -> None:
    refuse_secret(name)


def test_overrides_are_split_at_the_first_signs() -> None:
    assert parse_overrides(["a.x=1", "a.y=b.c=d", "b.x="]) == {"a": {"x": "1", "y": "b.c=d"}, "b": {"x": ""}}


@pytest.mark.parametrize("text", ["a", "a.b", "a=b", ".x=1", "a.=1"])
def test_other_overrides_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"step\.parameter=value"):
        parse_overrides([text])


def test_the_same_override_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="twice"):
        parse_overrides(["a.x=1", "a.x=2"])


def planned(tmp_path: Path, overrides: dict[str, dict[str, str]], **parameters: Any) -> dict[str, Any]:
    nbformat.write(notebook(CELL), tmp_path / "10_a.ipynb")
    pipeline = Pipeline(name="p", description="", steps=(Step(name="a", notebook="10_a", parameters=parameters),))
    made = plan(pipeline, notebooks=tmp_path, home=tmp_path / "home", overrides=overrides)
    return dict(made["a"].parameters)


def test_override_before_pipeline_before_default(tmp_path: Path) -> None:
    values = planned(tmp_path, {"a": {"days": "28"}}, days=14, rate=1)
    assert values["days"] == 28
    assert values["rate"] == 1.0
    assert values["names"] == ["a", "b=c"]
    assert values["home"] == str(tmp_path / "home")
    assert "since" not in values


@pytest.mark.parametrize(
    ("overrides", "parameters", "says"),
    [
        (
            {},
            {"dayz": 1},
            r'p.yaml, step "a", notebook 10_a.ipynb.*no parameter "dayz"; .* takes days: int, rate: float',
        ),
        ({"a": {"days": "x"}}, {}, r"-p a.days: parameter \"days\" is int, and 'x' is not"),
        ({"b": {"days": "1"}}, {}, r'-p b.days: pipeline p has no step "b"; its steps are a'),
        ({"a": {"home": "/"}}, {}, "--home"),
        ({"a": {"my_token": "x"}}, {}, "looks like a secret"),
    ],
)
def test_misfits_name_step_notebook_and_parameter(
    tmp_path: Path, overrides: dict[str, dict[str, str]], parameters: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        planned(tmp_path, overrides, **parameters)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("not json", "not a notebook"),
        ("{}", "not a notebook"),
        ("[]", "not a notebook"),
        (nbformat.writes(notebook("days = 1", tag="other")), "no code cell is tagged `parameters`"),
        (nbformat.writes(notebook("days = = 1")), "line 1 of its `parameters` cell is not plain Python"),
    ],
)
def test_a_file_that_is_no_parameterised_notebook_is_refused(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "10_a.ipynb").write_text(content)
    pipeline = Pipeline(name="p", description="", steps=(Step(name="a", notebook="10_a"),))
    with pytest.raises(BadInput, match=says):
        plan(pipeline, notebooks=tmp_path, home=tmp_path, overrides={})
