"""What a metric is: the definitions of `metrics.yaml`, checked."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.metrics.expressions import parse_condition, parse_number

Kind = Literal["proportion", "mean", "ratio", "quantile", "retention"]

_Days = Annotated[float, Field(ge=0, le=3_650, allow_inf_nan=False)]

SHARES = ("proportion", "retention")
"""Kinds of metric of which every user's value is 0 or 1."""


class Measure(BaseModel):
    """What a user's events come down to: one number.

    Attributes:
        event: event type it is computed from; None for a metric that only arrives as aggregates.
        where: a condition that an event must meet to count, in the language of `expressions`; all count without one.
        of: `count` of the events, or the number of an event that is put together per user: its `value`, or an expression
            of it and of `properties`. An event without that number adds nothing.
        per_user: how the events' numbers are put together: `sum`, `mean`, `max` or `min`.
        cap: a user's number is never taken for more than this.
        cap_percentile: likewise, but the cap is this percentile of the users of the whole experiment, all arms together,
            users without an event among them: the smallest number that so many per cent of them do not exceed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    event: str | None = Field(default=None, min_length=1)
    where: str | None = None
    of: str | None = None
    per_user: Literal["sum", "mean", "max", "min"] = "sum"
    cap: float | None = Field(default=None, allow_inf_nan=False)
    cap_percentile: float | None = Field(default=None, gt=0, lt=100)

    @field_validator("where")
    @classmethod
    def _is_a_condition(cls, text: str | None) -> str | None:
        if text is not None:
            parse_condition(text)
        return text

    @field_validator("of")
    @classmethod
    def _is_a_number(cls, text: str | None) -> str | None:
        if text is not None and text != "count":
            parse_number(text)
        return text

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.event is None and self.model_fields_set & {"where", "per_user", "cap", "cap_percentile"}:
            raise ValueError(
                "`where`, `per_user`, `cap` and `cap_percentile` belong to what is computed from an `event`"
            )
        if self.per_user != "sum" and self.of in (None, "count"):
            raise ValueError("`per_user` belongs to a number of the events: `of: value` or of an expression")
        if self.cap is not None and self.cap_percentile is not None:
            raise ValueError("`cap` and `cap_percentile` are two answers to one question: give one of them")
        return self


class Metric(Measure):
    """One metric.

    Attributes:
        name: as it is asked for.
        kind: `proportion` (share of exposed users with at least one event), `mean` (per exposed user), `ratio` (sum over
            the users by sum of what is in `per`), `quantile` (of the users' numbers) or `retention` (share of exposed users
            with an event in a `window` that begins later than their exposure).
        per: the denominator of a ratio.
        window: days from a user's first exposure in which events count, from (included) and to (excluded); `7` in the file
            is from 0 to 7. Users whose window is not over when the experiment or the data ends are not counted. None:
            until the experiment's end, all users counted.
        covariate_days: the same number over so many days before a user's first exposure is kept beside it, to reduce its
            variance by regression; None for none.
        quantile: which one, between 0 and 1.
        users: over whose numbers a quantile is taken: all who were `exposed` (0 for those without an event), or those
            `with_event`, of which one at least has the number asked for.
        better: the direction of improvement.
        guardrail: whether it is watched for harm, and not tried to be improved.
        margin: the loss that still counts as no harm, as a share of the control's mean (0.02 is 2 %).
        unit: of the mean, for axis titles.
        description: one sentence.
    """

    name: str = Field(min_length=1)
    kind: Kind
    per: Measure | None = None
    window: tuple[_Days, _Days] | None = None
    covariate_days: float | None = Field(default=None, gt=0, le=3_650)
    quantile: float | None = Field(default=None, gt=0, lt=1)
    users: Literal["exposed", "with_event"] = "exposed"
    better: Literal["higher", "lower"] = "higher"
    guardrail: bool = False
    margin: float | None = Field(default=None, gt=0, lt=1)
    unit: str | None = None
    description: str = ""

    @field_validator("window", mode="before")
    @classmethod
    def _from_exposure(cls, window: object) -> object:
        return (0, window) if isinstance(window, int | float) and not isinstance(window, bool) else window

    @model_validator(mode="after")
    def _kind_has_its_parts(self) -> Self:
        share, computed = self.kind in SHARES, self.event is not None
        if (self.of is not None) != (computed and not share):
            raise ValueError(
                "`of: value`, `of: count` or of an expression belongs to a mean, ratio or quantile that is computed from "
                "an event, and only there"
            )
        if not computed and self.kind not in ("proportion", "mean"):
            raise ValueError(f"a {self.kind} is computed from an `event`: aggregates of it do not arrive")
        if not computed and (self.window is not None or self.covariate_days is not None):
            raise ValueError("`window` and `covariate_days` belong to what is computed from an `event`")
        if (self.per is not None) != (self.kind == "ratio"):
            raise ValueError("`per`, the denominator, belongs to a ratio, and a ratio needs it")
        if self.per is not None and (self.per.event is None or self.per.of is None):
            raise ValueError("`per` needs an `event` and what of it (`of`)")
        if (self.quantile is not None) != (self.kind == "quantile"):
            raise ValueError("`quantile` (such as 0.9) belongs to the kind quantile, which needs it")
        if self.kind != "quantile" and self.users != "exposed":
            raise ValueError(
                "`users: with_event` belongs to a quantile: who has an event may be the effect of the variant, and a ratio "
                "says the same of means without choosing users by it"
            )
        if self.kind == "quantile" and self.covariate_days is not None:
            raise ValueError("a quantile has no `covariate_days`: regression adjusts means")
        if (share or self.kind == "quantile") and (self.cap is not None or self.cap_percentile is not None):
            raise ValueError(f"a {self.kind} is not capped: `cap` and `cap_percentile` belong to means and ratios")
        if self.window is not None and self.window[0] >= self.window[1]:
            raise ValueError("`window` ends before it begins: it is the days from and to, such as [7, 14]")
        if self.kind == "retention" and (self.window is None or self.window[0] == 0):
            raise ValueError("a retention needs a `window` that begins after exposure, such as [7, 14]")
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
        BadInput: not YAML, or a definition that is incomplete, contradictory or there twice; the message begins with the
            file and the line, and names the metric.
    """
    try:
        loader = _Loader(file.read_text("utf-8"))
        root = loader.get_single_node()
        document = None if root is None else loader.construct_document(root)
    except FileNotFoundError:
        raise NotFound(f"There is no metrics file at {file}.") from None
    except yaml.MarkedYAMLError as error:
        where = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        raise BadInput(f"{file}{where}: this is not YAML: {error.problem}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} is not YAML: {error}") from error
    if root is None or not isinstance(document, dict) or not isinstance(document.get("metrics"), dict):
        raise BadInput(f"{file}: the key `metrics` with one entry for each metric is missing.")
    metrics = {}
    for name, definition in document["metrics"].items():
        if not isinstance(definition, dict):
            raise BadInput(f"{file}:{_line(root, 'metrics', name)}: metric {name}: its definition is not a mapping.")
        try:
            metrics[name] = Metric(name=name, **definition)
        except ValidationError as error:
            line = _line(root, "metrics", name, *error.errors()[0]["loc"])
            raise BadInput(f"{file}:{line}: metric {name}: {_reasons(error)}") from error
        except TypeError as error:
            raise BadInput(f"{file}:{_line(root, 'metrics', name)}: metric {name}: {error}") from error
    return metrics


def _reasons(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'definition'}: {e['msg']}" for e in error.errors())


def _line(node: yaml.Node, *path: object) -> int:
    """The line, from 1, of the key that a path of keys leads to, or of the last one on it that is there."""
    line: int = node.start_mark.line
    for step in path:
        if not isinstance(node, yaml.MappingNode):
            break
        found = next((pair for pair in node.value if pair[0].value == str(step)), None)
        if found is None:
            break
        line, node = found[0].start_mark.line, found[1]
    return line + 1
