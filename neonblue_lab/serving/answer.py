"""What every answer says of where it comes from."""

from pydantic import BaseModel, Field

from neonblue_lab.artifacts import Artifact


class ArtifactUsed(BaseModel):
    """A published artifact that an answer was made with."""

    name: str
    version: int
    data_version: str = Field(description="Versions of the lake's tables that it was made from.")

    @classmethod
    def of(cls, artifact: Artifact) -> "ArtifactUsed":
        versions = sorted(artifact.manifest.data_versions.items())
        data_version = ",".join(f"{table}@{version}" for table, version in versions)
        return cls(name=artifact.name, version=artifact.version, data_version=data_version)


class Answer(BaseModel):
    """Base of every tool's answer."""

    data_version: str = Field(description="Pinned versions of the lake's tables that the numbers come from.")
    artifacts: list[ArtifactUsed] = Field(description="Published artifacts that the answer was made with.")
