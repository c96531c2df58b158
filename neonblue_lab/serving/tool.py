"""How a function of `Lab` becomes a tool or resource: the lab is handed to it, unknown arguments are refused, and errors
reach the model as sentences."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import ToolAnnotations

from neonblue_lab.errors import NeonBlueError, NotFound
from neonblue_lab.lab import Lab
from neonblue_lab.serving.desk import Desk

READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

P = ParamSpec("P")
R = TypeVar("R")
Served = Callable[Concatenate[Lab, P], R]


def tool(function: Served[P, R], desk: Desk) -> Tool:
    """A read-only tool named and described like the function, whose first parameter is the lab."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with desk.lab() as lab:
                return function(lab, *args, **kwargs)
        except NeonBlueError as error:
            # The SDK keeps the text of any other exception from the model.
            raise ToolError(str(error)) from error

    _hide_lab(call, function)
    made = Tool.from_function(call, annotations=READ_ONLY, description=inspect.getdoc(function))
    arguments = made.fn_metadata.arg_model
    arguments.model_config["extra"] = "forbid"  # the SDK would drop a mistyped argument and answer another question
    arguments.model_rebuild(force=True)
    made.parameters = arguments.model_json_schema(by_alias=True)
    return made


def resource(function: Served[P, R], desk: Desk) -> Callable[P, R]:
    """A function that reads a resource, without its first parameter, the lab."""

    @functools.wraps(function)
    def read(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with desk.lab() as lab:
                return function(lab, *args, **kwargs)
        except NotFound as error:
            raise ResourceNotFoundError(str(error)) from error
        except NeonBlueError as error:
            raise ResourceError(str(error)) from error

    _hide_lab(read, function)
    return read


def _hide_lab(wrapper: Any, function: Callable[..., Any]) -> None:
    """Give a wrapper the function's signature without its first parameter: what clients are told of."""
    signature = inspect.signature(function, eval_str=True)
    _, *parameters = signature.parameters.values()
    wrapper.__signature__ = signature.replace(parameters=parameters)
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    wrapper.__annotations__["return"] = signature.return_annotation
