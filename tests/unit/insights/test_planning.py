"""An experiment is planned on traffic whose future is known: the days, the units and what could be found."""

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.insights.planning import plan
from neonblue_lab.insights.visitors import visitors
from neonblue_lab.stats.power import Baseline, Design, minimum_effect, power, sample_size
from neonblue_lab.warehouse.warehouse import Warehouse

FIRST = date(2026, 1, 5)  # a Monday
CONVERSION = Baseline.of_proportion(0.05)


def traffic(days, *, growth=0.0, weekend=0.5, base=2000.0, noise=0.0):
    """Users by day: growing by so many a day, fewer at the weekend."""
    at = np.arange(days)
    users = (base + growth * at) * np.where(at % 7 >= 5, weekend, 1.0)
    users = users * np.exp(noise * np.random.default_rng(4).standard_normal(days))
    return pl.DataFrame({"day": [FIRST + timedelta(int(i)) for i in at], "users": users})


def days_needed(future, units):
    return int(np.flatnonzero(np.cumsum(future) >= units)[0]) + 1


class TestDuration:
    def test_a_trend_and_a_weekly_cycle_go_on(self):
        """Learned from 12 weeks, checked on the weeks after: a mean of the past would be wrong by far."""
        whole = traffic(84 + 60, growth=40.0, noise=0.02)
        known, future = whole.head(84), whole["users"].to_numpy()[84:]
        found = plan(CONVERSION, known, lift=0.07)
        truth = days_needed(future, found.units)
        assert found.days == pytest.approx(truth, abs=1)
        assert found.earliest <= truth <= (found.latest or np.inf)
        naive = days_needed(np.full(60, known["users"].mean()), found.units)
        assert naive > truth + 5
        expected = np.diff(found.by_day["units"].to_numpy(), prepend=0.0)[:14]
        assert expected == pytest.approx(future[:14], rel=0.1)  # weekends among them

    def test_the_plan_begins_on_the_day_after(self):
        found = plan(CONVERSION, traffic(56), lift=0.1)
        assert found.by_day["date"][0] == FIRST + timedelta(56)
        assert found.by_day["day"].to_list() == list(range(1, 57))

    def test_units_are_those_of_the_test(self):
        needed = sample_size(CONVERSION, effect=0.005)
        found = plan(CONVERSION, traffic(56), lift=0.1)
        assert (found.control, found.variant, found.units) == (needed.control, needed.variant, needed.total)
        reached = found.by_day.row(found.days - 1, named=True)
        assert reached["units"] >= found.units
        assert reached["power"] >= 0.8
        assert reached["minimum_lift"] <= 0.1
        before = found.by_day.row(found.days - 2, named=True)
        assert before["power"] < 0.8
        assert found.full_weeks == -(-found.days // 7)

    def test_several_variants_share_alpha_and_traffic(self):
        found = plan(CONVERSION, traffic(56), lift=0.1, variants=3, design=Design(ratio=0.5))
        design = Design(alpha=0.05 / 3, ratio=0.5)
        needed = sample_size(CONVERSION, effect=0.005, design=design)
        assert (found.control, found.variant) == (needed.control, needed.variant)
        assert found.units == needed.control + 3 * needed.variant
        row = found.by_day.row(20, named=True)
        pair = row["units"] * 1.5 / 2.5  # of the units: 1 the control, 0.5 each variant
        assert row["power"] == pytest.approx(float(power(CONVERSION, effect=0.005, n=pair, design=design)))
        assert row["minimum_lift"] == pytest.approx(float(minimum_effect(CONVERSION, n=pair, design=design)) / 0.05)

    def test_a_share_of_the_users_and_those_met_before_count_less(self):
        everyone = plan(CONVERSION, traffic(56), lift=0.1)
        some = plan(CONVERSION, traffic(56), lift=0.1, share=0.5, newcomers=[1.0, 0.5, 0.25])
        daily = [np.diff(p.by_day["units"].to_numpy(), prepend=0.0)[:5] for p in (everyone, some)]
        assert daily[1] / daily[0] == pytest.approx([0.5, 0.25, 0.125, 0.125, 0.125])

    def test_what_the_traffic_cannot_bring(self):
        found = plan(CONVERSION, traffic(28), lift=0.01)
        assert (found.days, found.full_weeks, found.earliest) == (None, None, None)
        assert "not expected" in str(found)
        assert f"{100 * found.by_day['minimum_lift'][-1]:+.3g}% can be found" in str(found)

    def test_real_traffic_two_months_on(self, dataset):
        """Page views of a news site, planned on 300 days: the units came when they were expected."""
        views = pl.read_csv(dataset("upworthy_daily_pageviews.csv"), encoding="utf8-lossy")
        views.columns = ["day", "users"]
        views = views.select(
            pl.col("day").str.to_date("%m/%d/%y"), pl.col("users").str.replace_all(",", "").cast(pl.Float64) // 100
        )
        found = plan(Baseline.of_proportion(0.05), views[300:600], lift=0.04)
        truth = days_needed(views["users"].to_numpy()[600:660], found.units)
        assert found.earliest <= truth <= (found.latest or np.inf)
        assert found.days == pytest.approx(truth, abs=4)

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"lift": 0.0}, "no change"),
            ({"lift": 0.1, "share": 0.0}, "share is 0"),
            ({"lift": 0.1, "variants": 0}, "variants is 0"),
            ({"lift": 0.1, "days": 0}, "days is 0"),
            ({"lift": 0.1, "newcomers": [1.0, 1.2]}, "newcomers at index 1"),
            ({"lift": -0.1, "design": Design(alternative="greater")}, "cannot be found"),
        ],
    )
    def test_a_wrong_option_is_named(self, wrong, says):
        with pytest.raises(BadInput, match=says):
            plan(CONVERSION, traffic(28), **wrong)

    def test_traffic_is_by_day(self):
        with pytest.raises(BadInput, match="users is missing"):
            plan(CONVERSION, traffic(28).drop("users"), lift=0.1)
        weekly = traffic(140).gather_every(7)
        with pytest.raises(BadInput, match="must be by day"):
            plan(CONVERSION, weekly, lift=0.1)


class TestAnswer:
    def test_in_words_and_for_machines(self):
        found = plan(CONVERSION, traffic(56), lift=0.12, design=Design(reading="always-valid", looks=28))
        assert str(found).startswith(
            f"To find a lift of +12% with a power of 80% takes {found.control:,} units in each"
        )
        assert f"within {found.days} days" in str(found)
        stated = json.loads(json.dumps(found.to_dict()))
        assert stated["units"] == found.units
        assert stated["by_day"][0]["date"] == "2026-03-02"
        assert stated["reading"] == "always-valid"

    def test_curves_of_several_lifts(self):
        found = plan(CONVERSION, traffic(56), lift=0.1)
        curves = found.curves([0.05, 0.1])
        assert curves.columns == ["day", "date", "units", "lift", "power"]
        assert curves.filter(pl.col("lift") == 0.1)["power"].to_list() == found.by_day["power"].to_list()
        assert (curves.filter(pl.col("lift") == 0.05)["power"] < found.by_day["power"]).all()


@pytest.fixture(scope="module")
def seen(lake_of):
    """a comes every day, b every other day from day 1, c on day 4 alone; day 6 is not over."""
    days = {"a": range(7), "b": (1, 3, 5), "c": (4,)}
    events = [
        {"user_id": user, "event_type": "page_view", "timestamp": datetime(2026, 1, 5 + day, 9, tzinfo=UTC)}
        for user, on in days.items()
        for day in on
        for _ in range(2)
    ]
    events.append({"user_id": "d", "event_type": "signup", "timestamp": datetime(2026, 1, 6, tzinfo=UTC)})
    return Warehouse(lake_of(events=events))


class TestVisitors:
    def test_users_by_day(self, seen):
        daily = visitors(seen, event="page_view").daily
        assert daily["day"].to_list() == [FIRST + timedelta(i) for i in range(6)]
        assert daily["users"].to_list() == [1, 2, 1, 2, 2, 2]
        assert visitors(seen).daily["users"].to_list() == [1, 3, 1, 2, 2, 2]

    def test_newcomers_are_who_was_not_there_in_the_days_before(self, seen):
        """Counted by hand: of 9 user-days from day 1 on, those of b and c (4) had no visit the day before; of 7 from
        day 2 on, c's alone had none in two; of 6 from day 3 on, c's had none in three."""
        found = visitors(seen, event="page_view").newcomers
        assert found == pytest.approx([1.0, 4 / 9, 1 / 7, 1 / 6])

    def test_a_plan_of_both(self, lake_of):
        """Users who all come every day are met once: the first day is all the traffic there is."""
        events = [
            {
                "user_id": f"u{u}",
                "event_type": "page_view",
                "timestamp": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(d),
            }
            for u in range(50)
            for d in range(29)
        ]
        found = visitors(Warehouse(lake_of(events=events)))
        expected = plan(CONVERSION, found.daily, lift=0.1, newcomers=found.newcomers)
        assert expected.by_day["units"].to_list() == pytest.approx([50.0] * 28)

    def test_no_traffic(self, lake_of):
        with pytest.raises(NotFound, match="of type checkout"):
            visitors(Warehouse(lake_of()), event="checkout")
