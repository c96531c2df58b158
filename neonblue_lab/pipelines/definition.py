"""A pipeline is a YAML file: its steps, what each needs, and what may spare the others their work."""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.pipelines.marks import Document, Location, read_yaml

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(_Strict):
    """One notebook of a pipeline.

    Attributes:
        name: how the other steps, the command line and the files of a run call it.
        notebook: file name of the notebook without `.ipynb`.
        needs: names of the steps that must have succeeded before.
        timeout: seconds that the whole notebook may take, the kernel's start included.
        parameters: values for the notebook's cell tagged `parameters`.
    """

    name: Name
    notebook: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    needs: tuple[str, ...] = ()
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1800.0
    parameters: dict[str, Any] = {}


class Pipeline(_Strict):
    """Steps in the order of the file.

    Attributes:
        gate: the step that all others need; where it records the `data_version` of the run before, and nothing else
            changed since that run succeeded, the others have nothing to do.
    """

    name: Name
    description: str
    gate: str | None = None
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    def ordered(self) -> list[Step]:
        """The steps so that each comes after those it needs.

        Raises:
            CycleError: there is no such order; a pipeline from `load_pipeline` has one.
        """
        by_name = {step.name: step for step in self.steps}
        return [by_name[name] for name in TopologicalSorter({s.name: s.needs for s in self.steps}).static_order()]


def pipeline_file(folder: Path, name: str) -> Path:
    """Return the file of the pipeline called `name`.

    Raises:
        NotFound: no such pipeline; the message lists those that exist.
    """
    known = {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    if name not in known:
        raise NotFound(f'There is no pipeline "{name}" in {folder}; there is: {", ".join(known) or "none"}.')
    return known[name]


def load_pipeline(file: Path, *, notebooks: Path) -> Pipeline:
    """Read a pipeline and check everything that can be known without opening its notebooks.

    Raises:
        BadInput: one sentence for each thing that is wrong, with its file and line.
    """
    document = read_yaml(file)
    try:
        pipeline = Pipeline.model_validate(document.value)
    except ValidationError as error:
        problems = [document.at(problem["loc"], _sentence(dict(problem))) for problem in error.errors()]
    else:
        problems = [document.at(location, text) for location, text in _problems(pipeline, document, notebooks)]
        if not problems:
            return pipeline
    raise BadInput("\n".join(problems))


def _sentence(problem: dict[str, Any]) -> str:
    location: Location = problem["loc"]
    if problem["type"] == "extra_forbidden":
        known = Step.model_fields if location[0] == "steps" else Pipeline.model_fields
        return f'unknown key "{location[-1]}"; the known ones are {", ".join(known)}.'
    if problem["type"] == "missing":
        return f'key "{location[-1]}" is missing.'
    if not location:
        return f"a pipeline is a mapping with the keys {', '.join(Pipeline.model_fields)}."
    where = next((str(part) for part in reversed(location) if isinstance(part, str)), "")
    return f'"{where}" cannot be {problem["input"]!r}: {problem["msg"][0].lower()}{problem["msg"][1:]}.'


def _problems(pipeline: Pipeline, document: Document, notebooks: Path) -> Iterator[tuple[Location, str]]:
    if pipeline.name != document.file.stem:
        yield ("name",), f'the pipeline of this file is called "{document.file.stem}", not "{pipeline.name}".'
    names = [step.name for step in pipeline.steps]
    for at, step in enumerate(pipeline.steps):
        if step.name in names[:at]:
            yield ("steps", at, "name"), f'there is already a step "{step.name}"; give this one a name of its own.'
        if not (notebooks / f"{step.notebook}.ipynb").is_file():
            known = ", ".join(sorted(path.stem for path in notebooks.glob("*.ipynb"))) or "none"
            text = f'step "{step.name}": there is no notebook "{step.notebook}" in {notebooks}; there is: {known}.'
            yield ("steps", at, "notebook"), text
        for position, needed in enumerate(step.needs):
            if needed not in names:
                text = f'step "{step.name}" needs "{needed}", which is no step here; the steps are {", ".join(names)}.'
                yield ("steps", at, "needs", position), text
    yield from _order_problems(pipeline, names)


def _order_problems(pipeline: Pipeline, names: list[str]) -> Iterator[tuple[Location, str]]:
    if not {needed for step in pipeline.steps for needed in step.needs} <= set(names):
        return  # Reported already; there is no order to look at.
    try:
        order = pipeline.ordered()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        yield (
            ("steps", names.index(cycle[0]), "needs"),
            f"steps wait for each other in a circle: {' needs '.join(reversed(cycle))}.",
        )
        return
    if pipeline.gate is None:
        return
    if pipeline.gate not in names:
        yield ("gate",), f'the gate "{pipeline.gate}" is no step here; the steps are {", ".join(names)}.'
        return
    behind = {pipeline.gate}
    for step in order:
        if behind & set(step.needs):
            behind.add(step.name)
    for at, name in enumerate(names):
        if name not in behind:
            yield ("steps", at), f'step "{name}" must need the gate "{pipeline.gate}", directly or through others.'
