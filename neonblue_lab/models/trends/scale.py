"""The scales on which a series is modelled: as it is, and log(1 + x / unit) for what is never negative.

With the median as unit the latter behaves like a logarithm for what grows and like the plain scale near zero, whatever the
unit of measurement: a day without a conversion is no catastrophe, and revenue in cents is modelled like revenue in euros.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from neonblue_lab.models.trends.series import Floats


@dataclass(frozen=True)
class Scale:
    """A scale and the range in which the series may lie.

    Attributes:
        unit: the x at which the scale is half-way from linear to logarithmic; None: the plain scale.
        positive: what falls below 0 becomes 0, on the way back.
        ceiling: the greatest value that makes sense on the way back, on the series' own scale: a logarithm that runs
            away must not become a forecast of infinity.
    """

    unit: float | None
    positive: bool
    ceiling: float | None = None

    @classmethod
    def of(cls, values: Floats) -> Self:
        """The logarithmic one, with the median (the mean where that is 0) as unit, unless a value is negative or all are
        0."""
        if values.min() < 0 or values.max() == 0:
            return cls(None, bool(values.min() >= 0))
        return cls(float(np.median(values) or values.mean()), True, float(RUNAWAY * values.max()))

    @property
    def plain(self) -> Self:
        """The same range on the plain scale."""
        return type(self)(None, self.positive, self.ceiling)

    def forward(self, values: Floats) -> Floats:
        """Onto the scale."""
        return values if self.unit is None else np.log1p(values / self.unit)

    def back(self, scaled: Floats) -> Floats:
        """Off the scale, into the range."""
        values = scaled
        if self.unit is not None:
            values = np.expm1(np.minimum(scaled, LARGEST_LOGARITHM)) * self.unit
        if self.positive:
            values = np.maximum(values, 0.0)
        return values if self.ceiling is None else np.minimum(values, self.ceiling)


RUNAWAY = 10.0
"""Times the greatest value ever seen: where forecasts and intervals end on the logarithmic scale."""

LARGEST_LOGARITHM = 500.0
"""Beyond it the exponential overflows."""
