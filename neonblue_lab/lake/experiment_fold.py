"""`experiments`, made anew out of everything that was said of experiments, whenever something was."""

import polars as pl

from neonblue_lab.errors import Conflict
from neonblue_lab.events.schema import EVENT_SCHEMA, EXPERIMENT_LIFECYCLE
from neonblue_lab.lake.derive import experiment_rows
from neonblue_lab.lake.lake import Lake

_MADE_FROM = ("lifecycle", "changes")


def fold_experiments(lake: Lake) -> None:
    """Make `experiments` anew where `lifecycle` or `changes` has moved on since; its marks are their versions."""
    while True:
        table, sources = lake.open("experiments"), {name: lake.open(name) for name in _MADE_FROM}
        made_from = {name: source.version() for name, source in sources.items()}
        if made_from == {name: table.transaction_version(name) for name in _MADE_FROM}:
            return
        of_the_registry = pl.col("partition.source_table").is_in(["experiments", "variants"])
        rows = experiment_rows(
            lake.scan("lifecycle", sources["lifecycle"]).collect(),
            lake.scan("changes", sources["changes"], of_the_registry).collect(),
        )
        try:
            lake.commit(table, rows, marks=made_from, mode="overwrite")
        except Conflict:  # another replay, of another topic, made it at the same moment
            continue
        return


def restore_lifecycle(lake: Lake) -> None:
    """Fill `lifecycle` out of `events` where it has just been made beside a lake that is older.

    What replay adds meanwhile may be there twice: `experiment_rows` counts an event id once.
    """
    lifecycle, events = lake.open("lifecycle"), lake.open("events")
    if lifecycle.version() == 0 and events.version() > 0:
        said = lake.scan("events", events).filter(pl.col("event_type").is_in(EXPERIMENT_LIFECYCLE))
        rows = said.select(*EVENT_SCHEMA).collect()
        if not rows.is_empty():
            lake.commit(lifecycle, rows)
