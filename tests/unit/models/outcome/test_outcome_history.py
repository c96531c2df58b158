"""What is learned from of past experiments is what was known before they ran."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.models.outcome.familiarity import Familiarity
from neonblue_lab.models.outcome.history import (
    FEATURES,
    HISTORY_SCHEMA,
    configured,
    history,
    outcome_codes,
    text_arms,
    win_rates,
)
from neonblue_lab.models.outcome.pairs import pairs

START = datetime(2026, 1, 5, tzinfo=UTC)
ARM = pl.Struct({"variant_id": pl.String, "name": pl.String, "description": pl.String, "allocation": pl.Float64})
TIME = pl.Datetime("us", "UTC")


def defined(*rows: dict[str, object]) -> pl.DataFrame:
    schema = {
        **dict.fromkeys(("experiment_id", "name", "hypothesis", "experiment_type", "industry"), pl.String),
        **dict.fromkeys(("user_segment", "primary_metric"), pl.String),
        "variants": pl.List(ARM),
        **dict.fromkeys(("started_at", "ended_at", "created_at"), TIME),
    }
    return pl.DataFrame(list(rows), schema=schema)


def arm(name: str, description: str | None = None, allocation: float | None = None) -> dict[str, object]:
    return {"variant_id": name, "name": name, "description": description, "allocation": allocation}


EXPERIMENTS = defined(
    {
        "experiment_id": "late",
        "name": "Short form",
        "hypothesis": "Less to fill in.",
        "experiment_type": "checkout",
        "primary_metric": "conversion",
        "variants": [arm("control", "long", 0.6), arm("short", "short", 0.2), arm("none", "long", 0.2)],
        "started_at": START + timedelta(days=9),
        "ended_at": START + timedelta(days=20),
    },
    {"experiment_id": "early", "variants": [arm("a"), arm("b")], "created_at": START},
    {"experiment_id": "runs", "variants": [arm("a"), arm("b")], "started_at": START},
    {"experiment_id": "undated", "variants": [arm("a"), arm("b")]},
)
DOCUMENTS = pl.DataFrame(
    {
        "experiment_id": ["late", "early", "runs", "undated"],
        "metric": ["conversion", "clicks", "clicks", "clicks"],
        "outcome": ["win", "flat", "running", "loss"],
    }
)


def test_only_what_has_ended_and_when_is_learned_from_the_earliest_first() -> None:
    found = history(EXPERIMENTS, DOCUMENTS)
    assert dict(found.schema) == HISTORY_SCHEMA
    assert found["experiment_id"].to_list() == ["early", "late"]
    assert found["metric"].to_list() == ["clicks", "conversion"]
    assert found["known_at"].to_list() == [START, START + timedelta(days=20)]


def test_features_are_those_of_the_configuration() -> None:
    row = history(EXPERIMENTS, DOCUMENTS).filter(experiment_id="late").row(0, named=True)
    assert row["variants"] == 2
    assert row["evenness"] == pytest.approx(0.2 * 3)
    assert row["new_names"] == 1.0
    assert row["new_descriptions"] == 0.5
    assert row["name_length"] == len("Short form")
    assert row["variant_length"] == pytest.approx((len("control\nlong") + len("short\nshort") + len("none\nlong")) / 3)


def test_a_planned_experiment_has_the_features_that_it_will_have_in_the_history() -> None:
    past = history(EXPERIMENTS, DOCUMENTS).filter(experiment_id="late").select("content", *FEATURES)
    planned = configured(EXPERIMENTS.filter(experiment_id="late").to_dicts()[0])
    assert planned.equals(past)


def test_shares_that_are_not_stated_are_even() -> None:
    assert configured({"variants": [arm("a"), arm("b")]})["evenness"].to_list() == [1.0]


def test_arms_are_compared_where_they_differ_in_their_name_alone() -> None:
    experiments = defined(
        {
            "experiment_id": "e",
            "primary_metric": "clicks",
            "variants": [arm("old", "picture"), arm("new", "picture"), arm("else", "film")],
            "started_at": START,
        }
    )
    statistics = pl.DataFrame(
        {
            "experiment_id": ["e"] * 4,
            "variant_id": ["old", "new", "else", "old"],
            "metric": ["clicks"] * 3 + ["seconds"],
            "kind": ["proportion"] * 3 + ["mean"],
            "n": [1000, 1000, 1000, 1000],
            "mean": [0.01, 0.03, 0.05, 9.0],
        }
    )
    arms = text_arms(experiments, statistics)
    assert arms.height == 3
    (pair,) = pairs(arms).to_dicts()
    assert {pair["text_a"], pair["text_b"]} == {"old", "new"}
    assert {pair["clicks_a"], pair["clicks_b"]} == {10, 30}


def test_win_rates_have_the_interval_of_their_count() -> None:
    rows = pl.DataFrame({"experiment_type": ["a"] * 10 + [None], "outcome": ["win"] * 3 + ["flat"] * 8})
    found = win_rates(rows).rows_by_key("kind", named=True, unique=True)
    # Jeffreys' interval of 3 in 10, as R's binom.bayes tells it.
    assert (found["a"]["low"], found["a"]["high"]) == pytest.approx((0.0927, 0.6058), abs=5e-4)
    assert found["(not stated)"]["experiments"] == 1


def test_another_outcome_is_refused() -> None:
    with pytest.raises(BadInput, match="'running' is no outcome"):
        outcome_codes(pl.Series(["win", "running"]))


def test_what_was_never_seen_is_named() -> None:
    seen = Familiarity.from_dict(Familiarity.of(history(EXPERIMENTS, DOCUMENTS)).to_dict())
    known = configured(EXPERIMENTS.filter(experiment_id="late").to_dicts()[0])
    assert seen.unlike(known) == []
    assert seen.count("experiment_type", "checkout") == 1
    strange = configured(
        {
            "experiment_type": "pricing",
            "name": "Short form",
            "primary_metric": "clicks",
            "variants": [arm(f"v{i}", "long") for i in range(9)],
        }
    )
    said = " ".join(seen.unlike(strange))
    assert "the type 'pricing'" in said
    assert "number of variants is 8: in past experiments it was 1 to 2" in said
    assert "hypothesis" not in said  # none was given: that is no length
