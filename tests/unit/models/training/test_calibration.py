import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from neonblue_lab.errors import BadInput
from neonblue_lab.models.training.calibration import (
    Isotonic,
    Platt,
    Temperature,
    best_calibrator,
    calibrator_from_dict,
    expected_calibration_error,
    reliability,
)
from neonblue_lab.models.training.scores import brier

KINDS = (Platt, Isotonic, Temperature)
rng = np.random.default_rng(5)
TRUTH = rng.beta(2, 2, size=4000)
Y = (rng.random(4000) < TRUTH).astype(float)
TOO_SURE = expit(2.5 * logit(TRUTH))


@pytest.mark.parametrize(("by", "strategy"), [("quantile", "quantile"), ("width", "uniform")])
def test_reliability_is_that_of_scikit_learn(by, strategy):
    ours = reliability(TOO_SURE, Y, by=by)
    observed, predicted = calibration_curve(Y, TOO_SURE, n_bins=10, strategy=strategy)
    assert ours["observed"].to_numpy() == pytest.approx(observed, abs=1e-12)
    assert ours["predicted"].to_numpy() == pytest.approx(predicted, abs=1e-12)
    assert ours["count"].sum() == 4000


def test_the_interval_of_a_group_is_wilsons():
    row = reliability(np.full(40, 0.3), np.r_[np.ones(9), np.zeros(31)]).row(0, named=True)
    wilson = binomtest(9, 40).proportion_ci(method="wilson")
    assert (row["low"], row["high"]) == pytest.approx((wilson.low, wilson.high), abs=1e-12)


def test_calibrated_probabilities_err_less_than_those_of_a_model_that_is_too_sure():
    assert expected_calibration_error(TRUTH, Y) < 0.03
    assert expected_calibration_error(TOO_SURE, Y) > 0.1


def test_platt_is_logistic_regression_with_platts_targets():
    positive = Y.sum()
    high, low = (positive + 1) / (positive + 2), 1 / (len(Y) - positive + 2)
    target = np.where(Y == 1, high, low)
    features = np.r_[logit(TOO_SURE), logit(TOO_SURE)].reshape(-1, 1)
    weights = np.r_[target, 1 - target]
    peer = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    peer.fit(features, np.r_[np.ones(4000), np.zeros(4000)], sample_weight=weights)
    ours = Platt.fit(TOO_SURE, Y)
    assert (ours.slope, ours.intercept) == pytest.approx((peer.coef_[0, 0], peer.intercept_[0]), abs=1e-4)


def test_isotonic_is_that_of_scikit_learn_but_never_certain():
    peer = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(TOO_SURE, Y)
    at = np.linspace(0, 1, 101)
    assert Isotonic.fit(TOO_SURE, Y).apply(at) == pytest.approx(np.clip(peer.predict(at), 1 / 4002, 4001 / 4002))


def test_temperature_finds_what_made_the_probabilities_too_sure():
    assert Temperature.fit(TOO_SURE, Y).temperature == pytest.approx(2.5, rel=0.1)


def test_temperature_of_classes_finds_it_too_and_keeps_the_order():
    scores = rng.normal(size=(5000, 4))
    truth = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    label = np.array([rng.choice(4, p=row) for row in truth])
    stated = truth**3 / (truth**3).sum(axis=1, keepdims=True)
    fitted = Temperature.fit(stated, label)
    assert fitted.temperature == pytest.approx(3, rel=0.1)
    calibrated = fitted.apply(stated)
    assert calibrated.sum(axis=1) == pytest.approx(1)
    assert (calibrated.argmax(axis=1) == stated.argmax(axis=1)).all()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=60),
    st.sampled_from(KINDS),
    st.lists(st.floats(0, 1), min_size=2, max_size=20),
)
def test_calibrators_are_monotone_and_come_back_from_json(rows, kind, asked):
    p, y = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    fitted = kind.fit(p, y)
    at = np.sort(asked)
    calibrated = fitted.apply(at)
    assert (np.diff(calibrated) >= -1e-12).all()
    assert ((calibrated >= 0) & (calibrated <= 1)).all()
    again = calibrator_from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert type(again) is kind
    assert (again.apply(at) == calibrated).all()


@given(st.floats(0.01, 0.99), st.floats(0.1, 10))
def test_temperature_treats_both_sides_alike(p, temperature):
    scaled = Temperature(temperature).apply([p, 1 - p])
    assert scaled.sum() == pytest.approx(1)


def test_the_best_calibrator_helps_where_it_can_and_stays_away_where_not():
    groups = np.arange(4000) // 4
    best = best_calibrator(TOO_SURE, Y, groups, seed=1)
    assert best is not None
    assert brier(Y, best.apply(TOO_SURE)) < brier(Y, TOO_SURE) - 0.01
    assert best_calibrator(TRUTH, Y, groups, seed=1) is None


def test_what_is_no_probability_is_refused():
    for call in (reliability, Platt.fit, Isotonic.fit, Temperature.fit):
        with pytest.raises(BadInput, match="between 0 and 1"):
            call([0.5, 1.2], [0, 1])
        with pytest.raises(BadInput, match="do not belong together"):
            call([0.5], [0, 1])
    with pytest.raises(BadInput, match="platt, isotonic, temperature"):
        calibrator_from_dict({"kind": "magic"})
