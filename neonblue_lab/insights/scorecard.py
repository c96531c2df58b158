"""The whole programme at once: every variant of every experiment against its control, and the checks of each experiment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from neonblue_lab.insights.arms import MeasuredArms, measured_arms, pairs_of
from neonblue_lab.metrics.definitions import SHARES, Metric
from neonblue_lab.metrics.statistics import users
from neonblue_lab.stats.moments import Moments
from neonblue_lab.stats.multiplicity import benjamini_hochberg
from neonblue_lab.stats.omnibus import homogeneity, welch_anova
from neonblue_lab.stats.sample_ratio import sample_ratio
from neonblue_lab.stats.two_sample import Comparison, LiftScale, two_proportions, welch
from neonblue_lab.warehouse.warehouse import Warehouse

METHODS = {
    "mean": "Welch's t-test",
    "ratio": "Welch's t-test of the ratio of means, linearised (delta method)",
    "quantile": "Welch's t-test of the quantiles, standard errors from order statistics",
    "proportion": "two-proportion test with unpooled variances",
    "retention": "two-proportion test with unpooled variances",
    "lift": "delta method on the logarithm of the ratio of means; on the ratio itself where one mean is not positive",
    "p_adjusted": "Benjamini-Hochberg over all comparisons of the scorecard",
    "srm_p_value": "chi-squared test of the users (or, without assignments, units) in each variant against the allocation "
    "(equal where none is stated)",
    "omnibus_p_value": "chi-squared test of homogeneity (proportions), Welch's ANOVA (means)",
}
"""What each number of a scorecard was computed by."""

SAMPLE_RATIO_ALPHA = 0.001
"""A sample-ratio p-value below this means that the split is broken (Fabijan et al. 2019, "Diagnosing sample ratio mismatch
in online controlled experiments", KDD: a low threshold, as the check is made on every experiment)."""

_ESTIMATES = (
    "difference",
    "difference_low",
    "difference_high",
    "lift",
    "lift_low",
    "lift_high",
    "p_value",
)

ROWS_SCHEMA: dict[str, pl.DataType] = {
    **dict.fromkeys(("experiment_id", "metric", "kind", "variant_id", "control_id"), pl.String()),
    **dict.fromkeys(("n_control", "n_variant"), pl.Int64()),
    **dict.fromkeys(("mean_control", "mean_variant", *_ESTIMATES, "p_adjusted"), pl.Float64()),
}
"""Columns of a scorecard's rows."""


@dataclass(frozen=True)
class Scorecard:
    """Comparisons and checks of many experiments on one version of the data.

    Attributes:
        data_version: the pinned versions of the lake's tables.
        experiments: how many experiments have at least one comparison.
        rows: one for each experiment x metric x variant other than the control: experiment_id, metric, kind, variant_id,
            control_id, n_control, n_variant, mean_control, mean_variant, difference, difference_low, difference_high, lift,
            lift_low, lift_high, p_value (of the difference), p_adjusted. Null where something cannot be computed.
        checks: one for each experiment x metric: experiment_id, metric, srm_p_value, omnibus_p_value, n_total, variants
            (those with data), started_at.
        without_definition: experiments that have data but were never defined; which variant is the control is not known.
        unknown_variants: variants that have data of an experiment but that its definition does not name; no number counts
            them: experiment_id, variant_id, n (units, of the metric with the most).
        alpha: 1 - coverage of the intervals.
    """

    data_version: str
    experiments: int
    rows: pl.DataFrame
    checks: pl.DataFrame
    without_definition: tuple[str, ...]
    unknown_variants: pl.DataFrame
    alpha: float

    @property
    def leading_metric(self) -> str:
        """The metric that most experiments have; of several, the first by name."""
        counted = self.checks.group_by("metric").agg(pl.col("experiment_id").n_unique())
        return str(counted.sort("experiment_id", "metric", descending=[True, False])["metric"][0])

    @property
    def broken_splits(self) -> pl.DataFrame:
        """Experiments whose sample-ratio check fails: experiment_id, srm_p_value, started_at; the worst first."""
        failing = self.checks.filter(pl.col("srm_p_value") < SAMPLE_RATIO_ALPHA).sort("srm_p_value", "experiment_id")
        worst = failing.unique("experiment_id", keep="first", maintain_order=True)
        return worst.select("experiment_id", "srm_p_value", "started_at")

    @property
    def sound(self) -> pl.DataFrame:
        """The rows of experiments whose split is not broken, the clearest first."""
        rows = self.rows.join(self.broken_splits, on="experiment_id", how="anti")
        return rows.sort("p_adjusted", "experiment_id", "metric", "variant_id", nulls_last=True)

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of experiments, of comparisons, of experiments with a broken split, and of comparisons of the others that
        differ after adjustment, in all, up and down."""
        significant = self.sound.filter(pl.col("p_adjusted") < self.alpha)
        return {
            "experiments": self.experiments,
            "comparisons": self.rows.height,
            "broken_splits": self.broken_splits.height,
            "significant": significant.height,
            "significant_up": significant.filter(pl.col("difference") > 0).height,
            "significant_down": significant.filter(pl.col("difference") < 0).height,
        }

    def to_dict(self) -> dict[str, Any]:
        """The scorecard for machines: intervals as pairs, what is not known as None."""
        return {
            "data_version": self.data_version,
            "experiments": self.experiments,
            "alpha": self.alpha,
            "methods": METHODS,
            "without_definition": list(self.without_definition),
            "unknown_variants": self.unknown_variants.to_dicts(),
            "rows": [with_intervals(row) for row in self.rows.iter_rows(named=True)],
            "checks": self.checks.to_dicts(),
        }

    def __str__(self) -> str:
        """A few lines: how the programme stands, and its clearest comparisons."""
        numbers = self.counts
        lines = [
            f"Experiments: {numbers['experiments']:,}. Comparisons of a variant with its control: {numbers['comparisons']:,}.",
            f"Broken splits (sample-ratio p < {SAMPLE_RATIO_ALPHA}), whose numbers are not to be read: "
            f"{numbers['broken_splits']:,}.",
            f"Significant among the others, adjusted for all comparisons (Benjamini-Hochberg, {self.alpha:.0%}): "
            f"{numbers['significant']:,}, of them {numbers['significant_up']:,} up and {numbers['significant_down']:,} down.",
        ]
        for row in self.sound.filter(pl.col("p_adjusted") < self.alpha).head(10).iter_rows(named=True):
            lift = "" if row["lift"] is None else f"{row['lift']:+8.1%}  "
            lines.append(
                f"  {lift}{row['experiment_id']}  {row['variant_id']} against {row['control_id']}  {row['metric']}  "
                f"adjusted p {row['p_adjusted']:.1g}"
            )
        if self.without_definition:
            lines.append(
                f"Left out, as they have data but no definition: experiments {len(self.without_definition):,}."
            )
        if self.unknown_variants.height:
            lines.append(f"Left out, as they have data but no definition: variants {self.unknown_variants.height:,}.")
        return "\n".join([*lines, f"Data: {self.data_version}"])

    def _repr_html_(self) -> str:
        return str(self.rows._repr_html_())


def with_intervals(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with a pair `<name>_ci` in the place of `<name>_low` and `<name>_high`, wherever it has them."""
    ends = [name.removesuffix("_low") for name in row if name.endswith("_low")]
    out = {name: value for name, value in row.items() if not name.endswith(("_low", "_high"))}
    return out | {f"{name}_ci": [row[f"{name}_low"], row[f"{name}_high"]] for name in ends}


def scorecard(
    warehouse: Warehouse,
    metrics: Mapping[str, Metric],
    *,
    experiments: Iterable[str] | None = None,
    only: Iterable[str] | None = None,
    alpha: float = 0.05,
) -> Scorecard:
    """Compare every variant with its control, on every metric, in all experiments at once.

    Args:
        warehouse: pinned data.
        metrics: definitions by name.
        experiments: ids to restrict to; all unless given.
        only: names of metrics to restrict to; all that have data unless given.
        alpha: 1 - coverage of the intervals.

    Raises:
        NotFound: the lake holds nothing that could be compared, or a metric of `only` is not known.
        BadInput: alpha does not lie between 0 and 1.
    """
    wanted = None if experiments is None else list(experiments)
    measured = measured_arms(warehouse, metrics, experiments=wanted, only=only)
    return scorecard_of(warehouse, measured, wanted, alpha)


def scorecard_of(warehouse: Warehouse, measured: MeasuredArms, wanted: list[str] | None, alpha: float) -> Scorecard:
    """The same, of statistics that are there already."""
    arms, variants = measured.arms, measured.variants
    rows = _compare(pairs_of(arms), alpha)
    return Scorecard(
        data_version=warehouse.data_version,
        experiments=rows["experiment_id"].n_unique(),
        rows=rows,
        checks=_check(arms, _assigned(variants, users(warehouse, wanted)), _started(warehouse)),
        without_definition=measured.without_definition,
        unknown_variants=measured.unknown_variants,
        alpha=alpha,
    )


def _assigned(variants: pl.DataFrame, counted: pl.DataFrame) -> pl.DataFrame:
    """Users of each defined variant of the experiments that have any: experiment_id, variant_id, users, allocation."""
    of_these = variants.join(counted, on="experiment_id", how="semi")
    return of_these.join(counted, on=["experiment_id", "variant_id"], how="left").with_columns(
        pl.col("users").fill_null(0)
    )


def _started(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.sql("SELECT experiment_id, started_at FROM experiments")


def _moments(frame: pl.DataFrame, suffix: str = "") -> Moments:
    n, mean, variance = (frame[f"{name}{suffix}"].cast(pl.Float64).to_numpy() for name in ("n", "mean", "variance"))
    return Moments(n, mean, variance)


def _successes(frame: pl.DataFrame, suffix: str = "") -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Successes of proportions; not known (NaN) where a stated mean is no share."""
    share = pl.col(f"mean{suffix}")
    successes = pl.when(share.is_between(0, 1)).then((pl.col(f"n{suffix}") * share).round())
    return frame.select(successes.cast(pl.Float64)).to_series().to_numpy()


def _compare(pairs: pl.DataFrame, alpha: float) -> pl.DataFrame:
    by_kind = []
    for (kind,), part in pairs.group_by("kind"):
        by_kind.append(
            part.with_columns(_estimates(_test(str(kind), part, alpha, "log"), _test(str(kind), part, alpha, "linear")))
        )
    rows = pl.concat(by_kind) if by_kind else pairs.with_columns(pl.lit(None, pl.Float64).alias(n) for n in _ESTIMATES)
    rows = rows.sort("experiment_id", "metric", "position")
    adjusted = benjamini_hochberg(rows["p_value"].fill_null(np.nan).to_numpy())
    named = rows.rename({"variant_id_control": "control_id", "n": "n_variant", "mean": "mean_variant"})
    return named.with_columns(pl.Series("p_adjusted", adjusted, nan_to_null=True)).select(*ROWS_SCHEMA)


def _test(kind: str, pairs: pl.DataFrame, alpha: float, lift_scale: LiftScale) -> Comparison:
    if kind in SHARES:
        return two_proportions(
            pairs["n_control"].to_numpy(),
            _successes(pairs, "_control"),
            pairs["n"].to_numpy(),
            _successes(pairs),
            alpha=alpha,
            lift_scale=lift_scale,
        )
    return welch(_moments(pairs, "_control"), _moments(pairs), alpha=alpha, lift_scale=lift_scale)


def _estimates(log: Comparison, linear: Comparison) -> list[pl.Series]:
    """The estimates; the lift's interval from the log scale where both means are positive, else from the linear one."""
    columns = {name: getattr(log, name) for name in _ESTIMATES}
    for name in ("lift_low", "lift_high"):
        columns[name] = np.where(np.isnan(columns[name]), getattr(linear, name), columns[name])
    return [pl.Series(name, values, nan_to_null=True) for name, values in columns.items()]


def _check(arms: pl.DataFrame, assigned: pl.DataFrame, started: pl.DataFrame) -> pl.DataFrame:
    arms = arms.with_columns(test=pl.struct("experiment_id", "metric").rank("dense") - 1)
    tests = arms.group_by("test", maintain_order=True).agg(
        pl.col("experiment_id", "metric", "kind").first(),
        n_total=pl.col("n").sum(),
        variants=(pl.col("n") > 0).sum(),
    )
    tests = tests.sort("test")
    of_units = sample_ratio(
        arms["test"].to_numpy(), arms["n"].to_numpy(), arms["allocation"].to_numpy(), tests.height
    ).p_value
    shares, others = arms.filter(pl.col("kind").is_in(SHARES)), arms.filter(~pl.col("kind").is_in(SHARES))
    proportions = homogeneity(shares["test"].to_numpy(), shares["n"].to_numpy(), _successes(shares), tests.height)
    means = welch_anova(others["test"].to_numpy(), _moments(others), tests.height)
    tests = tests.with_columns(
        pl.Series("of_units", of_units, nan_to_null=True),
        pl.Series("of_proportions", proportions.p_value, nan_to_null=True),
        pl.Series("of_means", means.p_value, nan_to_null=True),
    )
    tests = tests.join(_of_users(assigned), on="experiment_id", how="left").join(
        started, on="experiment_id", how="left"
    )
    return tests.select(
        "experiment_id",
        "metric",
        srm_p_value=pl.when(pl.col("of_users").is_not_null()).then("of_users").otherwise("of_units"),
        omnibus_p_value=pl.when(pl.col("kind").is_in(SHARES)).then("of_proportions").otherwise("of_means"),
        n_total="n_total",
        variants="variants",
        started_at="started_at",
    )


def _of_users(assigned: pl.DataFrame) -> pl.DataFrame:
    indexed = assigned.with_columns(index=pl.col("experiment_id").rank("dense") - 1)
    ids = indexed["experiment_id"].unique().sort()
    users = sample_ratio(
        indexed["index"].to_numpy(), indexed["users"].to_numpy(), indexed["allocation"].to_numpy(), len(ids)
    )
    return pl.DataFrame({"experiment_id": ids, "of_users": pl.Series(users.p_value, nan_to_null=True)})
