"""Documents come through a replay into chunks, and readers see each as its latest event has it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from neonblue_lab.events.documents import LONGEST_HEADING
from neonblue_lab.events.records import RECORD_SCHEMA, RecordBatch
from neonblue_lab.lake.ingest import replay
from neonblue_lab.lake.lake import Lake
from neonblue_lab.topics.archive import ArchiveSource, write_archive
from neonblue_lab.warehouse.warehouse import Warehouse

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TOPIC = "experiments_events"
LONG = "So many words that they are a chunk of their own. " * 6


def document(event_id: str, text: str, hour: int = 0, document_id: str = "d", **properties: Any) -> bytes:
    said = {"document_id": document_id, "kind": "note", "format": "markdown", "title": "T", "text": text} | properties
    return event(event_id, {name: value for name, value in said.items() if value is not None}, hour)


def event(event_id: str, properties: dict[str, Any], hour: int = 0) -> bytes:
    happened = (NOON + timedelta(hours=hour)).isoformat()
    fields = {"event_id": event_id, "event_type": "document", "timestamp": happened, "experiment_id": "x1"}
    return json.dumps(fields | {"properties": properties}).encode()


def replayed(folder: Path, *values: bytes, batch_records: int = 2) -> Lake:
    rows = [{"topic": TOPIC, "partition": 0, "offset": n, "timestamp": NOON, "value": v} for n, v in enumerate(values)]
    write_archive(folder / "topics", [RecordBatch(TOPIC, pl.DataFrame(rows, schema=RECORD_SCHEMA))])
    lake = Lake(folder / "lake")
    replay(lake, ArchiveSource(folder / "topics", batch_records=batch_records))
    return lake


def seen(lake: Lake, columns: str = "document_id, position, section, text") -> list[tuple[Any, ...]]:
    return Warehouse(lake).sql(f"SELECT {columns} FROM documents ORDER BY document_id, position").rows()


def test_a_document_is_seen_in_its_chunks(tmp_path: Path) -> None:
    lake = replayed(tmp_path, document("e1", f"# A\n\n{LONG}\n\n## B\n\nend", source="wiki"))
    assert seen(lake) == [("d", 0, "A", f"A\n\n{LONG}"), ("d", 1, "A > B", "B\n\nend")]
    said = "experiment_id, kind, title, source, updated_at, event_id"
    assert seen(lake, said) == [("x1", "note", "T", "wiki", NOON, "e1")] * 2
    assert len({id_ for (id_,) in seen(lake, "chunk_id")}) == 2


def test_the_latest_event_of_a_document_counts_whole(tmp_path: Path) -> None:
    lake = replayed(
        tmp_path,
        document("e1", "one\n\n# two\n\nthree", 1),
        document("e3", "latest", 3),
        document("e2", "late to arrive\n\n# more\n\nof it", 2),
        document("e4", "other", 0, "another"),
        document("e3", "latest", 3),
    )
    assert seen(lake) == [("another", 0, "", "other"), ("d", 0, "", "latest")]
    assert lake.read("documents").height > 4


def test_a_document_that_has_no_words_any_more_says_nothing_any_more(tmp_path: Path) -> None:
    lake = replayed(tmp_path, document("e1", "words"), document("e2", "<br>", 1, format="html"))
    assert seen(lake, "document_id, text, event_id") == [("d", "", "e2")]


def test_what_counts_of_a_key_that_is_repeated_is_the_same_for_all(tmp_path: Path) -> None:
    value = document("e1", "first").replace(b'"text": "first"', b'"text": "first", "text": 7')
    assert seen(replayed(tmp_path, value), "text") == [("first",)]


def test_a_long_heading_is_not_repeated_in_whole_below_it(tmp_path: Path) -> None:
    lake = replayed(tmp_path, document("e1", f"# {'a' * 3_000}\n\n{LONG}\n\nmore"))
    assert [len(section) for (section,) in seen(lake, "section")] == [LONGEST_HEADING] * 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"document_id": None}, "properties.document_id: missing, or not a text"),
        ({"document_id": 7}, "properties.document_id: missing, or not a text"),
        ({"document_id": "d" * 600}, "properties.document_id: longer than 512 bytes"),
        ({"text": None}, "properties.text: missing, or not a text"),
        ({"text": "  "}, "properties.text: missing, or not a text"),
        ({"text": ["a"]}, "properties.text: missing, or not a text"),
        ({"kind": "novel"}, "properties.kind: not one of brief, post_mortem, note: novel"),
        ({"kind": None}, "properties.kind: not one of brief, post_mortem, note: missing"),
        ({"format": "pdf"}, "properties.format: not one of markdown, html, text: pdf"),
        ({"title": 3}, "properties.title: not a text"),
        ({"source": {}}, "properties.source: not a text"),
    ],
)
def test_a_document_without_what_it_needs_is_a_dead_letter(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    lake = replayed(tmp_path, document("e1", "fine"), document("e2", **({"text": "words"} | change)))
    (error,) = lake.read("dead_letters")["error"]
    assert error.startswith(reason)
    assert seen(lake, "event_id") == [("e1",)]


def test_properties_that_are_missing_are_a_dead_letter(tmp_path: Path) -> None:
    value = json.dumps({"event_id": "e", "event_type": "document", "timestamp": NOON.isoformat()}).encode()
    assert replayed(tmp_path, value).read("dead_letters").height == 1
