"""Experiment briefs, post-mortems and notes in files: each to an event that carries its text."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import yaml

from neonblue_lab.errors import BadInput
from neonblue_lab.events.documents import KINDS, title_of
from neonblue_lab.events.encoding import RecordEncoder
from neonblue_lab.events.records import EXPERIMENTS_EVENTS, TIMESTAMP, RecordBatch
from neonblue_lab.events.schema import DOCUMENT

FORMAT_OF = {".md": "markdown", ".markdown": "markdown", ".txt": "text", ".html": "html", ".htm": "html"}
_KINDS = {"brief": r"briefs?", "post_mortem": r"post[-_ ]?mortems?"}
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_BATCH = 500
_NAMED = 5


def import_documents(place: Path) -> Iterator[RecordBatch]:
    """A `document` event for each Markdown, text or HTML file: of a folder and those below it, or the one file named.

    A Markdown or text file may begin with front matter, YAML between lines of `---`: `title`, `kind`, `experiment_id` and
    `source` say what their names say, and whatever else it says is kept in the properties. Else the title is the text's first
    heading or the file's name; the kind is told by `brief` or `post-mortem` in the path and is a note otherwise. Hidden
    files and folders are left out, and so are files of other kinds.

    A document is known by its path below the folder: a file that has changed is a later state of it, told by the time at
    which it was last written; one that has not makes the same event again.

    Raises:
        BadInput: there is no such file, a file of no such kind, or files that cannot be read as text. Nothing is yielded.
    """
    files = _files(place)
    base = place if place.is_dir() else place.parent
    events, wrong = [], []
    for file in files:
        try:
            events.append(_event(file, file.relative_to(base).as_posix()))
        except BadInput as error:
            wrong.append(str(error))
    if wrong:
        more = f"\n... and {len(wrong) - _NAMED:,} more." if len(wrong) > _NAMED else ""
        raise BadInput("\n".join(wrong[:_NAMED]) + more)
    encoder = RecordEncoder(EXPERIMENTS_EVENTS)
    schema: dict[str, Any] = {"experiment_id": pl.String, "timestamp": TIMESTAMP, "encoded": pl.Binary}
    for first in range(0, len(events), _BATCH):
        yield encoder.encode(pl.DataFrame(events[first : first + _BATCH], schema=schema, orient="row"))


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        found = sorted(
            file
            for file in place.rglob("*")
            if file.suffix.lower() in FORMAT_OF
            and file.is_file()
            and not any(part.startswith(".") for part in file.relative_to(place).parts)
        )
        if not found:
            raise BadInput(f"{place} holds no documents: files named {_named_endings()}.")
        return found
    if not place.exists():
        raise BadInput(f"There is no file or folder {place}.")
    if place.suffix.lower() not in FORMAT_OF:
        raise BadInput(f"{place} is no document by its name: it has to end in {_named_endings()}.")
    return [place]


def _named_endings() -> str:
    return ", ".join(f"*{ending}" for ending in FORMAT_OF)


def _event(file: Path, path: str) -> tuple[str | None, datetime, bytes]:
    """The experiment that a document speaks of, when it was written, and the JSON of its event."""
    content = file.read_bytes()
    format = FORMAT_OF[file.suffix.lower()]
    said, text = ({}, _decoded(file, content)) if format == "html" else _front_matter(file, _decoded(file, content))
    if not text.strip():
        raise BadInput(f"{file} is empty: write something, or remove it.")
    written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    experiment = _text(file, said, "experiment_id")
    properties = {
        key: value for key, value in said.items() if key not in ("experiment_id", "title", "kind", "source")
    } | {
        "document_id": path,
        "kind": _kind(file, said, path),
        "title": _text(file, said, "title") or title_of(text, format) or file.stem,
        "format": format,
        "text": text,
        "source": _text(file, said, "source") or path,
    }
    name = sha256(path.encode() + b"\x00" + content).hexdigest()[:32]
    event = {
        "event_id": f"document-{name}",
        "event_type": DOCUMENT,
        "timestamp": written.isoformat(),
        "experiment_id": experiment,
        "properties": properties,
    }
    try:
        encoded = orjson.dumps({key: value for key, value in event.items() if value is not None}, default=str)
    except orjson.JSONEncodeError as error:
        raise BadInput(
            f"{file}: what it begins with, between lines of `---`, cannot be written as JSON: {error}."
        ) from error
    return experiment, written, encoded


def _decoded(file: Path, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{file} is not text in UTF-8: byte {error.start:,} is {content[error.start]:#04x}. Save it as UTF-8."
        ) from error
    if "\x00" in text:
        raise BadInput(f"{file} is not text: it holds a zero byte, at {text.index(chr(0)):,}.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _front_matter(file: Path, text: str) -> tuple[dict[str, Any], str]:
    """What the lines between `---` at the beginning say, and the text below them."""
    found = _FRONT_MATTER.match(text)
    if found is None:
        return {}, text
    try:
        said = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        raise BadInput(f"{file} begins with `---`, and what follows is not YAML: {error}") from error
    if said is None:
        return {}, text[found.end() :]
    if not isinstance(said, dict) or not all(isinstance(key, str) for key in said):
        raise BadInput(f"{file} begins with `---`: lines `name: value` have to follow, up to the next `---`.")
    return said, text[found.end() :]


def _text(file: Path, said: Mapping[str, Any], name: str) -> str | None:
    value = said.get(name)
    if value is None or isinstance(value, str | int | float):
        return None if value is None else str(value)
    raise BadInput(f"{file}: {name} is {value!r}; it has to be a text.")


def _kind(file: Path, said: Mapping[str, Any], path: str) -> str:
    stated = _text(file, said, "kind")
    if stated is not None:
        kind = re.sub(r"[-\s]", "_", stated.strip().lower()).replace("postmortem", "post_mortem")
        if kind not in KINDS:
            raise BadInput(f"{file}: kind is {stated!r}; it is one of {', '.join(KINDS)}.")
        return kind
    for kind, words in _KINDS.items():
        if re.search(rf"(?<![a-z]){words}(?![a-z])", path.lower()):
            return kind
    return "note"
