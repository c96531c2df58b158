"""How far an event can be relied on: a score out of four parts, each from 0 to 1.

- completeness: of the ids and the value that its type should carry (EXPECTED), the share that it has.
- timeliness: 1 where it arrived within a minute of happening, 0 after a week or more, falling with the logarithm of the
  delay in between: 1 - ln(delay / 60 s) / ln(604,800 s / 60 s).
- validity: of the fields that its record had, the share that could be taken as it was: not a field that the envelope does not
  know, nor a time that had to be read as a number.
- consistency: of what can be checked of it, the share that holds: a variant has an experiment, a session has a user, and
  nothing arrives more than five minutes before it happens.

What is not known is null: the completeness of an unknown type, the timeliness of a record without a broker's time. The score
is the mean of the parts that are known.
"""

import polars as pl

from neonblue_lab.events.schema import EXPERIMENT_LIFECYCLE, EXPOSURE, METRIC_TOTAL

PARTS = ("completeness", "timeliness", "validity", "consistency")
AT_ONCE, TOO_LATE = 60.0, 604_800.0
"""Seconds between happening and arriving that cost nothing, and that cost all timeliness."""
CLOCKS_APART = 300.0
"""Seconds by which the clocks of a producer and a broker may differ."""

_MEASURED = ("user_id", "session_id", "experiment_id", "variant_id", "value")
_STEP = ("user_id", "session_id")
EXPECTED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(EXPERIMENT_LIFECYCLE, ("experiment_id",)),
    EXPOSURE: ("user_id", "experiment_id", "variant_id"),
    METRIC_TOTAL: ("experiment_id", "variant_id"),
    **dict.fromkeys(
        ("session_start", "page_view", "click", "search", "add_to_cart", "checkout_start", "sign_up", "conversion"),
        _STEP,
    ),
    **dict.fromkeys(("purchase", "session_summary"), (*_STEP, "value")),
}
"""Event type -> the fields of the envelope that make an event of it whole."""

_MASKS = {kind: sum(1 << _MEASURED.index(field) for field in fields) for kind, fields in EXPECTED.items()}


def quality(events: pl.DataFrame) -> pl.DataFrame:
    """Score events.

    Args:
        events: columns of EVENT_SCHEMA and of ARRIVAL_SCHEMA.

    Returns:
        Columns data_quality_score and PARTS, in hundredths, one row an event in order.
    """
    parts = events.select(
        completeness=_completeness(),
        timeliness=_timeliness(),
        validity=1 - pl.col("repaired_fields") / pl.col("field_count"),
        consistency=_consistency(),
    )
    return parts.select(pl.mean_horizontal(PARTS).alias("data_quality_score"), *PARTS).select(pl.all().round(2))


def _completeness() -> pl.Expr:
    expected = pl.col("event_type").replace_strict(_MASKS, default=None, return_dtype=pl.UInt8)
    held = pl.sum_horizontal(
        pl.col(field).is_not_null().cast(pl.UInt8) * (1 << bit) for bit, field in enumerate(_MEASURED)
    ).cast(pl.UInt8)
    return (expected & held).bitwise_count_ones() / expected.bitwise_count_ones()


def _delay() -> pl.Expr:
    """Seconds between happening and arriving."""
    return (pl.col("arrived_at") - pl.col("timestamp")).dt.total_microseconds() / 1e6


def _timeliness() -> pl.Expr:
    return 1 - (_delay().clip(AT_ONCE, TOO_LATE) / AT_ONCE).log() / pl.lit(TOO_LATE / AT_ONCE).log()


def _consistency() -> pl.Expr:
    checks = [
        _if(pl.col("variant_id").is_not_null(), pl.col("experiment_id").is_not_null()),
        _if(pl.col("session_id").is_not_null(), pl.col("user_id").is_not_null()),
        _delay() >= -CLOCKS_APART,
    ]
    return pl.mean_horizontal(check.cast(pl.Float64) for check in checks)


def _if(applies: pl.Expr, holds: pl.Expr) -> pl.Expr:
    return pl.when(applies).then(holds)
