"""A small form for notebooks: an event's content, the labels that hold, and a button that stores what a person corrects."""

from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from neonblue_lab.errors import NeonBlueError
from neonblue_lab.events.classification import LABELS, SERVERS
from neonblue_lab.models.event_labels.corrections import EVENT, EVENT_TYPE, JOIN, known_values

if TYPE_CHECKING:
    from ipywidgets import VBox

_WIDE = {"width": "720px"}
_DESCRIBED = {"description_width": "150px"}


def correction_form(events: pl.DataFrame, correct: Callable[..., pl.DataFrame], *, author: str = "") -> "VBox":
    """The form.

    Args:
        events: as `review.least_sure` gives them.
        correct: stores a correction; called with event_id or event_type, the labels that were changed, author and note.
        author: filled in beforehand.

    Returns:
        A widget; a notebook shows it where it is the last value of a cell. What `correct` refuses is said in the form.
    """
    import ipywidgets as widgets

    def choice(options: Any, description: str, **more: Any) -> Any:
        return widgets.Dropdown(options=options, description=description, layout=_WIDE, style=_DESCRIBED, **more)

    if events.is_empty():
        return widgets.VBox([widgets.HTML("There is no event to look at: all that were sampled have been corrected.")])
    rows = events.to_dicts()
    event = choice([(_named(row), position) for position, row in enumerate(rows)], "Event")
    content = widgets.HTML()
    scope = widgets.RadioButtons(
        options=[("This event only", EVENT), ("All events of its type", EVENT_TYPE)],
        description="Correct",
        style=_DESCRIBED,
    )
    labels = {
        label: choice(_combinations() if label == "target_servers" else known_values(label), label) for label in LABELS
    }
    by = widgets.Text(value=author, description="Author", layout=_WIDE, style=_DESCRIBED)
    note = widgets.Text(description="Note", layout=_WIDE, style=_DESCRIBED)
    store = widgets.Button(description="Store correction", button_style="primary")
    said = widgets.HTML()

    def show(_: object = None) -> None:
        row = rows[event.value]
        content.value = _content(row)
        for label, widget in labels.items():
            widget.value = row[label]
        note.value = said.value = ""

    def submit(_: object) -> None:
        row = rows[event.value]
        target = {"event_id": row["event_id"]} if scope.value == EVENT else {"event_type": row["event_type"]}
        changed = {label: widget.value for label, widget in labels.items() if widget.value != row[label]}
        try:
            correct(**target, **changed, author=by.value, note=note.value)
        except NeonBlueError as error:
            said.value = f"<b>Not stored.</b> {escape(str(error))}"
            return
        row.update(changed)
        said.value = (
            f"<b>Stored:</b> {escape(', '.join(f'{label} is {value}' for label, value in changed.items()))} "
            f"for {escape(next(iter(target.values())))}. The next training learns from it."
        )

    event.observe(show, names="value")
    store.on_click(submit)
    show()
    return widgets.VBox([event, content, scope, *labels.values(), by, note, store, said])


def _named(row: Mapping[str, Any]) -> str:
    known = "" if row["has_rule"] else ", no rule"
    return f"{row['event_type']} {row['event_id']} (sure {row['confidence']:.0%}{known})"


def _combinations() -> list[str]:
    """All sets of stores as one text, in the order of SERVERS."""
    sets = range(1, 2 ** len(SERVERS))
    return [JOIN.join(store for bit, store in enumerate(SERVERS) if chosen >> bit & 1) for chosen in sets]


def _content(row: Mapping[str, Any]) -> str:
    properties = orjson.loads(row["properties"]) if row["properties"] else {}
    shown = orjson.dumps(properties, option=orjson.OPT_INDENT_2).decode()
    would = ", ".join(f"{label} {row[f'{label}_predicted']}" for label in LABELS if row[f"{label}_predicted"])
    value = "" if row["value"] is None else f", value {row['value']:g}"
    return (
        f"<div style='margin-left:150px'>{escape(row['event_type'])} in {escape(row['topic'])}, "
        f"{row['timestamp']:%Y-%m-%d %H:%M}{value}. Most like {escape(row['like'])}: the classifier would say "
        f"{escape(would)}.<pre style='max-height:220px;overflow:auto'>{escape(shown)}</pre></div>"
    )
