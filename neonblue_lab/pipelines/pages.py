"""The look that all pages share: templates that escape what they are given, and how times and values are written."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from neonblue_lab.pipelines.runs import DATA_VERSION, RunResult

TEMPLATES = Path(__file__).parent / "templates"
_LONGEST_VALUE = 80


def render(template: str, **values: Any) -> str:
    """Render one of the page templates."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({each.__name__: each for each in (moment, seconds, duration, shown, words, learned)})
    return environment


def moment(time: datetime) -> str:
    """`2 March 2026, 10:04 UTC`."""
    time = time.astimezone(UTC)
    return f"{time.day} {time:%B %Y, %H:%M} UTC"


def seconds(time: float) -> str:
    """`0.4 s`, `38 s`, `4 min 10 s`, `2 h 5 min`."""
    if time < 10:
        return f"{time:.1f} s"
    whole = round(time)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def duration(run: RunResult) -> str:
    """How long a run took; nothing where its end is not known."""
    return seconds((run.finished_at - run.started_at).total_seconds()) if run.finished_at else ""


def shown(value: Any) -> str:
    """A recorded value for reading: grouped digits, four significant figures, long texts cut, long lists counted."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    if len(text) <= _LONGEST_VALUE:
        return text
    return f"{text[:_LONGEST_VALUE]}…" if isinstance(value, str) else f"{len(value)} values"


def learned(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """What a step recorded besides the version of the data, which the page of all runs tells once per run."""
    return {name: value for name, value in recorded.items() if name != DATA_VERSION}


def words(status: str) -> str:
    """A status for reading."""
    return status.replace("_", " ")
