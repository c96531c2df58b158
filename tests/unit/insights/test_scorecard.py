"""The scorecard against scipy on drawn arms, and what it does with arms that cannot be compared."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.insights.scorecard import ROWS_SCHEMA, Scorecard

START = datetime(2026, 3, 2, tzinfo=UTC)


def only(card: Scorecard) -> dict[str, Any]:
    [row] = card.rows.to_dicts()
    return row


def check(card: Scorecard) -> dict[str, Any]:
    [row] = card.checks.to_dicts()
    return row


def test_every_number_equals_scipys(experiments_of: Any, rows: Any) -> None:
    """Three arms each: means by Welch's t-test and ANOVA, shares by the unpooled test and the chi-squared of homogeneity."""
    random = np.random.default_rng(5)
    parts, units = [], {}
    for i in range(20):
        arms = {v: random.normal(3 + 0.1 * i, 1 + j, int(random.integers(20, 90))) for j, v in enumerate("cab")}
        shares = {v: (int(n := random.integers(40, 400)), int(random.binomial(n, 0.3))) for v in arms}
        units[f"x{i:02}"] = arms, shares
        totals = {
            "basket": {v: (len(a), float(a.mean()), float(a.var(ddof=1))) for v, a in arms.items()},
            "rate": {v: (n, k / n) for v, (n, k) in shares.items()},
        }
        parts.append(rows(f"x{i:02}", totals))
    card = experiments_of(*parts).scorecard()

    assert card.experiments == 20
    assert card.rows.height == 80
    assert dict(card.rows.schema) == ROWS_SCHEMA
    for row in card.rows.iter_rows(named=True):
        arms, shares = units[row["experiment_id"]]
        assert row["control_id"] == "c"
        if row["metric"] == "basket":
            test = stats.ttest_ind(arms[row["variant_id"]], arms["c"], equal_var=False)
            low, high = test.confidence_interval(0.95)
            assert row["p_value"] == pytest.approx(test.pvalue, rel=1e-10)
            assert (row["difference_low"], row["difference_high"]) == pytest.approx((low, high), rel=1e-10)
        else:
            (n, k), (m, h) = shares[row["variant_id"]], shares["c"]
            p, q = k / n, h / m
            e, f = p * (1 - p) / n, q * (1 - q) / m
            df = (e + f) ** 2 / (e**2 / (n - 1) + f**2 / (m - 1))
            assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(p - q) / np.sqrt(e + f), df), rel=1e-10)
            assert row["difference"] == pytest.approx(p - q, abs=1e-15)
        assert row["lift"] == pytest.approx(row["mean_variant"] / row["mean_control"] - 1, rel=1e-12)
    for row in card.checks.iter_rows(named=True):
        arms, shares = units[row["experiment_id"]]
        sizes = [len(a) for a in arms.values()] if row["metric"] == "basket" else [n for n, _ in shares.values()]
        assert row["srm_p_value"] == pytest.approx(stats.chisquare(sizes).pvalue, rel=1e-10)
        assert (row["n_total"], row["variants"]) == (sum(sizes), 3)
        if row["metric"] == "rate":
            table = [[k, n - k] for n, k in shares.values()]
            assert row["omnibus_p_value"] == pytest.approx(
                stats.chi2_contingency(table, correction=False).pvalue, rel=1e-10
            )
        else:
            anova = stats.f_oneway(*arms.values(), equal_var=False)
            assert row["omnibus_p_value"] == pytest.approx(anova.pvalue, rel=1e-10)
    adjusted = stats.false_discovery_control(card.rows["p_value"].to_numpy())
    assert card.rows["p_adjusted"].to_numpy() == pytest.approx(adjusted, rel=1e-12)


def test_the_order_of_rows_is_experiment_metric_and_definition(experiments_of: Any, rows: Any) -> None:
    arms = dict.fromkeys("zcab", (100, 0.5))
    card = experiments_of(rows("y", {"rate": arms, "basket": arms}), rows("x", {"rate": arms})).scorecard()

    keys = card.rows.select("experiment_id", "metric", "control_id", "variant_id").rows()
    assert keys == [(e, m, "z", v) for e, m in (("x", "rate"), ("y", "basket"), ("y", "rate")) for v in "cab"]


ALIKE = {"p_value": None, "difference_low": None, "lift_low": None, "p_adjusted": None}


@pytest.mark.parametrize(
    ("metric", "control", "variant", "expected"),
    [
        ("rate", (100, 1.0), (100, 1.0), {**ALIKE, "difference": 0.0, "lift": 0.0}),
        ("rate", (100, 0.0), (100, 0.0), {**ALIKE, "difference": 0.0, "lift": None}),
        ("rate", (100, 0.0), (100, 1.0), {**ALIKE, "difference": 1.0, "lift": None}),
        ("basket", (100, 5.0, 0.0), (100, 6.0, 0.0), {**ALIKE, "difference": 1.0, "lift": 0.2}),
        ("basket", (100, 5.0, None), (100, 6.0, 1.0), {**ALIKE, "difference": 1.0, "lift": 0.2}),
        ("basket", (1, 5.0, None), (100, 6.0, 1.0), {**ALIKE, "difference": 1.0, "lift": 0.2}),
        ("rate", (1, 1.0), (1, 0.0), {**ALIKE, "difference": -1.0, "lift": -1.0}),
        ("rate", (0, 0.0), (100, 0.5), {**ALIKE, "difference": None, "mean_control": None}),
        ("rate", (100, 0.5), (0, 0.0), {**ALIKE, "difference": None, "n_variant": 0}),
        ("rate", (100, 250.0), (100, 300.0), {**ALIKE, "mean_control": 250.0}),
        ("basket", (100, 0.0, 1.0), (100, 1.0, 1.0), {"lift": None, "lift_low": None, "difference": 1.0}),
    ],
    ids=["all", "none", "none and all", "constant", "variance unknown", "one unit", "one each", "no control", "no variant",
         "no shares", "control mean zero"],
)  # fmt: skip
def test_what_cannot_be_computed_is_null(
    experiments_of: Any, rows: Any, metric: str, control: Any, variant: Any, expected: dict[str, Any]
) -> None:
    fine = rows("fine", {"rate": {"c": (1000, 0.5), "v": (1000, 0.4)}})
    card = experiments_of(rows("x", {metric: {"c": control, "v": variant}}), fine).scorecard()

    [row] = card.rows.filter(pl.col("experiment_id") == "x").to_dicts()
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    [other] = card.rows.filter(pl.col("experiment_id") == "fine").to_dicts()
    assert other["p_value"] == other["p_adjusted"] < 1e-4


def test_an_arm_that_got_nobody_is_a_broken_split(experiments_of: Any, rows: Any) -> None:
    card = experiments_of(rows("x", {"rate": {"c": (1000, 0.5), "v": (0, 0.0)}})).scorecard()

    assert check(card)["srm_p_value"] < 1e-100
    assert check(card)["variants"] == 1
    assert card.broken_splits["experiment_id"].to_list() == ["x"]
    assert card.sound.is_empty()


def exposures(variants: dict[str, int], name: str = "x") -> list[dict[str, Any]]:
    return [
        {"experiment_id": name, "user_id": f"{v}{i}", "variant_id": v, "first_exposed_at": START}
        for v, n in variants.items()
        for i in range(n)
    ]


@pytest.mark.parametrize(
    ("allocations", "p_value"),
    [
        ((None, None), stats.chisquare([60, 40]).pvalue),
        ((0.5, None), stats.chisquare([60, 40]).pvalue),
        ((0.6, 0.4), 1.0),
        ((3.0, 2.0), 1.0),
        ((0.9, 0.1), stats.chisquare([60, 40], [90, 10]).pvalue),
        ((1.0, 0.0), 0.0),
        ((-1.0, 2.0), None),
        ((float("inf"), 1.0), None),
        ((0.0, 0.0), None),
    ],
)
def test_the_split_of_users_is_held_against_the_allocation(
    lake_of: Any, experiments_of: Any, allocations: tuple[float | None, float | None], p_value: float | None
) -> None:
    """Of 100 users 60 see the control; totals with other numbers of units do not count."""
    variants = [{"variant_id": v, "allocation": a} for v, a in zip("cv", allocations, strict=True)]
    totals = [{"experiment_id": "x", "variant_id": v, "metric": "rate", "kind": "proportion", "n": n, "mean": 0.5,
               "as_of": START, "event_id": v} for v, n in (("c", 10), ("v", 9000))]  # fmt: skip
    card = experiments_of(
        {
            "experiments": [{"experiment_id": "x", "variants": variants}],
            "assignments": exposures({"c": 60, "v": 40}),
            "metric_totals": totals,
        }
    ).scorecard()

    assert check(card)["srm_p_value"] == (None if p_value is None else pytest.approx(p_value))


def test_a_variant_that_nobody_defined_is_in_no_number_and_said(experiments_of: Any, rows: Any) -> None:
    arms = {"c": (100, 0.5), "v": (100, 0.5), "stray": (90, 0.01)}
    defined = [{"variant_id": "c"}, {"variant_id": "v"}]
    card = experiments_of(
        rows("x", {"rate": arms, "basket": {"c": (9, 1.0, 1.0), "stray": (7, 1.0, 1.0)}}, variants=defined)
    ).scorecard()

    assert set(card.rows["variant_id"]) == {"v"}
    [rate] = card.checks.filter(pl.col("metric") == "rate").to_dicts()
    assert (rate["n_total"], rate["variants"]) == (200, 2)
    assert (rate["srm_p_value"], rate["omnibus_p_value"]) == (1.0, 1.0)
    assert card.unknown_variants.rows() == [("x", "stray", 90)]
    assert card.to_dict()["unknown_variants"] == [{"experiment_id": "x", "variant_id": "stray", "n": 90}]
    assert "no definition: variants 1." in str(card)


def test_experiments_without_a_definition_are_left_out_and_said(experiments_of: Any, rows: Any) -> None:
    arms = {"rate": {"c": (100, 0.5), "v": (100, 0.5)}}
    other_names = rows("z", arms, variants=[{"variant_id": "p"}, {"variant_id": "q"}])
    card = experiments_of(
        rows("x", arms), rows("y", arms, variants=None), rows("w", arms, variants=[]), other_names
    ).scorecard()

    assert set(card.rows["experiment_id"]) == {"x"}
    assert card.without_definition == ("w", "y", "z")
    assert "no definition: experiments 3." in str(card)


def test_only_undefined_experiments_are_nothing_to_compare(experiments_of: Any, rows: Any) -> None:
    experiments = experiments_of(rows("x", {"rate": {"c": (100, 0.5), "v": (100, 0.5)}}, variants=None))

    with pytest.raises(NotFound, match=r"no definition of a variant.*experiment_created"):
        experiments.scorecard()


def test_one_arm_has_a_check_and_no_comparison(experiments_of: Any, rows: Any) -> None:
    card = experiments_of(rows("x", {"rate": {"c": (100, 0.5)}})).scorecard()

    assert card.experiments == 0
    assert card.rows.is_empty()
    assert dict(card.rows.schema) == ROWS_SCHEMA
    assert check(card) == {
        "experiment_id": "x", "metric": "rate", "srm_p_value": None, "omnibus_p_value": None, "n_total": 100,
        "variants": 1, "started_at": None,
    }  # fmt: skip
    assert card.leading_metric == "rate"
    assert card.counts["comparisons"] == 0
    assert "Experiments: 0. Comparisons of a variant with its control: 0." in str(card)
    assert card._repr_html_()


def test_a_variant_named_twice_counts_once(experiments_of: Any, rows: Any) -> None:
    variants = [{"variant_id": v} for v in ("c", "v", "v")]
    card = experiments_of(rows("x", {"rate": {"c": (100, 0.5), "v": (100, 0.4)}}, variants=variants)).scorecard()

    assert only(card)["n_variant"] == 100
    assert check(card)["srm_p_value"] == 1.0


def test_restricting_to_experiments_and_metrics(experiments_of: Any, rows: Any) -> None:
    arms = {m: {"c": (100, 0.5, 1.0), "v": (100, 0.3, 1.0)} for m in ("rate", "basket")}
    experiments = experiments_of(rows("x", arms), rows("y", arms))

    card = experiments.scorecard(experiments=["y"], metrics=["rate"])

    assert card.rows.select("experiment_id", "metric").rows() == [("y", "rate")]
    assert set(card.checks["experiment_id"]) == {"y"}
    with pytest.raises(NotFound, match="no metric ratio; there are basket, errors, latency, rate"):
        experiments.scorecard(metrics=["ratio"])
    with pytest.raises(NotFound, match="no data of latency; there is of basket, rate"):
        experiments.scorecard(metrics=["latency"])
    with pytest.raises(NotFound, match=r"no assignments and no metric totals to compare of nobody: .*replay"):
        experiments.scorecard(experiments=["nobody"])
    with pytest.raises(BadInput, match=r"alpha is 1.5"):
        experiments.scorecard(alpha=1.5)


def test_counts_follow_the_rows(experiments_of: Any, rows: Any) -> None:
    clear, broken = {"c": (5000, 0.5), "v": (5000, 0.6)}, {"c": (5000, 0.5), "v": (9000, 0.9)}
    down, even = {"c": (5000, 0.5), "v": (5000, 0.4)}, {"c": (5000, 0.5), "v": (5000, 0.5)}
    card = experiments_of(
        *(rows(n, {"rate": arms}) for n, arms in zip("abde", (clear, broken, down, even), strict=True))
    ).scorecard()

    assert card.counts == {
        "experiments": 4, "comparisons": 4, "broken_splits": 1, "significant": 2, "significant_up": 1, "significant_down": 1,
    }  # fmt: skip
    assert card.sound["experiment_id"].to_list()[2:] == ["e"]
    text = str(card)
    assert "are not to be read: 1." in text
    assert "  +20.0%  a  v against c  rate" in text
    assert "b  v against c" not in text


def test_intervals_have_the_coverage_asked_for(experiments_of: Any, rows: Any) -> None:
    experiments = experiments_of(rows("x", {"basket": {"c": (50, 1.0, 1.0), "v": (50, 2.0, 1.0)}}))

    wide, narrow = only(experiments.scorecard(alpha=0.01)), only(experiments.scorecard(alpha=0.2))

    assert wide["difference_high"] - 1 == pytest.approx(stats.t.ppf(0.995, 98) * 0.2)
    assert narrow["difference_high"] - 1 == pytest.approx(stats.t.ppf(0.9, 98) * 0.2)


def test_what_each_experiment_came_to(experiments_of: Any, rows: Any) -> None:
    level, high, low = (5000, 0.50), (5000, 0.56), (5000, 0.44)
    lab = experiments_of(
        rows("won", {"rate": {"c": level, "a": low, "v": high}}),
        rows("lost", {"rate": {"c": level, "v": low}}),
        rows("flat", {"rate": {"c": level, "v": (5000, 0.505)}}),
        rows("slower", {"latency": {"c": (500, 100.0, 25.0), "v": (500, 104.0, 25.0)}}, primary_metric="latency"),
        rows("broken", {"rate": {"c": level, "v": (6000, 0.9)}}),
        rows("alone", {"rate": {"c": level}}),
    )
    found = dict(lab.documents().select("experiment_id", "outcome").iter_rows())
    assert found == {
        "won": "win",
        "lost": "loss",
        "flat": "flat",
        "slower": "loss",
        "broken": "broken split",
        "alone": "unknown",
    }


def test_an_experiment_is_known_by_the_metric_that_it_is_judged_by(experiments_of: Any, rows: Any) -> None:
    """The stated one if it was measured; else the first of the measured ones, here by name, as none is defined."""
    arms = {"c": (5000, 0.50), "v": (5000, 0.51)}
    lab = experiments_of(
        rows("stated", {"alpha": arms, "omega": arms}, primary_metric="omega"),
        rows("gone", {"alpha": arms, "omega": arms}, primary_metric="beta"),
        rows("unstated", {"omega": arms}),
    )
    assert dict(lab.documents().select("experiment_id", "metric").iter_rows()) == {
        "stated": "omega", "gone": "alpha", "unstated": "omega"
    }  # fmt: skip
