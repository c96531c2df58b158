"""How far the rows that a model is asked about lie from those that it learned from, feature by feature."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from neonblue_lab.errors import BadInput

Floats = NDArray[np.float64]

NOTABLE, LARGE = 0.1, 0.25
"""The field's rule of thumb for a population stability index: below NOTABLE nothing to see, above LARGE retrain."""

_LEAST_SHARE = 1e-4  # of a bin that one side lacks: keeps its term finite
_MOST_CATEGORIES = 50


def stability(expected: ArrayLike, actual: ArrayLike) -> float:
    """Population stability index of two lists of counts over the same bins: sum of (a - e) * log(a / e) over shares."""
    shares = []
    for counts in (expected, actual):
        counted = np.asarray(counts, dtype=np.float64)
        shares.append(np.maximum(counted / max(counted.sum(), 1), _LEAST_SHARE))
    before, now = shares
    return float(((now - before) * np.log(now / before)).sum())


def population_stability(expected: pl.Series, actual: pl.Series, *, bins: int = 10) -> float:
    """Population stability index of the values of one feature, missing ones as a bin of their own.

    Args:
        expected: as learned from; its quantiles (or, for texts, its most frequent values) are the bins.
        actual: as seen now.
        bins: of numbers, at most.
    """
    feature = FeatureProfile.of(expected, bins=bins)
    return stability(feature.counts, feature.count(actual))


@dataclass(frozen=True)
class FeatureProfile:
    """What is kept of one feature: how many values each bin held, the last bin being missing values.

    Attributes:
        kind: "number" or "category".
        bins: inner edges of numbers (a bin holds what is at least its lower edge), or the categories.
        counts: of the bins, of what is in none of the categories, and of missing values.
    """

    kind: Literal["number", "category"]
    bins: list[Any]
    counts: list[int]

    @classmethod
    def of(cls, values: pl.Series, *, bins: int = 10) -> Self:
        """Profile of the values of a feature.

        Raises:
            BadInput: neither numbers nor booleans nor texts.
        """
        if values.dtype.is_numeric():
            known = values.cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy()
            inner = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])) if len(known) else np.array([])
            unfilled = cls("number", inner.tolist(), [])
        elif values.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null):
            texts = values.cast(pl.String).drop_nulls()
            frequent = texts.rename("value").value_counts(sort=True).sort("count", "value", descending=[True, False])
            unfilled = cls("category", frequent["value"].head(_MOST_CATEGORIES).to_list(), [])
        else:
            raise BadInput(
                f"The feature {values.name!r} is of type {values.dtype}: drift is told of numbers and texts."
            )
        return cls(unfilled.kind, unfilled.bins, unfilled.count(values))

    def count(self, values: pl.Series) -> list[int]:
        """How many of `values` fall into each bin of this profile."""
        if self.kind == "number":
            known = values.cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy()
            bins = np.searchsorted(np.asarray(self.bins, dtype=np.float64), known, side="right")
            counts = np.bincount(bins, minlength=len(self.bins) + 1).tolist()
            return [*counts, len(values) - len(known)]
        texts = values.cast(pl.String).rename("value")
        found = dict(texts.drop_nulls().value_counts().iter_rows())
        counts = [found.get(category, 0) for category in self.bins]
        missing = texts.null_count()
        return [*counts, len(values) - missing - sum(counts), missing]

    @property
    def missing(self) -> float:
        """Share of values that are missing."""
        return self.counts[-1] / max(sum(self.counts), 1)


@dataclass(frozen=True)
class Profile:
    """What a model keeps of the rows that it learned from, to tell drift without them."""

    features: Mapping[str, FeatureProfile]

    @classmethod
    def of(cls, frame: pl.DataFrame, *, bins: int = 10) -> Self:
        """Profile of all columns of a frame.

        Raises:
            BadInput: a column that holds neither numbers nor booleans nor texts.
        """
        return cls({column.name: FeatureProfile.of(column, bins=bins) for column in frame})

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` makes the same profile of; JSON."""
        return {
            name: {"kind": feature.kind, "bins": feature.bins, "counts": feature.counts}
            for name, feature in self.features.items()
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Mapping[str, Any]]) -> Self:
        """The profile of a `to_dict`."""
        return cls({name: FeatureProfile(**feature) for name, feature in state.items()})


def drift(reference: pl.DataFrame | Profile, current: pl.DataFrame) -> pl.DataFrame:
    """How far each feature has moved, the furthest first.

    Args:
        reference: the rows that were learned from, or their profile.
        current: the rows of now; columns that the reference lacks are not looked at.

    Returns:
        feature, kind ("number" or "category"), psi (see NOTABLE and LARGE; on few rows it is large by chance alone),
        ks (the largest distance between the two distribution functions; null for categories and without the reference
        rows), missing_reference, missing_current (shares).

    Raises:
        BadInput: `current` lacks a feature of the reference, or has no rows.
    """
    profile = reference if isinstance(reference, Profile) else Profile.of(reference)
    absent = [name for name in profile.features if name not in current.columns]
    if absent or current.is_empty():
        reason = f"the columns {', '.join(absent)} are missing." if absent else "there are no rows."
        raise BadInput(f"Drift cannot be told: {reason}")
    rows = []
    for name, feature in profile.features.items():
        counts = feature.count(current[name])
        distance = None
        if isinstance(reference, pl.DataFrame) and feature.kind == "number":
            distance = _distance(reference[name], current[name])
        rows.append(
            {
                "feature": name,
                "kind": feature.kind,
                "psi": stability(feature.counts, counts),
                "ks": distance,
                "missing_reference": feature.missing,
                "missing_current": counts[-1] / current.height,
            }
        )
    schema = {"feature": pl.String, "kind": pl.String} | dict.fromkeys(
        ("psi", "ks", "missing_reference", "missing_current"), pl.Float64
    )
    return pl.DataFrame(rows, schema=schema).sort("psi", "feature", descending=[True, False])


def _distance(before: pl.Series, now: pl.Series) -> float | None:
    """Kolmogorov and Smirnov's distance of two samples; None if one has no values."""
    first, second = (
        np.sort(values.cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy()) for values in (before, now)
    )
    if not len(first) or not len(second):
        return None
    everywhere = np.concatenate([first, second])
    shares = [np.searchsorted(values, everywhere, side="right") / len(values) for values in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())
