"""The champion of an artifact as something loaded and ready, exchanged when another version is promoted."""

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from neonblue_lab.artifacts.artifact import Artifact
from neonblue_lab.artifacts.store import ArtifactStore
from neonblue_lab.errors import NotFound

Loaded = TypeVar("Loaded")


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
            Corrupt: its files are not as they were published.
        """
        with self._lock:
            version = self._champion()
            if self._held is None or self._held[0].version != version:
                artifact = self._store.get(self._name, version)
                self._held = (artifact, self._load(artifact))
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
