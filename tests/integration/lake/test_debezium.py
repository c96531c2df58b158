"""The registry's tables in the lake equal those of the PostgreSQL database that they come from, row by row: through the real
Debezium connector and a real Kafka, whatever is changed meanwhile and whatever is sent again."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
from kafka import KafkaConsumer, TopicPartition
from polars.testing import assert_frame_equal

from neonblue_lab.lake.ingest import replay
from neonblue_lab.lake.lake import Lake
from neonblue_lab.topics.sources import open_source
from neonblue_lab.warehouse.warehouse import Warehouse
from tests.services.debezium import Connect, connect_jars
from tests.services.kafka_broker import KafkaBroker, KafkaUnavailable
from tests.services.postgres import Postgres

DEADLINE_SECONDS = 60
TABLES = ("experiments", "variants", "assignments", "users")
REGISTRY = """
CREATE TABLE experiments (
    experiment_id text PRIMARY KEY, name text, hypothesis text, experiment_type text, industry text, user_segment text,
    status text, primary_metric text, started_at timestamptz, ended_at timestamp, created_at timestamp(3) DEFAULT now(),
    owner text);
CREATE TABLE variants (
    experiment_id text REFERENCES experiments ON DELETE CASCADE ON UPDATE CASCADE, variant_id text, name text,
    description text, allocation numeric, position int, PRIMARY KEY (experiment_id, variant_id));
CREATE TABLE users (
    user_id bigint PRIMARY KEY, country text, profile jsonb, notes text, tags text[], photo bytea, spent numeric(10, 2),
    created_at timestamptz DEFAULT now());
CREATE TABLE assignments (
    experiment_id text, user_id bigint, variant_id text NOT NULL, assigned_at timestamptz DEFAULT now(),
    PRIMARY KEY (experiment_id, user_id));
CREATE TABLE marks (mark int PRIMARY KEY);
-- Kept out of line even where they would compress, so that updates of other columns do not carry them.
ALTER TABLE users ALTER profile SET STORAGE EXTERNAL, ALTER notes SET STORAGE EXTERNAL, ALTER tags SET STORAGE EXTERNAL,
    ALTER photo SET STORAGE EXTERNAL;
"""
FIRST = """
INSERT INTO experiments (experiment_id, name, started_at, owner)
    SELECT 'e' || i, 'Experiment ' || i, timestamptz '2026-03-01 10:00:00.123456+02' + i * interval '1 day', 'ana' FROM generate_series(1, 6) i;
INSERT INTO variants SELECT 'e' || i, v, upper(v), NULL, 0.5, CASE v WHEN 'control' THEN 0 ELSE 1 END
    FROM generate_series(1, 6) i, unnest(ARRAY['control', 'b']) v;
INSERT INTO users SELECT i, 'DE', jsonb_build_object('plan', 'free', 'text', repeat('p', 9000)), repeat('n', 9000),
    ARRAY[repeat('t', 9000)], decode(repeat('ab', 9000), 'hex'), i * 1.10 FROM generate_series(1, 40) i;
INSERT INTO assignments SELECT 'e1', i, 'b', timestamptz '2026-03-03 00:00+00' FROM generate_series(1, 40) i;
"""
CHANGES = (
    """
UPDATE users SET country = 'FR' WHERE user_id <= 20;
UPDATE users SET notes = NULL, spent = NULL WHERE user_id = 3;
UPDATE users SET country = 'IT' WHERE user_id IN (3, 4);
UPDATE experiments SET status = 'running', ended_at = '2026-04-01 12:34:56.789012' WHERE experiment_id IN ('e1', 'e2');
UPDATE experiments SET name = name || ' (again)';
DELETE FROM experiments WHERE experiment_id = 'e3';
INSERT INTO assignments SELECT 'e2', i, 'control' FROM generate_series(1, 40) i;
""",
    """
UPDATE experiments SET experiment_id = 'e40' WHERE experiment_id = 'e4';
UPDATE variants SET allocation = 0.25, description = 'Ünïcode "quoted"' WHERE variant_id = 'b';
INSERT INTO variants VALUES ('e1', 'a', 'A', 'before all', 0.25, -1);
UPDATE users SET user_id = 1000 + user_id WHERE user_id > 30;
DELETE FROM users WHERE user_id BETWEEN 10 AND 12;
INSERT INTO users (user_id, country) VALUES (11, 'again');
TRUNCATE assignments;
INSERT INTO assignments SELECT 'e5', i, 'b' FROM generate_series(1, 7) i;
UPDATE assignments SET variant_id = 'control' WHERE user_id = 7;
""",
    """
BEGIN; DELETE FROM users WHERE user_id = 1; INSERT INTO users (user_id, country) VALUES (1, 'ES'); COMMIT;
BEGIN; UPDATE users SET country = 'never'; ROLLBACK;
SELECT pg_logical_emit_message(true, 'app', 'changes no row');
DELETE FROM variants WHERE experiment_id = 'e6';
UPDATE experiments SET ended_at = NULL WHERE experiment_id = 'e2';
""",
)


class Registry:
    """A database with the registry's tables, and a lake that its changes are replayed into."""

    def __init__(self, postgres: Postgres, kafka: KafkaBroker, prefix: str, lake: Path) -> None:
        self.url = postgres.database(prefix)
        self.prefix = prefix
        self.lake = Lake(lake)
        self._kafka = kafka.bootstrap
        self._marks = 0
        self.connection = psycopg.connect(self.url, autocommit=True)
        self.connection.execute("SET TimeZone = 'UTC'")
        self.run(REGISTRY)

    def run(self, statements: str) -> None:
        """Run each statement by itself, up to a BEGIN's end together."""
        with self.connection.cursor() as cursor:
            for statement in filter(None, map(str.strip, statements.split(";"))):
                cursor.execute(statement.encode())

    def connect(self, *, schemas: bool = False) -> Connect:
        """A connector for the tables."""
        tables = [f"public.{table}" for table in (*TABLES, "marks")]
        return Connect(self._kafka, self.url, prefix=self.prefix, tables=tables, schemas=schemas)

    def await_sent(self) -> None:
        """Wait until everything that is committed by now is in Kafka: a mark that is written last has arrived there."""
        self._marks += 1
        self.connection.execute("INSERT INTO marks VALUES (%s)", [self._marks])
        topic, wanted = f"{self.prefix}.public.marks", f'"after":{{"mark":{self._marks}}}'.encode()
        with closing(KafkaConsumer(bootstrap_servers=self._kafka, auto_offset_reset="earliest")) as consumer:
            self._await(lambda: consumer.partitions_for_topic(topic))
            consumer.assign([TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)])
            self._await(
                lambda: any(wanted in record.value for records in consumer.poll(200).values() for record in records)
            )

    def _await(self, holds: Callable[[], Any]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not holds():
            assert time.monotonic() < deadline, f"it did not come to that within {DEADLINE_SECONDS} s"
            time.sleep(0.02)

    def await_topic(self, table: str) -> None:
        """Wait until something of a table is in Kafka."""
        with closing(KafkaConsumer(bootstrap_servers=self._kafka)) as consumer:
            self._await(lambda: consumer.partitions_for_topic(f"{self.prefix}.public.{table}"))

    def await_slot_waits_for(self, writer: psycopg.Connection) -> None:
        """Wait until the connector's replication slot waits for the transaction of `writer`."""
        [number] = writer.execute("SELECT pg_current_xact_id()::text").fetchone()
        waits = """SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE backend_type = 'walsender' AND NOT granted AND transactionid::text = %s"""
        self._await(lambda: self.connection.execute(waits, [number]).fetchone() == (1,))

    def replay(self) -> None:
        """Bring the lake up to what Kafka has of the registry's tables."""
        source = open_source(f"kafka://{self._kafka}")
        held = [f"{self.prefix}.public.{table}" for table in TABLES]
        report = replay(self.lake, source, [topic for topic in held if topic in source.topics()])
        assert report.dead_letters == 0, self.lake.read("dead_letters")

    def check(self) -> None:
        """Replay until the views equal the tables, row by row. The mark may have overtaken what fits into no request with it:
        more than once, that is, only where they are not equal at once."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            self.replay()
            held, shown = self._rows()
            if held == shown or time.monotonic() > deadline:
                break
        for table in TABLES:
            assert shown[table] == held[table], table

    def _rows(self) -> tuple[dict[str, Any], dict[str, Any]]:
        views = Warehouse(self.lake)
        held = {table: self.connection.execute(sql.encode()).fetchall() for table, (sql, _) in COMPARISONS.items()}
        return held, {table: views.sql(sql).rows() for table, (_, sql) in COMPARISONS.items()}


# The text of numbers and times is that of the database, as it is what must not change on the way.
COMPARISONS = {
    "experiments": (
        """SELECT experiment_id, name, hypothesis, status, started_at, ended_at AT TIME ZONE 'UTC', created_at AT TIME ZONE 'UTC'
        FROM experiments ORDER BY experiment_id""",
        """SELECT experiment_id, name, hypothesis, status, started_at, ended_at, created_at
        FROM experiments ORDER BY experiment_id""",
    ),
    "variants": (
        """SELECT experiment_id, variant_id, name, description, allocation::float8
        FROM variants ORDER BY experiment_id, position""",
        """SELECT experiment_id, variant_id, name, description, allocation FROM (
            SELECT *, row_number() OVER () AS nth FROM variants) ORDER BY experiment_id, nth""",
    ),
    "assignments": (
        "SELECT experiment_id, user_id::text, variant_id, assigned_at FROM assignments ORDER BY experiment_id, user_id::text",
        "SELECT * FROM assignments ORDER BY experiment_id, user_id",
    ),
    "users": (
        """SELECT user_id::text, created_at, country, profile->>'plan', profile->>'text', notes, tags[1],
            translate(encode(photo, 'base64'), E'\\n', ''), spent::text FROM users ORDER BY user_id::text""",
        """SELECT user_id, created_at, attributes->>'$.country', json_extract_string(attributes->>'$.profile', '$.plan') AS plan,
            json_extract_string(attributes->>'$.profile', '$.text') AS text, attributes->>'$.notes' AS notes,
            attributes->>'$.tags[0]' AS tag, attributes->>'$.photo' AS photo, attributes->>'$.spent' AS spent
        FROM users ORDER BY user_id""",
    ),
}


@pytest.fixture(autouse=True, scope="module")
def jars(unavailable: Callable[[str], NoReturn]) -> None:
    try:
        connect_jars()
    except KafkaUnavailable as reason:
        unavailable(str(reason))


@pytest.fixture
def registry(
    postgres: Postgres, kafka: KafkaBroker, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Registry]:
    made = Registry(postgres, kafka, f"registry_{re.sub('[^a-z]', '_', request.node.name)[-30:]}", tmp_path / "lake")
    with made.connection:
        yield made


@pytest.mark.parametrize("schemas", [False, True], ids=["bare", "schemas"])
def test_views_equal_the_database(registry: Registry, schemas: bool) -> None:
    """Bare, the connector is killed before it has noted down anything, and takes its snapshot anew; with schemas, it has noted
    down where the snapshot ended, and sends everything after that again."""
    registry.run(FIRST)
    with registry.connect(schemas=schemas) as connect:
        registry.await_sent()
        registry.check()
        if schemas:
            connect.restart()
        first = registry.lake.versions()
        for number, changes in enumerate(CHANGES):
            registry.run(changes)
            if number == 1:
                connect.kill()
                connect.restart()
            registry.await_sent()
            registry.check()
    now, then = Warehouse(registry.lake), Warehouse(registry.lake, first)
    snapshots = now.sql("SELECT DISTINCT position FROM changes WHERE source_table = 'users' AND op = 'r'")
    repeats = now.sql("SELECT count(*) - count(DISTINCT (key, position, op)) FROM changes WHERE op IN ('c', 'u', 'd')")
    assert (len(snapshots), repeats.item() > 0) == ((1, True) if schemas else (2, False))
    # As of then: by the lake's version, and by the position in the database's log.
    assert then.sql("SELECT count(*) FROM users").item() == 40
    present = "SELECT key, row FROM row_history WHERE source_table = 'users' AND {} ORDER BY ALL"
    position = then.sql("SELECT max(position) FROM changes").item()
    as_of = f"position <= {position} AND coalesce(position_end > {position}, true)"
    assert_frame_equal(now.sql(present.format(as_of)), then.sql(present.format("position_end IS NULL")))


def test_what_was_written_before_a_snapshot_and_committed_after_it_counts(registry: Registry) -> None:
    registry.run("INSERT INTO users (user_id, country) SELECT i, 'DE' FROM generate_series(1, 4) i")
    with ExitStack() as stack:
        older, between, across = (stack.enter_context(psycopg.connect(registry.url)) for _ in range(3))
        older.execute("UPDATE users SET country = 'older' WHERE user_id = 1")
        connect = registry.connect()
        starting = stack.enter_context(ThreadPoolExecutor()).submit(connect.__enter__)
        stack.push(connect.__exit__)
        # The replication slot waits for whoever is writing, and again for whoever began meanwhile. Who begins after that
        # is neither waited for nor seen by the snapshot.
        registry.await_slot_waits_for(older)
        between.execute("UPDATE users SET country = 'between' WHERE user_id = 2")
        older.commit()
        registry.await_slot_waits_for(between)
        across.execute("UPDATE users SET country = 'across' WHERE user_id = 3")
        across.execute("INSERT INTO users (user_id, country) VALUES (5, 'across')")
        between.commit()
        registry.await_topic("users")
        across.commit()
        starting.result()
        registry.await_sent()
    registry.check()
    behind = """SELECT count(*) FROM changes WHERE op IN ('c', 'u')
        AND position < (SELECT min(position) FROM changes WHERE op = 'r')"""
    assert Warehouse(registry.lake).sql(behind).item() == 2
