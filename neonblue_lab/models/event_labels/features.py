"""An event's content as a short document of tokens, never looking at its event type or topic.

Numbers are reduced to their size and long texts to "a text", so that events of one kind share a few documents: a model then
works on distinct documents (hundreds) instead of events (millions).
"""

import polars as pl

from neonblue_lab.errors import BadInput

ENVELOPE = ("user_id", "session_id", "experiment_id", "variant_id")
CONTENT = (*ENVELOPE, "value", "properties")
"""The columns that may be looked at."""
MAX_TEXT = 24
"""Characters; a longer text is a token for its presence, not for what it says."""
LARGE = 4
"""Digits before the point from which on a number in `properties` counts as large."""
MAX_DEPTH = 8
"""Levels of a path; keys further in are named without what is between."""

_STRING = r'"(?:[^"\\]|\\.)*"'
_ENTRY = rf'{_STRING}\s*:\s*(?:{_STRING}|[\[{{]|[^\s,\]}}"]+)|{_STRING}|[\[{{\]}}]'
"""One key with its value, a lone string (an element of a list), or a bracket. Scanning from the left, it never starts inside
a string."""
_SPLIT_ENTRY = rf"^(?:({_STRING})\s*:\s*)?(.*)$"
_LARGE_NUMBER = "0" * LARGE


def features(events: pl.DataFrame) -> pl.Series:
    """Describe each event's content as tokens separated by spaces.

    Tokens: `has:<field>` for each of the envelope's ids that is there; the magnitude of `value` (`value:none`,
    `value:negative`, `value:zero`, `value:1e<k>` for 10^k <= value < 10^(k+1)) and `value:whole`; for each key of
    `properties` its path (`variants.name`; a list adds nothing to a path), `path=<what>`, and `~<piece>` for each word that
    the key is made of (`checkoutStep` and `checkout_step`: checkout, step). What is a short text (runs of digits masked as
    0), `true`, `false`, `null`, `#list`, `#object`, `#text` (a long one) or a number: `#whole` or `#fraction`, with `#large`
    behind it from 10^(LARGE - 1) on and `#negative` before it below 0. A text within a list is `path=<text>` of its list.

    Args:
        events: columns of CONTENT; other columns are not looked at.

    Returns:
        Strings, one an event, in order, named "document".

    Raises:
        BadInput: a column is missing.
    """
    missing = [column for column in CONTENT if column not in events.columns]
    if missing:
        raise BadInput(f"Events have no content to learn from: column(s) {', '.join(missing)} missing.")
    content = events.select(
        *(pl.when(pl.col(name).is_not_null()).then(pl.lit(f"has:{name}")).alias(name) for name in ENVELOPE),
        value=_magnitude(pl.col("value").cast(pl.Float64)),
        masked=_masked(pl.col("properties").cast(pl.String)),
    )
    texts = _property_tokens(content["masked"].drop_nulls().unique())
    joined = content.join(texts, on="masked", how="left", maintain_order="left")
    return joined.select(
        document=pl.concat_str(*ENVELOPE, "value", "properties", separator=" ", ignore_nulls=True)
    ).to_series()


def _masked(text: pl.Expr) -> pl.Expr:
    """Each run of digits as `0`, or as LARGE zeros if it has that many digits and stands before any point."""
    long = text.str.replace_all(r"\.\d+", ".0").str.replace_all(rf"\d{{{LARGE},}}", "\x00")
    return long.str.replace_all(r"\d+", "0").str.replace_all("\x00", _LARGE_NUMBER, literal=True)


def _magnitude(value: pl.Expr) -> pl.Expr:
    exponent = value.log10().floor().clip(-9, 12).cast(pl.Int32, strict=False)
    size = (
        pl.when(value.is_null() | value.is_nan())
        .then(pl.lit("value:none"))
        .when(value < 0)
        .then(pl.lit("value:negative"))
        .when(value == 0)
        .then(pl.lit("value:zero"))
        .otherwise(pl.format("value:1e{}", exponent))
    )
    return pl.when(value.is_finite() & (value == value.floor())).then(pl.format("{} value:whole", size)).otherwise(size)


def _property_tokens(texts: pl.Series) -> pl.DataFrame:
    """The tokens of distinct JSON texts: columns masked, properties."""
    numbered = texts.alias("masked").to_frame().with_row_index("row")
    # By the number of their text: by the text itself, a long one would be hashed once an entry.
    entries = (
        numbered.select("row", entry=pl.col("masked").str.extract_all(_ENTRY))
        .explode("entry")
        .drop_nulls("entry")
        .with_columns(
            key=_unquoted(pl.col("entry").str.extract(_SPLIT_ENTRY, 1)),
            value=pl.col("entry").str.extract(_SPLIT_ENTRY, 2),
        )
    )
    named = _with_paths(entries).filter(pl.col("key").is_not_null() | pl.col("value").str.starts_with('"'))
    pieces = (
        pl.col("key")
        .str.replace_all(r"([a-z0-9])([A-Z])", "${1}_${2}")
        .str.to_lowercase()
        .str.extract_all(r"[^\W_]+")
        .list.eval(pl.format("~{}", pl.element()))
        .list.join(" ")
    )
    tokens = (
        named.with_columns(
            token=pl.concat_str(
                pl.when(pl.col("key").is_not_null()).then("path"),
                pl.format("{}={}", "path", _kind(pl.col("value"))),
                pieces,
                separator=" ",
                ignore_nulls=True,
            )
        )
        .group_by("row", maintain_order=True)
        .agg(properties=pl.col("token").str.split(" ").explode().unique(maintain_order=True).str.join(" "))
    )
    return numbered.join(tokens, on="row", maintain_order="right").select("masked", "properties")


def _with_paths(entries: pl.DataFrame) -> pl.DataFrame:
    """Adds `path`: the keys of the brackets that are open around an entry, and its own, joined by points.

    A level's key is that of the last bracket opened there, so each level is one forward fill over all texts at once.
    """
    opens = pl.col("value").is_in(["{", "["])
    closes = pl.col("key").is_null() & pl.col("value").is_in(["}", "]"])
    steps = entries.with_columns(opens=opens, step=opens.cast(pl.Int32) - closes.cast(pl.Int32))
    steps = steps.with_columns(depth=pl.col("step").cum_sum().over("row") - pl.col("step"))
    deepest: int = steps["depth"].max() or 0  # type: ignore[assignment]
    name = pl.col("key").fill_null("")
    around = [
        pl.when(pl.col("depth") > level)
        .then(pl.when(pl.col("opens") & (pl.col("depth") == level)).then(name).forward_fill().over("row"))
        .replace("", None)
        for level in range(1, min(deepest, MAX_DEPTH))
    ]
    return steps.with_columns(path=pl.concat_str(*around, "key", separator=".", ignore_nulls=True))


def _kind(value: pl.Expr) -> pl.Expr:
    text = _unquoted(value).str.replace_all(r"0+", "0").str.to_lowercase()
    size = pl.when(value.str.contains(_LARGE_NUMBER, literal=True)).then(pl.lit("#large")).otherwise(pl.lit(""))
    sign = pl.when(value.str.starts_with("-")).then(pl.lit("#negative")).otherwise(pl.lit(""))
    whole = pl.when(value.str.contains(r"[.eE]")).then(pl.lit("#fraction")).otherwise(pl.lit("#whole"))
    return (
        pl.when(value.str.starts_with('"'))
        .then(pl.when(text.str.len_chars() <= MAX_TEXT).then(text).otherwise(pl.lit("#text")))
        .when(value == "[")
        .then(pl.lit("#list"))
        .when(value == "{")
        .then(pl.lit("#object"))
        .when(value.is_in(["true", "false", "null"]))
        .then(value)
        .otherwise(pl.concat_str(sign, whole, size))
    )


def _unquoted(text: pl.Expr) -> pl.Expr:
    """Without the quotes around it, and without spaces, which separate tokens."""
    return text.str.strip_prefix('"').str.strip_suffix('"').str.replace_all(r"\s+", "_")
