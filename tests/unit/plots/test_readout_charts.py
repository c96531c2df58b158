"""The charts of a readout as a person sees them: lifts, splits, segments, the programme's prior and its decisions."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import altair as alt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import (
    cumulative_lift_chart,
    decision_chart,
    interval_chart,
    prior_chart,
    sample_ratio_panel,
    segment_forest,
)
from neonblue_lab.plots.lifts import LiftScale, written

Texts = Callable[[alt.TopLevelMixin], str]

START = date(2026, 3, 2)
INTERVALS = pl.DataFrame(
    {
        "metric": ["conversion_rate", "conversion_rate", "latency_p90", "latency_p90"],
        "variant_id": ["b", "c", "b", "c"],
        "lift": [0.05, 0.02, 0.03, -0.04],
        "lift_low": [0.03, 0.005, 0.01, -0.06],
        "lift_high": [0.07, 0.035, 0.05, -0.02],
        "always_low": [0.01, -0.01, -0.01, -0.07],
        "always_high": [0.09, 0.05, 0.07, -0.01],
        "better": [None, "higher", "lower", "lower"],
        "guardrail": [False, None, True, True],
        "margin": [None, None, 0.02, 0.02],
    }
)
DAYS = pl.DataFrame(
    {
        "day": [START + timedelta(day) for day in range(6)],
        "lift": [0.2, 0.1, 0.08, 0.06, 0.06, 0.05],
        "lift_low": [-0.1, 0.01, 0.02, 0.02, 0.03, 0.03],
        "lift_high": [0.5, 0.19, 0.14, 0.1, 0.09, 0.07],
        "always_low": [-0.9, -0.2, -0.02, 0.001, -0.01, 0.01],
        "always_high": [1.3, 0.4, 0.18, 0.119, 0.13, 0.09],
    }
)
SEGMENTS = pl.DataFrame(
    {
        "dimension": ["country", "country", "device"],
        "segment": ["DE", None, "mobile"],
        "lift": [0.1, None, -0.02],
        "lift_low": [0.02, None, -0.04],
        "lift_high": [0.18, None, 0.0],
        "shrunk": [0.04, None, -0.015],
        "shrunk_low": [0.01, None, -0.029],
        "shrunk_high": [0.07, None, -0.001],
        "interaction_p": [0.031, 0.031, 0.4],
    }
)
PRIOR = pl.DataFrame(
    {
        "lift": [0.2, 0.1, 0.01, -0.1, None],
        "standard_error": [0.05, 0.05, 0.05, 0.05, 0.05],
        "shrunk": [0.1, 0.04, 0.001, -0.04, None],
        "false_sign_rate": [0.001, 0.2, 0.5, 0.2, None],
    }
)
DECISIONS = pl.DataFrame(
    {
        "experiment_id": ["e1", "e2", "e3", "e4"],
        "days": [7, None, 30, 3],
        "planned_days": [28, 28, 20, 10],
        "verdict": ["better", None, "worse", "better"],
    }
)
SPLIT = pl.DataFrame(
    {
        "day": [START, START, START + timedelta(1), START + timedelta(1)],
        "variant_id": ["a", "b", "a", "b"],
        "units": [5020, 4980, 5400, 4600],
        "allocation": [1, 1, 1, 1],
    }
)


def rows_with(chart: alt.TopLevelMixin, *columns: str) -> list[dict[str, Any]]:
    """The rows of the largest of the data sets that have `columns`."""
    holding = [rows for rows in chart.to_dict()["datasets"].values() if rows and set(columns) <= rows[0].keys()]
    rows: list[dict[str, Any]] = max(holding, key=len)
    return rows


def subtitle(chart: alt.TopLevelMixin) -> str:
    return " ".join(chart.to_dict()["title"]["subtitle"])


def test_each_interval_is_judged_by_itself_and_in_the_metric_s_direction(texts: Texts) -> None:
    chart = interval_chart(INTERVALS)
    verdicts = [(row["fixed"], row["always"]) for row in rows_with(chart, "fixed", "always")]
    assert verdicts == [("better", "better"), ("better", "not clear"), ("worse", "not clear"), ("better", "better")]
    shown = texts(chart)
    for text in (
        "conversion_rate",
        "guardrail: at most 2% worse · lower is better",
        "+5.0% (+3.0% to +7.0%)",
        "−4.0% (−6.0% to −2.0%)",
        "confidence sequence",
        "95%",
    ):
        assert text in shown


def test_what_a_guardrail_may_lose_lies_on_its_bad_side() -> None:
    both = INTERVALS.with_columns(guardrail=True, margin=0.02)
    assert [row["limit"] for row in rows_with(interval_chart(both), "limit")] == [-0.02, -0.02, 0.02, 0.02]


def test_one_variant_is_in_the_title_and_its_metrics_are_the_rows(texts: Texts) -> None:
    shown = texts(interval_chart(INTERVALS.filter(variant_id="b").with_columns(name=pl.lit("One page"))))
    assert "What did One page change?" in shown
    assert "guardrail: at most 2% worse · lower is better" in shown


def test_without_always_valid_intervals_nothing_is_said_of_them() -> None:
    assert "always-valid" not in subtitle(interval_chart(INTERVALS.drop("always_low", "always_high")))
    assert "always-valid" not in subtitle(cumulative_lift_chart(DAYS.drop("always_low", "always_high"), metric="m"))


def test_a_lift_that_cannot_be_computed_keeps_its_row(texts: Texts) -> None:
    holed = INTERVALS.with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(None).otherwise(pl.col(column)).alias(column)
        for column in ("lift", "lift_low", "lift_high", "always_low", "always_high")
    )
    assert "cannot be computed" in texts(interval_chart(holed))


def test_one_huge_interval_does_not_flatten_the_others(texts: Texts) -> None:
    huge = INTERVALS.with_columns(
        lift_high=pl.when(pl.int_range(pl.len()) == 1).then(90.0).otherwise("lift_high"),
    )
    chart = interval_chart(huge)
    assert max(row["lift_high"] for row in rows_with(chart, "fixed", "always")) < 0.5
    assert "+9,000%" in texts(chart)
    assert "An arrow" in subtitle(chart)


def test_variants_whose_names_read_alike_are_told_apart(texts: Texts) -> None:
    shown = texts(interval_chart(INTERVALS.with_columns(name=pl.lit("x" * 60))))
    assert "x" * 39 + "… · b" in shown
    assert "x" * 39 + "… · c" in shown


ENDS = st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([float("inf"), float("nan"), 0.0, 1e-9]))


@given(rows=st.lists(st.tuples(ENDS, ENDS, ENDS, ENDS), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_every_mark_lies_on_the_scale_whatever_the_numbers(rows: list[tuple[float | None, ...]]) -> None:
    frame = pl.DataFrame(
        [
            {"metric": f"m{i % 3}", "variant_id": f"v{i}", "lift": 0.01, "lift_low": a, "lift_high": b}
            | {"always_low": c, "always_high": d}
            for i, (a, b, c, d) in enumerate(rows)
        ],
        schema_overrides=dict.fromkeys(("lift_low", "lift_high", "always_low", "always_high"), pl.Float64),
    )
    chart = interval_chart(frame).to_dict()
    (low, high), *_ = (
        layer["encoding"]["x"]["scale"]["domain"]
        for layer in chart["layer"]
        if "scale" in layer.get("encoding", {}).get("x", {})
    )
    assert low < 0 < high
    drawn = max((rows for rows in chart["datasets"].values() if rows and "fixed" in rows[0]), key=len)
    for row in drawn:
        for column in ("lift_low", "lift_high", "always_low", "always_high"):
            assert row[column] is None or low <= row[column] <= high


@pytest.mark.parametrize(
    ("lift", "low", "high", "text"),
    [
        (0.031, 0.004, 0.058, "+3.1% (+0.4% to +5.8%)"),
        (0.5, -0.5, 1.5, "+50% (−50% to +150%)"),
        (0.00042, 0.00001, 0.00083, "+0.042% (+0.001% to +0.083%)"),
        (-0.0001, -0.1, 0.1, "0% (−10% to +10%)"),
        (0.0, 0.0, 0.0, "0.0% (0.0% to 0.0%)"),
        (0.12, None, None, "+12%"),
        (None, None, None, "cannot be computed"),
    ],
)
def test_a_lift_is_written_to_the_digits_that_its_interval_gives_sense_to(
    lift: float | None, low: float | None, high: float | None, text: str
) -> None:
    assert written(lift, low, high) == text


def test_a_scale_that_needs_no_cutting_shows_everything() -> None:
    frame = pl.DataFrame({"low": [-0.1, -0.2], "high": [0.1, 0.3]})
    scale = LiftScale.of(frame, ["low", "high"])
    assert scale.least <= -0.2
    assert scale.most >= 0.3
    assert not scale.cuts(frame, ["low", "high"])


def test_the_first_day_on_which_the_always_valid_band_leaves_zero_out_decides(texts: Texts) -> None:
    shown = texts(cumulative_lift_chart(DAYS, metric="conversion_rate"))
    # The fixed interval leaves it out on 3 March already; the always-valid one comes back on the 6th, which undoes nothing.
    assert "better since 5 Mar 2026" in shown
    assert "+5.0% (+3.0% to +7.0%)" in shown
    assert "worse since 5 Mar 2026" in texts(cumulative_lift_chart(DAYS, metric="latency", better="lower"))


def test_fixed_intervals_alone_decide_on_the_last_day_only(texts: Texts) -> None:
    shown = texts(cumulative_lift_chart(DAYS.drop("always_low", "always_high"), metric="m"))
    assert "since" not in shown
    assert "better" in shown


def test_each_variant_has_its_picture_on_one_scale(texts: Texts) -> None:
    twelve = pl.concat([DAYS.with_columns(variant_id=pl.lit(f"variant {i}")) for i in range(12)])
    chart = cumulative_lift_chart(twelve, metric="m")
    assert len(chart.to_dict()["concat"]) == 12
    domains = {
        tuple(layer["encoding"]["y"]["scale"]["domain"])
        for picture in chart.to_dict()["concat"]
        for layer in picture["layer"]
        if "scale" in layer["encoding"].get("y", {})
    }
    assert len(domains) == 1
    assert "variant 11" in texts(chart)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_range_of_a_share_is_that_of_the_binomial(share: float) -> None:
    n = 10_000
    frame = pl.DataFrame({"day": START, "variant_id": ["a", "b"], "units": [n - 1000, 1000]}).with_columns(
        allocation=pl.Series([100 * (1 - share), 100 * share])
    )
    row = rows_with(sample_ratio_panel(frame), "low", "high")[0]
    exact = stats.binom.ppf([0.0005, 0.9995], n, share) / n
    assert [row["low"], row["high"]] == pytest.approx(exact, abs=4 / n)
    assert row["planned"] == pytest.approx(share)
    assert row["verdict"] == ("as planned" if share == 0.1 else "not as planned")


def test_of_two_variants_the_second_is_shown(texts: Texts) -> None:
    chart = sample_ratio_panel(SPLIT)
    assert [round(row["share"], 3) for row in rows_with(chart, "share")] == [0.498, 0.46]
    assert "By day, 1 of 2 shares lie outside" in subtitle(chart)
    assert "b, by day" in texts(chart)


def test_a_variant_without_a_row_got_no_units() -> None:
    row = rows_with(sample_ratio_panel(SPLIT.filter(~((pl.col("variant_id") == "b") & (pl.col("units") == 4600)))), "n")
    assert [(day["units"], day["planned"]) for day in row] == [(4980, 0.5), (0, 0.5)]


def test_the_variants_and_segments_furthest_from_the_plan_are_shown(texts: Texts) -> None:
    variants = [f"v{i}" for i in range(12)]
    days = pl.DataFrame({"day": START, "variant_id": variants, "units": [1000] * 11 + [700], "allocation": 1})
    segments = pl.concat(
        pl.DataFrame(
            {"segment": f"s{i}", "variant_id": variants, "units": [1000] * 11 + [990 - 10 * i], "allocation": 1}
        )
        for i in range(20)
    )
    chart = sample_ratio_panel(days, segments, top=3)
    shown = texts(chart)
    for text in ("v11, by day", "the 3 of 12 variants furthest", "the 12 furthest", "s19"):
        assert text in shown
    assert "s0 " not in shown
    assert len(chart.to_dict()["concat"]) == 6


def test_segments_stand_by_dimension_with_what_is_to_be_believed(texts: Texts) -> None:
    shown = texts(segment_forest(SEGMENTS, metric="conversion_rate", overall=0.02))
    for text in (
        "country",
        "one lift for all? p = 0.031",
        "+4.0% (+1.0% to +7.0%)",
        "(not known)",
        "cannot be computed",
        "Cochran's Q",
        "empirical Bayes",
    ):
        assert text in shown


def test_a_segment_is_coloured_by_its_shrunk_interval() -> None:
    chart = segment_forest(SEGMENTS, metric="m", overall=0.02, better="lower")
    assert [row["verdict"] for row in rows_with(chart, "shrunk", "verdict")] == ["worse", "not clear", "better"]
    assert "Cochran" not in subtitle(segment_forest(SEGMENTS.drop("interaction_p"), metric="m", overall=0.02))


def test_the_prior_tells_how_much_of_the_clear_lifts_is_left() -> None:
    chart = prior_chart(PRIOR, metric="conversion_rate")
    verdicts = {row["lift"]: row["verdict"] for row in rows_with(chart, "shrunk", "verdict")}
    doubtful = "clear as measured, doubtful when shrunk"
    assert verdicts == {0.2: "clear, also when shrunk", 0.1: doubtful, 0.01: "not clear", -0.1: doubtful}
    # Of 20 %, 10 % and -10 % stay 10 %, 4 % and -4 %.
    assert "3 lifts, of 10% at the median, 4.0% after shrinking; the sign of 2 is doubtful" in subtitle(chart)
    assert "4 comparisons" in subtitle(chart)


def test_lifts_that_are_not_drawn_are_counted() -> None:
    far = pl.concat([PRIOR.head(4)] * 5 + [PRIOR.head(1).with_columns(lift=90.0)])
    assert "Not drawn, as they lie far off: 1" in subtitle(prior_chart(far, metric="m"))


def test_decisions_are_counted_against_the_plan(texts: Texts) -> None:
    chart = decision_chart(DECISIONS)
    # 7 of 28 and 3 of 10 days: 25 % and 30 % of the plan, 21 + 7 days saved; 30 of 20 is late.
    said = "2 of 4 experiments could have been decided before it, half of them within 28% of the planned time: 28 days"
    assert said in subtitle(chart)
    shown = texts(chart)
    for text in ("day 7, planned 28", "not decided, planned 28", "day 30, planned 20", "confidence sequence"):
        assert text in shown
    assert [row["experiment_id"] for row in rows_with(chart, "days")] == ["e4", "e1", "e3", "e2"]


def test_of_many_decisions_the_names_give_way(texts: Texts) -> None:
    many = pl.concat([DECISIONS] * 50)
    shown = texts(decision_chart(many))
    assert "e1" not in shown
    assert "100 of 200 experiments" in shown


ONE: dict[str, Callable[[], Any]] = {
    "intervals": lambda: interval_chart(INTERVALS.head(1)),
    "cumulative": lambda: cumulative_lift_chart(DAYS.head(1), metric="m"),
    "split": lambda: sample_ratio_panel(SPLIT.head(2), SPLIT.head(2).select(pl.exclude("day"), segment=pl.lit(None))),
    "segments": lambda: segment_forest(SEGMENTS.drop("dimension").head(1), metric="m", overall=0.0),
    "prior": lambda: prior_chart(PRIOR.head(1), metric="m"),
    "decisions": lambda: decision_chart(DECISIONS.head(1).drop("verdict")),
}


@pytest.mark.parametrize("case", ONE)
def test_one_row_is_enough(texts: Texts, case: str) -> None:
    assert texts(ONE[case]())


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: interval_chart(INTERVALS.clear()), "no rows"),
        (lambda: interval_chart(INTERVALS.drop("lift")), "lift is missing"),
        (lambda: interval_chart(INTERVALS.with_columns(lift=pl.lit(None))), "no row has a value in each of lift"),
        (lambda: interval_chart(INTERVALS.with_columns(better=pl.lit("up"))), "higher or lower .* it holds 'up'"),
        (lambda: interval_chart(INTERVALS.with_columns(guardrail=pl.lit(1))), "true or false .* it holds 1"),
        (lambda: cumulative_lift_chart(DAYS, metric="m", better="more"), "it holds 'more'"),
        (lambda: cumulative_lift_chart(DAYS.clear(), metric="m"), "no rows"),
        (lambda: segment_forest(SEGMENTS.clear(), metric="m", overall=0.0), "no rows"),
        (lambda: prior_chart(PRIOR.tail(1), metric="m"), "no row has a value"),
        (lambda: decision_chart(DECISIONS.with_columns(days=pl.lit(-1))), "not negative; one is -1"),
        (lambda: decision_chart(DECISIONS.with_columns(verdict=pl.lit("won"))), "it holds 'won'"),
        (lambda: sample_ratio_panel(SPLIT.filter(variant_id="a")), "two variants or more; the frame has a alone"),
        (lambda: sample_ratio_panel(SPLIT.with_columns(units=pl.lit(0))), "no day has units"),
        (lambda: sample_ratio_panel(SPLIT.with_columns(units=-pl.col("units"))), "not negative"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_sentence(draw: Callable[[], Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        draw()
