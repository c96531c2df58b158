"""Options of a replay that make no sense together are refused before anything is read."""

from datetime import UTC, datetime

import pytest

from neonblue_lab.cli.asked import Asked
from neonblue_lab.errors import BadInput

KAFKA = "kafka://localhost:9092"
MOMENT = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "asked",
    [
        Asked("topics"),
        Asked("topics", follow=True, linger=0.5, metrics_port=0, sync=True),
        Asked("topics", since=MOMENT, until=MOMENT, offsets=("a:0:1-2",), max_records=5, dry_run=True),
        Asked("topics", log_format="json", accept_gap=True),
        Asked(KAFKA, client="confluent"),
        Asked(KAFKA, follow=True, group="lab", client="kafka-python", accept_gap=True),
        Asked("-", ("user_events",)),
        Asked("-", ("user_events",), follow=True, metrics_port=9400),
    ],
)
def test_what_makes_sense_passes(asked: Asked) -> None:
    asked.check()


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Asked("topics", since=MOMENT, follow=True), "--since does not go with --follow"),
        (Asked("topics", until=MOMENT, follow=True), "--until does not go with --follow"),
        (Asked("topics", offsets=("a:0:1-2",), follow=True), "--offsets does not go with --follow"),
        (Asked("topics", max_records=1, follow=True), "--max-records does not go with --follow"),
        (Asked("topics", dry_run=True, follow=True), "--dry-run does not go with --follow"),
        (Asked("topics", dry_run=True, sync=True), "--sync does not go with --dry-run"),
        (Asked("topics", linger=1.0), "--linger only goes with --follow"),
        (Asked("topics", metrics_port=0), "--metrics-port only goes with --follow"),
        (Asked(KAFKA, group="lab"), "--group only goes with --follow"),
        (Asked("topics", follow=True, group="lab"), "--group only goes with --from kafka://"),
        (Asked("topics", client="confluent"), "--client only goes with --from kafka://"),
        (Asked("-"), "name it"),
        (Asked("-", ("a", "b")), "name it"),
        (Asked("-", ("a",), dry_run=True), "--dry-run does not go with --from -"),
        (Asked("-", ("a",), max_records=3), "--max-records does not go with --from -"),
    ],
)
def test_what_makes_none_is_refused_in_a_sentence(asked: Asked, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as refusal:
        asked.check()
    assert str(refusal.value).endswith((".", "`."))


def test_without_bounds_everything_new_is_read() -> None:
    assert Asked("topics").selection is None


def test_bounds_become_a_selection() -> None:
    selection = Asked("topics", since=MOMENT, offsets=("user_events:1:5-9",), max_records=7).selection
    assert selection is not None
    assert (selection.since, selection.until, selection.max_records) == (MOMENT, None, 7)
    assert selection.offsets == {("user_events", 1): (5, 9)}
