"""The planner agrees with published numbers, two other libraries, exact enumeration and simulation."""

import numpy as np
import pytest
import scipy.stats
import tea_tasting as tt
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import TTestIndPower
from tea_tasting.aggr import Aggregates

from neonblue_lab.errors import BadInput
from neonblue_lab.stats import Moments, two_proportions, welch
from neonblue_lab.stats.alpha_spending import boundaries
from neonblue_lab.stats.always_valid import critical_value
from neonblue_lab.stats.crossing import survival
from neonblue_lab.stats.joint import JointMoments
from neonblue_lab.stats.power import Baseline, Design, allocation, minimum_effect, power, sample_size
from neonblue_lab.stats.ratio import linearised

effects = st.floats(0.02, 2.0)
ratios = st.floats(0.1, 10.0)
alphas = st.floats(0.001, 0.2)
powers = st.floats(0.3, 0.99)
alternatives = st.sampled_from(["two-sided", "greater", "less"])


class TestPublishedNumbers:
    def test_units_for_an_effect(self, oracle):
        case = oracle("power", "n_for_effect")
        baseline = Baseline.of_mean(case["mean"], case["variance"])
        needed = sample_size(baseline, effect=case["effect"], power=case["power"], design=Design(alpha=case["alpha"]))
        assert needed.total == case["n_total"]

    def test_effect_for_units(self, oracle):
        case = oracle("power", "mde_for_n")
        found = minimum_effect(Baseline.of_mean(case["mean"], case["variance"]), n=case["n_total"])
        assert found == pytest.approx(case["mde"], abs=0.5e-10)

    def test_a_power_other_than_the_usual(self, oracle):
        case = oracle("power", "non_default_power")
        needed = sample_size(Baseline.of_mean(0.0, case["variance"]), effect=case["mde"], power=case["power"])
        assert needed.total == pytest.approx(case["n_total"], rel=0.005)

    @pytest.mark.parametrize(
        ("constant", "exponent", "inflation"), [(2.413, 0.0, 1.229), (2.040, 0.5, 1.028)], ids=["pocock", "fleming"]
    )
    def test_five_looks(self, constant, exponent, inflation):
        """Jennison & Turnbull (2000), "Group sequential methods", tables 2.1, 2.2 (power 0.8), 2.3 and 2.4."""
        information = np.arange(1, 6) / 5
        boundary = constant * information**-exponent
        assert survival(boundary, information, np.array(0.0))[-1] == pytest.approx(0.95, abs=2e-4)
        shift = (scipy.stats.norm.ppf(0.975) + scipy.stats.norm.ppf(0.8)) * np.sqrt(inflation)
        assert survival(boundary, information, np.array(shift))[-1] == pytest.approx(0.2, abs=5e-4)


class TestOtherLibraries:
    @settings(max_examples=500, deadline=None)
    @given(effects, st.integers(10, 100_000), ratios, alphas, alternatives, st.floats(0.01, 100))
    def test_power_is_that_of_tea_tasting(self, effect, n, ratio, alpha, alternative, variance):
        difference = effect * variance**0.5 * (-1 if alternative == "less" else 1)
        smaller = n * min(1, ratio) / (1 + ratio)
        if smaller < 2:
            n = int(np.ceil(n * 2 / smaller))
        metric = tt.Mean(
            "x", alternative=alternative, equal_var=False, use_t=True, alpha=alpha, ratio=ratio, n_obs=n,
            effect_size=difference,
        )  # fmt: skip
        (theirs,) = metric.solve_power_from_aggregates(_aggregates(n, variance), "power")
        design = Design(alpha=alpha, ratio=ratio, alternative=alternative)
        ours = power(Baseline.of_mean(3.0, variance), effect=difference, n=n, design=design)
        assume(not np.isnan(theirs.power))  # as scipy's far tail is where it is nearly 0
        assert ours == pytest.approx(theirs.power, abs=1e-9)

    @settings(max_examples=500, deadline=None)
    @given(effects, powers, alphas)
    def test_sample_size_is_the_fewest_by_statsmodels(self, effect, target, alpha):
        target = max(target, alpha + 0.1)
        found = sample_size(Baseline.of_mean(1.0, 4.0), effect=2 * effect, power=target, design=Design(alpha=alpha))
        enough, fewer = (TTestIndPower().power(effect, found.control - less, alpha) for less in (0, 1))
        assume(not np.isnan(enough))
        assert enough >= target - 1e-9
        assert found.control == 2 or not fewer >= target

    @settings(max_examples=200, deadline=None)
    @given(st.integers(20, 10**6), powers, alphas)
    def test_minimum_effect_has_the_power_by_statsmodels(self, n, target, alpha):
        target = max(target, alpha + 0.1)
        found = minimum_effect(Baseline.of_mean(1.0, 4.0), n=2 * n, power=target, design=Design(alpha=alpha))
        theirs = TTestIndPower().power(float(found) / 2, n, alpha)
        assume(not np.isnan(theirs))
        assert theirs == pytest.approx(target, abs=1e-8)


def _aggregates(n, variance):
    return Aggregates(count_=n, mean_={"x": 3.0}, var_={"x": variance})


class TestTruth:
    @pytest.mark.parametrize(("share", "effect", "n", "ratio"), [(0.3, 0.2, 200, 1.0), (0.1, 0.06, 1200, 2.0)])
    def test_power_of_proportions_by_enumeration(self, share, effect, n, ratio):
        """All outcomes of both arms, weighted with their probabilities."""
        control, variant = round(n / (1 + ratio)), round(n * ratio / (1 + ratio))
        a, b = np.arange(control + 1)[:, None], np.arange(variant + 1)
        weights = scipy.stats.binom.pmf(a, control, share) * scipy.stats.binom.pmf(b, variant, share + effect)
        exact = weights[two_proportions(control, a, variant, b).p_value < 0.05].sum()
        planned = power(Baseline.of_proportion(share), effect=effect, n=n, design=Design(ratio=ratio))
        assert planned == pytest.approx(exact, abs=0.01)

    def test_a_ratio_is_planned_with_its_linearised_variance(self):
        rng = np.random.default_rng(7)
        runs, n = 4000, 400
        d = rng.poisson(5, (2, runs, n)) + 1.0
        y = rng.binomial(d.astype(int), np.array([0.30, 0.332])[:, None, None]).astype(float)

        def joint(arm):
            centred = [v[arm] - v[arm].mean(-1, keepdims=True) for v in (y, d)]
            pairs = {"yy": (0, 0), "yd": (0, 1), "dd": (1, 1)}
            sums = {name: (centred[i] * centred[j]).sum(-1) / (n - 1) for name, (i, j) in pairs.items()}
            return JointMoments.of(n, {"y": y[arm].mean(-1), "d": d[arm].mean(-1)}, sums)

        found = (welch(linearised(joint(0)), linearised(joint(1))).p_value < 0.05).mean()
        variance = 0.3 * 0.7 * 6 / 36  # binomial within a unit of 6 sessions on average, over the squared mean of d
        planned = power(Baseline.of_moments(Moments(n, 0.3, variance)), effect=0.032, n=2 * n)
        assert found == pytest.approx(float(planned), abs=4 * 0.5 / runs**0.5)

    def test_a_quantile_is_planned_with_its_standard_error(self):
        """The median of n normal units has the standard error sqrt(pi / 2 / n)."""
        rng = np.random.default_rng(3)
        runs, n = 3000, 801
        medians = np.median(rng.standard_normal((2, runs, n)), axis=-1)
        error = np.sqrt(np.pi / 2 / n)
        found = (np.abs(medians[1] + 0.18 - medians[0]) > 1.96 * np.sqrt(2) * error).mean()
        planned = power(Baseline.of_estimate(0.0, error, n), effect=0.18, n=2 * n)
        assert found == pytest.approx(float(planned), abs=4 * 0.5 / runs**0.5)

    @pytest.mark.parametrize("reading", ["always-valid", "obrien-fleming", "pocock"])
    def test_power_with_a_look_a_day(self, reading):
        """28 looks at simulated means: the share of tests that decide is what was planned."""
        baseline, design = Baseline.of_mean(1.0, 4.0), Design(reading=reading, looks=28)
        needed = sample_size(baseline, effect=0.1, design=design)
        n, runs = float(needed.total), 40_000
        share = np.arange(1, 29) / 28
        if reading == "always-valid":
            boundary = critical_value(n * share, tuned_at=n)
        else:
            boundary = boundaries(share, kind=reading).z
        walk = np.random.default_rng(5).standard_normal((runs, 28)).cumsum(axis=1) / 28**0.5
        shift = 0.1 / np.sqrt(4 * 4.0 / n)
        decided = (np.abs(walk + shift * share) / np.sqrt(share) > boundary).any(axis=1).mean()
        assert decided == pytest.approx(0.8, abs=4 * 0.4 / runs**0.5)
        assert n > sample_size(baseline, effect=0.1).total


class TestInvariants:
    @settings(max_examples=200, deadline=None)
    @given(effects, powers, ratios, alternatives, st.booleans())
    def test_the_sample_size_is_the_fewest(self, effect, target, ratio, alternative, always_valid):
        if always_valid:
            ratio, alternative = 1.0, "two-sided"
        design = Design(ratio=ratio, alternative=alternative, reading="always-valid" if always_valid else "fixed")
        effect = -effect if alternative == "less" else effect
        baseline = Baseline.of_mean(1.0, 4.0)
        needed = float(sample_size(baseline, effect=effect, power=target, design=design).total)
        # Whole units in each arm: up to one more in each than the fraction that would do.
        assert power(baseline, effect=effect, n=needed, design=design) > target - 0.01
        fewer = needed - 2 * (1 + max(ratio, 1 / ratio))
        if fewer / (1 + max(ratio, 1 / ratio)) >= 2:
            assert power(baseline, effect=effect, n=fewer, design=design) < target

    @settings(max_examples=200, deadline=None)
    @given(st.floats(0.02, 0.98), st.integers(500, 10**7), powers, alternatives)
    def test_the_smallest_effect_is_found_with_the_power_asked_for(self, share, n, target, alternative):
        baseline, design = Baseline.of_proportion(share), Design(alternative=alternative)
        effect = minimum_effect(baseline, n=n, power=target, design=design)
        if np.isnan(effect):
            most = -share if alternative == "less" else 1 - share
            assert power(baseline, effect=most, n=n, design=design) < target
        else:
            assert power(baseline, effect=effect, n=n, design=design) == pytest.approx(target, abs=1e-8)
            assert (effect < 0) == (alternative == "less")

    def test_variance_reduction_saves_its_gain_in_units(self):
        plain = sample_size(Baseline.of_mean(10.0, 400.0), effect=0.2).total
        reduced = sample_size(Baseline.of_mean(10.0, 400.0, variance_factor=0.6), effect=0.2).total
        assert reduced / plain == pytest.approx(0.6, abs=1e-4)

    def test_rows_do_not_meet(self):
        """More rows than are integrated at once answer as each alone; a row that is not known stays so."""
        design, baseline = Design(reading="always-valid", looks=7, tuned_at=5000), Baseline.of_mean(1.0, 4.0)
        n = np.linspace(100, 20_000, 600)
        n[5] = np.nan
        together = power(baseline, effect=0.1, n=n, design=design)
        assert np.flatnonzero(np.isnan(together)).tolist() == [5]
        for i in (0, 300, 599):
            assert together[i] == pytest.approx(power(baseline, effect=0.1, n=n[i], design=design), abs=1e-9)

    def test_many_rows_at_once(self):
        share = np.array([[0.05], [0.2]])
        found = sample_size(Baseline.of_proportion(share), effect=share * np.array([0.05, 0.1, 0.2]))
        assert found.total.shape == (2, 3)
        one = sample_size(Baseline.of_proportion(0.2), effect=0.02)
        assert found.total[1, 1] == one.total == one.control + one.variant

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.floats(0.1, 10), min_size=2, max_size=6), st.integers(0, 2**32 - 1))
    def test_no_other_split_compares_more_precisely(self, deviations, seed):
        def squared_error(shares):
            errors = np.square(deviations) / shares
            return (errors[..., :1] + errors[..., 1:]).sum(-1)

        best = allocation(deviations)
        assert best.sum() == pytest.approx(1)
        others = np.random.default_rng(seed).dirichlet(np.ones(len(deviations)), 200)
        assert (squared_error(best) <= squared_error(others) * (1 + 1e-9)).all()

    def test_a_control_shared_by_variants_gets_the_root_of_their_number(self):
        assert allocation(np.ones(5)) == pytest.approx([2 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6])
        assert allocation([1.0, 1.0], costs=[1.0, 4.0]) == pytest.approx([2 / 3, 1 / 3])


class TestEdges:
    def test_no_effect_needs_more_units_than_there_are(self):
        baseline = Baseline.of_mean(1.0, 4.0)
        assert np.isinf(sample_size(baseline, effect=0.0).total)
        assert np.isinf(sample_size(baseline, effect=-1.0, design=Design(alternative="greater")).total)
        assert power(baseline, effect=0.0, n=1000) == pytest.approx(0.05)

    def test_what_cannot_be_tested_is_not_known(self):
        assert np.isnan(power(Baseline.of_mean(1.0, 0.0), effect=0.1, n=100))
        assert np.isnan(power(Baseline.of_mean(1.0, 4.0), effect=0.1, n=3))
        assert np.isnan(minimum_effect(Baseline.of_mean(1.0, 0.0), n=100))
        assert np.isnan(sample_size(Baseline.of_mean(np.nan, np.nan), effect=0.1).total)
        assert np.isnan(minimum_effect(Baseline.of_proportion(0.9), n=20))

    def test_traffic_beyond_any(self):
        found = minimum_effect(Baseline.of_proportion(0.05), n=1e12)
        normal = (1.959964 + 0.841621) * np.sqrt(4 * 0.05 * 0.95 / 1e12)
        assert found == pytest.approx(normal, rel=1e-4)

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            (lambda: Design(alpha=0), "alpha is 0"),
            (lambda: Design(ratio=0), "ratio is 0"),
            (lambda: Design(alternative="up"), "alternative is 'up'"),
            (lambda: Design(looks=3), "fixed horizon has one look"),
            (lambda: Design(looks=0), "looks is 0"),
            (lambda: Design(tuned_at=100), "tuned_at is 100"),
            (lambda: Design(reading="pocock", alternative="less"), "'pocock' is two-sided"),
            (lambda: sample_size(Baseline.of_proportion(0.1), effect=0.95), "effect at index 0 is 0.95"),
            (lambda: sample_size(Baseline.of_mean(1, 1), effect=1, power=0.05), "power is 0.05"),
            (lambda: minimum_effect(Baseline.of_mean(1, 1), n=-5), "n at index 0 is -5"),
            (lambda: Baseline.of_mean(1, [1, -1]), "variance at index 1 is -1"),
            (lambda: Baseline.of_proportion(1.2), "share at index 0 is 1.2"),
            (lambda: allocation([1.0]), "two arms or more"),
        ],
    )
    def test_a_wrong_number_is_named(self, wrong, says):
        with pytest.raises(BadInput, match=says):
            wrong()
