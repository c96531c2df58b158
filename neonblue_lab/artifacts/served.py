"""The champion of an artifact as something loaded and ready, exchanged when another version is promoted."""

import zlib
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar
from zipfile import BadZipFile

from polars.exceptions import PolarsError

from neonblue_lab.artifacts.artifact import Artifact, NoSuchFile
from neonblue_lab.artifacts.store import ArtifactStore
from neonblue_lab.errors import Corrupt, NotFound

Loaded = TypeVar("Loaded")

_OTHERWISE_MADE = (
    NoSuchFile,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    OSError,
    EOFError,
    BadZipFile,
    zlib.error,
    PolarsError,
)
"""What reading raises of files that have other parts or shapes than the reader knows."""


class Served(Generic[Loaded]):
    """Loads the champion once, and again when the champion has changed. Several threads may ask at once; whoever still
    works with the former champion keeps it until they let go of it."""

    def __init__(self, store: ArtifactStore, name: str, load: Callable[[Artifact], Loaded], *, made_by: str) -> None:
        """`made_by` names the notebook that publishes the artifact, for the message when there is none."""
        self._store, self._name, self._load, self._made_by = store, name, load, made_by
        self._lock = Lock()
        self._held: tuple[Artifact, Loaded] | None = None

    def get(self) -> tuple[Artifact, Loaded]:
        """The champion and what was loaded from it.

        Raises:
            NotFound: nothing of that name has been published and promoted; the message says what makes it.
            Corrupt: its files are not as they were published, or not as this version of the lab makes them.
        """
        with self._lock:
            version = self._champion()
            if self._held is None or self._held[0].version != version:
                artifact = self._store.get(self._name, version)
                self._held = (artifact, opened(artifact, self._load, made_by=self._made_by))
            return self._held

    def _champion(self) -> int:
        try:
            champion = self._store.champion(self._name)
        except NotFound:
            champion = None
        if champion is None:
            raise NotFound(
                f"No {self._name} has been published and promoted yet. notebooks/{self._made_by}.ipynb makes it: "
                "`neonblue run nightly`, or run the notebook in JupyterLab."
            )
        return champion.version


def opened(artifact: Artifact, load: Callable[[Artifact], Loaded], *, made_by: str) -> Loaded:
    """What was loaded from an artifact.

    Args:
        made_by: the notebook that publishes such an artifact.

    Raises:
        Corrupt: its files are whole, but not what `load` reads: another version of the lab, or somebody else, made them.
    """
    try:
        return load(artifact)
    except _OTHERWISE_MADE as error:
        raise Corrupt(
            f"{artifact.name} version {artifact.version} is not in the form that this version of the lab reads "
            f"({type(error).__name__}: {error}). Make it anew: `neonblue run nightly`, or notebooks/{made_by}.ipynb; or go "
            f"back to a version that can be read: `neonblue models rollback {artifact.name}`."
        ) from error
