"""What is planted is flagged as what it is, what is ordinary seldom is, and an anomaly does not spoil what comes after."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.models.trends.anomalies import DROP, MISSING, SHIFT, SPIKE, anomalies

WEEKDAYS = np.array([1.0, 1.1, 1.05, 1.0, 0.95, 0.7, 0.65])
START = datetime(2025, 1, 1, tzinfo=UTC)


def _frame(values):
    return pl.DataFrame({"timestamp": [START + timedelta(days=i) for i in range(len(values))], "value": values})


def _ordinary(rng, kind="normal", count=300):
    base = 1000 * WEEKDAYS[np.arange(count) % 7] * (1 + 0.001 * np.arange(count))
    if kind == "poisson":
        return rng.poisson(base / 100).astype(float)
    noise = rng.standard_t(4, size=count) if kind == "heavy tails" else rng.normal(size=count)
    return base * np.exp(0.06 * noise)


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "poisson"])
@pytest.mark.parametrize("promised", [0.002, 0.01])
def test_false_alarms_are_about_as_rare_as_promised(kind, promised):
    rng = np.random.default_rng(1)
    flagged = looked_at = 0
    for _ in range(40):
        frame = anomalies(_frame(_ordinary(rng, kind)), false_alarms=promised)
        flagged += frame["kind"].is_not_null().sum()
        looked_at += frame["score"].is_not_null().sum()
    assert looked_at > 10_000
    assert flagged / looked_at < 3 * promised


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (SPIKE, lambda values, at: np.multiply.at(values, at, 1.8)),
        (DROP, lambda values, at: np.multiply.at(values, at, 0.4)),
        (SHIFT, lambda values, at: np.multiply.at(values, np.arange(at, len(values)), 1.8)),
    ],
)
def test_what_is_planted_is_found_and_called_by_its_name(kind, change):
    rng = np.random.default_rng(2)
    found = after = 0
    for _ in range(40):
        values = _ordinary(rng)
        place = int(rng.integers(100, 280))
        change(values, place)
        kinds = anomalies(_frame(values))["kind"]
        found += kinds[place] == kind
        after += kinds[place + 1 : place + 15].is_not_null().sum()
    assert found >= 36
    assert after <= 8  # 1.4 % of 560


def test_an_anomaly_moves_neither_the_expectation_nor_its_limits_much():
    values = _ordinary(np.random.default_rng(3))
    before = anomalies(_frame(values))
    values[200] *= 50
    after = anomalies(_frame(values))
    assert after["kind"][200] == SPIKE
    later = slice(201, None)
    for column in ("expected", "low", "high"):
        ratio = after[column][later].to_numpy() / before[column][later].to_numpy()
        assert np.abs(ratio - 1).max() < 0.15


def test_nothing_is_known_before_twenty_errors_and_of_what_is_missing():
    series = _frame(_ordinary(np.random.default_rng(4), count=60))
    frame = anomalies(series.filter(pl.col("timestamp") != START + timedelta(days=50)))
    assert frame.height == 60
    assert frame["kind"][50] == MISSING
    assert frame["value"][50] is None
    assert frame["low"][:20].null_count() == 20
    assert frame["low"][-5:].null_count() == 0
    assert anomalies(_frame([4.0] * 30))["kind"].null_count() == 30


@pytest.mark.parametrize("share", [0.0, 0.5, -1.0])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(BadInput, match="false_alarms"):
        anomalies(_frame([1.0, 2.0, 3.0]), false_alarms=share)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([5.0] * 40 + [50.0] + [5.0] * 5, SPIKE),
        ([5.0] * 40 + [0.0] + [5.0] * 5, DROP),
        ([5.0] * 40 + [0.0] * 9, SHIFT),
        ([0.0] * 40 + [7.0] + [0.0] * 9, SPIKE),
    ],
)
def test_the_first_move_of_a_series_that_never_moved_is_flagged_and_nothing_else(values, kind):
    found = anomalies(_frame(values))
    assert found["kind"].to_list() == [None] * 40 + [kind] + [None] * (len(values) - 41)
    assert found["score"].is_finite().all()


def test_rounding_is_no_move():
    assert anomalies(_frame([0.1 + 0.2, 0.3] * 30))["kind"].is_null().all()


def test_counts_that_are_nearly_always_zero_are_flagged_as_seldom_as_promised():
    rng = np.random.default_rng(1)
    frames = [anomalies(_frame(rng.poisson(0.05, 300).astype(float)), false_alarms=0.002) for _ in range(30)]
    flagged = sum(frame["kind"].is_not_null().sum() for frame in frames)
    assert flagged / sum(frame["score"].is_not_null().sum() for frame in frames) < 3 * 0.002
