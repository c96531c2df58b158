"""What only ClickHouse has: clusters, the engine in this process, months, logins, and a view's speed."""

import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import clickhouse_connect
import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from neonblue_lab.errors import BadInput, Unavailable
from neonblue_lab.sinks.clickhouse import PASSING, WRONG_LOGIN, ClickHouseSink
from neonblue_lab.sinks.clickhouse_ddl import ClickHouseDdl
from neonblue_lab.sinks.opening import CLICKHOUSE_CLUSTER, URL_VARIABLES, open_sink
from neonblue_lab.sinks.sink import Delivery
from tests.integration.sinks.conftest import TABLES, Frames, Store, comparable, deliveries
from tests.services.clickhouse_http import ClickHouseServer

PASSWORD = "pa:ss/w@rd?1#&%"
WRITTEN = "pa%3Ass%2Fw%40rd%3F1%23%26%25"


@pytest.fixture
def client(clickhouse: ClickHouseServer) -> Iterator[Client]:
    """The real client, without the sink."""
    host, port = clickhouse.url.removeprefix("http://").split(":")
    with closing(clickhouse_connect.get_client(host=host, port=int(port))) as client:
        yield client


@pytest.fixture(scope="module")
def guarded() -> Iterator[ClickHouseServer]:
    with ClickHouseServer(PASSWORD) as server:
        yield server


def statements(ddl: ClickHouseDdl) -> list[str]:
    made = [ddl.create_database()]
    for name, table in TABLES.items():
        made += [*ddl.create_table(name, table), *ddl.add_columns(name, table, []), ddl.create_view(name, table)]
        made.append(ddl.empty(name))
    return made


@pytest.mark.parametrize("cluster", [None, "eu'`west"])
def test_the_engine_understands_every_statement(client: Client, cluster: str | None) -> None:
    made = statements(ClickHouseDdl("neon`blue", cluster))
    read = client.query("SELECT formatQuery(arrayJoin({made:Array(String)}))", {"made": made}).result_rows
    assert len(read) == len(made)


def test_a_cluster_replicates_and_distributes(client: Client) -> None:
    ddl = ClickHouseDdl("neonblue", "main")
    query = "SELECT formatQuerySingleLine(arrayJoin({made:Array(String)}))"
    made = [text for (text,) in client.query(query, {"made": statements(ddl)}).result_rows]
    assert all(" ON CLUSTER main" in text for text in made)
    stored = [
        text
        for text in made
        if "_local" in text.split("(")[0] and text.startswith("CREATE TABLE") and " AS " not in text
    ]
    doors = [text for text in made if "ENGINE = Distributed('main', 'neonblue', " in text]
    assert len(stored) == len(doors) == len(TABLES)
    assert all("ENGINE = Replicated" in text for text in stored)
    assert not any("_local" in text for text in made if text.startswith("CREATE OR REPLACE VIEW"))


def test_errors_have_the_numbers_that_the_engine_gives_them(client: Client) -> None:
    known = WRONG_LOGIN | PASSING
    named = client.query("SELECT errorCodeToName(arrayJoin({codes:Array(UInt32)}))", {"codes": [*known.values()]})
    assert [name for (name,) in named.result_rows] == [*known]


def test_an_unknown_cluster_is_refused_in_the_servers_words(
    clickhouse: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLICKHOUSE_CLUSTER, "nowhere")
    monkeypatch.setenv(URL_VARIABLES["clickhouse"], clickhouse.url)
    with (
        closing(open_sink("clickhouse")) as sink,
        pytest.raises(BadInput, match=r"refused while making its tables.*nowhere"),
    ):
        sink.prepare(TABLES)


def test_a_question_about_one_experiment_reads_little(clickhouse_store: Store, frames: Frames) -> None:
    clickhouse_store.sink.write(Delivery("events", "all", frames["events"]))
    experiment = frames["events"]["experiment_id"].drop_nulls()[0]
    plan = clickhouse_store.select(
        "EXPLAIN indexes = 1 SELECT count() FROM {database}.events_current "
        f"WHERE experiment_id = '{experiment}' AND event_type = 'exposure'"
    )
    lines = [line.strip(" │└─") for (line,) in plan]
    after_key = lines[next(i for i, line in enumerate(lines) if line.startswith("PrimaryKey")) :]
    assert "Keys:" in after_key[1]
    assert {"experiment_id", "event_type"} <= {line.split(",")[0] for line in after_key}


def test_a_delivery_of_many_years(clickhouse_store: Store) -> None:
    months = [datetime(2001, 1, 5, tzinfo=UTC) + timedelta(days=31 * month) for month in range(200)]
    schema = TABLES["events"].schema
    told = {"event_type": "purchase", "topic": "user_events", "partition": 0}
    given = [
        dict.fromkeys(schema) | told | {"event_id": f"e{i}", "offset": i, "timestamp": at, "event_date": at.date()}
        for i, at in enumerate(months)
    ]
    frame = pl.DataFrame(given, schema=schema)
    clickhouse_store.sink.write(Delivery("events", "years", frame))
    assert clickhouse_store.read("events") == comparable(frame)


def test_equal_rows_are_one_after_a_merge_too(clickhouse_store: Store, frames: Frames) -> None:
    for delivery in deliveries(frames, 5_000) + deliveries(frames, 3_000):
        clickhouse_store.sink.write(
            Delivery(delivery.table, f"{delivery.token}/{delivery.frame.height}", delivery.frame, delivery.snapshot)
        )
    seen = {name: clickhouse_store.read(name) for name in frames}
    for name in frames:
        clickhouse_store.select(f"OPTIMIZE TABLE {{database}}.{name} FINAL")
    assert {name: clickhouse_store.read(name) for name in frames} == seen


def test_an_emptied_table_takes_the_same_delivery_again(clickhouse_store: Store, frames: Frames) -> None:
    delivery = deliveries(frames)[0]
    clickhouse_store.sink.write(delivery)
    held = clickhouse_store.count("events")
    clickhouse_store.select("TRUNCATE TABLE {database}.events")
    clickhouse_store.sink.write(delivery)
    assert clickhouse_store.count("events") == held > 0


def test_the_engine_in_this_process(frames: Frames, tmp_path: Path) -> None:
    pytest.importorskip("chdb")
    part = frames["events"].head(1_000)
    for _ in range(2):  # opened again, the rows are still there
        with closing(open_sink("clickhouse", f"chdb://{tmp_path / 'engine'}")) as sink:
            sink.prepare(TABLES)
            sink.write(Delivery("events", "first", part))
            assert sink.health().ok
    with closing(clickhouse_connect.get_client(interface="chdb", path=str(tmp_path / "engine"))) as client:
        found = client.query("SELECT count() FROM neonblue.events_current").result_rows
    assert found == [(part["event_id"].n_unique(),)]


def test_two_engines_in_one_process_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("chdb")
    with closing(open_sink("clickhouse", f"chdb://{tmp_path / 'one'}")) as first:
        first.prepare({})
        with closing(open_sink("clickhouse", f"chdb://{tmp_path / 'two'}")) as second:
            with pytest.raises(Unavailable, match="one process has one engine"):
                second.prepare({})
            assert not second.health().ok


def test_the_password_opens_the_door(guarded: ClickHouseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    url = guarded.url.replace("http://", f"http://default:{WRITTEN}@")
    monkeypatch.setenv(URL_VARIABLES["clickhouse"], url)
    with closing(open_sink("clickhouse")) as sink:
        sink.prepare(TABLES)
        assert sink.health().ok


@pytest.mark.parametrize("path", ["", "/one/two", "?compress=1"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_password_is_never_told(
    guarded: ClickHouseServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    scheme: str,
    path: str,
) -> None:
    secret = "w%72ong-s%40cret"
    url = guarded.url.replace("http://", f"{scheme}://default:{secret}@") + path
    monkeypatch.setenv(URL_VARIABLES["clickhouse"], url)
    told = []
    with caplog.at_level(logging.DEBUG):
        try:
            with closing(open_sink("clickhouse")) as sink:
                told += [sink.name, sink.address, repr(sink), str(vars(sink)), sink.health().message]
                sink.prepare(TABLES)
        except (BadInput, Unavailable) as error:
            told += [str(error), repr(error), str(error.__cause__), str(error.__context__)]
    assert told
    for text in (*told, caplog.text):
        assert "ong-s" not in text


def test_a_wrong_password_is_named_as_such(guarded: ClickHouseServer) -> None:
    with closing(ClickHouseSink(guarded.url.replace("http://", "http://default:wrong@"))) as sink:
        with pytest.raises(BadInput, match="does not let this user in"):
            sink.prepare(TABLES)
        assert not sink.health().ok
