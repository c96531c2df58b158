"""Ragged sequences of action codes as three flat arrays, so that every prefix of a million sessions costs no copy."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neonblue_lab.errors import BadInput
from neonblue_lab.stats.arrays import Integers

UNKNOWN = -1
"""The code of an action that is in no vocabulary. It holds its place in a sequence and is never predicted."""


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of codes: the i-th is `values[start[i]:stop[i]]`, oldest action first.

    Sequences may overlap in `values`, as the prefixes of a session do.

    Attributes:
        values: codes of actions, 0 or more; UNKNOWN for an action that is in no vocabulary.
        start: where each sequence starts in `values`.
        stop: the place after its last action. A sequence may be empty.
    """

    values: Integers
    start: Integers
    stop: Integers

    def __post_init__(self) -> None:
        if self.start.shape != self.stop.shape or self.start.ndim != 1 or self.values.ndim != 1:
            raise BadInput(
                f"Sequences need one start and one stop each over 1-d values: got shapes {self.start.shape}, "
                f"{self.stop.shape} and {self.values.shape}."
            )
        outside = (self.start < 0) | (self.stop < self.start) | (self.stop > self.values.size)
        if outside.any():
            first = int(outside.argmax())
            raise BadInput(
                f"Sequence {first} is {self.start[first]} to {self.stop[first]} of {self.values.size} values: it must "
                "lie within them and not end before it starts."
            )
        if self.values.min(initial=0) < UNKNOWN:
            raise BadInput(f"A code is {self.values.min()}: codes are 0 or more, {UNKNOWN} for an unknown action.")

    @classmethod
    def of(cls, sequences: Iterable[ArrayLike]) -> "Sequences":
        """From one list or array of codes each."""
        parts = [np.asarray(part, dtype=np.int64) for part in sequences]
        lengths = np.array([part.size for part in parts], dtype=np.int64)
        values = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
        return cls.of_lengths(values, lengths)

    @classmethod
    def of_lengths(cls, values: ArrayLike, lengths: ArrayLike) -> "Sequences":
        """From codes that lie one sequence after the other, and how many belong to each."""
        codes, count = np.asarray(values, dtype=np.int64), np.asarray(lengths, dtype=np.int64)
        stop = np.cumsum(count)
        return cls(codes, stop - count, stop)

    @classmethod
    def of_rows(cls, keys: ArrayLike, values: ArrayLike) -> "Sequences":
        """From one row an action: rows with the same key (any values, in runs) are one sequence, in their order.

        Raises:
            BadInput: a key's rows are not next to each other: sort by key and time first.
        """
        owners, codes = np.asarray(keys), np.asarray(values, dtype=np.int64)
        if owners.shape != codes.shape or codes.ndim != 1:
            raise BadInput(f"Each row needs a key and a code: got shapes {owners.shape} and {codes.shape}.")
        if not codes.size:
            return cls.of_lengths(codes, codes)
        first = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
        _, count = np.unique(owners[first], return_counts=True)
        if count.max() > 1:
            raise BadInput("The rows of one sequence must be next to each other: sort by key and time first.")
        return cls.of_lengths(codes, np.diff(np.r_[first, codes.size]))

    def __len__(self) -> int:
        return int(self.start.size)

    def __iter__(self) -> Iterator[Integers]:
        """The codes of each sequence: for looking at a few, not for work on all."""
        return (self.values[start:stop] for start, stop in zip(self.start, self.stop, strict=True))

    @property
    def lengths(self) -> Integers:
        """Actions in each sequence."""
        return np.asarray(self.stop - self.start)

    def take(self, rows: ArrayLike | slice) -> "Sequences":
        """The sequences at these positions (or where a mask holds); `values` is shared."""
        chosen = rows if isinstance(rows, slice) else np.asarray(rows)
        return Sequences(self.values, self.start[chosen], self.stop[chosen])

    def flat(self) -> tuple[Integers, Integers]:
        """All codes, one sequence after the other, and the number of the sequence that each belongs to."""
        lengths = self.lengths
        owner = np.repeat(np.arange(len(self)), lengths)
        place = np.arange(owner.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return self.values[self.start[owner] + place], owner

    def targets(self, first: int = 0) -> tuple["Sequences", Integers]:
        """Each action as a thing to predict, and the actions of its sequence before it.

        Args:
            first: how many of a sequence's actions are not predicted; 1 leaves out what has nothing before it.

        Returns:
            Contexts, one a target, and the targets' codes.
        """
        lengths = np.maximum(self.lengths - first, 0)
        owner = np.repeat(np.arange(len(self)), lengths)
        place = np.arange(owner.size) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first
        at = self.start[owner] + place
        return Sequences(self.values, self.start[owner], at), self.values[at]

    def prefixes(self) -> "Sequences":
        """What was known after each action: one sequence an action, which ends with it."""
        contexts, _ = self.targets()
        return Sequences(self.values, contexts.start, contexts.stop + 1)

    def ago(self, actions: int, before: int) -> Integers:
        """The code so many actions before the end of each sequence, 1 for the last; `before` where there is none."""
        codes = np.full(len(self), before, dtype=np.int64)
        there = np.flatnonzero(self.stop - actions >= self.start)
        codes[there] = self.values[self.stop[there] - actions]
        return codes


def encode(actions: ArrayLike, vocabulary: Sequence[str]) -> Integers:
    """The code of each action: its place in the vocabulary, UNKNOWN where it is not there."""
    names: NDArray[np.str_] = np.asarray(vocabulary, dtype=np.str_)
    wanted: NDArray[np.str_] = np.asarray(actions, dtype=np.str_)
    if not names.size:
        return np.full(wanted.shape, UNKNOWN, dtype=np.int64)
    order = np.argsort(names, kind="stable")
    place = order[np.minimum(np.searchsorted(names, wanted, sorter=order), names.size - 1)]
    return np.where(names[place] == wanted, place, UNKNOWN)
