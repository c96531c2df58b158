"""A planned experiment is answered from a known past: what the numbers are, and where each comes from."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import numpy as np
import polars as pl
import pytest

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.insights.experiments import Experiments
from neonblue_lab.insights.planned import ExperimentConfig
from neonblue_lab.insights.precedents import suggestions
from neonblue_lab.insights.predicted import OutcomePrediction
from neonblue_lab.insights.prediction import predict_outcome
from neonblue_lab.models.outcome.pairs import pairs
from neonblue_lab.models.outcome.predictor import OutcomePredictor, train
from neonblue_lab.stats.power import Baseline, Design, sample_size

START = datetime(2026, 1, 5, tzinfo=UTC)
WINS, LOSSES, FLATS = 6, 3, 9
TWO = {"variants": [{"name": "a"}, {"name": "b"}]}
UNITS = 20_000
"""In each arm of every past experiment, with a rate of 0.1 in the control."""

Rows = Callable[..., dict[str, list[dict[str, Any]]]]


def past(rows: Rows) -> list[dict[str, list[dict[str, Any]]]]:
    """Experiments whose outcomes are beyond doubt, and one with a broken split."""
    lifts = [0.2] * WINS + [-0.15] * LOSSES + [0.0] * FLATS
    made = []
    for place, lift in enumerate(lifts):
        rate = {"old": (UNITS, 0.1), "new": (UNITS, 0.1 * (1 + lift))}
        basket = {"old": (UNITS, 50.0, 900.0), "new": (UNITS, 50.0, 900.0)}
        made.append(
            rows(
                f"e{place:02d}",
                {"rate": rate, "basket": basket},
                name=f"Experiment {place}",
                experiment_type="checkout" if place % 2 == 0 else "copy",
                user_segment="new users" if place < 4 else "all users",
                industry="travel",
                primary_metric="rate",
                started_at=START + timedelta(days=place),
                ended_at=START + timedelta(days=place + 14),
            )
        )
    broken = {"rate": {"old": (UNITS, 0.1), "new": (UNITS // 2, 0.1)}}
    fields = {"experiment_type": "checkout", "user_segment": "new users", "started_at": START}
    return [*made, rows("broken", broken, name="Broken", primary_metric="rate", **fields)]


@pytest.fixture(scope="module")
def experiments(experiments_of: Callable[..., Experiments], rows: Rows) -> Experiments:
    return experiments_of(*past(rows))


@pytest.fixture(scope="module")
def predictor(experiments: Experiments) -> OutcomePredictor:
    return train(experiments.history(), pairs(experiments.text_arms()), embed=None, seed=1)[0]


@pytest.fixture(scope="module")
def predict(experiments: Experiments, predictor: OutcomePredictor) -> Callable[..., OutcomePrediction]:
    def of(**config: Any) -> OutcomePrediction:
        variants = config.pop("variants", [{"name": "old"}, {"name": "new"}])
        planned = ExperimentConfig.read({"variants": variants, "primary_metric": "rate", **config})
        return predict_outcome(planned, experiments, predictor, predictor_name="outcome_predictor@1")

    return of


def test_few_experiments_give_base_rates_with_wide_intervals_and_say_so(
    predict: Callable[..., OutcomePrediction],
) -> None:
    said = predict(experiment_type="copy")
    win, flat, loss = (row.probability for row in said.outcome_probabilities)
    counted = np.array([WINS, FLATS, LOSSES]) + 0.5
    assert (win, flat, loss) == pytest.approx(tuple(counted / counted.sum()))
    assert said.predicted_outcome == "flat"
    assert said.confidence == flat
    first = said.outcome_probabilities[0]
    assert first.high - first.low > 0.35
    assert said.basis.outcome_model == "base rates"
    assert said.basis.outcomes == {"win": WINS, "flat": FLATS, "loss": LOSSES}
    assert "Only 18 finished experiments" in " ".join(said.basis.notes)
    assert "Only 18 finished experiments" in str(said)


def test_the_lift_is_that_of_the_programmes_prior(
    experiments: Experiments, predict: Callable[..., OutcomePrediction]
) -> None:
    (variant,) = predict().variants
    prior = experiments.priors["rate"]
    assert variant.expected_lift == pytest.approx(np.expm1(float(prior.weight @ prior.mean)), abs=1e-4)
    assert variant.lift_low < 0 < variant.lift_high
    assert variant.chance_to_beat_control > 0.5  # more have won than lost
    assert "learned from 18 comparisons" in predict().basis.prior


def test_the_size_is_that_of_the_planner_and_an_uneven_split_costs_more(
    predict: Callable[..., OutcomePrediction],
) -> None:
    design = Design(alpha=0.05)
    needed = sample_size(Baseline.of_proportion(0.1), effect=0.1 * 0.05, power=0.8, design=design)
    even = predict(lift=0.05)
    assert even.recommended_sample_size == pytest.approx(float(needed.total), abs=2)
    assert even.estimated_duration is None
    assert "arrives as aggregates" in " ".join(even.basis.notes)
    uneven = predict(lift=0.05, variants=[{"name": "old", "allocation": 0.9}, {"name": "new", "allocation": 0.1}])
    assert uneven.recommended_sample_size is not None
    # (1/.9 + 1/.1) / (1/.5 + 1/.5) times as many.
    assert uneven.recommended_sample_size / float(needed.total) == pytest.approx((1 / 0.9 + 10) / 4, rel=1e-3)
    assert [risk.kind for risk in uneven.risk_factors][:1] == ["uneven split"]


def test_fewer_units_make_a_clear_result_less_likely_and_are_a_risk(predict: Callable[..., OutcomePrediction]) -> None:
    usual, small, large = (predict(planned_size=size) for size in (2 * UNITS, 2_000, 400_000))
    win = [said.outcome_probabilities[0].probability for said in (small, usual, large)]
    assert win[0] < win[1] < win[2]
    assert win[1] == pytest.approx(predict().outcome_probabilities[0].probability, rel=0.02)
    assert all(
        sum(row.probability for row in said.outcome_probabilities) == pytest.approx(1) for said in (small, large)
    )
    (risk,) = (risk for risk in small.risk_factors if risk.kind == "low power")
    assert "With 2,000 units a lift of +5.0% is found with a power of 7% only" in risk.text
    assert "low power" not in {risk.kind for risk in large.risk_factors}


def test_splits_that_broke_before_are_a_risk_for_their_like(predict: Callable[..., OutcomePrediction]) -> None:
    texts = [risk.text for risk in predict(experiment_type="checkout", user_segment="new users").risk_factors]
    assert any("broke in 1 of 10 past experiments of the type checkout (broken)" in text for text in texts)
    assert any("broke in 1 of 5 past experiments on the segment new users" in text for text in texts)
    assert not predict(experiment_type="copy", user_segment="all users").risk_factors


def test_suggestions_are_what_won_where_most_is_shared(predict: Callable[..., OutcomePrediction]) -> None:
    found = predict(experiment_type="copy", user_segment="new users", industry="travel").optimization_suggestions
    assert [one.experiment_id for one in found[:2]] == ["e01", "e03"]
    assert found[0].shared == ["experiment_type", "user_segment", "industry"]
    assert found[0].measured_lift == pytest.approx(0.2)
    assert found[0].expected_lift is not None
    assert 0 < found[0].expected_lift < 0.2  # drawn back
    assert predict(industry="space").optimization_suggestions == []


def test_what_wins_in_a_test_of_the_testing_is_no_suggestion(experiments: Experiments) -> None:
    named = experiments.documents().with_columns(name=pl.lit("A/A check of the form"))
    assert suggestions(named, experiments.shrunk("rate"), "rate", "copy", None, None) == []


def test_what_was_never_seen_is_said(predict: Callable[..., OutcomePrediction]) -> None:
    said = predict(experiment_type="holograms", variants=[{"name": f"v{i}"} for i in range(6)])
    assert any("the type 'holograms'" in sentence for sentence in said.unlike_anything_seen)
    assert any("number of variants is 5" in sentence for sentence in said.unlike_anything_seen)


def test_a_metric_of_which_nothing_is_known_gets_an_assumed_prior(
    experiments_of: Callable[..., Experiments], rows: Rows
) -> None:
    one = rows("e", {"rate": {"old": (100, 0.1), "new": (100, 0.1)}}, started_at=START, primary_metric="rate")
    experiments = experiments_of(one)
    predictor = train(experiments.history(), pairs(experiments.text_arms()), embed=None, seed=1)[0]
    config = ExperimentConfig.read({"variants": [{"name": "old"}, {"name": "new"}], "primary_metric": "basket"})
    said = predict_outcome(config, experiments, predictor, predictor_name="outcome_predictor@1")
    assert said.recommended_sample_size is None
    assert "assumed prior" in said.basis.prior
    assert said.variants[0].chance_to_beat_control == pytest.approx(0.5)
    assert "no baseline to plan with" in " ".join(said.basis.notes)


def test_the_usual_metric_is_taken_where_none_is_stated(predict: Callable[..., OutcomePrediction]) -> None:
    assert predict(primary_metric=None).metric == "rate"
    with pytest.raises(NotFound, match="There is no metric rat; there are basket, errors, latency, rate"):
        predict(primary_metric="rat")


def test_a_text_that_draws_more_moves_odds_from_loss_to_win(
    experiments: Experiments, predictor: OutcomePredictor, predict: Callable[..., OutcomePrediction]
) -> None:
    class Texts:
        """Knows that a question draws more with a chance of 0.8."""

        def chance(self, a: list[str], b: list[str]) -> np.ndarray:
            return np.array([0.8 if "?" in text else 0.5 for text in a])

        def novelty(self, texts: list[str]) -> np.ndarray:
            return np.array([0.99 if "zyx" in text else 0.5 for text in texts])

    knowing = replace(predictor, texts=Texts())  # type: ignore[arg-type]

    def asked(*variants: dict[str, str]) -> OutcomePrediction:
        config = ExperimentConfig.read({"variants": [{"name": "Old text"}, *variants], "primary_metric": "rate"})
        return predict_outcome(config, experiments, knowing, predictor_name="outcome_predictor@1")

    without, said = predict(), asked({"name": "Is it new?"}, {"name": "zyx?", "description": "another picture"})
    question, other = said.variants
    assert (question.text_chance, other.text_chance) == (0.8, None)  # of what differs in more, texts tell nothing
    plain = without.variants[0].chance_to_beat_control
    assert question.chance_to_beat_control == pytest.approx(4 * plain / (1 + 3 * plain))
    assert other.chance_to_beat_control == pytest.approx(plain)
    before, after = ([row.probability for row in one.outcome_probabilities] for one in (without, said))
    assert after[1] == pytest.approx(before[1])  # flat stays
    assert (after[0] / after[2]) / (before[0] / before[2]) == pytest.approx(4)
    assert any("'zyx?' is more unlike past texts" in sentence for sentence in said.unlike_anything_seen)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({}, "variants: Field required"),
        ({"variants": [{"name": "a"}]}, "variants: List should have at least 2 items"),
        ({"variants": [{"name": "a"}, {"name": "b"}], "metric": "rate"}, "metric: Extra inputs are not permitted"),
        (
            {"variants": [{"name": "a", "allocation": -1}, {"name": "b"}]},
            "variants.0.allocation: Input should be greater",
        ),
        ({**TWO, "lift": math.nan}, "lift: Input should be a finite number"),
        ({**TWO, "lift": 0.0}, "a lift closer to 0 than 0.0001 cannot be found"),
        ({**TWO, "lift": 1e-300}, "a lift closer to 0 than 0.0001 cannot be found"),
        ({**TWO, "planned_size": 10**400}, "planned_size: Input should be less than or equal to 1000000000000"),
        ({**TWO, "hypothesis": "half \ud800"}, "hypothesis: Value error, it holds half of a surrogate pair"),
        ({"variants": [{"name": "a"}, {"allocation": math.inf}]}, "variants.1.allocation: Input should be less"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_told_field_by_field(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match="no configuration of an experiment") as error:
        ExperimentConfig.read(config)
    assert reason in str(error.value)
    assert "primary_metric" in str(error.value)


@pytest.mark.parametrize(
    ("allocations", "notes"),
    [
        ([None, None], []),
        ([0.5, 0.5], []),
        ([90, 10], []),
        (
            [0.5, 0.9],
            ["The allocations add up to 1.4, neither to 1 nor to 100: they were taken as weights, 35.7%, 64.3%."],
        ),
        ([0.3, None], ["Only some of the variants state an allocation: equal shares were taken for all."]),
    ],
)
def test_what_is_made_of_allocations_is_said(
    experiments: Experiments, predictor: OutcomePredictor, allocations: list[float | None], notes: list[str]
) -> None:
    variants = [{"name": name, "allocation": share} for name, share in zip("ab", allocations, strict=True)]
    planned = ExperimentConfig.read({"variants": variants, "primary_metric": "rate"})
    said = predict_outcome(planned, experiments, predictor, predictor_name="outcome_predictor@1")
    assert [note for note in said.basis.notes if "llocation" in note] == notes


def test_a_prediction_shows_in_a_notebook_what_it_prints(experiments: Experiments, predictor: OutcomePredictor) -> None:
    planned = ExperimentConfig.read({"variants": [{"name": "a"}, {"name": "<b>"}], "primary_metric": "rate"})
    said = predict_outcome(planned, experiments, predictor, predictor_name="outcome_predictor@1")
    page = said._repr_html_()
    assert "&lt;b&gt;: beats the control with a chance of" in page
    for sentence in [*said.unlike_anything_seen, *said.basis.notes]:
        assert sentence in str(said)
        assert escape(sentence) in page
    assert f"{said.basis.experiments} (" in str(said.basis)
    assert "outcome_predictor@1" in said.basis._repr_html_()


@pytest.mark.parametrize("config", [[1], "variants", None])
def test_what_is_no_mapping_is_no_configuration(config: Any) -> None:
    with pytest.raises(BadInput, match="is a mapping of fields"):
        ExperimentConfig.read(config)


@pytest.mark.parametrize(
    "config",
    [
        {"planned_size": 1},
        {"planned_size": 10**12},
        {"planned_days": 10**12, "share": 1e-9},
        {"lift": -1.0, "power": 0.999999},
        {"variants": [{"name": "a", "allocation": 1e-6}, {"name": "b", "allocation": 1e6}], "planned_size": 1000},
        {"variants": [{"name": f"v{place}"} for place in range(50)], "planned_size": 10},
        {
            "variants": [{}, {"name": "", "description": "\0\u202e" * 9}],
            "name": "",
            "experiment_type": "'; DROP TABLE x",
        },
    ],
)
def test_every_number_of_an_extreme_plan_is_finite_and_within_its_interval(
    experiments: Experiments, predictor: OutcomePredictor, config: dict[str, Any]
) -> None:
    planned = ExperimentConfig.read({**TWO, "primary_metric": "rate"} | config)
    said = predict_outcome(planned, experiments, predictor, predictor_name="outcome_predictor@1")
    json.dumps(said.model_dump(), allow_nan=False)
    for row in said.outcome_probabilities:
        assert 0 <= row.low <= row.probability <= row.high <= 1
    assert sum(row.probability for row in said.outcome_probabilities) == pytest.approx(1)
