"""The configuration of an experiment that has not run yet, as a person writes it down."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from neonblue_lab.errors import BadInput
from neonblue_lab.knowledge.documents import RELEVANT_LIFT

SMALLEST_LIFT = 1e-4
"""No experiment has the units to tell a smaller relative change from none."""

MOST_UNITS = 10**12


def _written(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # no store and no embedder takes it
        raise ValueError("it holds half of a surrogate pair, which is no character") from error
    return text


def _tellable(lift: float) -> float:
    if abs(lift) < SMALLEST_LIFT:
        raise ValueError(f"a lift closer to 0 than {SMALLEST_LIFT:g} cannot be found")
    return lift


_Text = Annotated[str, AfterValidator(_written)]


def _said(error: Mapping[str, object]) -> str:
    """What is wrong with a field, and what to write instead where the kind of mistake tells."""
    if error["type"] == "string_type":
        return f"{error['msg']} (it is {error['input']}: text that looks like something else stands in quotes)"
    if error["type"] == "model_type":
        return "Input should be a mapping such as {name: Blue button, allocation: 0.5}"
    return str(error["msg"])


class PlannedVariant(BaseModel):
    """An arm as it is planned."""

    model_config = ConfigDict(extra="forbid")

    variant_id: _Text | None = None
    name: _Text | None = None
    description: _Text | None = None
    allocation: float | None = Field(default=None, ge=1e-6, le=1e6)


class ExperimentConfig(BaseModel):
    """An experiment as it is planned.

    Attributes:
        variants: the control first.
        primary_metric: that decides; the one that decided most past experiments unless given.
        lift: relative change worth finding: 0.05 is +5 %.
        power: probability of finding it.
        planned_size: units of all arms, where that is settled.
        planned_days: how long it is to run, where that is settled.
        share: of the users who take part.
    """

    model_config = ConfigDict(extra="forbid")

    name: _Text | None = None
    hypothesis: _Text | None = None
    experiment_type: _Text | None = None
    industry: _Text | None = None
    user_segment: _Text | None = None
    primary_metric: _Text | None = None
    variants: list[PlannedVariant] = Field(min_length=2)
    lift: Annotated[float, Field(allow_inf_nan=False), AfterValidator(_tellable)] = RELEVANT_LIFT
    power: float = Field(default=0.8, gt=0, lt=1)
    planned_size: int | None = Field(default=None, gt=0, le=MOST_UNITS)
    planned_days: int | None = Field(default=None, gt=0)
    share: float = Field(default=1.0, gt=0, le=1)

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "ExperimentConfig":
        """The configuration of a mapping, such as a YAML or JSON file holds.

        Raises:
            BadInput: names each field that cannot be used, and why.
        """
        if not isinstance(config, Mapping):
            raise BadInput(
                "A configuration is a mapping of fields, such as {'variants': [{'name': ...}, {'name': ...}]}."
            )
        try:
            return cls.model_validate(dict(config))
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, one['loc'])) or 'it'}: {_said(one)}" for one in error.errors()]
            raise BadInput(
                f"This is no configuration of an experiment: {'; '.join(wrong)}. Its fields are "
                f"{', '.join(cls.model_fields)}; `variants` lists the control first."
            ) from error

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the units that each arm gets, adding up to 1: its allocation as a weight; equal unless every arm states one."""
        stated = [variant.allocation for variant in self.variants]
        known = [share for share in stated if share is not None]
        if len(known) < len(stated):
            return tuple(1 / len(stated) for _ in stated)
        return tuple(share / sum(known) for share in known)

    @property
    def notes(self) -> list[str]:
        """What of the allocations was not taken as it stands, in sentences."""
        stated = [variant.allocation for variant in self.variants if variant.allocation is not None]
        if not stated:
            return []
        if len(stated) < len(self.variants):
            return ["Only some of the variants state an allocation: equal shares were taken for all."]
        total = sum(stated)
        if any(math.isclose(total, whole, rel_tol=1e-6) for whole in (1, 100)):
            return []
        shares = ", ".join(f"{share:.1%}" for share in self.shares)
        return [f"The allocations add up to {total:g}, neither to 1 nor to 100: they were taken as weights, {shares}."]

    @property
    def text(self) -> str:
        """All that is written of it, a line each: what a search by meaning looks for."""
        lines = [self.name, self.hypothesis]
        for variant in self.variants:
            lines += [variant.name, variant.description]
        return "\n".join(dict.fromkeys(line for line in lines if line)) or "experiment"
