"""What a metric is: the definitions of `metrics.yaml`, checked."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neonblue_lab.errors import BadInput, NotFound


class Metric(BaseModel):
    """One metric.

    Attributes:
        name: as it is asked for.
        kind: `proportion` (share of exposed users with at least one event) or `mean` (per exposed user).
        event: event type it is computed from; None for a metric that only arrives as aggregates.
        of: what a mean adds up per user: the events' `value` or their `count`.
        better: the direction of improvement.
        unit: of the mean, for axis titles.
        description: one sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    kind: Literal["proportion", "mean"]
    event: str | None = Field(default=None, min_length=1)
    of: Literal["value", "count"] | None = None
    better: Literal["higher", "lower"] = "higher"
    unit: str | None = None
    description: str = ""

    @model_validator(mode="after")
    def _of_belongs_to_means_of_events(self) -> "Metric":
        if (self.of is not None) != (self.kind == "mean" and self.event is not None):
            raise ValueError(
                "`of: value` or `of: count` belongs to a mean that is computed from an event, and only there"
            )
        return self


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would keep the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value} is there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_metrics(file: Path) -> dict[str, Metric]:
    """Name -> metric, in the file's order.

    Raises:
        NotFound: there is no such file.
        BadInput: not YAML, or a definition that is incomplete or there twice; the message names the file and the metric.
    """
    try:
        document = yaml.load(file.read_text("utf-8"), _Loader)
    except FileNotFoundError:
        raise NotFound(f"There is no metrics file at {file}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} is not YAML: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("metrics"), dict):
        raise BadInput(f"{file}: the key `metrics` with one entry for each metric is missing.")
    metrics = {}
    for name, definition in document["metrics"].items():
        if not isinstance(definition, dict):
            raise BadInput(f"{file}: metric {name}: its definition is not a mapping.")
        try:
            metrics[name] = Metric(name=name, **definition)
        except (ValidationError, TypeError) as error:
            raise BadInput(f"{file}: metric {name}: {_reasons(error)}") from error
    return metrics


def _reasons(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'definition'}: {e['msg']}" for e in error.errors())
