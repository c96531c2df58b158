"""A notebook's parameters: what its cell tagged `parameters` declares, and whether given values fit.

The cell is read as Python source. (papermill's own inspection reads it line by line with a regular expression, and
overlooks `seed: int | None = 7` and `text = "a=b"`.)
"""

import ast
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode

from neonblue_lab.errors import BadInput

TAG = "parameters"
HOME = "home"
"""The parameter that the runner itself gives: the data folder of the run."""

_SCALARS: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
_SECRET_WORDS = {"password", "passwd", "passphrase", "secret", "token", "credential", "credentials", "apikey"}
_SECRET_PAIRS = ("api_key", "access_key", "private_key", "secret_key")


@dataclass(frozen=True)
class Kind:
    """The type of a parameter: a scalar's name or "list", the type of a list's items, and whether None is allowed."""

    name: str
    item: str | None = None
    optional: bool = False

    def __str__(self) -> str:
        return (f"list[{self.item}]" if self.item else self.name) + (" | None" if self.optional else "")


@dataclass(frozen=True)
class Parameter:
    """One assignment of the parameters cell; `kind` is None where no value could be given from outside."""

    name: str
    kind: Kind | None
    default: Any

    def __str__(self) -> str:
        return f"{self.name}: {self.kind or 'not settable'}"


def declared_parameters(notebook: NotebookNode) -> dict[str, Parameter]:
    """Read what the first cell tagged `parameters` assigns, by name and in order.

    A parameter's type is its annotation, or else the type of its default: int, float, bool, str, or a list of these.

    Raises:
        BadInput: there is no such cell, it is not plain Python, or a parameter's name promises a secret.
    """
    cells = (cell for cell in notebook.cells if TAG in cell.metadata.get("tags", ()))
    cell = next((cell for cell in cells if cell.cell_type == "code"), None)
    if cell is None:
        raise BadInput(f"no code cell is tagged `{TAG}`; tag the one that assigns the defaults.")
    try:
        body = ast.parse(cell.source).body
    except SyntaxError as error:
        raise BadInput(f"line {error.lineno} of its `{TAG}` cell is not plain Python: {error.msg}.") from error
    found = {}
    for statement in body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                found[name] = Parameter(name, _annotated(annotation), _literal(value))
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                default = _literal(value)
                found[name] = Parameter(name, _inferred(default), default)
    for name in found:
        refuse_secret(name)
    return found


def refuse_secret(name: str) -> None:
    """Raise BadInput where a parameter's name promises a password, token or key.

    Parameters are written into the executed notebook and into `run.json`.
    """
    lowered = name.lower()
    if _SECRET_WORDS & set(lowered.split("_")) or any(pair in lowered for pair in _SECRET_PAIRS):
        raise BadInput(
            f'parameter "{name}" looks like a secret, and parameters are written into notebooks and reports; '
            "have the notebook read it from an environment variable instead."
        )


def parse_overrides(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Split `step.parameter=value` texts into step -> parameter -> text.

    Raises:
        BadInput: a text of another form, or the same parameter twice.
    """
    overrides: dict[str, dict[str, str]] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        step, dot, name = path.strip().partition(".")
        if not (equals and dot and step and name):
            raise BadInput(f'-p "{text}" is not of the form step.parameter=value, as in -p trends.days_ahead=14.')
        if name in overrides.setdefault(step, {}):
            raise BadInput(f"-p {step}.{name} is given twice; give it once.")
        overrides[step][name] = value
    return overrides


def check(parameter: Parameter, value: Any) -> Any:
    """Return `value` as the parameter's type; an int passes for a float, nothing else is converted.

    Raises:
        BadInput: it has another type.
    """
    kind = _settable(parameter)
    if value is None and kind.optional:
        return None
    if kind.name == "list" and isinstance(value, list):
        return [_scalar(parameter, kind.item, item) for item in value]
    if kind.name in _SCALARS:
        return _scalar(parameter, kind.name, value)
    raise BadInput(_misfit(parameter, value))


def parse(parameter: Parameter, text: str) -> Any:
    """Read a text of the command line as the parameter's type: lists as JSON, true/false for bool.

    Raises:
        BadInput: the text is not of that type.
    """
    kind = _settable(parameter)
    if kind.optional and text in ("", "null", "None"):
        return None
    try:
        if kind.name == "str":
            return text
        if kind.name == "int":
            return int(text)
        if kind.name == "float":
            return check(parameter, float(text))
        if kind.name == "bool":
            return {"true": True, "false": False}[text.lower()]
        return check(parameter, json.loads(text))
    except (ValueError, KeyError) as error:
        raise BadInput(_misfit(parameter, text)) from error


def _settable(parameter: Parameter) -> Kind:
    if parameter.kind is None:
        raise BadInput(
            f'parameter "{parameter.name}" has no type that can be given from outside; '
            "annotate it in the notebook as int, float, bool, str or a list of these (dates as ISO text)."
        )
    return parameter.kind


def _scalar(parameter: Parameter, name: str | None, value: Any) -> Any:
    if name == "float" and type(value) is int:
        value = float(value)
    if name is not None and type(value) is not _SCALARS[name]:
        raise BadInput(_misfit(parameter, value))
    if type(value) not in _SCALARS.values() or (isinstance(value, float) and not math.isfinite(value)):
        raise BadInput(_misfit(parameter, value))
    return value


def _misfit(parameter: Parameter, value: Any) -> str:
    hints = {"bool": " (true or false)", "list": ' (JSON, as in ["a", "b"])', "float": " (a finite number)"}
    kind = _settable(parameter)
    return f'parameter "{parameter.name}" is {kind}{hints.get(kind.name, "")}, and {value!r} is not.'


def _literal(node: ast.expr | None) -> Any:
    """The value of a literal; None for anything that would have to be run."""
    if node is None:
        return None
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _inferred(default: Any) -> Kind | None:
    name = type(default).__name__
    if name in _SCALARS:
        return Kind(name)
    if isinstance(default, list):
        items = {type(item).__name__ for item in default}
        return Kind("list", item=items.pop() if len(items) == 1 and items <= set(_SCALARS) else None)
    return None


def _annotated(node: ast.expr) -> Kind | None:
    match node:
        case ast.Name(id=name) if name in _SCALARS or name == "list":
            return Kind(name)
        case ast.Subscript(value=ast.Name(id="list"), slice=ast.Name(id=item)) if item in _SCALARS:
            return Kind("list", item=item)
        case ast.BinOp(left=left, op=ast.BitOr(), right=ast.Constant(value=None)):
            kind = _annotated(left)
            return kind and Kind(kind.name, kind.item, optional=True)
    return None
