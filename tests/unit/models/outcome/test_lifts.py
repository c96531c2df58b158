"""Lifts to be expected, against simulation and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from neonblue_lab.models.outcome.lifts import ASSUMED_SPREAD, Lifts
from neonblue_lab.stats.normal_mixtures import NormalMixtures
from neonblue_lab.stats.shrinkage import ProgrammePrior

PRIOR = ProgrammePrior(np.array([0.3, 0.5, 0.2]), np.array([0.0, 0.01, 0.02]), np.array([0.0, 0.02, 0.15]), 80, 0.0)


def test_points_have_the_moments_and_quantiles_of_the_prior() -> None:
    lifts, mixture = Lifts.of(PRIOR), NormalMixtures(PRIOR.weight, PRIOR.mean, PRIOR.sd)
    assert lifts.expected() == pytest.approx(np.expm1(float(mixture.expected())), abs=1e-4)
    low, high = lifts.interval()
    assert (low, high) == pytest.approx([np.expm1(float(mixture.quantile(p))) for p in (0.025, 0.975)], abs=5e-3)
    above = 1 - float(mixture.at_most(0.0))
    assert lifts.chance_to_beat == pytest.approx(above + 0.15, abs=2e-3)


@given(st.floats(-4, 4))
def test_a_tilt_multiplies_the_odds_of_a_gain(log_odds: float) -> None:
    lifts = Lifts.of(None)
    chance = lifts.tilted(log_odds).chance_to_beat
    assert np.log(chance / (1 - chance)) == pytest.approx(log_odds, abs=1e-6)


def test_less_is_better_turns_gains_but_not_lifts_round() -> None:
    more, less = Lifts.of(PRIOR), Lifts.of(PRIOR, sign=-1)
    assert less.chance_to_beat == pytest.approx(1 - more.chance_to_beat)
    assert less.expected() == pytest.approx(more.expected())
    assert less.interval() == pytest.approx(more.interval(), abs=1e-6)


def test_assurance_is_how_often_simulated_experiments_come_out_clear() -> None:
    rng = np.random.default_rng(3)
    component = rng.choice(3, p=PRIOR.weight, size=400_000)
    truth = rng.normal(PRIOR.mean[component], PRIOR.sd[component])
    z = rng.normal(truth, 0.03) / 0.03
    win, loss = Lifts.of(PRIOR).assurance(0.03)
    assert (win, loss) == pytest.approx((np.mean(z > norm.ppf(0.975)), np.mean(z < norm.ppf(0.025))), abs=3e-3)


def test_assurance_of_a_normal_prior_is_the_closed_form() -> None:
    # O'Hagan, Stevens and Campbell (2005), equation 3: z of the sum of both variances.
    win, _ = Lifts.of(None).assurance(0.05)
    assert win == pytest.approx(norm.sf(1.959964 * 0.05 / np.hypot(0.05, ASSUMED_SPREAD)), abs=1e-3)
