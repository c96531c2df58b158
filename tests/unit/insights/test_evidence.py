"""Each reading beside the fixed-horizon test against its closed form or tea-tasting, from the same units."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest
import tea_tasting as tt
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from neonblue_lab.insights.evidence import EVIDENCE_SCHEMA, METHODS, evidence, learn_priors
from neonblue_lab.metrics.joint import moment_names
from neonblue_lab.metrics.statistics import STATISTICS_SCHEMA
from neonblue_lab.stats.always_valid import confidence_sequence
from neonblue_lab.stats.moments import Moments
from neonblue_lab.stats.shrinkage import ProgrammePrior
from neonblue_lab.stats.two_sample import noninferiority

seeds = st.integers(0, 2**32 - 1)
Z = norm.ppf(0.975)
ARM = [name for name in STATISTICS_SCHEMA if name not in ("experiment_id", "metric", "kind")]


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """A row that cannot be computed is null, and no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def plain(n: float | None, mean: float | None, variance: float | None) -> dict[str, Any]:
    return {"n": n, "mean": mean, "variance": variance, "mean_y": mean, "var_y": variance}


def of_units(units: Mapping[str, Any]) -> dict[str, Any]:
    """An arm's statistics: columns out of y, d, x, w."""
    names = list(units)
    second = np.atleast_2d(np.cov([units[c] for c in names]))
    mean = {c: float(np.mean(units[c])) for c in names}
    found: dict[str, Any] = {"n": len(units["y"])} | {f"mean_{c}": m for c, m in mean.items()}
    for name in moment_names(names):
        if not name.startswith("mean_"):
            first, other = (name[-1], name[-1]) if name.startswith("var_") else (name[-2], name[-1])
            found[name] = float(second[names.index(first), names.index(other)])
    divided = "d" in names
    ratio = mean["y"] / mean["d"] if divided else mean["y"]
    values = (np.asarray(units["y"]) - ratio * np.asarray(units["d"])) / mean["d"] if divided else units["y"]
    return found | {"mean": ratio, "variance": float(np.var(values, ddof=1))}


def pair(control: Mapping[str, Any], variant: Mapping[str, Any], metric: str = "m", kind: str = "mean") -> Any:
    named = {"experiment_id": "x", "metric": metric, "kind": kind, "variant_id": "b", "variant_id_control": "a"}
    return named | dict(variant) | {f"{name}_control": value for name, value in control.items()}


def pairs(*rows: Mapping[str, Any]) -> pl.DataFrame:
    schema = STATISTICS_SCHEMA | {f"{name}_control": STATISTICS_SCHEMA[name] for name in ARM}
    return pl.DataFrame([dict.fromkeys(schema) | dict(row) for row in rows], schema=schema)


def one(row: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    [found] = evidence(pairs(row), **{"sign": {}} | options).to_dicts()
    return found


CONTROL, VARIANT = plain(4_000, 10.0, 25.0), plain(5_000, 10.3, 36.0)
DIFFERENCE, ERROR = 0.3, np.sqrt(25 / 4_000 + 36 / 5_000)
LOG, LOG_ERROR = np.log(1.03), np.sqrt(25 / 4_000 / 10**2 + 36 / 5_000 / 10.3**2)


def test_its_columns_are_the_documented_ones() -> None:
    found = evidence(pairs(pair(CONTROL, VARIANT)), sign={})
    key = {"experiment_id": pl.String(), "metric": pl.String(), "variant_id": pl.String()}
    assert found.schema == pl.Schema(key | EVIDENCE_SCHEMA)
    assert evidence(pairs(), sign={"m": -1}, priors={}).schema == found.schema
    assert set(METHODS) - {"always_valid", "cuped"} <= set(EVIDENCE_SCHEMA)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_always_valid_readings_are_the_confidence_sequence(alpha: float) -> None:
    found = one(pair(CONTROL, VARIANT), tuned_at=2_000, alpha=alpha)
    of_lift = confidence_sequence(LOG, LOG_ERROR, 9_000, tuned_at=2_000, alpha=alpha)
    of_difference = confidence_sequence(DIFFERENCE, ERROR, 9_000, tuned_at=2_000, alpha=alpha)
    assert found["always_low"] == pytest.approx(np.expm1(of_lift.low))
    assert found["always_high"] == pytest.approx(np.expm1(of_lift.high))
    assert found["always_p_value"] == pytest.approx(of_difference.p_value)
    fixed = np.expm1(LOG + norm.ppf([alpha / 2, 1 - alpha / 2]) * LOG_ERROR)
    assert found["always_low"] < fixed[0] < fixed[1] < found["always_high"]


@pytest.mark.parametrize(("sign", "better"), [({}, 1), ({"m": 1}, 1), ({"m": -1}, -1), ({"other": -1}, 1)])
def test_chance_and_loss_follow_the_direction_of_improvement(sign: Mapping[str, int], better: int) -> None:
    found, z = one(pair(CONTROL, VARIANT), sign=sign), better * DIFFERENCE / ERROR
    assert found["chance_to_beat"] == pytest.approx(norm.cdf(z))
    assert found["expected_loss"] == pytest.approx(ERROR * (norm.pdf(z) - z * norm.cdf(-z)))


def test_the_direction_changes_no_other_number() -> None:
    row, believed = pair(CONTROL, VARIANT), ("chance_to_beat", "expected_loss")
    higher, lower = (one(row, sign={"m": sign}) for sign in (1, -1))
    assert [name for name in higher if higher[name] != lower[name]] == list(believed)


def test_a_share_has_the_variance_of_a_share() -> None:
    """Whatever variance is stated, or none."""
    arms = [(plain(1_000, 0.10, v), plain(2_000, 0.13, v)) for v in (None, 0.5)]
    first, second = (one(pair(*arm, kind="proportion")) for arm in arms)
    assert first == second
    error = np.sqrt(0.1 * 0.9 / 1_000 + 0.13 * 0.87 / 2_000)
    assert first["chance_to_beat"] == pytest.approx(norm.cdf(0.03 / error))


def test_a_mean_without_a_variance_has_no_reading() -> None:
    found = one(pair(plain(1_000, 0.10, None), plain(2_000, 0.13, None)))
    assert {name: found[name] for name in EVIDENCE_SCHEMA} == dict.fromkeys(EVIDENCE_SCHEMA)


# --- with fewer units -------------------------------------------------------------------------------------------------


def simulated(rng: np.random.Generator, n: int, columns: str, lift: float) -> dict[str, Any]:
    eager = rng.gamma(2.0, 1.0, n)
    drawn = {"d": 1.0 + rng.poisson(3 * eager), "w": 1.0 + rng.poisson(2 * eager)}
    drawn["y"] = rng.poisson(0.4 * (1 + lift) * drawn["d"]) + rng.exponential(0.1, n)
    drawn["x"] = rng.poisson(0.4 * drawn["w"]) + rng.exponential(0.1, n)
    return {name: drawn[name] for name in columns}


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_cuped_is_tea_tastings_for_means_and_ratios_in_one_frame(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, theirs = [], []
    for columns in ("yx", "y", "ydxw", "yd", "yx"):
        arms = [simulated(rng, int(rng.integers(20, 200)), columns, lift) for lift in (0.0, 0.2)]
        rows.append(pair(*map(of_units, arms), kind="ratio" if "d" in columns else "mean"))
        units = pl.concat([pl.DataFrame(arm).with_columns(variant=pl.lit(i)) for i, arm in enumerate(arms)])
        metric = tt.RatioOfMeans(*(c if c in columns else None for c in "ydxw"))
        theirs.append(metric.analyze(units, 0, 1, "variant") if "x" in columns else None)
    found = evidence(pairs(*rows), sign={})
    cuped = ("cuped_difference", "cuped_low", "cuped_high", "cuped_p_value")
    for row, their in zip(found.to_dicts(), theirs, strict=True):
        if their is None:
            assert [row[name] for name in (*cuped, "cuped_gain")] == [None] * 5
            continue
        expected = (their.effect_size, their.effect_size_ci_lower, their.effect_size_ci_upper, their.pvalue)
        np.testing.assert_allclose([row[name] for name in cuped], expected, rtol=1e-7, atol=1e-10)
        assert row["cuped_gain"] <= 1


def test_what_cuped_takes_away_can_be_detected_with_fewer_units() -> None:
    rng = np.random.default_rng(5)
    arms = [simulated(rng, 3_000, "yx", 0.0) for _ in range(2)]
    with_x, without = (one(pair(*(of_units({c: arm[c] for c in columns}) for arm in arms))) for columns in ("yx", "y"))
    assert 0.1 < with_x["cuped_gain"] < 0.9
    assert with_x["detectable_lift"] == pytest.approx(
        without["detectable_lift"] * np.sqrt(1 - with_x["cuped_gain"]), rel=1e-3
    )
    assert with_x["chance_to_beat"] == without["chance_to_beat"]


def test_a_covariate_that_says_all_breaks_nothing_else() -> None:
    rng = np.random.default_rng(6)
    arms = [{"y": (y := rng.normal(5, 1, 500)), "x": 2 * y} for _ in range(2)]
    found = one(pair(*map(of_units, arms)))
    assert found["cuped_gain"] == pytest.approx(1)
    assert 0 < found["chance_to_beat"] < 1


# --- with the programme's past ----------------------------------------------------------------------------------------


def normal_prior(mean: float, sd: float) -> ProgrammePrior:
    return ProgrammePrior(weight=[1.0], mean=[mean], sd=[sd], experiments=9, log_likelihood=0.0)  # type: ignore[arg-type]


def test_shrinkage_under_a_normal_prior_is_the_conjugate_update() -> None:
    found = one(pair(CONTROL, VARIANT), priors={"m": normal_prior(-0.01, 0.02)})
    weight = 0.02**2 / (0.02**2 + LOG_ERROR**2)
    mean, sd = weight * LOG - (1 - weight) * 0.01, np.sqrt(weight) * LOG_ERROR
    assert found["shrunk_lift"] == pytest.approx(np.expm1(mean))
    assert [found["shrunk_low"], found["shrunk_high"]] == pytest.approx(np.expm1(mean + np.array([-Z, Z]) * sd))
    assert found["false_sign_rate"] == pytest.approx(norm.cdf(-abs(mean) / sd))


def test_metrics_without_a_prior_are_not_shrunk() -> None:
    two = pairs(pair(CONTROL, VARIANT, "m"), pair(CONTROL, VARIANT, "k"))
    found = evidence(two, sign={}, priors={"k": normal_prior(0, 0.1), "absent": normal_prior(0, 0.1)})
    assert found["shrunk_lift"].is_null().to_list() == [True, False]
    assert evidence(two, sign={})["shrunk_lift"].null_count() == 2


def programme(rng: np.random.Generator, experiments: int, spread: float, metric: str = "m") -> pl.DataFrame:
    lifts = rng.normal(0, spread, experiments)
    noise = rng.normal(0, 1, (2, experiments))
    arms = [
        [plain(10_000, mean + 0.1 * z, 100.0) for mean, z in zip(means, row, strict=True)]
        for means, row in zip((np.full(experiments, 20.0), 20 * np.exp(lifts)), noise, strict=True)
    ]
    return pairs(*(pair(*arm, metric) for arm in zip(*arms, strict=True)))


@pytest.mark.parametrize("experiments", [40, 400])
def test_priors_find_the_programmes_spread(experiments: int) -> None:
    found = learn_priors(programme(np.random.default_rng(7), experiments, 0.05))
    assert set(found) == {"m"}
    assert found["m"].experiments == experiments
    assert found["m"].spread == pytest.approx(0.05, rel=0.3)


def test_priors_need_three_comparisons_that_can_be_weighed() -> None:
    rng = np.random.default_rng(8)
    no_variance = [pair(plain(10, 1.0, None), plain(10, 1.2, None), "unknown") for _ in range(9)]
    mixed = pl.concat([programme(rng, 2, 0.1, "two"), programme(rng, 3, 0.1, "three"), pairs(*no_variance)])
    assert set(learn_priors(mixed)) == {"three"}
    assert learn_priors(pairs()) == {}


# --- what can be detected, and what cannot be computed ----------------------------------------------------------------


def test_the_detectable_lift_is_the_textbooks() -> None:
    found = one(pair(plain(20_000, 10.0, 25.0), plain(20_000, 10.1, 25.0)))
    assert found["detectable_lift"] == pytest.approx((Z + norm.ppf(0.8)) * np.sqrt(2 * 25 / 20_000) / 10, rel=1e-3)


def test_uneven_arms_detect_what_their_standard_error_lets_them() -> None:
    found = one(pair(CONTROL, VARIANT))
    assert found["detectable_lift"] == pytest.approx((Z + norm.ppf(0.8)) * ERROR / 10, rel=1e-3)


NOTHING = {
    "an arm without units": (plain(0, None, None), VARIANT),
    "an arm with one unit": (plain(1, 10.0, None), VARIANT),
    "a mean that is not known": (plain(None, None, None), VARIANT),
    "no variance in either": (plain(100, 2.0, 0.0), plain(100, 2.0, 0.0)),
    "no variance and a difference": (plain(100, 2.0, 0.0), plain(100, 3.0, 0.0)),
}


@pytest.mark.parametrize("arms", NOTHING.values(), ids=NOTHING.keys())
def test_what_cannot_be_computed_is_null_and_changes_no_other_row(arms: tuple[Any, Any]) -> None:
    priors = {"m": normal_prior(0, 0.1)}
    rows = pairs(pair(*arms), pair(CONTROL, VARIANT))
    bad, good = evidence(rows, sign={}, priors=priors, margins={"m": 0.1}).to_dicts()
    assert {name: bad[name] for name in EVIDENCE_SCHEMA} == dict.fromkeys(EVIDENCE_SCHEMA)
    assert good == one(pair(CONTROL, VARIANT), priors=priors, margins={"m": 0.1})
    assert None not in [good[name] for name in EVIDENCE_SCHEMA if not name.startswith("cuped")]


@pytest.mark.parametrize(("control", "variant"), [(0.0, 1.0), (1.0, -1.0), (1.0, 0.0), (0.0, 0.0)])
def test_means_without_a_lift_have_a_difference(control: float, variant: float) -> None:
    found = one(pair(plain(900, control, 4.0), plain(900, variant, 4.0)), priors={"m": normal_prior(0, 0.1)})
    lifts = ("always_low", "always_high", "shrunk_lift", "shrunk_low", "shrunk_high", "false_sign_rate")
    assert [found[name] for name in lifts] == [None] * 6
    assert found["chance_to_beat"] == pytest.approx(norm.cdf((variant - control) / np.sqrt(8 / 900)))
    assert found["always_p_value"] <= 1


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            *[st.integers(0, 50), st.integers(-5, 5), st.one_of(st.none(), st.integers(0, 9))] * 2,
            st.sampled_from(["mean", "proportion", "ratio", "quantile"]),
        ),
        max_size=6,
    )
)
def test_a_row_does_not_depend_on_the_others(rows: list[tuple[Any, ...]]) -> None:
    made = [pair(plain(*row[:3]), plain(*row[3:6]), kind=row[6]) for row in rows]
    options = {"sign": {"m": -1}, "priors": {"m": normal_prior(0, 0.1)}}
    assert evidence(pairs(*made), **options).to_dicts() == [one(row, **options) for row in made]


@pytest.mark.parametrize(("sign", "better"), [(1, "higher"), (-1, "lower")])
def test_a_metric_with_a_margin_is_tested_for_harm(sign: int, better: Any) -> None:
    found = one(pair(CONTROL, VARIANT), sign={"m": sign}, margins={"m": 0.1})
    control, variant = (Moments(arm["n"], arm["mean"], arm["variance"]) for arm in (CONTROL, VARIANT))
    expected = noninferiority(control, variant, margin=0.1, better=better)
    assert found["noninferiority_p_value"] == pytest.approx(float(expected.p_value))
    assert found["worst_change"] == pytest.approx(float(expected.improvement_low))
    assert one(pair(CONTROL, VARIANT))["noninferiority_p_value"] is None
