"""The one object that an analyst, a notebook, a pipeline step and a tool all use."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from threading import Event, RLock
from typing import TYPE_CHECKING, Any

from neonblue_lab.errors import BadInput, Conflict, Corrupt, NotFound, Unavailable
from neonblue_lab.settings import RECORD_MIME, Settings

if TYPE_CHECKING:
    import polars as pl

    from neonblue_lab.artifacts import Artifact, ArtifactStore
    from neonblue_lab.events.enrichment import Enricher
    from neonblue_lab.insights.experiments import Experiments
    from neonblue_lab.insights.predicted import OutcomePrediction
    from neonblue_lab.knowledge.knowledge import Knowledge
    from neonblue_lab.lake.ingest import Bounds
    from neonblue_lab.lake.lake import Lake
    from neonblue_lab.lake.letters import RevivalReport
    from neonblue_lab.lake.plan import ReplayPlan
    from neonblue_lab.lake.report import Progress, ReplayReport
    from neonblue_lab.metrics.definitions import Metric
    from neonblue_lab.models.models import Models
    from neonblue_lab.sinks.delivery import Deliverer
    from neonblue_lab.sinks.outlet import Observer
    from neonblue_lab.sinks.report import SyncReport
    from neonblue_lab.topics.selection import Selection
    from neonblue_lab.warehouse.warehouse import Warehouse


class Lab:
    """A workbench folder, opened.

    The parts are made when they are first asked for. What is read is pinned: until `refresh()`, every answer comes from the
    same version of the data.
    """

    def __init__(self, settings: Settings, *, data_version: str | None = None) -> None:
        self.settings = settings
        self._data_version = data_version
        self._pinned: tuple[Warehouse, Experiments] | None = None
        self._lock = RLock()

    @classmethod
    def open(cls, home: str | os.PathLike[str] | None = None, *, data_version: str | None = None) -> "Lab":
        """Open the lab of a data folder.

        Args:
            home: the folder; NEONBLUE_HOME or `data/` of the checkout unless given.
            data_version: what to read, such as `events@12,experiments@3` (every answer and artifact names its own); the
                newest unless given.

        Raises:
            BadInput: `home` is a file.
        """
        return cls(Settings.find(home), data_version=data_version)

    @cached_property
    def lake(self) -> "Lake":
        """Raw records and derived tables."""
        from neonblue_lab.lake.lake import Lake

        return Lake(self.settings.lake)

    @cached_property
    def metrics(self) -> "dict[str, Metric]":
        """Metric definitions by name, from `metrics.yaml`."""
        from neonblue_lab.metrics.definitions import load_metrics

        return load_metrics(self.settings.metrics_file)

    @cached_property
    def artifacts(self) -> "ArtifactStore":
        """Versioned artifacts."""
        from neonblue_lab.artifacts import ArtifactStore

        return ArtifactStore(self.settings.artifacts)

    @property
    def warehouse(self) -> "Warehouse":
        """SQL over the pinned data."""
        return self._pin()[0]

    @property
    def experiments(self) -> "Experiments":
        """Scorecards and readouts of the pinned data."""
        return self._pin()[1]

    @cached_property
    def knowledge(self) -> "Knowledge":
        """Search over past experiments."""
        from neonblue_lab.knowledge.knowledge import Knowledge

        return Knowledge(self.artifacts, self.lake)

    @cached_property
    def models(self) -> "Models":
        """Event classifier, users' behaviour, trends, and predictor of outcomes."""
        from neonblue_lab.models.models import Models

        return Models(
            self.artifacts,
            self.lake,
            lambda: self.warehouse,
            self.refresh,
            lambda: self.knowledge,
        )

    def predict_outcome(self, config: Mapping[str, Any]) -> "OutcomePrediction":
        """How a planned experiment may end, before it runs: outcome, lifts, size, duration, risks, and what has worked before.

        Args:
            config: the fields of `insights.planned.ExperimentConfig`: `variants` (the control first), and whatever is known of
                name, hypothesis, experiment_type, industry, user_segment, primary_metric, lift, planned_size, ...

        Raises:
            BadInput: the configuration cannot be used; the message names the field.
            NotFound: no predictor was promoted yet, or the primary metric is not known.
        """
        from neonblue_lab.insights.planned import ExperimentConfig
        from neonblue_lab.insights.prediction import predict_outcome

        planned = ExperimentConfig.read(config)
        artifact, predictor = self.models.outcome_predictor()
        index, notes = None, []
        try:
            index = self.knowledge.index
        except (BadInput, Corrupt, NotFound, Unavailable) as error:
            notes.append(f"Similar experiments could not be looked for: {error}")
        return predict_outcome(
            planned,
            self.experiments,
            predictor,
            predictor_name=f"{artifact.name}@{artifact.version}",
            index=index,
            notes=notes,
        )

    def _pin(self) -> "tuple[Warehouse, Experiments]":
        from neonblue_lab.insights.experiments import Experiments
        from neonblue_lab.warehouse.warehouse import Warehouse, parse_data_version

        with self._lock:
            if self._pinned is None:
                versions = None if self._data_version is None else parse_data_version(self._data_version)
                warehouse = Warehouse(self.lake, versions)
                self._pinned = warehouse, Experiments(warehouse, self.metrics)
            return self._pinned

    def refresh(self) -> bool:
        """Pin the newest version of the data, unless this lab was opened at a stated one. Returns whether it changed."""
        if self._data_version is not None:
            return False
        with self._lock:
            if self._pinned is not None and self._pinned[0].is_newest():
                return False
            self._pinned = None
            return True

    def replay(
        self,
        source: str = "",
        topics: Sequence[str] | None = None,
        *,
        selection: "Selection | None" = None,
        accept_gap: bool = False,
        client: str | None = None,
        on_progress: "Progress | None" = None,
    ) -> "ReplayReport":
        """Bring the lake up to the ends of a source's topics, exactly once, and pin the newest data. What events mean is said by
        the models that are promoted when it starts.

        Args:
            source: an archive folder, or kafka://host:port. Empty: the archive in `topics/` of the data folder; where
                there is none, nothing is replayed.
            topics: which; all of the source's unless given.
            selection: which of their records; all that are new unless given.
            accept_gap: pass over records that are gone from the source, or not selected, and write the gap down.
            client: kafka-python or confluent; NEONBLUE_KAFKA_CLIENT or kafka-python unless given.
            on_progress: see `lake.report.Progress`.

        Raises:
            BadInput, NotFound, Unavailable: the source cannot be read as asked.
            NotFound: no source is given, there is no archive, and the lake is empty.
            Conflict: the source is another log than the one that the lake was filled from, or has lost records that the lake
                lacks.
        """
        from neonblue_lab.lake.ingest import replay
        from neonblue_lab.lake.report import ReplayReport
        from neonblue_lab.topics.sources import open_source

        if not source and not self.settings.topics.is_dir():
            if not self.lake.names():
                raise NotFound(
                    f"There is nothing to work on: the lake in {self.settings.lake} is empty and there is no archive in "
                    f"{self.settings.topics}. `neonblue replay --from ... --home {self.settings.home}` fills the lake."
                )
            return ReplayReport()
        opened = open_source(source or str(self.settings.topics), topics=topics, client=client)
        bounds = _bounds(selection)
        report = replay(
            self.lake,
            opened,
            topics,
            bounds=bounds,
            accept_gap=accept_gap,
            enricher=self._enricher(),
            on_progress=on_progress,
        )
        self.refresh()
        return report

    def plan(
        self,
        source: str = "",
        topics: Sequence[str] | None = None,
        *,
        selection: "Selection | None" = None,
        accept_gap: bool = False,
        client: str | None = None,
    ) -> "ReplayPlan":
        """What `replay` with the same arguments would read. Writes nothing.

        Raises:
            BadInput, NotFound, Unavailable, Conflict: as of `replay`.
        """
        from neonblue_lab.lake.ingest import plan
        from neonblue_lab.topics.sources import open_source

        opened = open_source(source or str(self.settings.topics), topics=topics, client=client)
        return plan(self.lake, opened, topics, bounds=_bounds(selection), accept_gap=accept_gap, sizes=True)

    def follow(
        self,
        source: str,
        topics: Sequence[str] | None = None,
        *,
        stop: Event,
        linger: float = 1.0,
        group: str | None = None,
        client: str | None = None,
        accept_gap: bool = False,
        on_progress: "Progress | None" = None,
        between: Callable[[], None] | None = None,
    ) -> "ReplayReport":
        """Take records into the lake as they arrive, each exactly once, until `stop` is set or the input ends. What events mean
        is said by the models that are promoted when it starts.

        Args:
            source: an archive folder that gets new files, kafka://host:port, or `-`: lines of standard input.
            topics: which; all that the source has now unless given.
            stop: set it to leave: the batch at hand is finished first.
            linger: seconds until a batch that is not full is stored.
            group: share the partitions with all followers of this name.
            accept_gap, client, on_progress: as of `replay`.
            between: called after each batch, and every `linger` seconds without one.

        Raises:
            BadInput, NotFound, Unavailable, Conflict: as of `replay`.
        """
        from neonblue_lab.lake.ingest import follow
        from neonblue_lab.topics.sources import STDIN, open_live, open_source

        log = None if source == STDIN else open_source(source, topics=topics, client=client)
        names = list(topics or (log.topics() if log else ()))
        report = follow(
            self.lake,
            open_live(source, topics=names, client=client, group=group),
            names,
            stop=stop,
            linger=linger,
            log=log,
            shared=group is not None,
            accept_gap=accept_gap,
            enricher=self._enricher(),
            on_progress=on_progress,
            between=between,
        )
        self.refresh()
        return report

    def deliverer(self, stores: Sequence[str] | None = None, *, observer: "Observer | None" = None) -> "Deliverer":
        """What feeds the stores outside the lake: to run again and again, or to ask for health and backlog. Close it.

        Args:
            stores: postgres, clickhouse, chromadb; unless given, those with a url in the environment, and chromadb where
                texts can be embedded.
            observer: is told of each delivery.

        Raises:
            BadInput: an unknown store, one without a url, or a `sinks.yaml` that cannot be used.
            Unavailable: the package that speaks to a store is not installed.
        """
        from neonblue_lab.events.classification import CHROMADB
        from neonblue_lab.knowledge.embedders import is_ready
        from neonblue_lab.knowledge.index_feed import ExperimentsIndexFeed
        from neonblue_lab.sinks.delivery import Deliverer
        from neonblue_lab.sinks.opening import configured, open_sink
        from neonblue_lab.sinks.policy import load_policy

        if stores is None:
            stores = [*configured(), *([CHROMADB] if is_ready(self.artifacts) else [])]
        index = ExperimentsIndexFeed(self.artifacts, self.lake, self._publish_index)
        return Deliverer(
            self.lake,
            [open_sink(store) for store in stores if store != CHROMADB],
            load_policy(self.settings.home),
            self.settings.sinks,
            indexes=[index] if CHROMADB in stores else [],
            observer=observer,
        )

    def sync(
        self, stores: Sequence[str] | None = None, *, anew: bool = False, observer: "Observer | None" = None
    ) -> "SyncReport":
        """Deliver to the stores outside the lake all that they lack.

        Args:
            stores, observer: as of `deliverer`.
            anew: take it that they have nothing, as after one was emptied or put back. What they have stays there once.

        Raises:
            Conflict: another process feeds one of them at this moment; the others have got theirs.
            BadInput, Unavailable: as of `deliverer`. A store that is down is no error; the report says so.
        """
        with self.deliverer(stores, observer=observer) as deliverer:
            report = deliverer.run(anew=anew)
        for message in report.troubles("busy").values():
            raise Conflict(message)
        return report

    def _publish_index(self) -> "Artifact":
        newest = Lab(self.settings)  # whatever version this lab is pinned to
        return self.knowledge.publish(newest.experiments.documents(), data_versions=newest.warehouse.versions)

    def dead_letters(
        self, *, topic: str | None = None, reason: str | None = None, limit: int | None = None
    ) -> "pl.DataFrame":
        """Records that are no events, with the reason, the latest first. Those that became events after a fix are left out.

        Args:
            topic: only of this topic.
            reason: only those whose error contains this text.
            limit: at most so many.

        Raises:
            NotFound: the lake has no such topic.
        """
        self._check_topic(topic)
        return self.warehouse.sql(
            """SELECT * FROM dead_letters WHERE ($1 IS NULL OR topic = $1) AND ($2 IS NULL OR contains(error, $2))
               ORDER BY failed_at DESC, topic, partition, "offset" LIMIT $3""",
            [topic, reason, limit],
        )

    def replay_dead_letters(self, *, topic: str | None = None, reason: str | None = None) -> "RevivalReport":
        """Read dead letters again, from their stored bytes: those that are events now become so, exactly once.

        Raises:
            NotFound: the lake has no such topic.
            Conflict: another process is at the same at this moment.
        """
        from neonblue_lab.lake.letters import replay_dead_letters

        self._check_topic(topic)
        report = replay_dead_letters(self.lake, topic=topic, reason=reason, enricher=self._enricher())
        self.refresh()
        return report

    def _enricher(self) -> "Enricher":
        """What says what events mean: the models that are promoted at this moment, and rules."""
        from neonblue_lab.models.enriching import promoted

        return promoted(self.artifacts)

    def _check_topic(self, topic: str | None) -> None:
        if topic is not None and topic not in self.lake.topics():
            raise NotFound(f"The lake has no topic {topic}; it has {', '.join(self.lake.topics()) or 'none'}.")

    def record(self, **values: Any) -> None:
        """Record what a notebook learned: shown under the cell, and kept in the run's `run.json` when a pipeline runs it.

        Raises:
            TypeError: a value has no JSON form.
        """
        import json

        import orjson
        from IPython.display import publish_display_data

        document = orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))
        text = "\n".join(f"{name}: {json.dumps(value)}" for name, value in document.items())
        publish_display_data({RECORD_MIME: document, "text/plain": text})


def _bounds(selection: "Selection | None") -> "Bounds | None":
    """What a selection asks for of each topic, beyond what the lake holds."""
    if selection is None:
        return None
    from neonblue_lab.topics.selection import resolve

    return lambda source, topic, held: resolve(
        source, topic, selection, {partition: offset for partition, offset in held.items() if offset is not None}
    )
