"""Where users are in their journey after each step, and how they get from stage to stage."""

import numpy as np
import polars as pl

from neonblue_lab.events.journey_stages import BY_EVENT_TYPE, INTENT, PURCHASE, RETENTION, STAGES
from neonblue_lab.models.behaviour.sessions import Steps, starts, type_of
from neonblue_lab.stats.arrays import Integers

UNKNOWN_STAGE = -1
_INTENT, _PURCHASE, _RETENTION = (STAGES.index(name) for name in (INTENT, PURCHASE, RETENTION))


def stage_after(steps: Steps, *, bought_before: Integers | None = None) -> Integers:
    """The stage after each step: the deepest that the session has reached so far; who bought in an earlier session is in
    retention until this session shows an intent again.

    Args:
        steps: of users.
        bought_before: for each user whether (1) they are known to have bought before their first step here.

    Returns:
        Positions in STAGES; UNKNOWN_STAGE where no step of the session so far is of a type that has a stage.
    """
    own = depths(steps)
    deepest = _running_maximum(own, steps.session, _RETENTION)
    bought = own == _PURCHASE
    before = np.cumsum(bought) - bought
    returned = before[steps.first][steps.session] > before[starts(steps.user)][steps.user]
    if bought_before is not None:
        returned = returned | (bought_before[steps.user] > 0)
    return np.where(returned & (deepest < _INTENT), _RETENTION, deepest)


def depths(steps: Steps) -> Integers:
    """The stage that each step on its own stands for: a position in STAGES, or UNKNOWN_STAGE."""
    return np.array([*map(_depth, steps.actions), UNKNOWN_STAGE], dtype=np.int64)[steps.action]


def _depth(action: str) -> int:
    stage = BY_EVENT_TYPE.get(type_of(action))
    return UNKNOWN_STAGE if stage is None else STAGES.index(stage)


def _running_maximum(values: Integers, group: Integers, most: int) -> Integers:
    """The highest value so far within each group (numbers, ascending); values lie within -1 to `most`."""
    base = group * (most + 2)
    return np.maximum.accumulate(base + values + 1) - base - 1


def funnel(steps: Steps) -> pl.DataFrame:
    """How many sessions get how far: stage, sessions (that reached it or a deeper one), share (of all sessions)."""
    reached = np.full(steps.first.size, UNKNOWN_STAGE)
    np.maximum.at(reached, steps.session, depths(steps))
    counts = [int((reached >= depth).sum()) for depth in range(_PURCHASE + 1)]
    return pl.DataFrame({"stage": STAGES[: _PURCHASE + 1], "sessions": counts}).with_columns(
        share=pl.col("sessions") / max(reached.size, 1)
    )


START, END = "(start)", "(end)"


def flow(steps: Steps) -> pl.DataFrame:
    """What follows what within a session: source, target (actions, START, END), count, share (of the source's steps)."""
    actions = [*steps.actions, "(other)"]
    code = np.where(steps.action < 0, len(steps.actions), steps.action)
    first = steps.first
    last = np.append(first[1:], len(steps)) - 1
    inside = np.setdiff1d(np.arange(len(steps)), last, assume_unique=True)
    names = pl.Series([*actions, START, END])
    start, end = len(actions), len(actions) + 1
    source = np.concatenate([np.full(first.size, start), code[inside], code[last]])
    target = np.concatenate([code[first], code[inside + 1], np.full(last.size, end)])
    pairs = pl.DataFrame({"source": source, "target": target})
    counts = pairs.group_by("source", "target").agg(count=pl.len()).sort("source", "target")
    return counts.with_columns(
        source=names.gather(counts["source"]),
        target=names.gather(counts["target"]),
        share=pl.col("count") / pl.col("count").sum().over("source"),
    )
