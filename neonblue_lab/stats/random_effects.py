"""Effects that differ among themselves: how far, by everything that their estimates leave possible.

The model of random effects: truths are normal about a common mean with an unknown spread, estimates are normal about
their truths. With few effects the likeliest spread is often 0 and always uncertain, and to go on as if it were known
gives intervals far too short: here every spread counts by how likely it is. Its prior is uniform on the shrinkage
s2 / (s2 + spread ** 2), s2 the harmonic mean of the squared standard errors: Daniels (1999), "A prior for the variance
in hierarchical models", Canadian Journal of Statistics 27(3). It is proper, needs no scale, and is soon outweighed.
"""

from dataclasses import dataclass

import numpy as np

from neonblue_lab.stats.arrays import Floats
from neonblue_lab.stats.effects import Effects
from neonblue_lab.stats.normal_mixtures import NormalMixtures

_NODES = 48
"""Shrinkages that stand for all in a range."""

_ZOOMS = 4
"""How often the range is narrowed to where the shrinkage may be: enough for millions of effects."""

_NEGLIGIBLE = 16.0
"""Of log-likelihood: what is further below the best does not count (one in nine million)."""


@dataclass(frozen=True, eq=False)
class RandomEffects:
    """What is known of the common mean and the spread of each row's effects; arrays of shape (..., nodes).

    Attributes:
        weight: how likely each spread is, adding up to 1 in each row; NaN for a row without two known effects.
        spread: standard deviation of the truths.
        mean: common mean if that is the spread.
        mean_sd: standard deviation of what is known of that mean.
    """

    weight: Floats
    spread: Floats
    mean: Floats
    mean_sd: Floats

    def of_mean(self) -> NormalMixtures:
        """The common mean."""
        return NormalMixtures(self.weight, self.mean, self.mean_sd)

    def of_another(self) -> NormalMixtures:
        """The effect of one more of the kind, not measured yet."""
        return NormalMixtures(self.weight, self.mean, np.hypot(self.spread, self.mean_sd))

    def of_each(self, effects: Effects) -> NormalMixtures:
        """The truths of the effects that this was learned from, shape (..., k, nodes); NaN where one is not known."""
        estimate = np.where(effects.known, effects.estimate, np.nan)[..., None]
        noise = np.where(effects.known, effects.standard_error, np.nan)[..., None] ** 2
        signal = self.spread[..., None, :] ** 2
        pull = noise / (noise + signal)
        return NormalMixtures(
            np.broadcast_to(self.weight[..., None, :], pull.shape),
            pull * self.mean[..., None, :] + (1 - pull) * estimate,
            np.sqrt(pull * signal + (pull * self.mean_sd[..., None, :]) ** 2),
        )


def random_effects(effects: Effects) -> RandomEffects:
    """Learn the common mean and the spread of the effects along the last axis, in every row at once.

    Effects that are not known do not count. The mean's own prior is flat.
    """
    known = effects.known
    estimate = np.where(known, effects.estimate, 0.0)
    noise = np.where(known, effects.standard_error, 1.0) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        typical = known.sum(-1) / np.where(known, 1 / noise, 0.0).sum(-1)

    def given(shrinkage: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Spread, mean, its standard deviation and the log-likelihood, mean integrated out, at one value a row."""
        squared = typical * (1 - shrinkage) / shrinkage
        total = noise + squared[..., None]
        precision = np.where(known, 1 / total, 0.0)
        information = precision.sum(-1)
        mean = (precision * estimate).sum(-1) / information
        squares = (precision * (estimate - mean[..., None]) ** 2).sum(-1)
        log_likelihood = -0.5 * (np.where(known, np.log(total), 0.0).sum(-1) + np.log(information) + squares)
        return np.sqrt(squared), mean, 1 / np.sqrt(information), log_likelihood

    place = (np.arange(_NODES) + 0.5) / _NODES
    low, high = np.zeros(known.shape[:-1]), np.ones(known.shape[:-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_ZOOMS):
            nodes = [given(low + (high - low) * at) for at in place]
            spread, mean, mean_sd, log_likelihood = (np.stack(values, -1) for values in zip(*nodes, strict=True))
            below = log_likelihood - log_likelihood.max(-1, keepdims=True)
            likely = below > -_NEGLIGIBLE
            first = np.argmax(likely, -1)
            last = _NODES - 1 - np.argmax(likely[..., ::-1], -1)
            low, high = low + (high - low) * first / _NODES, low + (high - low) * (last + 1) / _NODES
    weight = np.where(known.sum(-1, keepdims=True) < 2, np.nan, np.exp(below))
    return RandomEffects(weight / weight.sum(-1, keepdims=True), spread, mean, mean_sd)
