"""The scale on which a series is modelled: log(1 + x / unit) for what is never negative, else as it is.

With the median as unit it behaves like a logarithm for what grows and like the plain scale near zero, whatever the unit
of
measurement: a day without a conversion is no catastrophe, and revenue in cents is modelled like revenue in euros.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from neonblue_lab.models.trends.series import Floats


@dataclass(frozen=True)
class Scale:
    """Attributes:
    unit: the x at which the scale is half-way from linear to logarithmic; None: the plain scale.
    """

    unit: float | None

    @classmethod
    def of(cls, values: Floats) -> Self:
        """The logarithmic one, with the median (the mean where that is 0) as unit, unless a value is negative or all
        are 0."""
        if values.min() < 0 or values.max() == 0:
            return cls(None)
        return cls(float(np.median(values) or values.mean()))

    def forward(self, values: Floats) -> Floats:
        """Onto the scale."""
        return values if self.unit is None else np.log1p(values / self.unit)

    def back(self, scaled: Floats) -> Floats:
        """Off the scale; on the logarithmic one what falls below 0 becomes 0."""
        return scaled if self.unit is None else np.expm1(np.maximum(scaled, 0.0)) * self.unit
