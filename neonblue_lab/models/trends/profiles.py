"""Hundreds of simple forecasters at once: what a season looks like, and where the series stands beside it.

A profile is the mean of what the last few seasons looked like, their own levels taken out; a level is a mean of what the
last steps lie above it. Many of each, with and without a slope, a fading deviation or the last days' own shape, make the
candidates. All are linear in the past, so that arithmetic over arrays fits every candidate at every origin in one go.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neonblue_lab.models.trends.series import Floats
from neonblue_lab.models.trends.state import State, drift

MOST_SEASONS = 28
WINDOWS = (1, 2, 3, 4, 6, 8, 13, 26)
"""Seasons of which a profile is the plain mean (of fewer, where the past is shorter)."""
FADING = (0.3, 0.6, 0.8)
"""Weight of a season as a multiple of the one after it, for profiles that forget."""
RECENT_SHAPES = ((1, 0.5), (2, 0.5), (3, 0.7))
"""(short seasons, share): how much of what the last short seasons added to the shape of the long one is carried on."""
DEVIATIONS = (1, 3)
"""Steps whose mean distance from the level is taken to fade."""
DECAYS = (0.5, 0.8, 0.9, 0.97)
DAMPED, UNDAMPED = 0.98, 1.0
FLAT = "flat"


@dataclass(frozen=True)
class Past:
    """What each origin had seen, the last value in the last column.

    Attributes:
        values: shape (origins, width); 0 before the beginning of the series.
        length: how many of them are real; shape (origins,).
    """

    values: Floats
    length: np.ndarray

    @classmethod
    def of(cls, rows: list[Floats], width: int) -> "Past":
        """Of the pasts of several origins, each cut to the last `width` values."""
        values = np.zeros((len(rows), width))
        for row, past in enumerate(rows):
            kept = past[-width:]
            values[row, width - len(kept) :] = kept
        return cls(values, np.array([min(len(past), width) for past in rows]))


@dataclass(frozen=True)
class Batch:
    """Candidates that share a season and a shape; the parts of their states for each origin.

    Attributes:
        season: steps after which `seasonal` repeats.
        families: candidates of one family differ in their level only; shape (candidates,).
        level, slope, deviation: shape (candidates, origins).
        damping, decay: of all.
        seasonal: shape (shapes, origins, season), and `shape` says which belongs to a candidate.
    """

    families: list[str]
    shape: np.ndarray
    seasonal: Floats
    level: Floats
    slope: Floats
    damping: float
    deviation: Floats
    decay: float

    def forecast(self, horizon: int) -> Floats:
        """Shape (candidates, origins, horizon)."""
        steps = np.arange(horizon)
        path: Floats = self.seasonal[:, :, steps % self.seasonal.shape[2]][self.shape] + self.level[..., None]
        if self.slope.any():
            path += self.slope[..., None] * drift(self.damping, horizon)
        if self.deviation.any():
            path += self.deviation[..., None] * self.decay ** (steps + 1.0)
        return path

    def state(self, candidate: int, origin: int) -> State:
        """What the candidate leaves behind at an origin."""
        return State(
            level=float(self.level[candidate, origin]),
            slope=float(self.slope[candidate, origin]),
            damping=self.damping,
            deviation=float(self.deviation[candidate, origin]),
            decay=self.decay,
            seasonal=tuple(self.seasonal[self.shape[candidate], origin].tolist()),
        )


def batches(past: Past, seasons: tuple[int, ...]) -> Iterator[Batch]:
    """All candidates, in batches.

    Args:
        past: with at least two of the longest season at each origin.
        seasons: steps in each, the shortest first and each a multiple of the one before; (1,): none.
    """
    yield from _of_season(past, 1, seasons)
    for season in seasons:
        if season > 1:
            yield from _of_season(past, season, seasons)


def width(seasons: tuple[int, ...]) -> int:
    """How far back candidates look."""
    return MOST_SEASONS * seasons[0] if len(seasons) == 1 else max(MOST_SEASONS * seasons[0], 8 * seasons[-1])


def _of_season(past: Past, season: int, seasons: tuple[int, ...]) -> Iterator[Batch]:
    names, profiles, own = _profiles(past, season)
    reach = min(int(past.length.min()), max(2 * seasons[-1], 2 * MOST_LEVEL))
    above = past.values[None, :, -reach:] - profiles[:, :, np.arange(-reach, 0) % season]
    levels = _levels(above, seasons) | own
    for suffix, seasonal in _shapes(profiles, above, season, seasons[0]):
        families = [f"{name}{suffix}" for name in names]
        yield _batch(families, seasonal, np.stack(list(levels.values())))
        rests = [name for name in (OWN, seasons[0], seasons[-1]) if name in levels]
        resting = np.stack([levels[name] for name in dict.fromkeys(rests)])
        for steps in DEVIATIONS:
            recent = above[:, :, -steps:].mean(axis=2)
            for decay in DECAYS:
                yield _batch(families, seasonal, resting, deviation=recent - resting, decay=decay)
        for span, damping in ((seasons[0], DAMPED), (seasons[-1], DAMPED), (seasons[-1], UNDAMPED)):
            step = max(span, MOST_LEVEL if span == 1 else 1)
            if 2 * step > reach:
                continue
            last, before = above[:, :, -step:].mean(axis=2), above[:, :, -2 * step : -step].mean(axis=2)
            slope = (last - before) / step
            near = seasons[0] if seasons[0] in levels else 1
            # The mean of a window stands at its middle: the slope carries it to the end.
            middle = np.stack([levels[near] + slope * (near - 1) / 2, levels[1]])
            yield _batch(families, seasonal, middle, slope=np.stack([slope, slope]), damping=damping)


OWN = 0
"""Stands for the level of the very seasons of which the profile is the mean."""
MOST_LEVEL = 14
"""Steps of the longest level of a series without a season."""


def _profiles(past: Past, season: int) -> tuple[list[str], Floats, dict[int, Floats]]:
    """Names and shapes (profiles, origins, season) of the profiles, and their own levels."""
    origins, width = past.values.shape
    if season == 1:
        return [FLAT], np.zeros((1, origins, 1)), {}
    most = min(width // season, MOST_SEASONS)
    seen = past.values[:, width - most * season :].reshape(origins, most, season)
    levels = seen.mean(axis=2)
    names: list[str] = []
    weights: list[np.ndarray] = []
    age = np.arange(most)[::-1]
    known = age < (past.length // season)[:, None]
    for count in WINDOWS:
        if count <= most:
            names.append(f"mean of {count}")
            weights.append(known & (age < count))
    if most > 2:
        for share in FADING:
            names.append(f"fading by {share}")
            weights.append(known * share**age)
    stacked = np.stack(weights).astype(np.float64)
    stacked /= stacked.sum(axis=2, keepdims=True)
    profiles = np.einsum("prs,rsk->prk", stacked, seen - levels[:, :, None])
    return [f"season {season}, {name}" for name in names], profiles, {OWN: np.einsum("prs,rs->pr", stacked, levels)}


def _levels(above: Floats, seasons: tuple[int, ...]) -> dict[int, Floats]:
    """Steps -> the mean of what the last so many steps lie above the profile; shape (profiles, origins)."""
    short, long = seasons[0], seasons[-1]
    counts = {1, 3, short // 2, short, 2 * short, 3 * short, long} if short > 1 else {1, 2, 3, 5, 7, 10, MOST_LEVEL}
    sums = np.cumsum(above[:, :, ::-1], axis=2)
    return {count: sums[:, :, count - 1] / count for count in sorted(counts) if 1 <= count <= above.shape[2]}


def _shapes(profiles: Floats, above: Floats, season: int, short: int) -> Iterator[tuple[str, Floats]]:
    """The profile alone, and with what the last short seasons added to it."""
    yield "", profiles
    if short == 1 or season == short:
        return
    for count, share in RECENT_SHAPES:
        if count * short > above.shape[2]:
            continue
        recent = above[:, :, -count * short :].reshape(*above.shape[:2], count, short).mean(axis=2)
        recent = share * (recent - recent.mean(axis=2, keepdims=True))
        length = max(season, short)
        steps = np.arange(length)
        yield f" + {share:g} of the last {count}", profiles[:, :, steps % season] + recent[:, :, steps % short]


def _batch(
    families: list[str],
    seasonal: Floats,
    level: Floats,
    *,
    slope: Floats | None = None,
    damping: float = UNDAMPED,
    deviation: Floats | None = None,
    decay: float = 0.0,
) -> Batch:
    """Of levels (variants, shapes, origins): every variant of every shape is a candidate."""
    variants, shapes, origins = level.shape
    nothing = np.zeros((variants * shapes, origins))
    return Batch(
        families=families * variants,
        shape=np.tile(np.arange(shapes), variants),
        seasonal=seasonal,
        level=level.reshape(-1, origins),
        slope=nothing if slope is None else slope.reshape(-1, origins),
        damping=damping,
        deviation=nothing if deviation is None else deviation.reshape(-1, origins),
        decay=decay,
    )
