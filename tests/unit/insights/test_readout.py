"""Each verdict, made from arms that call for it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.insights.readout import Readout

LEVEL, HIGH, HIGHER, LOW = (5000, 0.50), (5000, 0.56), (5000, 0.60), (5000, 0.44)


@pytest.fixture
def read(experiments_of: Any, rows: Any) -> Any:
    """The readout of one experiment with these arms."""

    def readout(arms: Any, **fields: Any) -> Readout:
        return experiments_of(rows("x", arms, primary_metric=fields.pop("primary", "rate"), **fields)).analyze("x")

    return readout


def test_a_clear_gain_is_shipped(read: Any) -> None:
    variants = [{"variant_id": "c", "name": "Old"}, {"variant_id": "v", "name": "New"}]
    found = read({"rate": {"c": LEVEL, "v": HIGH}}, variants=variants)

    assert (found.verdict, found.variant_id) == ("ship", "v")
    assert found.reasons[0].startswith(
        "New: rate 0.56 against 0.5 of the control, a lift of +12.0%, unadjusted 95% interval +7.9% to +16.2%;"
    )
    assert found.recommendations[0] == "Roll out New."
    (row,) = found.rows
    assert 0 < row["always_ci"][0] < row["lift_ci"][0] < row["lift_ci"][1] < row["always_ci"][1]
    assert found.to_polars().select("variant_id", "lift").rows() == [("v", row["lift"])]
    assert "Verdict: ship" in str(found)
    assert "Verdict: ship" in found._repr_html_()


def test_the_best_of_several_gains_is_shipped(read: Any) -> None:
    found = read({"rate": {"c": LEVEL, "a": HIGH, "b": HIGHER, "d": LOW}})

    assert (found.verdict, found.variant_id) == ("ship", "b")


def test_a_gain_that_harms_another_metric_is_not_shipped(read: Any) -> None:
    found = read({"rate": {"c": LEVEL, "v": HIGH}, "latency": {"c": (5000, 100.0, 25.0), "v": (5000, 110.0, 25.0)}})

    assert (found.verdict, found.variant_id) == ("stop", None)
    assert found.recommendations == ["Weigh the gain on rate against latency before shipping."]
    assert ["v: rate" in found.reasons[0], "v: latency 110 against 100" in found.reasons[1]] == [True, True]


def test_a_guardrail_must_be_shown_to_stay_within_its_margin(read: Any) -> None:
    gain = {"c": LEVEL, "v": HIGH}

    unsure = read({"rate": gain, "errors": {"c": (5000, 0.1), "v": (5000, 0.102)}})
    assert (unsure.verdict, unsure.variant_id) == ("not enough data", None)
    assert "errors may get worse by more than the 5.0% that its margin allows" in unsure.reasons[1]
    assert "whether errors stays within its margin" in unsure.recommendations[0]
    assert read({"rate": gain, "errors": {"c": (5000, 0.1), "v": (5000, 0.08)}}).verdict == "ship"


def test_the_next_best_is_shipped_where_the_best_harms(read: Any) -> None:
    latency = {"c": (5000, 100.0, 25.0), "a": (5000, 90.0, 25.0), "b": (5000, 110.0, 25.0)}
    found = read({"rate": {"c": LEVEL, "a": HIGH, "b": HIGHER}, "latency": latency})

    assert (found.verdict, found.variant_id) == ("ship", "a")
    assert [reason[:9] for reason in found.reasons] == ["a: rate 0", "b: rate 0", "b: latenc"]


def test_lower_may_be_better(read: Any) -> None:
    slower, faster = (
        {"c": (500, 100.0, 25.0), "v": (500, 104.0, 25.0)},
        {"c": (500, 100.0, 25.0), "v": (500, 96.0, 25.0)},
    )

    assert read({"latency": faster}, primary="latency").verdict == "ship"
    assert read({"latency": slower}, primary="latency").verdict == "stop"


def test_a_clear_loss_is_stopped_also_while_it_runs(read: Any) -> None:
    for status in ("finished", "running"):
        found = read({"rate": {"c": LEVEL, "v": LOW}}, status=status)
        assert (found.verdict, found.recommendations) == ("stop", ["Keep the control."])


def test_a_gain_of_a_running_experiment_is_no_reason_to_ship_yet(read: Any) -> None:
    early = {"rate": {"c": LEVEL, "v": (5000, 0.525)}}

    found = read(early, status="running")
    assert (found.verdict, found.variant_id) == ("keep running", None)
    assert "planned end" in found.recommendations[0]
    assert read(early).verdict == "ship"


def test_a_gain_that_is_clear_on_any_day_is_shipped_before_the_end(read: Any) -> None:
    found = read({"rate": {"c": LEVEL, "v": HIGH}}, status="running")

    assert (found.verdict, found.variant_id) == ("ship", "v")
    assert found.reasons[-1].startswith("This may be decided before the planned end: always-valid 95% interval +5.")


def test_a_winner_is_expected_to_shrink_by_what_the_past_has_taught(experiments_of: Any, rows: Any) -> None:
    past = [rows(f"p{i}", {"rate": {"c": (5000, 0.5), "v": (5000, 0.5 + 0.004 * (i % 3 - 1))}}) for i in range(12)]
    lab = experiments_of(*past, rows("x", {"rate": {"c": LEVEL, "v": (5000, 0.53)}}, primary_metric="rate"))
    found = lab.analyze("x")

    (row,) = found.rows
    assert 0 < row["shrunk_lift"] < row["lift"] == pytest.approx(0.06)
    assert "Expect a lift of +" in found.recommendations[1]
    assert (row["false_sign_rate"] < 0.2, row["chance_to_beat"] > 0.99) == (True, True)


def test_nothing_clear_keeps_running_or_is_no_difference(read: Any) -> None:
    arms = {"rate": {"c": (500, 0.5), "v": (500, 0.51)}}

    assert read(arms, status="running").verdict == "keep running"
    for status in ("finished", "draft", None):
        assert read(arms, status=status).verdict == "no difference seen"


def test_some_worse_and_none_better_stops_with_every_variant_named(read: Any) -> None:
    found = read({"rate": {"c": LEVEL, "a": (5000, 0.505), "b": LOW}})

    assert found.verdict == "stop"
    assert [reason[:7] for reason in found.reasons] == ["a: rate", "b: rate"]


def test_a_worse_variant_of_a_running_experiment_is_taken_out(read: Any) -> None:
    found = read({"rate": {"c": LEVEL, "a": (5000, 0.505), "b": LOW}}, status="running")

    assert found.verdict == "keep running"
    assert "Take b out" in found.recommendations[0]


def test_without_a_stated_plan_a_split_is_held_against_an_equal_one(read: Any) -> None:
    found = read({"rate": {"c": LEVEL, "v": (6000, 0.9)}}, variants=[{"variant_id": "c"}, {"variant_id": "v"}])

    assert found.verdict == "do not trust"
    assert "no other plan is stated" in found.reasons[0]


def test_a_broken_split_is_not_to_be_trusted_whatever_the_numbers_say(read: Any) -> None:
    found = read({"rate": {"c": LEVEL, "v": (6000, 0.9)}})

    assert found.verdict == "do not trust"
    assert "sample-ratio p = " in found.reasons[0]


@pytest.mark.parametrize(
    "arms",
    [
        {"rate": {"c": LEVEL}},
        {"rate": {"c": (1, 1.0), "v": (1, 0.0)}},
        {"rate": {"c": (500, 1.0), "v": (500, 1.0)}},
        {"rate": {"c": (500, 0.0), "v": (500, 0.0)}},
        {"basket": {"c": (500, 5.0, None), "v": (500, 9.0, None)}},
        {"basket": {"c": (500, 5.0, 0.0), "v": (500, 9.0, 0.0)}},
        {"rate": {"v": LEVEL}},
        {"rate": {"c": (0, 0.0), "v": (0, 0.0)}},
    ],
    ids=["one arm", "one unit each", "all converted", "none converted", "variance unknown", "no variance", "no control",
         "nobody"],
)  # fmt: skip
def test_what_cannot_be_tested_is_not_enough_data(read: Any, arms: Any) -> None:
    found = read(arms, variants=[{"variant_id": "c"}, {"variant_id": "v"}])

    assert found.verdict == "not enough data"
    assert found.reasons[0].startswith("No variant can be compared with the control on ")


def test_a_primary_metric_without_data_is_stood_in_for(read: Any) -> None:
    arms = {"c": (500, 10.0, 1.0), "v": (500, 12.0, 1.0)}
    found = read({"unlisted": arms, "basket": arms}, primary="rate")

    assert (found.primary_metric, found.verdict) == ("basket", "ship")
    assert "The stated primary metric rate has no data; basket stands in for it." in found.reasons


def test_the_primary_metric_is_a_family_of_its_own(read: Any) -> None:
    """A p-value of 0.043 among clear secondary differences would pass; among 20 others without any it would not."""
    close = {"c": (1000, 0.5), "v": (1000, 0.545)}
    null = {f"other{i}": {"c": (1000, 5.0, 1.0), "v": (1000, 5.0 + i / 1e4, 1.0)} for i in range(20)}

    for others in ({}, null):
        found = read({"rate": close, **others})
        [primary] = [row for row in found.rows if row["metric"] == "rate"]
        assert primary["p_adjusted"] == primary["p_value"] == pytest.approx(0.0438, abs=1e-4)
        assert found.verdict == "ship"
    assert all(row["p_adjusted"] >= row["p_value"] for row in found.rows)


def test_a_lift_on_a_control_of_zero_is_said_as_a_difference(read: Any) -> None:
    found = read({"basket": {"c": (500, 0.0, 1.0), "v": (500, 1.0, 1.0)}}, primary="basket")

    assert found.reasons[0].startswith(
        "v: basket 1 against 0 of the control, a difference of +1, unadjusted 95% interval +0.8"
    )


def test_a_stray_variant_and_its_units_are_named(read: Any) -> None:
    arms = {"rate": {"c": LEVEL, "v": HIGH, "stray": (90, 0.1)}}
    found = read(arms, variants=[{"variant_id": "c"}, {"variant_id": "v"}])

    assert found.verdict == "ship"
    assert "Variant stray is not in the definition: its 90 units are in no number." in found.reasons


def test_users_in_several_variants_are_counted(experiments_of: Any) -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    seen = [("s", "c"), ("t", "v"), ("u", "c"), ("u", "v"), ("w", "c"), ("w", "v")]
    assignments = [
        {"experiment_id": "x", "user_id": user, "variant_id": v, "first_exposed_at": start} for user, v in seen
    ]
    totals = [
        {"experiment_id": "x", "variant_id": v, "metric": "rate", "kind": "proportion", "n": 9, "mean": 0.4,
         "as_of": start, "event_id": v} for v in "cv"
    ]  # fmt: skip
    definition = {"experiment_id": "x", "variants": [{"variant_id": "c"}, {"variant_id": "v"}]}
    found = experiments_of({"experiments": [definition], "assignments": assignments, "metric_totals": totals}).analyze(
        "x"
    )

    assert found.crossovers == 2
    assert "2 users were seen in more than one variant and are left out of every number." in found.reasons


def test_experiments_that_cannot_be_read_say_why(experiments_of: Any, rows: Any) -> None:
    arms = {"rate": {"c": LEVEL, "v": HIGH}}
    experiments = experiments_of(
        rows("checkout-button", arms),
        rows("undefined", arms, variants=None),
        rows("no-variants", arms, variants=[]),
        rows("no-data", {}, variants=[{"variant_id": "c"}]),
    )

    with pytest.raises(NotFound, match=r"no experiment checkout-buton .*Did you mean checkout-button"):
        experiments.analyze("checkout-buton")
    with pytest.raises(NotFound, match="no experiment undefined among those that are defined"):
        experiments.analyze("undefined")
    with pytest.raises(BadInput, match="no-variants was defined without variants"):
        experiments.analyze("no-variants")
    with pytest.raises(NotFound, match="to compare of no-data"):
        experiments.analyze("no-data")


def test_markup_in_names_is_text(read: Any) -> None:
    variants = [{"variant_id": "c"}, {"variant_id": "v", "name": "<script>alert(1)</script>"}]
    html = read({"rate": {"c": LEVEL, "v": HIGH}}, name="<b>x", variants=variants)._repr_html_()

    assert "<script>" not in html
    assert "&lt;b&gt;x" in html


def test_a_readout_is_json(read: Any) -> None:
    found = read({"rate": {"c": LEVEL, "v": HIGH}})

    assert Readout.model_validate_json(found.model_dump_json()) == found
