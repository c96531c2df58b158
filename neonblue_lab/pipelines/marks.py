"""YAML with line numbers: what a file says, and on which line it says it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from neonblue_lab.errors import BadInput

Location = tuple[str | int, ...]
"""Keys and list positions that lead from the top of a document to one of its values."""


@dataclass(frozen=True)
class Document:
    """A YAML file, read.

    Attributes:
        file: where it lies.
        value: its content as plain Python values.
        lines: the line, counted from 1, of each key and each list item.
    """

    file: Path
    value: Any
    lines: Mapping[Location, int]

    def at(self, location: Location, sentence: str) -> str:
        """Prefix a sentence with the file and the line of `location`, or of what encloses it."""
        known = next(location[:end] for end in range(len(location), -1, -1) if location[:end] in self.lines)
        return f"{self.file}, line {self.lines[known]}: {sentence}"


def read_yaml(file: Path) -> Document:
    """Read a YAML file together with its line numbers.

    Raises:
        BadInput: not UTF-8, not YAML, empty, or a key written twice; the message names the line.
    """
    try:
        loader = yaml.SafeLoader(file.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        if root is None:
            raise BadInput(f"{file} is empty.")
        marks = list(_marks(root, ()))
        value = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadInput(f"{file}, line {line}: this is not YAML: {error.problem or error}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise BadInput(f"{file} cannot be read as YAML in UTF-8: {error}.") from error
    lines: dict[Location, int] = {}
    for location, line in marks:
        if location in lines:
            first = lines[location]
            raise BadInput(f'{file}, line {line}: key "{location[-1]}" is already on line {first}; keep one of them.')
        lines[location] = line
    return Document(file, value, lines)


def _marks(node: yaml.Node, location: Location) -> Iterator[tuple[Location, int]]:
    if not location:
        yield location, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            yield (*location, key.value), key.start_mark.line + 1
            yield from _marks(item, (*location, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield (*location, position), item.start_mark.line + 1
            yield from _marks(item, (*location, position))
