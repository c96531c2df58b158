"""Experiments made of aggregates: each arm is what a `metric_total` says of it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from neonblue_lab.insights.experiments import Experiments
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.warehouse.warehouse import Warehouse

METRICS = {
    metric.name: metric
    for metric in (
        Metric(name="rate", kind="proportion"),
        Metric(name="basket", kind="mean"),
        Metric(name="latency", kind="mean", better="lower"),
        Metric(name="errors", kind="proportion", better="lower", guardrail=True, margin=0.05),
    )
}
Arm = tuple[Any, ...]


def rows_of(experiment: str, arms: Mapping[str, Mapping[str, Arm]], **fields: Any) -> dict[str, list[dict[str, Any]]]:
    """Rows of a lake for one experiment. Arms: metric -> variant -> (n, mean[, variance]). Fields: of its definition;
    `variants` are all of its arms, and none at all where `variants` is None."""
    names = dict.fromkeys(variant for metric in arms.values() for variant in metric)
    variants = fields.pop("variants", [{"variant_id": name} for name in names])
    definition = {"experiment_id": experiment, "variants": variants, "status": "finished"} | fields
    totals = [
        {
            "experiment_id": experiment,
            "variant_id": variant,
            "metric": metric,
            "kind": METRICS[metric].kind if metric in METRICS else "mean",
            "n": n,
            "mean": mean,
            "variance": rest[0] if rest else None,
            "as_of": datetime(2026, 3, 2, tzinfo=UTC),
            "event_id": f"{experiment}-{variant}-{metric}",
        }
        for metric, of_metric in arms.items()
        for variant, (n, mean, *rest) in of_metric.items()
    ]
    return {"experiments": [] if variants is None else [definition], "metric_totals": totals}


@pytest.fixture(scope="session")
def experiments_of(lake_of: Any) -> Callable[..., Experiments]:
    """`experiments_of(rows_of(...), rows_of(...))`: the `Experiments` of a lake with these rows."""

    def make(*parts: Mapping[str, list[dict[str, Any]]]) -> Experiments:
        tables: dict[str, list[dict[str, Any]]] = {}
        for part in parts:
            for name, rows in part.items():
                tables.setdefault(name, []).extend(rows)
        return Experiments(Warehouse(lake_of(**tables)), METRICS)

    return make


@pytest.fixture(scope="session")
def rows() -> Callable[..., dict[str, list[dict[str, Any]]]]:
    return rows_of
