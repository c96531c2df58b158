"""The stage of a user's journey that an event type stands for, by rule: one readable table.

An event on its own says how deep a user has got: from awareness (looks around) over consideration (takes an interest) and
intent (about to buy) to purchase. Retention is no matter of one event: a user is in it who comes back after a purchase, which
only their journey tells.
"""

import polars as pl

AWARENESS, CONSIDERATION, INTENT, PURCHASE, RETENTION = STAGES = (
    "awareness",
    "consideration",
    "intent",
    "purchase",
    "retention",
)

BY_EVENT_TYPE: dict[str, str] = {
    "session_start": AWARENESS,
    "page_view": AWARENESS,
    "click": CONSIDERATION,
    "search": CONSIDERATION,
    "sign_up": CONSIDERATION,
    "add_to_cart": INTENT,
    "checkout_start": INTENT,
    "conversion": PURCHASE,
    "purchase": PURCHASE,
}
"""Of any other type the stage is not known: null, never a guess."""


def stage(event_type: pl.Expr) -> pl.Expr:
    """The stage of each event type (strings); null where the table does not have it."""
    return event_type.replace_strict(BY_EVENT_TYPE, default=None, return_dtype=pl.String)
