"""Moments as a person types them: a date, a time, or how long ago."""

import re
from datetime import UTC, datetime, timedelta

from neonblue_lab.errors import BadInput

_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(option: str, text: str, now: datetime) -> datetime:
    """The moment that `text` names.

    Args:
        option: what the message calls it.
        text: ISO 8601 (`2026-01-05`, `2026-01-05T10:00`, `...+02:00`; without a zone it is UTC), or how long before `now`:
            `90s`, `15m`, `2h`, `7d`, `2w`.
        now: with its zone.

    Raises:
        BadInput: it is neither.
    """
    try:
        if ago := _AGO.fullmatch(text.strip()):
            return now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
        read = datetime.fromisoformat(text.strip())
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadInput(
            f"{option} {text}: give a moment as 2026-01-05, 2026-01-05T10:00 or 2026-01-05T10:00+02:00 (UTC without a "
            "zone), or how long ago as 90s, 15m, 2h, 7d or 2w."
        ) from error
