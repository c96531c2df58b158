"""Where a split broke: the sample ratio in each part of an experiment, and the days in between which it was wrong.

A mismatch says that something is wrong, not where. If one segment has it and the rest has not, that segment's path into
the experiment is at fault; if all have it alike, assignment or logging as a whole; if a span of days has it, what was
released at its ends: Fabijan et al. (2019), "Diagnosing sample ratio mismatch in online controlled experiments", KDD.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.arrays import Floats, Integers, aligned, counts, floats, refuse
from neonblue_lab.stats.chi_squared import ChiSquaredTest
from neonblue_lab.stats.distributions import chi_squared_tail
from neonblue_lab.stats.sample_ratio import sample_ratio


@dataclass(frozen=True, eq=False)
class RatioByPart:
    """Sample-ratio tests of experiments' parts; arrays of shape (..., parts), or (...) where that is said.

    Attributes:
        overall: test of all units of an experiment together, shape (...).
        uneven: test that the split is the same in all parts, whatever it is, shape (...).
        part: test of each part against the allocation.
        without: test of all units but this part's: where it finds nothing and `overall` does, this part has it all.
    """

    overall: ChiSquaredTest
    uneven: ChiSquaredTest
    part: ChiSquaredTest
    without: ChiSquaredTest


@dataclass(frozen=True, eq=False)
class BrokenSpan:
    """The span of periods whose split differs most from what it should be; arrays of shape (...).

    Attributes:
        first: its first period, counted from 0; -1 where there is nothing to test.
        last: its last period.
        statistic: twice the log of the likelihood ratio of another split within the span.
        p_value: of so large a statistic in any of the spans that were looked at (Bonferroni: at most this).
    """

    first: Integers
    last: Integers
    statistic: Floats
    p_value: Floats


def by_part(observed: ArrayLike, allocation: ArrayLike) -> RatioByPart:
    """Test the split of every part of every experiment against the allocation, by Pearson's chi-squared test.

    The many p-values of `part` want adjusting within an experiment (`holm`) before one of them is believed.

    Args:
        observed: units counted, shape (..., parts, variants); a part may be without units.
        allocation: share of units meant for each variant in any unit, shape (..., variants); 0 for a variant that an
            experiment does not have.

    Returns:
        A `RatioByPart`; NaN where there are fewer than two variants, no units, or a count that is not known; `uneven`
        NaN with fewer than two parts with units.

    Raises:
        BadInput: a count or an allocation is negative or infinite, or the shapes disagree.
    """
    observed, share = _checked(observed, allocation)
    total = observed.sum(-2, keepdims=True)
    occupied = observed.sum(-1) != 0
    alike = _split(observed, np.where(np.isnan(total), 0.0, total)).statistic
    parts, variants = occupied.sum(-1), (total[..., 0, :] != 0).sum(-1)
    return RatioByPart(
        overall=_split(total[..., 0, :], share[..., 0, :]),
        uneven=ChiSquaredTest.of(np.where(occupied, alike, 0.0).sum(-1), np.maximum(parts - 1.0, 0) * (variants - 1)),
        part=_split(observed, share),
        without=_split(total - observed, share),
    )


def broken_span(observed: ArrayLike, allocation: ArrayLike | None = None) -> BrokenSpan:
    """Find the one span of consecutive periods in which units were split otherwise, for many experiments at once.

    All spans are tried: Kulldorff (1997), "A spatial scan statistic", Communications in Statistics 26(6), for
    categories. The likelihood of a split of its own within the span is set against that of the allocation, or where
    none is given against one split throughout: then a whole programme can be searched for weeks in which more of its
    experiments failed a check than in the others, with (failed, passed) as the categories.

    Args:
        observed: units counted, shape (..., periods, categories) in order of time; periods may be without units.
        allocation: share of units meant for each category in any unit, shape (..., categories); 0 for a category that
            an experiment does not have. None: what it should be is not known, only that it should not change.

    Returns:
        A `BrokenSpan`; -1 and NaN where there is nothing to test: fewer than two categories, no units, a count that is
        not known.

    Raises:
        BadInput: a count or an allocation is negative or infinite, or the shapes disagree.
    """
    observed, share = _checked(observed, 1.0 if allocation is None else allocation)
    possible = observed.sum(-2) > 0 if allocation is None else share[..., 0, :] > 0
    categories = possible.sum(-1)
    occupied = observed.sum(-1) != 0
    until = np.concatenate([np.zeros_like(observed[..., :1, :]), np.cumsum(observed, -2)], -2)
    everything = until[..., -1, :]

    best = np.full(everything.shape[:-1], -np.inf)
    first, last = np.full(best.shape, -1), np.full(best.shape, -1)
    for start in range(observed.shape[-2]):
        # A span begins and ends with a period that has units: any other is the same span with empty periods about it.
        inside = until[..., start + 1 :, :] - until[..., start : start + 1, :]
        if allocation is None:
            rest = everything[..., None, :] - inside
            statistic = _fit(inside) + _fit(rest) - _fit(everything[..., None, :])
        else:
            statistic = _fit(inside) - _fit(inside, share[..., :1, :])
        statistic = np.where(occupied[..., start, None] & occupied[..., start:], statistic, -np.inf)
        end = np.argmax(statistic, -1)
        found = np.take_along_axis(statistic, end[..., None], -1)[..., 0]
        better = found > best
        best, first = np.where(better, found, best), np.where(better, start, first)
        last = np.where(better, start + end, last)

    periods = occupied.sum(-1)
    spans = periods * (periods + 1) / 2 - (allocation is None)
    nothing = ~np.isfinite(best) & (best < 0) | (categories < 2) | (spans < 1) | np.isnan(everything).any(-1)
    best = np.where(nothing, np.nan, best)
    tail = np.where(np.isinf(best), 0.0, chi_squared_tail(best, categories - 1.0))
    return BrokenSpan(
        first=np.where(nothing, -1, first),
        last=np.where(nothing, -1, last),
        statistic=best,
        p_value=np.minimum(spans * tail, 1.0),
    )


def _checked(observed: ArrayLike, allocation: ArrayLike) -> tuple[Floats, Floats]:
    """Counts of shape (..., periods, variants), and the share meant for each variant, of the same shape."""
    units, meant = floats("observed", observed), floats("allocation", allocation)
    if units.ndim < 2:
        raise BadInput(f"observed has shape {units.shape}: its last two axes are the parts and the variants.")
    counts("observed", units)
    refuse((meant < 0) | np.isinf(meant), "allocation", meant, "a share of units is finite and not negative")
    units, meant = aligned(observed=units, allocation=meant[..., None, :] if meant.ndim else meant)
    with np.errstate(invalid="ignore"):
        return units, meant / meant.sum(-1, keepdims=True)


def _split(observed: Floats, share: Floats) -> ChiSquaredTest:
    """`sample_ratio` along the last axis."""
    shape = observed.shape[:-1]
    rows = np.repeat(np.arange(int(np.prod(shape))), observed.shape[-1])
    test = sample_ratio(rows, observed.ravel(), np.broadcast_to(share, observed.shape).ravel(), int(np.prod(shape)))
    return ChiSquaredTest(*(values.reshape(shape) for values in (test.statistic, test.df, test.p_value)))


def _fit(observed: Floats, share: Floats | None = None) -> Floats:
    """Twice the log-likelihood of counts along the last axis: by their own shares, or by the shares given."""
    units = observed.sum(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.log(observed / units if share is None else share)
        return np.asarray(2 * np.where(observed == 0, 0.0, observed * expected).sum(-1))
