"""A model card written from facts: paragraphs, tables with intervals, and always when not to believe the model."""

from collections.abc import Mapping, Sequence

import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.models.training.scores import Score

DOUBTS = "## When not to believe it"


def figure(value: Score | float | int | str | None) -> str:
    """A cell of a table: a score with its interval, a number to three digits, "not measured" for none."""
    if value is None or value != value:
        return "not measured"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(head: Sequence[str], rows: Sequence[Sequence[Score | float | int | str | None]]) -> str:
    """A Markdown table; bars and line breaks of its cells are escaped."""
    lines = [list(head), ["---"] * len(head), *([figure(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def frame_table(frame: pl.DataFrame) -> str:
    """A Markdown table of a frame."""
    return table(frame.columns, frame.rows())


def card(title: str, sections: Mapping[str, str], doubts: Sequence[str]) -> str:
    """A card: the title, each section under its name, and the doubts under "When not to believe it".

    Raises:
        BadInput: no doubts. Every model has a case in which it is not to be believed.
    """
    if not doubts:
        raise BadInput(f"The card of {title!r} does not say when not to believe the model: name at least one case.")
    parts = [f"# {title}", *(f"## {name}\n\n{text}" for name, text in sections.items())]
    listed = "\n".join(f"- {doubt}" for doubt in doubts)
    return "\n\n".join([*parts, f"{DOUBTS}\n\n{listed}"]) + "\n"


def doubts_of(card: str) -> str:
    """What a card lists under "When not to believe it", Markdown; empty where it has no such part."""
    _, _, rest = card.partition(f"\n{DOUBTS}\n")
    return rest.partition("\n## ")[0].strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
