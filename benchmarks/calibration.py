"""Do the tests err as often as they say, do the intervals cover what they say, does the planner promise what comes true?

Everything is simulated, so that the truth is known: users with a skewed number of sessions, a skewed value of each, and
the same of the time before the experiment. No figure depends on the machine, and a seed repeats them all.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr
from timing import print_table

from neonblue_lab.stats import cuped
from neonblue_lab.stats.alpha_spending import boundaries
from neonblue_lab.stats.always_valid import confidence_sequence, mixture_sprt
from neonblue_lab.stats.bayes import beta_posterior, normal_posterior
from neonblue_lab.stats.effects import differences, log_lifts
from neonblue_lab.stats.joint import JointMoments
from neonblue_lab.stats.moments import Moments
from neonblue_lab.stats.multiplicity import benjamini_hochberg, benjamini_yekutieli, holm
from neonblue_lab.stats.novelty import trend
from neonblue_lab.stats.omnibus import homogeneity, welch_anova
from neonblue_lab.stats.poststratification import poststratified
from neonblue_lab.stats.power import Baseline, Design, minimum_effect, power, sample_size
from neonblue_lab.stats.quantiles import Quantile, quantile_of_sorted
from neonblue_lab.stats.ratio import linearised
from neonblue_lab.stats.ratio_diagnosis import broken_span, by_part
from neonblue_lab.stats.sample_ratio import sample_ratio, sample_ratio_exact
from neonblue_lab.stats.segments import interaction
from neonblue_lab.stats.sequential_ratio import sequential_sample_ratio, sequential_share
from neonblue_lab.stats.shrinkage import fit
from neonblue_lab.stats.two_sample import noninferiority, two_proportions, welch

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

ALPHA = 0.05
UNITS = 1_000
"""Users of an arm."""
LOOKS = 28
DAILY = 80
"""Users of an arm and day, where there is a look a day."""
CHUNK = 500
"""Experiments whose users are in memory at once."""
FARTHEST = 3.0
"""Monte-Carlo standard errors that a figure may lie from what it should be."""

MEAN, RATIO = 6.0, 2.0
VARIANCE, VARIANCE_OF_RATIO = 89.0, 49.0 / 9
"""Of a user's value, and of its linearised ratio to the user's sessions: see `users`."""
CORRELATION, CORRELATION_OF_RATIO = 49 / 89, 17 / 49
"""With the same of the time before."""
RATE = 0.1


@dataclass(frozen=True)
class Finding:
    """One row: a figure beside what it should be.

    Attributes:
        question: what is counted.
        of: the test, interval or plan.
        found: the figure.
        error: its Monte-Carlo standard error.
        low: what it should be at least.
        high: what it should be at most.
    """

    question: str
    of: str
    found: float
    error: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        return self.low - FARTHEST * self.error <= self.found <= self.high + FARTHEST * self.error

    def row(self) -> list[str]:
        """As shown."""
        if self.low == self.high:
            meant, off = f"{self.low:.2%}", f"{(self.found - self.low) / self.error:+.1f}"
        elif np.isinf(self.low):
            meant, off = f"at most {self.high:.2%}", ""
        elif np.isinf(self.high):
            meant, off = f"at least {self.low:.2%}", ""
        else:
            meant, off = f"{self.low:.1%} to {self.high:.1%}", ""
        return [
            self.question,
            self.of,
            meant,
            f"{self.found:.2%}",
            f"{self.error:.2%}",
            off,
            "yes" if self.holds else "NO",
        ]


def share(question: str, of: str, hits: ArrayLike, low: float | None, high: float | None = None) -> Finding:
    """How often something happened; `low` alone is what is expected exactly."""
    flags = np.asarray(hits, dtype=np.float64)
    found = float(flags.mean())
    least = -np.inf if low is None else low
    most = least if high is None else high
    middle = min(max(found, least), most)
    error = np.sqrt(max(middle * (1 - middle), 1 / flags.size) / flags.size)
    return Finding(question, of, found, float(error), least, most)


def exactly_alpha(of: str, p_values: Floats) -> Finding:
    return share("false positives at 5 %", of, p_values < ALPHA, ALPHA)


def covers(of: str, low: Floats, high: Floats, truth: ArrayLike) -> Finding:
    return share("95 % interval covers", of, (low <= truth) & (truth <= high), 0.94, 0.96)


@dataclass(frozen=True)
class Users:
    """Users of one arm of many experiments; each array has the shape (experiments, users)."""

    value: Floats
    sessions: Floats
    value_before: Floats
    sessions_before: Floats

    def joint(self) -> JointMoments:
        columns = np.stack([self.value, self.sessions, self.value_before, self.sessions_before], axis=-1)
        mean = columns.mean(axis=1)
        about = columns - mean[:, None]
        covariance = np.swapaxes(about, 1, 2) @ about / (columns.shape[1] - 1)
        return JointMoments(("y", "d", "x", "w"), columns.shape[1], mean, covariance)

    def strata(self) -> list[Moments]:
        """Moments of the value by sessions before, from few to many."""
        classes = np.digitize(self.sessions_before, [1.5, 3.5])
        return [self._within(classes == i) for i in range(3)]

    def _within(self, member: Flags) -> Moments:
        n = member.sum(axis=1)
        with np.errstate(all="ignore"):
            mean = np.where(member, self.value, 0.0).sum(axis=1) / n
            spread = np.where(member, (self.value - mean[:, None]) ** 2, 0.0).sum(axis=1) / (n - 1)
        return Moments(n, mean, spread)


def users(rng: np.random.Generator, *shape: int) -> Users:
    """Simulated users. Activity a is gamma of shape 1/2 and mean 1, quality q gamma of shape 4 and mean 1; sessions
    d = 1 + Poisson(2 a), their value y gamma of shape d / 2 and scale 4 q; the same a and q before.

    Hence E d = 3, var d = 10, E y = 6, var y = 89, and with x, w of the time before cov(y, x) = 49. Linearised at the
    ratio 2, y - 2 d has the variance 49 and the covariance 17 with x - 2 w.
    """
    activity, quality = rng.gamma(0.5, 2.0, shape), rng.gamma(4.0, 0.25, shape)
    sessions, before = 1.0 + rng.poisson(2 * activity), 1.0 + rng.poisson(2 * activity)
    return Users(
        4 * quality * rng.standard_gamma(sessions / 2), sessions, 4 * quality * rng.standard_gamma(before / 2), before
    )


def shifted(moments: Moments, by: float) -> Moments:
    return Moments(moments.n, moments.mean + by, moments.variance)


def scaled(moments: Moments, lift: float) -> Moments:
    return Moments(moments.n, moments.mean * (1 + lift), moments.variance * (1 + lift) ** 2)


def joined(parts: list[JointMoments]) -> JointMoments:
    return JointMoments(
        parts[0].columns,
        np.concatenate([part.n for part in parts]),
        np.concatenate([part.mean for part in parts]),
        np.concatenate([part.covariance for part in parts]),
    )


def stacked(parts: list[Moments]) -> Moments:
    """Rows of the parts, one part after the other."""
    columns = ([getattr(part, name) for part in parts] for name in ("n", "mean", "variance"))
    return Moments(*(np.concatenate(column) for column in columns))


def means(rng: np.random.Generator, experiments: int) -> Iterator[Finding]:
    """Everything that is made of the users' values at one moment: means, ratios, CUPED, strata, segments."""
    control_parts, variant_parts, stratified = [], [], []
    segments: list[list[Moments]] = [[], []]
    for start in range(0, experiments, CHUNK):
        n = min(CHUNK, experiments - start)
        arms = users(rng, n, UNITS), users(rng, n, UNITS)
        control_parts.append(arms[0].joint())
        variant_parts.append(arms[1].joint())
        strata = [arm.strata() for arm in arms]
        groups = np.tile(np.arange(n), len(strata[0]))
        stratified.append(poststratified(stacked(strata[0]), stacked(strata[1]), groups))
        for kept, of_arm in zip(segments, strata, strict=True):
            kept.append(Moments(*(np.stack([getattr(s, k) for s in of_arm], -1) for k in ("n", "mean", "variance"))))
    joint = joined(control_parts), joined(variant_parts)
    control, variant = (arm.moments() for arm in joint)
    ratios = linearised(joint[0]), linearised(joint[1])
    plain = [JointMoments.of(arm.n, {"y": arm.mean[:, 0], "x": arm.mean[:, 2]}, _pairs(arm)) for arm in joint]
    reduced, reduced_ratio = cuped.adjusted(*plain), cuped.adjusted(*joint)
    post = [stacked([getattr(part, arm) for part in stratified]) for arm in ("control", "variant")]

    same = welch(control, variant)
    yield exactly_alpha("Welch, mean", same.p_value)
    yield exactly_alpha("Welch, mean, one-sided", welch(control, variant, alternative="greater").p_value)
    yield exactly_alpha("lift, delta method", same.p_value_relative)
    yield exactly_alpha("lift, log scale", welch(control, variant, lift_scale="log").p_value_relative)
    yield exactly_alpha("ratio of means", welch(*ratios).p_value)
    yield exactly_alpha("CUPED, mean", welch(reduced.control, reduced.variant).p_value)
    yield exactly_alpha("CUPED, ratio", welch(reduced_ratio.control, reduced_ratio.variant).p_value)
    yield exactly_alpha("post-stratified", welch(post[0], post[1]).p_value)
    yield exactly_alpha("non-inferiority, worse by the margin", _at_the_margin(control, variant))
    yield exactly_alpha("flat-prior Bayes, both tails", _both_tails(control, variant))
    by_segment = [
        Moments(*(np.concatenate([getattr(m, k) for m in arm]) for k in ("n", "mean", "variance"))) for arm in segments
    ]
    effects = differences(*by_segment)
    yield exactly_alpha(
        "segment interaction (Cochran's Q)", interaction(effects.estimate, effects.standard_error).test.p_value
    )

    lift = 0.1
    better = scaled(variant, lift)
    for scale in ("linear", "log", "fieller"):
        compared = welch(control, better, lift_scale=scale)
        yield covers(f"lift of 10 %, {scale}", compared.lift_low, compared.lift_high, lift)
    compared = welch(control, better)
    yield covers("difference of means", compared.difference_low, compared.difference_high, lift * MEAN)
    compared = welch(ratios[0], scaled(ratios[1], lift))
    yield covers("difference of ratios", compared.difference_low, compared.difference_high, lift * RATIO)
    compared = welch(reduced.control, shifted(reduced.variant, lift * MEAN))
    yield covers("difference, CUPED", compared.difference_low, compared.difference_high, lift * MEAN)
    truth = rng.normal(0.0, 0.4, experiments)
    difference = differences(control, variant)
    posterior = normal_posterior(difference.estimate + truth, difference.standard_error, prior_sd=0.4)
    yield covers("posterior, true prior", posterior.low, posterior.high, truth)

    for name, (one, two), adjusted, rho in (
        ("mean", (control, variant), reduced, CORRELATION),
        ("ratio", ratios, reduced_ratio, CORRELATION_OF_RATIO),
    ):
        removed = 1 - np.var(adjusted.variant.mean - adjusted.control.mean) / np.var(two.mean - one.mean)
        error = 2 * rho * (1 - rho**2) / experiments**0.5
        yield Finding("variance removed, rho^2", f"CUPED, {name}", removed, error, rho**2, rho**2)
        # A mean of what is itself estimated from the same users: half a percentage point is near enough.
        gain, error = float(adjusted.gain.mean()), float(adjusted.gain.std() / experiments**0.5)
        yield Finding(
            "variance removed, rho^2", f"CUPED, {name}, as it reports", gain, error, rho**2 - 0.005, rho**2 + 0.005
        )

    baselines = {
        "mean": (Baseline.of_mean(MEAN, VARIANCE), (control, variant)),
        "ratio of means": (Baseline.of_mean(RATIO, VARIANCE_OF_RATIO), ratios),
        "mean, CUPED": (
            Baseline.of_mean(MEAN, VARIANCE, variance_factor=1 - CORRELATION**2), (reduced.control, reduced.variant),
        ),
    }  # fmt: skip
    for name, (baseline, (one, two)) in baselines.items():
        effect = float(minimum_effect(baseline, n=2 * UNITS, power=0.8))
        yield share("power, planned 80 %", name, welch(one, shifted(two, effect)).p_value < ALPHA, 0.8)


def _pairs(arm: JointMoments) -> dict[str, ArrayLike]:
    return {"yy": arm.covariance[:, 0, 0], "xx": arm.covariance[:, 2, 2], "yx": arm.covariance[:, 0, 2]}


def _at_the_margin(control: Moments, variant: Moments) -> Floats:
    return noninferiority(control, shifted(variant, -0.5), margin=0.5, margin_of="difference").p_value


def _both_tails(control: Moments, variant: Moments) -> Floats:
    effects = differences(control, variant)
    beats = normal_posterior(effects.estimate, effects.standard_error).chance_to_beat
    return np.asarray(2 * np.minimum(beats, 1 - beats))


def counts(rng: np.random.Generator, experiments: int) -> Iterator[Finding]:
    """Proportions, splits of traffic and quantiles."""
    n = 1_000
    successes = rng.binomial(n, RATE, (4, experiments))
    same = two_proportions(n, successes[0], n, successes[1])
    yield exactly_alpha("two proportions", same.p_value)
    index = np.tile(np.arange(experiments), 4)
    yield exactly_alpha("homogeneity, four arms", homogeneity(index, np.full(index.size, n), successes.ravel()).p_value)
    values = rng.gamma(2.0, 1.0, (4, experiments, 100))
    arms = Moments(np.full(index.size, 100), values.mean(-1).ravel(), values.var(-1, ddof=1).ravel())
    yield exactly_alpha("Welch's ANOVA, four arms", welch_anova(index, arms).p_value)
    beats = beta_posterior(n, successes[0], n, successes[1]).chance_to_beat
    yield exactly_alpha("Beta-Binomial Bayes, both tails", np.asarray(2 * np.minimum(beats, 1 - beats)))

    split = rng.binomial(10_000, 0.5, experiments)
    pairs = np.repeat(np.arange(experiments), 2)
    observed = np.stack([split, 10_000 - split], axis=-1)
    yield exactly_alpha("sample ratio, chi-squared", sample_ratio(pairs, observed.ravel(), np.ones(pairs.size)).p_value)
    few = rng.binomial(60, 0.5, experiments)
    exact = sample_ratio_exact(few, 60) < ALPHA
    yield share("false positives at 5 %", "sample ratio, exact (60 units)", exact, None, ALPHA)
    days = rng.binomial(400, 0.5, (experiments, 14))
    by_day = np.stack([days, 400 - days], axis=-1)
    yield exactly_alpha("sample ratio over days, uneven", by_part(by_day, np.ones(2)).uneven.p_value)
    span = broken_span(by_day[:2000], np.ones(2)).p_value < ALPHA
    yield share("false positives at 5 %", "sample ratio, broken span of days", span, None, ALPHA)
    noise = rng.standard_normal((experiments, 14))
    ages = np.arange(1.0, 15.0)
    yield exactly_alpha("novelty, trend over 14 days", trend(ages, noise, np.ones(14)).p_value)

    better = rng.binomial(n, RATE * 1.2, experiments)
    compared = two_proportions(n, successes[0], n, better)
    yield covers("difference of proportions", compared.difference_low, compared.difference_high, 0.2 * RATE)
    compared = two_proportions(n, successes[0], n, better, lift_scale="log")
    yield covers("lift of proportions, log", compared.lift_low, compared.lift_high, 0.2)

    uniform = np.sort(rng.random((2, experiments, UNITS)), axis=-1)
    p90 = [quantile_of_sorted(arm.ravel(), np.full(experiments, UNITS), 0.9) for arm in uniform]
    yield exactly_alpha("p90", welch(p90[0].moments(), p90[1].moments()).p_value)
    yield covers("p90", p90[0].low, p90[0].high, 0.9)
    yield from planned_counts(rng, experiments, p90)


def planned_counts(rng: np.random.Generator, experiments: int, p90: list[Quantile]) -> Iterator[Finding]:
    """Power that was planned for proportions and quantiles."""
    question = "power, planned 80 %"
    baseline = Baseline.of_proportion(RATE)
    for name, design in (("proportion", Design()), ("proportion, 1 : 3", Design(ratio=3.0))):
        needed = sample_size(baseline, effect=0.02, design=design)
        a = rng.binomial(int(needed.control), RATE, experiments)
        b = rng.binomial(int(needed.variant), RATE + 0.02, experiments)
        found = two_proportions(needed.control, a, needed.variant, b).p_value < ALPHA
        yield share(question, name, found, float(power(baseline, effect=0.02, n=needed.total, design=design)))
    # Of uniform values, whose density at the quantile is 1. Its standard error is estimated from few users near it, which
    # the plan knows nothing of: a percentage point is near enough.
    error = np.sqrt(0.9 * 0.1 / UNITS)
    effect = float(minimum_effect(Baseline.of_estimate(0.9, error, UNITS), n=2 * UNITS))
    found = welch(p90[0].moments(), shifted(p90[1].moments(), effect)).p_value < ALPHA
    yield share(question, "p90", found, 0.79, 0.81)


def looks(rng: np.random.Generator, experiments: int) -> Iterator[Finding]:
    """A look a day for 28 days, and a decision at the first one that is significant."""
    parts: list[list[Moments]] = [[], []]
    for start in range(0, experiments, CHUNK):
        n = min(CHUNK, experiments - start)
        for kept in parts:
            kept.append(so_far(users(rng, n, LOOKS * DAILY).value))
    control, variant = (stacked(kept) for kept in parts)
    units = 2 * control.n
    total = 2 * LOOKS * DAILY
    inflated = "decides in 28 looks, nothing there"
    fixed = welch(control, variant)
    yield share(inflated, "Welch at 5 %, fixed horizon", (fixed.p_value < ALPHA).any(1), 0.15, np.inf)
    effects = differences(control, variant)
    always = confidence_sequence(effects.estimate, effects.standard_error, units, tuned_at=total)
    yield share(inflated, "confidence sequence, mean", (always.p_value < ALPHA).any(1), None, ALPHA)
    lifts = log_lifts(control, variant)
    relative = confidence_sequence(lifts.estimate, lifts.standard_error, units, tuned_at=total)
    yield share(inflated, "confidence sequence, log lift", (relative.p_value < ALPHA).any(1), None, ALPHA)
    information = np.arange(1, LOOKS + 1) / LOOKS
    for kind in ("obrien-fleming", "pocock"):
        nominal = boundaries(information, ALPHA, kind).nominal_p
        yield share(inflated, f"alpha spending, {kind}", (fixed.p_value <= nominal).any(1), ALPHA)

    conversions = rng.binomial(DAILY, RATE, (2, experiments, LOOKS)).cumsum(-1).astype(float)
    rates = two_proportions(control.n, conversions[0], control.n, conversions[1])
    yield share(inflated, "two proportions at 5 %, fixed horizon", (rates.p_value < ALPHA).any(1), 0.15, np.inf)
    exact = mixture_sprt(conversions[0], conversions[1], tuned_at=total * RATE)
    yield share(inflated, "mixture SPRT, proportions", (exact.p_value < ALPHA).any(1), None, ALPHA)
    split = rng.binomial(2 * DAILY, 0.5, (experiments, LOOKS)).cumsum(1)
    observed = np.stack([split, units - split], axis=-1)
    index, ones = np.repeat(np.arange(split.size), 2), np.ones(2 * split.size)
    chi = sample_ratio(index, observed.ravel(), ones).p_value.reshape(split.shape)
    yield share(inflated, "sample ratio at 5 %, chi-squared", (chi < ALPHA).any(1), 0.15, np.inf)
    anytime = sequential_sample_ratio(index, observed.ravel(), ones, tuned_at=total, alpha=ALPHA).p_value
    yield share(inflated, "sample ratio, sequential", (anytime.reshape(split.shape) < ALPHA).any(1), None, ALPHA)

    low, high = sequential_share(split, units, tuned_at=total)
    in_all = "all 28 intervals cover"
    yield share(in_all, "confidence sequence, split", ((low <= 0.5) & (high >= 0.5)).all(1), 1 - ALPHA, np.inf)
    effect = 0.6
    moved = confidence_sequence(effects.estimate + effect, effects.standard_error, units, tuned_at=total)
    always_covers = ((moved.low <= effect) & (effect <= moved.high)).all(1)
    yield share(in_all, "confidence sequence, mean", always_covers, 1 - ALPHA, np.inf)
    baseline = Baseline.of_mean(MEAN, VARIANCE)
    for reading in ("always-valid", "obrien-fleming", "pocock"):
        design = Design(reading=reading, looks=LOOKS)
        smallest = float(minimum_effect(baseline, n=total, design=design))
        if reading == "always-valid":
            found = (
                confidence_sequence(effects.estimate + smallest, effects.standard_error, units, tuned_at=total).p_value
                < ALPHA
            )
        else:
            found = (
                welch(control, shifted(variant, smallest)).p_value <= boundaries(information, ALPHA, reading).nominal_p
            )
        yield share("power in 28 looks, planned 80 %", reading, found.any(1), 0.8)


def so_far(values: Floats) -> Moments:
    """Moments of the values up to each look, shape (experiments, looks)."""
    ends = DAILY * np.arange(1, LOOKS + 1)
    about = values - MEAN
    total = about.cumsum(axis=1)[:, ends - 1]
    squares = (about**2).cumsum(axis=1)[:, ends - 1]
    n = np.broadcast_to(ends, total.shape)
    return Moments(n, MEAN + total / n, (squares - total**2 / n) / (n - 1))


def many(rng: np.random.Generator, experiments: int) -> Iterator[Finding]:
    """Families of tests, and a programme of experiments."""
    tests = 20
    effects = np.where(np.arange(tests) < 15, 0.0, 3.0)
    z = rng.standard_normal((experiments, tests)) + effects
    p, groups = 2 * ndtr(-np.abs(z)), np.repeat(np.arange(experiments), tests)
    for name, adjust in (
        ("Holm", holm),
        ("Benjamini-Hochberg", benjamini_hochberg),
        ("Benjamini-Yekutieli", benjamini_yekutieli),
    ):
        rejected = adjust(p.ravel(), groups).reshape(p.shape) < ALPHA
        wrong, all_of_them = rejected[:, effects == 0].sum(1), rejected.sum(1)
        if name == "Holm":
            yield share("any false among 15 true nulls of 20", name, wrong > 0, None, ALPHA)
        else:
            false_share = wrong / np.maximum(all_of_them, 1)
            yield share("false among the rejected, 15 true nulls of 20", name, false_share, None, ALPHA)

    lifts = np.where(rng.random(experiments) < 0.7, rng.normal(0, 0.003, experiments), rng.normal(0, 0.03, experiments))
    errors = rng.uniform(0.005, 0.02, experiments)
    raw = lifts + errors * rng.standard_normal(experiments)
    half = experiments // 2
    shrunk = fit(raw[:half], errors[:half]).shrink(raw[half:], errors[half:])
    gained = (shrunk.effect - lifts[half:]) ** 2 - (raw[half:] - lifts[half:]) ** 2
    scale = float(((raw[half:] - lifts[half:]) ** 2).mean())
    spread = float(gained.std() / gained.size**0.5) / scale
    yield Finding(
        "squared error, shrunk / raw", "programme prior, held-out lifts", 1 + float(gained.mean()) / scale, spread,
        -np.inf, 1.0,
    )  # fmt: skip
    yield covers("programme prior, held-out lifts", shrunk.low, shrunk.high, lifts[half:])


def main() -> None:
    """Print the table; exit code 1 where a figure is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--experiments", type=int, default=10_000, help="simulated for each row (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the simulation (default: %(default)s)")
    options = parser.parse_args()
    if options.experiments < 100:
        parser.error("--experiments must be at least 100")
    streams = np.random.default_rng(options.seed).spawn(4)
    blocks = (means, counts, looks, many)
    findings = list(chain(*(block(rng, options.experiments) for block, rng in zip(blocks, streams, strict=True))))
    order = list(dict.fromkeys(finding.question for finding in findings))
    findings.sort(key=lambda finding: order.index(finding.question))
    print_table(
        ["what", "of", "should be", "simulated", "Monte-Carlo s.e.", "off by s.e.", "holds"],
        [finding.row() for finding in findings],
    )
    failed = sum(not finding.holds for finding in findings)
    print(
        f"{options.experiments:,} simulated experiments a row, seed {options.seed}. {len(findings) - failed} of {len(findings)} "
        f"figures lie within {FARTHEST:g} standard errors of what they should be."
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
