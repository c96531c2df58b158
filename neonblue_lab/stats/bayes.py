"""Bayesian comparison: how sure it is that the variant beats the control, and what a wrong choice would cost.

More is better throughout; for a metric that should fall, swap the arms. A chance to beat the control of 0.95 may be
looked at at any time, yet a rule to stop once it is reached is wrong more often than one time in twenty where the prior
is wider than what the programme's effects turn out to be: see `shrinkage` for a prior learned from them.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.stats.arrays import Floats, aligned, check_alpha, counts, refuse
from neonblue_lab.stats.distributions import (
    beta_at_most,
    beta_log_odds,
    log_share,
    normal_at_most,
    normal_loss,
    normal_quantile,
)

_EDGES = np.array([-40.0, -12.0, -6.0, -2.5, 0.0, 2.5, 6.0, 12.0, 40.0])
"""Where panels of the quadrature end, in standard deviations of each proportion's log odds: 40 hold all but 1e-17 of
the longest tail there is, that of a first parameter near 0."""
_NODES = 12


@dataclass(frozen=True, eq=False)
class NormalPosterior:
    """The effect given the data and a normal prior; arrays of the shape of the inputs.

    Attributes:
        mean: of the posterior, in the units of the estimate (a lift is a share).
        sd: its standard deviation.
        low: lower end of the central (1 - alpha) credible interval.
        high: upper end of it.
        chance_to_beat: probability that the effect is above 0.
        expected_loss: what shipping the variant costs on average, E[max(0, -effect)].
        expected_loss_of_control: what staying with the control costs on average, E[max(0, effect)].
    """

    mean: Floats
    sd: Floats
    low: Floats
    high: Floats
    chance_to_beat: Floats
    expected_loss: Floats
    expected_loss_of_control: Floats


def normal_posterior(
    estimate: ArrayLike,
    standard_error: ArrayLike,
    *,
    prior_mean: ArrayLike = 0.0,
    prior_sd: ArrayLike = np.inf,
    alpha: float = 0.05,
) -> NormalPosterior:
    """Posterior of a difference or a lift whose estimate is normal, under a normal prior: weights 1 / variance.

    The conjugate update of Gelman et al. (2013), "Bayesian data analysis", 3rd edition, section 2.5; the expected loss
    as a rule of decision is that of Stucchio (2015), "Bayesian A/B testing at VWO".

    Args:
        estimate: of the effect.
        standard_error: of the estimate.
        prior_mean: of the effects, in units of the estimate.
        prior_sd: of the effects; infinite, as unless given, for a flat prior, with which the interval is that of a
            z-test and the chance to beat the control is 1 - its one-sided p-value.
        alpha: 1 - the probability in the interval.

    Returns:
        A `NormalPosterior`; NaN in a row whose estimate is not finite or whose standard error is not finite and above
        0: no data is no answer, not the prior.

    Raises:
        BadInput: a standard error is negative, a prior_sd is not above 0, a prior_mean is not finite, alpha does not
            lie between 0 and 1, or the shapes disagree.
    """
    check_alpha(alpha)
    estimate, standard_error, prior_mean, prior_sd = aligned(
        estimate=estimate, standard_error=standard_error, prior_mean=prior_mean, prior_sd=prior_sd
    )
    refuse(standard_error < 0, "standard_error", standard_error, "a standard error is not negative")
    refuse(~(prior_sd > 0), "prior_sd", prior_sd, "a number above 0, or infinite for a flat prior")
    refuse(~np.isfinite(prior_mean), "prior_mean", prior_mean, "a finite number")
    known = np.isfinite(estimate) & np.isfinite(standard_error) & (standard_error > 0)
    error = np.where(known, standard_error, np.nan)
    relative = (error / prior_sd) ** 2
    with np.errstate(invalid="ignore"):
        mean = estimate + relative / (1 + relative) * (prior_mean - estimate)
    sd = error / np.sqrt(1 + relative)
    half = -normal_quantile(alpha / 2) * sd
    return NormalPosterior(
        mean=mean,
        sd=sd,
        low=mean - half,
        high=mean + half,
        chance_to_beat=normal_at_most(mean / sd),
        expected_loss=sd * normal_loss(mean / sd),
        expected_loss_of_control=sd * normal_loss(-mean / sd),
    )


@dataclass(frozen=True, eq=False)
class BetaPosterior:
    """The difference of two proportions given the data and beta priors; arrays of the shape of the inputs.

    Attributes:
        mean: posterior mean of the variant's proportion - the control's.
        chance_to_beat: probability that the variant's proportion is above the control's.
        expected_loss: what shipping the variant costs on average, E[max(0, p_control - p_variant)].
        expected_loss_of_control: what staying with the control costs on average, E[max(0, p_variant - p_control)].
    """

    mean: Floats
    chance_to_beat: Floats
    expected_loss: Floats
    expected_loss_of_control: Floats


def beta_posterior(
    n_control: ArrayLike,
    successes_control: ArrayLike,
    n_variant: ArrayLike,
    successes_variant: ArrayLike,
    *,
    prior_successes: ArrayLike = 1.0,
    prior_failures: ArrayLike = 1.0,
) -> BetaPosterior:
    """Posterior comparison of two proportions, each with the same beta prior.

    With densities f and distribution functions F of the two proportions' posteriors, the chance to beat the control is
    the integral of f_variant F_control, and the expected loss that of F_variant (1 - F_control): sums of positive
    numbers, by Gauss-Legendre quadrature on the scale of the log odds, right to eight digits, and to seven at 1e-30.

    Args:
        n_control: units in the control.
        successes_control: units of those with a success.
        n_variant: units in the variant.
        successes_variant: units of those with a success.
        prior_successes: first parameter of the beta prior; 1 and 1 are uniform, 0.5 and 0.5 Jeffreys'.
        prior_failures: second parameter of it.

    Returns:
        A `BetaPosterior`; NaN in a row where a count is not known. An arm without units has the prior's answer.

    Raises:
        BadInput: a count is negative or infinite, successes exceed units, a prior's parameter is not above 0, or the
            shapes disagree.
    """
    n_control, successes_control, n_variant, successes_variant, prior_successes, prior_failures = aligned(
        n_control=n_control,
        successes_control=successes_control,
        n_variant=n_variant,
        successes_variant=successes_variant,
        prior_successes=prior_successes,
        prior_failures=prior_failures,
    )
    for arm, n, successes in (("control", n_control, successes_control), ("variant", n_variant, successes_variant)):
        counts(f"n_{arm}", n)
        counts(f"successes_{arm}", successes)
        refuse(successes > n, f"successes_{arm}", successes, f"there cannot be more successes than units (n_{arm})")
    for name, prior in (("prior_successes", prior_successes), ("prior_failures", prior_failures)):
        refuse(~((prior > 0) & np.isfinite(prior)), name, prior, "a finite number above 0")

    control = (prior_successes + successes_control, prior_failures + n_control - successes_control)
    variant = (prior_successes + successes_variant, prior_failures + n_variant - successes_variant)
    chance, loss, loss_of_control = _integrals(*(parameter.ravel() for parameter in (*control, *variant)))
    with np.errstate(invalid="ignore"):
        mean = variant[0] / (variant[0] + variant[1]) - control[0] / (control[0] + control[1])
    return BetaPosterior(
        mean=mean,
        chance_to_beat=chance.reshape(mean.shape),
        expected_loss=loss.reshape(mean.shape),
        expected_loss_of_control=loss_of_control.reshape(mean.shape),
    )


def _integrals(a_control: Floats, b_control: Floats, a_variant: Floats, b_variant: Floats) -> tuple[Floats, ...]:
    """Chance to beat, expected loss and expected loss of control of 1-d beta parameters, each of shape (rows,)."""
    centre_control, sd_control = beta_log_odds(a_control, b_control)
    centre_variant, sd_variant = beta_log_odds(a_variant, b_variant)
    edges = np.sort(
        np.concatenate(
            [centre_control + _EDGES[:, None] * sd_control, centre_variant + _EDGES[:, None] * sd_variant], axis=0
        ),
        axis=0,
    )
    unit, weights = np.polynomial.legendre.leggauss(_NODES)
    total, chance, loss, loss_of_control = np.zeros((4, a_control.size))
    at_centre = a_variant * log_share(centre_variant) + b_variant * log_share(-centre_variant)
    for low, high in pairwise(edges):
        half = (high - low) / 2
        log_odds = low + half * (1 + unit[:, None])
        log_success, log_failure = log_share(log_odds), log_share(-log_odds)
        step = half * weights[:, None]
        below_control, above_control = _tails(log_odds, a_control, b_control, centre_control)
        below_variant, above_variant = _tails(log_odds, a_variant, b_variant, centre_variant)
        density = step * np.exp(a_variant * log_success + b_variant * log_failure - at_centre)
        jacobian = step * np.exp(log_success + log_failure)
        total += density.sum(axis=0)
        chance += (density * below_control).sum(axis=0)
        loss += (jacobian * below_variant * above_control).sum(axis=0)
        loss_of_control += (jacobian * below_control * above_variant).sum(axis=0)
    return chance / total, loss, loss_of_control


def _tails(log_odds: Floats, a: Floats, b: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """P(proportion <= that of the log odds) and P(>): the smaller of the two computed as itself."""
    below = log_odds < centre
    tail = beta_at_most(np.where(below, log_odds, -log_odds), np.where(below, a, b), np.where(below, b, a))
    return np.where(below, tail, 1 - tail), np.where(below, 1 - tail, tail)
