"""Scores against scikit-learn's; the coverage of their intervals by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from neonblue_lab.errors import BadInput
from neonblue_lab.models.training import scores

EXACT = 1e-12
rng = np.random.default_rng(7)
LABELS = np.array(["high", "low", "medium"])
ACTUAL, PREDICTED = LABELS[rng.integers(3, size=500)], LABELS[rng.integers(3, size=500)]
WEIGHTS = rng.random(500)
P = np.round(rng.random(500), 2)  # rounded: with ties
Y = (rng.random(500) < P).astype(float)
CLASSES = rng.dirichlet(np.ones(30), size=500)
TRUTH = rng.integers(30, size=500)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_scores_are_those_of_scikit_learn(weights):
    def of(function, *columns):
        return pytest.approx(function(*columns, sample_weight=weights), abs=EXACT)

    assert scores.accuracy(ACTUAL, PREDICTED, weights) == of(metrics.accuracy_score, ACTUAL, PREDICTED)
    f1 = metrics.f1_score(ACTUAL, PREDICTED, average="macro", sample_weight=weights)
    assert scores.macro_f1(ACTUAL, PREDICTED, weights) == pytest.approx(f1, abs=EXACT)
    assert scores.auc(Y, P, weights) == of(metrics.roc_auc_score, Y, P)
    assert scores.brier(Y, P, weights) == of(metrics.brier_score_loss, Y, P)
    assert scores.log_loss(Y, P, weights) == of(metrics.log_loss, Y, P)
    assert scores.log_loss(TRUTH, CLASSES, weights) == of(metrics.log_loss, TRUTH, CLASSES)


def test_a_label_that_is_only_predicted_counts_in_macro_f1():
    actual, predicted = ["a", "a", "b"], ["a", "c", "b"]
    assert scores.macro_f1(actual, predicted) == pytest.approx(
        metrics.f1_score(actual, predicted, average="macro"), abs=EXACT
    )


@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.9])
def test_pinball_is_that_of_scikit_learn(quantile):
    actual, forecast = rng.normal(size=100), rng.normal(size=100)
    assert scores.pinball(actual, forecast, quantile) == pytest.approx(
        metrics.mean_pinball_loss(actual, forecast, alpha=quantile), abs=EXACT
    )


@pytest.mark.parametrize("k", [1, 5, 20])
def test_ranking_scores_are_those_of_scikit_learn(k):
    ranked = np.argsort(-CLASSES, axis=1)
    hits = ranked == TRUTH[:, None]
    assert scores.recall_at(hits, k) == pytest.approx(
        metrics.top_k_accuracy_score(TRUTH, CLASSES, k=k, labels=range(30)), abs=EXACT
    )
    everything = metrics.label_ranking_average_precision_score(np.eye(30)[TRUTH], CLASSES)
    assert scores.mrr_at(hits, 30) == pytest.approx(everything, abs=EXACT)
    assert scores.mrr_at(hits, k) <= everything


def test_recall_counts_all_that_is_relevant():
    hits = [[True, False, True], [False, False, False]]
    assert scores.recalls(hits, 3, relevant=[4, 2]).tolist() == [0.5, 0.0]
    assert scores.reciprocal_ranks([[False, True], [False, False]], 2).tolist() == [0.5, 0.0]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=30))
def test_soft_outcomes_are_shares_of_a_positive_and_a_negative(rows):
    soft, p = (np.array(column) for column in zip(*rows, strict=True))
    hard, twice = np.r_[np.ones(len(p)), np.zeros(len(p))], np.r_[p, p]
    assert scores.auc(soft, p) == pytest.approx(scores.auc(hard, twice, np.r_[soft, 1 - soft]), abs=1e-9, nan_ok=True)


def test_auc_of_one_class_is_nothing():
    assert np.isnan(scores.auc([1, 1], [0.2, 0.3]))


def test_the_interval_of_a_mean_is_that_of_the_general_bootstrap():
    values, groups = rng.normal(size=300), np.arange(300) // 5
    mean = scores.mean_score(values, groups, seed=3, resamples=2000)
    general = scores.bootstrap(lambda column: float(np.mean(column)), values, groups=groups, seed=4, resamples=2000)
    assert mean.value == general.value == pytest.approx(values.mean())
    assert (mean.low, mean.high) == pytest.approx((general.low, general.high), abs=0.02)


def test_intervals_cover_the_truth_of_clustered_rows_as_often_as_they_say():
    """200 simulated data sets of 60 users with 10 like rows each; the truth is 0."""
    draws = np.random.default_rng(11)
    groups = np.repeat(np.arange(60), 10)
    by_user, by_row = 0, 0
    for seed in range(200):
        values = np.repeat(draws.normal(size=60), 10) + draws.normal(size=600)
        clustered = scores.mean_score(values, groups, seed=seed, resamples=400)
        alone = scores.mean_score(values, seed=seed, resamples=400)
        by_user += clustered.low <= 0 <= clustered.high
        by_row += alone.low <= 0 <= alone.high
    assert 0.90 <= by_user / 200 <= 0.99  # 95 % +- 3.2 standard errors
    assert by_row / 200 < 0.75  # what ignoring the users would have claimed


def test_a_score_that_is_mostly_undefined_has_no_interval():
    score = scores.bootstrap(scores.auc, [1, 0, 0], [0.9, 0.2, 0.3], seed=1)
    assert score.value == 1.0
    assert np.isnan(score.low)
    assert np.isnan(score.high)


def test_a_score_reads_with_its_interval():
    assert str(scores.Score(0.6128, 0.604, 0.6221, 100)) == "0.613 (0.604 to 0.622)"


def test_columns_that_do_not_belong_together_are_refused():
    with pytest.raises(BadInput, match=r"\(2,\).*\(1,\)"):
        scores.brier([0, 1], [0.5])
    with pytest.raises(BadInput, match="one length"):
        scores.bootstrap(scores.auc, [1, 0], [0.5], seed=1)
    with pytest.raises(BadInput, match="at least one row"):
        scores.mean_score([], seed=1)
