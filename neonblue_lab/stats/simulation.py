"""Experiments simulated on units that there really were: A/A tests, and A/B tests with an effect put in.

Each simulated experiment splits the units at random and tests the split, with the very functions that will test the
real one. Without an effect the share of significant ones is the false-positive rate on these values: heavy tails and
few successes can move it away from alpha, and no formula would say so. With an effect it is the power.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.errors import BadInput
from neonblue_lab.stats import cuped
from neonblue_lab.stats.arrays import Floats, floats, refuse
from neonblue_lab.stats.joint import COLUMNS, JointMoments
from neonblue_lab.stats.power import Design
from neonblue_lab.stats.ratio import linearised
from neonblue_lab.stats.shares import wilson
from neonblue_lab.stats.two_sample import welch

_CELLS = 4_000_000
"""Units x experiments that are split at once: what fits into a hundred megabytes."""
_FEWEST = 4
_SAID = {"y": "values", "d": "denominators", "x": "covariate"}
"""What an argument is called, by the column that it becomes."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """What came of many simulated experiments.

    Attributes:
        p_values: of each, of the difference; NaN where a split left nothing to test.
        differences: estimate of each.
        alpha: level of the tests.
        effect: the difference that was put in, in units of the metric; 0 in an A/A simulation.
    """

    p_values: Floats
    differences: Floats
    alpha: float
    effect: float

    @property
    def rate(self) -> float:
        """Share of the experiments that are significant: false positives without an effect, power with one."""
        return float((self.p_values < self.alpha).mean())

    @property
    def rate_interval(self) -> tuple[float, float]:
        """95 % interval of the rate in endless simulation (Wilson's; see `shares.wilson`)."""
        low, high = wilson((self.p_values < self.alpha).sum(), self.p_values.size)
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.rate_interval
        shown = f"{self.rate:.1%} (95 % interval {low:.1%} to {high:.1%})"
        runs = f"{self.p_values.size:,} simulated experiments"
        if self.effect:
            return f"Power {shown} for a difference of {self.effect:.6g} in {runs}."
        verdict = "as it should be" if low <= self.alpha <= high else "not what it should be"
        return f"False positives {shown} at alpha {self.alpha:g} in {runs}: {verdict}."


def simulate(
    values: ArrayLike,
    *,
    denominators: ArrayLike | None = None,
    covariate: ArrayLike | None = None,
    lift: float = 0.0,
    design: Design | None = None,
    experiments: int = 2000,
    seed: int = 0,
) -> Simulation:
    """Split the given units at random many times, and test each split.

    The units are all assigned in every experiment, without replacement, as those of the real one would be. An
    experiment of fewer units: give a random part of them.

    Args:
        values: of the metric, one a unit (0 and 1 for a proportion).
        denominators: of a ratio of means, one a unit.
        covariate: of the time before the experiment, one a unit: the tests are CUPED's.
        lift: put into the variant, whose values are all multiplied by 1 + lift. The values of a proportion then are no
            longer 0 and 1, and vary a little more than if failures had become successes: its power is a little low.
        design: alpha, alternative and ratio are its; the reading is "fixed".
        experiments: how many.
        seed: of the splits.

    Returns:
        A `Simulation`. Time grows with units x experiments.

    Raises:
        BadInput: fewer than 4 units, a value that is not finite, columns of different lengths, or no experiments.
    """
    design = design or Design()
    if design.reading != "fixed":
        raise BadInput(f"The reading of a simulation is 'fixed': got {design.reading!r}.")
    if experiments < 1:
        raise BadInput(f"experiments is {experiments}: at least one is simulated.")
    columns, units = _units({"y": values, "d": denominators, "x": covariate})
    control, variant = _splits(units, columns, design.ratio / (1 + design.ratio), experiments, seed)
    scale = np.where(np.array(columns) == "y", 1 + lift, 1.0)
    variant = JointMoments(columns, variant.n, variant.mean * scale, variant.covariance * np.outer(scale, scale))
    if covariate is None:
        arms = linearised(control), linearised(variant)
    else:
        adjusted = cuped.adjusted(control, variant)
        arms = adjusted.control, adjusted.variant
    compared = welch(*arms, alpha=design.alpha, alternative=design.alternative)
    value = units[0].mean() / (1.0 if denominators is None else units[1].mean())
    return Simulation(compared.p_value, compared.difference, design.alpha, float(value * lift))


def _units(given: dict[str, ArrayLike | None]) -> tuple[tuple[str, ...], Floats]:
    """Names of the columns that there are, and their values, shape (columns, units)."""
    columns = tuple(name for name in COLUMNS if given.get(name) is not None)
    arrays = [floats(_SAID[name], given[name]) for name in columns]  # type: ignore[arg-type]
    for name, array in zip(columns, arrays, strict=True):
        if array.ndim != 1 or array.shape != arrays[0].shape:
            raise BadInput(
                f"{_SAID[name]} must be a 1-d array of one number a unit: got shape {array.shape}, and values has "
                f"{arrays[0].shape}."
            )
        refuse(~np.isfinite(array), _SAID[name], array, "a number of a unit is finite")
    if arrays[0].size < _FEWEST:
        raise BadInput(f"There are {arrays[0].size} units: to be split in two again and again it takes {_FEWEST}.")
    return columns, np.stack(arrays)


def _splits(
    units: Floats, columns: tuple[str, ...], share: float, experiments: int, seed: int
) -> tuple[JointMoments, JointMoments]:
    """Joint moments of control and variant in each of the experiments."""
    k, n = units.shape
    centre = units.mean(axis=1)
    about = units - centre[:, None]
    first, second = np.triu_indices(k)
    summed = np.concatenate([np.ones((1, n)), about, about[first] * about[second]])
    rng = np.random.default_rng(seed)
    in_variant = np.empty((experiments, len(summed)))
    chunk = max(1, _CELLS // n)
    for start in range(0, experiments, chunk):
        drawn = rng.random((min(chunk, experiments - start), n), dtype=np.float32) < share
        in_variant[start : start + chunk] = drawn.astype(np.float64) @ summed.T

    def joint(sums: Floats) -> JointMoments:
        count = sums[:, 0]
        with np.errstate(all="ignore"):
            mean = sums[:, 1 : k + 1] / count[:, None]
            covariance = np.empty((experiments, k, k))
            for i, j, products in zip(first, second, sums[:, k + 1 :].T, strict=True):
                between = count * mean[:, i] * mean[:, j]
                covariance[:, i, j] = covariance[:, j, i] = (products - between) / (count - 1)
        diagonal = np.arange(k)
        covariance[:, diagonal, diagonal] = np.maximum(covariance[:, diagonal, diagonal], 0.0)
        return JointMoments(columns, count, centre + mean, covariance)

    return joint(summed.sum(axis=1) - in_variant), joint(in_variant)
