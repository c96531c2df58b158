"""What is known of a user after each step: the session so far, what came before it, how the user came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neonblue_lab.events.journey_stages import STAGES
from neonblue_lab.models.behaviour.sessions import Steps, starts
from neonblue_lab.models.behaviour.stages import stage_after
from neonblue_lab.stats.arrays import Integers

Matrix = NDArray[np.float32]

DAY, HOUR, SECOND = 86_400_000_000, 3_600_000_000, 1_000_000
"""Microseconds."""

ACTIONS = 20
"""So many actions, the most frequent ones, have features of their own."""

HISTORY = ("earlier_sessions", "earlier_steps", "earlier_conversions", "returning", "days_since_earlier")


@dataclass(frozen=True, eq=False)
class Past:
    """What is known of users from before the steps at hand; one entry a user of these steps.

    Attributes:
        sessions, steps, conversions: how many there were.
        last: microseconds since 1970 of the last step; counts are of what lies up to then.
    """

    sessions: Integers
    steps: Integers
    conversions: Integers
    last: Integers

    def known(self, steps: Steps) -> Integers:
        """Of each user, 1 where this ends before their first step."""
        return (self.last < steps.time[starts(steps.user)]).astype(np.int64)

    def made(self, steps: Steps) -> Integers:
        """How many steps of their user are known after each of these steps, which is one of them."""
        first = starts(steps.user)
        before = self.known(steps) * self.steps - first
        return np.arange(1, len(steps) + 1) + before[steps.user]

    def bought(self, steps: Steps) -> Integers:
        """Of each user, how often they had converted before their first step."""
        return self.known(steps) * self.conversions


@dataclass(frozen=True)
class FeatureSet:
    """Which features there are.

    Attributes:
        actions: the vocabulary; the first ACTIONS have features.
        conversions: those of the actions that are conversions.
        traits: trait -> the values that have a feature.
    """

    actions: tuple[str, ...]
    conversions: tuple[str, ...]
    traits: Mapping[str, tuple[str, ...]]

    @property
    def counted(self) -> tuple[str, ...]:
        """The actions that have features."""
        return self.actions[:ACTIONS]

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of `after_each_step`. Counts, days and seconds are as log(1 + x)."""
        return (
            "session_steps",
            "session_seconds",
            "pause_seconds",
            *(f"count:{name}" for name in self.counted),
            *(f"last:{name}" for name in self.counted),
            *(f"stage:{name}" for name in STAGES[1:]),
            *HISTORY,
            *(f"{trait}:{value}" for trait, values in self.traits.items() for value in values),
        )

    def after_each_step(self, steps: Steps, *, past: Past | None = None) -> Matrix:
        """Steps x names: what is known right after each step, of this step and earlier ones alone.

        Args:
            steps: with this vocabulary and these traits.
            past: of the users of `steps`; it counts in sessions that begin after it ends.
        """
        # One feature lies after the other: each is written, and weighed, as a whole.
        features = np.zeros((len(self.names), len(steps)), dtype=np.float32)
        if not len(steps):
            return features.T
        column = iter(features)
        first, session = steps.first, steps.session
        place = np.arange(len(steps)) - first[session]
        next(column)[:] = _log1p(place + 1)
        next(column)[:] = _log1p((steps.time - steps.time[first][session]) / SECOND)
        pause = np.diff(steps.time, prepend=steps.time[:1])
        next(column)[:] = _log1p(np.where(place > 0, pause, 0) / SECOND)
        actions = [steps.action == code for code in range(len(self.counted))]
        for is_one in actions:
            next(column)[:] = _log1p_counts(_within(is_one, first, session))
        for is_one in actions:
            next(column)[:] = is_one
        known = None if past is None else past.known(steps)
        stage = stage_after(steps, bought_before=None if past is None else past.bought(steps))
        for depth in range(1, len(STAGES)):
            next(column)[:] = stage == depth
        for values in self._history(steps, past, known):
            next(column)[:] = values.astype(np.float32)[session]
        for trait, levels in self.traits.items():
            for value in levels:
                has = (steps.traits[trait] == value).fill_null(False).to_numpy()
                next(column)[:] = has[session]
        return features.T

    def _history(self, steps: Steps, past: Past | None, known: Integers | None) -> list[NDArray[np.floating]]:
        """The columns of HISTORY, one value a session."""
        first = steps.first
        user = steps.user[first]
        first_session = starts(user)[user]
        converts = conversions_of(steps, self.conversions)
        before: Integers = np.cumsum(converts) - converts
        sessions: Integers = np.arange(first.size) - first_session
        made: Integers = first - first[first_session]
        conversions: Integers = before[first] - before[first[first_session]]
        ended = np.r_[0, steps.time[first[1:] - 1]]
        since = np.where(sessions > 0, (steps.time[first] - ended) / DAY, np.inf)
        if past is not None and known is not None:
            counts = known[user]
            since = np.where((counts > 0) & (sessions == 0), (steps.time[first] - past.last[user]) / DAY, since)
            sessions = sessions + counts * past.sessions[user]
            made = made + counts * past.steps[user]
            conversions = conversions + counts * past.conversions[user]
        returning = sessions > 0
        return [
            np.log1p(sessions),
            np.log1p(made),
            np.log1p(conversions),
            returning.astype(np.float64),
            np.log1p(np.where(np.isfinite(since) & returning, since, 0.0)),
        ]


def conversions_of(steps: Steps, conversions: Sequence[str]) -> NDArray[np.bool_]:
    """Which steps are a conversion: the first of a session's, as the `purchase` that follows a `conversion` is the same one."""
    is_one = np.isin(steps.action, steps.codes(conversions))
    return np.asarray(is_one & (_within(is_one, steps.first, steps.session) == 1))


AWAY = ("away", "hours_away", "beyond_a_day", "beyond_a_week")


def with_time_since(features: Matrix, since: Integers, gap: int) -> Matrix:
    """The features after a user's last step, and what the time since tells: columns AWAY are added.

    Args:
        features: rows of `after_each_step`.
        since: microseconds since that step.
        gap: microseconds after which a session is over.
    """
    hours = since / HOUR
    log = np.log1p(hours)
    away = np.stack(
        [since > gap, log, np.maximum(log - np.log1p(24), 0), np.maximum(log - np.log1p(24 * 7), 0)], axis=1
    )
    return np.hstack([features, away.astype(np.float32)])


def summary_of_users(steps: Steps, conversions: Sequence[str]) -> pl.DataFrame:
    """One row a user, in the order of `steps.users`: user_id, sessions, steps, conversions (sessions that had
    one), last (microseconds)."""
    converts = conversions_of(steps, conversions)
    count = len(steps.users)
    return pl.DataFrame(
        {
            "user_id": steps.users,
            "sessions": np.bincount(steps.user[steps.first], minlength=count),
            "steps": np.bincount(steps.user, minlength=count),
            "conversions": np.bincount(steps.user[converts], minlength=count),
            "last": steps.time[np.append(starts(steps.user)[1:], len(steps)) - 1],
        }
    )


def _log1p(values: NDArray[Any]) -> Matrix:
    return np.log1p(values.astype(np.float32))


def _within(is_one: NDArray[np.bool_], first: Integers, session: Integers) -> NDArray[np.int32]:
    """How often it was so in the session up to each step."""
    total = np.cumsum(is_one, dtype=np.int32)
    return total - (total - is_one)[first][session]


_LOGS = np.log1p(np.arange(1024, dtype=np.float32))


def _log1p_counts(counts: NDArray[np.int32]) -> Matrix:
    """log(1 + count), by table: counts beyond it are taken as its last."""
    return _LOGS[np.minimum(counts, _LOGS.size - 1)]
