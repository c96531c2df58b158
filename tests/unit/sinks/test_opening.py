"""A sink opens by its name; where it is may be told, its password never."""

import os
import sys
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput, Unavailable
from neonblue_lab.sinks.address import clickhouse_address, postgres_address
from neonblue_lab.sinks.opening import URL_VARIABLES, configured, open_sink

MARK = "hunter2"
PASSWORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(lambda text: f"{text}{MARK}{text}")


@given(PASSWORDS)
def test_a_password_written_properly_is_understood_and_not_shown(password: str) -> None:
    address = clickhouse_address(f"https://user:{quote(password, safe='')}@host:8443/db")
    assert address.password == password
    assert address.has_secret
    assert (address.user, address.host, address.port, address.path) == ("user", "host", 8443, "/db")
    assert str(address) == "https://host:8443/db"
    assert MARK not in f"{address!r} {address}"


@given(PASSWORDS, st.sampled_from(["postgresql", "postgres"]))
def test_a_password_written_anyhow_is_not_shown(password: str, scheme: str) -> None:
    try:
        shown = str(postgres_address(f"{scheme}://user:{password}@host/db"))
    except BadInput as error:
        shown = f"{error} {error.__cause__} {error.__context__}"
    assert MARK not in shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host", "http://host"),
        ("HTTP://Host:8123/db", "http://host:8123/db"),
        ("http://user@[::1]:8123", "http://[::1]:8123"),
        ("chdb://", "chdb://"),
        ("chdb:///some/folder@home", "chdb:///some/folder@home"),
    ],
)
def test_addresses(url: str, shown: str) -> None:
    assert str(clickhouse_address(url)) == shown


@pytest.mark.parametrize(
    ("name", "url", "problem"),
    [
        ("mysql", "mysql://host", "There is no sink mysql; there are clickhouse, postgres"),
        ("clickhouse", "postgresql://host", "not the url of a store of this kind"),
        ("clickhouse", "host:8123", "not the url of a store of this kind"),
        ("clickhouse", "http://host:port", "cannot be taken apart"),
        ("clickhouse", "http:///db", "names no host"),
        ("clickhouse", "http://host/one/two", "more than a database"),
        ("clickhouse", "http://host/db?compress=1", "takes the options ca_cert, .*, not compress"),
        ("clickhouse", "chdb://host/x", "takes a folder"),
        ("clickhouse", "chdb://", "takes a folder .*: in memory"),
        ("postgres", "host=localhost password=hunter2", "not the url of a store of this kind"),
        ("postgres", "postgresql://host/db?no_such_option=1", "options that PostgreSQL's client does not know"),
        ("postgres", f"postgresql://user:{MARK}@host/db", "from the environment only.*set NEONBLUE_POSTGRES_URL"),
        ("postgres", f"postgresql://user@host/db?password={MARK}", "from the environment only"),
        ("clickhouse", f"https://user:{MARK}@host", "from the environment only.*set NEONBLUE_CLICKHOUSE_URL"),
    ],
)
def test_urls_that_cannot_be_used(name: str, url: str, problem: str) -> None:
    with pytest.raises(BadInput, match=problem) as raised:
        open_sink(name, url)
    assert MARK not in f"{raised.value} {raised.value.__context__}"


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("clickhouse", f"https://user:{MARK}@host:8443/db?verify=false"),
        ("postgres", f"postgresql://user:{MARK}@host:5432/db?sslmode=require"),
    ],
)
def test_the_environment_may_hold_a_password(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in URL_VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(BadInput, match=f"set {URL_VARIABLES[name]}"):
        open_sink(name)
    assert configured() == ()
    monkeypatch.setenv(URL_VARIABLES[name], url)
    assert configured() == (name,)
    sink = open_sink(name)
    assert (sink.name, MARK in sink.address) == (name, False)
    assert MARK not in repr(sink)
    sink.close()


@pytest.mark.parametrize(("name", "scheme"), [("clickhouse", "http"), ("postgres", "postgresql")])
def test_a_store_that_is_down_opens_and_says_so(name: str, scheme: str) -> None:
    sink = open_sink(name, f"{scheme}://127.0.0.1:1/db")
    health = sink.health()
    assert (health.ok, health.latency_ms) == (False, None)
    assert f"{scheme}://127.0.0.1:1/db" in health.message
    with pytest.raises(Unavailable, match=f"{scheme}://127.0.0.1:1/db failed while making its tables"):
        sink.prepare({})
    sink.close()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "neonblue_lab.sinks.postgres", raising=False)
    with pytest.raises(Unavailable, match=r"pip install 'neonblue-lab\[postgres\]'"):
        open_sink("postgres", "postgresql://host/db")
    monkeypatch.setitem(sys.modules, "chdb", None)
    monkeypatch.delitem(sys.modules, "clickhouse_connect.driver._chdbclient", raising=False)
    monkeypatch.delitem(sys.modules, "clickhouse_connect.driver._backend.chdb_backend", raising=False)
    sink = open_sink("clickhouse", "chdb:///some/folder")
    assert r"pip install 'neonblue-lab[chdb]'" in sink.health().message
    with pytest.raises(Unavailable, match="chdb"):
        sink.prepare({})


def test_nothing_is_left_in_the_environment() -> None:
    assert not [variable for variable in URL_VARIABLES.values() if MARK in os.environ.get(variable, "")]
