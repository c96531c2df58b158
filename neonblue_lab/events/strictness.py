"""What is wrong with JSON texts that DuckDB would read all the same, found by columns.

DuckDB reads leniently (NaN, Infinity, trailing commas), keeps numbers that no double can hold, and goes to any depth. What
looks like one of these is read once more by a strict parser, and only that.
"""

import orjson
import polars as pl

# `\s` is as wide as Unicode on purpose: with ASCII spaces alone the engine chooses a search that is five times slower.
_LENIENT = r"(?i)[:,\[]\s*[-+]?(nan|inf|[0-9.]+e\+?[0-9]{3}|[0-9]{200})|,\s*[}\]]"

# The strict parser's limit on depth is 1,024, which no text of fewer brackets can reach.
_BRACKETS = 1_000

_NUL = r"\u0000"
_UNESCAPED_NUL = r"(?:^|[^\\])(?:\\\\)*\\u0000"
_HOLDS_NUL = r"value: a text holds NUL (\u0000), which PostgreSQL cannot store"


def flaws(texts: pl.Series) -> pl.Series:
    """Why each text is not strict JSON, or not JSON that every store can hold.

    Args:
        texts: of type String; nulls have no flaws.

    Returns:
        Sentences, of type String, as long as `texts`. Null says that DuckDB's judgement suffices, not that a text is JSON.
    """
    text = pl.col("text")
    odd = texts.to_frame("text").with_row_index("row")
    odd = odd.filter(text.str.contains(_LENIENT) | text.str.contains(_NUL, literal=True) | _is_deep(text))
    judged = odd.select(
        "row",
        reason=pl.coalesce(
            text.map_elements(_strict_error, pl.String),
            pl.when(text.str.contains(_UNESCAPED_NUL)).then(pl.lit(_HOLDS_NUL)),
        ),
    )
    return pl.repeat(None, texts.len(), dtype=pl.String, eager=True).scatter(judged["row"], judged["reason"])


def _is_deep(text: pl.Expr) -> pl.Expr:
    long = pl.when(text.str.len_bytes() > 2 * _BRACKETS).then(text)
    return (long.str.count_matches(r"[{\[]") > _BRACKETS).fill_null(False)


def _strict_error(text: str) -> str | None:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return f"value: not strict JSON: {error}"
    return None
