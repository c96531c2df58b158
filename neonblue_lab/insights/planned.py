"""The configuration of an experiment that has not run yet, as a person writes it down."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neonblue_lab.errors import BadInput
from neonblue_lab.knowledge.documents import RELEVANT_LIFT


class PlannedVariant(BaseModel):
    """An arm as it is planned."""

    model_config = ConfigDict(extra="forbid")

    variant_id: str | None = None
    name: str | None = None
    description: str | None = None
    allocation: float | None = Field(default=None, gt=0)


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

    name: str | None = None
    hypothesis: str | None = None
    experiment_type: str | None = None
    industry: str | None = None
    user_segment: str | None = None
    primary_metric: str | None = None
    variants: list[PlannedVariant] = Field(min_length=2)
    lift: float = RELEVANT_LIFT
    power: float = Field(default=0.8, gt=0, lt=1)
    planned_size: int | None = Field(default=None, gt=0)
    planned_days: int | None = Field(default=None, gt=0)
    share: float = Field(default=1.0, gt=0, le=1)

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "ExperimentConfig":
        """The configuration of a mapping, such as a YAML or JSON file holds.

        Raises:
            BadInput: names each field that cannot be used, and why.
        """
        try:
            return cls.model_validate(dict(config))
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors()]
            raise BadInput(
                f"This is no configuration of an experiment: {'; '.join(wrong)}. Its fields are "
                f"{', '.join(cls.model_fields)}; `variants` lists the control first."
            ) from error

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the units that each arm gets, adding up to 1; equal ones unless every arm states its allocation."""
        stated = [variant.allocation for variant in self.variants]
        known = [share for share in stated if share is not None]
        if len(known) < len(stated):
            return tuple(1 / len(stated) for _ in stated)
        return tuple(share / sum(known) for share in known)

    @property
    def text(self) -> str:
        """All that is written of it, a line each: what a search by meaning looks for."""
        lines = [self.name, self.hypothesis]
        for variant in self.variants:
            lines += [variant.name, variant.description]
        return "\n".join(dict.fromkeys(line for line in lines if line)) or "experiment"
