"""Weights of scikit-learn pipelines as skops files: read only if each type that a file names is on a list."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neonblue_lab.errors import Corrupt


def save_pipeline(path: Path, pipeline: Any) -> None:
    """Write a fitted scikit-learn estimator to `path` as a skops file."""
    import skops.io  # half of a server's start-up; only whoever publishes or opens weights needs it

    skops.io.dump(pipeline, path)


def load_pipeline(path: Path, trusted: frozenset[str]) -> Any:
    """The estimator of a skops file, after comparing each type that it names with `trusted`.

    skops itself trusts every class of scikit-learn, NumPy and SciPy without being asked: more than one model needs.

    Args:
        path: the skops file.
        trusted: all that the estimator may be made of, as `module.Class`.

    Raises:
        Corrupt: the file names another type, or is no skops file. Nothing of it was loaded.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            schema = json.loads(archive.read("schema.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise Corrupt(f"{path} is not a skops file ({error}): publish the model again.") from error
    foreign = sorted(set(_types(schema)) - trusted)
    if foreign:
        raise Corrupt(
            f"{path} was not opened: it names {', '.join(foreign)}, which is no part of such a model. "
            "Find out who wrote it; do not load it by other means."
        )
    import skops.io

    return skops.io.load(path, trusted=sorted(trusted))


def _types(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "__class__" in node:
            yield f"{node.get('__module__')}.{node['__class__']}"
        for child in node.values():
            yield from _types(child)
    elif isinstance(node, list):
        for child in node:
            yield from _types(child)
