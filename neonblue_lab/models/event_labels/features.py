"""An event's content as a short document of tokens, never looking at its event type or topic.

Numbers inside texts are masked and long texts reduced to "a text", so that events of one kind share a few documents: a
model then works on distinct documents (hundreds) instead of events (millions).
"""

import polars as pl

from neonblue_lab.errors import BadInput

ENVELOPE = ("user_id", "session_id", "experiment_id", "variant_id")
CONTENT = (*ENVELOPE, "value", "properties")
"""The columns that may be looked at."""
MAX_TEXT = 24
"""Characters; a longer text is a token for its presence, not for what it says."""

_STRING = r'"(?:[^"\\]|\\.)*"'
_ENTRY = rf'{_STRING}\s*:\s*(?:{_STRING}|[\[{{]|[^\s,\]}}"]+)|{_STRING}'
"""One key with its value, or a lone string (an element of a list). Scanning from the left, it never starts inside a
string."""
_SPLIT_ENTRY = rf"^(?:({_STRING})\s*:\s*)?(.*)$"


def features(events: pl.DataFrame) -> pl.Series:
    """Describe each event's content as tokens separated by spaces.

    Tokens: `has:<field>` for each of the envelope's ids that is there; the magnitude of `value` (`value:none`,
    `value:negative`, `value:zero`, `value:1e<k>` for 10^k <= value < 10^(k+1)) and `value:whole`; for each key of
    `properties`, at any depth, the key and `key=<what>`, where what is a short text (digits masked as 0), `true`,
    `false`, `null`, or the kind of anything else (`#text`, `#number`, `#list`, `#object`); `=<text>` for a text within
    a list.

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
        masked=pl.col("properties").cast(pl.String).str.replace_all(r"\d+", "0"),
    )
    texts = _property_tokens(content["masked"].drop_nulls().unique())
    joined = content.join(texts, on="masked", how="left", maintain_order="left")
    return joined.select(
        document=pl.concat_str(*ENVELOPE, "value", "properties", separator=" ", ignore_nulls=True)
    ).to_series()


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
    entries = (
        texts.alias("masked")
        .to_frame()
        .with_columns(entry=pl.col("masked").str.extract_all(_ENTRY))
        .explode("entry")
        .drop_nulls("entry")
        .with_columns(
            key=_unquoted(pl.col("entry").str.extract(_SPLIT_ENTRY, 1)),
            what=_kind(pl.col("entry").str.extract(_SPLIT_ENTRY, 2)),
        )
    )
    return (
        entries.with_columns(
            token=pl.when(pl.col("key").is_null())
            .then(pl.format("={}", "what"))
            .otherwise(pl.format("{} {}={}", "key", "key", "what"))
        )
        .group_by("masked", maintain_order=True)
        .agg(properties=pl.col("token").unique(maintain_order=True).str.join(" "))
    )


def _kind(value: pl.Expr) -> pl.Expr:
    text = _unquoted(value).str.to_lowercase()
    return (
        pl.when(value.str.starts_with('"'))
        .then(pl.when(text.str.len_chars() <= MAX_TEXT).then(text).otherwise(pl.lit("#text")))
        .when(value == "[")
        .then(pl.lit("#list"))
        .when(value == "{")
        .then(pl.lit("#object"))
        .when(value.is_in(["true", "false", "null"]))
        .then(value)
        .otherwise(pl.lit("#number"))
    )


def _unquoted(text: pl.Expr) -> pl.Expr:
    """Without the quotes around it, and without spaces, which separate tokens."""
    return text.str.strip_prefix('"').str.strip_suffix('"').str.replace_all(r"\s+", "_")
