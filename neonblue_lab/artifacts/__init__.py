"""Versioned, hashed, immutable folders of what was learned, with a champion that readers trust."""

from neonblue_lab.artifacts.artifact import Alias, Artifact, Verification
from neonblue_lab.artifacts.champion import Champion, Change
from neonblue_lab.artifacts.manifest import FileRecord, GitState, Manifest
from neonblue_lab.artifacts.store import ArtifactStore

__all__ = [
    "Alias",
    "Artifact",
    "ArtifactStore",
    "Champion",
    "Change",
    "FileRecord",
    "GitState",
    "Manifest",
    "Verification",
]
