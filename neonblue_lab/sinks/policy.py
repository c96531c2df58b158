"""Which store gets what: one route for each class of events and for each other table, and how long each class is kept.

The default is `DEFAULT_TEXT`; a file `sinks.yaml` in the data folder replaces any of its keys.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from neonblue_lab.errors import BadInput
from neonblue_lab.events import classification
from neonblue_lab.events.classification import CHROMADB, LABEL_SCHEMA, LABELS

FILE = "sinks.yaml"
Store = Literal["postgres", "clickhouse", "chromadb"]
Priority = Literal["high", "medium", "low"]
Strategy = Literal["real_time", "stream", "batch"]
TableName = Literal["events", "experiments", "assignments", "metric_totals", "changes", "documents"]
TABLES: tuple[str, ...] = get_args(TableName)
STORES: tuple[str, ...] = get_args(Store)

_RULES = (*classification.BY_EVENT_TYPE.values(), *classification.BY_TOPIC.values(), classification.UNKNOWN)


def _words(label: str) -> set[str]:
    values = [getattr(rule, label) for rule in _RULES]
    return {word for value in values for word in ([value] if isinstance(value, str) else value)}


VOCABULARY = {label: _words(label) for label in LABELS}
"""Label -> the values that it can have."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Route(_Strict):
    """A lane: rows that go to the same stores in the same way.

    Attributes:
        lane: its name.
        table: of the lake.
        when: label -> values of which an event has one; every label named must agree. Events take the first route that
            agrees. Only for `events`; other tables have one route each.
        primary: the store that the rows are looked for in.
        secondary: stores that get them too.
        priority: lanes of higher priority go first, and overtake.
        strategy: real_time (at once), stream (when enough rows wait, or for long enough), batch (when a run ends, a person
            says so, or after a long wait).
    """

    lane: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    table: TableName
    when: dict[str, tuple[str, ...]] = {}
    primary: Store
    secondary: tuple[Store, ...] = ()
    priority: Priority
    strategy: Strategy

    @property
    def stores(self) -> tuple[str, ...]:
        """Every store that gets the rows, the primary one first."""
        return (self.primary, *self.secondary)

    @property
    def rank(self) -> tuple[int, int]:
        """Smaller goes first."""
        return get_args(Priority).index(self.priority), get_args(Strategy).index(self.strategy)

    @field_validator("when", mode="before")
    @classmethod
    def _one_value_or_several(cls, when: Any) -> Any:
        if not isinstance(when, dict):
            return when
        return {label: [values] if isinstance(values, str) else values for label, values in when.items()}

    @model_validator(mode="after")
    def _makes_sense(self) -> "Route":
        for label, values in self.when.items():
            if label not in VOCABULARY:
                raise ValueError(f"when: there is no label {label}; the labels are {', '.join(VOCABULARY)}")
            if unknown := set(values) - VOCABULARY[label]:
                known = ", ".join(sorted(VOCABULARY[label]))
                raise ValueError(f"when: {label} is never {', '.join(sorted(unknown))}; it is one of {known}")
        if self.when and self.table != "events":
            raise ValueError(f"when: only events have labels, {self.table} has none")
        if len(set(self.stores)) < len(self.stores):
            raise ValueError("secondary: a store is named twice")
        if CHROMADB in self.stores and self.table != "experiments":
            raise ValueError(f"{CHROMADB} holds the index of experiments: it takes the table experiments, and no other")
        return self


class Policy(_Strict):
    """The routes, and how long events are kept.

    Attributes:
        routes: in the order in which events try them; the last of `events` takes every event.
        retention_days: label retention_policy -> for how many days events are kept in the lake; None: for ever.
        stream_rows, stream_seconds: while records arrive, a stream lane is delivered when so many rows of its table wait, or
            the oldest for so long.
        batch_seconds: and a batch lane when the oldest waits for so long.
    """

    routes: tuple[Route, ...]
    retention_days: dict[str, int | None]
    stream_rows: int = Field(ge=1)
    stream_seconds: float = Field(ge=0)
    batch_seconds: float = Field(ge=0)

    @model_validator(mode="after")
    def _leaves_nothing_out(self) -> "Policy":
        lanes = [route.lane for route in self.routes]
        if twice := {lane for lane in lanes if lanes.count(lane) > 1}:
            raise ValueError(f"routes: lane {', '.join(sorted(twice))} is there twice")
        for table in TABLES:
            routes = [route for route in self.routes if route.table == table]
            if not routes:
                raise ValueError(f"routes: {table} has none")
            if table != "events" and len(routes) > 1:
                raise ValueError(f"routes: {table} has several; only events can be divided")
            if routes[-1].when or any(not route.when for route in routes[:-1]):
                raise ValueError(
                    f"routes: of {table}, the last and no other must be without `when`, to take what is left"
                )
        if set(self.retention_days) != VOCABULARY["retention_policy"]:
            known = ", ".join(sorted(VOCABULARY["retention_policy"]))
            raise ValueError(f"retention_days: days, or null for ever, for each of {known}")
        if self.retention_days["permanent"] is not None:
            raise ValueError("retention_days: what is permanent is kept for ever, null")
        if wrong := [name for name, days in self.retention_days.items() if days is not None and days < 1]:
            raise ValueError(f"retention_days: {', '.join(wrong)} must be at least 1, or null for ever")
        return self

    def of_store(self, store: str) -> tuple[Route, ...]:
        """The routes by which a store gets something."""
        return tuple(route for route in self.routes if store in route.stores)

    def lanes(self, labels: pl.DataFrame) -> pl.Series:
        """The lane of each event, by its labels (columns of LABEL_SCHEMA)."""
        lane = pl.lit(None, pl.String)
        for route in reversed(self._divided):
            lane = pl.when(*_conditions(route)).then(pl.lit(route.lane)).otherwise(lane)
        return labels.select(lane=lane)["lane"]

    def selects(self, lane: str) -> list[dict[str, tuple[str, ...]]]:
        """What decides whether an event is of a lane: the conditions of the routes up to it, its own last."""
        at = [route.lane for route in self._divided].index(lane)
        return [route.when for route in self._divided[: at + 1]]

    @property
    def _divided(self) -> tuple[Route, ...]:
        return tuple(route for route in self.routes if route.table == "events")


@dataclass(frozen=True)
class Labeller:
    """What says of which class an event is.

    Attributes:
        name: another one whenever it may label an event differently than before.
        label: events -> columns of LABEL_SCHEMA, a row for each, in their order; of each event by itself alone.
    """

    name: str
    label: Callable[[pl.DataFrame], pl.DataFrame]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


RULES = Labeller(
    f"rules-{_digest([classification.BY_EVENT_TYPE, classification.BY_TOPIC, classification.UNKNOWN])}",
    classification.classify,
)
"""The stated rules of `events.classification`."""


def fingerprint(policy: Policy, labeller: Labeller, route: Route, *others: str) -> str:
    """A word that is another one whenever the rows of a lane, or what `others` names, may be others."""
    decides = [labeller.name, policy.selects(route.lane)] if route.table == "events" else []
    return _digest([route.table, decides, others])


def _conditions(route: Route) -> list[pl.Expr]:
    conditions = [pl.lit(True)]
    for label, values in route.when.items():
        if isinstance(LABEL_SCHEMA[label], pl.List):
            conditions.append(pl.col(label).list.eval(pl.element().is_in(values)).list.any())
        else:
            conditions.append(pl.col(label).is_in(values))
    return conditions


DEFAULT_TEXT = """\
# PostgreSQL: single rows by key. ClickHouse: counting. Chroma: search by meaning.
# Events take the first route that agrees with their labels.
routes:
- {lane: decisive, table: events, when: {priority: high, processing_strategy: real_time},
   primary: postgres, secondary: [clickhouse], priority: high, strategy: real_time}
- {lane: experimental, table: events, when: {data_type: experiment},
   primary: postgres, secondary: [clickhouse], priority: high, strategy: stream}
- {lane: current, table: events, when: {processing_strategy: [real_time, stream]},
   primary: clickhouse, priority: medium, strategy: stream}
- {lane: needed_everywhere, table: events, when: {target_servers: postgres},
   primary: clickhouse, secondary: [postgres], priority: low, strategy: batch}
- {lane: measured, table: events, when: {priority: [high, medium]},
   primary: clickhouse, priority: medium, strategy: batch}
- {lane: bulk, table: events, primary: clickhouse, priority: low, strategy: batch}
- {lane: experiments, table: experiments,
   primary: postgres, secondary: [clickhouse, chromadb], priority: high, strategy: real_time}
- {lane: changes, table: changes, primary: postgres, secondary: [clickhouse], priority: high, strategy: stream}
- {lane: assignments, table: assignments, primary: clickhouse, secondary: [postgres], priority: high, strategy: stream}
- {lane: metric_totals, table: metric_totals,
   primary: clickhouse, secondary: [postgres], priority: medium, strategy: stream}
- {lane: documents, table: documents, primary: postgres, secondary: [clickhouse], priority: medium, strategy: stream}
retention_days: {permanent: null, two_years: 730, ninety_days: 90}
stream_rows: 10000
stream_seconds: 5
batch_seconds: 3600
"""
"""The default, as the text of a `sinks.yaml`."""

DEFAULT = Policy.model_validate(yaml.safe_load(DEFAULT_TEXT))


def load_policy(home: Path) -> Policy:
    """The policy of a data folder: `DEFAULT`, with the keys that its `sinks.yaml` states in place of the default's.

    Raises:
        BadInput: the file is not YAML, or a key of it cannot be used; the message names the file and each key.
    """
    path = home / FILE
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        return DEFAULT
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise BadInput(f"{path}: a policy is a mapping with any of the keys {', '.join(Policy.model_fields)}.")
    default = {key: getattr(DEFAULT, key) for key in Policy.model_fields}
    try:
        return Policy.model_validate(default | document)
    except ValidationError as error:
        raise BadInput("\n".join(f"{path}: {_reason(dict(problem))}" for problem in error.errors())) from error


def _reason(problem: dict[str, Any]) -> str:
    where = ".".join(map(str, problem["loc"]))
    text = problem["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{where}: {text}." if where else f"{text}."
