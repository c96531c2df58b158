"""The experiments of a lake: which there are, how the programme stands, and what one of them says."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import polars as pl

from neonblue_lab.errors import BadInput, NotFound, NothingToDo
from neonblue_lab.insights.arms import measured_arms, pairs_of
from neonblue_lab.insights.details import Details, details, splits, where_broken
from neonblue_lab.insights.evidence import evidence, learn_priors, shrunk_lifts
from neonblue_lab.insights.fading import FADING_SCHEMA, fading
from neonblue_lab.insights.planned import ExperimentConfig
from neonblue_lab.insights.planning import Plan, baseline_of, design_of, plan_metric
from neonblue_lab.insights.readout import Readout, adjusted_within, primary_metric, readout
from neonblue_lab.insights.scorecard import ROWS_SCHEMA, Scorecard, scorecard, scorecard_of
from neonblue_lab.insights.tables import comparisons
from neonblue_lab.knowledge.documents import experiment_documents
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.metrics.parts import users_of
from neonblue_lab.metrics.series import daily_series
from neonblue_lab.metrics.statistics import STATISTICS_SCHEMA, crossovers
from neonblue_lab.models.outcome.history import history, text_arms
from neonblue_lab.stats.power import Baseline, Design, Reading
from neonblue_lab.stats.shrinkage import ProgrammePrior
from neonblue_lab.stats.simulation import Simulation, simulate
from neonblue_lab.warehouse.warehouse import Warehouse

BASELINE_OF = 5
"""How many experiments a plan's baseline is learned from: the latest that are over."""


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
    def _past(self) -> pl.DataFrame:
        """Comparisons of finished experiments whose split is sound: what the programme learns from."""
        try:
            measured = measured_arms(self._warehouse, self._metrics)
        except NotFound:
            return pairs_of(pl.DataFrame(schema=STATISTICS_SCHEMA | {"position": pl.Int64()}))
        broken = scorecard_of(self._warehouse, measured, None, 0.05).broken_splits
        running = self.list(status="running")
        past = measured.arms.join(broken, on="experiment_id", how="anti").join(running, on="experiment_id", how="anti")
        return pairs_of(past)

    @cached_property
    def priors(self) -> dict[str, ProgrammePrior]:
        """What finished experiments with a sound split have taught of the programme's lifts, by metric, on the log scale."""
        return learn_priors(self._past)

    def shrunk(self, metric: str) -> pl.DataFrame:
        """Lifts on a metric that the prior was learned from, as measured and as it leaves them, in the columns of
        `evidence.shrunk_lifts`. Empty where there is no prior: too few experiments have finished."""
        return shrunk_lifts(self._past, self.priors).filter(metric=metric)

    def plan(
        self,
        metric: str,
        *,
        lift: float,
        power: float = 0.8,
        alpha: float = 0.05,
        variants: int = 1,
        share: float = 1.0,
        reading: Reading = "fixed",
        days: int = 90,
    ) -> Plan:
        """How long an experiment has to run to find a lift: the baseline from the latest experiments that are over and
        whose split is sound, the traffic from the lake's users.

        Args:
            metric: the one that decides.
            lift: relative change that is to be found: 0.02 is +2 %.
            power: probability of finding it.
            alpha: rate of false alarms that is accepted, all variants together.
            variants: beside the control.
            share: of the users who take part.
            reading: as of `stats.power.Design`; a sequential one looks several times.
            days: how far ahead traffic is forecast, no further than it reaches back.

        Raises:
            NotFound: the metric is not known, no such experiment has measured it, or the lake holds no traffic.
            BadInput: an option that cannot be, or a metric that only arrives as aggregates.
        """
        design = design_of(reading, alpha)
        latest = self._latest(metric)
        return plan_metric(
            self._warehouse,
            self._metrics.get(metric) or Metric(name=metric, kind=latest["kind"][0]),
            latest,
            lift=lift,
            power=power,
            variants=variants,
            share=share,
            design=design,
            days=days,
        )

    def baseline(self, metric: str) -> Baseline:
        """What a metric is without a change: from the controls of the latest experiments that are over and whose split is sound.

        Raises:
            NotFound: the metric is not known, or no such experiment has measured it.
        """
        return baseline_of(self._latest(metric))

    def _latest(self, metric: str) -> pl.DataFrame:
        """Comparisons on a metric of the BASELINE_OF latest experiments that have measured it."""
        self.check_metric(metric)
        past = self._past.filter(metric=metric)
        if past.is_empty():
            raise NotFound(
                f"No experiment that is over and was split as planned has measured {metric}: there is no baseline to plan with."
            )
        latest = self.list().join(past, on="experiment_id", how="semi", maintain_order="left").head(BASELINE_OF)
        return past.join(latest, on="experiment_id", how="semi")

    def check_metric(self, metric: str) -> None:
        """Raises NotFound, naming those that there are, if no metric of that name is defined or was measured."""
        known = {*self._metrics, *self._past["metric"]}
        if metric not in known:
            raise NotFound(f"There is no metric {metric}; there are {', '.join(sorted(known))}.")

    def sign(self, metric: str) -> int:
        """-1 where less of a metric is better, else 1."""
        return self._signs.get(metric, 1)

    @property
    def largest(self) -> str:
        """The experiment with the most users, of those defined with two variants or more; of those without users, the most units.

        Raises:
            NotFound: none has data.
        """
        found = self._warehouse.sql("""
            SELECT experiment_id FROM (
                SELECT experiment_id, count(*) AS users, 0 AS units FROM assignments GROUP BY ALL
                UNION ALL SELECT experiment_id, 0, max(n) FROM metric_totals WHERE segment IS NULL GROUP BY ALL)
            JOIN experiments USING (experiment_id) WHERE len(variants) > 1
            GROUP BY experiment_id ORDER BY max(users) DESC, max(units) DESC, experiment_id LIMIT 1""")
        if found.is_empty():
            raise NothingToDo(
                "No experiment that was defined with two variants has data: `neonblue replay --from ...` brings it in."
            )
        return str(found["experiment_id"][0])

    def simulate(
        self,
        metric: str,
        *,
        experiment_id: str = "",
        lift: float = 0.0,
        alpha: float = 0.05,
        experiments: int = 2_000,
        seed: int = 0,
    ) -> Simulation:
        """Try a metric's test on the lab's own users: those of one experiment's control, split at random again and again. Without
        a lift an A/A simulation, whose false positives should be alpha; with one, the power to find it.

        Args:
            metric: one that is computed from events; of a quantile, none.
            experiment_id: whose control; the experiment with the most users unless given.
            lift: put into one half: 0.02 is +2 %.
            alpha: level of the test.
            experiments: how many.
            seed: of the splits.

        Raises:
            NotFound: no such metric or experiment, or it has no users.
            BadInput: the metric arrives as aggregates, or is a quantile; or an argument is not possible.
        """
        if metric not in self._metrics:
            raise NotFound(f"There is no metric {metric}; there are {', '.join(self._metrics)}.")
        defined = self.get(experiment_id or self.largest)
        variants = defined["variants"]
        if not variants:
            raise BadInput(f"Experiment {defined['experiment_id']} was defined without variants: it has no control.")
        users = users_of(self._warehouse, self._metrics[metric], defined["experiment_id"], variants[0]["variant_id"])
        return simulate(
            users["y"],
            denominators=users.get_column("d", default=None),
            covariate=None if "d" in users.columns else users.get_column("x", default=None),
            lift=lift,
            design=Design(alpha=alpha),
            experiments=experiments,
            seed=seed,
        )

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

    def comparisons(self, said: Readout) -> pl.DataFrame:
        """The rows of a readout as a table, in the columns of `tables.comparisons`."""
        return comparisons(said, self.get(said.experiment_id), self._metrics)

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
        """Every defined experiment as a document with its result on the metric that it is judged by, and what it came to: what a
        search is built on (`knowledge.documents.experiment_documents` says how each column comes about)."""
        return self._documents

    @cached_property
    def _documents(self) -> pl.DataFrame:
        defined = self.list()
        try:
            card = self.scorecard()
        except NotFound:
            return experiment_documents(defined, pl.DataFrame(schema=ROWS_SCHEMA), self._metrics)
        primary = self._primary(card, defined)
        judged = pl.col("metric") == pl.col("experiment_id").replace_strict(primary, return_dtype=pl.String)
        rows = adjusted_within(card.rows, primary).filter(judged)
        return experiment_documents(defined, rows, self._metrics, broken=card.broken_splits["experiment_id"])

    def history(self) -> pl.DataFrame:
        """What finished experiments were before they ran, and what each came to: what a predictor of outcomes learns from, in
        the columns of `models.outcome.history.HISTORY_SCHEMA`."""
        return history(self.list(), self.documents())

    def configuration(self, experiment_id: str) -> dict[str, Any]:
        """What was known of an experiment before it ran, in the fields of `planned.ExperimentConfig`.

        Raises:
            NotFound: it is not in the lake.
        """
        defined = self.get(experiment_id)
        return {name: defined[name] for name in ExperimentConfig.model_fields if name in defined}

    def text_arms(self) -> pl.DataFrame:
        """Arms of finished experiments as texts with what they drew (`models.outcome.history.text_arms`)."""
        keys = ["experiment_id", "metric", "kind"]
        controls = self._past.select(*keys, variant_id="variant_id_control", n="n_control", mean="mean_control").unique(
            maintain_order=True
        )
        arms = pl.concat([controls, self._past.select(controls.columns)])
        return text_arms(self.list(), arms)

    def fading(self, metric: str, experiments: Sequence[str]) -> pl.DataFrame:
        """How effects on a metric change with the days since exposure, in the columns of `fading.fading`. Empty of a metric
        that arrives as aggregates, or is a quantile."""
        definition = self._metrics.get(metric)
        if definition is None or definition.event is None or definition.quantile is not None or not experiments:
            return pl.DataFrame(schema=FADING_SCHEMA)
        return fading(self._warehouse, definition, experiments)

    @property
    def data_version(self) -> str:
        """The pinned versions that every answer comes from."""
        return self._warehouse.data_version

    def _primary(self, card: Scorecard, defined: pl.DataFrame) -> dict[str, str]:
        """Experiment -> the metric that it is judged by."""
        measured = card.checks.group_by("experiment_id").agg("metric")
        stated = measured.join(defined, on="experiment_id").select("experiment_id", "primary_metric", "metric")
        return {row[0]: primary_metric(row[1], row[2], self._metrics) for row in stated.iter_rows()}

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
        margins = {name: metric.margin for name, metric in self._metrics.items() if metric.margin is not None}
        found = evidence(pairs_of(measured.arms), sign=self._signs, margins=margins, priors=self.priors, alpha=alpha)
        crossed = crossovers(self._warehouse, [experiment_id])
        said = readout(card, found, experiment, self._metrics, int(crossed["users"].sum()))
        if said.verdict == "do not trust":
            own = measured.variants.filter(experiment_id=experiment_id)
            said.reasons += where_broken(*splits(self._warehouse, experiment_id, own))
        return said
