"""What clients read rather than call: experiments as defined, and the cards of published models."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from neonblue_lab.lab import Lab
from neonblue_lab.serving.experiments import Experiment, list_experiments

LISTED = 100


class ExperimentDefinition(BaseModel):
    """An experiment as it was defined, and the version of the data that says so."""

    data_version: str
    experiment: Experiment


class PublishedArtifact(BaseModel):
    """A version of an artifact."""

    name: str
    version: int
    alias: str | None = Field(description="champion: what tools use; challenger: newer than the champion.")
    kind: str
    created_at: datetime
    metrics: dict[str, float | None]


class ArtifactList(BaseModel):
    """All versions of all artifacts."""

    artifacts: list[PublishedArtifact]


def experiment(lab: Lab, experiment_id: Annotated[str, Field(description="Id as list_experiments gives it.")]) -> str:
    """One experiment as it was defined: hypothesis, variants, times."""
    found = Experiment.of(lab.experiments.get(experiment_id))
    return ExperimentDefinition(data_version=lab.warehouse.data_version, experiment=found).model_dump_json(indent=2)


def experiments(lab: Lab) -> str:
    """The newest experiments, and how many there are."""
    return list_experiments(lab, limit=LISTED).model_dump_json(indent=2)


def model_card(lab: Lab, name: Annotated[str, Field(description="Name of an artifact.")]) -> str:
    """The card of an artifact's champion: what it is for, how good it is, when not to believe it."""
    return lab.artifacts.get(name).card


def models(lab: Lab) -> str:
    """All versions of all artifacts, with what was measured of each."""
    found = [
        PublishedArtifact(
            name=artifact.name,
            version=artifact.version,
            alias=artifact.alias,
            kind=artifact.manifest.kind,
            created_at=artifact.manifest.created_at,
            metrics=dict(artifact.manifest.metrics),
        )
        for artifact in lab.artifacts.list()
    ]
    return ArtifactList(artifacts=found).model_dump_json(indent=2)
