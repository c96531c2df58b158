"""The warehouse runs SELECTs over its views: whatever is tried, no other file is read and nothing is written."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.lake.lake import Lake
from neonblue_lab.warehouse.warehouse import Warehouse

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Ground:
    """A lake with one event beside a folder with a secret, and the text of every file as it was."""

    def __init__(self, lake: Lake, outside: Path) -> None:
        self.folder, self.outside = lake.path, outside
        self.secret = outside / "secret.csv"
        self.secret.write_text("word\nswordfish\n")
        self.warehouse = Warehouse(lake)
        [self.pinned] = self.warehouse.pins["events"].files
        self.log = lake.path / "events" / "_delta_log" / "00000000000000000000.json"
        lake.append("events", lake.read("events"))
        [self.unpinned] = {*Warehouse(lake).pins["events"].files} - {self.pinned}
        self._before = self._files()

    def _files(self) -> dict[str, str]:
        found = [path for folder in (self.folder, self.outside) for path in folder.rglob("*") if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    def assert_untouched(self) -> None:
        assert self._files() == self._before
        assert self.warehouse.sql("SELECT count(*) AS n FROM events").item() == 1
        assert self.warehouse.sql("SELECT count(*) AS n FROM dead_letters").item() == 0
        assert self.warehouse.sql("SELECT current_setting('enable_external_access')::VARCHAR AS s").item() == "false"


@pytest.fixture(scope="module")
def ground(lake_of: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """One for all tests: each leaves it as it was."""
    outside = tmp_path_factory.mktemp("outside")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(outside)
        yield Ground(lake_of(events=[{"event_type": "click", "timestamp": NOON}]), outside)


READS = [
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM '{secret}'",
    "FROM 'secret.csv'",
    "SELECT * FROM '{folder}/../{outside_name}/secret.csv'",
    "SELECT * FROM read_text('{log}')",
    "SELECT * FROM '{log}'",
    "SELECT * FROM read_parquet('{unpinned}')",
    "SELECT * FROM '{unpinned}'",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM parquet_metadata('{unpinned}')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM query('SELECT * FROM read_text(''{secret}'')')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM read_text(''{secret}'')'))",
    "SELECT * FROM \"READ_TEXT\"('{secret}')",
    "SELECT * FROM system.main.read_text('{secret}')",
    "SELECT (SELECT content FROM read_text('{secret}'))",
    "WITH x AS (SELECT * FROM read_text('{secret}')) SELECT * FROM x",
    "SELECT * FROM events, LATERAL (SELECT * FROM read_text('{secret}'))",
    "SELECT getenv('HOME')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM read_duckdb('{secret}')",
    "SELECT * FROM pandas_scan(1)",
    "SELECT * FROM hidden",
    "SELECT * FROM parameters",
]


@pytest.mark.parametrize("query", READS)
def test_nothing_but_the_pinned_files_can_be_read(ground: Ground, query: str) -> None:
    hidden = [{"a": 1}]  # DuckDB can select from Python variables where external access is on
    assert hidden

    with pytest.raises(BadInput):
        ground.warehouse.sql(_filled(query, ground))

    ground.assert_untouched()


WRITES = [
    "COPY (SELECT 1) TO '{folder}/x.csv'",
    "COPY events TO '{outside}/x.parquet'",
    "WITH x AS (COPY (SELECT 1) TO '{folder}/x.csv') SELECT * FROM x",
    "WITH x AS (COPY (SELECT 1) TO '{pinned}' (FORMAT parquet, USE_TMP_FILE false)) SELECT * FROM x",
    "SELECT * FROM (WITH x AS (COPY (SELECT 1) TO '{pinned}' (FORMAT parquet, USE_TMP_FILE false)) SELECT * FROM x)",
    "SELECT 1 UNION ALL (WITH x AS (COPY (SELECT 1) TO '{pinned}' (FORMAT parquet, USE_TMP_FILE false)) FROM x)",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('WITH x AS (COPY (SELECT 1) TO ''{pinned}'' "
    "(FORMAT parquet, USE_TMP_FILE false)) SELECT * FROM x'))",
    "SELECT * FROM query('WITH x AS (COPY (SELECT 1) TO ''{pinned}'' (USE_TMP_FILE false)) SELECT * FROM x')",
    "SELECT * FROM import_database('{outside}')",
    "SELECT * FROM copy_database('memory', 'x')",
    "EXPORT DATABASE '{outside}/export'",
    "ATTACH '{outside}/x.db'",
    "ATTACH '{folder}/x.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET threads = 1",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA enable_profiling",
    "SELECT * FROM enable_profiling()",
    "SELECT * FROM enable_logging()",
    "CALL checkpoint()",
    "SELECT * FROM checkpoint()",
    "CREATE TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW events AS SELECT 1",
    "CREATE MACRO range(x) AS TABLE SELECT 1",
    "DROP VIEW events",
    "INSERT INTO dead_letters SELECT * FROM dead_letters",
    "WITH x AS (INSERT INTO dead_letters SELECT * FROM dead_letters RETURNING *) SELECT * FROM x",
    "WITH x AS (DELETE FROM events RETURNING *) SELECT * FROM x",
    "WITH x AS (UPDATE events SET value = 1 RETURNING *) SELECT * FROM x",
    "WITH x AS (TRUNCATE events) SELECT * FROM x",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW events",
    "DROP VIEW events; SELECT 1",
    "BEGIN",
    "PREPARE x AS SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "PIVOT events ON event_type USING count(*)",
    "",
    ";",
    "-- nothing",
    "SELEC 1",
]


@pytest.mark.parametrize("query", WRITES)
def test_nothing_can_be_written_or_changed(ground: Ground, query: str) -> None:
    with pytest.raises(BadInput):
        ground.warehouse.sql(_filled(query, ground))

    ground.assert_untouched()


def _filled(query: str, ground: Ground) -> str:
    return query.format(
        secret=ground.secret,
        folder=ground.folder,
        outside=ground.outside,
        outside_name=ground.outside.name,
        log=ground.log,
        pinned=ground.pinned,
        unpinned=ground.unpinned,
    )


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT event_id FROM events", 1),
        ("FROM events", 1),
        ("SELECT 1; -- the end", 1),
        ("VALUES (1), (2)", 2),
        ("SELECT unnest([1, 2, 3]) AS x", 3),
        ("SELECT * FROM range(4)", 4),
        ("SELECT * FROM generate_series(DATE '2026-01-01', DATE '2026-01-03', INTERVAL 1 DAY)", 3),
        ("SELECT * FROM json_each('[1, 2]')", 2),
        ("WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t WHERE a < 3) SELECT * FROM t", 3),
        ("SELECT 1 AS a UNION ALL BY NAME SELECT 2 AS a", 2),
        ("SELECT list_transform([1, 2], lambda x: x + 1) AS l", 1),
        ("SELECT event_type, count(*) FROM events GROUP BY ALL HAVING count(*) > 0 ORDER BY ALL LIMIT 5", 1),
        ("SELECT *, row_number() OVER () AS r FROM events QUALIFY r = 1", 1),
        ("PIVOT events ON event_type IN ('click') USING count(*) GROUP BY topic", 1),
        ("DESCRIBE events", 18),
        ("SELECT 'a_NODE' AS type, 'read_text(''x'')' AS \"COPY_QUERY_NODE\"", 1),
        ("SELECT * FROM events WHERE event_id = $1", 1),
    ],
)
def test_what_only_reads_the_views_runs(ground: Ground, query: str, rows: int) -> None:
    assert ground.warehouse.sql(query, ["e0"] if "$1" in query else []).height == rows


def test_messages_say_what_is_wrong(ground: Ground) -> None:
    with pytest.raises(BadInput, match=r"a single SELECT.*a part of this one is a COPY"):
        ground.warehouse.sql(_filled(WRITES[2], ground))
    with pytest.raises(
        BadInput, match=r"cannot select from the function read_text here: .*json_each, json_tree, range"
    ):
        ground.warehouse.sql(_filled(READS[1], ground))
    with pytest.raises(BadInput, match='syntax error at or near "SELEC"'):
        ground.warehouse.sql("SELEC 1")
    with pytest.raises(BadInput, match="no_such_column"):
        ground.warehouse.sql("SELECT no_such_column FROM events")


@pytest.mark.parametrize("query", ["SELECT 1 AS a, 2 AS a", "SELECT INTERVAL 1 DAY AS i", "SELECT $1"])
def test_what_no_frame_can_hold_is_bad_input(ground: Ground, query: str) -> None:
    with pytest.raises(BadInput):
        ground.warehouse.sql(query)
