"""Moments as typed."""

from datetime import UTC, datetime, timedelta

import pytest

from neonblue_lab.cli.moments import moment
from neonblue_lab.errors import BadInput

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-01-05", datetime(2026, 1, 5, tzinfo=UTC)),
        ("2026-01-05T10:30", datetime(2026, 1, 5, 10, 30, tzinfo=UTC)),
        ("2026-01-05 10:30:00.250", datetime(2026, 1, 5, 10, 30, 0, 250_000, tzinfo=UTC)),
        ("2026-01-05T10:00Z", datetime(2026, 1, 5, 10, tzinfo=UTC)),
        ("2026-01-05T10:00+02:00", datetime(2026, 1, 5, 8, tzinfo=UTC)),
        ("90s", NOW - timedelta(seconds=90)),
        ("15m", NOW - timedelta(minutes=15)),
        ("1.5h", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        (" 2w ", NOW - timedelta(days=14)),
    ],
)
def test_a_moment_is_iso_or_ago(text: str, read: datetime) -> None:
    assert moment("--since", text, NOW) == read
    assert moment("--since", text, NOW).utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["", "yesterday", "2h30m", "-2h", "2026-13-01", "999999999w", "1e3s", "5"])
def test_what_is_no_moment_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(BadInput, match=r"--until .*2026-01-05T10:00\+02:00.*2h"):
        moment("--until", text, NOW)
