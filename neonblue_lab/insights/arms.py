"""The numbers of every variant that an experiment is defined with, and each variant beside its control."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from neonblue_lab.errors import NotFound, NothingToDo
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.metrics.statistics import STATISTICS_SCHEMA, collect
from neonblue_lab.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class MeasuredArms:
    """Sufficient statistics of defined variants.

    Attributes:
        arms: columns of STATISTICS_SCHEMA, `position` (0 is the control) and `allocation` of the variant.
        variants: every defined variant, with data or without: experiment_id, variant_id, position, allocation: 1 where an
            experiment does not state all of them, null where it states one that is no share.
        without_definition: experiments that have data but were never defined.
        unknown_variants: variants with data that their experiment's definition does not name: experiment_id, variant_id, n.
    """

    arms: pl.DataFrame
    variants: pl.DataFrame
    without_definition: tuple[str, ...]
    unknown_variants: pl.DataFrame


def measured_arms(
    warehouse: Warehouse,
    metrics: Mapping[str, Metric],
    *,
    experiments: Sequence[str] | None = None,
    only: Iterable[str] | None = None,
) -> MeasuredArms:
    """Collect the statistics of defined variants.

    Args:
        warehouse: pinned data.
        metrics: definitions by name.
        experiments: ids to restrict to; all unless given.
        only: names of metrics to restrict to; all that have data unless given.

    Raises:
        NotFound: the lake holds nothing that could be compared, or a metric of `only` is not known.
    """
    statistics = collect(warehouse, metrics, experiments)
    if only is not None:
        statistics = _of_metrics(statistics, only, metrics)
    of_them = f" of {', '.join(experiments)}" if experiments else ""
    if statistics.is_empty():
        raise NothingToDo(
            f"The lake holds no assignments and no metric totals to compare{of_them}: `neonblue replay --from ...` brings "
            "them in."
        )
    variants = defined_variants(warehouse)
    arms = statistics.join(variants, on=["experiment_id", "variant_id"], how="inner", maintain_order="left")
    if arms.is_empty():
        raise NotFound(
            f"The lake holds data{of_them}, but no definition of a variant that it belongs to: which variant is the control "
            "is not known. An `experiment_created` event with `variants` says so."
        )
    unknown = statistics.join(arms, on=["experiment_id", "variant_id"], how="anti")
    undefined = unknown.join(arms, on="experiment_id", how="anti")["experiment_id"].unique().sort()
    return MeasuredArms(
        arms=arms,
        variants=variants,
        without_definition=tuple(undefined),
        unknown_variants=unknown.join(arms, on="experiment_id", how="semi")
        .group_by("experiment_id", "variant_id")
        .agg(pl.col("n").max())
        .sort("experiment_id", "variant_id"),
    )


def pairs_of(arms: pl.DataFrame, within: Sequence[str] = ()) -> pl.DataFrame:
    """Every variant's statistics beside its control's, which have the suffix `_control`.

    Args:
        arms: columns of STATISTICS_SCHEMA and `position`, which is 0 for the control.
        within: columns that tell parts of an experiment apart (days, segments): a variant is compared within its part.
    """
    keys = ["experiment_id", "metric", *within]
    names = [name for name in STATISTICS_SCHEMA if name not in (*keys, "kind")]
    controls = arms.filter(pl.col("position") == 0).select(*keys, *names)
    return arms.filter(pl.col("position") > 0).join(controls, on=keys, suffix="_control")


def _of_metrics(statistics: pl.DataFrame, only: Iterable[str], metrics: Mapping[str, Metric]) -> pl.DataFrame:
    names, measured = list(only), set(statistics["metric"])
    for name in names:
        if name not in {*metrics, *measured}:
            raise NotFound(f"There is no metric {name}; there are {', '.join(sorted({*metrics, *measured}))}.")
    if measured and not measured & set(names):
        raise NotFound(f"There is no data of {', '.join(names)}; there is of {', '.join(sorted(measured))}.")
    return statistics.filter(pl.col("metric").is_in(names))


def defined_variants(warehouse: Warehouse) -> pl.DataFrame:
    """Defined variants: experiment_id, variant_id, position (0 is the control) and allocation: 1 where an experiment does
    not state all of them, null where it states one that is no share."""
    experiments = warehouse.sql("SELECT experiment_id, variants FROM experiments WHERE len(variants) > 0")
    exploded = experiments.explode("variants", empty_as_null=False, keep_nulls=False).unnest("variants")
    exploded = exploded.unique(["experiment_id", "variant_id"], keep="first", maintain_order=True)
    share = pl.col("allocation")
    return exploded.select(
        "experiment_id",
        "variant_id",
        position=pl.int_range(pl.len()).over("experiment_id"),
        allocation=pl.when(share.is_null().any().over("experiment_id"))
        .then(1.0)
        .when((share.is_finite() & (share >= 0)).all().over("experiment_id"))
        .then(share),
    )
