"""Charts of a plan say on which day which lift is found."""

import numpy as np
import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.plots.planning import minimum_lift_chart, power_chart
from neonblue_lab.stats.power import Baseline, minimum_effect, power

DAYS = np.arange(1, 43)
UNITS = 4000.0 * DAYS
BASELINE = Baseline.of_proportion(0.05)


def curves(*lifts):
    frames = [
        pl.DataFrame({"day": DAYS, "units": UNITS, "lift": lift, "power": power(BASELINE, effect=0.05 * lift, n=UNITS)})
        for lift in lifts
    ]
    return pl.concat(frames)


@pytest.fixture
def by_day():
    return pl.DataFrame({"day": DAYS, "units": UNITS, "minimum_lift": minimum_effect(BASELINE, n=UNITS) / 0.05})


class TestPowerChart:
    def test_each_lift_is_named_and_the_day_on_which_it_is_found(self, texts):
        drawn = texts(power_chart(curves(0.02, 0.08, 0.1)))
        for lift in ("+2%", "+8%", "+10%"):
            assert lift in drawn
        first = {
            lift: int(DAYS[np.argmax(power(BASELINE, effect=0.05 * lift, n=UNITS) >= 0.8)]) for lift in (0.08, 0.1)
        }
        assert f"for a lift of +10% on day {first[0.1]}, of +8% on day {first[0.08]}." in drawn
        assert "About 170,000 units come within 42 days" in drawn
        assert "+2% on day" not in drawn

    def test_none_is_found(self, texts):
        assert "A power of 90% is not reached for any." in texts(power_chart(curves(0.01), power=0.9))

    def test_labels_that_would_lie_upon_each_other_are_moved_apart(self):
        chart = power_chart(curves(0.2, 0.25, 0.3, 0.4)).to_dict()
        data = next(rows for rows in chart["datasets"].values() if "label_at" in rows[0])
        places = sorted(row["label_at"] for row in data)
        assert min(np.diff(places)) > 0.05
        assert places[-1] <= 1.0

    def test_more_lifts_than_colours(self):
        with pytest.raises(BadInput, match="at most 7 lifts"):
            power_chart(curves(*np.linspace(0.01, 0.1, 8)))

    def test_nothing_to_show(self):
        with pytest.raises(BadInput, match="power_chart has nothing to show"):
            power_chart(curves(0.1).clear())


class TestMinimumLiftChart:
    def test_full_weeks_are_labelled(self, texts, by_day):
        drawn = texts(minimum_lift_chart(by_day))
        for week in (7, 14, 42):
            lift = 100 * by_day["minimum_lift"][week - 1]
            assert f"+{lift:.2f}".rstrip("0") in drawn
        assert "missed more than 20% of the time" in drawn

    def test_the_lift_that_is_hoped_for(self, texts, by_day):
        day = int(DAYS[np.argmax(by_day["minimum_lift"].to_numpy() <= 0.08)])
        assert f"+8%, is found from day {day} on." in texts(minimum_lift_chart(by_day, lift=0.08))
        assert "+1%, is not found in 42 days." in texts(minimum_lift_chart(by_day, lift=0.01))

    def test_a_few_days_and_days_with_nothing_to_find(self, texts, by_day):
        short = by_day.head(5).with_columns(minimum_lift=pl.when(pl.col("day") > 2).then("minimum_lift"))
        assert "What could be found" in texts(minimum_lift_chart(short))
