"""How likely a test that is looked at several times has not decided yet: Brownian motion between two boundaries."""

from functools import cache

import numpy as np

from neonblue_lab.stats.arrays import Floats

_NODES_A_STEP = 3.0
"""Nodes of the integration for each standard deviation of the step between two looks."""
_NODES = 16
"""Numbers of nodes are multiples of it, so that few rules are made."""
_ROWS = 256
"""Rows that are integrated at once: their steps from node to node stay within some tens of megabytes."""
_FARTHEST = 9.0
"""Standard deviations beyond which nothing is: a boundary farther out is one that no test reaches."""


def survival(boundary: Floats, information: Floats, shift: Floats) -> Floats:
    """Probability that |z| has stayed within its boundary at every look so far.

    The recursive integration of Armitage, McPherson & Rowe (1969), "Repeated significance tests on accumulating data",
    JRSS A 132(2), by Gauss-Legendre quadrature, without a drift: the drift enters at the end, by the likelihood ratio
    exp(drift x - drift^2 t / 2), as the score x of a path is all that it depends on.

    Args:
        boundary: |z| at which each look decides, shape (..., looks).
        information: share of the final information at each look, rising to 1, shape (looks,).
        shift: expected z at the last look, shape (...).

    Returns:
        Probabilities of shape (..., looks), the first ones for the first look.
    """
    rows = np.broadcast_to(boundary, (*shift.shape, information.size)).reshape(-1, information.size)
    shifts = shift.reshape(-1)
    parts = [
        _survival(rows[start : start + _ROWS], information, shifts[start : start + _ROWS, None])
        for start in range(0, shifts.size, _ROWS)
    ]
    return np.concatenate(parts or [np.empty((0, information.size))]).reshape(*shift.shape, information.size)


def _survival(boundary: Floats, information: Floats, shift: Floats) -> Floats:
    """Of some rows: shapes (rows, looks), (looks,) and (rows, 1)."""
    steps = np.sqrt(np.diff(information, prepend=0.0))
    reach = np.minimum(boundary, _FARTHEST) * np.sqrt(information)
    survived = np.empty(reach.shape)
    before, mass = np.zeros((len(reach), 1)), np.ones((len(reach), 1))
    for look, step in enumerate(steps):
        half = reach[:, look, None]
        widest = float(np.nanmax(half, initial=0.0))
        node, weight = _rule(1 + int(2 * widest / step * _NODES_A_STEP) // _NODES)
        at = half * node
        distance = (at[:, :, None] - before[:, None, :]) / step
        density = (np.exp(-0.5 * distance**2) @ mass[:, :, None])[:, :, 0] / (step * np.sqrt(2 * np.pi))
        before, mass = at, density * half * weight
        survived[:, look] = (mass * np.exp(shift * at - shift**2 * information[look] / 2)).sum(-1)
    return survived


@cache
def _rule(sixteens: int) -> tuple[Floats, Floats]:
    """Nodes in -1 to 1, and their weights."""
    return np.polynomial.legendre.leggauss(sixteens * _NODES)
