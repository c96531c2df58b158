"""Archives give back every record byte for byte, from any offset, and say what is wrong with a damaged one."""

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from neonblue_lab.errors import BadInput, Conflict, NotFound
from neonblue_lab.events.records import RECORD_SCHEMA, RecordBatch
from neonblue_lab.topics.archive import ArchiveSource, write_archive

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def batch(topic: str, rows: list[tuple[int, int, bytes | None]]) -> RecordBatch:
    """Records (partition, offset, value), each with its own key, time and headers; the third of each four has none."""
    return RecordBatch(
        topic,
        pl.DataFrame(
            [
                {
                    "topic": topic,
                    "partition": partition,
                    "offset": offset,
                    "timestamp": None if offset % 4 == 2 else NOON + timedelta(microseconds=offset),
                    "key": None if offset % 4 == 2 else b"\x00key-%d" % offset,
                    "value": value,
                    "headers": None if offset % 4 == 2 else [{"key": "trace", "value": b"\xff%d" % offset}],
                }
                for partition, offset, value in rows
            ],
            schema=RECORD_SCHEMA,
        ),
    )


def read(
    source: ArchiveSource, topic: str, starts: dict[int, int] | None = None, ends: dict[int, int] | None = None
) -> pl.DataFrame:
    frames = [got.frame for got in source.read({topic: starts or {}}, None if ends is None else {topic: ends})]
    return pl.concat(frames) if frames else pl.DataFrame(schema=RECORD_SCHEMA)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_was_written_is_read_back_byte_for_byte_from_any_offset(
    data: DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    values = data.draw(st.lists(st.tuples(st.integers(0, 2), st.none() | st.binary(max_size=20)), min_size=1))
    ends: dict[int, int] = {}
    rows = []
    for partition, value in values:
        rows.append((partition, ends.get(partition, 0), value))
        ends[partition] = ends.get(partition, 0) + 1
    cut = data.draw(st.integers(0, len(rows)))
    written = write_archive(folder, [batch("t", rows[:cut]), batch("t", rows[cut:])])
    assert written == {"t": len(rows)}

    source = ArchiveSource(folder, batch_records=data.draw(st.integers(1, 50)))
    expected = batch("t", rows).frame
    assert source.topics() == ["t"]
    assert source.end_offsets("t") == ends
    assert read(source, "t").equals(expected)
    starts = {p: data.draw(st.integers(0, end)) for p, end in ends.items()}
    limits = {p: data.draw(st.integers(0, end + 2)) for p, end in ends.items()}
    kept = [row for row in rows if row[1] >= starts[row[0]]]
    assert read(source, "t", starts).equals(batch("t", kept).frame)
    kept = [row for row in kept if row[1] < limits[row[0]]]
    assert read(source, "t", starts, limits).equals(batch("t", kept).frame)


@settings(max_examples=40, deadline=None)
@given(
    minutes=st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=6), min_size=1, max_size=3
    ),
    asked=st.integers(-1, 10),
)
def test_offsets_at_a_moment_are_the_first_not_before_it(
    minutes: list[list[tuple[int, int]]], asked: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of each partition the first record in the log's order, though times need not rise along it."""
    folder = tmp_path_factory.mktemp("archive") / "t"
    folder.mkdir()
    expected: dict[int, int] = {}
    ends: dict[int, int] = {}
    for number, rows in enumerate(minutes):
        offsets = []
        for partition, minute in rows:
            offsets.append(ends.get(partition, 0))
            ends[partition] = offsets[-1] + 1
            if minute >= asked:
                expected.setdefault(partition, offsets[-1])
        times = [NOON + timedelta(minutes=minute) for _, minute in rows]
        frame = pl.DataFrame({"partition": [p for p, _ in rows], "offset": offsets, "value": b"", "timestamp": times})
        frame.write_parquet(folder / f"{number}.parquet", row_group_size=2, statistics=number != 1)
    source = ArchiveSource(folder.parent)
    assert source.offsets_at("t", NOON + timedelta(minutes=asked)) == ends | expected


def test_records_without_a_time_cannot_be_chosen_by_time(tmp_path: Path) -> None:
    for name in ("absent", "null"):
        (tmp_path / name).mkdir()
        frame = pl.DataFrame({"partition": [0], "offset": [0], "value": [b""]})
        if name == "null":
            frame = frame.with_columns(timestamp=pl.lit(None, pl.Datetime("us", "UTC")))
        frame.write_parquet(tmp_path / name / "x.parquet")
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "x.ndjson").write_bytes(b"{}\n")
    for name in ("absent", "null", "lines"):
        with pytest.raises(BadInput, match="Choose them by offset"):
            ArchiveSource(tmp_path).offsets_at(name, NOON)


def test_large_values_make_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_archive(tmp_path, [batch("t", [(0, offset, bytes(offset)) for offset in range(400)])])
    monkeypatch.setattr("neonblue_lab.topics.batching.BATCH_BYTES", 1_000)
    monkeypatch.setattr("neonblue_lab.topics.parquet_topic.BATCH_BYTES", 1_000)
    frames = [got.frame for got in ArchiveSource(tmp_path).read({"t": {}})]
    assert pl.concat(frames)["offset"].to_list() == list(range(400))
    assert max(frame["value"].bin.size().sum() for frame in frames) <= 1_000


def test_the_same_batches_give_the_same_bytes(tmp_path: Path) -> None:
    records = batch("t", [(0, n, b"value %d" % n) for n in range(1000)])
    for name in ("one", "two"):
        write_archive(tmp_path / name, [records])
    one, two = (next((tmp_path / name / "t").iterdir()) for name in ("one", "two"))
    assert one.name == two.name == "part-00000.parquet"
    assert one.read_bytes() == two.read_bytes()


def test_writing_again_goes_on_from_the_end_of_each_partition(tmp_path: Path) -> None:
    first = batch("t", [(0, 0, b"a"), (0, 1, b"b"), (1, 0, b"c")])
    write_archive(tmp_path, [first])
    source = ArchiveSource(tmp_path)
    write_archive(tmp_path, [batch("t", [(0, 0, b"d"), (1, 0, b"e"), (2, 0, b"f")])])
    assert source.end_offsets("t") == {0: 2, 1: 1}, "what was opened before stays what it was"
    assert ArchiveSource(tmp_path).end_offsets("t") == {0: 3, 1: 2, 2: 1}
    new = read(ArchiveSource(tmp_path), "t", {0: 2, 1: 1})
    assert new.select("partition", "offset", "value").rows() == [(0, 2, b"d"), (1, 1, b"e"), (2, 0, b"f")]


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    def failing() -> Iterator[RecordBatch]:
        yield batch("t", [(0, 0, b"a")])
        yield batch("u", [(0, 0, b"a")])
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_archive(tmp_path, failing())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_start_skips_row_groups_without_reading_them(tmp_path: Path) -> None:
    size, total = 100_000, 300_000
    frame = pl.DataFrame({"offset": range(total)}).select(
        topic=pl.lit("t"), partition=0, offset="offset", timestamp=None, key=None, value=pl.lit(b"x"), headers=None
    )
    records = RecordBatch("t", frame.select(pl.col(name).cast(kind) for name, kind in RECORD_SCHEMA.items()))
    write_archive(tmp_path, [records])
    part = tmp_path / "t" / "part-00000.parquet"
    groups = pq.read_metadata(part)
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [size] * 3
    damaged = bytearray(part.read_bytes())
    first = groups.row_group(0).column(5)
    damaged[first.data_page_offset : first.data_page_offset + first.total_compressed_size] = bytes(
        first.total_compressed_size
    )
    part.write_bytes(damaged)
    assert read(ArchiveSource(tmp_path), "t", {0: 250_000}).height == 50_000
    with pytest.raises(BadInput, match=r"part-00000.parquet is damaged"):
        read(ArchiveSource(tmp_path), "t")


@pytest.mark.parametrize("ending", ["ndjson", "ndjson.gz", "ndjson.zst"])
@pytest.mark.parametrize("batch_records", [1, 3, 100])
def test_ndjson_lines_are_values_and_line_numbers_are_offsets(tmp_path: Path, ending: str, batch_records: int) -> None:
    lines = [b'{"a": 1}', b"", b"not JSON \xff\r", b'{"b": "\xc3\xa9"}', b" ", b"last"]
    folder = tmp_path / "clicks"
    folder.mkdir()
    for name, content in (("a", b"\n".join(lines[:4]) + b"\n"), ("b", b""), ("c", b"\n".join(lines[4:]))):
        packed = {
            "ndjson": lambda data: data,
            "ndjson.gz": gzip.compress,
            "ndjson.zst": lambda data: pa.compress(data, "zstd", asbytes=True),
        }[ending](content)
        (folder / f"{name}.{ending}").write_bytes(packed)
    source = ArchiveSource(tmp_path, batch_records=batch_records)
    assert source.end_offsets("clicks") == {0: len(lines)}
    for start in range(len(lines) + 1):
        got = read(source, "clicks", {0: start})
        assert got["value"].to_list() == lines[start:]
        assert got["offset"].to_list() == list(range(start, len(lines)))
        for end in range(len(lines) + 1):
            assert read(source, "clicks", {0: start}, {0: end})["value"].to_list() == lines[start:end]
    nulls = read(source, "clicks").select("timestamp", "key", "headers").null_count().row(0)
    assert nulls == (len(lines),) * 3


def test_long_ndjson_crosses_blocks_without_loss(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    lines = [b"%d" % n * (n % 50) for n in range(150_000)]
    lines[100_000] = b"z" * (20 << 20)
    (tmp_path / "t" / "x.ndjson").write_bytes(b"\n".join(lines) + b"\n")
    assert read(ArchiveSource(tmp_path), "t")["value"].to_list() == lines


def test_absent_optional_columns_are_null_and_extra_ones_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    pl.DataFrame(
        {"offset": [5, 9], "partition": [1, 1], "value": ["é", None], "ingested_at": [NOON, NOON]}
    ).write_parquet(tmp_path / "t" / "x.parquet")
    source = ArchiveSource(tmp_path)
    assert source.end_offsets("t") == {1: 10}
    got = read(source, "t")
    assert dict(got.schema) == RECORD_SCHEMA
    assert got.rows() == [("t", 1, 5, None, None, "é".encode(), None), ("t", 1, 9, None, None, None, None)]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"offset": [0], "partition": [0]}, r"x\.parquet lacks the column value"),
        ({"value": [b""]}, r"x\.parquet lacks the columns partition, offset"),
        ({"offset": [0, 0], "partition": [0, 0], "value": [b"", b""]}, r"x\.parquet: .* do not ascend at t-0-0"),
        ({"offset": [3, 7, 5], "partition": [0, 1, 0], "value": [b""] * 3}, None),
        (
            {"offset": [3, 7, 2], "partition": [0, 1, 0], "value": [b""] * 3},
            r"x\.parquet: .* do not ascend at t-0-2",
        ),
        ({"offset": [0, None], "partition": [0, 0], "value": [b"", b""]}, r"x\.parquet has records without"),
        ({"offset": [0], "partition": [0], "value": [[1]]}, r"x\.parquet: its columns are not those of a record"),
        ({"offset": [0], "partition": [0], "value": [b""], "topic": ["other"]}, r"column topic says \['other'\]"),
    ],
)
def test_a_wrong_parquet_file_is_named(tmp_path: Path, frame: dict[str, list[object]], message: str | None) -> None:
    (tmp_path / "t").mkdir()
    pl.DataFrame(frame).write_parquet(tmp_path / "t" / "x.parquet")
    if message is None:
        assert read(ArchiveSource(tmp_path), "t").height == 3
        return
    with pytest.raises(BadInput, match=message):
        read(ArchiveSource(tmp_path), "t")


def test_offsets_must_rise_from_file_to_file(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    for name, offset in (("a", 5), ("b", 5)):
        pl.DataFrame({"offset": [offset], "partition": [0], "value": [b""]}).write_parquet(
            tmp_path / "t" / f"{name}.parquet"
        )
    with pytest.raises(BadInput, match=r"b\.parquet: offsets do not ascend at t-0-5"):
        ArchiveSource(tmp_path).end_offsets("t")


@pytest.mark.parametrize(
    ("name", "content"), [("x.parquet", b"hello"), ("x.ndjson.gz", b"hello"), ("x.ndjson.zst", b"!")]
)
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / name).write_bytes(content)
    with pytest.raises(BadInput, match=f"{name} cannot be read"):
        read(ArchiveSource(tmp_path), "t")


def test_a_truncated_compressed_file_is_no_shorter_topic(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    packed = gzip.compress(b"\n".join(b"%d" % (n * n) for n in range(10_000)))
    (tmp_path / "t" / "x.ndjson.gz").write_bytes(packed[:-100])
    with pytest.raises(BadInput, match=r"x\.ndjson\.gz cannot be read"):
        ArchiveSource(tmp_path).end_offsets("t")


def test_a_topic_of_both_kinds_is_refused(tmp_path: Path) -> None:
    write_archive(tmp_path, [batch("t", [(0, 0, b"a")])])
    (tmp_path / "t" / "more.ndjson").write_bytes(b"{}\n")
    with pytest.raises(BadInput, match="mixes Parquet and NDJSON"):
        ArchiveSource(tmp_path)


def test_records_are_not_added_to_ndjson(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "x.ndjson").write_bytes(b"{}\n")
    with pytest.raises(BadInput, match="holds NDJSON"):
        write_archive(tmp_path, [batch("t", [(0, 0, b"a")])])


def test_offsets_of_another_archive_are_a_conflict(tmp_path: Path) -> None:
    write_archive(tmp_path, [batch("t", [(0, 10, b"a")])])
    source = ArchiveSource(tmp_path)
    assert read(source, "t", {0: 11}).is_empty()
    with pytest.raises(Conflict, match=r"t-0 from offset 12, but it ends at 11"):
        read(source, "t", {0: 12})
    with pytest.raises(Conflict, match=r"t-0 from offset 3, but its first record is at 10"):
        read(source, "t", {0: 3})


def test_unknown_topics_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not a folder"):
        ArchiveSource(tmp_path / "none")
    with pytest.raises(BadInput, match="holds no topic"):
        ArchiveSource(tmp_path)
    write_archive(tmp_path, [batch("t", [(0, 0, b"a")])])
    with pytest.raises(NotFound, match="has no topic 'u'; it has: t"):
        ArchiveSource(tmp_path).end_offsets("u")
