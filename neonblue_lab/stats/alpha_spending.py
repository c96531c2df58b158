"""Group-sequential boundaries: a planned number of looks, among which the false-positive rate alpha is spent.

Sharper than an always-valid interval, and bound to its plan: what the looks have spent is a function of the share of
the planned information that they came at (Lan & DeMets 1983, "Discrete sequential boundaries for clinical trials",
Biometrika 70(3)), so that they may come at other times than planned, but not for ever, and not be timed by the results.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.arrays import Floats, check_alpha, floats, refuse
from neonblue_lab.stats.distributions import normal_at_most, normal_quantile

Spending = Literal["obrien-fleming", "pocock"]

_FARTHEST = 37.0
"""Standard errors beyond which a normal tail is 0 in floating point: a boundary there is infinite."""
_BELOW = 9.0
"""Standard errors below 0 beyond which nothing comes back to cross an upper boundary: less than 1e-18 of the paths."""
_NODES, _PANEL = 16, 3.0
"""Gauss-Legendre nodes in each panel of three standard deviations of the narrower increment beside a look."""
_HALVINGS = 52
_CLOSEST = 1e-4
"""Rise of the information from look to look below which the quadrature would need gigabytes: 1,000 even looks pass."""


@dataclass(frozen=True, eq=False)
class Boundaries:
    """What stops an experiment at each look; arrays of shape (..., looks), NaN at a look that was not made.

    Attributes:
        z: stop for an effect when the estimate is at least so many standard errors from 0; infinite where nothing is
            spent. The estimate +- z standard errors is the look's repeated confidence interval (Jennison & Turnbull
            2000, "Group sequential methods", chapter 9).
        nominal_p: the fixed-horizon p-value that is as far out, two-sided or one-sided as asked for.
        spent: part of alpha spent up to and with the look.
    """

    z: Floats
    nominal_p: Floats
    spent: Floats


def boundaries(
    information: ArrayLike, alpha: float = 0.05, kind: Spending = "obrien-fleming", *, sides: Literal[1, 2] = 2
) -> Boundaries:
    """Boundaries at looks with the given shares of the planned information, by exact recursion over the looks.

    The sums at successive looks have independent normal increments; their density short of the boundaries is carried
    from look to look by quadrature (Armitage, McPherson & Rowe 1969; Jennison & Turnbull 2000, section 19.2).

    Args:
        information: shape (..., looks): units so far / units planned at each look, in order. A NaN is a look that was
            not made. At 1 and above all of alpha is spent: a look after it has nothing left.
        alpha: false-positive rate of all looks together.
        kind: how alpha is spent at a share t of the information, for each side at its own part a of alpha:
            "obrien-fleming": 2 - 2 Phi(Phi^-1(1 - a / 2) / sqrt(t)), hardly anything early, and nearly a fixed-horizon
            test at the end; "pocock": a log(1 + (e - 1) t), about the same boundary at every look.
        sides: 2 spends alpha / 2 on either side by that function, as the Lan-DeMets programs, gsDesign and rpact do;
            to spend the function of the whole alpha on both sides together is another convention, with a lower
            boundary early on. 1 looks above 0 alone.

    Returns:
        `Boundaries` of the shape of `information`.

    Raises:
        BadInput: information is not above 0, or does not rise along the last axis by 0.01 % a look; alpha does not lie
            between 0 and 1 (0.5 for one side); kind or sides is not one of those above.
    """
    check_alpha(alpha)
    if kind not in get_args(Spending):
        raise BadInput(f"kind is {kind!r}: it must be 'obrien-fleming' or 'pocock'.")
    if sides not in (1, 2):
        raise BadInput(f"sides is {sides!r}: it must be 1 or 2.")
    if alpha / sides >= 0.5:
        raise BadInput(f"alpha is {alpha} on one side: it must be below 0.5, or the boundary would lie below 0.")
    shares = floats("information", information)
    if shares.ndim == 0:
        raise BadInput("information must have one number a look along its last axis: got a single number.")
    refuse((shares <= 0) | np.isinf(shares), "information", shares, "a share of the planned information is above 0")
    risen = shares[..., 1:] / np.fmax.accumulate(shares, axis=-1)[..., :-1] - 1
    refuse(
        risen < _CLOSEST, "rise of information", risen, f"from look to look it must rise, by {_CLOSEST:.2%} at least"
    )

    # Most experiments share their schedule: each is worked out once.
    spent = sides * _spent(shares, alpha / sides, kind)
    looks = shares.shape[-1]
    schedules, which = np.unique(shares.reshape(-1, looks), axis=0, return_inverse=True)
    each = [_schedule(row, _spent(row, alpha / sides, kind), sides) for row in schedules]
    z = np.array(each).reshape(-1, looks)[which.ravel()].reshape(shares.shape)
    return Boundaries(z, sides * normal_at_most(-z), spent)


def _spent(shares: Floats, alpha: float, kind: Spending) -> Floats:
    t = np.minimum(shares, 1.0)
    if kind == "pocock":
        return np.asarray(alpha * np.log1p((np.e - 1) * t))
    return 2 * normal_at_most(normal_quantile(alpha / 2) / np.sqrt(t))


def _schedule(shares: Floats, spent: Floats, sides: int) -> Floats:
    """The boundary at each look of one schedule that has spent so much of one side's alpha there."""
    z = np.full(shares.shape, np.nan)
    made = np.flatnonzero(~np.isnan(shares))
    paths = _Paths(sides)
    before, now = 0.0, 0.0
    for place, look in enumerate(made):
        paths.advance(shares[look] - now)
        z[look] = paths.boundary(spent[look] - before)
        if place + 1 < made.size:
            paths.stop_beyond(z[look], shares[made[place + 1]] - shares[look])
        before, now = spent[look], shares[look]
    return z


class _Paths:
    """Brownian motions that have not crossed a boundary yet: points where they were at a look, and their weights."""

    def __init__(self, sides: int) -> None:
        self._sides = sides
        self._variance = self._increment = 0.0
        self._points, self._weights = np.zeros(1), np.ones(1)

    def advance(self, increment: float) -> None:
        """Go on to the next look, which adds `increment` to the variance."""
        self._increment = increment
        self._variance += increment

    def boundary(self, probability: float) -> float:
        """Standard errors that the paths exceed with the given probability at this look: by bisection."""
        low, high = 0.0, _FARTHEST
        if probability <= self._exceed(high):
            return np.inf
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._exceed(middle) > probability else (low, middle)
        return high

    def _exceed(self, z: float) -> float:
        above = (self._points - z * np.sqrt(self._variance)) / np.sqrt(self._increment)
        return float(self._weights @ normal_at_most(above))

    def stop_beyond(self, z: float, following: float) -> None:
        """Keep the paths within the boundary, on points close enough for an increment of variance `following`."""
        reach = min(z, _FARTHEST) * np.sqrt(self._variance)
        lowest = -reach if self._sides == 2 else -_BELOW * np.sqrt(self._variance)
        width = _PANEL * np.sqrt(min(self._increment, following))
        edges = np.linspace(lowest, reach, 1 + int(np.ceil((reach - lowest) / width)))
        unit, weights = np.polynomial.legendre.leggauss(_NODES)
        half = (edges[1] - edges[0]) / 2
        points = ((edges[:-1] + half)[:, None] + half * unit).ravel()
        steps = (points[:, None] - self._points) / np.sqrt(self._increment)
        density = np.exp(-(steps**2) / 2) @ self._weights / np.sqrt(2 * np.pi * self._increment)
        self._points, self._weights = points, half * np.tile(weights, edges.size - 1) * density
