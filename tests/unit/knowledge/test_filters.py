"""Filters: every accepted condition means what it says, and every other one is refused with a sentence."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.knowledge.filters import FACTS, chroma_where, shown, stored


@pytest.mark.parametrize(
    ("filters", "where"),
    [
        (None, None),
        ({}, None),
        ({"industry": "media"}, {"industry": {"$eq": "media"}}),
        ({"lift": {">=": 0.2}}, {"lift": {"$gte": 0.2}}),
        (
            {"outcome": "win", "sample_size": {">=": 100, "<=": 200}},
            {"$and": [{"outcome": {"$eq": "win"}}, {"sample_size": {"$gte": 100.0}}, {"sample_size": {"$lte": 200.0}}]},
        ),
    ],
)
def test_conditions_are_joined(filters: dict[str, object] | None, where: dict[str, object] | None) -> None:
    assert chroma_where(filters) == where


@pytest.mark.parametrize(
    "moment",
    [
        "2026-03-02",
        "2026-03-02T00:00:00Z",
        "2026-03-02T01:00:00+01:00",
        date(2026, 3, 2),
        datetime(2026, 3, 2, tzinfo=UTC),
    ],
)
def test_times_are_understood_in_each_form(moment: object) -> None:
    assert chroma_where({"timestamp": {">=": moment}}) == {"timestamp": {"$gte": 1772409600.0}}


def test_unknown_field_lists_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"no field 'colour'.*experiment_type, industry, user_segment"):
        chroma_where({"colour": "red"})


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        ({"lift": "large"}, "'large' is not a number"),
        ({"lift": True}, "True is not a number"),
        ({"lift": {">": 1}}, "give a value, or bounds"),
        ({"lift": {}}, "give a value, or bounds"),
        ({"industry": 3}, "3 is not a text"),
        ({"industry": {">=": "a"}}, "can only be equal"),
        ({"timestamp": "last week"}, "'last week' is not a time such as"),
        ({"timestamp": 5}, "5 is not a time such as"),
        ({"lift": float("nan")}, "nan is not a number"),
    ],
)
def test_wrong_values_are_refused(filters: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        chroma_where(filters)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_times_come_back_to_the_microsecond(moment: datetime) -> None:
    assert datetime.fromisoformat(str(shown("timestamp", stored("timestamp", moment)))) == moment


def test_counts_come_back_as_whole_numbers() -> None:
    assert FACTS["sample_size"].is_integer()
    assert shown("sample_size", stored("sample_size", 81_024_151)) == 81_024_151
    assert isinstance(shown("sample_size", stored("sample_size", 3)), int)
