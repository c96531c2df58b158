"""How long an experiment has to run: the units that it needs against the traffic that is to be expected."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.insights.evidence import TUNED_AT, evidence, moments_of
from neonblue_lab.insights.visitors import visitors
from neonblue_lab.metrics.definitions import SHARES, Metric
from neonblue_lab.metrics.statistics import users
from neonblue_lab.models.trends.trend import fit_trend
from neonblue_lab.stats.arrays import Floats, floats, refuse
from neonblue_lab.stats.power import Baseline, Design, Reading, minimum_effect, sample_size
from neonblue_lab.stats.power import power as power_of
from neonblue_lab.warehouse.warehouse import Warehouse

WEEK = 7

MOST_UNITS = 1e15
"""More than anybody has: a lift that takes so many is not to be found."""

LOOKS = 5
"""How often a sequential reading is planned to look, evenly spaced."""

METHODS = {
    "baseline": "controls of past experiments, each weighted by its units; variance within them, less what CUPED takes away "
    "where the metric has a covariate",
    "units": "power of the test of the difference: noncentral t, Welch's degrees of freedom; for a sequential reading the "
    "probability to cross its boundary at one of the looks; several variants share alpha (Bonferroni)",
    "traffic": "the forecaster that did best on the traffic's own past, with its weekly cycle; earliest and latest as if "
    "every day came out at the same end of its 95 % interval",
    "newcomers": "each day's users less those whom the experiment has met before",
}
"""What each number of a plan was computed by."""


@dataclass(frozen=True, eq=False)
class Plan:
    """An experiment that is to find a lift, on the traffic that is to be expected.

    Attributes:
        lift: relative change that is to be found.
        power: probability of finding it.
        design: alpha is that of each comparison.
        variants: beside the control.
        baseline: the metric without the change.
        control: units that the control needs.
        variant: units that each variant needs.
        days: days of traffic until there are so many; None where the forecast ends before.
        earliest: the same if every day comes out at the upper end of its interval; None likewise.
        latest: the same at the lower end; None likewise.
        by_day: day (1 is the first), date, units (expected by the end of it, all arms), low, high (of the units),
            minimum_lift (found with the power asked for if the experiment ends here), power (of finding `lift`).
        metric: that the baseline is of; None where that was not said.
        learned_from: the experiments whose controls are the baseline.
    """

    lift: float
    power: float
    design: Design
    variants: int
    baseline: Baseline
    control: int
    variant: int
    days: int | None
    earliest: int | None
    latest: int | None
    by_day: pl.DataFrame
    metric: str | None = None
    learned_from: tuple[str, ...] = ()

    @property
    def units(self) -> int:
        """Units of all arms."""
        return self.control + self.variants * self.variant

    @property
    def full_weeks(self) -> int | None:
        """Weeks that hold the days: what to run, so that each weekday counts as often as the others."""
        return None if self.days is None else -(-self.days // WEEK)

    def curves(self, lifts: Sequence[float]) -> pl.DataFrame:
        """Power by day for each of several lifts: day, date, units, lift, power."""
        pair = self._pair(self.by_day["units"].to_numpy())
        value = float(self.baseline.value)
        frames = [
            self.by_day.select(
                "day",
                "date",
                "units",
                lift=pl.lit(lift),
                power=pl.Series(
                    power_of(self.baseline, effect=lift * value, n=pair, design=self.design), nan_to_null=True
                ),
            )
            for lift in lifts
        ]
        return pl.concat(frames)

    def needs(self, lifts: Sequence[float]) -> pl.DataFrame:
        """What other lifts would take: lift, units (of all arms), days (null where the forecast ends before)."""
        effects = np.asarray(lifts) * self.baseline.value
        size = sample_size(self.baseline, effect=effects, power=self.power, design=self.design)
        units = size.control + self.variants * size.variant
        days = [_first_day(self.by_day["units"], needed) for needed in units]
        return pl.DataFrame(
            {"lift": lifts, "units": units, "days": days},
            schema={"lift": pl.Float64(), "units": pl.Float64(), "days": pl.Int64()},
        )

    def to_dict(self) -> dict[str, Any]:
        """The plan for machines."""
        return {
            "metric": self.metric,
            "baseline": float(self.baseline.value),
            "learned_from": list(self.learned_from),
            "lift": self.lift,
            "power": self.power,
            "alpha": self.design.alpha,
            "reading": self.design.reading,
            "looks": self.design.looks,
            "variants": self.variants,
            "units": self.units,
            "units_control": self.control,
            "units_variant": self.variant,
            "days": self.days,
            "earliest": self.earliest,
            "latest": self.latest,
            "full_weeks": self.full_weeks,
            "smaller_lifts": self._smaller.cast({"units": pl.Int64}).to_dicts(),
            "methods": METHODS,
            "by_day": self.by_day.with_columns(pl.col("date").cast(pl.String)).to_dicts(),
        }

    def __str__(self) -> str:
        """The plan in a few sentences."""
        return "\n".join([self._duration(), self._what_smaller_lifts_need(), *self._origin()])

    def _duration(self) -> str:
        sizes = f"{self.control:,} units in each arm"
        if self.control != self.variant:
            sizes = f"{self.control:,} units in the control and {self.variant:,} in each variant"
        lift = f"a lift of {100 * self.lift:+.4g}%{f' in {self.metric}' if self.metric else ''}"
        need = f"To find {lift} with a power of {100 * self.power:.4g}% takes {sizes}: {self.units:,} in all."
        if self.design.reading != "fixed":
            often = "once" if self.design.looks == 1 else f"{self.design.looks} times on the way"
            need += f" It is read {often}, by {self.design.reading} boundaries."
        end = self.by_day.row(-1, named=True)
        if self.days is None or self.full_weeks is None:
            least = "no lift" if end["minimum_lift"] is None else f"a lift of {100 * end['minimum_lift']:+.3g}%"
            return (
                f"{need}\nThe traffic is not expected to bring them within {end['day']} days: about {end['units']:,.0f} come "
                f"by {end['date']}, with which {least} can be found."
            )
        last = self.by_day.row(self.days - 1, named=True)["date"]
        latest = f"{self.latest}" if self.latest is not None else f"more than {end['day']}"
        return (
            f"{need}\nThey are expected within {_counted(self.days, 'day')}, by {last} (at the ends of the forecast: {self.earliest} and "
            f"{latest} days). Run it for {_counted(self.full_weeks, 'full week')}."
        )

    @property
    def _smaller(self) -> pl.DataFrame:
        return self.needs([self.lift / 2, self.lift / 4])

    def _what_smaller_lifts_need(self) -> str:
        said = []
        for lift, units, days in self._smaller.iter_rows():
            time = f"more than {_counted(self.by_day.height, 'day')}" if days is None else _counted(days, "day")
            said.append(f"{100 * lift:+.4g}% would take {units:,.0f} units ({time})")
        return f"Smaller lifts: {', '.join(said)}."

    def _origin(self) -> list[str]:
        if not self.learned_from:
            return []
        several = "" if len(self.learned_from) == 1 else "s"
        gain = 1 - float(self.baseline.variance_factor)
        cuped = f" CUPED takes {gain:.0%} of the variance away." if gain > 0 else ""
        return [
            f"Without the change {self.metric} is {float(self.baseline.value):.4g}, as in the control{several} of "
            f"{', '.join(self.learned_from)}.{cuped}"
        ]

    def _repr_html_(self) -> str:
        return str(self.by_day._repr_html_())

    def _pair(self, units: Floats) -> Floats:
        return _pair(units, self.design.ratio, self.variants)


def plan(
    baseline: Baseline,
    traffic: pl.DataFrame,
    *,
    lift: float,
    power: float = 0.8,
    variants: int = 1,
    share: float = 1.0,
    design: Design | None = None,
    newcomers: ArrayLike = 1.0,
    wait: int = 0,
    days: int = 90,
) -> Plan:
    """Plan an experiment that starts on the day after the last one of `traffic`.

    Args:
        baseline: the one metric that decides, without the change.
        traffic: columns day and users (`visitors(...).daily`), the more weeks the better: trend and weekly cycle are
            learned from it.
        lift: relative change that is to be found: 0.02 is +2 % of the baseline's value.
        power: probability of finding it.
        variants: beside the control; each is compared with it.
        share: of the users who take part.
        design: how the units are split between control and each variant, and how the test is read; its alpha is that
            of all comparisons together.
        newcomers: share of a day's users that the experiment has not met before, by its day from the first
            (`visitors(...).newcomers`); the last one stands for later days. 1: every user comes on one day only.
        wait: days from when a user comes until they count: the end of the metric's window.
        days: how far ahead traffic is forecast, no further than it reaches back.

    Raises:
        BadInput: an option that cannot be, or too little traffic to forecast.
    """
    if baseline.value.ndim != 0:
        raise BadInput(f"A plan is of one metric: the baseline has shape {baseline.value.shape}.")
    if not 0 < share <= 1:
        raise BadInput(f"share is {share}: of the users who take part, above 0 and at most 1.")
    if variants < 1:
        raise BadInput(f"variants is {variants}: at least one beside the control.")
    value = float(baseline.value)
    if not np.isfinite(lift):
        raise BadInput(f"lift is {lift}: a relative change such as 0.05, which is +5 %.")
    if lift == 0 or value == 0:
        raise BadInput(f"A lift of {lift} on a value of {value} is no change: no number of units finds it.")
    if baseline.proportion and not 0 <= value * (1 + lift) <= 1:
        raise BadInput(
            f"A lift of {100 * lift:+.4g}% on a share of {value:.4g} makes it {value * (1 + lift):.4g}, which is no share. A lift "
            "is relative: 0.05 is +5 %."
        )
    if days < 1:
        raise BadInput(f"days is {days}: traffic is forecast for at least one.")
    if wait < 0:
        raise BadInput(f"wait is {wait}: days until a user counts, none or more.")
    design = design or Design()
    each = replace(design, alpha=design.alpha / variants)
    needed = sample_size(baseline, effect=lift * value, power=power, design=each)
    if not needed.total < MOST_UNITS:
        raise BadInput(
            f"A lift of {100 * lift:+.4g}% on a value of {value:.6g} cannot be found by a test of this design, whatever the "
            "number of units."
        )
    control, variant = int(needed.control), int(needed.variant)

    expected = _expected_units(traffic, newcomers, share, wait, days)
    pair = _pair(expected["units"].to_numpy(), each.ratio, variants)
    smallest = minimum_effect(baseline, n=pair, power=power, design=each)
    by_day = expected.with_columns(
        minimum_lift=pl.Series(smallest / value, nan_to_null=True),
        power=pl.Series(power_of(baseline, effect=lift * value, n=pair, design=each), nan_to_null=True),
    )
    total = control + variants * variant
    return Plan(
        lift=lift,
        power=power,
        design=each,
        variants=variants,
        baseline=baseline,
        control=control,
        variant=variant,
        days=_first_day(by_day["units"], total),
        earliest=_first_day(by_day["high"], total),
        latest=_first_day(by_day["low"], total),
        by_day=by_day,
    )


def baseline_of(pairs: pl.DataFrame) -> Baseline:
    """What comparisons of past experiments say of one metric without a change.

    Each control counts by its units. The variance is that within experiments: how far their means lie apart is no noise of
    an experiment to come.

    Args:
        pairs: of one metric, as of `evidence.evidence`.

    Raises:
        NotFound: no control has a mean and a variance.
    """
    controls = pairs.unique("experiment_id", keep="first", maintain_order=True)
    past = moments_of(controls, "_control")
    known = np.isfinite(past.mean) & np.isfinite(past.variance)
    if not known.any():
        raise NotFound("No control of past experiments has a mean and a variance: there is no baseline to plan with.")
    value = np.average(past.mean[known], weights=past.n[known])
    gain = evidence(pairs, sign={})["cuped_gain"].to_numpy()
    reduced = np.isfinite(gain)
    left = 1 - np.average(gain[reduced], weights=pairs["n"].to_numpy()[reduced]) if reduced.any() else 1.0
    if controls["kind"].is_in(SHARES).all():
        return Baseline.of_proportion(value, variance_factor=left)
    variance = np.average(past.variance[known], weights=past.n[known] - 1)
    return Baseline.of_mean(value, variance, variance_factor=left)


def plan_metric(
    warehouse: Warehouse,
    metric: Metric,
    pairs: pl.DataFrame,
    *,
    lift: float,
    power: float,
    variants: int,
    share: float,
    design: Design,
    days: int,
) -> Plan:
    """`plan` on the lake's own data: the baseline from the controls of `pairs`, traffic from the lake's events.

    Args:
        warehouse: where the users are counted.
        metric: that decides.
        pairs: comparisons on it in the experiments to learn from, as of `evidence.evidence`.

    Raises:
        NotFound: no baseline, or no traffic.
        BadInput: the metric arrives as aggregates, whose units are not the lake's users; or as of `plan`.
    """
    controls = pairs.unique("experiment_id", keep="first").sort("experiment_id")
    exposed = int(users(warehouse, controls["experiment_id"])["users"].sum())
    if metric.event is None or not exposed:
        raise BadInput(
            f"{metric.name} arrives as aggregates: how many of its units a user makes is not known, so the lake's users say "
            "nothing of how long it takes. `stats.power.sample_size` says how many of its units a lift takes."
        )
    seen = visitors(warehouse)
    newcomers = seen.newcomers
    if metric.users == "with_event":
        newcomers = newcomers * (int(pl.concat([controls["n_control"], pairs["n"]]).sum()) / exposed)
    planned = plan(
        baseline_of(pairs),
        seen.daily,
        lift=lift,
        power=power,
        variants=variants,
        share=share,
        design=design,
        newcomers=newcomers,
        wait=math.ceil(metric.window[1]) if metric.window else 0,
        days=days,
    )
    return replace(planned, metric=metric.name, learned_from=tuple(controls["experiment_id"]))


def design_of(reading: Reading, alpha: float) -> Design:
    """An even split, read as a readout reads it: once, or sequentially at LOOKS looks.

    Raises:
        BadInput: there is no such reading, or alpha does not lie between 0 and 1.
    """
    if reading == "fixed":
        return Design(alpha=alpha)
    return Design(alpha=alpha, reading=reading, looks=LOOKS, tuned_at=TUNED_AT if reading == "always-valid" else None)


def _expected_units(traffic: pl.DataFrame, newcomers: ArrayLike, share: float, wait: int, days: int) -> pl.DataFrame:
    """Units by the end of each day ahead: day, date, units, low, high."""
    missing = [name for name in ("day", "users") if name not in traffic.columns]
    if missing:
        raise BadInput(f"traffic needs the columns day and users: {', '.join(missing)} is missing.")
    fresh = np.atleast_1d(floats("newcomers", newcomers))
    refuse(~((fresh >= 0) & (fresh <= 1)), "newcomers", fresh, "a share of a day's users lies between 0 and 1")
    trend = fit_trend(traffic.select(timestamp="day", value="users"))
    if trend.series.step.days != 1:
        raise BadInput(f"traffic must be by day: its days are {trend.series.step} apart.")
    ahead = trend.forecast(min(days, len(trend.series)))
    taken = share * fresh[np.minimum(np.arange(ahead.height), fresh.size - 1)]
    taken[max(0, ahead.height - wait) :] = 0
    arrived = {
        name: np.cumsum(np.roll(ahead[name].clip(lower_bound=0).to_numpy() * taken, wait))
        for name in ("mean", "low", "high")
    }
    return pl.DataFrame(
        {
            "day": np.arange(1, ahead.height + 1),
            "date": ahead["timestamp"].dt.date(),
            "units": arrived["mean"],
            "low": arrived["low"],
            "high": arrived["high"],
        }
    )


def _pair(units: Floats, ratio: float, variants: int) -> Floats:
    """Of the units of all arms, those of the control and one variant."""
    return np.asarray(units * (1 + ratio) / (1 + variants * ratio))


def _first_day(units: pl.Series, needed: float) -> int | None:
    """The first day by whose end there are enough."""
    enough = np.flatnonzero(units.to_numpy() >= needed)
    return int(enough[0]) + 1 if enough.size else None


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
