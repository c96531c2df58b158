"""The manifest of an artifact: everything needed to trust it and to make it again."""

import math
from collections.abc import Mapping
from datetime import datetime
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from neonblue_lab.artifacts.sealed import seal, unseal
from neonblue_lab.errors import BadInput, Corrupt

MANIFEST = "manifest.json"
CARD = "card.md"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Frozen):
    """Hash (SHA-256, hex) and size (bytes) of one file."""

    sha256: str
    size: int


class GitState(_Frozen):
    """The commit of the checkout that made the artifact; `dirty` when its files differed from that commit."""

    commit: str
    dirty: bool


class Manifest(_Frozen):
    """What an artifact is, and what it was made from.

    Attributes:
        name, version: as in its path `<name>/<version>`.
        kind: what it is for a reader: "model", "index", ...
        created_at: UTC.
        parameters: what the maker was called with (JSON values).
        metrics: what was measured; null where something could not be.
        data_versions: lake table -> version that was read.
        seed: of every random choice; null when there was none.
        python, platform, libraries: the process that made it; distribution -> version of all that it had imported.
        git: null outside a git checkout.
        files: path below the folder, with `/` -> hash and size; all files but the manifest itself.
    """

    name: str
    version: int
    kind: str
    created_at: datetime
    parameters: dict[str, JsonValue]
    metrics: dict[str, float | None]
    data_versions: dict[str, int]
    seed: int | None
    python: str
    platform: str
    libraries: dict[str, str]
    git: GitState | None
    files: dict[str, FileRecord]

    def sealed(self) -> bytes:
        """The bytes of `manifest.json`."""
        return seal(self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of the artifact in `folder` (.../<name>/<version>).

        Raises:
            Corrupt: it is missing, was changed, or belongs to another name or version.
        """
        path = folder / MANIFEST
        try:
            manifest = cls.model_validate(unseal(path))
        except ValidationError as error:
            raise Corrupt(f"{path} is not a manifest: {error}.") from error
        if (manifest.name, str(manifest.version)) != (folder.parent.name, folder.name):
            found = f"{manifest.name} version {manifest.version}"
            raise Corrupt(f"{path} belongs to {found}: the folder was moved or copied.")
        return manifest


def plain_parameters(parameters: Mapping[str, Any]) -> dict[str, JsonValue]:
    """`parameters` as JSON values (tuples become lists).

    Raises:
        BadInput: a value is not JSON; the message names where it stands.
    """
    return {_text_key(key, "parameters"): _plain(value, f"parameters[{key!r}]") for key, value in parameters.items()}


def _plain(value: Any, where: str) -> JsonValue:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadInput(f"{where} is {value}, which JSON cannot hold: pass a number or None.")
        return float(value)
    if isinstance(value, Mapping):
        return {_text_key(key, where): _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise BadInput(
        f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which JSON cannot hold: "
        "pass text, a number, a truth value, None, or lists and dictionaries of these."
    )


def plain_metrics(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """`metrics` as Python floats; None stays, for what could not be measured.

    Raises:
        BadInput: a value is not a finite number.
    """
    plain: dict[str, float | None] = {}
    for key, value in metrics.items():
        if value is not None and (not isinstance(value, Real) or not math.isfinite(value)):
            raise BadInput(f"metrics[{key!r}] is {value!r}: pass a finite number, or None where nothing was measured.")
        plain[_text_key(key, "metrics")] = None if value is None else float(value)
    return plain


def plain_versions(data_versions: Mapping[str, Any]) -> dict[str, int]:
    """`data_versions` as Python integers.

    Raises:
        BadInput: a value is not a version of a Delta table (an integer from 0 up).
    """
    for key, value in data_versions.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
            raise BadInput(f"data_versions[{key!r}] is {value!r}: pass the table's version, an integer from 0 up.")
    return {_text_key(key, "data_versions"): int(value) for key, value in data_versions.items()}


def plain_seed(seed: Any) -> int | None:
    """`seed` as a Python integer, or None.

    Raises:
        BadInput: it is something else.
    """
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise BadInput(f"seed is {seed!r}: pass an integer, or None when nothing was random.")
    return int(seed)


def _text_key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise BadInput(f"{where} has the key {key!r}: keys must be text.")
    return key
