"""What stands beside the fixed-horizon test of a comparison: readings that may be made any day, with fewer users, or with
what the programme has learned from its past."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from neonblue_lab.metrics.definitions import SHARES
from neonblue_lab.metrics.joint import moment_names
from neonblue_lab.metrics.statistics import joint
from neonblue_lab.stats.always_valid import confidence_sequence
from neonblue_lab.stats.arrays import Floats
from neonblue_lab.stats.bayes import normal_posterior
from neonblue_lab.stats.cuped import adjusted
from neonblue_lab.stats.effects import Effects, differences, log_lifts
from neonblue_lab.stats.moments import Moments
from neonblue_lab.stats.power import Baseline, Design, minimum_effect
from neonblue_lab.stats.shrinkage import FEWEST, Family, ProgrammePrior, fit
from neonblue_lab.stats.two_sample import Better, noninferiority, welch

TUNED_AT = 5_000
"""Units of both arms at which the always-valid intervals are narrowest, unless told."""

ENOUGH_FOR_A_MIXTURE = 50
"""With fewer finished comparisons the programme's prior is a single normal (see `stats.shrinkage.fit`)."""

METHODS = {
    "always_valid": "asymptotic confidence sequence (Waudby-Smith et al. 2024), of the lift on the log scale",
    "always_p_value": "always-valid p-value of the difference, by the same: it may be read any day",
    "cuped": "CUPED (Deng et al. 2013), the same number before exposure as covariate, theta pooled over both arms; Welch",
    "chance_to_beat": "posterior probability that the variant is better, flat prior on the difference",
    "noninferiority_p_value": "one-sided Welch test that the loss is smaller than the metric's margin",
    "worst_change": "lower end of the one-sided interval (Fieller) of the change for the better, as a share of the control",
    "expected_loss": "posterior mean of what shipping the variant costs where it is worse, in units of the metric",
    "shrunk_lift": "posterior mean of the lift under the programme's prior (empirical Bayes on log lifts)",
    "false_sign_rate": "posterior probability that the likelier direction is wrong (Stephens 2017)",
    "detectable_lift": "lift that is found with 80 % power, with the units so far",
}
"""What each of these numbers is computed by."""

EVIDENCE_SCHEMA: dict[str, pl.DataType] = dict.fromkeys(
    (
        *("always_low", "always_high", "always_p_value"),
        *("cuped_difference", "cuped_low", "cuped_high", "cuped_p_value", "cuped_gain"),
        *("chance_to_beat", "expected_loss"),
        *("noninferiority_p_value", "worst_change"),
        *("shrunk_lift", "shrunk_low", "shrunk_high", "false_sign_rate"),
        "detectable_lift",
    ),
    pl.Float64(),
)
"""Columns that `evidence` adds to comparisons."""


def evidence(
    pairs: pl.DataFrame,
    *,
    sign: Mapping[str, int],
    margins: Mapping[str, float] | None = None,
    priors: Mapping[str, ProgrammePrior] | None = None,
    tuned_at: float = TUNED_AT,
    alpha: float = 0.05,
) -> pl.DataFrame:
    """More readings of comparisons, in the columns of EVIDENCE_SCHEMA after those that tell them apart.

    Args:
        pairs: one row a comparison: experiment_id, metric, kind, variant_id and the sufficient statistics of both arms in
            the columns of `metrics.statistics.STATISTICS_SCHEMA`, the control's with the suffix `_control`.
        sign: metric -> -1 where lower is better; 1 unless named.
        margins: metric -> the loss that still counts as no harm, as a share of the control's mean; metrics without one are
            not tested for harm.
        priors: metric -> prior of log lifts; metrics without one are not shrunk.
        tuned_at: units of both arms at which always-valid intervals are narrowest: to be fixed in advance.
        alpha: 1 - coverage.

    Returns:
        experiment_id, metric, variant_id and the columns of EVIDENCE_SCHEMA; null where something cannot be computed.
    """
    control, variant = moments_of(pairs, "_control"), moments_of(pairs, "")
    difference, lift = differences(control, variant), log_lifts(control, variant)
    units = control.n + variant.n
    direction = pairs["metric"].replace_strict(dict(sign), default=1, return_dtype=pl.Float64).to_numpy()
    always = confidence_sequence(lift.estimate, lift.standard_error, units, tuned_at=tuned_at, alpha=alpha)
    certain = confidence_sequence(difference.estimate, difference.standard_error, units, tuned_at=tuned_at, alpha=alpha)
    believed = normal_posterior(direction * difference.estimate, difference.standard_error)
    numbers: dict[str, Floats] = {
        "always_low": np.expm1(always.low),
        "always_high": np.expm1(always.high),
        "always_p_value": certain.p_value,
        "chance_to_beat": believed.chance_to_beat,
        "expected_loss": believed.expected_loss,
    }
    numbers |= _harmless(pairs, control, variant, direction, margins or {}, alpha)
    numbers |= _with_fewer_units(pairs, alpha)
    numbers |= _shrunk(pairs, lift, priors or {}, alpha)
    numbers["detectable_lift"] = _detectable(pairs, control, variant, numbers["cuped_gain"], alpha)
    named = [pl.Series(name, numbers[name], nan_to_null=True) for name in EVIDENCE_SCHEMA]
    return pairs.select("experiment_id", "metric", "variant_id").with_columns(named)


def learn_priors(pairs: pl.DataFrame) -> dict[str, ProgrammePrior]:
    """The programme's prior of log lifts, by metric: of each metric with comparisons enough to learn one from.

    Args:
        pairs: as of `evidence`: comparisons of finished experiments whose split can be trusted.
    """
    priors = {}
    for (metric,), part in pairs.group_by("metric", maintain_order=True):
        lift = log_lifts(moments_of(part, "_control"), moments_of(part, ""))
        known = int(lift.known.sum())
        if known >= FEWEST:
            family: Family = "scale-mixture" if known >= ENOUGH_FOR_A_MIXTURE else "normal"
            priors[str(metric)] = fit(lift.estimate, lift.standard_error, family=family)
    return priors


def shrunk_lifts(pairs: pl.DataFrame, priors: Mapping[str, ProgrammePrior]) -> pl.DataFrame:
    """Lifts as measured and as the programme's prior leaves them, of comparisons on metrics that have a prior.

    Args:
        pairs: as of `evidence`.
        priors: metric -> prior of log lifts.

    Returns:
        experiment_id, metric, variant_id, lift, standard_error (lift / standard_error is the z of the log lift, as in the
        intervals of a scorecard), shrunk and false_sign_rate. Comparisons that cannot be tested are left out.
    """
    lift = log_lifts(moments_of(pairs, "_control"), moments_of(pairs, ""))
    believed = _shrunk(pairs, lift, priors, alpha=0.05)
    relative = np.expm1(lift.estimate)
    with np.errstate(all="ignore"):
        slope = np.where(lift.estimate == 0, 1.0, relative / lift.estimate)
    numbers = {
        "lift": relative,
        "standard_error": slope * lift.standard_error,
        "shrunk": believed["shrunk_lift"],
        "false_sign_rate": believed["false_sign_rate"],
    }
    named = [pl.Series(name, values, nan_to_null=True) for name, values in numbers.items()]
    return pairs.select("experiment_id", "metric", "variant_id").with_columns(named).drop_nulls()


def moments_of(pairs: pl.DataFrame, suffix: str) -> Moments:
    """A share's variance is p (1 - p), as in the test of two proportions; a quantile's is its own."""
    share = pl.col("kind").is_in(SHARES) & pl.col(f"mean{suffix}").is_between(0, 1)
    mean = pl.col(f"mean{suffix}")
    variance = pl.when(share).then(mean * (1 - mean)).otherwise(f"variance{suffix}")
    taken = pairs.select(n=f"n{suffix}", mean=mean, variance=variance).cast(pl.Float64).fill_null(float("nan"))
    return Moments(*(taken[name].to_numpy() for name in ("n", "mean", "variance")))


def _harmless(
    pairs: pl.DataFrame,
    control: Moments,
    variant: Moments,
    direction: Floats,
    margins: Mapping[str, float],
    alpha: float,
) -> dict[str, Floats]:
    """Non-inferiority, where a metric has a margin."""
    names = ("noninferiority_p_value", "worst_change")
    out = {name: np.full(pairs.height, np.nan) for name in names}
    margin = pairs["metric"].replace_strict(dict(margins), default=None, return_dtype=pl.Float64).to_numpy()
    sides: dict[float, Better] = {1.0: "higher", -1.0: "lower"}
    for side, better in sides.items():
        rows = np.flatnonzero(~np.isnan(margin) & (direction == side))
        if rows.size:
            arms = [Moments(arm.n[rows], arm.mean[rows], arm.variance[rows]) for arm in (control, variant)]
            tested = noninferiority(*arms, margin=margin[rows], better=better, alpha=alpha)
            out["noninferiority_p_value"][rows], out["worst_change"][rows] = tested.p_value, tested.improvement_low
    return out


def _with_fewer_units(pairs: pl.DataFrame, alpha: float) -> dict[str, Floats]:
    """CUPED, where a metric has a covariate."""
    names = ("cuped_difference", "cuped_low", "cuped_high", "cuped_p_value", "cuped_gain")
    out = {name: np.full(pairs.height, np.nan) for name in names}
    covered, divided = pl.col("var_x").is_not_null(), pl.col("var_d").is_not_null()
    for measured, which in ((("y", "x"), covered & ~divided), (("y", "d", "x", "w"), covered & divided)):
        rows = np.flatnonzero(pairs.select(which).to_series().to_numpy())
        if rows.size:
            part = pairs[rows]
            own = ["n", *moment_names()]
            arms = [joint(part.select(**{c: f"{c}{suffix}" for c in own}), measured) for suffix in ("_control", "")]
            less = adjusted(*arms)
            tested = welch(less.control, less.variant, alpha=alpha)
            found = (tested.difference, tested.difference_low, tested.difference_high, tested.p_value, less.gain)
            for name, values in zip(names, found, strict=True):
                out[name][rows] = values
    return out


def _shrunk(
    pairs: pl.DataFrame, lift: Effects, priors: Mapping[str, ProgrammePrior], alpha: float
) -> dict[str, Floats]:
    names = ("shrunk_lift", "shrunk_low", "shrunk_high", "false_sign_rate")
    out = {name: np.full(pairs.height, np.nan) for name in names}
    for metric, prior in priors.items():
        rows = np.flatnonzero((pairs["metric"] == metric).to_numpy())
        if rows.size:
            shrunk = prior.shrink(lift.estimate[rows], lift.standard_error[rows], alpha=alpha)
            found = (*map(np.expm1, (shrunk.effect, shrunk.low, shrunk.high)), shrunk.false_sign_rate)
            for name, values in zip(names, found, strict=True):
                out[name][rows] = values
    return out


def _detectable(pairs: pl.DataFrame, control: Moments, variant: Moments, gain: Floats, alpha: float) -> Floats:
    """Of an even split of as many units: with the arms' variance, less what CUPED takes away."""
    out = np.full(pairs.height, np.nan)
    with np.errstate(all="ignore"):
        # As if evenly split: the units that give the squared standard error which these arms have.
        spread = (control.variance / control.n + variant.variance / variant.n) / (1 / control.n + 1 / variant.n)
        units = 4 / (1 / control.n + 1 / variant.n)
        left = np.where(np.isnan(gain), 1.0, 1 - gain)
    known = np.isfinite(spread) & (spread > 0) & (control.mean > 0)
    if known.any():
        baseline = Baseline.of_mean(control.mean[known], spread[known], variance_factor=left[known])
        out[known] = minimum_effect(baseline, n=units[known], design=Design(alpha=alpha)) / control.mean[known]
    return out
