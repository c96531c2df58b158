"""Small simulated events whose labels follow from their content by construction, and one type whose labels do not."""

from collections.abc import Callable

import numpy as np
import orjson
import polars as pl
import pytest

from neonblue_lab.events.schema import EVENT_SCHEMA

USER_TYPES = ("page_view", "click", "search", "add_to_cart", "purchase", "session_summary")
PAGES = ("/", "/search", "/product", "/cart")
DEVICES = ("mobile", "desktop", "tablet")


def _properties(event_type: str, rng: np.random.Generator) -> dict[str, object] | None:
    page = {"page": str(rng.choice(PAGES)), "device_type": str(rng.choice(DEVICES))}
    extra: dict[str, dict[str, object]] = {
        "click": {"element": str(rng.choice(["button", "link"]))},
        "search": {"query": f"shoes {rng.integers(100)}"},
        "add_to_cart": {"product_id": f"p{rng.integers(500)}", "price": float(rng.integers(5, 90))},
        "purchase": {"items": int(rng.integers(1, 4)), "currency": "EUR"},
        "session_summary": {"journey_length": int(rng.integers(1, 20))},
    }
    return page | extra.get(event_type, {})


def simulate_events(count: int, seed: int, types: tuple[str, ...] = USER_TYPES) -> pl.DataFrame:
    """`count` simulated user events (a tenth as many users), with columns of EVENT_SCHEMA."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(types, size=count)
    topic = {"purchase": "analytics_events", "session_summary": "analytics_events"}
    rows = [
        {
            "event_id": f"e{number}",
            "event_type": event_type,
            "topic": topic.get(event_type, "user_events"),
            "user_id": f"u{rng.integers(max(count // 10, 2))}",
            "session_id": f"s{number}",
            "value": float(rng.lognormal(3)) if event_type in topic else None,
            "properties": orjson.dumps(_properties(event_type, rng)).decode(),
        }
        for number, event_type in enumerate(chosen.tolist())
    ]
    frame = pl.DataFrame(rows, schema={name: EVENT_SCHEMA[name] for name in rows[0]})
    return frame.select(
        frame[name] if name in frame.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in EVENT_SCHEMA.items()
    )


@pytest.fixture(scope="session")
def user_events() -> Callable[..., pl.DataFrame]:
    return simulate_events
