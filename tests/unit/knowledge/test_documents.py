"""Documents: what a person would search for, and facts with a stated meaning."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.power import NormalIndPower

from neonblue_lab.errors import BadInput
from neonblue_lab.knowledge.documents import DOCUMENT_SCHEMA, experiment_documents
from neonblue_lab.lake.tables import DERIVED
from neonblue_lab.metrics.definitions import Metric

SCORECARD_SCHEMA = {
    **dict.fromkeys(("experiment_id", "metric", "kind", "variant_id", "control_id"), pl.String),
    **dict.fromkeys(("n_control", "n_variant"), pl.Int64),
    **dict.fromkeys(("mean_control", "mean_variant", "difference", "difference_low", "difference_high"), pl.Float64),
    **dict.fromkeys(("lift", "p_adjusted"), pl.Float64),
}


def experiment(experiment_id: str, **facts: object) -> dict[str, object]:
    return {"experiment_id": experiment_id, **facts}


def variant(variant_id: str, name: str | None = None, description: str | None = None) -> dict[str, object]:
    return {"variant_id": variant_id, "name": name, "description": description, "allocation": None}


def comparison(
    variant_id: str, mean: float, p_adjusted: float | None, *, metric: str = "conversion", kind: str = "proportion"
) -> dict[str, object]:
    """10,000 users each, 10 % in the control."""
    error = np.sqrt((0.1 * 0.9 + mean * (1 - mean)) / 10_000)
    difference = mean - 0.1
    return {
        "experiment_id": "e1",
        "metric": metric,
        "kind": kind,
        "variant_id": variant_id,
        "control_id": "control",
        "n_control": 10_000,
        "n_variant": 10_000,
        "mean_control": 0.1,
        "mean_variant": mean,
        "difference": difference,
        "difference_low": difference - 1.959964 * error,
        "difference_high": difference + 1.959964 * error,
        "lift": difference / 0.1,
        "p_adjusted": p_adjusted,
    }


def documents(
    experiments: list[dict[str, object]],
    rows: list[dict[str, object]] | None = None,
    metrics: list[Metric] | None = None,
    broken: list[str] | None = None,
) -> list[dict[str, object]]:
    frame = experiment_documents(
        pl.DataFrame(experiments, schema=DERIVED["experiments"].schema),
        pl.DataFrame(rows or [], schema=SCORECARD_SCHEMA),
        {metric.name: metric for metric in metrics or []},
        broken=broken or [],
    )
    assert dict(frame.schema) == DOCUMENT_SCHEMA
    return frame.to_dicts()


def test_document_is_what_a_person_would_search_for() -> None:
    variants = [
        variant("a", "Control", "Three steps"),
        variant("b", " One page ", None),
        variant("c", "", "Three steps"),
    ]
    (row,) = documents(
        [experiment("e1", name="Short checkout", hypothesis="Fewer fields sell more", variants=variants)]
    )
    assert row["document"] == "Short checkout\nFewer fields sell more\nControl\nThree steps\nOne page"


@pytest.mark.parametrize("variants", [None, [], [variant("a")]])
def test_experiment_without_any_text_is_known_by_its_id(variants: list[dict[str, object]] | None) -> None:
    (row,) = documents([experiment("e1", name=" ", variants=variants)])
    assert row["document"] == "e1"
    assert row["outcome"] == "unknown"
    assert row["lift"] is None


def test_result_is_that_of_the_best_variant() -> None:
    variants = [variant("control"), variant("b", "Green"), variant("c", "One page")]
    rows = [comparison("b", 0.105, 0.3), comparison("c", 0.12, 1e-5)]
    (row,) = documents([experiment("e1", variants=variants)], rows)
    assert row["metric"] == "conversion"
    assert row["lift"] == pytest.approx(0.2)
    assert row["conversion_rate"] == 0.12
    assert row["statistical_significance"] == pytest.approx(1 - 1e-5)
    assert row["sample_size"] == 30_000
    assert row["outcome"] == "win"
    assert row["optimization_applied"] == "One page"


@pytest.mark.parametrize(
    ("mean", "p_adjusted", "outcome"),
    [(0.12, 0.04, "win"), (0.08, 0.04, "loss"), (0.12, 0.05, "flat"), (0.12, None, "unknown")],
)
def test_outcome_follows_the_adjusted_p_value(mean: float, p_adjusted: float | None, outcome: str) -> None:
    (row,) = documents([experiment("e1", variants=[variant("b", "Green")])], [comparison("b", mean, p_adjusted)])
    assert row["outcome"] == outcome
    assert (row["optimization_applied"] is not None) == (outcome == "win")


def test_a_broken_split_has_no_numbers_and_a_running_experiment_no_result_yet() -> None:
    tried = [experiment("e1", variants=[variant("b", "Green")], status=status) for status in ("finished", "running")]
    rows = [comparison("b", 0.12, 1e-5)]
    (broken,), (running,) = documents(tried[:1], rows, broken=["e1"]), documents(tried[1:], rows)
    assert (broken["outcome"], broken["lift"], broken["statistical_significance"]) == ("broken split", None, None)
    assert (running["outcome"], running["optimization_applied"]) == ("running", None)
    assert running["lift"] == pytest.approx(0.2)


def test_less_is_better_where_the_metric_says_so() -> None:
    slower = Metric(name="wait", kind="mean", better="lower")
    rows = [
        comparison("b", 0.08, 1e-4, metric="wait", kind="mean"),
        comparison("c", 0.12, 1e-4, metric="wait", kind="mean"),
    ]
    (row,) = documents([experiment("e1", variants=[])], rows, [slower])
    assert row["lift"] == pytest.approx(-0.2)
    assert row["outcome"] == "win"
    assert row["optimization_applied"] == "b"
    assert row["conversion_rate"] is None


def test_power_is_that_of_statsmodels_for_a_five_percent_lift() -> None:
    (row,) = documents([experiment("e1")], [comparison("b", 0.103, 0.5)])
    deviation = np.sqrt((0.1 * 0.9 + 0.103 * 0.897) / 2)
    power = NormalIndPower().power(0.005 / deviation, 10_000, 0.05, ratio=1, alternative="two-sided")
    assert row["statistical_power"] == pytest.approx(power, abs=1e-6)


def test_what_cannot_be_computed_is_null() -> None:
    broken = comparison("b", 0.1, None) | {
        "difference_low": None,
        "difference_high": float("nan"),
        "lift": float("inf"),
    }
    (row,) = documents([experiment("e1")], [broken])
    assert row["statistical_power"] is row["lift"] is row["statistical_significance"] is None


def test_timestamp_is_the_start_else_the_creation() -> None:
    created, started = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 5, tzinfo=UTC)
    rows = documents([experiment("e1", started_at=started, created_at=created), experiment("e2", created_at=created)])
    assert [row["timestamp"] for row in rows] == [started, created]


def test_experiments_keep_their_order_and_may_be_none() -> None:
    rows = documents([experiment("e2"), experiment("e1")], [comparison("b", 0.12, 1e-5)])
    assert [(row["experiment_id"], row["outcome"]) for row in rows] == [("e2", "unknown"), ("e1", "win")]
    assert documents([]) == []


def test_two_rows_of_one_experiment_are_refused() -> None:
    with pytest.raises(BadInput, match="e1 has several rows"):
        documents([experiment("e1", name="a"), experiment("e1", name="b")])
