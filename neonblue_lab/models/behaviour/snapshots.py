"""Moments at which somebody might have asked whether a user will convert, with what was known then and what came of it."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from neonblue_lab.models.behaviour.features import AWAY, FeatureSet, Matrix, conversions_of, with_time_since
from neonblue_lab.models.behaviour.sessions import Steps, starts
from neonblue_lab.models.training.leaks import check
from neonblue_lab.models.training.splits import Split, grouped_folds, temporal
from neonblue_lab.stats.arrays import Integers

IN_SESSION, WITHIN_DAYS = "in_session", "within_days"

LATER, FOLDS = 0.4, 3
"""A model is tested on this share of the moments, the last ones, as far as they are of one of so many users."""


@dataclass(frozen=True, eq=False)
class Snapshots:
    """One entry a moment.

    Attributes:
        question: IN_SESSION or WITHIN_DAYS.
        names: of the features.
        features: moments x names, from steps up to the moment alone.
        converts: whether a conversion came: in the rest of the session, or within the days.
        user: number of the user.
        step: the place of the last step before (or at) the moment.
        time: microseconds since 1970 of the moment.
        known_at: when it was known what came of it: the end of the session (its last step, and the gap after which it counts as
            over), or of the days.
        stage: after that step, a position in STAGES, or -1.
    """

    question: str
    names: tuple[str, ...]
    features: Matrix
    converts: NDArray[np.bool_]
    user: Integers
    step: Integers
    time: Integers
    known_at: Integers
    stage: Integers

    def __len__(self) -> int:
        return int(self.converts.size)

    def take(self, rows: Integers) -> "Snapshots":
        """Those at these positions."""
        return Snapshots(
            question=self.question,
            names=self.names,
            features=self.features[rows],
            converts=self.converts[rows],
            user=self.user[rows],
            step=self.step[rows],
            time=self.time[rows],
            known_at=self.known_at[rows],
            stage=self.stage[rows],
        )


def in_session(
    steps: Steps, features: FeatureSet, known: Matrix, stage: Integers, *, gap: timedelta, seed: int
) -> Snapshots:
    """A step of each session, drawn evenly from those before its first conversion: will the session convert?

    Sessions that may still be running at the end of the data are left out.

    Args:
        known, stage: of each step, by `features.after_each_step` and `stage_after`.
    """
    converts = conversions_of(steps, features.conversions)
    first = steps.first
    last = np.append(first[1:], len(steps)) - 1
    place = np.arange(len(steps))
    never = len(steps)
    conversion = np.minimum.reduceat(np.where(converts, place, never), first) if len(steps) else first
    before = np.where(conversion < never, conversion, last + 1) - first
    over = steps.time[last] <= steps.time.max(initial=0) - _microseconds(gap)
    kept = np.flatnonzero((before > 0) & over)
    drawn = (np.random.default_rng(seed).random(kept.size) * before[kept]).astype(np.int64)
    step = first[kept] + drawn
    return Snapshots(
        question=IN_SESSION,
        names=features.names,
        features=known[step],
        converts=conversion[kept] < never,
        user=steps.user[step],
        step=step,
        time=steps.time[step],
        known_at=steps.time[last[kept]] + _microseconds(gap),
        stage=stage[step],
    )


def within_days(
    steps: Steps, features: FeatureSet, known: Matrix, stage: Integers, *, days: int, gap: timedelta, seed: int
) -> Snapshots:
    """Two moments of each user: one of their steps, and any moment since their first: will they convert within `days`?

    Users are left out of whom the data does not tell `days` after their first step.

    Args:
        known, stage: of each step, by `features.after_each_step` and `stage_after`.
    """
    rng = np.random.default_rng(seed)
    window = _microseconds(timedelta(days=days))
    first = starts(steps.user)
    until = steps.time.max(initial=0) - window
    kept = first[steps.time[first] <= until]
    user = steps.user[kept]
    timeline = Timeline(steps)
    eligible = timeline.last_step(user, np.full(user.size, until)) - kept + 1
    chosen = kept + (rng.random(kept.size) * eligible).astype(np.int64)
    anywhen = steps.time[kept] + (rng.random(kept.size) * (until - steps.time[kept])).astype(np.int64)
    who, time = np.concatenate([user, user]), np.concatenate([steps.time[chosen], anywhen])
    step = timeline.last_step(who, time)
    total = np.concatenate([[0], np.cumsum(conversions_of(steps, features.conversions))])
    converts = total[timeline.last_step(who, time + window) + 1] > total[step + 1]
    return Snapshots(
        question=WITHIN_DAYS,
        names=(*features.names, *AWAY),
        features=with_time_since(known[step], time - steps.time[step], _microseconds(gap)),
        converts=converts,
        user=who,
        step=step,
        time=time,
        known_at=time + window,
        stage=stage[step],
    )


def honest_split(snapshots: Snapshots, steps: Steps, *, seed: int) -> Split:
    """Learn from what was known of some users before a moment, test on the others from then on: LATER of the moments, one of
    FOLDS users.

    Raises:
        BadInput: too few moments or users for both sides.
        Leak: never, unless a feature came from the future.
    """
    times = temporal(snapshots.time, share=LATER)
    users = grouped_folds(snapshots.user, folds=FOLDS, seed=seed)[0]
    train, test = (
        np.intersect1d(one, other) for one, other in zip(*((s.train, s.test) for s in (times, users)), strict=True)
    )
    moment = snapshots.time[times.test].min()
    train = train[snapshots.known_at[train] < moment]
    split = Split(f"other users {times.name}", train, test)
    known_at = snapshots.time.copy()
    known_at[train] = snapshots.known_at[train]
    check(
        split,
        groups={"user": snapshots.user},
        times=known_at,
        features_as_of={"last step": steps.time[snapshots.step]},
    )
    return split


class Timeline:
    """Finds a user's last step up to a moment."""

    def __init__(self, steps: Steps) -> None:
        self._time = steps.time
        self._first = np.append(starts(steps.user), len(steps))

    def last_step(self, user: Integers, time: Integers) -> Integers:
        """The place of each user's last step at or before the time; where there is none, the place before their first."""
        # All binary searches at once: in each round, each halves the steps that may be the first one after its time.
        low, high = self._first[user], self._first[user + 1]
        while (low < high).any():
            middle = (low + high) // 2
            upto = (low < high) & (self._time[np.minimum(middle, self._time.size - 1)] <= time)
            low, high = np.where(upto, middle + 1, low), np.where(upto, high, middle)
        return low - 1


def _microseconds(length: timedelta) -> int:
    return int(length / timedelta(microseconds=1))
