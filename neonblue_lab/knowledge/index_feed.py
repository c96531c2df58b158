"""The experiments index as a store that is fed from the lake: made anew when the experiments have changed."""

from collections.abc import Callable
from time import perf_counter

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.errors import NeonBlueError, NotFound
from neonblue_lab.events.classification import CHROMADB
from neonblue_lab.knowledge.index import NAME
from neonblue_lab.lake.lake import Lake
from neonblue_lab.sinks.sink import Health

TABLE = "experiments"


class ExperimentsIndexFeed:
    """Publishes and promotes a new index when the lake's experiments are not those of the promoted one (`sinks.lanes.Index`).

    An index is an artifact, so that its readers keep a finished copy; what it was made from, its manifest says.
    """

    def __init__(self, store: ArtifactStore, lake: Lake, publish: Callable[[], Artifact]) -> None:
        """`publish` makes an index of the lake's newest version and promotes it (`Knowledge.publish`)."""
        self._store = store
        self._lake = lake
        self._publish = publish
        self._champion: Artifact | None = None
        self._same: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The policy's word for the store."""
        return CHROMADB

    @property
    def address(self) -> str:
        """The artifact."""
        return f"artifact {NAME}"

    def through(self) -> int | None:
        """The newest version of `experiments` with the same rows as the one that the promoted index was made from; None
        where none is promoted.

        Raises:
            Corrupt: the promoted index is not as it was published.
        """
        champion = self._promoted()
        indexed = None if champion is None else champion.manifest.data_versions.get(TABLE)
        if indexed is None:
            return None
        newest = self._lake.open(TABLE).version()
        if self._same != (indexed, newest):  # versions never change: what is equal once stays so
            if not self._equal(indexed, newest):
                return indexed
            self._same = indexed, newest
        return newest

    def rebuild(self) -> int:
        """Publish and promote an index of the newest experiments. Returns how many it holds.

        Raises:
            BadInput: the lake holds no experiments.
            Unavailable: texts cannot be embedded here.
        """
        return int(self._publish().manifest.metrics["documents"] or 0)

    def health(self) -> Health:
        """Whether an index is promoted and as it was published."""
        started = perf_counter()
        try:
            champion = self._promoted()
        except NeonBlueError as error:
            return Health(ok=False, latency_ms=None, message=str(error))
        latency = (perf_counter() - started) * 1000
        if champion is None:
            return Health(ok=False, latency_ms=latency, message=f"no {NAME} is promoted yet: `neonblue sync` makes one")
        indexed = champion.manifest.data_versions.get(TABLE)
        return Health(ok=True, latency_ms=latency, message=f"{NAME} version {champion.version} of {TABLE}@{indexed}")

    def close(self) -> None:
        """Nothing is held open."""

    def _promoted(self) -> Artifact | None:
        try:
            champion = self._store.champion(NAME)
        except NotFound:  # never published
            return None
        if champion is None:
            return None
        if self._champion is None or self._champion.version != champion.version:
            self._champion = self._store.get(NAME, champion.version)
        return self._champion

    def _equal(self, indexed: int, newest: int) -> bool:
        if indexed > newest:
            return False
        try:
            before = self._lake.read(TABLE, version=indexed)
        except (NotFound, FileNotFoundError):  # vacuumed: what it held cannot be told any more
            return False
        return before.sort("experiment_id").equals(self._lake.read(TABLE, version=newest).sort("experiment_id"))
