import json
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy, ks_2samp

from neonblue_lab.errors import BadInput
from neonblue_lab.models.training.drift import Profile, drift, population_stability, stability

rng = np.random.default_rng(3)
BEFORE = pl.DataFrame(
    {
        "age": rng.normal(40, 10, 2000),
        "device": rng.choice(["mobile", "desktop"], 2000, p=[0.6, 0.4]),
        "returning": rng.random(2000) < 0.5,
    }
)


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=12), st.data())
def test_stability_is_the_kullback_leibler_divergence_both_ways(expected, data):
    actual = data.draw(st.lists(st.integers(1, 1000), min_size=len(expected), max_size=len(expected)))
    assert stability(expected, actual) == pytest.approx(
        entropy(expected, actual) + entropy(actual, expected), abs=2e-3, rel=1e-2
    )


def test_a_worked_example():
    # Shares .5/.5 against .6/.4: .1 * ln(1.2) - .1 * ln(.8).
    assert stability([50, 50], [60, 40]) == pytest.approx(0.1 * np.log(1.2) - 0.1 * np.log(0.8), abs=1e-15)


def test_what_stays_is_small_and_what_moves_is_large_and_comes_first():
    now = BEFORE.sample(fraction=1, shuffle=True, seed=1).with_columns(age=pl.col("age") + 15)
    table = drift(BEFORE, now)
    assert table["feature"].to_list()[0] == "age"
    rows = table.rows_by_key("feature", named=True, unique=True)
    assert rows["age"]["psi"] > 1
    assert rows["age"]["ks"] == pytest.approx(ks_2samp(BEFORE["age"], now["age"]).statistic, abs=1e-12)
    assert rows["device"]["psi"] == rows["returning"]["psi"] == 0
    assert rows["device"]["ks"] is None


def test_a_profile_tells_the_same_without_the_rows():
    now = BEFORE.with_columns(device=pl.when(pl.col("age") > 45).then(None).otherwise(pl.lit("watch")))
    profile = Profile.from_dict(json.loads(json.dumps(Profile.of(BEFORE).to_dict())))
    with_rows, without = drift(BEFORE, now), drift(profile, now)
    assert without["psi"].to_list() == with_rows["psi"].to_list()
    device = without.row(by_predicate=pl.col("feature") == "device", named=True)
    assert device["psi"] > 1
    assert device["missing_reference"] == 0
    assert device["missing_current"] == pytest.approx((BEFORE["age"] > 45).mean())


@given(st.lists(st.one_of(st.none(), st.floats(allow_infinity=False)), min_size=1, max_size=50))
def test_a_feature_has_not_drifted_from_itself(values):
    column = pl.Series("x", values, dtype=pl.Float64)
    assert population_stability(column, column) == 0


def test_what_drift_cannot_be_told_of_is_said():
    with pytest.raises(BadInput, match="'day' is of type Date"):
        Profile.of(pl.DataFrame({"day": [date(2026, 1, 1)]}))
    with pytest.raises(BadInput, match="columns age, device, returning are missing"):
        drift(BEFORE, pl.DataFrame({"x": [1]}))
    with pytest.raises(BadInput, match="no rows"):
        drift(BEFORE, BEFORE.clear())
