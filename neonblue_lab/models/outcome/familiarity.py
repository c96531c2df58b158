"""What a history has seen, and what about a new experiment it has never seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import polars as pl

from neonblue_lab.models.outcome.history import CATEGORIES, NUMBERS

_WORDS = {
    "experiment_type": "type",
    "user_segment": "user segment",
    "name_length": "length of the name",
    "hypothesis_length": "length of the hypothesis",
    "variant_length": "mean length of the variants' texts",
    "new_names": "share of variants with a name of their own",
    "new_descriptions": "share of variants with a description of their own",
    "variants": "number of variants",
    "evenness": "smallest share of traffic, times the arms",
}

_LENGTHS = ("name_length", "hypothesis_length", "variant_length")


@dataclass(frozen=True)
class Familiarity:
    """Values and ranges of the features in past experiments.

    Attributes:
        counts: feature -> value -> experiments.
        ranges: feature -> smallest and largest value.
    """

    counts: Mapping[str, Mapping[str, int]]
    ranges: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Self:
        """Of a history in the columns of HISTORY_SCHEMA."""
        counts = {
            name: dict(rows[name].drop_nulls().rename("value").value_counts(name="rows").sort("value").iter_rows())
            for name in CATEGORIES
        }
        ranges = {
            name: (float(low), float(high))
            for name in NUMBERS
            for low, high in rows.select(low=pl.col(name).min(), high=pl.col(name).max()).iter_rows()
        }
        return cls(counts, ranges)

    def unlike(self, row: pl.DataFrame) -> list[str]:
        """Sentences on what of one experiment's features (columns of FEATURES) no past experiment had."""
        said = []
        for name, seen in self.counts.items():
            value, word = row[name][0], _WORDS.get(name, name)
            if value is not None and value not in seen:
                said.append(f"No past experiment had the {word} {value!r}.")
        for name, (low, high) in self.ranges.items():
            value = float(row[name][0])
            # A text that was not given has a length of 0: that is no length.
            if not low <= value <= high and not (value == 0 and name in _LENGTHS):
                said.append(
                    f"The {_WORDS.get(name, name)} is {value:.3g}: in past experiments it was {low:.3g} to {high:.3g}."
                )
        return said

    def count(self, name: str, value: str | None) -> int:
        """How many past experiments had this value."""
        return 0 if value is None else self.counts[name].get(value, 0)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` makes the same of; JSON."""
        return {"counts": self.counts, "ranges": {name: list(ends) for name, ends in self.ranges.items()}}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The familiarity of a `to_dict`."""
        return cls(state["counts"], {name: (low, high) for name, (low, high) in state["ranges"].items()})
