"""What a run is about to do: each step's notebook, read once, with parameters that were checked against it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from neonblue_lab.errors import BadInput
from neonblue_lab.pipelines.definition import Pipeline, Step
from neonblue_lab.pipelines.parameters import HOME, Parameter, check, declared_parameters, parse, refuse_secret


@dataclass(frozen=True)
class PlannedStep:
    """A step that is ready to run.

    Attributes:
        step: its definition.
        notebook: the notebook as it was read; a change of the file afterwards changes nothing.
        sha256: of the notebook's file.
        parameters: the value of every parameter that can be given, defaults included.
    """

    step: Step
    notebook: nbformat.NotebookNode
    sha256: str
    parameters: Mapping[str, Any]


def plan(
    pipeline: Pipeline, *, notebooks: Path, home: Path, overrides: Mapping[str, Mapping[str, str]]
) -> dict[str, PlannedStep]:
    """Read the notebooks and settle all parameters, by step name in the order of the file.

    A parameter's value is the one of `overrides` (texts, read as the parameter's type), else the pipeline's, else the
    notebook's default; `home` is given to every notebook that declares it.

    Raises:
        BadInput: one sentence for each override, notebook or parameter that does not fit, before anything has run.
    """
    names = [step.name for step in pipeline.steps]
    problems = [
        f'-p {name}.{parameter}: pipeline {pipeline.name} has no step "{name}"; its steps are {", ".join(names)}.'
        for name, given in overrides.items()
        for parameter in given
        if name not in names
    ]
    planned = {}
    for step in pipeline.steps:
        file = notebooks / f"{step.notebook}.ipynb"
        try:
            content = file.read_bytes()
            notebook = _notebook(content)
            declared = declared_parameters(notebook)
        except BadInput as error:
            problems.append(f'step "{step.name}": notebook {file}: {error}')
            continue
        values, misfits = _settle(step, declared, home, overrides.get(step.name, {}))
        problems += [f'{pipeline.name}.yaml, step "{step.name}", notebook {file.name}, {text}' for text in misfits]
        planned[step.name] = PlannedStep(step, notebook, hashlib.sha256(content).hexdigest(), values)
    if problems:
        raise BadInput("\n".join(problems))
    return planned


def _notebook(content: bytes) -> nbformat.NotebookNode:
    try:
        notebook: nbformat.NotebookNode = nbformat.reads(  # type: ignore[no-untyped-call]
            content.decode("utf-8"), as_version=4
        )
        nbformat.validate(notebook)
    except (ValueError, KeyError, AttributeError, nbformat.ValidationError) as error:
        raise BadInput(f"this is not a notebook in nbformat 4 ({str(error).splitlines()[0]}).") from error
    return notebook


def _settle(
    step: Step, declared: Mapping[str, Parameter], home: Path, texts: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Values by parameter, and a sentence for each that does not fit."""
    values = {name: parameter.default for name, parameter in declared.items() if parameter.kind is not None}
    problems = []
    given: list[tuple[str, Callable[[Parameter, Any], Any], str, Any]] = [
        ("its parameters", check, name, value) for name, value in step.parameters.items() if name not in texts
    ]
    given += [(f"-p {step.name}.{name}", parse, name, text) for name, text in texts.items()]
    for origin, read, name, value in given:
        try:
            refuse_secret(name)
            if name == HOME:
                raise BadInput(f'parameter "{HOME}" is given by the runner; choose the data folder with --home.')
            if name not in declared:
                known = ", ".join(str(parameter) for parameter in declared.values() if parameter.name != HOME)
                raise BadInput(f'there is no parameter "{name}"; the notebook takes {known or "none"}.')
            values[name] = read(declared[name], value)
        except BadInput as error:
            problems.append(f"{origin}: {error}")
    if HOME in declared:
        values[HOME] = str(home)
    return values, problems
