"""Simulated users: when they come, what they are exposed to, how often they return and what they buy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neonblue_lab.events.simulator.programme import Programme

DAY = 86_400_000_000
"""Microseconds of a day."""

WEEKDAYS = np.array([1.0, 1.03, 1.02, 1.0, 0.93, 0.74, 0.82])
"""Traffic by day of the week, Monday first."""

HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 6, 8, 9, 10, 10, 11, 10, 9, 9, 9, 10, 11, 13, 14, 12, 8, 4], dtype=float)
"""Traffic by hour of the day."""

TREND = 0.25
"""Growth of traffic from the first to the last day."""

RETURN_DAYS = 14
"""Users come back within so many days."""

SECOND_EXPERIMENT = 0.8
"""Share of users who enter two experiments."""

REPEAT_PURCHASE = 0.15
"""Chance that a further session of a converted user holds a purchase, too."""

PAST_PURCHASE = 0.25
"""Chance of a purchase in a session before exposure, relative to the user's chance of converting."""


@dataclass(frozen=True)
class Segment:
    """How one kind of user behaves.

    Attributes:
        share: of all users.
        conversion: chance that a user converts after exposure, without any lift; two of the largest keep it below 1.
        order_value: mean value of a purchase.
        returns: sessions beyond the first, relative to the average.
        depth: pages and clicks in a session, relative to the average.
        cart: chance that a session without purchase has something put into the cart.
        actions: chances that a browsing step is a page view, a click or a search.
        devices: chances of mobile, desktop and tablet.
        sources: chances of the traffic sources in SOURCES.
    """

    name: str
    share: float
    conversion: float
    order_value: float
    returns: float
    depth: float
    cart: float
    actions: tuple[float, float, float]
    devices: tuple[float, float, float]
    sources: tuple[float, float, float, float, float]


DEVICES = ("mobile", "desktop", "tablet")
SOURCES = ("organic", "paid_search", "direct", "email", "social")
SEGMENTS = (
    Segment(
        "new", 0.35, 0.22, 42, 0.4, 0.8, 0.12, (0.62, 0.30, 0.08), (0.66, 0.28, 0.06), (0.34, 0.30, 0.08, 0.04, 0.24)
    ),
    Segment(
        "casual", 0.35, 0.30, 48, 0.8, 1.0, 0.15, (0.58, 0.29, 0.13), (0.58, 0.35, 0.07), (0.38, 0.18, 0.20, 0.12, 0.12)
    ),
    Segment(
        "loyal", 0.15, 0.55, 64, 2.6, 1.0, 0.24, (0.46, 0.28, 0.26), (0.48, 0.46, 0.06), (0.12, 0.04, 0.52, 0.28, 0.04)
    ),
    Segment(
        "bargain_hunter",
        0.15,
        0.40,
        29,
        1.6,
        1.6,
        0.34,
        (0.50, 0.38, 0.12),
        (0.62, 0.32, 0.06),
        (0.22, 0.22, 0.10, 0.36, 0.10),
    ),
)


def column(field: str) -> NDArray[np.float64]:
    """A field of all segments, as an array whose first axis is the segment."""
    return np.array([getattr(segment, field) for segment in SEGMENTS], dtype=float)


@dataclass(frozen=True)
class Users:
    """One entry per user.

    Attributes:
        segment, device, source: numbers into SEGMENTS, DEVICES, SOURCES.
        entry: microseconds from the beginning of day 0 to the session in which the user is exposed.
        converts: whether the user converts after exposure (if the session comes before the last day's end).
        value_factor: what the user's exposures do to the value of purchases.
    """

    segment: NDArray[np.int64]
    device: NDArray[np.int64]
    source: NDArray[np.int64]
    entry: NDArray[np.int64]
    converts: NDArray[np.bool_]
    value_factor: NDArray[np.float64]


@dataclass(frozen=True)
class Exposures:
    """One entry per logged exposure: numbers of the user, the experiment and the arm."""

    user: NDArray[np.int64]
    experiment: NDArray[np.int64]
    arm: NDArray[np.int64]


@dataclass(frozen=True)
class Sessions:
    """One entry per session, sorted by user and start.

    Attributes:
        user: number of the user.
        start: microseconds from the beginning of day 0.
        entry: whether the user is exposed in this session.
        order_value: value of the session's purchase, 0 without one.
    """

    user: NDArray[np.int64]
    start: NDArray[np.int64]
    entry: NDArray[np.bool_]
    order_value: NDArray[np.float64]


def draw_users(
    rng: np.random.Generator, programme: Programme, users: int, days: int, weekday: int
) -> tuple[Users, Exposures]:
    """Draw users and expose each to one or two of the experiments that run when they first come.

    Arms are drawn independently for each experiment, so that the lifts of one are the same in all arms of another. A
    user's chance of converting is the segment's times (1 + lift) of each arm.

    Args:
        weekday: day of the week of day 0, Monday = 0.
    """
    segment = rng.choice(len(SEGMENTS), users, p=column("share"))
    device, source = (_choice_by_row(rng, column(field)[segment]) for field in ("devices", "sources"))
    rate = daily_rate(rng, days, weekday)
    day = rng.choice(days, users, p=rate / rate.sum())
    user, experiment, arm = _assign(rng, programme, day)
    conversion, value = (
        np.array([getattr(variant, field) for variant in programme.arms]) for field in ("conversion_lift", "value_lift")
    )
    factor = np.ones((2, users))
    np.multiply.at(factor[0], user, 1 + conversion[arm])
    np.multiply.at(factor[1], user, 1 + value[arm])
    logged = rng.random(user.size) < np.array([variant.logged for variant in programme.arms])[arm]
    return (
        Users(
            segment=segment,
            device=device,
            source=source,
            entry=day * DAY + time_of_day(rng, users),
            converts=rng.random(users) < column("conversion")[segment] * factor[0],
            value_factor=factor[1],
        ),
        Exposures(user[logged], experiment[logged], arm[logged]),
    )


def draw_sessions(
    rng: np.random.Generator, users: Users, sessions_per_user: float, days: int, weekday: int
) -> Sessions:
    """Draw each user's entry session, returns within RETURN_DAYS, and earlier visits of all but new users.

    A converted user buys in one session from the entry on, drawn evenly, and perhaps in further ones. Sessions beyond
    the last day are cut off whatever the arm, which leaves lifts as they are.
    """
    count = users.entry.size
    further = np.maximum(sessions_per_user - 1, 0) * column("returns")[users.segment]
    after = 1 + rng.poisson(0.8 * further)
    before = rng.poisson(0.3 * further * (users.segment > 0))

    user = np.repeat(np.arange(count), before + after)
    position = np.arange(user.size) - np.repeat(np.cumsum(before + after) - before - after, before + after)
    rank = position - before[user]  # < 0: before exposure; 0: the entry
    buys_in = (rng.random(count) * after).astype(int)
    chance = column("conversion")[users.segment][user]
    purchase = np.where(
        rank < 0,
        rng.random(user.size) < PAST_PURCHASE * chance,
        users.converts[user] & ((rank == buys_in[user]) | (rng.random(user.size) < REPEAT_PURCHASE)),
    )
    value = rng.lognormal(-0.18, 0.6, user.size) * column("order_value")[users.segment][user]
    value = np.where(rank < 0, value, value * users.value_factor[user]).round(2)

    start = np.where(rank == 0, users.entry[user], _other_starts(rng, users.entry[user] // DAY, rank, days, weekday))
    kept = np.flatnonzero((start >= 0) & (start < days * DAY))
    kept = kept[np.lexsort((start[kept], user[kept]))]
    return Sessions(user[kept], start[kept], rank[kept] == 0, np.where(purchase, np.maximum(value, 0.01), 0.0)[kept])


def daily_rate(rng: np.random.Generator, days: int, weekday: int) -> NDArray[np.float64]:
    """Traffic by day: day of the week, a mild trend, and a little noise."""
    day = np.arange(days)
    return WEEKDAYS[(weekday + day) % 7] * (1 + TREND * day / max(days - 1, 1)) * rng.lognormal(0, 0.02, days)


def time_of_day(rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    """Microseconds since midnight."""
    return ((rng.choice(24, size, p=HOURS / HOURS.sum()) + rng.random(size)) * (DAY // 24)).astype(np.int64)


def _other_starts(
    rng: np.random.Generator, entry_day: NDArray[np.int64], rank: NDArray[np.int64], days: int, weekday: int
) -> NDArray[np.int64]:
    """Starts on other days than the entry's, near ones being likelier, following the days of the week.

    Both may lie outside of the simulated days.
    """
    weekdays = np.arange(weekday - RETURN_DAYS, weekday + days + RETURN_DAYS + 1) % 7
    calendar = np.concatenate(([0.0], np.cumsum(WEEKDAYS[weekdays])))  # traffic before each day, from -RETURN_DAYS on
    origin = entry_day + RETURN_DAYS
    near = np.where(rank < 0, calendar[origin], calendar[origin + 1])
    far = np.where(rank < 0, calendar[origin - RETURN_DAYS], calendar[origin + 1 + RETURN_DAYS])
    place = near + (far - near) * rng.random(rank.size) ** 1.6
    day = np.searchsorted(calendar, place, side="right") - 1 - RETURN_DAYS
    day = np.where(rank < 0, np.minimum(day, entry_day - 1), np.maximum(day, entry_day + 1))
    return day * DAY + time_of_day(rng, rank.size)


def _assign(
    rng: np.random.Generator, programme: Programme, day: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(user, experiment, arm) of each exposure: experiments by weight without replacement among those running."""
    start, end = (np.array([getattr(e, field) for e in programme.experiments]) for field in ("start", "end"))
    weight = np.log([e.weight for e in programme.experiments])
    users, experiments = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for today in np.unique(day):
        running = np.flatnonzero((start <= today) & (today < end))
        here = np.flatnonzero(day == today)
        # The largest of log-weights plus Gumbel noise is a weighted draw; the two largest, one without replacement.
        order = np.argsort(-(weight[running] + rng.gumbel(size=(here.size, running.size))), axis=1)[:, :2]
        both = rng.random(here.size) < SECOND_EXPERIMENT
        for place in range(order.shape[1]):
            chosen = both if place else np.ones(here.size, dtype=bool)
            users.append(here[chosen])
            experiments.append(running[order[chosen, place]])
    user, experiment = np.concatenate(users), np.concatenate(experiments)
    arm = np.empty(user.size, dtype=np.int64)
    for number, one in enumerate(programme.experiments):
        own = np.flatnonzero(experiment == number)
        drawn = rng.choice(len(one.variants), own.size, p=[variant.allocation for variant in one.variants])
        arm[own] = programme.first_arm[number] + drawn
    order = np.lexsort((experiment, user))
    return user[order], experiment[order], arm[order]


def _choice_by_row(rng: np.random.Generator, chances: NDArray[np.float64]) -> NDArray[np.int64]:
    """One draw per row of `chances`."""
    draw = rng.random((chances.shape[0], 1))
    place: NDArray[np.int64] = (draw > np.cumsum(chances, axis=1)).sum(axis=1)
    last = chances.shape[1] - 1  # rounding may leave a sum of chances a little below the draw
    return place.clip(max=last)
