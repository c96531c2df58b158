"""Holidays: which days of a series are special in a country, and what each was worth when it came before."""

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.models.trends.scale import Scale
from neonblue_lab.models.trends.series import DAY, Floats, RegularSeries

SEEN = 2
"""Times that a holiday must have come before anything is said of its effect."""
WEEKS = 4
"""Weeks before a day whose same weekdays it is compared with."""


NEARLY_ZERO = 50.0
"""A fraction of what is usual below which a change is counted in units and no longer in shares."""


def holiday_scale(scale: Scale) -> Scale:
    """The scale on which the effects of holidays add up: nearly a pure logarithm, as a holiday takes away or brings a share
    of what the day would have been."""
    return scale if scale.unit is None else replace(scale, unit=scale.unit / NEARLY_ZERO)


def lifted(values: Floats, additions: Floats, scale: Scale) -> Floats:
    """Values with what holidays add to them.

    Args:
        values: on the series' own scale.
        additions: on the holidays' scale, same shape on the last axes.
        scale: on which the series is modelled.
    """
    if not additions.any():
        return values
    own = holiday_scale(scale)
    return own.back(own.forward(values) + additions)


@dataclass(frozen=True)
class Effect:
    """Attributes:
    name: of the holiday.
    effect: what it adds on the holidays' scale.
    seen: how often it came.
    """

    name: str
    effect: float
    seen: int


@dataclass(frozen=True)
class SpecialDays:
    """The holidays of a series and of the time that it may be continued over.

    Attributes:
        names: the holiday of each step ("" for none), beyond the end of the series too.
        added: what the step was above the median of its weekday in the four weeks before, in which holidays do not count;
            NaN for other steps, or where there is nothing to compare with; shape of the series.
        days: the number of the day of each step, from 0.
    """

    names: np.ndarray
    added: Floats
    days: np.ndarray

    def effects(self, end: int) -> tuple[Effect, ...]:
        """Of each holiday that came twice or more in the first `end` steps: the mean of what it added."""
        before = np.flatnonzero((self.names[:end] != "") & ~np.isnan(self.added[:end]))
        found = []
        for name in np.unique(self.names[before]):
            steps = before[self.names[before] == name]
            seen = len(np.unique(self.days[steps]))
            if seen >= SEEN:
                found.append(Effect(str(name), float(self.added[steps].mean()), seen))
        return tuple(found)

    def additions(self, effects: tuple[Effect, ...], first: int, count: int) -> Floats:
        """What holidays add to `count` steps beginning with number `first`."""
        added = np.zeros(count)
        names = self.names[first : first + count]
        for effect in effects:
            added[: len(names)][names == effect.name] = effect.effect
        return added


def special_days(series: RegularSeries, scale: Scale, country: str, ahead: int) -> SpecialDays:
    """The holidays of a country in a series and `ahead` steps beyond.

    Args:
        series: of days or shorter steps.
        scale: on which it is modelled.
        country: ISO 3166 code, such as DE or US.
        ahead: steps beyond the last value.

    Raises:
        BadInput: the country is unknown, or the steps are longer than a day or do not divide it.
    """
    import holidays

    if DAY % series.step != timedelta(0):
        raise BadInput(f"Holidays are of days: a series in steps of {series.step} has none. Leave country out.")
    times = series.times(0, len(series) + ahead)
    dates = times.dt.date()
    try:
        calendar = holidays.country_holidays(country, years=range(dates[0].year, dates[-1].year + 1))
    except NotImplementedError as error:
        raise BadInput(f"No calendar of holidays for country {country!r}: give an ISO 3166 code such as US.") from error
    known: dict[date, str] = dict(calendar.items())
    names = dates.map_elements(lambda day: known.get(day, ""), return_dtype=pl.String).to_numpy().astype(str)
    days = (dates - dates[0]).dt.total_days().to_numpy()
    week = 7 * (DAY // series.step)
    scaled = holiday_scale(scale).forward(series.values)
    ordinary = np.where(names[: len(series)] == "", scaled, np.nan)
    added = np.full(len(series), np.nan)
    for step in np.flatnonzero(names[: len(series)] != ""):
        before = [ordinary[step - week * back] for back in range(1, WEEKS + 1) if step >= week * back]
        if len(before) and not np.isnan(before).all():
            added[step] = scaled[step] - float(np.nanmedian(before))
    return SpecialDays(names, added, days)
