"""A plan made of what a lake holds: its past experiments give the baseline, its users the traffic."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.insights.experiments import Experiments
from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.stats.power import Baseline, Design, sample_size
from neonblue_lab.warehouse.warehouse import Warehouse

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS, USERS = 35, 40
METRICS = {
    metric.name: metric
    for metric in (
        Metric(name="conversion", kind="proportion", event="conversion"),
        Metric(name="within_three_days", kind="proportion", event="conversion", window=3),
        Metric(name="spent", kind="mean", event="purchase", of="value", covariate_days=3),
        Metric(name="spent_raw", kind="mean", event="purchase", of="value"),
        Metric(name="median_basket", kind="quantile", event="purchase", of="value", quantile=0.5, users="with_event"),
        Metric(name="refunds", kind="proportion", event="refund"),
        Metric(name="latency", kind="mean"),
    )
}
SHARES = {"old": 40, "e1": 8, "e2": 10, "e3": 12, "e4": 14, "e5": 16, "running": 40, "broken": 40}
"""Of 40 users in each control, those who convert. The five that count are e1 to e5: 60 of 200."""
BEFORE = np.random.default_rng(7).gamma(2.0, 10.0, USERS)
AFTER = BEFORE + np.random.default_rng(8).gamma(2.0, 10.0, USERS)
SPENDERS = 20
"""Of the 40 users of an arm, those who buy: after their exposure, and before."""


def _experiment(place, name):
    began = START + timedelta(days=4 + place)
    finished = name != "running"
    definition = {
        "experiment_id": name,
        "name": name,
        "status": "finished" if finished else "running",
        "started_at": began,
        "ended_at": began + timedelta(days=10) if finished else None,
        "variants": [{"variant_id": variant, "allocation": 0.5} for variant in ("control", "new")],
    }
    assignments, events = [], []
    for variant in ("control", "new"):
        users = USERS * 10 if (name, variant) == ("broken", "new") else USERS
        for i in range(users):
            user = f"{name}-{variant}-{i}"
            assignments.append(
                {"experiment_id": name, "user_id": user, "variant_id": variant, "first_exposed_at": began}
            )
            if i < SHARES[name]:
                events.append({"event_type": "conversion", "user_id": user, "timestamp": began + timedelta(hours=1)})
            if i < SPENDERS:
                for hours, value in ((-2, BEFORE[i]), (2, AFTER[i])):
                    moment = began + timedelta(hours=hours)
                    events.append({"event_type": "purchase", "user_id": user, "timestamp": moment, "value": value})
    return definition, assignments, events


@pytest.fixture(scope="module")
def experiments(lake_of):
    made = [_experiment(place, name) for place, name in enumerate(SHARES)]
    totals = [
        {
            "experiment_id": "e1",
            "variant_id": variant,
            "metric": "latency",
            "kind": "mean",
            "n": 5_000,
            "mean": 900.0,
            "variance": 1e4,
            "as_of": START,
            "event_id": variant,
        }
        for variant in ("control", "new")
    ]
    passers_by = [
        {"event_type": "page_view", "user_id": f"{day}-{i}", "timestamp": START + timedelta(days=day, hours=3)}
        for day in range(DAYS + 1)
        for i in range(500)
    ]
    lake = lake_of(
        experiments=[definition for definition, _, _ in made],
        assignments=[row for _, rows, _ in made for row in rows],
        events=[row for _, _, rows in made for row in rows] + passers_by,
        metric_totals=totals,
    )
    return Experiments(Warehouse(lake), METRICS)


class TestBaseline:
    def test_it_is_of_the_latest_controls_that_can_be_trusted(self, experiments):
        found = experiments.plan("conversion", lift=0.2)
        assert found.learned_from == ("e1", "e2", "e3", "e4", "e5")
        assert float(found.baseline.value) == pytest.approx(60 / 200)
        needed = sample_size(Baseline.of_proportion(0.3), effect=0.06)
        assert (found.control, found.variant) == (needed.control, needed.variant)

    def test_a_mean_has_the_variance_within_experiments(self, experiments):
        """Every arm holds the same numbers: numpy on one of them."""
        found = experiments.plan("spent_raw", lift=0.2)
        one = np.where(np.arange(USERS) < SPENDERS, AFTER, 0.0)
        assert float(found.baseline.value) == pytest.approx(one.mean())
        assert float(found.baseline.variance) == pytest.approx(one.var(ddof=1))
        assert float(found.baseline.variance_factor) == 1.0

    def test_a_covariate_takes_units_away(self, experiments):
        """Regression leaves 1 - r squared of the variance."""
        found = experiments.plan("spent", lift=0.2)
        before, after = (np.where(np.arange(USERS) < SPENDERS, numbers, 0.0) for numbers in (BEFORE, AFTER))
        left = 1 - np.corrcoef(before, after)[0, 1] ** 2
        assert float(found.baseline.variance_factor) == pytest.approx(left)
        assert found.units < experiments.plan("spent_raw", lift=0.2).units
        assert f"CUPED takes {1 - left:.0%} of the variance away" in str(found)


class TestTraffic:
    def test_it_is_of_the_users_of_the_lake(self, experiments):
        found = experiments.plan("conversion", lift=0.05)
        daily = np.diff(found.by_day["units"].to_numpy(), prepend=0.0)
        assert daily[7:] == pytest.approx(500, rel=0.05)  # beside them, those who take part in the last experiment
        half = experiments.plan("conversion", lift=0.05, share=0.5)
        assert half.by_day["units"].to_numpy() == pytest.approx(found.by_day["units"].to_numpy() / 2)

    def test_users_count_when_their_window_is_over(self, experiments):
        at_once = experiments.plan("conversion", lift=0.1).by_day["units"].to_list()
        later = experiments.plan("within_three_days", lift=0.1).by_day["units"].to_list()
        assert later == pytest.approx([0.0, 0.0, 0.0, *at_once[:-3]])

    def test_users_without_an_event_do_not_count_where_a_metric_leaves_them_out(self, experiments):
        everyone = experiments.plan("conversion", lift=0.1).by_day["units"].to_numpy()
        buyers = experiments.plan("median_basket", lift=0.3).by_day["units"].to_numpy()
        assert buyers == pytest.approx(everyone * SPENDERS / USERS)


class TestDesign:
    def test_options_reach_the_plan(self, experiments):
        found = experiments.plan("conversion", lift=0.3, power=0.9, alpha=0.1, variants=2, days=20)
        needed = sample_size(Baseline.of_proportion(0.3), effect=0.09, power=0.9, design=Design(alpha=0.05))
        assert (found.control, found.units) == (needed.control, needed.control + 2 * needed.variant)
        assert found.by_day.height == 20

    def test_a_sequential_reading_takes_more_units(self, experiments):
        units = {
            reading: experiments.plan("conversion", lift=0.2, reading=reading).units
            for reading in ("fixed", "obrien-fleming", "pocock", "always-valid")
        }
        assert list(units.values()) == sorted(set(units.values()))
        said = str(experiments.plan("conversion", lift=0.2, reading="pocock"))
        assert "It is read 5 times on the way, by pocock boundaries." in said


class TestAnswer:
    def test_smaller_lifts_are_plans_of_their_own(self, experiments):
        found = experiments.plan("conversion", lift=0.2)
        other = experiments.plan("conversion", lift=0.1)
        assert found.needs([0.1]).row(0) == (0.1, other.units, other.days)
        assert f"+10% would take {other.units:,} units ({other.days} days)" in str(found)
        stated = found.to_dict()
        assert stated["smaller_lifts"][0] == {"lift": 0.1, "units": other.units, "days": other.days}
        assert (stated["metric"], stated["learned_from"]) == ("conversion", ["e1", "e2", "e3", "e4", "e5"])

    @pytest.mark.parametrize(
        ("metric", "options", "error", "says"),
        [
            ("convers", {}, NotFound, "There is no metric convers; there are conversion"),
            ("refunds", {}, BadInput, "on a value of 0.0 is no change"),
            ("latency", {}, BadInput, "latency arrives as aggregates"),
            ("conversion", {"lift": 0.0}, BadInput, "is no change"),
            ("conversion", {"lift": 1e-9}, BadInput, "cannot be found"),
            ("conversion", {"lift": 5}, BadInput, r"\+500% on a share of 0.3 makes it 1.8"),
            ("conversion", {"lift": float("inf")}, BadInput, "lift is inf"),
            ("conversion", {"share": 2.0}, BadInput, "share is 2"),
            ("conversion", {"power": 1.0}, BadInput, "power is 1"),
            ("conversion", {"alpha": 7}, BadInput, "alpha is 7"),
            ("conversion", {"reading": "often"}, BadInput, "reading is 'often': it must be one of fixed"),
        ],
    )
    def test_what_cannot_be_planned_is_said(self, experiments, metric, options, error, says):
        with pytest.raises(error, match=says):
            experiments.plan(metric, **{"lift": 0.1} | options)

    def test_aggregates_of_a_metric_that_could_be_computed_are_aggregates(self, experiments_of, rows):
        """Without users in the experiments, what a unit is cannot be known."""
        arms = {"rate": {"control": (5_000, 0.1), "new": (5_000, 0.1)}}
        made = experiments_of(rows("e", arms))
        named = Experiments(made._warehouse, {"rate": Metric(name="rate", kind="proportion", event="conversion")})
        with pytest.raises(BadInput, match="rate arrives as aggregates"):
            named.plan("rate", lift=0.1)

    def test_nothing_to_learn_from(self, lake_of):
        with pytest.raises(NotFound, match="has measured conversion"):
            Experiments(Warehouse(lake_of()), METRICS).plan("conversion", lift=0.1)


def test_a_metric_is_tried_on_the_labs_own_users(experiments):
    found = experiments.simulate("conversion", experiment_id="e5", experiments=4_000, seed=3)
    low, high = found.rate_interval
    assert found.p_values.size == 4_000
    assert low - 0.02 < 0.05 < high + 0.02  # 40 users: the test of so few is near its level, not at it
    assert experiments.simulate("spent", experiment_id="e5", lift=3.0, seed=3).rate > found.rate


@pytest.mark.parametrize(
    ("metric", "experiment", "error", "said"),
    [
        ("no_such", "e1", NotFound, "There is no metric no_such; there are conversion"),
        ("conversion", "e9", NotFound, "There is no experiment e9"),
        ("latency", "e1", BadInput, "latency arrives as aggregates"),
        ("median_basket", "e1", BadInput, "median_basket is a quantile"),
    ],
)
def test_what_cannot_be_simulated_is_said(experiments, metric, experiment, error, said):
    with pytest.raises(error, match=said):
        experiments.simulate(metric, experiment_id=experiment)
