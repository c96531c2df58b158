"""Pairs are what one experiment showed alike, and nothing else."""

import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.models.outcome.pairs import DECISIVE, pairs
from neonblue_lab.models.training.splits import components, temporal

BROKEN_WEEKS = (201325, 201402)


def arms(*rows: tuple[str, str | None, str, int, int]) -> pl.DataFrame:
    schema = ["experiment_id", "context", "text", "impressions", "clicks"]
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(time=pl.lit(1))


def test_arms_of_one_text_and_picture_are_added_up():
    found = pairs(arms(("e", "p", "Yes", 100, 10), ("e", "p", " Yes ", 100, 20), ("e", "p", "No", 200, 10)))
    assert found.select("text_a", "impressions_a", "clicks_a", "text_b", "clicks_b").rows() == [
        ("Yes", 200, 30, "No", 10)
    ]


def test_z_is_that_of_the_two_proportion_test():
    # p1 = 0.15, p2 = 0.05, pooled 0.1: z = 0.1 / sqrt(0.1 * 0.9 * 2 / 200) = 3.3333...
    found = pairs(arms(("e", "p", "Yes", 200, 30), ("e", "p", "No", 200, 10)))
    assert found["z"].to_list() == pytest.approx([10 / 3])
    assert found["chance"].to_list() == pytest.approx([0.99957094], abs=1e-7)


def test_other_pictures_other_experiments_and_ties_are_not_compared():
    found = pairs(
        arms(
            ("e", "p", "Yes", 100, 10),
            ("e", "q", "No", 100, 20),
            ("f", "p", "No", 100, 20),
            ("f", None, "Maybe", 100, 5),
            ("f", "p", "Perhaps", 200, 40),
        )
    )
    assert found.height == 0


def test_more_clicks_than_impressions_are_refused():
    with pytest.raises(BadInput, match="11 clicks of 10"):
        pairs(arms(("e", "p", "Yes", 10, 11)))


def test_missing_columns_are_named():
    with pytest.raises(BadInput, match="Arms lack context"):
        pairs(arms(("e", "p", "Yes", 10, 1)).drop("context"))


def test_counts_of_the_upworthy_protocol(dataset):
    rows = pl.read_parquet(dataset("upworthy_exploratory.parquet")).rename(
        {"clickability_test_id": "experiment_id", "eyecatcher_id": "context", "test_week": "time", "headline": "text"}
    )
    found = pairs(rows.filter(~pl.col("time").is_between(*BROKEN_WEEKS)))
    assert found.height == 16_798
    assert found["experiment_id"].n_unique() == 1_970
    assert (found["z"].abs() > DECISIVE).sum() == 4_691
    both = pl.concat([found.select("experiment_id", text=f"text_{side}") for side in ("a", "b")])
    group = components(both["experiment_id"], both["text"])[: found.height]
    assert len(temporal(found["time"], at=201448, groups=group).test) == 3_574
