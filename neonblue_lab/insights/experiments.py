"""The experiments of a lake: which there are, how the programme stands, and what one of them says."""

import difflib
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import polars as pl

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.insights.arms import measured_arms, pairs_of
from neonblue_lab.insights.details import Details, details, splits, where_broken
from neonblue_lab.insights.evidence import evidence, learn_priors
from neonblue_lab.insights.readout import Readout, adjusted_within, primary_metric, readout
from neonblue_lab.insights.scorecard import ROWS_SCHEMA, Scorecard, scorecard, scorecard_of
from neonblue_lab.knowledge.documents import experiment_documents
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.metrics.series import daily_series
from neonblue_lab.metrics.statistics import crossovers
from neonblue_lab.stats.shrinkage import ProgrammePrior
from neonblue_lab.warehouse.warehouse import Warehouse


class Experiments:
    """Questions about experiments, answered on one pinned version of the data."""

    def __init__(self, warehouse: Warehouse, metrics: Mapping[str, Metric]) -> None:
        self._warehouse = warehouse
        self._metrics = metrics

    def list(self, *, status: str | None = None, limit: int | None = None) -> pl.DataFrame:
        """Defined experiments, the newest first, in the columns of the lake's `experiments`."""
        found = self._warehouse.sql(
            "SELECT * FROM experiments WHERE $1 IS NULL OR status = $1 ORDER BY started_at DESC NULLS LAST, experiment_id",
            [status],
        )
        return found if limit is None else found.head(limit)

    def get(self, experiment_id: str) -> dict[str, Any]:
        """The definition of one experiment.

        Raises:
            NotFound: it is not in the lake; the message names the nearest ids.
        """
        found = self._warehouse.sql("SELECT * FROM experiments WHERE experiment_id = $1", [experiment_id])
        if found.is_empty():
            ids = self._warehouse.sql("SELECT experiment_id FROM experiments")["experiment_id"].to_list()
            near = difflib.get_close_matches(experiment_id, ids, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(near)}?" if near else f" The lake knows {len(ids):,} experiments."
            raise NotFound(f"There is no experiment {experiment_id} among those that are defined.{hint}")
        return found.to_dicts()[0]

    def scorecard(
        self, *, experiments: Iterable[str] | None = None, metrics: Iterable[str] | None = None, alpha: float = 0.05
    ) -> Scorecard:
        """Every variant against its control on every metric, in all experiments at once.

        Args:
            experiments: ids to restrict to.
            metrics: names to restrict to.
            alpha: 1 - coverage of the intervals.

        Raises:
            NotFound: nothing to compare, or a metric that is not known.
        """
        return scorecard(self._warehouse, self._metrics, experiments=experiments, only=metrics, alpha=alpha)

    @cached_property
    def priors(self) -> dict[str, ProgrammePrior]:
        """What finished experiments with a sound split have taught of the programme's lifts, by metric, on the log scale."""
        try:
            measured = measured_arms(self._warehouse, self._metrics)
        except NotFound:
            return {}
        broken = scorecard_of(self._warehouse, measured, None, 0.05).broken_splits
        running = self.list(status="running")
        past = measured.arms.join(broken, on="experiment_id", how="anti").join(running, on="experiment_id", how="anti")
        return learn_priors(pairs_of(past))

    def details(self, experiment_id: str, *, alpha: float = 0.05) -> Details:
        """One experiment over time and by segment, and where its split broke: the frames of its charts, and sentences.

        Raises:
            NotFound: no such experiment, or no data of it.
        """
        experiment = self.get(experiment_id)
        measured = measured_arms(self._warehouse, self._metrics, experiments=[experiment_id])
        names = measured.arms["metric"].unique().sort().to_list()
        primary = primary_metric(experiment["primary_metric"], names, self._metrics)
        own = measured.variants.filter(experiment_id=experiment_id)
        return details(self._warehouse, self._metrics, experiment_id, own, primary, alpha=alpha)

    @property
    def _signs(self) -> dict[str, int]:
        return {name: -1 for name, metric in self._metrics.items() if metric.better == "lower"}

    def named(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with an experiment_id, with the experiment's name as a column after it."""
        names = self._warehouse.sql("SELECT experiment_id, name FROM experiments")
        return rows.join(names, on="experiment_id", how="left").select("experiment_id", "name", *rows.columns[1:])

    def series(self, *, largest: int = 8) -> pl.DataFrame:
        """Metrics by day, of the programme and of its experiments with the most units, in the columns of
        `metrics.series.SERIES_SCHEMA`."""
        sizes = self._warehouse.sql("""
            SELECT experiment_id FROM (
                SELECT experiment_id, count(*) AS units FROM assignments GROUP BY ALL
                UNION ALL SELECT experiment_id, sum(n) FROM metric_totals WHERE segment IS NULL GROUP BY ALL)
            GROUP BY experiment_id ORDER BY max(units) DESC, experiment_id""")
        return daily_series(self._warehouse, self._metrics, sizes["experiment_id"].head(largest))

    def documents(self) -> pl.DataFrame:
        """Every defined experiment as a document with its result: what a search by meaning is built on
        (`knowledge.documents.experiment_documents` says how each column comes about)."""
        defined = self.list()
        try:
            card = self.scorecard()
        except NotFound:
            return experiment_documents(defined, pl.DataFrame(schema=ROWS_SCHEMA), self._metrics)
        measured = card.checks.group_by("experiment_id").agg("metric")
        stated = measured.join(defined, on="experiment_id").select("experiment_id", "primary_metric", "metric")
        primary = {row[0]: primary_metric(row[1], row[2], self._metrics) for row in stated.iter_rows()}
        rows = adjusted_within(card.rows, primary)
        return experiment_documents(defined, rows, self._metrics, broken=card.broken_splits["experiment_id"])

    def analyze(self, experiment_id: str, *, alpha: float = 0.05) -> Readout:
        """What one experiment says, with a verdict and its reasons.

        Raises:
            NotFound: no such experiment, or no data of it.
            BadInput: it was defined without variants.
        """
        experiment = self.get(experiment_id)
        if not experiment["variants"]:
            raise BadInput(
                f"Experiment {experiment_id} was defined without variants: which is the control is not known."
            )
        measured = measured_arms(self._warehouse, self._metrics, experiments=[experiment_id])
        card = scorecard_of(self._warehouse, measured, [experiment_id], alpha)
        found = evidence(pairs_of(measured.arms), sign=self._signs, priors=self.priors, alpha=alpha)
        crossed = crossovers(self._warehouse, [experiment_id])
        said = readout(card, found, experiment, self._metrics, int(crossed["users"].sum()))
        if said.verdict == "do not trust":
            own = measured.variants.filter(experiment_id=experiment_id)
            said.reasons += where_broken(*splits(self._warehouse, experiment_id, own))
        return said
