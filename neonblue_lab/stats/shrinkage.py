"""The programme prior: how large effects are in all finished experiments, and what a new estimate is worth beside it.

The winner of many noisy comparisons is on average not as good as it looks. Empirical Bayes learns from the estimates of
many experiments how true effects are spread, and moves each estimate towards that. If the prior is right, what is moved
is right on average however the experiments were picked: Efron (2011), "Tweedie's formula and selection bias", JASA
106(496). All effects are of one unit and metric; log lifts (`log_lifts`) suit it best.

Estimates are taken as normal about their truths, and as independent. Variants that share a control are not: the fitted
prior is still consistent, its likelihood not that of the data as a whole.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.arrays import Floats, check_alpha, floats, refuse
from neonblue_lab.stats.effects import Effects
from neonblue_lab.stats.normal_mixtures import NormalMixtures
from neonblue_lab.stats.random_effects import random_effects

Family = Literal["normal", "scale-mixture"]

FEWEST = 3
"""Estimates below which a spread cannot be told from a mean and noise."""

_ROUNDS = 200
"""Of Wang's method; it needs about twenty."""

_GAP = 1e-7
"""Of the log-likelihood of one estimate: a fit closer to the best than this is done."""


@dataclass(frozen=True, eq=False)
class Shrunk:
    """Effects as the programme prior and the estimate together have them; arrays of the estimates' shape.

    Attributes:
        effect: posterior mean, in the unit of the estimates; NaN where the estimate or its error is not known.
        sd: posterior standard deviation.
        low: lower end of the (1 - alpha) credible interval with equal tails.
        high: upper end of it.
        false_sign_rate: local false-sign rate: the probability that the likelier direction is wrong, no effect at all
            counted as wrong. Between 0 and 1 where the prior has a share without effect, else at most 0.5.
    """

    effect: Floats
    sd: Floats
    low: Floats
    high: Floats
    false_sign_rate: Floats

    @classmethod
    def of(cls, posterior: NormalMixtures, alpha: float) -> "Shrunk":
        """What each posterior says of its effect."""
        return cls(
            effect=posterior.expected(),
            sd=posterior.spread(),
            low=posterior.quantile(alpha / 2),
            high=posterior.quantile(1 - alpha / 2),
            false_sign_rate=posterior.false_sign(),
        )


@dataclass(frozen=True, eq=False)
class ProgrammePrior:
    """How true effects are spread over a programme of experiments: a mixture of normals.

    Attributes:
        weight: share of effects in each component, shape (components,), adding up to 1.
        mean: mean of each component, in the unit of the effects.
        sd: standard deviation of each component; 0 for the share of effects that are the mean exactly.
        experiments: how many estimates it was learned from.
        log_likelihood: of these estimates.

    Raises:
        BadInput: the components are not distributions, or not as many of each.
    """

    weight: Floats
    mean: Floats
    sd: Floats
    experiments: int
    log_likelihood: float

    def __post_init__(self) -> None:
        for name in ("weight", "mean", "sd"):
            object.__setattr__(self, name, floats(name, getattr(self, name)))
            refuse(~np.isfinite(getattr(self, name)), name, getattr(self, name), "a prior is of finite numbers")
        if not (self.weight.ndim == 1 and self.weight.shape == self.mean.shape == self.sd.shape):
            raise BadInput(
                f"A prior has one weight, mean and sd for each component: got shapes {self.weight.shape}, "
                f"{self.mean.shape} and {self.sd.shape}."
            )
        refuse(self.weight < 0, "weight", self.weight, "a share is not negative")
        refuse(self.sd < 0, "sd", self.sd, "a standard deviation is not negative")
        if not np.isclose(self.weight.sum(), 1):
            raise BadInput(f"The weights of a prior add up to {self.weight.sum():.15g}: they must add up to 1.")

    @property
    def spread(self) -> float:
        """Standard deviation of true effects over the programme."""
        return float(NormalMixtures(self.weight, self.mean, self.sd).spread())

    @property
    def share_without_effect(self) -> float:
        """The share of effects that are exactly 0; 0 for a prior without such a component.

        A share of effects too small to be told from 0 belongs to it as well: do not read it as a share of nothing.
        """
        return float(self.weight[(self.sd == 0) & (self.mean == 0)].sum())

    def posterior(self, estimates: ArrayLike, standard_errors: ArrayLike) -> NormalMixtures:
        """What the prior and each estimate together say of its truth: mixtures of the prior's components.

        Raises:
            BadInput: a standard error is negative, an estimate is infinite, or the shapes disagree.
        """
        effects = Effects(estimates, standard_errors)
        estimate = np.where(effects.known, effects.estimate, np.nan)[..., None]
        noise = np.where(effects.known, effects.standard_error, np.nan)[..., None] ** 2
        signal = self.sd**2
        with np.errstate(divide="ignore"):
            log_weight = np.log(self.weight) + _log_normal(estimate - self.mean, signal + noise)
        likely = np.exp(log_weight - log_weight.max(-1, keepdims=True))
        return NormalMixtures(
            likely / likely.sum(-1, keepdims=True),
            (signal * estimate + noise * self.mean) / (signal + noise),
            np.sqrt(signal * noise / (signal + noise)),
        )

    def shrink(self, estimates: ArrayLike, standard_errors: ArrayLike, *, alpha: float = 0.05) -> Shrunk:
        """Each estimate moved to where the programme's other effects make it likely, with its interval and sign.

        Args:
            estimates: effects as measured, in the unit that the prior was fitted in.
            standard_errors: of the estimates; broadcasts against them.
            alpha: 1 - coverage of the intervals.

        Raises:
            BadInput: a standard error is negative, an estimate is infinite, the shapes disagree, or alpha does not lie
                between 0 and 1.
        """
        check_alpha(alpha)
        return Shrunk.of(self.posterior(estimates, standard_errors), alpha)

    def to_dict(self) -> dict[str, Any]:
        """The prior as plain numbers and lists, for JSON."""
        return {
            "weight": self.weight.tolist(),
            "mean": self.mean.tolist(),
            "sd": self.sd.tolist(),
            "experiments": self.experiments,
            "log_likelihood": self.log_likelihood,
        }

    @classmethod
    def from_dict(cls, numbers: dict[str, Any]) -> "ProgrammePrior":
        """The prior of `to_dict`. Raises BadInput where a number is missing or is not one that a prior can have."""
        try:
            return cls(**numbers)
        except TypeError as error:
            raise BadInput(
                f"A programme prior is weight, mean, sd, experiments and log_likelihood: {error}."
            ) from error


def fit(estimates: ArrayLike, standard_errors: ArrayLike, *, family: Family = "scale-mixture") -> ProgrammePrior:
    """Learn the programme prior from the estimates of finished experiments, by their marginal likelihood.

    Leave out experiments that cannot be trusted (a broken split): their errors would count as true effects.

    Args:
        estimates: effects as measured, any shape; a row whose estimate or error is not known does not count.
        standard_errors: of the estimates; broadcasts against them.
        family: what true effects may look like.
            "scale-mixture": a share without effect and normals about 0 of spreads from far below the noise to beyond
            the largest effect, each times the root of 2, their shares free: unimodal at 0, with tails as heavy as the
            data's. Stephens (2017), "False discovery rates: a new deal", Biostatistics 18(2), section 2.2. The shares
            are the maximum (a convex problem) to 1e-7 of log-likelihood an estimate, by the method of Wang (2007), "On
            fast computation of the non-parametric maximum likelihood estimate of a mixing distribution", JRSS B 69(2).
            "normal": one normal with a mean of its own, for fewer than about fifty experiments. What these leave open
            of its mean and spread is part of the prior (`random_effects`), where the mixture takes its likeliest shares
            as known: simulated with 10 experiments, half of them without an effect, 95 % intervals cover 95 % with it
            and 81 % with the mixture; with 50, 93 % and 92 %. With many it shrinks the rare large effect too much.

    Raises:
        BadInput: fewer than 3 estimates are known, a standard error is negative, an estimate is infinite, the shapes
            disagree, or the family is another.
    """
    if family not in get_args(Family):
        raise BadInput(f"family is {family!r}: it must be 'normal' or 'scale-mixture'.")
    effects = Effects(estimates, standard_errors)
    estimate, noise = effects.estimate[effects.known], effects.standard_error[effects.known] ** 2
    if estimate.size < FEWEST:
        raise BadInput(
            f"{estimate.size} of {effects.estimate.size} effects have an estimate and a standard error above 0: a "
            f"prior needs at least {FEWEST}."
        )
    if family == "normal":
        another = random_effects(Effects(estimate, np.sqrt(noise))).of_another()
        weight, mean, sd = another.weight, another.mean, another.sd
    else:
        weight, mean, sd = _scale_mixture(estimate, noise)
    log_density = _log_normal(estimate[:, None] - mean, sd**2 + noise[:, None])
    top = log_density.max(-1, keepdims=True)
    log_likelihood = float((np.log(np.exp(log_density - top) @ weight) + top[:, 0]).sum())
    return ProgrammePrior(weight, mean, sd, estimate.size, log_likelihood)


def _log_normal(away: Floats, variance: Floats) -> Floats:
    """Log density of a normal at a distance from its mean."""
    return np.asarray(-0.5 * (np.log(2 * np.pi * variance) + away**2 / variance))


def _scale_mixture(estimate: Floats, noise: Floats) -> tuple[Floats, Floats, Floats]:
    """Normals about 0 and their shares; those whose share is 0 are left out."""
    smallest = float(np.sqrt(noise.min())) / 10
    largest = max(2 * float(np.sqrt(max((estimate**2 - noise).max(), 0.0))), 8 * smallest)
    steps = int(np.ceil(2 * np.log2(largest / smallest)))
    sd = np.concatenate([[0.0], largest / np.sqrt(2) ** np.arange(steps, -1, -1)])
    log_density = _log_normal(estimate[:, None], sd**2 + noise[:, None])
    weight = _likeliest_shares(np.exp(log_density - log_density.max(-1, keepdims=True)))
    present = weight > 0
    return weight[present], np.zeros(int(present.sum())), sd[present]


def _likeliest_shares(density: Floats) -> Floats:
    """The shares of components that maximise the mean log-likelihood of rows with these densities (rows, components).

    Each step solves the second-order approximation with shares not negative, which least squares can, and goes as far
    along as the likelihood rises. It ends with a certificate: no direction's slope exceeds `_GAP`, so that the best
    likelihood is no further than that away.
    """
    from scipy.optimize import nnls

    rows, components = density.shape
    weight = np.full(components, 1 / components)
    for _ in range(_ROUNDS):
        mixed = density @ weight
        ratio = density / mixed[:, None]
        if ratio.mean(0).max() - 1 <= _GAP:
            return weight
        curvature = np.linalg.qr(ratio - 2, mode="r") / np.sqrt(rows)
        target, _ = nnls(np.vstack([curvature, np.ones(components)]), np.append(np.zeros(len(curvature)), 1.0))
        step = target / target.sum() - weight
        slope, length = float((ratio @ step).mean()), 1.0
        while np.log(density @ (weight + length * step) / mixed).mean() < length * slope / 3 and length > _GAP:
            length /= 2
        weight = np.maximum(weight + length * step, 0.0)
        weight /= weight.sum()
    raise AssertionError(f"The shares of a concave likelihood were not found in {_ROUNDS} rounds.")
