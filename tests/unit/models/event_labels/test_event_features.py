"""An event's content becomes tokens as an independent JSON reader would see it, and nothing else of it does."""

import json
import re
from itertools import product

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.models.event_labels.features import LARGE, MAX_TEXT, features

TEXTS = st.text(alphabet='abXY09 "\\:{}[],éß_/-', max_size=30)
KEYS = TEXTS.filter(bool)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5000, 5000), st.floats(-1e9, 1e9), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


def _events(properties: list[str | None], **columns: list[object]) -> pl.DataFrame:
    count = len(properties)
    ids = {name: [None] * count for name in ("user_id", "session_id", "experiment_id", "variant_id")}
    frame = {"value": [None] * count, **ids, **columns, "properties": properties}
    return pl.DataFrame(frame, schema_overrides={"value": pl.Float64, **dict.fromkeys(ids, pl.String)})


def _quoted(text: str) -> str:
    """As it lies in JSON, without digits that tell one event from another."""
    return re.sub(r"\s+", "_", re.sub(r"0+", "0", re.sub(r"\d", "0", json.dumps(text, ensure_ascii=False)[1:-1])))


def _key(text: str) -> str:
    """A key keeps whether a run of digits is long."""
    masked = re.sub(r"\.\d+", ".0", json.dumps(text, ensure_ascii=False)[1:-1])
    masked = re.sub(r"\d+", lambda run: "0000" if len(run.group()) >= LARGE else "0", masked)
    return re.sub(r"\s+", "_", masked)


def _pieces(key: str) -> set[str]:
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", key).lower()
    return {f"~{piece}" for piece in re.findall(r"[^\W_]+", parted)}


def _what(value: object) -> str:
    if isinstance(value, str):
        text = _quoted(value).lower()
        return text if len(text) <= MAX_TEXT else "#text"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        text = json.dumps(value)
        sign = "#negative" if text.startswith("-") else ""
        large = re.search(rf"(?<![.\d])\d{{{LARGE},}}", text) or re.search(rf"e[+-]?\d{{{LARGE},}}", text)
        return sign + ("#fraction" if re.search(r"[.e]", text) else "#whole") + ("#large" if large else "")
    return {dict: "#object", list: "#list"}[type(value)]


def _tokens(value: object, path: str = "") -> set[str]:
    found: set[str] = set()
    if isinstance(value, dict):
        for key, inner in value.items():
            name = _key(key)
            here = f"{path}.{name}" if path else name
            found |= {here, f"{here}={_what(inner)}"} | _pieces(name) | _tokens(inner, here)
    elif isinstance(value, list):
        for inner in value:
            found |= {f"{path}={_what(inner)}"} if isinstance(inner, str) else _tokens(inner, path)
    return found


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.sampled_from([None, 2]))
def test_property_tokens_are_those_of_a_json_reader(properties, indent):
    text = json.dumps(properties, ensure_ascii=False, indent=indent)
    assert set(features(_events([text]))[0].split()) == _tokens(properties) | {"value:none"}


def test_a_nested_key_is_a_path_and_the_words_that_it_is_made_of():
    document = features(_events(['{"cart":{"checkoutStep":2,"items":[{"price_eur":1999.5}]}}']))[0].split()
    assert set(document) == {
        *("value:none", "cart", "cart=#object", "~cart"),
        *("cart.checkoutStep", "cart.checkoutStep=#whole", "~checkout", "~step"),
        *("cart.items", "cart.items=#list", "~items"),
        *("cart.items.price_eur", "cart.items.price_eur=#fraction#large", "~price", "~eur"),
    }


def test_a_deep_document_keeps_its_keys():
    deep = {"last": 1}
    for _ in range(40):
        deep = {"k": deep}
    assert "~last" in features(_events([json.dumps(deep)]))[0].split()


def test_a_value_counts_by_its_magnitude():
    values = [None, -3.0, 0.0, 0.5, 1.0, 99.5, 100.0]
    expected = [
        "value:none",
        "value:negative value:whole",
        "value:zero value:whole",
        "value:1e-1",
        "value:1e0 value:whole",
        "value:1e1",
        "value:1e2 value:whole",
    ]
    assert features(_events([None] * len(values), value=values)).to_list() == expected


def test_the_envelope_counts_by_which_ids_are_there_and_not_by_what_they_are():
    frame = _events([None, None, None], user_id=["u1", "u2", None], variant_id=["b", "c", "b"])
    first, second, third = features(frame)
    assert first == second == "has:user_id has:variant_id value:none"
    assert third == "has:variant_id value:none"


def test_event_type_and_topic_are_never_looked_at(user_events):
    events = user_events(200, seed=1)
    bare = events.drop("event_type", "topic", "event_id", "timestamp", "partition", "offset")
    assert features(events).equals(features(bare))


def test_ids_and_numbers_inside_texts_do_not_make_new_documents():
    texts = [json.dumps({"product": f"p{i}", "price": i * 1.5}) for i in range(1, 500)]  # no price is large
    assert features(_events(texts)).n_unique() == 1


def test_no_events_give_no_documents():
    assert len(features(_events([]))) == 0


def test_a_missing_column_is_named():
    with pytest.raises(BadInput, match="properties"):
        features(_events(["{}"]).drop("properties"))


def test_a_megabyte_of_keys_is_read_like_a_line_of_them():
    """What each key costs does not depend on how many there are: otherwise this would take a minute."""
    names = ["".join(letters) for letters in product("abcdefghijklmnop", repeat=4)]
    inner = {name: {"x": True} for name in names}
    tokens = set(features(_events([json.dumps({"a": {"b": {"c": {"d": {"e": {"f": inner}}}}}})]))[0].split())
    assert {f"a.b.c.d.e.f.{name}.x=true" for name in names} <= tokens
