"""Which values were not to be expected: every value beside what the values before it led one to expect.

Everything that is learned is a median or a quantile of the past, so that an anomaly moves neither what is expected after it
nor how wide the expectation is.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import stdtrit

from neonblue_lab.errors import BadInput
from neonblue_lab.models.trends.scale import Scale
from neonblue_lab.models.trends.series import Floats, RegularSeries, default_seasons, regular_series
from neonblue_lab.models.trends.special_days import lifted, special_days
from neonblue_lab.models.trends.trend import TrendModel

SPIKE, DROP, SHIFT, MISSING = "spike", "drop", "level shift", "missing"
FALSE_ALARMS = 0.002
"""Share of ordinary values that are flagged: about one of 500."""
SEASONS_COMPARED = 5
LEVELS = (3, 5, 7, 14)
"""Steps of whose median the level is taken; the series' own past says which is best."""
STAYS = 3
"""Values in a row, the first beyond the limit and all beyond half of it, that make a level shift."""
MEMORY = 400
"""Residuals that the limits are learned from, at most."""
FEWEST = 20
"""Residuals below which nothing is flagged: nothing is known of what is ordinary."""
HAIR = 1e-9
"""Of the largest value: what rounding alone may change."""
MIDDLE, OUTER = 0.5, 0.9
"""Quantiles of absolute residuals that say how wide they spread and how heavy their tails are."""


@dataclass(frozen=True)
class _Expectation:
    """On the modelling scale, one step ahead; NaN where the past is too short."""

    level: Floats
    seasonal: Floats
    limit: Floats
    window: int

    @property
    def expected(self) -> Floats:
        return self.level + self.seasonal


def anomalies(
    series: pl.DataFrame | TrendModel,
    *,
    seasons: tuple[int, ...] | None = None,
    false_alarms: float = FALSE_ALARMS,
    country: str | None = None,
) -> pl.DataFrame:
    """Every value of a series beside what was to be expected of it a step before, and what kind of anomaly it is.

    The expectation is the median of the last levels plus what the same place in the last five seasons lay above theirs. Its
    limits are those of a Student distribution that has the spread and the tails (medians and 90 % quantiles) of the last 400
    absolute one-step errors: an empirical quantile so far out would need thousands. On simulated noise, normal, heavy-tailed
    (t with 4 degrees of freedom), autocorrelated, wandering and Poisson counts, with a weekly season, 0.2 to 2.6 times the
    promised share of values was flagged, most for heavy tails, fewest for counts.

    Args:
        series: timestamp and value, as for `fit_trend`; or a model, whose series is looked at.
        seasons: steps in each season, the shortest first; None: by `default_seasons`, or those of the model.
        false_alarms: share of ordinary values that may be flagged.
        country: whose holidays are expected to differ once they came twice; None: none.

    Returns:
        timestamp, value, expected, low, high (null while the past is too short), score (distance from the expected in units
        of the limit: above 1 is an anomaly), kind: `spike` or `drop` (a value beyond the limit), `level shift` (such a value after
        which two more stay more than half as far from what was expected before them, on the same side; those are no
        anomalies beside the new level), `missing` (no value), null (ordinary).

    Raises:
        BadInput: as `fit_trend`; or false_alarms is not between 0 and 0.5.
    """
    if not 0 < false_alarms < 0.5:
        raise BadInput(f"false_alarms is {false_alarms}: a share of ordinary values, above 0 and below 0.5.")
    if isinstance(series, TrendModel):
        regular, seasons = series.series, seasons or series.seasons
    else:
        regular = regular_series(series, seasons=seasons)
        seasons = seasons or default_seasons(regular.step, len(regular))
    scale = Scale.of(regular.values)
    scaled = scale.forward(regular.values)
    added = _holidays(regular, scale, country)
    ordinary = np.where(regular.observed, scale.forward(lifted(regular.values, -added, scale)), np.nan)
    if np.ptp(regular.values) == 0:
        expectation = _Expectation(scaled, np.zeros(len(scaled)), np.full(len(scaled), np.nan), 1)
        kinds = np.full(len(scaled), None, dtype=object)
    else:
        expectation = _expectation(ordinary, seasons, false_alarms)
        kinds = _kinds(ordinary, expectation)
    kinds[~regular.observed] = MISSING
    beyond = np.abs(ordinary - expectation.expected) / expectation.limit
    middle, limit = expectation.expected, expectation.limit
    parts = {
        "expected": lifted(scale.back(middle), added, scale),
        "low": lifted(scale.back(middle - limit), added, scale),
        "high": lifted(scale.back(middle + limit), added, scale),
        "score": beyond,
    }
    return pl.DataFrame(
        {
            "timestamp": regular.times(0, len(regular)),
            "value": pl.Series(np.where(regular.observed, regular.values, np.nan)).fill_nan(None),
            **{name: pl.Series(part).fill_nan(None) for name, part in parts.items()},
            "kind": pl.Series(kinds.tolist(), dtype=pl.String),
        }
    )


def _expectation(values: Floats, seasons: tuple[int, ...], false_alarms: float) -> _Expectation:
    seasonal = _seasonal(values, seasons)
    best = np.inf
    unknown = np.full(len(values), np.nan)
    hair = HAIR * float(np.nanmax(np.abs(values)))
    found = _Expectation(unknown, unknown, unknown, LEVELS[0])
    for window in LEVELS:
        level = _running_median(values - seasonal, window)
        errors = np.abs(values - level - seasonal)
        if (~np.isnan(errors)).any() and float(np.nanmedian(errors)) < best:
            best = float(np.nanmedian(errors))
            found = _Expectation(level, seasonal, _limits(errors, false_alarms, hair), window)
    return found


def _seasonal(values: Floats, seasons: tuple[int, ...]) -> Floats:
    """What the same place of the last seasons lay above the median of its season; of the longest season met thrice."""
    season = max((s for s in seasons if 3 * s <= len(values)), default=1)
    if season == 1:
        return np.zeros(len(values))
    above = np.full(len(values), np.nan)
    above[season - 1 :] = values[season - 1 :] - _median(sliding_window_view(values, season))
    before = np.full((SEASONS_COMPARED, len(values)), np.nan)
    for back in range(SEASONS_COMPARED):
        lag = (back + 1) * season
        if lag < len(values):
            before[back, lag:] = above[:-lag]
    return _median(before.T)


def _running_median(values: Floats, count: int) -> Floats:
    """At each place the median of the `count` values before it; NaN at the beginning."""
    found = np.full(len(values), np.nan)
    if len(values) > count:
        found[count:] = _median(sliding_window_view(values, count)[:-1])
    return found


def _limits(errors: Floats, false_alarms: float, hair: float) -> Floats:
    """At each place the limit learned from the errors before it; NaN where they are fewer than 20. Where nine of ten of them
    were none, no distribution can be told: the limit is the largest of them, or a hair."""
    limits = np.full(len(errors), np.nan)
    padded = np.concatenate([np.full(MEMORY, np.nan), errors])
    before = sliding_window_view(padded, MEMORY)[: len(errors)]
    enough = np.flatnonzero((~np.isnan(before)).sum(axis=1) >= FEWEST)
    if not len(enough):
        return limits
    middle, outer = np.nanquantile(before[enough], [MIDDLE, OUTER], axis=1)
    ratio = np.divide(outer, middle, out=np.full_like(outer, np.inf), where=middle > 0)
    at = np.searchsorted(_RATIOS, ratio)
    degrees = _DEGREES[np.minimum(at, len(_DEGREES) - 1)]
    unit = np.where(middle > 0, middle / stdtrit(degrees, (1 + MIDDLE) / 2), outer / stdtrit(degrees, (1 + OUTER) / 2))
    found = unit * stdtrit(degrees, 1 - false_alarms / 2)
    limits[enough] = np.where(found > 0, found, np.maximum(np.nanmax(before[enough], axis=1), hair))
    return limits


_DEGREES = np.array([100.0, 50.0, 30.0, 20.0, 15.0, 10.0, 8.0, 6.0, 5.0, 4.0, 3.0])
_RATIOS = stdtrit(_DEGREES, (1 + OUTER) / 2) / stdtrit(_DEGREES, (1 + MIDDLE) / 2)
"""Of Student's distributions, by degrees of freedom: the 90 % quantile of the absolute value over its median."""


def _kinds(values: Floats, expectation: _Expectation) -> np.ndarray:
    kinds = np.full(len(values), None, dtype=object)
    errors = values - expectation.level - expectation.seasonal
    side = np.sign(errors) * (np.abs(errors) > expectation.limit)
    ordinary_from = 0
    for place in np.flatnonzero(np.nan_to_num(side)):
        if place < ordinary_from:
            continue
        ahead = slice(place, place + STAYS)
        stays = side[place] * (values[ahead] - expectation.level[place] - expectation.seasonal[ahead])
        if len(stays) == STAYS and (stays > expectation.limit[place] / 2).all():
            kinds[place] = SHIFT
            ordinary_from = int(place) + STAYS + expectation.window
        else:
            kinds[place] = SPIKE if side[place] > 0 else DROP
    return kinds


def _holidays(series: RegularSeries, scale: Scale, country: str | None) -> Floats:
    """What each holiday was expected to add when it came, from its earlier occurrences alone."""
    added = np.zeros(len(series))
    if country is None:
        return added
    special = special_days(series, scale, country, 0)
    for step in np.flatnonzero(special.names != ""):
        added[step] = special.additions(special.effects(int(step)), int(step), 1)[0]
    return added


def _median(values: Floats) -> Floats:
    """Along the last axis, of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    ordered = np.sort(values, axis=-1)
    count = known.sum(axis=-1)
    low = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0)[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[-1] - 1)[..., None], axis=-1)[..., 0]
    return np.where(count > 0, (low + high) / 2, np.nan)
