"""What only PostgreSQL has: jsonb's limits, locks, roles, and a log of statements."""

import json
import logging
import threading
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import polars as pl
import psycopg
import pytest

from neonblue_lab.errors import BadInput, Unavailable
from neonblue_lab.sinks import postgres
from neonblue_lab.sinks.opening import open_sink
from neonblue_lab.sinks.sink import Delivery
from tests.integration.sinks.conftest import TABLES, Store
from tests.services.postgres import Postgres

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def events(*properties: str | None, **stated: Any) -> pl.DataFrame:
    schema = TABLES["events"].schema
    told = {"event_type": "purchase", "topic": "user_events", "partition": 0, "timestamp": MOMENT} | stated
    given = [
        dict.fromkeys(schema)
        | told
        | {"event_id": f"e{i}", "offset": i, "event_date": MOMENT.date(), "properties": text}
        for i, text in enumerate(properties)
    ]
    return pl.DataFrame(given, schema=schema)


def stored(store: Store) -> list[Any]:
    return [value for (value,) in store.select("SELECT properties FROM {database}.events ORDER BY event_id")]


def test_properties_are_jsonb(postgres_store: Store) -> None:
    postgres_store.sink.write(Delivery("events", "t", events('{"plan": {"tier": 2}, "tags": ["a"]}', None, "{}")))
    assert stored(postgres_store) == [{"plan": {"tier": 2}, "tags": ["a"]}, None, {}]
    assert postgres_store.select(
        'SELECT event_id FROM {database}.events WHERE properties @> \'{"plan": {"tier": 2}}\''
    ) == [("e0",)]


@pytest.mark.parametrize(
    "text",
    [
        r'{"a": "\u0000"}',
        r'{"a": "\ud800"}',
        r'{"a": "\udc00\ud800 tail"}',
        '{"a": 1e999999}',
        '{"a": ' + "9" * 140_000 + "}",
        '{"a": ' + "[" * 20_000 + "]" * 20_000 + "}",
    ],
    ids=["nul", "high surrogate", "surrogates swapped", "exponent", "digits", "depth"],
)
def test_what_jsonb_cannot_hold_is_kept_as_its_text(postgres_store: Store, text: str) -> None:
    postgres_store.sink.write(Delivery("events", "t", events('{"sound": 1}', text, '{"sound": 2}')))
    assert stored(postgres_store) == [{"sound": 1}, text, {"sound": 2}]


def test_a_nul_in_a_text_is_refused_with_table_and_token(postgres_store: Store) -> None:
    frame = pl.concat([events("{}", "{}"), events("{}", user_id="a\0b").with_columns(event_id=pl.lit("e9"))])
    with pytest.raises(BadInput, match="refused while taking delivery events@7/0 of events"):
        postgres_store.sink.write(Delivery("events", "events@7/0", frame))
    assert postgres_store.count("events") == 0
    postgres_store.sink.write(Delivery("events", "events@8/0", events("{}")))
    assert postgres_store.count("events") == 1


def test_a_locked_table_is_waited_for_only_so_long(postgres_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 1)
    delivery = Delivery("events", "t", events("{}"))
    with closing(open_sink("postgres")) as sink:
        with psycopg.connect(postgres_store.url) as holder:
            holder.execute("LOCK TABLE neonblue.events IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(Unavailable, match="lock timeout"):
                sink.write(delivery)
            assert sink.health().ok
        sink.write(delivery)
    assert postgres_store.count("events") == 1


def test_a_statement_takes_only_so_long(postgres_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "STATEMENT_SECONDS", 1)
    with psycopg.connect(postgres_store.url, autocommit=True) as owner:
        owner.execute(
            "CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$"
        )
        owner.execute("CREATE TRIGGER stall BEFORE INSERT ON neonblue.events EXECUTE FUNCTION stall()")
    with closing(open_sink("postgres")) as sink, pytest.raises(Unavailable, match="statement timeout"):
        sink.write(Delivery("events", "t", events("{}")))
    assert postgres_store.count("events") == 0


def test_a_session_ended_by_the_server_is_opened_again(postgres_store: Store) -> None:
    postgres_store.sink.write(Delivery("events", "t", events("{}")))
    postgres_store.select("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'neonblue'")
    delivery = Delivery("events", "u", events("{}", "{}"))
    with pytest.raises(Unavailable, match="taking delivery u of events"):
        postgres_store.sink.write(delivery)
    postgres_store.sink.write(delivery)
    assert postgres_store.count("events") == 2


def test_health_is_told_while_a_delivery_waits(postgres_store: Store) -> None:
    with psycopg.connect(postgres_store.url) as holder:
        holder.execute("LOCK TABLE neonblue.events IN ACCESS EXCLUSIVE MODE")
        writing = threading.Thread(target=postgres_store.sink.write, args=[Delivery("events", "t", events("{}"))])
        writing.start()
        assert postgres_store.sink.health().ok
        holder.rollback()
        writing.join()
    assert postgres_store.count("events") == 1


def test_a_role_that_may_not_make_schemas_uses_one_that_is_there(postgres: Postgres) -> None:
    url = postgres.database("modest")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("CREATE ROLE modest LOGIN")
        owner.execute("CREATE SCHEMA neonblue AUTHORIZATION modest")
    with closing(open_sink("postgres", url.replace("postgres@", "modest@"))) as sink:
        for _ in range(2):
            sink.prepare(TABLES)


def test_a_password_is_never_told(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "s%40cret-hunter"
    told = []
    with caplog.at_level(logging.DEBUG):
        for url in (
            postgres.url.replace("postgres@", f"nobody:{secret}@"),
            postgres.url.replace("postgres@", f"postgres:{secret}@").replace("/postgres", "/missing"),
            f"postgresql://nobody:{secret}@127.0.0.1:1/x",
            f"postgresql://nobody@127.0.0.1:1/x?password={secret}",
            f"postgresql://nobody:{secret}@127.0.0.1:1/x?no_such_option=1",
        ):
            monkeypatch.setenv("NEONBLUE_POSTGRES_URL", url)
            try:
                with closing(open_sink("postgres")) as sink:
                    told += [sink.name, sink.address, repr(sink), sink.health().message]
                    sink.prepare(TABLES)
            except (BadInput, Unavailable) as error:
                told += [str(error), repr(error), str(error.__cause__), str(error.__context__)]
    assert len(told) > 20
    for text in (*told, caplog.text):
        assert "cret-hunter" not in text
    assert json.dumps(told)
