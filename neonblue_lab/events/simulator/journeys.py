"""What happens inside simulated sessions: the steps of each, with their times and pages."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neonblue_lab.errors import BadInput
from neonblue_lab.events.simulator.traffic import Sessions, Users, column

STEPS = (
    "session_start",
    "page_view",
    "click",
    "search",
    "sign_up",
    "add_to_cart",
    "checkout_start",
    "conversion",
    "purchase",
    "session_summary",
)
START, VIEW, CLICK, SEARCH, SIGN_UP, CART, CHECKOUT, CONVERSION, PURCHASE, SUMMARY = range(len(STEPS))
OUTCOMES = ("bounced", "browsed", "abandoned_cart", "converted")

PRODUCTS = 200
PLACES = ("/", "/category", "/offers", "/search", "/account", "/cart", "/checkout", "/confirmation")
HOME, CATEGORY, OFFERS, RESULTS, ACCOUNT, BASKET, PAYMENT, DONE = range(len(PLACES))
LANDING = np.array([CATEGORY, OFFERS, HOME, OFFERS, HOME])
"""The first page, by traffic source."""

SIGN_UPS = 0.3
"""Chance that a new user signs up in the session of exposure."""

REACHES_CHECKOUT = 0.35
"""Chance that a session with a cart but without purchase reaches the checkout."""

SECOND = 1_000_000


@dataclass(frozen=True)
class Steps:
    """One entry per step, sorted by session and time.

    Attributes:
        session: number of the session.
        kind: number into STEPS.
        time: microseconds from the beginning of day 0.
        page: number into PLACES, or len(PLACES) + the number of a product.
    """

    session: NDArray[np.int64]
    kind: NDArray[np.int8]
    time: NDArray[np.int64]
    page: NDArray[np.int16]


@dataclass(frozen=True)
class Summaries:
    """One entry per session: its number of steps, its duration in seconds and its outcome (number into OUTCOMES)."""

    length: NDArray[np.int64]
    seconds: NDArray[np.float64]
    outcome: NDArray[np.int64]


def walk(rng: np.random.Generator, users: Users, sessions: Sessions, steps: int) -> tuple[Steps, Summaries]:
    """Walk through all sessions in exactly `steps` steps.

    Each session has a start, a summary, and the funnel that its outcome needs; the rest is browsing, spread over the
    sessions by the depth of their users.

    Raises:
        BadInput: there are fewer steps than the sessions need without any browsing.
    """
    count = sessions.user.size
    segment = users.segment[sessions.user]
    buys = sessions.order_value > 0
    cart = buys | (rng.random(count) < column("cart")[segment])
    checkout = buys | (cart & (rng.random(count) < REACHES_CHECKOUT))
    signs_up = sessions.entry & (segment == 0) & (rng.random(count) < SIGN_UPS)

    per_kind: dict[int, NDArray[np.bool_] | int] = {
        START: 1,
        SIGN_UP: signs_up,
        CART: cart,
        CHECKOUT: checkout,
        CONVERSION: buys,
        PURCHASE: buys,
        SUMMARY: 1,
    }
    counts = np.zeros((len(STEPS), count), dtype=np.int64)
    for step, number in per_kind.items():
        counts[step] = number
    browsing = steps - int(counts.sum())
    if browsing < 0:
        raise BadInput(
            f"Too few events for these users: {-browsing:,} more are needed even if nobody browses. "
            "Ask for more events or fewer users."
        )
    depth = rng.gamma(1.5, size=count) * column("depth")[segment]
    counts[VIEW] = rng.multinomial(browsing, depth / depth.sum())

    session, kind = _rows(counts)
    browses = np.flatnonzero(kind == VIEW)
    _choose_actions(rng, kind, browses, segment[session[browses]])
    first = np.cumsum(counts.sum(axis=0)) - counts.sum(axis=0)
    time = _times(rng, sessions.start, session, kind, first)
    last = np.append(first[1:], session.size) - 1
    outcome = np.select([buys, cart, counts[VIEW] > 1], [3, 2, 1], default=0)
    return (
        Steps(session, kind, time, _pages(rng, kind, users.source[sessions.user][session])),
        Summaries(counts.sum(axis=0) - 1, (time[last] - time[first]) / SECOND, outcome),
    )


def _rows(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Session and kind of each step, from the number of steps by kind and session; kinds in the order of STEPS."""
    by_session = counts.T.ravel()
    kinds = np.tile(np.arange(counts.shape[0], dtype=np.int8), counts.shape[1])
    return np.repeat(np.arange(counts.shape[1]), counts.sum(axis=0)), np.repeat(kinds, by_session)


def _choose_actions(
    rng: np.random.Generator, kind: NDArray[np.int8], browses: NDArray[np.int64], segment: NDArray[np.int64]
) -> None:
    """Turn browsing steps into page views, clicks and searches, in place; the first of a session stays a view."""
    draw = rng.random(browses.size)
    chances = np.cumsum(column("actions")[segment], axis=1)
    action = VIEW + (draw >= chances[:, 0]) + (draw >= chances[:, 1])
    first = kind[browses - 1] == START
    kind[browses] = np.where(first, VIEW, action)


def _times(
    rng: np.random.Generator,
    starts: NDArray[np.int64],
    session: NDArray[np.int64],
    kind: NDArray[np.int8],
    first: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Starts plus pauses of at least two seconds, mostly some twenty; the purchase follows its conversion at once."""
    pause = ((2 + rng.lognormal(2.7, 0.9, session.size)) * SECOND).astype(np.int64)
    pause[kind == PURCHASE] = SECOND // 4
    pause[kind == SUMMARY] = SECOND
    pause[first] = 0
    elapsed = np.cumsum(pause)
    return starts[session] + elapsed - elapsed[first][session]


def _pages(rng: np.random.Generator, kind: NDArray[np.int8], source: NDArray[np.int64]) -> NDArray[np.int16]:
    product = len(PLACES) + (PRODUCTS * rng.random(kind.size) ** 2).astype(np.int16)
    wandering = np.array([HOME, CATEGORY, CATEGORY, CATEGORY, OFFERS, ACCOUNT])[rng.integers(0, 6, kind.size)]
    browsing = np.where(rng.random(kind.size) < 0.6, product, wandering)
    by_kind: dict[int, NDArray[np.integer] | int] = {
        START: LANDING[source],
        SEARCH: RESULTS,
        SIGN_UP: ACCOUNT,
        CART: product,
        CHECKOUT: BASKET,
        CONVERSION: PAYMENT,
        PURCHASE: DONE,
    }
    for one, page in by_kind.items():
        browsing = np.where(kind == one, page, browsing)
    return browsing.astype(np.int16)
