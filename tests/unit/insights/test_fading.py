"""Effects that wear off are found among those that stay, in many experiments at once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from neonblue_lab.insights.experiments import Experiments
from neonblue_lab.insights.fading import FADING_SCHEMA
from neonblue_lab.insights.precedents import fading_before
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.warehouse.warehouse import Warehouse

START = datetime(2026, 3, 2, tzinfo=UTC)
USERS, DAYS = 400, 15
METRICS = {"clicks": Metric(name="clicks", kind="mean", event="click", of="count")}


@pytest.fixture(scope="module")
def experiments(lake_of: Callable[..., Any]) -> Experiments:
    """Simulated: clicks a day are about 1 without the change; `fades` adds 2 on the first days only, `stays` adds 0.5 always."""
    rng = np.random.default_rng(5)
    tables: dict[str, list[dict[str, Any]]] = {"experiments": [], "assignments": [], "events": []}
    for name in ("fades", "stays"):
        tables["experiments"].append(
            {
                "experiment_id": name,
                "name": name,
                "experiment_type": "copy",
                "status": "finished",
                "primary_metric": "clicks",
                "started_at": START,
                "ended_at": START + timedelta(days=DAYS + 1),
                "variants": [{"variant_id": arm, "allocation": 0.5} for arm in ("control", "new")],
            }
        )
        for arm in ("control", "new"):
            day = np.arange(DAYS)
            more = np.where(day < 2, 2.0, 0.0) if name == "fades" else np.full(DAYS, 0.5)
            clicks = rng.poisson(0.3 * (1 + (more if arm == "new" else 0)), size=(USERS // 4, DAYS))
            for user, of_days in enumerate(clicks):
                user_id = f"{name}-{arm}-{user}"
                tables["assignments"].append(
                    {"experiment_id": name, "user_id": user_id, "variant_id": arm, "first_exposed_at": START}
                )
                tables["events"] += [
                    {
                        "event_type": "click",
                        "user_id": user_id,
                        "timestamp": START + timedelta(days=int(on), hours=1, minutes=number),
                    }
                    for on, count in enumerate(of_days)
                    for number in range(count)
                ]
    return Experiments(Warehouse(lake_of(**tables)), METRICS)


def test_what_wears_off_is_told_from_what_stays(experiments: Experiments) -> None:
    found = experiments.fading("clicks", ["fades", "stays"]).rows_by_key("experiment_id", named=True, unique=True)
    assert found["fades"]["p_adjusted"] < 0.01
    assert found["fades"]["first"] > 1 > 0.5 > abs(found["fades"]["last"])
    assert found["stays"]["p_adjusted"] > 0.05


def test_it_is_a_risk_for_experiments_of_the_type(experiments: Experiments) -> None:
    documents = experiments.documents()
    (risk,) = fading_before(documents, "copy", lambda ids: experiments.fading("clicks", ids))
    assert risk.kind == "novelty"
    assert "In 1 of 2 past experiments of the type copy the effect wore off" in risk.text
    assert "fades" in risk.text
    assert fading_before(documents, "pricing", lambda ids: experiments.fading("clicks", ids)) == []


def test_a_metric_without_events_is_not_followed(experiments: Experiments) -> None:
    assert dict(experiments.fading("latency", ["fades"]).schema) == FADING_SCHEMA
    assert experiments.fading("clicks", []).equals(pl.DataFrame(schema=FADING_SCHEMA))
