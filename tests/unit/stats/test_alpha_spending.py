"""Group-sequential boundaries are the published ones, and spend what they say they spend."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.alpha_spending import boundaries

EVEN = np.arange(1, 6) / 5
schedules = st.lists(st.floats(0.02, 1.0), min_size=2, max_size=5, unique_by=lambda t: round(t, 2)).map(sorted)


class TestPublishedNumbers:
    @pytest.mark.parametrize(
        ("kind", "published"),
        [
            ("obrien-fleming", [4.8769, 3.3570, 2.6803, 2.2898, 2.0310]),
            ("pocock", [2.4380, 2.4268, 2.4102, 2.3966, 2.3860]),
        ],
    )
    def test_five_even_looks_at_two_sided_005(self, kind, published):
        """Of the Lan-DeMets programs (Reboussin et al. 2000, Controlled Clinical Trials 21) and gsDesign."""
        np.testing.assert_allclose(boundaries(EVEN, 0.05, kind).z, published, atol=0.000051)

    @pytest.mark.parametrize(
        ("information", "alpha", "kind", "published"),
        [
            ([0.4, 0.75, 1], 0.13, "obrien-fleming", [2.1280732, 1.4368565, 1.2468994]),
            ([0.4, 0.75, 0.85, 1], 0.13, "obrien-fleming", [2.1280732, 1.4368565, 1.422873, 1.2970881]),
            ([0.35, 0.7, 1], 0.13, "pocock", [1.5446617, 1.4828682, 1.4620058]),
            ([0.4, 0.7], 0.025, "pocock", [2.223875, 2.3050796]),
        ],
    )
    def test_one_sided_designs_of_rpact(self, information, alpha, kind, published):
        """critical values of designs asOF and asP in the package's own tests (test-f_design_group_sequential.R)."""
        found = boundaries(information, alpha, kind, sides=1)
        np.testing.assert_allclose(found.z, published, rtol=2e-7)
        np.testing.assert_allclose(found.nominal_p, scipy.stats.norm.sf(published), rtol=2e-6)

    def test_alpha_spent_in_rpact(self):
        np.testing.assert_allclose(
            boundaries([0.4, 0.75, 1], 0.13, sides=1).spent, [0.016665509, 0.080406163, 0.13], rtol=1e-7
        )
        np.testing.assert_allclose(
            boundaries([0.35, 0.7, 1], 0.13, "pocock", sides=1).spent, [0.061214062, 0.10266465, 0.13], rtol=1e-7
        )


@settings(max_examples=20, deadline=None)
@given(schedules, st.sampled_from(["obrien-fleming", "pocock"]), st.sampled_from([1, 2]), st.floats(0.02, 0.3))
def test_what_is_spent_is_what_a_multivariate_normal_has_outside(information, kind, sides, alpha):
    found = boundaries(information, alpha, kind, sides=sides)
    times = np.array(information)
    correlation = np.sqrt(np.minimum.outer(times, times) / np.maximum.outer(times, times))
    for look in range(1, times.size + 1):
        upper = np.minimum(found.z[:look], 30)
        inside = scipy.stats.multivariate_normal(cov=correlation[:look, :look]).cdf(
            upper, lower_limit=-upper if sides == 2 else np.full(look, -np.inf), rng=np.random.default_rng(0)
        )
        assert 1 - inside == pytest.approx(found.spent[look - 1], abs=5e-5)


@pytest.mark.parametrize("kind", ["obrien-fleming", "pocock"])
def test_a_peek_every_day_of_four_weeks_costs_alpha_and_no_more(kind):
    """100,000 simulated experiments without an effect."""
    t = np.arange(1, 29) / 28
    sums = np.random.default_rng(31).normal(0, np.sqrt(1 / 28), (100_000, 28)).cumsum(axis=1)
    z = np.abs(sums / np.sqrt(t))
    found = boundaries(t, 0.05, kind)
    crossed = z >= found.z
    assert (z > 1.96).any(axis=1).mean() > 0.25
    assert crossed.any(axis=1).mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 100_000))
    assert crossed[:, :14].any(axis=1).mean() == pytest.approx(found.spent[13], abs=0.003)


def test_one_look_is_a_fixed_test():
    for kind in ("obrien-fleming", "pocock"):
        found = boundaries([1.0], 0.05, kind)
        assert found.z == pytest.approx(scipy.stats.norm.isf(0.025))
        assert found.nominal_p == pytest.approx(0.05)


def test_looks_not_made_and_looks_after_the_end():
    found = boundaries([[0.25, np.nan, 1.0, 1.3], [0.25, 1.0, 1.3, np.nan], [np.nan] * 4])
    kept = boundaries([0.25, 1.0])
    np.testing.assert_allclose(found.z[0], [kept.z[0], np.nan, kept.z[1], np.inf])
    np.testing.assert_allclose(found.z[1], [kept.z[0], kept.z[1], np.inf, np.nan])
    assert np.isnan(found.z[2]).all()
    np.testing.assert_array_equal(np.isnan(found.spent), np.isnan(found.z))
    assert found.nominal_p[0, 3] == 0


def test_a_first_look_at_next_to_nothing():
    found = boundaries([1e-9, 1e-4, 0.5, 1])
    assert found.z[0] == np.inf
    np.testing.assert_allclose(found.z[2:], boundaries([0.5, 1]).z, rtol=1e-9)


def test_many_schedules_at_once_and_hourly_looks():
    information = np.tile(np.arange(1, 29) / 28, (10_000, 1))
    information[1] *= 0.9
    z = boundaries(information).z
    assert z.shape == (10_000, 28)
    np.testing.assert_array_equal(z[0], z[9_999])
    assert z[1, 0] > z[0, 0]
    hourly = boundaries(np.arange(1, 337) / 336, kind="pocock").z
    assert np.isfinite(hourly).all()
    assert hourly[-1] > boundaries(np.arange(1, 29) / 28, kind="pocock").z[-1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: boundaries([0.5, 0.5]),
            "information at index 0 is 0: from look to look it must rise, by 0.01% at least",
        ),
        (lambda: boundaries([0.6, np.nan, 0.5]), "information at index 1"),
        (lambda: boundaries([0.0, 1.0]), "information at index 0 is 0: a share"),
        (lambda: boundaries(0.5), "one number a look along its last axis"),
        (lambda: boundaries([0.5], 1.5), r"alpha is 1\.5"),
        (lambda: boundaries([0.5], 0.6, sides=1), r"alpha is 0\.6 on one side"),
        (lambda: boundaries([0.5], kind="haybittle"), "kind is 'haybittle'"),
        (lambda: boundaries([0.5], sides=3), "sides is 3"),
    ],
)
def test_impossible_input_is_named(call, message):
    with pytest.raises(BadInput, match=message):
        call()
