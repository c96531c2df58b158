"""The language of metric definitions: what it says in DuckDB's SQL on one event, and what it refuses."""

import json
from contextlib import suppress
from typing import Any

import ibis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.metrics.expressions import parse_condition, parse_number
from neonblue_lab.metrics.properties import Reader
from neonblue_lab.metrics.statistics import statistics_sql

PROPERTIES = {
    "price": 12.5,
    "quantity": 4,
    "text": "12.5",
    "huge": "1e999",
    "device": "ios",
    "member": True,
    "none": None,
    "cart": {"items": 3, "code": "it's"},
    "utm-source": "mail",
    "size": [1, 2],
}


@pytest.fixture(scope="module")
def answer() -> Any:
    connection = ibis.duckdb.connect()
    connection.con.execute("CREATE TABLE events (value DOUBLE, properties VARCHAR)")
    connection.con.execute("INSERT INTO events VALUES (7.5, $1)", [json.dumps(PROPERTIES)])
    rows = connection.table("events")

    def ask(node: Any) -> Any:
        [found] = rows.select(found=Reader(rows, "duckdb").read(node)).to_pyarrow()["found"].to_pylist()
        return found

    return ask


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("value", 7.5),
        ("properties.price * properties.quantity", 50.0),
        ("properties.text - 0.5", 12.0),
        ("-(value + 2.5) / 4", -2.5),
        ("properties.cart.items", 3.0),
        ("properties['cart']['items']", 3.0),
        ("value / (properties.quantity - 4)", None),
        ("properties.missing + 1", None),
        ("properties.none + 1", None),
        ("properties.huge", None),
        ("properties.member", None),
        ("properties.size", None),
        ("properties.device", None),
    ],
)
def test_a_number(answer: Any, text: str, number: float | None) -> None:
    assert answer(parse_number(text)) == number


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("value > 7", True),
        ("7 < value <= 7.5", True),
        ("properties.device == 'ios'", True),
        ("properties.device != 'ios'", False),
        ("properties.device in ['web', 'ios']", True),
        ("properties.device not in ['web', 'android']", True),
        ("properties.quantity in [1, 4]", True),
        ('properties.cart.code == "it\'s"', True),
        ("properties['utm-source'] is not null", True),
        ("properties.none is null", True),
        ("properties.missing is null", True),
        ("properties.device is null", False),
        ("properties.member == true", True),
        ("properties.member == False", False),
        ("properties.quantity == '4'", None),
        ("properties.text == 12.5", True),
        ("properties.text == '12.5'", True),
        ("properties.missing == 'x'", None),
        ("properties.missing != 'x'", None),
        ("not properties.missing in ['x']", None),
        ("properties.missing == 1 or value > 1", True),
        ("properties.missing == 1 and value > 1", None),
        ("not (value > 1 and properties.device == 'web')", True),
    ],
)
def test_a_condition(answer: Any, text: str, truth: bool | None) -> None:
    assert answer(parse_condition(text)) is truth


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not an expression"),
        ("value +", "is not an expression"),
        ("price", "`price` is no part of an event"),
        ("properties", "`properties` is no part of an event"),
        ("value.x", "`value.x` is no part of an event"),
        ("abs(value)", r"`abs\(value\)` is no part of an event"),
        ("value ** 2", r"`value \*\* 2` is no part of an event"),
        ("'text'", "is no part of an event"),
        ("true", "`true` is no part of an event"),
        ("__import__('os').system('ls')", "is no part of an event"),
        ("properties[0]", "is no part of an event"),
        ("properties['a\"b']", "cannot be looked up"),
        ("1e301", "too large a number"),
        ("9" * 400, "too large a number"),
        ("1e999", "too large a number"),
    ],
)
def test_what_is_no_number(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_number(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("value", "`value` is no condition"),
        ("value == 'ten'", "`value` is a number, and is compared with something of another type"),
        ("properties.a in 'ios'", "must be a list in brackets"),
        ("properties.a in []", "must be a list in brackets"),
        ("properties.a in ['ios', 1]", "mixes texts and numbers"),
        ("properties.a in [1, true]", "mixes texts and numbers"),
        ("properties.a is 3", "only null can"),
        ("properties.a < true", "neither smaller nor larger"),
        ("1 == 'a'", "compared with something of another type"),
        ("true == 'a'", "compared with something of another type"),
        ("properties.a == null", "`null` is no part of an event"),
    ],
)
def test_what_is_no_condition(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_condition(text)


@given(st.text(alphabet="value properts.()[]'\"\\+-*/<>=!1eandotisnull ,\x00é", max_size=40))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    for parse in (parse_number, parse_condition):
        with suppress(ValueError):  # anything else is not for the author of a definition
            parse(text)


def test_a_metric_of_aggregates_has_no_sql() -> None:
    with pytest.raises(BadInput, match="arrives as aggregates"):
        statistics_sql(Metric(name="latency", kind="mean"))


def test_an_engine_that_is_not_known_is_refused() -> None:
    metric = Metric(name="m", kind="mean", event="purchase", of="value")
    with pytest.raises(BadInput, match="duckdb or clickhouse, not by 'postgres'"):
        statistics_sql(metric, dialect="postgres")
