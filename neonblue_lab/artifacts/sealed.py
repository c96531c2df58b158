"""JSON documents that carry a hash over themselves, so that a changed byte is noticed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neonblue_lab.errors import Corrupt

SEAL = "sha256"


def _serialise(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def seal(document: Mapping[str, Any]) -> bytes:
    """The document as JSON, its last key `sha256` being the SHA-256 of the JSON without that key."""
    digest = hashlib.sha256(_serialise(document)).hexdigest()
    return _serialise({**document, SEAL: digest})


def unseal(path: Path) -> dict[str, Any]:
    """The document that `seal` wrote to `path`.

    Raises:
        Corrupt: the file is missing, or any of its bytes is not what `seal` wrote.
    """
    try:
        content = path.read_bytes()
        document = json.loads(content)
    except FileNotFoundError:
        raise Corrupt(f"{path} is missing.") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Corrupt(f"{path} is not readable as JSON: {error}.") from error
    if not isinstance(document, dict):
        raise Corrupt(f"{path} holds no JSON object.")
    document.pop(SEAL, None)
    try:
        expected = seal(document)
    except ValueError as error:
        raise Corrupt(f"{path} was changed after it was written: {error}.") from error
    if expected != content:
        raise Corrupt(f"{path} was changed after it was written: its {SEAL} does not match.")
    return document
