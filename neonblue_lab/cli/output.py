"""What a command leaves behind: text for a person or one JSON document, a reason on stderr, an exit code."""

import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

DONE, FAILED, USAGE, NOTHING_TO_DO = 0, 1, 2, 3
INTERRUPTED = 130


def answer(document: Any, as_json: bool, text: str) -> None:
    """Print `document` for a machine, or `text` for a person."""
    if as_json:
        print_json(document)
    else:
        print(text)


def complain(kind: str, message: str) -> None:
    """What is wrong, on stderr, in the form of the log; with --json also as a document on stdout."""
    told = message.removeprefix("neonblue: ")
    if "--json" in sys.argv[1:]:
        print_json({"error": {"kind": kind, "message": told}})
    if "--log-format=json" in sys.argv or ("--log-format", "json") in pairwise(sys.argv):
        from neonblue_lab.cli.logs import write_line

        write_line("error", "failed", told, kind=kind)
    else:
        print(message, file=sys.stderr)


def print_json(document: Any) -> None:
    """Print one indented JSON document on stdout."""
    sys.stdout.buffer.write(_json(document) + b"\n")
    sys.stdout.buffer.flush()


def write_json(file: Path, document: Any) -> None:
    """Write one indented JSON document to `file`."""
    file.write_bytes(_json(document) + b"\n")


def _json(document: Any) -> bytes:
    import orjson

    def default(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode("utf-8", "backslashreplace")
        if isinstance(value, Path):
            return str(value)
        if hasattr(value, "item"):
            return value.item()
        raise TypeError(f"{type(value).__name__} has no JSON form")

    return orjson.dumps(document, default=default, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)


def listed(records: Mapping[str, int]) -> str:
    """Names with their counts, as part of a sentence."""
    return ", ".join(f"{name} {count:,}" for name, count in records.items())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: those in which every cell begins with a digit or a minus are numbers, to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    numeric = [all(row[i][:1].isdigit() or row[i][:1] == "-" for row in rows) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in [header, *rows]
    )
