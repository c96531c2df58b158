"""The behavioural score is what its formula says."""

import numpy as np
import pytest

from neonblue_lab.models.behaviour.score import Scoring, bands

LEARNED = np.linspace(0, 1, 101)


def test_a_score_is_half_intent_three_tenths_activity_and_two_tenths_freshness():
    scoring = Scoring.of(LEARNED, LEARNED * 100)
    middle = scoring.score(np.array([0.5]), [50], [7.0])[0]
    assert middle == pytest.approx(100 * (0.5 * 0.5 + 0.3 * 0.5 + 0.2 * 0.5), abs=1)
    best, worst = Scoring.of(LEARNED, 1 + LEARNED * 100).score(np.array([2.0, -1.0]), [1_000, 0], [0.0, np.inf])
    assert (best, worst) == (100, 0)


def test_it_rises_with_each_of_its_parts():
    scoring = Scoring.of(LEARNED, LEARNED * 100)
    base = scoring.score(np.array([0.4]), [40], [5.0])[0]
    assert scoring.score(np.array([0.6]), [40], [5.0])[0] > base
    assert scoring.score(np.array([0.4]), [60], [5.0])[0] > base
    assert scoring.score(np.array([0.4]), [40], [4.0])[0] > base


def test_without_an_intent_the_others_share_its_weight_and_it_still_reaches_a_hundred():
    scoring = Scoring.of(None, 1 + LEARNED * 100)
    assert scoring.score(None, [1_000], [0.0])[0] == pytest.approx(100)
    assert scoring.score(None, [0], [0.0])[0] == pytest.approx(40)
    assert Scoring.from_arrays(scoring.to_arrays()).score(None, [50], [3.0]) == scoring.score(None, [50], [3.0])


def test_bands_say_how_many_converted_at_which_score():
    found = bands(np.array([5.0, 15.0, 95.0, 85.0]), [0, 0, 1, 0])
    assert found["score"].to_list() == pytest.approx([10, 90])
    assert found["converted"].to_list() == [0, 0.5]
    assert found["moments"].to_list() == [2, 2]
