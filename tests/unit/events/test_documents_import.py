"""Files become `document` events: what they say is kept, what they are is told, and what cannot be read is named."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.events.importers import IMPORTERS
from neonblue_lab.events.importers.documents import import_documents
from neonblue_lab.events.parsing import EventParser

WRITTEN = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)


def put(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(file, (WRITTEN.timestamp(), WRITTEN.timestamp()))
    return file


def imported(place: Path) -> list[dict[str, Any]]:
    """The events, which the lake's parser takes as they are."""
    events = []
    for batch in import_documents(place):
        parsed = EventParser().parse(batch)
        assert parsed.rejects.is_empty()
        assert parsed.events.height == batch.frame.height
        events += [json.loads(value) for value in batch.frame["value"]]
    return events


def test_a_folder_is_imported_with_all_that_its_files_say(tmp_path: Path) -> None:
    put(
        tmp_path,
        "2026/checkout.md",
        "---\ntitle: One page\nkind: Post-Mortem\nexperiment_id: exp-7\nauthors: [growth]\nseen: 2026-03-01\n---\n# Other\n\nWe learned.\n",
    )
    put(tmp_path, "briefs/prices.HTML", "<title>T</title><h1>Three   prices</h1><p>Why")
    put(tmp_path, "todo.txt", "\ufeffremember\r\nthis")
    put(tmp_path, "picture.png", b"\x89PNG")
    put(tmp_path, ".git/notes.md", "hidden")
    post_mortem, brief, note = imported(tmp_path)
    assert post_mortem["event_type"] == "document"
    assert post_mortem["timestamp"] == "2026-03-02T10:30:00+00:00"
    assert post_mortem["experiment_id"] == "exp-7"
    assert post_mortem["properties"] == {
        "authors": ["growth"],
        "seen": "2026-03-01",
        "document_id": "2026/checkout.md",
        "kind": "post_mortem",
        "title": "One page",
        "format": "markdown",
        "text": "# Other\n\nWe learned.\n",
        "source": "2026/checkout.md",
    }
    assert "experiment_id" not in brief
    properties = brief["properties"]
    assert (properties["kind"], properties["title"], properties["format"]) == ("brief", "Three prices", "html")
    properties = note["properties"]
    assert (properties["kind"], properties["title"], properties["text"]) == ("note", "todo", "remember\nthis")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("brief.md", "brief"),
        ("Briefs/a.md", "brief"),
        ("debriefing.md", "note"),
        ("a-postmortem.md", "post_mortem"),
        ("post mortems/a.txt", "post_mortem"),
        ("exp_post-mortem_2.md", "post_mortem"),
    ],
)
def test_the_path_tells_the_kind(tmp_path: Path, name: str, kind: str) -> None:
    put(tmp_path, name, "text")
    assert imported(tmp_path)[0]["properties"]["kind"] == kind


def test_one_file_is_imported_by_its_name(tmp_path: Path) -> None:
    file = put(tmp_path, "folder/a.markdown", "Title\n=====\n")
    (event,) = imported(file)
    assert (event["properties"]["document_id"], event["properties"]["title"]) == ("a.markdown", "Title")
    (batch,) = IMPORTERS["documents"].batches(file)
    assert batch.topic == "experiments_events"


def test_the_same_file_makes_the_same_event_and_a_changed_one_another_state(tmp_path: Path) -> None:
    put(tmp_path, "a.md", "one")
    first, again = imported(tmp_path), imported(tmp_path)
    assert first == again
    put(tmp_path, "a.md", "two")
    (changed,) = imported(tmp_path)
    assert changed["event_id"] != first[0]["event_id"]
    assert changed["properties"]["document_id"] == first[0]["properties"]["document_id"]


def test_dashes_that_begin_no_front_matter_are_text(tmp_path: Path) -> None:
    for text in ("---\nno end", "----\na: b\n----\n", "text\n---\na: b\n---\n"):
        put(tmp_path, "a.md", text)
        assert imported(tmp_path)[0]["properties"]["text"] == text
    put(tmp_path, "a.md", "---\n---\ntext")
    assert imported(tmp_path)[0]["properties"]["text"] == "text"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.md", "", r"a\.md is empty"),
        ("a.md", "---\ntitle: x\n---\n \n", r"a\.md is empty"),
        ("a.txt", b"caf\xe9", r"a\.txt is not text in UTF-8: byte 3 is 0xe9\. Save it as UTF-8"),
        ("a.html", b"a\x00b", r"a\.html is not text: it holds a zero byte, at 1"),
        ("a.md", "---\na: [\n---\ntext", r"a\.md begins with `---`, and what follows is not YAML"),
        ("a.md", "---\n- a\n---\ntext", r"a\.md begins with `---`: lines `name: value`"),
        ("a.md", "---\nkind: novel\n---\ntext", r"a\.md: kind is 'novel'; it is one of brief, post_mortem, note"),
        ("a.md", "---\ntitle: [a]\n---\ntext", r"a\.md: title is \['a'\]; it has to be a text"),
        ("a.md", "---\nx: &a [*a]\n---\ntext", r"a\.md: what it begins with.*cannot be written as JSON"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_nothing_is_imported(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    put(tmp_path, "0.md", "fine")
    put(tmp_path, name, content)
    with pytest.raises(BadInput, match=words):
        next(import_documents(tmp_path))


def test_many_files_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    for n in range(8):
        put(tmp_path, f"{n}.md", "")
    with pytest.raises(BadInput, match=r"(?s)0\.md.*4\.md is empty.*\.\.\. and 3 more\."):
        next(import_documents(tmp_path))


def test_places_without_documents_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no documents: files named \*\.md"):
        next(import_documents(tmp_path))
    with pytest.raises(BadInput, match="no file or folder"):
        next(import_documents(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match=r"a\.pdf is no document by its name"):
        next(import_documents(put(tmp_path, "a.pdf", "x")))
